"""Shapes in space: their slices across the last coordinate are shapes in the plane."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.geometry.level_set import LevelSet
from hierax.geometry.plane import Disk, Ellipse, convex
from hierax.geometry.shape import AbstractLeaf, AbstractShape, corners, numbers, positive

FACES = ("left", "right", "front", "back", "bottom", "top")
"""Names of the faces of a cuboid: `x`, `y`, `z`, at the lower end and at the upper one."""
UPRIGHT = 1e-12
"""Most difference of the direction of a face or axis from that of a coordinate."""


class Heights(NamedTuple):
    """Heights at which slices begin, end or change their kind: at flat faces across the last coordinate, at corners
    between flat faces, beside which sizes of slices are polynomials, and at tops of curved ones, where they are not."""

    flat: Sequence[float] | np.ndarray = ()
    straight: Sequence[float] | np.ndarray = ()
    curved: Sequence[float] | np.ndarray = ()


@dataclass(frozen=True, eq=False, repr=False)
class AbstractSolidLeaf(AbstractLeaf):
    """A leaf in space: its slices, the heights at which these change their kind, and normals."""

    @property
    def dim(self) -> int:
        return 3

    @abc.abstractmethod
    def sliced(self, height: float, above: bool, reach: float) -> AbstractShape | None:
        """The slice at a height of the last coordinate, just above it or below, cut off at a distance `reach`."""

    @abc.abstractmethod
    def heights(self) -> Heights:
        """Where slices change."""

    @abc.abstractmethod
    def normals(self, points: np.ndarray) -> np.ndarray:
        """Outward unit normals `(n, 3)` at points of its boundary."""

    @abc.abstractmethod
    def labels(self, points: np.ndarray) -> list[tuple[str, ...]]:
        """Names of the boundary at points of it."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Ball(AbstractSolidLeaf):
    """The image of the unit ball under `axes @ x + centre`: a sphere or an ellipsoid."""

    centre: np.ndarray
    axes: np.ndarray
    name: str = "sphere"

    def level(self, points: np.ndarray) -> np.ndarray:
        unit = np.linalg.solve(self.axes, (points - self.centre).T)
        return (np.sqrt(np.sum(unit**2, axis=0)) - 1.0) * np.linalg.svd(self.axes)[1][-1]

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        half = np.sqrt(np.sum(self.axes**2, axis=1))
        return self.centre - half, self.centre + half

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        return replace(self, centre=matrix @ self.centre + shift, axes=matrix @ self.axes)

    def sliced(self, height: float, above: bool, reach: float) -> AbstractShape | None:
        form = np.linalg.inv(self.axes @ self.axes.T)
        z = height - self.centre[2]
        shift = -np.linalg.solve(form[:2, :2], form[:2, 2]) * z
        left = 1.0 - z * (form[2, 2] - form[2, :2] @ np.linalg.solve(form[:2, :2], form[:2, 2])) * z
        if left <= 0.0:
            return None
        values, vectors = np.linalg.eigh(form[:2, :2] / left)
        radii = 1.0 / np.sqrt(values)
        centre = self.centre[:2] + shift
        if radii[0] - radii[1] <= 1e-14 * radii[0]:
            return Disk(centre, float(radii[0]), self.name)
        return Ellipse(centre, radii, float(np.rad2deg(np.arctan2(vectors[1, 0], vectors[0, 0]))), self.name)

    def heights(self) -> Heights:
        low, high = self.box()
        return Heights(curved=(low[2], high[2]))

    def normals(self, points: np.ndarray) -> np.ndarray:
        inverse = np.linalg.inv(self.axes)
        outward = (points - self.centre) @ (inverse.T @ inverse)
        return outward / np.linalg.norm(outward, axis=1, keepdims=True)

    def labels(self, points: np.ndarray) -> list[tuple[str, ...]]:
        return [(self.name,)] * len(points)


