"""Rules that turn a level into a finer one, with the transfer between them."""

import abc
import functools
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from hierax.fields.axis import SplineAxis
from hierax.fields.base import parameter_count, partition
from hierax.fields.broken_grid import BrokenGrid
from hierax.fields.decoded_grid import DecodedGrid
from hierax.fields.geometry import BSplineBasis
from hierax.fields.kan import KAN
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.spline_layer import SplineLayer
from hierax.fields.stretched import StretchedGrid
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.axis_transfer import EXACT, AxisTransfer, LeafTransfer, axis_map
from hierax.hierarchy.level import Level
from hierax.hierarchy.transfer import AbstractTransfer, Tag


class AbstractRefinement(eqx.Module):
    """A rule ``(level, key, evidence) -> (finer level, transfer)``."""

    @property
    def wants(self) -> type | None:
        """The kind of evidence that the rule uses, `Settling` or `Fit`; `None` for a rule that needs none."""
        return None

    def sparing(self) -> "AbstractRefinement | None":
        """A rule that adds less, for what is left of a budget; `None` where there is none."""
        return None

    @abc.abstractmethod
    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        """A finer level and the transfer to it.

        Parameters
        ----------
        level : Level
            The coarse level.
        key : key, optional
            For rules that draw new parameters.
        evidence : optional
            What training has shown, of the kind that the rule `wants`; every rule also works without.
        """


class IntervalDoubling(AbstractRefinement):
    """Halve every interval of every spline axis."""

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        del key, evidence
        return on_new_breakpoints(level, [_with_middles(axis.breakpoints()) for axis in spline_axes(level.field)])


class KnotInsertion(AbstractRefinement):
    """Insert given breakpoints.

    Parameters
    ----------
    marks : sequence of sequences of float
        For each spline axis, in the order of `spline_axes`, the new breakpoints strictly inside its domain. A
        breakpoint that is already there is repeated and lowers the smoothness.
    """

    marks: tuple[tuple[float, ...], ...] = eqx.field(static=True)

    def __init__(self, marks):
        self.marks = tuple(tuple(float(mark) for mark in part) for part in marks)

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        del key, evidence
        axes = spline_axes(level.field)
        if len(axes) != len(self.marks):
            raise ValueError(f"KnotInsertion: marks for {len(self.marks)} axes, but the field has {len(axes)}")
        return on_new_breakpoints(level, [_with_marks(*pair) for pair in zip(axes, self.marks, strict=True)])


@functools.singledispatch
def spline_axes(field: Any) -> tuple[SplineAxis, ...]:
    """The spline axes of a field: coordinates of a grid, layers of a network, those of all unknowns by name."""
    del field
    return ()


@spline_axes.register(SplineGrid)
@spline_axes.register(BrokenGrid)
def _(field: SplineGrid | BrokenGrid) -> tuple[SplineAxis, ...]:
    return field.axes


@spline_axes.register(DecodedGrid)
@spline_axes.register(StretchedGrid)
def _(field: DecodedGrid | StretchedGrid) -> tuple[SplineAxis, ...]:
    return field.grid.axes


@spline_axes.register
def _(field: KAN) -> tuple[SplineAxis, ...]:
    return tuple(layer.axis for layer in field.layers)


@spline_axes.register
def _(field: Unknowns) -> tuple[SplineAxis, ...]:
    return tuple(axis for _, part in sorted(field.parts.items()) for axis in spline_axes(part))


@functools.singledispatch
def insert_breakpoints(field: Any, axes: tuple[SplineAxis, ...]) -> tuple[PyTree, tuple[LeafTransfer, ...]]:
    """Exchange the spline axes of a field for finer ones.

    Returns
    -------
    fine : callable pytree
        The finer field, equal to the given one everywhere.
    leaves : tuple of LeafTransfer
        One for each array of parameters. A field without spline axes is returned as it is, with identities.
    """
    del axes
    return field, unchanged(field)


@insert_breakpoints.register
def _(field: SplineGrid, axes: tuple[SplineAxis, ...]) -> tuple[SplineGrid, tuple[LeafTransfer, ...]]:
    pairs = zip(field.axes, axes, strict=True)
    leaf = LeafTransfer(tuple(axis_map(k, *pair, BSplineBasis()) for k, pair in enumerate(pairs)))
    return SplineGrid(axes, leaf.prolong(field.coefficients)), (leaf,)


