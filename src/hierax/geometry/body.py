"""What is known of a shape once its boundary is found: its box, measure, names, and quadrature on any mesh."""

from __future__ import annotations

import abc
import functools
from dataclasses import dataclass
from typing import final

import numpy as np

from hierax._errors import InputError
from hierax.geometry.contour import NODES, Contour
from hierax.geometry.cut_cells import Cells, Quadrature, inside, on_boundary
from hierax.geometry.part import Part
from hierax.geometry.shape import AbstractShape

STRAIGHT = 1e-9
"""Difference of normals of neighbouring points below which the boundary is straight."""


@dataclass(frozen=True, eq=False)
class AbstractBody(abc.ABC):
    """A shape whose boundary is known."""

    shape: AbstractShape

    @functools.cached_property
    @abc.abstractmethod
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the smallest box around it."""

    @functools.cached_property
    @abc.abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the parts of its boundary."""

    @functools.cached_property
    @abc.abstractmethod
    def sides(self) -> tuple[str, ...]:
        """Names of the smallest parts of its boundary, which do not overlap."""

    @functools.cached_property
    @abc.abstractmethod
    def measure(self) -> float:
        """Length, area or volume."""

    @abc.abstractmethod
    def interior(self, cells: Cells, order: int) -> Quadrature:
        """Points inside, of which every cell has those of a Gauss rule on its part of the body."""

    @abc.abstractmethod
    def surface(self, part: Part, cells: Cells | None, order: int) -> Quadrature:
        """Points on a part of the boundary with outward normals, `order` along every axis in each cell."""

    def holds(self, part: Part) -> bool:
        """Whether there is anything of a part."""
        return bool(len(self.surface(part, None, 1).points))

    @property
    def bends(self) -> tuple[np.ndarray, np.ndarray]:
        """Points `(n, dim)` where the boundary is curved, with its radius of curvature there `(n,)`."""
        return np.zeros((0, self.shape.dim)), np.zeros(0)

    @functools.cached_property
    def inward_corners(self) -> np.ndarray:
        """Corners `(n, dim)` whose angle inside is larger than a half turn.

        In space these are edges along an axis; their coordinate on it is NaN. A tensor grid has no knots for others.
        """
        return np.zeros((0, self.shape.dim))

    @abc.abstractmethod
    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Points of the boundary next to points, both `(n, dim)`."""


@final
@dataclass(frozen=True, eq=False)
class PlaneBody(AbstractBody):
    """In the plane, from the contour."""

    contour: Contour

    @functools.cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.contour.bounds

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        every = [name for names in self.contour.labels(self.contour.pieces) for name in names if name]
        return tuple(dict.fromkeys(every))

    @functools.cached_property
    def sides(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names[-1] for names in self.contour.labels(self.contour.pieces)))

    @functools.cached_property
    def measure(self) -> float:
        rule = self.surface(Part(), None, NODES)
        centre = np.mean(self.bounds, axis=0)
        assert rule.normals is not None
        return 0.5 * float(rule.weights @ np.sum((rule.points - centre) * rule.normals, axis=1))

    def interior(self, cells: Cells, order: int) -> Quadrature:
        return inside(self.contour, cells, order)

    def surface(self, part: Part, cells: Cells | None, order: int) -> Quadrature:
        return on_boundary(self.contour, self.contour.selected(part), cells, order)

    @functools.cached_property
    def inward_corners(self) -> np.ndarray:
        return self.contour.inward_corners

    @property
    def bends(self) -> tuple[np.ndarray, np.ndarray]:
        wall = self.surface(Part(), None, NODES)
        assert wall.normals is not None
        points, normals = (a.reshape(-1, NODES, 2) for a in (wall.points, wall.normals))
        length, turn = (np.linalg.norm(np.diff(a, axis=1), axis=2) for a in (points, normals))
        curved = turn > STRAIGHT
        return points[:, 1:][curved], length[curved] / turn[curved]

    def nearest(self, points: np.ndarray) -> np.ndarray:
        return self.contour.nearest(points)


def body_of(shape: AbstractShape) -> AbstractBody:
    """The body of a shape.

    Raises
    ------
    InputError
        For a shape that is empty.
    """
    if shape.dim == 3:
        from hierax.geometry.slices import SolidBody

        body = SolidBody(shape)
        _ = body.bounds
        return body
    contour = Contour.of(shape)
    if not len(contour.pieces.first):
        raise InputError(f"{shape!r:.80} is empty", "a shape", "look at the places and sizes of its parts")
    return PlaneBody(shape, contour)


def interior_rule(shape: AbstractShape, cells: Cells, order: int) -> Quadrature:
    """Points inside of a shape in the cells of a mesh; see `AbstractBody.interior`. The last ones are kept."""
    return _interior(shape, order, *(np.asarray(b, float).tobytes() for b in cells))


def surface_rule(shape: AbstractShape, part: Part, cells: Cells | None, order: int) -> Quadrature:
    """Points on a part of a boundary; see `AbstractBody.surface`. The last ones are kept."""
    return _surface(shape, part, order, *(np.asarray(b, float).tobytes() for b in cells or ()))


@functools.lru_cache(maxsize=24)
def _interior(shape: AbstractShape, order: int, *cells: bytes) -> Quadrature:
    return shape.body.interior([np.frombuffer(b) for b in cells], order)


@functools.lru_cache(maxsize=32)
def _surface(shape: AbstractShape, part: Part, order: int, *cells: bytes) -> Quadrature:
    return shape.body.surface(part, [np.frombuffer(b) for b in cells] or None, order)
