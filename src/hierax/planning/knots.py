"""Break points of a first grid where the terms have peaks and jumps, so that every level sees them."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from hierax.fields import SplineGrid
from hierax.fields.axis import SplineAxis
from hierax.objective.missed import Feature, Jump, Peak

REACH = 0.125
"""Break points around a peak are spread to this part of the axis."""
STEPS = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
"""Distances in half-widths of the first break points on either side of a peak; further ones double."""
CLOSE = 0.25
"""An equidistant break point goes where one of a peak is nearer than this part of the distance to the peak."""


def with_knots(part: SplineGrid, features: Sequence[Feature]) -> SplineGrid:
    """The grid with break points at peaks, graded from their width on, and at flat jumps; its coefficients constant."""
    axes = tuple(_axis(axis, k, features) for k, axis in enumerate(part.axes))
    if axes == part.axes:
        return part
    shape = (*(axis.size for axis in axes), *part.channels)
    return SplineGrid(axes, jnp.full(shape, jnp.ravel(part.coefficients)[0]))


def _axis(axis: SplineAxis, number: int, features: Sequence[Feature]) -> SplineAxis:
    points = axis.breakpoints()
    for feature in features:
        if isinstance(feature, Jump) and feature.flat and feature.axis == number:
            points = _with(points, feature.place[number : number + 1], 0.0)
        if isinstance(feature, Peak) and np.isfinite(feature.widths[number]):
            points = _with(points, *_graded(points, feature.place[number], feature.widths[number]))
    return axis if len(points) == axis.intervals + 1 else axis.with_breakpoints(points)


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