@insert_breakpoints.register
def _(field: BrokenGrid, axes: tuple[SplineAxis, ...]) -> tuple[BrokenGrid, tuple[LeafTransfer, ...]]:
    pairs = zip(field.axes, axes, strict=True)
    leaf = LeafTransfer(tuple(axis_map(1 + k, *pair, BSplineBasis()) for k, pair in enumerate(pairs)))
    return BrokenGrid(axes, leaf.prolong(field.coefficients), field.regions), (leaf,)


@insert_breakpoints.register
def _(field: StretchedGrid, axes: tuple[SplineAxis, ...]) -> tuple[StretchedGrid, tuple[LeafTransfer, ...]]:
    grid, leaves = insert_breakpoints(field.grid, axes)
    return StretchedGrid(grid, field.maps), leaves


@insert_breakpoints.register
def _(field: DecodedGrid, axes: tuple[SplineAxis, ...]) -> tuple[DecodedGrid, tuple[LeafTransfer, ...]]:
    grid, leaves = insert_breakpoints(field.grid, axes)
    return eqx.tree_at(lambda f: f.grid, field, grid), leaves + unchanged(field.decoder)


@insert_breakpoints.register
def _(field: KAN, axes: tuple[SplineAxis, ...]) -> tuple[KAN, tuple[LeafTransfer, ...]]:
    leaves, layers = [], []
    for layer, axis in zip(field.layers, axes, strict=True):
        leaves.append(LeafTransfer((axis_map(2, layer.axis, axis, layer.geometry),)))
        layers.append(SplineLayer(leaves[-1].prolong(layer.weights), axis, layer.geometry))
    return eqx.tree_at(lambda kan: kan.layers, field, tuple(layers)), (*unchanged(field.first), *leaves)


@insert_breakpoints.register
def _(field: Unknowns, axes: tuple[SplineAxis, ...]) -> tuple[Unknowns, tuple[LeafTransfer, ...]]:
    parts, leaves, start = {}, (), 0
    for name, part in sorted(field.parts.items()):
        stop = start + len(spline_axes(part))
        parts[name], more = insert_breakpoints(part, axes[start:stop])
        leaves, start = leaves + more, stop
    return Unknowns(**parts), leaves


def on_new_breakpoints(level: Level, breakpoints: list[np.ndarray]) -> tuple[Level, AbstractTransfer]:
    """The level on finer breakpoints, one array for each of its `spline_axes`, and the transfer to it.

    Raises
    ------
    ValueError
        If the field has no spline axes.
    """
    pairs = zip(spline_axes(level.field), breakpoints, strict=True)
    return on_new_axes(level, tuple(axis.with_breakpoints(points) for axis, points in pairs))


def on_new_axes(level: Level, axes: tuple[SplineAxis, ...]) -> tuple[Level, AbstractTransfer]:
    """The level on finer spline axes, one for each of its `spline_axes`, and the transfer to it.

    Raises
    ------
    ValueError
        If the field has no spline axes.
    """
    field = level.field
    if not axes:
        raise ValueError(
            f"{type(field).__name__} has no spline axes whose knots could be refined; choose a rule for its kind, "
            f"or a field such as KAN or SplineGrid"
        )
    fine, leaves = insert_breakpoints(field, axes)
    return grown(level, fine, leaves)


def grown(
    level: Level,
    fine: PyTree,
    leaves: tuple[LeafTransfer, ...],
    tags: frozenset[Tag] = EXACT,
) -> tuple[Level, AxisTransfer]:
    """The level of a finer field, with points in proportion to its parameters, and the transfer to it."""
    growth = parameter_count(fine) / level.parameters
    points = None if level.points is None else round(level.points * growth)
    return Level(fine, points), AxisTransfer(level.field, fine, leaves, tags)


def unchanged(field: PyTree) -> tuple[LeafTransfer, ...]:
    """Identities for all arrays of parameters."""
    return (LeafTransfer(),) * len(jax.tree.leaves(partition(field)[0]))


def _with_middles(points: np.ndarray) -> np.ndarray:
    lengths = np.diff(points)
    solid = np.flatnonzero(lengths > 0)
    return np.sort(np.concatenate([points, points[solid] + 0.5 * lengths[solid]]))


def _with_marks(axis: SplineAxis, marks: tuple[float, ...]) -> np.ndarray:
    points = axis.breakpoints()
    outside = [mark for mark in marks if not points[0] < mark < points[-1]]
    if outside:
        raise ValueError(f"KnotInsertion: {outside[0]} is not strictly inside [{points[0]}, {points[-1]}]")
    return np.sort(np.concatenate([points, marks]))
