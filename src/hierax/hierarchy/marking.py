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
from typing import Any

import numpy as np
from jaxtyping import Array

from hierax.fields.axis import SplineAxis
from hierax.fields.decoded_grid import DecodedGrid, felt_channels
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.stretched import StretchedGrid
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, on_new_breakpoints, spline_axes
from hierax.hierarchy.transfer import AbstractTransfer


class MarkedKnots(AbstractRefinement):
    """Halve the intervals of a spline grid that carry its error, along the axes that carry it.

    Several unknowns share one mesh, the union of what each of them needs. Channels of a decoded grid count as much as
    its values feel them.

    Parameters
    ----------
    share:
        Intervals with at least this share of the largest error of their axis are halved.
    axis_share:
        Axes with at least this share of the largest error of all axes are refined.
    """

    share: float = 0.05
    axis_share: float = 0.1

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        del key, evidence
        grids = _grids(level.field)
        wanted = [marked_breakpoints(grid, self.share, self.axis_share) for grid in grids]
        union = [functools.reduce(np.union1d, axis) for axis in zip(*wanted, strict=True)]
        axes = spline_axes(level.field)
        return on_new_breakpoints(level, [union[k % len(union)] for k in range(len(axes))])


@functools.singledispatch
def _grids(field: Any) -> list[SplineGrid]:
    raise ValueError(f"MarkedKnots: {type(field).__name__} is no spline grid; use IntervalDoubling")


@_grids.register
def _(field: SplineGrid) -> list[SplineGrid]:
    return [field]


@_grids.register
def _(field: StretchedGrid) -> list[SplineGrid]:
    return [field.grid]


@_grids.register
def _(field: Unknowns) -> list[SplineGrid]:
    parts = [part for part in field.parts.values() if isinstance(part, SplineGrid | DecodedGrid | StretchedGrid)]
    if not parts:
        return _grids(next(iter(field.parts.values())))
    return [grid for part in parts for grid in _grids(part)]


@_grids.register
def _(field: DecodedGrid) -> list[SplineGrid]:
    return [felt_channels(field)]


def interval_errors(field: SplineGrid) -> list[np.ndarray]:
    """Estimated error of every interval of every axis, in the units of the field (largest over the other axes).

    Returns
    -------
    list of arrays of shape `(intervals,)`, one an axis.
    """
    dim = len(field.axes)
    coefficients = np.asarray(field.coefficients)
    coefficients = coefficients.reshape(*coefficients.shape[:dim], -1)
    return [axis_errors(axis, np.moveaxis(coefficients, k, 0)) for k, axis in enumerate(field.axes)]


def axis_errors(axis: SplineAxis, values: np.ndarray) -> np.ndarray:
    """Jumps of the highest derivative across the knots, as errors, shared by the intervals on both sides."""
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
    size = np.sqrt(np.mean(jumps**2, axis=1)) * 0.5 + 0.5 * np.max(np.abs(jumps), axis=1)
    length = np.diff(np.asarray(axis.breakpoints()))
    both = np.maximum(size[:-1], size[1:])
    return both * length**degree / (math.factorial(degree) * 4.0**degree)


def marked_breakpoints(field: SplineGrid, share: float, axis_share: float) -> list[np.ndarray]:
    """Break points after halving the intervals that carry the error.

    Parameters
    ----------
    share:
        Within an axis, intervals with at least this share of the axis' largest error are halved.
    axis_share:
        Axes with at least this share of the largest error of all axes are refined.

    Returns
    -------
    list of arrays, one an axis; an axis that is not refined keeps its break points. Neighbouring intervals differ in
    length by at most a factor of four after the halving.
    """
    errors = interval_errors(field)
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
        if marked.mean() > 0.6:
            marked[:] = True
        out.append(graded(halved(breaks, marked)))
    return out


def halved(breaks: np.ndarray, marked: np.ndarray) -> np.ndarray:
    middle = 0.5 * (breaks[1:] + breaks[:-1])
    return np.sort(np.r_[breaks, middle[marked]])


def graded(breaks: np.ndarray, ratio: float = 4.01) -> np.ndarray:
    """Halve intervals until none is more than `ratio` times longer than a neighbour."""
    while True:
        length = np.diff(breaks)
        left, right = np.r_[np.inf, length[:-1]], np.r_[length[1:], np.inf]
        marked = length > ratio * np.minimum(left, right)
        if not marked.any():
            return breaks
        breaks = halved(breaks, marked)
