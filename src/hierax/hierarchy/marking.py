"""Where a spline field is too coarse: judged from the field itself, axis by axis and interval by interval.

Along one axis a spline of degree `p` is a piecewise polynomial whose `p`-th derivative jumps at the knots. Where the
function is resolved the jumps are small; the error of the best spline is about `h^(p+1) |u^(p+1)|`, and a jump divided
by
`h` stands for the derivative of order `p + 1`. Jumps need no further evaluation of the problem and see every direction
separately, which is what a tensor grid can follow.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Float

from hierax.fields.axis import SplineAxis
from hierax.fields.broken_grid import BrokenGrid
from hierax.fields.decoded_grid import DecodedGrid, felt_channels
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.stretched import StretchedGrid
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, on_new_breakpoints, spline_axes
from hierax.hierarchy.transfer import AbstractTransfer

SMALLEST = 1e-12
"""Share of the largest error below which an error is rounding."""
GRIDS = SplineGrid | BrokenGrid | DecodedGrid | StretchedGrid


@dataclass(frozen=True, eq=False)
class Settling:
    """How far the levels have settled.

    Attributes
    ----------
    change:
        Relative change of the solution at the last refinement.
    steps:
        How many steps the level has taken.
    points:
        Points `(n, dim)` of a domain that is not the whole box: where there are none, coefficients mean nothing.
    """

    change: float
    steps: int = 1
    points: Float[np.ndarray, "n dim"] | None = None


class MarkedKnots(AbstractRefinement):
    """Halve the intervals of a spline grid that carry its error, along the axes that carry it.

    Several unknowns share one mesh, the union of what each of them needs. Channels of a decoded grid count as much as
    its values feel them.

    Where it is told how the levels settle (`Settling`) and the solution is not resolved yet, errors are known where the
    coarse solution is and not where the solution will be. Then the number of cells grows by at least a fixed factor, so
    that all levels together cost a multiple of the last one: intervals with ever smaller errors are halved until it
    does. While levels are cheap, all intervals of the marked axes are.

    Parameters
    ----------
    share:
        Intervals with at least this share of the largest error of their axis are halved.
    axis_share:
        Axes with at least this share of the largest error of all axes are refined.
    growth:
        Least factor of the number of cells as long as the solution is not resolved.
    unresolved:
        Change of the solution from which on it is not resolved.
    small:
        Cells times steps up to which an unresolved level is refined everywhere.
    """

    share: float = 0.05
    axis_share: float = 0.1
    growth: float = 1.5
    unresolved: float = 0.05
    small: int = 2500

    @property
    def wants(self) -> type:
        return Settling

    def sparing(self) -> "MarkedKnots":
        """Along the worst axis alone, and no more than its errors say."""
        return replace(self, axis_share=1.0, growth=1.0, small=0)

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        del key
        grids, axes = _grids(level.field), spline_axes(level.field)
        seen: Settling = Settling(0.0) if evidence is None else evidence
        points = None if _stretched(level.field) else seen.points
        errors = [interval_errors(grid, own) for grid, own in zip(grids, _seen_by(level.field, points), strict=True)]
        before = union_of_breakpoints([grid.breakpoints() for grid in grids])
        unresolved = seen.change > self.unresolved
        share, axis_share = self.share, self.axis_share
        if unresolved and _cells(before) * seen.steps <= self.small:
            share = 0.0
        least = self.growth * _cells(before) if unresolved else 0.0
        while True:
            pairs = zip(grids, errors, strict=True)
            union = union_of_breakpoints([marked_breakpoints(*pair, share, axis_share) for pair in pairs])
            if _cells(union) >= least or share < SMALLEST:
                return on_new_breakpoints(level, [union[k % len(union)] for k in range(len(axes))])
            share, axis_share = 0.5 * share, 0.5 * axis_share


def union_of_breakpoints(wanted: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Break points of every axis that are in any of some meshes, each as often as it is in one of them."""
    return [functools.reduce(_joined, axis) for axis in zip(*wanted, strict=True)]


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Break points of both, each as often as it is in either."""
    points = np.union1d(first, second)
    copies = [np.searchsorted(part, points, "right") - np.searchsorted(part, points) for part in (first, second)]
    return np.repeat(points, np.maximum(*copies))


def _stretched(field: Any) -> bool:
    return isinstance(field, StretchedGrid) or any(map(_stretched, getattr(field, "parts", {}).values()))


def _cells(breakpoints: Sequence[np.ndarray]) -> int:
    return math.prod(len(points) - 1 for points in breakpoints)


@functools.singledispatch
def _grids(field: Any) -> list[SplineGrid]:
    raise ValueError(f"MarkedKnots: {type(field).__name__} is no spline grid; use IntervalDoubling")


@_grids.register
def _(field: SplineGrid) -> list[SplineGrid]:
    return [field]


@_grids.register
def _(field: BrokenGrid) -> list[SplineGrid]:
    return list(field.grids)


@_grids.register
def _(field: StretchedGrid) -> list[SplineGrid]:
    return [field.grid]


@_grids.register
def _(field: Unknowns) -> list[SplineGrid]:
    parts = [part for part in field.parts.values() if isinstance(part, GRIDS)]
    if not parts:
        return _grids(next(iter(field.parts.values())))
    return [grid for part in parts for grid in _grids(part)]


@_grids.register
def _(field: DecodedGrid) -> list[SplineGrid]:
    return [felt_channels(field)]


def _seen_by(field: Any, points: Float[np.ndarray, "n dim"] | None) -> list[Float[np.ndarray, "n dim"] | None]:
    """The points that count for each of `_grids`: of parts of the domain their own."""
    if isinstance(field, BrokenGrid) and points is not None:
        number = field.regions.number(points)
        return [points[number == k] for k in range(len(field.grids))]
    if isinstance(field, Unknowns):
        parts = [part for part in field.parts.values() if isinstance(part, GRIDS)] or list(field.parts.values())[:1]
        return [own for part in parts for own in _seen_by(part, points)]
    return [points] * len(_grids(field))


def interval_errors(field: SplineGrid, points: Float[np.ndarray, "n dim"] | None = None) -> list[np.ndarray]:
    """Estimated error of every interval of every axis, in the units of the field (largest over the other axes).

    With points, only where cells with points meet: elsewhere nothing determines the coefficients.

    Returns
    -------
    list of arrays of shape `(intervals,)`, one an axis.
    """
    dim = len(field.axes)
    coefficients = np.asarray(field.coefficients)
    coefficients = coefficients.reshape(*coefficients.shape[:dim], -1)
    counted = [None] * dim if points is None else _counted(field, points, coefficients.shape[-1])
    return [axis_errors(a, np.moveaxis(coefficients, k, 0), counted[k]) for k, a in enumerate(field.axes)]


def _counted(field: SplineGrid, points: Float[np.ndarray, "n dim"], channels: int) -> list[Bool[np.ndarray, "..."]]:
    """For each axis, the lines of coefficients along it whose jump at a knot lies between cells with points."""
    breaks = field.breakpoints()
    shape = tuple(len(b) - 1 for b in breaks)

    def cell(axis: int, x: np.ndarray) -> np.ndarray:
        return np.clip(np.searchsorted(breaks[axis], x, "right") - 1, 0, shape[axis] - 1)

    filled = np.zeros(shape, bool)
    filled[tuple(cell(k, x) for k, x in enumerate(points.T))] = True
    places = [cell(k, np.asarray(axis.positions())) for k, axis in enumerate(field.axes)]
    out = []
    for axis in range(len(shape)):
        own = np.moveaxis(filled, axis, 0)
        both = np.concatenate([own[:1], own[:-1] & own[1:], own[-1:]])
        both = both[np.ix_(np.arange(len(both)), *(p for k, p in enumerate(places) if k != axis))]
        out.append(np.repeat(both.reshape(len(both), -1), channels, axis=1))
    return out


def axis_errors(
    axis: SplineAxis, values: np.ndarray, counted: Bool[np.ndarray, "knots lines"] | None = None
) -> np.ndarray:
    """Jumps of the highest derivative across the knots, as errors, shared by the intervals on both sides.

    Parameters
    ----------
    axis:
        Along which the first axis of the values runs.
    values:
        Coefficients.
    counted:
        Which jumps count; all by default.
    """
    degree, n = axis.degree, axis.intervals
    knots = np.asarray(axis.knots)
    values = values.reshape(len(values), -1)
    wraps = axis.size < n + degree
    if wraps:
        values = values[np.arange(n + degree) % axis.size]
    highest = values
    for order in range(degree, 0, -1):
        start = degree - order + 1
        gap = knots[start + order : start + order + len(highest) - 1] - knots[start : start + len(highest) - 1]
        safe = np.where(gap > 0, gap, np.inf)
        highest = order * np.diff(highest, axis=0) / safe[:, None]
    jumps = np.diff(highest, axis=0)
    if wraps:
        jumps = np.concatenate([highest[:1] - highest[-1:], jumps, highest[:1] - highest[-1:]])
    else:
        jumps = np.concatenate([jumps[:1] * 0, jumps, jumps[:1] * 0]) if n > 1 else np.zeros((2, values.shape[1]))
    if counted is not None:
        jumps = np.where(counted, jumps, 0.0)
    length = np.diff(np.asarray(axis.breakpoints()))
    # at repeated knots every derivative may jump
    empty = np.r_[False, length == 0.0] | np.r_[length == 0.0, False]
    jumps[empty] = 0.0
    size = np.sqrt(np.mean(jumps**2, axis=1)) * 0.5 + 0.5 * np.max(np.abs(jumps), axis=1)
    both = np.maximum(size[:-1], size[1:])
    return both * length**degree / (math.factorial(degree) * 4.0**degree)


def marked_breakpoints(
    field: SplineGrid, errors: Sequence[np.ndarray], share: float, axis_share: float
) -> list[np.ndarray]:
    """Break points after halving the intervals that carry the error.

    Parameters
    ----------
    errors:
        Those of the intervals of each axis.
    share:
        Within an axis, intervals with at least this share of the axis' largest error are halved.
    axis_share:
        Axes with at least this share of the largest error of all axes are refined.

    Returns
    -------
    list of arrays, one an axis; an axis that is not refined keeps its break points. Neighbouring intervals differ in
    length by at most a factor of four after the halving.
    """
    largest = [float(e.max()) for e in errors]
    out = []
    for axis, e, top in zip(field.axes, errors, largest, strict=True):
        breaks = np.asarray(axis.breakpoints())
        if not top >= axis_share * max(largest) or top == 0.0:
            out.append(breaks if top or any(largest) else halved(breaks, np.ones(len(e), bool)))
            continue
        marked = e >= share * top
        # the next to a marked interval is halved too: features move a little when they are resolved better
        marked = marked | np.r_[marked[1:], False] | np.r_[False, marked[:-1]]
        marked = marked | (marked[np.diff(breaks) > 0.0].mean() > 0.6)
        out.append(graded(halved(breaks, marked)))
    return out


def halved(breaks: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Break points with the middles of marked intervals; those of length zero, at repeated knots, stay as they are."""
    middle = 0.5 * (breaks[1:] + breaks[:-1])
    return np.sort(np.r_[breaks, middle[marked & (np.diff(breaks) > 0.0)]])


def graded(breaks: np.ndarray, ratio: float = 4.01) -> np.ndarray:
    """Halve intervals until none is more than `ratio` times longer than a neighbour."""
    while True:
        solid = np.unique(breaks)
        length = np.diff(solid)
        left, right = np.r_[np.inf, length[:-1]], np.r_[length[1:], np.inf]
        marked = length > ratio * np.minimum(left, right)
        if not marked.any():
            return breaks
        breaks = np.sort(np.r_[breaks, 0.5 * (solid[1:] + solid[:-1])[marked]])
