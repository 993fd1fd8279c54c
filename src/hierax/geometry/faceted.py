"""Bodies in space inside of closed surfaces of flat triangles, as meshes have."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from hierax.geometry.outline import Nearby, Outline, closed_lines, first_of_least
from hierax.geometry.shape import AbstractShape
from hierax.geometry.solid import UPRIGHT, AbstractSolidLeaf, Heights

SAME = 1e-9
"""Distances, in sizes of the body, and angles that are rounding."""
FINE, CUTS = 2, 16
"""Parts into which the longest edge of a usual triangle is cut for samples; most of any triangle."""


class Edges(NamedTuple):
    """Edges of a surface: their ends `(n, 2)` and the two triangles `(n, 2)` at each."""

    ends: np.ndarray
    triangles: np.ndarray


@final
@dataclass(frozen=True, eq=False, repr=False)
class Faceted(AbstractSolidLeaf):
    """The inside of a closed surface of triangles.

    Parameters
    ----------
    points, triangles:
        Corners `(n, 3)`, and of every triangle their numbers `(m, 3)`, against the clock when seen from outside. Every
        edge belongs to two triangles.
    faces:
        Names of the triangles.
    name:
        Name of the whole boundary.
    """

    points: np.ndarray
    triangles: np.ndarray
    faces: tuple[str, ...]
    name: str = "mesh"

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.points.min(axis=0), self.points.max(axis=0)

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        triangles = self.triangles if np.linalg.det(matrix) > 0 else self.triangles[:, ::-1]
        return replace(self, points=self.points @ matrix.T + shift, triangles=triangles)

    @functools.cached_property
    def _across(self) -> Float[np.ndarray, "m 3"]:
        a, b, c = np.moveaxis(self.points[self.triangles], 1, 0)
        across = np.cross(b - a, c - a)
        return across / np.linalg.norm(across, axis=1, keepdims=True)

    @functools.cached_property
    def _tiny(self) -> float:
        return SAME * float(np.ptp(self.points, axis=0).max())

    @functools.cached_property
    def _edges(self) -> Edges:
        ends = np.concatenate([self.triangles[:, [k, (k + 1) % 3]] for k in range(3)])
        ends, number = np.sort(ends, axis=1), np.tile(np.arange(len(self.triangles)), 3)
        order = np.lexsort((ends[:, 1], ends[:, 0]))
        return Edges(ends[order][::2], number[order].reshape(-1, 2))

    @functools.cached_property
    def _patches(self) -> Int[np.ndarray, " m"]:
        """Of every triangle the number of its patch: neighbours in one plane under one name."""
        first, second = self._edges.triangles.T
        names = np.unique(self.faces, return_inverse=True)[1]
        flat = np.linalg.norm(self._across[first] - self._across[second], axis=1) <= SAME
        same = flat & (names[first] == names[second])
        graph = sp.coo_array((np.ones(same.sum()), (first[same], second[same])), shape=(len(names), len(names)))
        return connected_components(graph, directed=False)[1]

    @functools.cached_property
    def _corners(self) -> Int[np.ndarray, " k"]:
        """Points where the rim of a patch turns."""
        ends, triangles = self._edges
        rim = ends[self._patches[triangles[:, 0]] != self._patches[triangles[:, 1]]]
        along = self.points[rim[:, 1]] - self.points[rim[:, 0]]
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        total = np.zeros(self.points.shape)
        np.add.at(total, rim[:, 0], along)
        np.add.at(total, rim[:, 1], -along)
        count = np.bincount(rim.ravel(), minlength=len(total))
        straight = (count == 2) & (np.linalg.norm(total, axis=1) <= SAME)
        return np.flatnonzero((count > 0) & ~straight)

    def heights(self) -> Heights:
        flat = np.linalg.norm(self._across[:, :2], axis=1) <= UPRIGHT
        planes = self._apart(self.points[self.triangles[flat]][..., 2].ravel())
        return Heights(planes, self._apart(self.points[self._corners, 2]))

    def _apart(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        values = np.sort(values)
        return values[np.r_[True, np.diff(values) > self._tiny]] if len(values) else values

    def sliced(self, height: float, above: bool, reach: float) -> AbstractShape | None:
        z = self.points[:, 2] - height
        up = z > self._tiny if above else z >= -self._tiny
        crossed = np.flatnonzero(np.isin(up[self.triangles].sum(axis=1), (1, 2)))
        if not len(crossed):
            return None
        corners = self.triangles[crossed]
        one = up[corners].sum(axis=1) == 1
        lone = np.argmax(up[corners] == one[:, None], axis=1)
        a, b, c = (np.take_along_axis(corners, ((lone + k) % 3)[:, None], axis=1)[:, 0] for k in range(3))
        # with the body on the left, from an edge to the next one: those before and behind the lone corner
        ahead, behind = np.sort(np.stack([a, b], axis=1), axis=1), np.sort(np.stack([c, a], axis=1), axis=1)
        begin, end = np.where(one[:, None], ahead, behind), np.where(one[:, None], behind, ahead)
        share = np.clip(z[begin[:, 0]] / (z[begin[:, 0]] - z[begin[:, 1]]), 0.0, 1.0)
        p, q = self.points[begin[:, 0], :2], self.points[begin[:, 1], :2]
        first, own = p + share[:, None] * (q - p), self._patches[crossed]
        pieces, sides = [], []
        for loop in _loops(begin, end):
            turn = loop[own[loop] != own[np.roll(loop, 1)]]
            turn = turn[np.linalg.norm(first[turn] - first[np.roll(turn, -1)], axis=1) > self._tiny]
            if len(turn) > 2:
                pieces.append(np.stack([first[turn], first[np.roll(turn, -1)]], axis=1))
                sides += [self.faces[crossed[k]] for k in turn]
        if not pieces:
            return None
        start, stop = np.moveaxis(np.concatenate(pieces), 1, 0)
        return Outline(np.stack([start, 0.5 * (start + stop), stop], axis=1), tuple(sides), self.name)

    @functools.cached_property
    def _nearby(self) -> Nearby:
        corners = self.points[self.triangles]
        longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
        cuts = np.clip(np.ceil(FINE * longest / np.median(longest)), 1, CUTS).astype(int)
        samples, owner = [], []
        for count in np.unique(cuts):
            own = np.flatnonzero(cuts == count)
            shares = np.array([(i, j, count - i - j) for i in range(count + 1) for j in range(count + 1 - i)]) / count
            samples.append(np.einsum("sk,mkd->msd", shares, corners[own]).reshape(-1, 3))
            owner.append(np.repeat(own, len(shares)))
        return Nearby(KDTree(np.concatenate(samples)), np.concatenate(owner), float(np.max(longest / cuts)))

    def _nearest(self, points: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
        """Signed distances, and the triangles that are nearest; of those at one edge the one that is seen best."""
        rows, triangle = self._nearby.pairs(points)
        off = points[rows] - _foot(points[rows], self.points[self.triangles[triangle]])
        away = np.linalg.norm(off, axis=1)
        above = np.sum(off * self._across[triangle], axis=1)
        least = away[first_of_least(rows, away)]
        tie = away <= least[rows] + 1e-3 * self._tiny
        pick = np.flatnonzero(tie)[first_of_least(rows[tie], -np.abs(above[tie]))]
        return np.where(above[pick] > 0.0, 1.0, -1.0) * least, triangle[pick]

    def level(self, points: np.ndarray) -> np.ndarray:
        return self._nearest(points)[0]

    def normals(self, points: np.ndarray) -> np.ndarray:
        return self._across[self._nearest(points)[1]]

    def labels(self, points: np.ndarray) -> list[tuple[str, ...]]:
        return [(self.name, self.faces[k]) for k in self._nearest(points)[1]]


def _loops(begin: Int[np.ndarray, "n 2"], end: Int[np.ndarray, "n 2"]) -> list[Int[np.ndarray, " k"]]:
    """Numbers of the pieces of every closed line, in order; a piece begins at the edge at which another one ends."""
    number = np.unique(np.concatenate([begin, end]), axis=0, return_inverse=True)[1].ravel()
    starts, ends = number[: len(begin)], number[len(begin) :]
    at = np.zeros(len(begin), int)
    at[starts] = np.arange(len(begin))
    return closed_lines(at[ends])


def _foot(points: Float[np.ndarray, "n 3"], corners: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3"]:
    """The nearest points of triangles, one for each point."""
    a, b, c = np.moveaxis(corners, 1, 0)
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (np.sum(s * t, axis=1) for s, t in ((u, u), (u, v), (v, v)))
    wu, wv = np.sum(w * u, axis=1), np.sum(w * v, axis=1)
    det = uu * vv - uv**2
    s, t = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
    best = a + s[:, None] * u + t[:, None] * v
    least = np.where((s >= 0.0) & (t >= 0.0) & (s + t <= 1.0), -1.0, np.inf)
    for p, q in itertools.combinations((a, b, c), 2):
        along = q - p
        share = np.clip(np.sum((points - p) * along, axis=1) / np.sum(along**2, axis=1), 0.0, 1.0)
        there = p + share[:, None] * along
        away = np.linalg.norm(points - there, axis=1)
        best, least = np.where((away < least)[:, None], there, best), np.minimum(least, away)
    return best
