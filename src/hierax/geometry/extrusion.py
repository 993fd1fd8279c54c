"""Shapes of the plane drawn out along a further coordinate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from hierax._errors import InputError
from hierax.geometry.contour import shortest
from hierax.geometry.shape import AbstractShape
from hierax.geometry.solid import AbstractSolidLeaf, Heights


@final
@dataclass(frozen=True, eq=False, repr=False)
class Extrusion(AbstractSolidLeaf):
    """A shape of the plane between two heights of a further coordinate, which may be the time `t`.

    Parameters
    ----------
    base:
        The shape in the plane, whose names of boundaries stay.
    lower, upper:
        The heights; the faces there are called `start` and `end`.
    coordinate:
        Name of the further coordinate.
    """

    base: AbstractShape
    lower: float
    upper: float
    coordinate: str = "z"
    name: str = "extrusion"

    def __post_init__(self) -> None:
        if self.base.dim != 2 or not self.lower < self.upper:
            raise InputError("the base is no shape in the plane, or the heights are not in order",
                             "Extrusion(base, lower, upper)", "give a shape and two numbers")  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.base.names, self.coordinate)

    def level(self, points: np.ndarray) -> np.ndarray:
        ends = np.maximum(self.lower - points[:, 2], points[:, 2] - self.upper)
        return np.maximum(self.base.level(points[:, :2]), ends)

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.base.bounds()
        return np.r_[low, self.lower], np.r_[high, self.upper]

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        if np.any(matrix[2, :2] != 0.0) or np.any(matrix[:2, 2] != 0.0) or matrix[2, 2] <= 0.0:
            raise InputError("an extruded shape is turned out of its plane", "rotated(...)", "turn it in its plane")
        ends = [matrix[2, 2] * z + shift[2] for z in (self.lower, self.upper)]
        return replace(self, base=self.base.mapped(matrix[:2, :2], shift[:2]), lower=ends[0], upper=ends[1])

    def sliced(self, height: float, above: bool, reach: float) -> AbstractShape | None:
        inside = self.lower < height < self.upper or height == (self.lower if above else self.upper)
        return self.base if inside else None

    def heights(self) -> Heights:
        return Heights((self.lower, self.upper))

    def normals(self, points: np.ndarray) -> np.ndarray:
        ends = np.stack([self.lower - points[:, 2], points[:, 2] - self.upper], axis=1)
        side = self.base.level(points[:, :2])
        step = 1e-6 * self.base.size
        slope = np.stack([self.base.level(points[:, :2] + step * e) - side for e in np.eye(2)], axis=1)
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-300)
        out = np.concatenate([slope, np.zeros((len(points), 1))], axis=1)
        for k, up in enumerate((-1.0, 1.0)):
            out[ends[:, k] > side] = [0.0, 0.0, up]
        return out

    def labels(self, points: np.ndarray) -> list[tuple[str, ...]]:
        lower, upper = self.lower - points[:, 2], points[:, 2] - self.upper
        side, tiny = self.base.level(points[:, :2]), 1e-9 * self.base.size
        high, ends = np.maximum(lower, upper), np.where(lower > upper, "start", "end")
        at_end = (high > side) & (high > -tiny)
        names: list[tuple[str, ...]] = [
            (self.name, str(end)) if own else (self.name,) for end, own in zip(ends, at_end, strict=True)
        ]
        for leaf in self.base.leaves:
            near = np.flatnonzero(~at_end & (np.abs(leaf.level(points[:, :2])) <= tiny))
            for k, own in zip(near, _of_plane(leaf, points[near, :2]), strict=True):
                names[k] = (*names[k], *own)
        return names


def _of_plane(leaf: AbstractShape, points: np.ndarray) -> list[tuple[str, ...]]:
    """Names of the boundary of a leaf in the plane at points `(n, 2)` of it."""
    curves, labels = leaf.curves(), leaf.labels()  # pyright: ignore
    if len(set(labels)) == 1:
        return [labels[0]] * len(points)
    count = len(labels)
    piece, own = np.tile(np.arange(count), len(points)), np.repeat(points, count, axis=0)
    first, last = curves.spans[piece].T
    t = shortest(lambda s: np.sum((curves.at(piece, s) - own) ** 2, axis=1), first, last)
    away = np.sum((curves.at(piece, t) - own) ** 2, axis=1).reshape(-1, count)
    return [labels[k] for k in np.argmin(away, axis=1)]
