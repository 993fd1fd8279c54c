"""Spline grids on other break points that need not be nested: for fields that follow a moving front.

Along each axis the spline is interpolated at the Greville points of the new knots. Where the new space contains the
old function, also on a part of the old box, the result is that function.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from hierax.fields.axis import collocation
from hierax.fields.moving import MovingGrid, frame_of, in_frame
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.marking import axis_errors, graded, halved

Breaks = Sequence[np.ndarray]


@functools.singledispatch
def grids_of(field: Any) -> tuple[SplineGrid, ...]:
    """The spline grids of a field, without its frame: itself, or all unknowns by name; empty for other fields."""
    del field
    return ()


@grids_of.register
def _(field: SplineGrid) -> tuple[SplineGrid, ...]:
    return (field,)


@grids_of.register
def _(field: MovingGrid) -> tuple[SplineGrid, ...]:
    return (field.grid,)


@grids_of.register
def _(field: Unknowns) -> tuple[SplineGrid, ...]:
    parts = [grids_of(part) for part in field.parts.values()]
    return tuple(grid for part in parts for grid in part) if all(parts) else ()


def with_grids(field: Any, grids: Sequence[SplineGrid]) -> Any:
    """The field with other grids, in the order of `grids_of`, in the same frame."""
    bare = Unknowns(**dict(zip(field.parts, grids, strict=True))) if isinstance(field, Unknowns) else grids[0]
    frame = frame_of(field)
    return bare if frame is None else in_frame(bare, frame)


def breakpoints_of(field: Any) -> tuple[np.ndarray, ...]:
    """Break points that all grids of a field share."""
    return grids_of(field)[0].breakpoints()


def regrid(field: Any, breakpoints: Breaks) -> Any:
    """The field on other break points, one array an axis, by interpolation; they may cover a part of the box."""
    return with_grids(field, [_regridded(grid, breakpoints) for grid in grids_of(field)])


def _regridded(grid: SplineGrid, breakpoints: Breaks) -> SplineGrid:
    axes, coefficients = [], np.asarray(grid.coefficients)
    for k, (old, points) in enumerate(zip(grid.axes, breakpoints, strict=True)):
        if np.array_equal(old.breakpoints(), points):
            axes.append(old)
            continue
        new = old.with_breakpoints(points)
        low, high = points[0], points[-1]
        at = new.positions()
        if new.size == new.intervals:
            at = low + (at - low) % (high - low)
        at = np.clip(at, low, high)
        matrix = np.linalg.solve(collocation(new, at), collocation(old, at))
        coefficients = np.moveaxis(np.tensordot(matrix, coefficients, axes=(1, k)), 0, k)
        axes.append(new)
    return SplineGrid(axes, coefficients)


def held(field: Any, axis: int, times: np.ndarray) -> Any:
    """The values at the upper end of an axis, constant along new break points of that axis."""
    out = []
    for grid in grids_of(field):
        new = grid.axes[axis].with_breakpoints(times)
        last = np.take(np.asarray(grid.coefficients), [-1], axis=axis)
        axes = [new if k == axis else a for k, a in enumerate(grid.axes)]
        out.append(SplineGrid(axes, np.repeat(last, new.size, axis=axis)))
    return with_grids(field, out)


def rms(field: Any) -> float:
    """Root mean square of the coefficients of the largest unknown, each with the integral of its function: the size of
    the solution, also where knots crowd."""
    return max(_rms(grid) for grid in grids_of(field))


def _rms(grid: SplineGrid) -> float:
    squares = np.asarray(grid.coefficients) ** 2
    squares = squares.reshape(*squares.shape[: len(grid.axes)], -1).mean(axis=-1)
    for axis in grid.axes:
        knots, reach = np.asarray(axis.knots), axis.degree + 1
        integrals = (knots[reach:] - knots[:-reach])[: axis.size]
        squares = np.tensordot(integrals / integrals.sum(), squares, axes=1)
    return float(np.sqrt(squares))


def jumps(field: Any, axis: int, shares: Sequence[np.ndarray]) -> np.ndarray:
    """Estimated errors along each axis, as in `MarkedKnots`, where the residual is large.

    Parameters
    ----------
    axis:
        The axis of time.
    shares:
        For each axis the part of every interval in the squared residual; that of time is not used.

    Returns
    -------
    `(axes,)`, the largest over the unknowns. Along time only functions count that live where the residual is large;
    along the other axes only intervals where it is.
    """
    out = np.zeros(len(shares))
    large = [share >= 0.3 * share.max() for share in shares]
    for grid in grids_of(field):
        values = np.asarray(grid.coefficients)
        for k, a in enumerate(grid.axes):
            if k == axis:
                part = values
                for other, b in enumerate(grid.axes):
                    if other != axis:
                        alive = (np.flatnonzero(large[other])[:, None] + np.arange(b.degree + 1)) % b.size
                        part = np.take(part, np.unique(alive), axis=other)
                errors = axis_errors(a, np.moveaxis(part, k, 0))
            else:
                errors = axis_errors(a, np.moveaxis(values, k, 0))[large[k]]
            out[k] = max(out[k], float(errors.max()))
    return out


def refined(breaks: np.ndarray, share: np.ndarray, most: float) -> np.ndarray:
    """Halve the intervals, and those beside them, whose part of the squared residual is above an equal part of `most`.

    Neighbours differ in length by at most a factor of four afterwards.
    """
    marked = share > most / len(share)
    marked = marked | np.roll(marked, 1) | np.roll(marked, -1)
    return graded(halved(breaks, marked))


def coarsened(breaks: np.ndarray, share: np.ndarray, most: float, longest: float, growth: float = 256.0) -> np.ndarray:
    """Merge pairs of intervals that were halves of one, as long as little residual is expected from it.

    Parameters
    ----------
    share:
        Part of each interval in the squared residual.
    most:
        A merged interval may have half of an equal part of this.
    longest:
        Length of the longest interval to make.
    growth:
        Factor of the squared residual when an interval becomes twice as long.
    """
    limit = 0.5 * most / len(share)
    points, parts, i = list(breaks), list(share), 0
    while i < len(parts) - 1:
        first, second = points[i + 1] - points[i], points[i + 2] - points[i + 1]
        place = (points[i] - breaks[0]) / (2 * first)
        halves = abs(first - second) < 1e-9 * first and 2 * first < 1.001 * longest and abs(place - round(place)) < 1e-6
        expected = growth * (parts[i] + parts[i + 1])
        if halves and expected < limit:
            del points[i + 1]
            parts[i : i + 2] = [expected]
            i = max(i - 1, 0)
        else:
            i += 1
    return graded(np.array(points))


def motion(field: Any, axis: int, share: float = 0.1) -> float:
    """How much more has to be fine for all times together than at one time: 1 for fronts that stand still.

    Along each axis but `axis` (time), the length of the intervals whose estimated error is at some time at least
    `share` of the largest, over the mean such length at one time; the largest of all axes and unknowns.
    """
    worst = 1.0
    for grid in grids_of(field):
        values = np.asarray(grid.coefficients)
        values = values.reshape(*values.shape[: len(grid.axes)], -1)
        for k, a in enumerate(grid.axes):
            if k == axis:
                continue
            ordered = np.moveaxis(values, (k, axis), (0, 1))
            errors = np.stack([axis_errors(a, ordered[:, j]) for j in range(ordered.shape[1])], axis=1)
            fine = errors >= share * errors.max()
            length = np.diff(a.breakpoints())
            each = length @ fine
            worst = max(worst, float(length @ fine.any(axis=1)) / max(float(each[each > 0].mean()), 1e-300))
    return worst
