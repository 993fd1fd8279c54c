"""Tensor-product B-splines on a box: a field that is linear in its parameters."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.axis import Clamped, Flat, Periodic, SplineAxis
from hierax.fields.base import AbstractField, AbstractLocalField
from hierax.fields.pieces import Pieces


class LocalSplineGrid(AbstractField):
    """One polynomial piece of a `SplineGrid`; its shapes do not depend on the number of intervals.

    Parameters
    ----------
    coefficients : array of shape ``(p_1 + 1, ..., p_d + 1)`` or with one more axis for the channels
    pieces : tuple of Pieces
        For each axis the polynomials alive on one interval.
    """

    coefficients: Float[Array, "..."]
    pieces: tuple[Pieces, ...]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        value = self.coefficients
        # one axis after another: (p+1)^d products instead of d (p+1)^d
        for coordinate, piece in zip(x, self.pieces, strict=True):
            value = jnp.tensordot(piece(coordinate), value, axes=1)
        return value

    @property
    def linear_in_parameters(self) -> bool:
        return True


class SplineGrid(AbstractLocalField):
    r"""Tensor-product B-splines, :math:`u(x) = \sum_j c_j \prod_a b_{j_a}(x_a)`.

    Outside of the box the end pieces continue as polynomials, also along periodic axes.

    Parameters
    ----------
    axes : sequence of SplineAxis
        One for each coordinate.
    coefficients : array of shape ``(axes[0].size, ..., axes[d-1].size)`` or with one more axis of channels
        Without the axis of channels values have shape ``()``, with it ``(out,)``.

    Raises
    ------
    ValueError
        If the shape of the coefficients does not fit the axes.
    """

    axes: tuple[SplineAxis, ...]
    coefficients: Float[Array, "..."]

    def __init__(self, axes, coefficients):
        self.axes = tuple(axes)
        self.coefficients = jnp.asarray(coefficients, dtype=float)
        sizes = tuple(axis.size for axis in self.axes)
        if self.coefficients.shape[: len(sizes)] != sizes or self.coefficients.ndim > len(sizes) + 1:
            raise ValueError(
                f"SplineGrid: coefficients of shape {self.coefficients.shape} do not fit axes with {sizes} "
                f"coefficients; expected {sizes} or {(*sizes, 'out')}"
            )

    @classmethod
    def uniform(cls, lower, upper, intervals, degree, out: int | None = None, periodic=None) -> "SplineGrid":
        """Equidistant knots, clamped where an axis is not periodic, and zero coefficients.

        Parameters
        ----------
        lower, upper : sequence of float
            Corners of the box.
        intervals, degree : int or sequence of int
            For each axis; one integer serves all.
        out : int, optional
            Number of channels; none for values of shape ``()``.
        periodic : sequence of bool, optional
            For each axis; none is periodic by default.

        Examples
        --------
        >>> SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], (8, 4), 3).coefficients.shape
        (11, 7)
        """
        lower, upper = np.atleast_1d(np.asarray(lower, float)), np.atleast_1d(np.asarray(upper, float))
        intervals = np.broadcast_to(intervals, lower.shape)
        degree = np.broadcast_to(degree, lower.shape)
        periodic = np.broadcast_to(False if periodic is None else periodic, lower.shape)
        axes = tuple(
            SplineAxis(np.linspace(low, high, int(count) + 1), int(order), Periodic() if wraps else Clamped())
            for low, high, count, order, wraps in zip(lower, upper, intervals, degree, periodic, strict=True)
        )
        channels = () if out is None else (out,)
        return cls(axes, np.zeros(tuple(axis.size for axis in axes) + channels))

    @property
    def channels(self) -> tuple[int, ...]:
        """``()`` for a scalar field, ``(out,)`` otherwise."""
        return self.coefficients.shape[len(self.axes) :]

    @property
    def intervals(self) -> tuple[int, ...]:
        return tuple(axis.intervals for axis in self.axes)

    @property
    def degree(self) -> tuple[int, ...]:
        return tuple(axis.degree for axis in self.axes)

    @property
    def linear_in_parameters(self) -> bool:
        return True

    def breakpoints(self) -> tuple[np.ndarray, ...]:
        """Breakpoints of each axis (NumPy): the cells of the field."""
        return tuple(axis.breakpoints() for axis in self.axes)

    def mesh(self) -> tuple[np.ndarray, ...]:
        return tuple(np.unique(points) for points in self.breakpoints())

    def positions(self, dim: int | None = None) -> np.ndarray:
        """Greville position ``(parameters, dim)`` of every parameter, in the order of the raveled coefficients."""
        del dim
        grid = np.meshgrid(*(axis.positions() for axis in self.axes), indexing="ij")
        points = np.stack([part.ravel() for part in grid], axis=-1)
        return np.repeat(points, math.prod(self.channels), axis=0)

    def locate(self, x: Float[Array, " dim"]) -> tuple[Int[Array, ""], ...]:
        return tuple(axis.locate(coordinate) for axis, coordinate in zip(self.axes, x, strict=True))

    def at(self, cell: tuple[Int[Array, ""], ...]) -> tuple[Int[Array, " local"], LocalSplineGrid]:
        nodes = jnp.zeros((), dtype=jnp.int32)
        for axis, interval in zip(self.axes, cell, strict=True):
            nodes = nodes[..., None] * axis.size + axis.alive(interval)
        flat = self.coefficients.reshape(-1, *self.channels)
        gathered = flat.at[nodes].get(mode="promise_in_bounds")
        count = math.prod(self.channels)
        indices = (nodes[..., None] * count + jnp.arange(count, dtype=nodes.dtype)).ravel()
        pieces = tuple(axis.piece(i) for axis, i in zip(self.axes, cell, strict=True))
        return indices, LocalSplineGrid(gathered, pieces)

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, LocalSplineGrid]:
        nodes = np.zeros((len(points), 1), dtype=np.int64)
        pieces = []
        for axis, x in zip(self.axes, points.T, strict=True):
            interval = _intervals(axis, x)
            alive = (interval[:, None] + np.arange(axis.degree + 1)) % axis.size
            nodes = (nodes[:, :, None] * axis.size + alive[:, None, :]).reshape(len(points), -1)
            pieces.append(jax.tree.map(lambda a, i=interval: np.asarray(a)[i], axis.pieces))
        channels = math.prod(self.channels)
        indices = (nodes[:, :, None] * channels + np.arange(channels)).reshape(len(points), -1)
        shape = (len(points), *(axis.degree + 1 for axis in self.axes), *self.channels)
        coefficients = np.asarray(self.coefficients).ravel()[indices].reshape(shape)
        return indices, LocalSplineGrid(coefficients, tuple(pieces))  # pyright: ignore

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        keys = np.zeros(len(points), dtype=np.int64)
        for axis, x in zip(self.axes, points.T, strict=True):
            keys = keys * axis.intervals + _intervals(axis, x)
        return keys


def _intervals(axis: SplineAxis, x: np.ndarray) -> np.ndarray:
    inner = np.asarray(axis.knots)[axis.degree + 1 : axis.degree + axis.intervals]
    return np.searchsorted(inner, x, side="right")


def depending_on(grid: SplineGrid, coordinates: Sequence[int]) -> SplineGrid:
    """A grid of the same cells, with zero coefficients, whose values depend on some of the coordinates alone."""
    axes = [a if k in coordinates else SplineAxis(a.breakpoints(), 0, Flat()) for k, a in enumerate(grid.axes)]
    return SplineGrid(axes, jnp.zeros((*(axis.size for axis in axes), *grid.channels)))


def with_coefficients(field: SplineGrid, coefficients) -> SplineGrid:
    """The same space with other coefficients."""
    return eqx.tree_at(lambda grid: grid.coefficients, field, jnp.asarray(coefficients))