def sphere(centre: ArrayLike, radius: float, name: str = "sphere") -> Ball:
    """The points no further than `radius` from `centre`."""
    where = "Sphere(centre, radius)"
    return Ball(numbers(centre, 3, where), positive(radius, where) * np.eye(3), name)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Polyhedron(AbstractSolidLeaf):
    """The points with `directions @ x <= offsets`: a convex body with flat faces, or a half-space.

    Parameters
    ----------
    directions, offsets:
        Outward normals `(faces, 3)` of length one and distances `(faces,)` from the origin along them.
    faces:
        Names of the faces.
    name:
        Name of the boundary.
    """

    directions: np.ndarray
    offsets: np.ndarray
    faces: tuple[str, ...]
    name: str = "cuboid"

    def level(self, points: np.ndarray) -> np.ndarray:
        return np.max(points @ self.directions.T - self.offsets, axis=1)

    def _corners(self) -> np.ndarray:
        points = meeting(self.directions, self.offsets)
        return points[self.level(points) <= 1e-9 * (1.0 + np.abs(points).max(initial=0.0))]

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        points = self._corners()
        if len(points) < 4:
            return np.full(3, -np.inf), np.full(3, np.inf)
        return points.min(axis=0), points.max(axis=0)

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        turned = self.directions @ np.linalg.inv(matrix)
        length = np.linalg.norm(turned, axis=1)
        offsets = (self.offsets + turned @ shift) / length
        return replace(self, directions=turned / length[:, None], offsets=offsets)

    def _flat(self) -> np.ndarray:
        return np.linalg.norm(self.directions[:, :2], axis=1) <= UPRIGHT

    def sliced(self, height: float, above: bool, reach: float) -> AbstractShape | None:
        flat, up = self._flat(), self.directions[:, 2]
        room = self.offsets - up * height
        if np.any(flat & (room < 0.0)) or np.any(flat & (room == 0.0) & ((up > 0) == above)):
            return None
        rows = ~flat
        labels = [face for face, own in zip(self.faces, rows, strict=True) if own]
        return convex(self.directions[rows, :2], room[rows], labels, reach, self.name)

    def heights(self) -> Heights:
        flat = self._flat()
        planes = self.offsets[flat] * self.directions[flat, 2]
        others = self._corners()[:, 2]
        return Heights(planes, others)

    def _face(self, points: np.ndarray) -> np.ndarray:
        return np.argmax(points @ self.directions.T - self.offsets, axis=1)

    def normals(self, points: np.ndarray) -> np.ndarray:
        return self.directions[self._face(points)]

    def labels(self, points: np.ndarray) -> list[tuple[str, ...]]:
        return [(self.name, self.faces[k]) for k in self._face(points)]


