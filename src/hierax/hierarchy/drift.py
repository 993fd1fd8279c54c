"""How a field moves along its periodic axes: the velocity of the frame in which it changes least."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from hierax.fields.axis import SplineAxis, collocation
from hierax.fields.spline_grid import SplineGrid
from hierax.hierarchy.regrid import grids_of

NODES, WEIGHTS = np.polynomial.legendre.leggauss(2)


def drift(field: Any, time: int) -> np.ndarray:
    r"""Velocity `(dim,)` against its own frame that a field of spline grids has in its last interval of time.

    It minimises, over the velocities along periodic axes and over that interval,

    .. math:: \int \sum_u \Bigl(u_t + \sum_k s_k \, \partial_k u\Bigr)^2 .

    The steepest parts count most: of layers with different velocities the frame follows a mean that is nearer to the
    thinner ones. Zero along all other axes, and where nothing is steep.

    Parameters
    ----------
    field:
        A spline grid, in a frame or not, or several as unknowns.
    time:
        Number of the axis of time.
    """
    grids = grids_of(field)
    axes = grids[0].axes
    moving = [k for k, axis in enumerate(axes) if k != time and axis.size == axis.intervals > axis.degree]
    places = [_places(axis, k == time) for k, axis in enumerate(axes)]
    weights = _product([own for _, own in places]).ravel()
    matrix, side = np.zeros((len(moving), len(moving))), np.zeros(len(moving))
    for grid in grids:
        values = partial(_derivative, grid, [points for points, _ in places])
        slopes = [values(k) for k in moving]
        rate = values(time)
        for row, slope in enumerate(slopes):
            weighted = weights[:, None] * slope
            side[row] -= np.sum(weighted * rate)
            matrix[row] += [np.sum(weighted * other) for other in slopes]
    velocity = np.zeros(len(axes))
    if moving:
        velocity[moving] = np.linalg.lstsq(matrix, side, rcond=1e-10)[0]
    return np.where(np.isfinite(velocity), velocity, 0.0)


def _places(axis: SplineAxis, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Gauss points and weights of all intervals of an axis, or of the last one."""
    breaks = axis.breakpoints()[-2:] if last else axis.breakpoints()
    half = 0.5 * np.diff(breaks)[:, None]
    return (breaks[:-1, None] + half * (1.0 + NODES)).ravel(), (half * WEIGHTS).ravel()


def _product(parts: Sequence[np.ndarray]) -> np.ndarray:
    out = np.ones(())
    for part in parts:
        out = np.multiply.outer(out, part)
    return out


def _derivative(grid: SplineGrid, points: Sequence[np.ndarray], along: int) -> np.ndarray:
    """First derivatives along an axis at all places of a tensor grid of points, `(n, channels)`."""
    values = np.asarray(grid.coefficients)
    for k, (axis, x) in enumerate(zip(grid.axes, points, strict=True)):
        matrix = collocation(axis, x, int(k == along))
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, k)), 0, k)
    return values.reshape(int(np.prod([len(x) for x in points])), -1)
