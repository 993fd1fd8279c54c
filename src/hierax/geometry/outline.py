"""Areas inside of closed lines of many pieces, straight ones and parabolas, as the edges of a mesh are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from hierax.geometry.curves import AbstractCurves, Fitted, Segments
from hierax.geometry.plane import CHUNK, AbstractPlaneLeaf
from hierax.geometry.shape import AbstractShape

STRAIGHT = 1e-9
"""Distance of a piece's middle from that of its ends, in their distance, below which it is straight."""
STEPS = 8
"""Steps of the way to the nearest point of a parabola."""
SLOW = 0.3
"""Least second derivative of the squared distance, in that of a straight piece, for a step."""
MOST = 4000
"""Most samples of all pieces together."""


@final
@dataclass(frozen=True, eq=False)
class Nearby:
    """Samples of pieces of a boundary, by which those that may be next to a point are found.

    Attributes
    ----------
    tree, owner:
        The samples, and the number of the piece `(n,)` of each.
    reach:
        No point of a piece is further than that from a sample of it.
    """

    tree: KDTree
    owner: Int[np.ndarray, " n"]
    reach: float

    def pairs(self, points: Float[np.ndarray, "n dim"]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of points, in order, and of all pieces that may be the nearest to them."""
        if not len(points):
            return np.zeros(0, int), np.zeros(0, int)
        away = self.tree.query(points)[0]
        found = self.tree.query_ball_point(points, away + self.reach * (1.0 + 1e-9))
        rows = np.repeat(np.arange(len(points)), [len(own) for own in found])
        both = np.stack([rows, self.owner[np.concatenate(found).astype(int)]], axis=1)
        rows, owner = np.unique(both, axis=0).T
        return rows, owner


def first_of_least(rows: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """Of entries with the numbers `rows`, for each number in order the place of the one with the least value."""
    order = np.lexsort((values, rows))
    return order[np.r_[True, np.diff(rows[order]) > 0]] if len(rows) else order


def closed_lines(after: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " m"]]:
    """Numbers of the pieces of every closed line, in order, from the number of the piece after each."""
    seen, out = np.zeros(len(after), bool), []
    for begin in range(len(after)):
        loop, here = [], begin
        while not seen[here]:
            seen[here] = True
            loop.append(here)
            here = int(after[here])
        if loop:
            out.append(np.array(loop))
    return out


@final
@dataclass(frozen=True, eq=False, repr=False)
class Outline(AbstractPlaneLeaf):
    """The points around which closed lines run an odd number of times.

    Parameters
    ----------
    nodes:
        Of every piece its first point, that at half of its parameter, and its last one, `(n, 3, 2)`. A piece is the
        parabola through them, and ends where another one begins.
    sides:
        Names of the pieces.
    name:
        Name of the whole boundary.
    """

    nodes: np.ndarray
    sides: tuple[str, ...]
    name: str = "mesh"

    def labels(self) -> tuple[tuple[str, ...], ...]:
        return tuple((self.name, self.sides[k]) for k in self._monotone[0])

    def curves(self) -> AbstractCurves:
        return self._monotone[1]

    @functools.cached_property
    def _bent(self) -> Float[np.ndarray, "n 2"]:
        """From the middle of the ends of every piece to its own, zero for straight pieces."""
        first, middle, last = np.moveaxis(self.nodes, 1, 0)
        away = middle - 0.5 * (first + last)
        flat = np.linalg.norm(away, axis=1) <= STRAIGHT * np.linalg.norm(last - first, axis=1)
        return np.where(flat[:, None], 0.0, away)

    @functools.cached_property
    def _monotone(self) -> tuple[Int[np.ndarray, " m"], AbstractCurves]:
        """The pieces cut where either coordinate turns, with the number of each."""
        first, last, bent = self.nodes[:, 0], self.nodes[:, 2], self._bent
        every = np.arange(len(first))
        if not bent.any():
            return every, Segments(first, last)
        linear, square = 0.5 * (last - first), -0.5 * bent
        turn = np.divide(-linear, 4.0 * square, out=np.full_like(linear, 2.0), where=square != 0.0)
        ends = np.sort(np.clip(np.concatenate([np.tile([-1.0, 1.0], (len(first), 1)), turn], axis=1), -1.0, 1.0))
        low, high = ends[:, :-1].ravel(), ends[:, 1:].ravel()
        solid = high - low > STRAIGHT
        number = np.repeat(every, 3)[solid]
        coefficients = np.stack([0.5 * (first + last) - square, linear, square], axis=1)
        return number, Fitted(coefficients[number], np.stack([low, high], axis=1)[solid])

    @functools.cached_property
    def _nearby(self) -> Nearby:
        number, curves = self._monotone
        first, last = curves.spans.T
        every = np.arange(len(number))
        length = np.linalg.norm(curves.at(every, last) - curves.at(every, first), axis=1)
        step = max(float(np.median(length)), float(length.sum()) / MOST)
        count = np.ceil(length / step).astype(int) + 1
        owner = np.repeat(every, count)
        share = (np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)) / np.repeat(count - 1, count)
        samples = curves.at(owner, first[owner] + share * (last - first)[owner])
        gaps = np.linalg.norm(np.diff(samples, axis=0), axis=1)[np.diff(owner) == 0]
        return Nearby(KDTree(samples), owner, float(gaps.max()))

    def level(self, points: np.ndarray) -> np.ndarray:
        step = max(1, CHUNK // len(self._monotone[0]))
        parts = [self._signed(points[k : k + step]) for k in range(0, len(points), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _signed(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        rows, piece = self._nearby.pairs(points)
        curves, own = self._monotone[1], points[rows]
        low, high = curves.spans[piece].T
        start, end = curves.at(piece, low), curves.at(piece, high)
        share = np.sum((own - start) * (end - start), axis=1) / np.sum((end - start) ** 2, axis=1)
        t = low + np.clip(share, 0.0, 1.0) * (high - low)
        for _ in range(STEPS):
            if not isinstance(curves, Fitted):
                break
            off, slope = own - curves.at(piece, t), curves.slope(piece, t)
            # Newton's method for the distance; where it has no minimum nearby a shorter step is safe
            squared = np.sum(slope**2, axis=1)
            bend = squared - np.sum(off * 4.0 * curves.coefficients[piece, 2], axis=1)
            t = np.clip(t + np.sum(off * slope, axis=1) / np.maximum(bend, SLOW * squared), low, high)
        away = np.linalg.norm(curves.at(piece, t) - own, axis=1)
        return np.where(self._odd(points), -1.0, 1.0) * away[first_of_least(rows, away)]

    def _odd(self, points: Float[np.ndarray, "n 2"]) -> np.ndarray:
        """Whether a ray along the first coordinate crosses an odd number of pieces."""
        curves = self._monotone[1]
        every, spans = np.arange(len(curves.spans)), curves.spans
        low, high = (curves.at(every, t)[:, 1] for t in spans.T)
        rows, piece = np.nonzero((low > points[:, 1:]) != (high > points[:, 1:]))
        y, (first, last) = points[rows, 1], spans[piece].T
        if isinstance(curves, Segments):
            t = (y - low[piece]) / (high - low)[piece]
        else:
            assert isinstance(curves, Fitted)
            constant, b, square = curves.coefficients[piece, :, 1].T
            a, c = 2.0 * square, constant - square - y
            # the derivative 2 a t + b has the sign of the whole piece
            root = np.where(high > low, 1.0, -1.0)[piece] * np.sqrt(np.maximum(b**2 - 4.0 * a * c, 0.0))
            safe = b * root > 0.0
            t = np.where(safe, -2.0 * c / np.where(safe, b + root, 1.0), (root - b) / np.where(safe, 1.0, 2.0 * a))
            t = np.clip(t, first, last)
        right = points[rows, 0] < curves.at(piece, t)[:, 0]
        return np.bincount(rows[right], minlength=len(points)) % 2 == 1

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        curves = self._monotone[1]
        ends = np.concatenate([curves.at(np.arange(len(curves.spans)), t) for t in curves.spans.T])
        return ends.min(axis=0), ends.max(axis=0)

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        return Outline(self.nodes @ matrix.T + shift, self.sides, self.name)
