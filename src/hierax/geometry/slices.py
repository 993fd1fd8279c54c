"""Quadrature of bodies in space from their slices: one more reduction of the dimension.

The last coordinate is cut at the lines of the mesh and where slices change their kind: at flat faces, at the tops of
curved ones, and where curves begin or end to cross. Between these heights the slices vary smoothly; towards the top of
a curved face they do so like the root of the distance, which a quadratic change of the variable removes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from scipy.spatial import KDTree

from hierax._errors import InputError
from hierax.geometry.body import AbstractBody, Quadrature
from hierax.geometry.contour import Contour
from hierax.geometry.cut_cells import Cells, inside, on_boundary
from hierax.geometry.part import Part
from hierax.geometry.shape import AbstractShape
from hierax.geometry.solid import AbstractSolidLeaf, Heights, Polyhedron, SolidLevel, meeting, solid

PROBES = 48
"""Heights at which slices are compared."""
NODES = 10
"""Gauss points between two heights for volumes."""
STRAIGHT = 2
"""As many where all faces are flat, between whose corners the area of a slice is a quadratic polynomial."""
ROUNDING = 1e-10
"""Largest error, in the value at the end of a cell, of powers that are integrated over a short part of it."""
SAME = 1e-9
"""Heights that differ by less, in sizes of the shape, are the same."""
EDGES = ((np.arange(12) + 0.5) / 12) ** 1.1
"""Heights, in that of the body, of the slices in which edges are looked for: no two lie alike about its middle, where
those of a body that is its own mirror image have the same corners without an edge between them."""
PLANES = 100
"""Most faces of all leaves together of which corners are calculated."""
STEPS = 6
"""Steps of the way to the nearest point of a boundary."""


class Slice(NamedTuple):
    """A slice: its contour, and the leaf in space of every leaf in the plane."""

    contour: Contour
    sources: tuple[AbstractSolidLeaf, ...]


class Wall(NamedTuple):
    """Points of a boundary with weights, normals and names."""

    points: np.ndarray
    weights: np.ndarray
    normals: np.ndarray
    names: list[tuple[str, ...]]


@final
@dataclass(frozen=True, eq=False)
class SolidBody(AbstractBody):
    """In space, from slices across the last coordinate."""

    @functools.cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.shape.box()
        heights = self.heights
        if len(heights) < 2 or not np.all(np.isfinite([low, high])):
            raise InputError(f"{self.shape!r:.80} is empty or not bounded", "a shape", "look at its parts")
        return np.r_[low[:2], heights[0]], np.r_[high[:2], heights[-1]]

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for names in self._wall(None, 1).names for name in names if name))

    @functools.cached_property
    def sides(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names[-1] for names in self._wall(None, 1).names if names))

    @functools.cached_property
    def measure(self) -> float:
        low, high = self.bounds
        cells = [np.array([a, b]) for a, b in zip(low, high, strict=True)]
        return float(self.interior(cells, NODES if len(self._events.curved) else STRAIGHT).weights.sum())

    @functools.cached_property
    def leaves(self) -> tuple[AbstractSolidLeaf, ...]:
        """Those of the shape, with slices."""
        return tuple(solid(leaf) for leaf in self.shape.leaves)

    @functools.cached_property
    def reach(self) -> float:
        """A distance from the last axis beyond which there is nothing of the shape."""
        low, high = self.shape.box()
        return 2.0 * float(np.max(np.abs([low, high])))

    def slice(self, height: float, above: bool = True) -> Slice | None:
        """The shape at a height, just above it or below."""
        known = dict(zip(self.shape.leaves, self.leaves, strict=True))
        sources: dict[AbstractShape, AbstractSolidLeaf] = {}

        def flat(leaf: AbstractShape) -> AbstractShape | None:
            found = known[leaf].sliced(height, above, self.reach)
            sources.update({own: known[leaf] for own in (() if found is None else found.leaves)})
            return found

        shape = self.shape.combined(flat)
        if shape is None:
            return None
        contour = Contour.of(shape)
        return Slice(contour, tuple(sources[own] for own in shape.leaves)) if len(contour.pieces.first) else None

    @functools.cached_property
    def _events(self) -> Heights:
        low, high = (float(end[2]) for end in self.shape.box())
        own = zip(*(leaf.heights() for leaf in self.leaves), strict=True)
        flat, straight, curved = (np.unique(np.concatenate(heights)) for heights in own)
        flat, straight, curved = (z[(z >= low) & (z <= high)] for z in (flat, straight, curved))
        vertices = self._vertices()
        if vertices is not None:
            return Heights(flat, vertices)
        every = np.unique(np.r_[low, high, flat, straight, curved])
        every = every[np.r_[True, np.diff(every) > SAME * (high - low)]]
        found = [z for a, b in itertools.pairwise(every) for z in self._changes(a, b)]
        return Heights(flat, straight, np.unique([*curved, *found, low, high]))

    def _vertices(self) -> np.ndarray | None:
        """Heights of all corners where every face is flat; otherwise, and of very many faces, they are looked for."""
        planes = [leaf for leaf in self.leaves if isinstance(leaf, Polyhedron)]
        if len(planes) < len(self.leaves) or sum(len(leaf.faces) for leaf in planes) > PLANES:
            return None
        points = meeting(
            *(np.concatenate(part) for part in zip(*((p.directions, p.offsets) for p in planes), strict=True))
        )
        return np.unique(points[np.abs(self.shape.level(points)) <= SAME * self.reach, 2])

    def _changes(self, low: float, high: float) -> list[float]:
        """Heights between two at which the pieces of the contour become others."""
        size = float(np.ptp([end[2] for end in self.shape.box()]))
        count = max(4, int(PROBES * (high - low) / size))
        # closer to the ends, where curves meet the tops of others
        ticks = low + (high - low) * (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count))
        kinds = [self._kind(z) for z in ticks]
        found = []
        for a, b, one, other in zip(ticks[:-1], ticks[1:], kinds[:-1], kinds[1:], strict=True):
            if one == other:
                continue
            while b - a > SAME * size:
                middle = 0.5 * (a + b)
                a, b = (middle, b) if self._kind(middle) == one else (a, middle)
            found.append(0.5 * (a + b))
        return found

    def _kind(self, height: float) -> tuple[int, ...]:
        """How many pieces of boundary each leaf has; of one that is traced through a grid how many lines and ends."""
        own = self.slice(height)
        if own is None:
            return ()
        counts = np.bincount(own.contour.pieces.leaf, minlength=len(own.sources)).tolist()
        traced = [isinstance(leaf, SolidLevel) for leaf in own.sources]
        each = [own.contour.lines(k) if traced[k] else (count,) for k, count in enumerate(counts)]
        return tuple(itertools.chain.from_iterable(each))

    @functools.cached_property
    def heights(self) -> np.ndarray:
        """All heights at which slices change, from the first slice that is not empty to the last."""
        every = np.unique(np.concatenate(self._events))
        if len(every) < 2:
            return every
        every = every[np.r_[True, np.diff(every) > SAME * (every[-1] - every[0])]]
        middles = 0.5 * (every[1:] + every[:-1])
        full = (k for k, z in enumerate(middles) if self.slice(z) is not None)
        back = (k for k in range(len(middles) - 1, -1, -1) if self.slice(middles[k]) is not None)
        first = next(full, None)
        return every[:0] if first is None else every[first : next(back) + 2]

    def _nodes(self, breaks: np.ndarray | None, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Heights and weights of all slices."""
        heights, curved = self.heights, np.asarray(self._events.curved)
        size = heights[-1] - heights[0]
        inner = np.zeros(0) if breaks is None else breaks[(breaks > heights[0]) & (breaks < heights[-1])]
        ends = np.sort(np.r_[heights, inner])
        ends = ends[np.r_[True, np.diff(ends) > SAME * size]]
        at, weights = [], []
        for a, b in itertools.pairwise(ends):
            low, high = (bool(np.min(np.abs(curved - z), initial=np.inf) <= SAME * size) for z in (a, b))
            share = 1.0 if breaks is None else (b - a) / _cell(breaks, 0.5 * (a + b))
            count = order + 2 + (low and high) if low or high else _enough(order, share)
            s, w = np.polynomial.legendre.leggauss(count)
            s, w = 0.5 * (s + 1.0), 0.5 * w
            if low and high:
                s, w = s**2 * (3.0 - 2.0 * s), 6.0 * s * (1.0 - s) * w
            elif low:
                s, w = s**2, 2.0 * s * w
            elif high:
                s, w = 1.0 - s**2, 2.0 * s * w
            at.append(a + (b - a) * s)
            weights.append((b - a) * w)
        return np.concatenate(at), np.concatenate(weights)

    @functools.cached_property
    def inward_corners(self) -> np.ndarray:
        found, (low, high) = [np.zeros((0, 3))], self.bounds
        for axis in range(3):
            turn = np.roll(np.eye(3), 2 - axis, axis=0)  # this axis becomes the last one
            try:
                body = self if axis == 2 else SolidBody(self.shape.mapped(turn, np.zeros(3)))
            except InputError:  # a level set, which is not turned
                continue
            upright = body._upright(low[axis] + (high[axis] - low[axis]) * EDGES)
            found.append(np.roll(np.insert(upright, 2, np.nan, axis=1), axis - 2, axis=1))
        return np.concatenate(found)

    def _upright(self, heights: np.ndarray) -> np.ndarray:
        """Inward corners `(n, 2)` at the same place in slices at two heights one after the other."""
        slices = [self.slice(z) for z in heights]
        corners = [np.zeros((0, 2)) if s is None else s.contour.inward_corners for s in slices]
        same = [
            first[KDTree(second).query(first)[0] <= SAME * self.reach]
            for first, second in itertools.pairwise(corners) if len(first) and len(second)
        ]  # fmt: skip
        return np.unique(np.concatenate([np.zeros((0, 2)), *same]), axis=0)

    def interior(self, cells: Cells, order: int) -> Quadrature:
        points, weights = [np.zeros((0, 3))], [np.zeros(0)]
        for z, w in zip(*self._nodes(np.asarray(cells[2]), order), strict=True):
            own = self.slice(z)
            if own is not None:
                flat = inside(own.contour, cells[:2], order)
                points.append(np.insert(flat.points, 2, z, axis=1))
                weights.append(w * flat.weights)
        return Quadrature(np.concatenate(points), np.concatenate(weights))

    def surface(self, part: Part, cells: Cells | None, order: int) -> Quadrature:
        wall = self._wall(cells, order)
        keep = np.array([part.named(names) for names in wall.names], bool)
        keep[keep] = part.holds(wall.points[keep])
        return Quadrature(wall.points[keep], wall.weights[keep], wall.normals[keep])

    def _wall(self, cells: Cells | None, order: int) -> Wall:
        return _walls(self, order, *(np.asarray(b, float).tobytes() for b in cells or ()))

    def wall(self, cells: Sequence[np.ndarray] | None, order: int) -> Wall:
        """The whole boundary with its names."""
        flat = None if cells is None else cells[:2]
        found = [*self._sides(None if cells is None else np.asarray(cells[2]), flat, order), *self._flat(flat, order)]
        points, weights, normals = (np.concatenate([getattr(p, name) for p in found])
                                    for name in ("points", "weights", "normals"))  # fmt: skip
        return Wall(points, weights, normals, [names for part in found for names in part.names])

    def _sides(self, breaks: np.ndarray | None, cells: Cells | None, order: int) -> list[Wall]:
        """What slices cut."""
        out = []
        for z, w in zip(*self._nodes(breaks, order), strict=True):
            own = self.slice(z)
            if own is None:
                continue
            for number, leaf in enumerate(own.sources):
                pieces = own.contour.pieces.take(own.contour.pieces.leaf == number)
                if not len(pieces.first):
                    continue
                rule = on_boundary(own.contour, pieces, cells, order)
                points = np.insert(rule.points, 2, z, axis=1)
                normals = leaf.normals(points)
                assert rule.normals is not None
                across = np.sum(normals[:, :2] * rule.normals, axis=1)
                weights = w * rule.weights / np.maximum(np.abs(across), 1e-9)
                out.append(Wall(points, weights, np.sign(across)[:, None] * normals, leaf.labels(points)))
        return out

    def _flat(self, cells: Cells | None, order: int) -> list[Wall]:
        """Flat faces across the last coordinate."""
        out = []
        for z in self._events.flat:
            above, below = self.slice(z, True), self.slice(z, False)
            for first, second, up in ((below, above, 1.0), (above, below, -1.0)):
                if first is None:
                    continue
                shape = first.contour.shape if second is None else first.contour.shape - second.contour.shape
                contour = Contour.of(shape)
                if not len(contour.pieces.first):
                    continue
                mesh = [np.array(ends) for ends in zip(*contour.bounds, strict=True)] if cells is None else cells
                rule = inside(contour, mesh, order)
                points = np.insert(rule.points, 2, z, axis=1)
                normals = np.tile([0.0, 0.0, up], (len(points), 1))
                out.append(Wall(points, rule.weights, normals, self._names(points)))
        return out

    def _names(self, points: np.ndarray) -> list[tuple[str, ...]]:
        """Names of the leaves on whose boundary points lie."""
        out: list[tuple[str, ...]] = [()] * len(points)
        size = float(np.max(np.abs(np.subtract(*self.shape.box()))))
        for leaf in self.leaves:
            on = np.flatnonzero(np.abs(leaf.level(points)) <= SAME * size)
            for k, names in zip(on, leaf.labels(points[on]), strict=True):
                out[k] = (*out[k], *names)
        return out

    def nearest(self, points: np.ndarray) -> np.ndarray:
        low, high = self.bounds
        wall = self._wall([np.linspace(a, b, 13) for a, b in zip(low, high, strict=True)], 4)
        pick = KDTree(wall.points).query(points)[1]
        best, normal = wall.points[pick], wall.normals[pick]
        for _ in range(STEPS):
            # along the tangent plane of the last point, and back to the boundary
            flat = best + (points - best) - np.sum((points - best) * normal, axis=1)[:, None] * normal
            there = flat - self.shape.level(flat)[:, None] * normal
            on = np.abs(self.shape.level(there)) < np.linalg.norm(best - points, axis=1)
            nearer = on & (np.linalg.norm(there - points, axis=1) < np.linalg.norm(best - points, axis=1))
            best = np.where(nearer[:, None], there, best)
        return best


def _cell(breaks: np.ndarray, height: float) -> float:
    """Length of the cell in which a height is."""
    k = min(max(int(np.searchsorted(breaks, height)), 1), len(breaks) - 1)
    return float(breaks[k] - breaks[k - 1])


def _enough(order: int, share: float) -> int:
    """Gauss points for powers up to `2 order + 1` on a part of a cell: fewer than `order` where it is a small one."""
    most = 2 * order + 1
    for n in range(2, order):
        rest = math.factorial(n) ** 4 / ((2 * n + 1) * math.factorial(2 * n) ** 3)
        if share ** (2 * n) * rest * math.perm(most, 2 * n) <= ROUNDING:
            return n
    return order


@functools.lru_cache(maxsize=24)
def _walls(body: SolidBody, order: int, *cells: bytes) -> Wall:
    return body.wall([np.frombuffer(b) for b in cells] or None, order)