def meeting(directions: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Points `(n, 3)` in which three of the planes `directions @ x = offsets` meet."""
    triples = np.array(list(itertools.combinations(range(len(offsets)), 3)), int).reshape(-1, 3)
    rows = directions[triples]
    apart = np.abs(np.linalg.det(rows)) > 1e-9
    return np.linalg.solve(rows[apart], offsets[triples[apart]][..., None])[..., 0]


def cuboid(lower: ArrayLike, upper: ArrayLike, name: str = "cuboid") -> Polyhedron:
    """The cuboid between two corners; its faces are called `left`, `right`, `front`, `back`, `bottom` and `top`."""
    low, high = corners(lower, upper, 3, "Cuboid(lower, upper)")
    directions = np.repeat(np.eye(3), 2, axis=0) * np.tile([-1.0, 1.0], 3)[:, None]
    return Polyhedron(directions, np.stack([-low, high], axis=1).ravel(), FACES, name)


def half_space(normal: ArrayLike, point: ArrayLike, name: str = "plane") -> Polyhedron:
    """The side of the plane through `point` to which `normal` does not point."""
    where = "HalfSpace(normal, point)"
    direction, place = numbers(normal, 3, where), numbers(point, 3, where)
    length = float(np.linalg.norm(direction))
    if length == 0.0:
        raise InputError("the normal is zero", where, "give the direction out of the half-space")
    direction = direction / length
    return Polyhedron(direction[None], np.array([direction @ place]), (name,), name)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Cylinder(AbstractSolidLeaf):
    """A straight cylinder between the centres of its two ends.

    Parameters
    ----------
    start, end:
        The centres; the end faces are called `start` and `end`, the rest `side`.
    radius:
        Positive.
    name:
        Name of the boundary.
    """

    start: Any
    end: Any
    radius: float
    name: str = "cylinder"

    def __post_init__(self) -> None:
        where = "Cylinder(start, end, radius)"
        object.__setattr__(self, "start", numbers(self.start, 3, where))
        object.__setattr__(self, "end", numbers(self.end, 3, where))
        object.__setattr__(self, "radius", positive(self.radius, where))
        if np.array_equal(self.start, self.end):
            raise InputError("both ends are the same", where, "give two centres")

    @property
    def direction(self) -> np.ndarray:
        """Unit vector from start to end."""
        along = self.end - self.start
        return along / np.linalg.norm(along)

    def _parts(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors away from the axis, and by how much points lie beyond start, end and side `(n, 3)`."""
        height = (points - self.start) @ self.direction
        away = points - self.start - height[:, None] * self.direction
        length = np.linalg.norm(self.end - self.start)
        return away, np.stack([-height, height - length, np.linalg.norm(away, axis=1) - self.radius], axis=1)

    def level(self, points: np.ndarray) -> np.ndarray:
        return np.max(self._parts(points)[1], axis=1)

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        half = self.radius * np.sqrt(np.maximum(1.0 - self.direction**2, 0.0))
        return np.minimum(self.start, self.end) - half, np.maximum(self.start, self.end) + half

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        square = matrix.T @ matrix
        if not np.allclose(square, square[0, 0] * np.eye(3), rtol=0, atol=1e-12 * square[0, 0]):
            raise InputError("a cylinder is stretched unevenly", "mapped(...)", "use an extruded ellipse")
        factor = float(np.sqrt(square[0, 0]))
        return Cylinder(matrix @ self.start + shift, matrix @ self.end + shift, factor * self.radius, self.name)

    def sliced(self, height: float, above: bool, reach: float) -> AbstractShape | None:
        d, low = self.direction, min(self.start[2], self.end[2])
        if abs(abs(d[2]) - 1.0) <= UPRIGHT:
            high = max(self.start[2], self.end[2])
            inside = low < height < high or height == (low if above else high)
            return Disk(self.start[:2], self.radius, self.name) if inside else None
        z, length = height - self.start[2], float(np.linalg.norm(self.end - self.start))
        flat, begin = d[:2] / np.linalg.norm(d[:2]), self.start[:2]
        planes, room = np.stack([-d[:2], d[:2]]), np.array([0.0, length]) + np.array([1.0, -1.0]) * (d[2] * z)
        room = room + planes @ begin
        if abs(d[2]) <= UPRIGHT:
            half = self.radius**2 - z**2
            if half <= 0.0:
                return None
            across = np.array([-flat[1], flat[0]])
            both, names = np.stack([-across, across]), ("start", "end", "side", "side")
            room = np.r_[room, np.sqrt(half) + both @ begin]
            return convex(np.concatenate([planes, both]), room, names, reach, self.name)
        ends = convex(planes, room, ("start", "end"), reach, self.name)
        turned = float(np.rad2deg(np.arctan2(flat[1], flat[0])))
        radii = np.array([self.radius / abs(d[2]), self.radius])
        return None if ends is None else Ellipse(begin + z / d[2] * d[:2], radii, turned, self.name) & ends

    def heights(self) -> Heights:
        ends, d = (self.start[2], self.end[2]), self.direction
        if abs(abs(d[2]) - 1.0) <= UPRIGHT:
            return Heights(ends)
        half = self.radius * np.sqrt(max(1.0 - d[2] ** 2, 0.0))
        return Heights(curved=[z + sign * half for z in ends for sign in (-1.0, 1.0)])

    def normals(self, points: np.ndarray) -> np.ndarray:
        away, beyond = self._parts(points)
        length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-300)
        kinds = np.stack([np.broadcast_to(-self.direction, away.shape), np.broadcast_to(self.direction, away.shape),
                          away / length])  # fmt: skip
        return kinds[np.argmax(beyond, axis=1), np.arange(len(points))]

    def labels(self, points: np.ndarray) -> list[tuple[str, ...]]:
        return [(self.name, ("start", "end", "side")[k]) for k in np.argmax(self._parts(points)[1], axis=1)]


@final
@dataclass(frozen=True, eq=False, repr=False)
class SolidLevel(AbstractSolidLeaf):
    """A `LevelSet` in space as a leaf with slices."""

    of: LevelSet

    @property
    def name(self) -> str:
        """Name of the boundary."""
        return self.of.name

    def level(self, points: np.ndarray) -> np.ndarray:
        return self.of.level(points)

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.of.box()

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        return self.of.mapped(matrix, shift)

    def sliced(self, height: float, above: bool, reach: float) -> AbstractShape | None:
        low, high = self.of.lower[2], self.of.upper[2]
        if not (low < height < high or height == (low if above else high)):
            return None
        flat = self.of.sliced(2, height)
        return flat if len(flat.curves().spans) else None

    def heights(self) -> Heights:
        return Heights((self.of.lower[2], self.of.upper[2]))

    def normals(self, points: np.ndarray) -> np.ndarray:
        values, slope = self.of.both(points)
        size = np.maximum(np.linalg.norm(slope, axis=1), 1e-300)
        beyond = np.concatenate([self.of.lower - points, points - self.of.upper], axis=1)
        faces = np.concatenate([-np.eye(3), np.eye(3)])[np.argmax(beyond, axis=1)]
        # where the box cuts the set its faces are the boundary
        return np.where((beyond.max(axis=1) > values / size)[:, None], faces, slope / size[:, None])

    def labels(self, points: np.ndarray) -> list[tuple[str, ...]]:
        return [(self.name,)] * len(points)


def solid(leaf: AbstractShape) -> AbstractSolidLeaf:
    """A leaf in space with slices."""
    if isinstance(leaf, LevelSet):
        return SolidLevel(leaf)
    assert isinstance(leaf, AbstractSolidLeaf)
    return leaf
