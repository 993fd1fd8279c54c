"""Shapes that go on at both ends of a coordinate, as the cell of a pattern does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from hierax._errors import InputError
from hierax.geometry.body import AbstractBody
from hierax.geometry.cut_cells import Cells, Quadrature
from hierax.geometry.part import Part
from hierax.geometry.shape import AbstractShape

TRIED, DEEP, NEAR, ALONG = 512, 1e-3, 4e-3, 1e-6
"""Points at which both ends are compared, how deep inside of them in periods, and distance from the boundary, in sizes
of the shape, within which they may differ there; and how far a normal along a coordinate may be from it."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Repeated(AbstractShape):
    """A shape that fits to itself at both ends of some coordinates: there it goes on, and has no boundary.

    Parameters
    ----------
    shape:
        One period of it; the period is the length of the box around it.
    coordinates:
        Names of the coordinates.

    Raises
    ------
    InputError
        Where both ends are not alike.
    """

    shape: AbstractShape
    coordinates: tuple[str, ...]

    def __post_init__(self) -> None:
        low, high = self.shape.bounds()
        for name in self.coordinates:
            axis = self.shape.axis(name)
            points = low + np.random.default_rng(0).random((TRIED, self.dim)) * (high - low)
            levels = []
            for end, inwards in ((low, 1.0), (high, -1.0)):
                points[:, axis] = end[axis] + inwards * DEEP * (high - low)[axis]
                levels.append(self.shape.level(points))
            outside, inside = np.maximum(*levels), np.minimum(*levels)
            if np.any((outside > NEAR * self.shape.size) & (inside < 0.0)):
                raise InputError(
                    f"{self.shape!r:.80} is another at the lower end of {name} than at the upper", "hx.periodic(...)",
                    "give one period of the shape, whose ends are alike",
                )  # fmt: skip

    def __repr__(self) -> str:
        return f"{self.shape!r} repeated along {', '.join(self.coordinates)}"

    @property
    def dim(self) -> int:
        return self.shape.dim

    @property
    def names(self) -> tuple[str, ...]:
        return self.shape.names

    @property
    def periodic(self) -> tuple[str, ...]:
        return self.coordinates

    @property
    def leaves(self) -> tuple[AbstractShape, ...]:
        return self.shape.leaves

    @functools.cached_property
    def body(self) -> RepeatedBody:
        return RepeatedBody(self)

    def level(self, points: np.ndarray) -> np.ndarray:
        return self.shape.level(points)

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.shape.box()

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        return replace(self, shape=self.shape.mapped(matrix, shift))

    def combined(self, of: Callable[[AbstractShape], Any]) -> Any:
        found = self.shape.combined(of)
        return replace(self, shape=found) if isinstance(found, AbstractShape) else found


@final
@dataclass(frozen=True, eq=False)
class RepeatedBody(AbstractBody):
    """That of one period, without the ends as a boundary."""

    shape: Repeated

    @property
    def _one(self) -> AbstractBody:
        return self.shape.shape.body

    @functools.cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self._one.bounds

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self._one.names if self.holds(Part(name)))

    @functools.cached_property
    def sides(self) -> tuple[str, ...]:
        return tuple(name for name in self._one.sides if self.holds(Part(name)))

    @functools.cached_property
    def measure(self) -> float:
        return self._one.measure

    def interior(self, cells: Cells, order: int) -> Quadrature:
        return self._one.interior(cells, order)

    def surface(self, part: Part, cells: Cells | None, order: int) -> Quadrature:
        rule = self._one.surface(part, cells, order)
        assert rule.normals is not None
        keep = ~self._at_ends(rule.points) | (np.abs(rule.normals[:, self._axes]).max(axis=1) < 1.0 - ALONG)
        return Quadrature(rule.points[keep], rule.weights[keep], rule.normals[keep])

    @property
    def bends(self) -> tuple[np.ndarray, np.ndarray]:
        return self._one.bends

    @functools.cached_property
    def inward_corners(self) -> np.ndarray:
        found = self._one.inward_corners
        return found[~self._at_ends(np.nan_to_num(found, nan=np.inf))]

    def nearest(self, points: np.ndarray) -> np.ndarray:
        return self._one.nearest(points)

    @property
    def _axes(self) -> list[int]:
        return [self.shape.axis(name) for name in self.shape.coordinates]

    def _at_ends(self, points: np.ndarray) -> np.ndarray:
        away = np.minimum(*(np.abs(points[:, self._axes] - end[self._axes]) for end in self.bounds))
        return away.min(axis=1) < 1e-9 * self.shape.size
