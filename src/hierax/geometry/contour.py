"""The boundary of a shape in the plane: the pieces of the curves of its leaves on one side of which it lies."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from hierax.geometry.curves import AbstractCurves, root
from hierax.geometry.part import Part
from hierax.geometry.plane import AbstractPlaneLeaf
from hierax.geometry.shape import ROUNDING, AbstractShape

SAMPLES = 48
"""Points of a piece at which other leaves are looked at for crossings."""
SECTIONS = 45
"""Golden sections of an interval."""
SHARP = 0.05
"""Least sine of the angle by which a corner turns."""
BESIDE = 1e-7
"""Distance from a piece, in sizes of the shape, at which both of its sides are looked at."""
JOINED = 1e-7
"""Distance of two ends, in sizes of the shape, within which pieces go on in each other."""
CANDIDATES = 4
"""Samples of the boundary beside which the nearest point is looked for."""
NODES = 12
"""Gauss points of a piece for lengths."""


Level = Callable[[np.ndarray], np.ndarray]
"""A function of points `(n, 2)`, negative inside."""


class Pieces(NamedTuple):
    """Pieces of boundary: number of the leaf, of its curve, the first and last parameter, all `(n,)`, and `(n,)` 1 or
    -1 for the side of the outward normal."""

    leaf: np.ndarray
    curve: np.ndarray
    first: np.ndarray
    last: np.ndarray
    side: np.ndarray

    def take(self, pick: np.ndarray) -> Pieces:
        """A selection or repetition."""
        return Pieces(*(part[pick] for part in self))

    def between(self, first: np.ndarray, last: np.ndarray) -> Pieces:
        """The same pieces between other parameters."""
        return self._replace(first=first, last=last)

    @property
    def middle(self) -> np.ndarray:
        """Parameters of their middles."""
        return 0.5 * (self.first + self.last)


@final
@dataclass(frozen=True, eq=False)
class Contour:
    """The boundary of a shape in the plane.

    Attributes
    ----------
    shape, leaves:
        The shape and what it is put together from.
    curves:
        Those of every leaf.
    pieces:
        What of them is the boundary of the shape.
    size:
        The longest edge of the box around the leaves.
    """

    shape: AbstractShape
    leaves: tuple[AbstractPlaneLeaf, ...]
    curves: tuple[AbstractCurves, ...]
    pieces: Pieces
    size: float

    @classmethod
    def of(cls, shape: AbstractShape) -> Contour:
        """Find it."""
        leaves: Sequence[AbstractPlaneLeaf] = shape.leaves  # pyright: ignore
        low, high = shape.box()
        size = float(np.max(high - low))
        curves = tuple(leaf.curves() for leaf in leaves)
        whole = cls(shape, tuple(leaves), curves, _all(curves), size)
        broken = whole.broken(whole.pieces, lambda number: [own.level for k, own in enumerate(leaves) if k != number])
        return cls(shape, tuple(leaves), curves, whole.kept(broken), size)

    def lines(self, number: int) -> tuple[int, int]:
        """Connected lines that the pieces of a leaf make, and ends of these."""
        own = self.pieces.take(self.pieces.leaf == number)
        count, ends = len(own.first), np.concatenate([self.at(own, own.first), self.at(own, own.last)])
        if not count:
            return 0, 0
        pairs = KDTree(ends).query_pairs(JOINED * self.size, output_type="ndarray")
        graph = coo_array((np.ones(len(pairs)), tuple((pairs % count).T)), shape=(count, count))
        return connected_components(graph, directed=False)[0], len(ends) - len(np.unique(pairs))

    def at(self, pieces: Pieces, t: np.ndarray) -> np.ndarray:
        """Points `(n, 2)` of pieces at parameters `(n,)`."""
        return self._by_leaf(pieces, t, lambda curves, k, s: curves.at(k, s))

    def slope(self, pieces: Pieces, t: np.ndarray) -> np.ndarray:
        """Derivatives `(n, 2)` by the parameter."""
        return self._by_leaf(pieces, t, lambda curves, k, s: curves.slope(k, s))

    def _by_leaf(self, pieces: Pieces, t: np.ndarray, of) -> np.ndarray:
        out = np.zeros((len(t), 2))
        for number in np.unique(pieces.leaf):
            own = pieces.leaf == number
            out[own] = of(self.curves[number], pieces.curve[own], t[own])
        return out

    def normals(self, pieces: Pieces, t: np.ndarray) -> np.ndarray:
        """Outward unit normals `(n, 2)`."""
        slope = self.slope(pieces, t)
        turned = np.stack([slope[:, 1], -slope[:, 0]], axis=1) * pieces.side[:, None]
        return turned / np.linalg.norm(turned, axis=1, keepdims=True)

    def labels(self, pieces: Pieces) -> list[tuple[str, ...]]:
        """Names of pieces."""
        known = [leaf.labels() for leaf in self.leaves]
        return [known[leaf][curve] for leaf, curve in zip(pieces.leaf, pieces.curve, strict=True)]

    def broken(self, pieces: Pieces, levels: Callable[[int], Sequence[Level]]) -> Pieces:
        """Pieces cut where one of the functions `levels(leaf)` of points changes its sign, or starts or ends a zero."""
        out = []
        for number in np.unique(pieces.leaf):
            own = pieces.take(pieces.leaf == number)
            share = np.linspace(0.0, 1.0, SAMPLES)
            t = own.first[:, None] + share * (own.last - own.first)[:, None]
            t[:, -1] = own.last
            points = self.at(own.take(np.repeat(np.arange(len(own.first)), SAMPLES)), t.ravel())
            cuts: list[list[float]] = [[a, b] for a, b in zip(own.first, own.last, strict=True)]
            for level in levels(number):
                values = level(points).reshape(t.shape)
                self._cut(cuts, t, values, lambda s, rows, own=own, of=level: of(self.at(own.take(rows), s)))
            limits = [np.sort(c) for c in cuts]
            again = np.repeat(np.arange(len(limits)), [len(c) - 1 for c in limits])
            first = np.concatenate([c[:-1] for c in limits])
            last = np.concatenate([c[1:] for c in limits])
            solid = last - first > 1e-14 * np.maximum(np.abs(first), np.abs(last))
            out.append(own.take(again).between(first, last).take(solid))
        return Pieces(*(np.concatenate(part) for part in zip(*out, strict=True))) if out else pieces

    def _cut(self, cuts: list[list[float]], t: np.ndarray, values: np.ndarray, level) -> None:
        tiny = ROUNDING * self.size
        kind = np.where(np.abs(values) <= tiny, 0, np.sign(values)).astype(int)
        at = np.argwhere(kind[:, :-1] != kind[:, 1:])
        low, high = t[at[:, 0], at[:, 1]], t[at[:, 0], at[:, 1] + 1]
        before, after = kind[at[:, 0], at[:, 1]], kind[at[:, 0], at[:, 1] + 1]
        across = before * after < 0

        def changed(s: np.ndarray) -> np.ndarray:
            found = level(s, at[:, 0])
            return np.where(across, found, np.abs(found) - tiny)

        places = [(at[:, 0], root(changed, low, high))]
        # two crossings between neighbouring points: the value comes close to zero there and goes away again, by less
        # than half of what it changes between points where it is a distance, by a quarter where it is smooth
        size = np.abs(values)
        near = (size[:, 1:-1] < size[:, :-2]) & (size[:, 1:-1] <= size[:, 2:]) & (kind[:, 1:-1] != 0)
        near &= 2.0 * size[:, 1:-1] <= np.maximum(size[:, :-2], size[:, 2:])
        near &= (kind[:, :-2] == kind[:, 1:-1]) & (kind[:, 2:] == kind[:, 1:-1])
        spots = np.argwhere(near)
        if len(spots):
            places += self._touching(t, kind, spots, level)
        for rows, found in places:
            for row, value in zip(rows, found, strict=True):
                cuts[row].append(float(value))

    @staticmethod
    def _touching(t: np.ndarray, kind: np.ndarray, spots: np.ndarray, level) -> list[tuple[np.ndarray, np.ndarray]]:
        rows = spots[:, 0]
        low, high = t[rows, spots[:, 1]], t[rows, spots[:, 1] + 2]
        sign, first, last = kind[rows, spots[:, 1] + 1], low.copy(), high.copy()
        middle = shortest(lambda s: sign * level(s, rows), low, high)
        crossed = sign * level(middle, rows) < 0
        rows, middle, first, last = rows[crossed], middle[crossed], first[crossed], last[crossed]
        return [(rows, root(lambda s: level(s, rows), end, middle)) for end in (first, last)]

    def kept(self, pieces: Pieces) -> Pieces:
        """Those on one side of which the shape lies, with that side; one of several that coincide."""
        t = pieces.middle
        points, normals = self.at(pieces, t), self.normals(pieces._replace(side=np.ones(len(t))), t)
        off = BESIDE * self.size * normals
        there, here = self.shape.level(points + off) < 0, self.shape.level(points - off) < 0
        again = np.zeros(len(t), bool)
        for number, leaf in enumerate(self.leaves):
            later = pieces.leaf > number
            again[later] |= np.abs(leaf.level(points[later])) <= ROUNDING * self.size
        keep = (there != here) & ~again
        return pieces._replace(side=np.where(here, 1.0, -1.0)).take(keep)

    def selected(self, part: Part) -> Pieces:
        """The pieces of a part, cut where its predicate changes."""
        names = self.labels(self.pieces)
        named = self.pieces.take(np.array([part.named(own) for own in names], bool))
        if part.where is None or not len(named.first):
            return named
        cut = self.broken(named, lambda _: [lambda points: np.where(part.holds(points), -1.0, 1.0)])
        return cut.take(part.holds(self.at(cut, cut.middle)))

    @functools.cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the smallest box around the boundary: pieces are monotone, their ends are extreme."""
        ends = np.concatenate([self.at(self.pieces, self.pieces.first), self.at(self.pieces, self.pieces.last)])
        return ends.min(axis=0), ends.max(axis=0)

    @functools.cached_property
    def inward_corners(self) -> np.ndarray:
        """Corners `(n, 2)` whose angle inside is larger than a half turn."""
        p = self.pieces
        both = Pieces(*(np.concatenate([part, part]) for part in p))
        t, away = np.concatenate([p.first, p.last]), np.repeat([1.0, -1.0], len(p.first))
        ends, normals = self.at(both, t), self.normals(both, t)
        into = self.slope(both, t) * away[:, None]
        into /= np.linalg.norm(into, axis=1, keepdims=True)
        pairs = KDTree(ends).query_pairs(BESIDE * self.size, output_type="ndarray")
        # one side leads to where the other says that outside is
        turned = np.sum(into[pairs[:, 1]] * normals[pairs[:, 0]], axis=1) > SHARP
        return np.unique(np.round(ends[pairs[turned, 0]], 12), axis=0)

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Points `(n, 2)` of the boundary that are next to points `(n, 2)`."""
        p = self.pieces
        share = np.linspace(0.0, 1.0, SAMPLES)
        t = p.first[:, None] + share * (p.last - p.first)[:, None]
        rows = np.repeat(np.arange(len(p.first)), SAMPLES)
        near = self.at(p.take(rows), t.ravel())
        # the nearest of the samples may lie on a piece that is not the nearest
        found: Any = KDTree(near).query(points, k=list(range(1, CANDIDATES + 1)))[1]  # pyright: ignore
        best, away = near[found[:, 0]], np.full(len(points), np.inf)
        for k in range(CANDIDATES):
            row = rows[found[:, k]]
            own, step = p.take(row), (p.last - p.first)[row] / (SAMPLES - 1)
            middle = t.ravel()[found[:, k]]
            low, high = np.maximum(middle - step, own.first), np.minimum(middle + step, own.last)
            at = self.at(own, shortest(lambda s, o=own: np.sum((self.at(o, s) - points) ** 2, axis=1), low, high))
            here = np.linalg.norm(at - points, axis=1)
            best, away = np.where((here < away)[:, None], at, best), np.minimum(here, away)
        return best


def shortest(value: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where a function with one minimum between `low` and `high` `(n,)` has it, by golden sections."""
    for _ in range(SECTIONS):
        a, b = low + 0.382 * (high - low), low + 0.618 * (high - low)
        left = value(a) < value(b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    return 0.5 * (low + high)


def _all(curves: Sequence[AbstractCurves]) -> Pieces:
    spans = [c.spans for c in curves]
    leaf = np.repeat(np.arange(len(curves)), [len(s) for s in spans])
    curve = np.concatenate([np.arange(len(s)) for s in spans])
    first, last = np.concatenate(spans).T
    return Pieces(leaf, curve, first, last, np.ones(len(leaf)))
