"""Break points of a first grid where terms have peaks and jumps and boundaries bend, so that every level sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from hierax.fields import SplineGrid
from hierax.fields.axis import SplineAxis
from hierax.geometry import AbstractShape
from hierax.hierarchy.marking import graded, halved
from hierax.objective.missed import Feature, Jump, Peak
from hierax.objective.order import order_along
from hierax.problems.domain import Boundary, Interface, PointCloud
from hierax.problems.problem import Problem

REACH = 0.125
"""Break points around a peak are spread to this part of the axis."""
STEPS = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
"""Distances in half-widths of the first break points on either side of a peak; further ones double."""
CLOSE = 0.25
"""An equidistant break point goes where one of a peak is nearer than this part of the distance to the peak, or one
where derivatives jump is nearer than this part of an interval."""
GRADED, CORNERS = 9, 20
"""Most halvings towards a corner; break points on either side of all corners together."""
QUARTERED, EDGES = 4, 9
"""Most break points on either side of an edge in space; of all edges along an axis together."""
BENT = 0.5
"""Longest intervals near a boundary that bends, in its radius of curvature and in the distance from it."""
HALVINGS = 4
"""Most halvings for the sake of bends."""
CORNER = 0.8
"""Difference of neighbouring unit normals from which on there is a corner between them."""
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
    """Where derivatives jump: on interfaces the first, where terms jump those of the order of the equations there."""
    broken = [Break(problem.domain.axis(str(p.name)), float(p.at or 0.0), p.continuity) for p in interfaces]
    flat = [f for f in features if isinstance(f, Jump) and f.flat]
    jumps = [Break(f.axis, float(f.place[f.axis]), order_along(problem, f.axis, order) - 1) for f in flat]
    return (*broken, *jumps)


class Bend(NamedTuple):
    """Points `(n, dim)` of a boundary that bends, and its radius of curvature there `(n,)`."""

    points: np.ndarray
    radii: np.ndarray


def bends(problem: Problem) -> tuple[Bend, ...]:
    """Where boundaries and interfaces bend: near a hole solutions vary on its scale. Corners have none."""
    domain = problem.domain
    if problem.regions is not None or isinstance(domain, AbstractShape):
        shapes = () if problem.regions is None else problem.regions.shapes
        own = (domain,) if isinstance(domain, AbstractShape) else ()
        return tuple(Bend(*shape.body.bends) for shape in (*own, *shapes))
    return tuple(_bend(wall) for wall in domain.boundaries.values()) if isinstance(domain, PointCloud) else ()


def _bend(wall: Boundary) -> Bend:
    count = min(2 * wall.points.shape[1], len(wall.points) - 1)
    distance, near = KDTree(wall.points).query(wall.points, k=range(1, count + 2))  # pyright: ignore
    turned = np.sqrt(np.sum((wall.normals[near] - wall.normals[:, None]) ** 2, axis=2))
    turns = (turned > 0.0) & (turned < CORNER) & (distance > 0.0)
    radii = np.where(turns, distance / np.where(turns, turned, 1.0), np.inf)
    return Bend(wall.points, np.median(radii[:, 1:], axis=1) if count else np.full(len(radii), np.inf))


class Edge(NamedTuple):
    """A corner or edge into a body, at `x[axis] = at`, and the break points on either side of it, graded towards it."""

    axis: int
    at: float
    points: np.ndarray


def edges(problem: Problem) -> tuple[Edge, ...]:
    """Corners and edges into a shape or one of its parts, where gradients are infinite as a rule.

    Knots are graded towards them, in the plane by halvings. In space, where break points cost more, it is by quarters:
    near an edge solutions are alike on all scales, and splines follow them best for their number with a factor below
    a fifth (Gui, Babuska, Numer. Math. 49, 1986). The more edges there are along an axis, the fewer points each has.
    """
    domain, whole = problem.domain, problem.domain if isinstance(problem.domain, AbstractShape) else None
    bodies = problem.regions.bodies if problem.regions is not None else (whole,) if whole is not None else ()
    places = np.concatenate([np.zeros((0, domain.dim)), *(body.body.inward_corners for body in bodies)])
    (low, high), found = domain.bounds(), []
    for axis in range(domain.dim):
        at, size = np.unique(places[~np.isnan(places[:, axis]), axis]), high[axis] - low[axis]
        at = at[np.diff(at, prepend=-np.inf) > ROUNDING * size]
        shares = _shares(domain.dim, len(at))
        # those of two edges meet in the middle
        room = np.diff(np.r_[2.0 * low[axis] - at[:1], at, 2.0 * high[axis] - at[-1:]]) / 2.0
        reach = np.minimum(room, REACH * size)
        sides = zip(at, reach[:-1], reach[1:], strict=True) if len(shares) else ()
        found += [Edge(axis, x, np.unique(np.r_[x - left * shares, x, x + right * shares])) for x, left, right in sides]
    return tuple(found)


def _shares(dim: int, count: int) -> np.ndarray:
    """Distances of the break points on either side of each of `count` corners or edges along an axis, in how far they
    may reach; none where there are too many."""
    if dim > 2:
        return 0.25 ** np.arange(min(QUARTERED, EDGES // max(count, 1)))
    points = CORNERS // max(count, 1) - 1
    halvings = min(GRADED, points - len(STEPS) + 2)
    if halvings < 1:
        return 0.5 ** np.arange(points, 0, -1)
    return np.r_[STEPS[1:], STEPS[-1] * 2.0 ** np.arange(1, halvings)] / STEPS[-1] * 0.5**halvings


def creases(found: Sequence[Edge], order: int) -> tuple[Break, ...]:
    """Planes through corners and edges across which derivatives of an energy's own order may jump.

    Splines that are smooth across them carry what is singular on one side to the other.
    """
    return tuple(Break(edge.axis, edge.at, order - 1) for edge in found)


def with_knots(
    part: SplineGrid, features: Sequence[Feature], planes: Sequence[Break], bent: Sequence[Bend],
    corners: Sequence[Edge] = (), creased: Sequence[Break] = (),
) -> SplineGrid:  # fmt: skip
    """The grid with break points graded towards corners and edges, near bends and at peaks, graded from their size on,
    and repeated where derivatives jump: on planes, and at break points that `creased` names. Its coefficients are
    constant."""

    def along(k: int, axis: SplineAxis) -> SplineAxis:
        axis = _bent(_edged(axis, [c for c in corners if c.axis == k]), k, bent)
        axis = _broken(_axis(axis, k, features), [p for p in planes if p.axis == k])
        return _repeated(axis, [c for c in creased if c.axis == k])

    axes = tuple(along(k, axis) for k, axis in enumerate(part.axes))
    if axes == part.axes:
        return part
    shape = (*(axis.size for axis in axes), *part.channels)
    return SplineGrid(axes, np.full(shape, np.ravel(part.coefficients)[0]))


def _bent(axis: SplineAxis, number: int, bent: Sequence[Bend]) -> SplineAxis:
    """Intervals halved until they are short beside the radius of any bend and the distance from it."""
    points = axis.breakpoints()
    at = np.concatenate([[0.0], *(bend.points[:, number] for bend in bent)])
    radii = np.concatenate([[np.inf], *(bend.radii for bend in bent)])
    for _ in range(HALVINGS):
        low, high = points[:-1, None], points[1:, None]
        away = np.maximum(np.maximum(low - at, at - high), 0.0)
        longest = BENT * np.min(radii + away, axis=1)
        marked = np.diff(points) > longest
        if not marked.any():
            break
        points = halved(points, marked)
    return axis if len(points) == axis.intervals + 1 else axis.with_breakpoints(graded(points))


def _edged(axis: SplineAxis, corners: Sequence[Edge]) -> SplineAxis:
    """The axis with the break points of edges in place of its own within their reach and beside it."""
    points = axis.breakpoints()
    if not corners:
        return axis
    ends = np.array([[c.at - (1.0 + CLOSE) * np.ptp(c.points[c.points <= c.at]),
                      c.at + (1.0 + CLOSE) * np.ptp(c.points[c.points >= c.at])] for c in corners])  # fmt: skip
    far = np.all((points[:, None] < ends[:, 0]) | (points[:, None] > ends[:, 1]), axis=1)
    far[[0, -1]] = True
    every = np.unique(np.concatenate([points[far], *(c.points for c in corners)]))
    every = every[np.diff(every, prepend=-np.inf) > ROUNDING * np.ptp(points)]
    return axis.with_breakpoints(np.r_[points[0], every[1:-1], points[-1]])


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
    # one interval between two planes would have more parameters than its points have rows
    ends = np.unique(np.r_[points[[0, -1]], at[first]])
    empty = np.histogram(points[apart][1:-1], ends)[0] == 0
    middles = 0.5 * (ends[1:] + ends[:-1])[empty]
    return axis.with_breakpoints(np.sort(np.r_[points[apart], middles, np.repeat(at[first], copies[first])]))


def _repeated(axis: SplineAxis, creased: Sequence[Break]) -> SplineAxis:
    points = axis.breakpoints()
    for crease in creased:
        same = np.abs(points - crease.at) <= ROUNDING * np.ptp(points)
        more = axis.degree - max(crease.continuity, 0) - int(same.sum())
        if same.any() and more > 0:
            points = np.sort(np.r_[points, np.repeat(points[same][0], more)])
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
