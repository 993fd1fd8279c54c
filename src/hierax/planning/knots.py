"""Break points of a first grid where the terms have peaks and jumps, so that every level sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from hierax.fields import SplineGrid
from hierax.fields.axis import SplineAxis
from hierax.objective.missed import Feature, Jump, Peak
from hierax.problems.domain import Interface
from hierax.problems.problem import Problem

REACH = 0.125
"""Break points around a peak are spread to this part of the axis."""
STEPS = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
"""Distances in half-widths of the first break points on either side of a peak; further ones double."""
CLOSE = 0.25
"""An equidistant break point goes where one of a peak is nearer than this part of the distance to the peak, or one
where derivatives jump is nearer than this part of an interval."""
ROUNDING = 1e-10
"""Distance, in sizes of the box, within which places are the same."""


class Break(NamedTuple):
    """A plane `x[axis] = at` across which derivatives up to the order `continuity` are continuous; -1 for none."""

    axis: int
    at: float
    continuity: int


def breaks(
    problem: Problem, features: Sequence[Feature], interfaces: Sequence[Interface], order: int
) -> tuple[Break, ...]:
    """Where derivatives jump: on interfaces the first, where terms of an equation jump those of its order."""
    broken = [Break(problem.domain.axis(p.name), float(p.at), 0 if p.continuous else -1) for p in interfaces]
    jumps = [Break(f.axis, float(f.place[f.axis]), order - 1) for f in features if isinstance(f, Jump) and f.flat]
    return (*broken, *jumps)


def with_knots(part: SplineGrid, features: Sequence[Feature], planes: Sequence[Break]) -> SplineGrid:
    """The grid with break points at peaks, graded from their width on, and repeated where derivatives jump.

    Its coefficients are constant.
    """
    axes = tuple(
        _broken(_axis(axis, k, features), [p for p in planes if p.axis == k]) for k, axis in enumerate(part.axes)
    )
    if axes == part.axes:
        return part
    shape = (*(axis.size for axis in axes), *part.channels)
    return SplineGrid(axes, jnp.full(shape, jnp.ravel(part.coefficients)[0]))


def _axis(axis: SplineAxis, number: int, features: Sequence[Feature]) -> SplineAxis:
    points = axis.breakpoints()
    for feature in features:
        if isinstance(feature, Peak) and np.isfinite(feature.widths[number]):
            points = _with(points, *_graded(points, feature.place[number], feature.widths[number]))
    return axis if len(points) == axis.intervals + 1 else axis.with_breakpoints(points)


def _broken(axis: SplineAxis, planes: Sequence[Break]) -> SplineAxis:
    if not planes:
        return axis
    points, at = axis.breakpoints(), np.array([plane.at for plane in planes])
    same = np.abs(at[:, None] - at) <= ROUNDING * np.ptp(points)
    # of several at one place the first stands for all, with the least continuity of any
    first = np.argmax(same, axis=1) == np.arange(len(at))
    least = np.min(np.where(same, [plane.continuity for plane in planes], axis.degree), axis=1)
    # an interval much shorter than its neighbours would be no gain
    apart = np.min(np.abs(points[:, None] - at), axis=1) > CLOSE * np.ptp(points) / axis.intervals
    apart[[0, -1]] = True
    copies = np.maximum(axis.degree - least, 1)
    return axis.with_breakpoints(np.sort(np.r_[points[apart], np.repeat(at[first], copies[first])]))


def _graded(points: np.ndarray, middle: float, width: float) -> tuple[np.ndarray, float]:
    far = STEPS[-1] * 2.0 ** np.arange(1, 60)
    offsets = width * np.r_[STEPS, far]
    offsets = offsets[offsets < max(REACH * np.ptp(points), 2.0 * width)]
    return np.unique(middle + np.r_[-offsets, offsets]), width


def _with(points: np.ndarray, wanted: np.ndarray, width: float) -> np.ndarray:
    """Break points with further ones, without the old ones beside them."""
    low, high = points[0], points[-1]
    wanted = wanted[(wanted > low + 1e-9 * (high - low)) & (wanted < high - 1e-9 * (high - low))]
    wanted = wanted[np.min(np.abs(wanted[:, None] - points), axis=1) > 1e-12 * (high - low)]
    if not len(wanted):
        return points
    inner = points[1:-1]
    distance = np.min(np.abs(inner[:, None] - wanted), axis=1, initial=np.inf)
    from_middle = np.abs(inner - np.median(wanted))
    kept = inner[distance > np.maximum(CLOSE * (from_middle + width), 1e-9 * (high - low))]
    return np.unique(np.r_[low, kept, wanted, high])
