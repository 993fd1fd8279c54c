"""Shapes in the plane whose boundaries are straight pieces and arcs of ellipses."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.geometry.curves import AbstractCurves, Arcs, Segments
from hierax.geometry.shape import AbstractLeaf, AbstractShape, corners, numbers, positive

SIDES = ("bottom", "right", "top", "left")
"""Names of the sides of a rectangle."""
CHUNK = 2_000_000
"""Most pairs of points and edges that are looked at together."""


@dataclass(frozen=True, eq=False, repr=False)
class AbstractPlaneLeaf(AbstractLeaf):
    """A leaf in the plane: its boundary as curves."""

    @property
    def dim(self) -> int:
        return 2

    @abc.abstractmethod
    def curves(self) -> AbstractCurves:
        """Monotone pieces of the boundary."""

    @abc.abstractmethod
    def labels(self) -> tuple[tuple[str, ...], ...]:
        """Names of every piece."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Polygon(AbstractPlaneLeaf):
    """The inside of a closed line through corners `(n, 2)`, in either sense of rotation.

    Parameters
    ----------
    points:
        The corners; the last is joined to the first.
    name, sides:
        Name of the boundary, and of every side, that from the first to the second corner first; `side0`, `side1`, ...
        by default.

    Raises
    ------
    InputError
        For less than three corners, corners that coincide, and sides that cross.
    """

    points: Any
    name: str = "polygon"
    sides: Sequence[str] = ()

    def __post_init__(self) -> None:
        try:
            points = np.asarray(self.points, float)
        except (TypeError, ValueError):
            points = np.zeros((0, 2))
        if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 3 or not np.all(np.isfinite(points)):
            raise InputError("these are not three or more corners", "Polygon(points)", "give an array (n, 2)")
        if np.any(np.all(points == np.roll(points, -1, axis=0), axis=1)):
            raise InputError("a corner is there twice in succession", "Polygon(points)", "leave it out")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "sides", tuple(self.sides) or tuple(f"side{k}" for k in range(len(points))))
        if len(self.sides) != len(points):
            raise InputError(f"{len(self.sides)} names of {len(points)} sides", "Polygon(sides=...)", "name them all")
        self._refuse_crossing()

    def _refuse_crossing(self) -> None:
        start, end = self.points, np.roll(self.points, -1, axis=0)

        def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
            return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])

        a, b, c, d = start[:, None], end[:, None], start[None], end[None]
        crossed = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
        if crossed.any():
            first, second = (int(k) for k in np.argwhere(crossed)[0])
            raise InputError(
                f"sides {first} and {second} cross", "Polygon(points)", "order the corners along the boundary"
            )

    def curves(self) -> Segments:
        return Segments(self.points, np.roll(self.points, -1, axis=0))

    def labels(self) -> tuple[tuple[str, ...], ...]:
        return tuple((self.name, side) for side in self.sides)

    def level(self, points: np.ndarray) -> np.ndarray:
        step = max(1, CHUNK // len(self.points))
        parts = [self._distance(points[k : k + step]) for k in range(0, len(points), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _distance(self, points: np.ndarray) -> np.ndarray:
        start, end = self.points, np.roll(self.points, -1, axis=0)
        along, away = end - start, points[:, None] - start
        share = np.clip(np.sum(away * along, axis=2) / np.sum(along**2, axis=1), 0.0, 1.0)
        squared = np.sum((away - share[..., None] * along) ** 2, axis=2).min(axis=1)
        x, y = points[:, :1], points[:, 1:]
        over = (start[:, 1] > y) != (end[:, 1] > y)
        rise = np.where(along[:, 1] == 0, 1.0, along[:, 1])
        right = x < start[:, 0] + (y - start[:, 1]) * along[:, 0] / rise
        return np.where(np.sum(over & right, axis=1) % 2 == 1, -1.0, 1.0) * np.sqrt(squared)

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.points.min(axis=0), self.points.max(axis=0)

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        return Polygon(self.points @ matrix.T + shift, self.name, self.sides)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Rectangle(AbstractPlaneLeaf):
    """The rectangle between two corners; its sides are called `left`, `right`, `bottom` and `top`."""

    lower: Any
    upper: Any
    name: str = "rectangle"

    def __post_init__(self) -> None:
        low, high = corners(self.lower, self.upper, 2, "Rectangle(lower, upper)")
        object.__setattr__(self, "lower", low)
        object.__setattr__(self, "upper", high)

    @property
    def polygon(self) -> Polygon:
        """The same as a polygon."""
        (a, b), (c, d) = self.lower, self.upper
        return Polygon(np.array([[a, b], [c, b], [c, d], [a, d]]), self.name, SIDES)

    def curves(self) -> Segments:
        return self.polygon.curves()

    def labels(self) -> tuple[tuple[str, ...], ...]:
        return self.polygon.labels()

    def level(self, points: np.ndarray) -> np.ndarray:
        out = np.maximum(self.lower - points, points - self.upper)
        away = np.sqrt(np.sum(np.maximum(out, 0.0) ** 2, axis=1))
        return np.where(away > 0.0, away, np.max(out, axis=1))

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.lower, self.upper

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        straight = np.all(matrix == np.diag(np.diagonal(matrix)))
        if straight and np.all(np.diagonal(matrix) > 0):
            return Rectangle(matrix @ self.lower + shift, matrix @ self.upper + shift, self.name)
        return self.polygon.mapped(matrix, shift)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Ellipse(AbstractPlaneLeaf):
    """The inside of an ellipse with semi-axes `radii`, the first turned by an angle against the first coordinate.

    Parameters
    ----------
    centre, radii:
        Two numbers each.
    degrees:
        The angle.
    name:
        Name of the boundary.
    """

    centre: Any
    radii: Any
    degrees: float = 0.0
    name: str = "ellipse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", numbers(self.centre, 2, "Ellipse(centre)"))
        radii = np.array([positive(r, "Ellipse(radii)") for r in numbers(self.radii, 2, "Ellipse(radii)")])
        object.__setattr__(self, "radii", radii)

    @property
    def axes(self) -> np.ndarray:
        """Semi-axes as columns."""
        angle = np.deg2rad(self.degrees)
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # no rounding where nothing is turned
        return np.diag(self.radii) if self.degrees == 0.0 else turned * self.radii

    def curves(self) -> Arcs:
        return Arcs(self.centre, self.axes)

    def labels(self) -> tuple[tuple[str, ...], ...]:
        return ((self.name,),) * 4

    def level(self, points: np.ndarray) -> np.ndarray:
        unit = np.linalg.solve(self.axes, (points - self.centre).T)
        return (np.sqrt(np.sum(unit**2, axis=0)) - 1.0) * self.radii.min()

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        half = np.sqrt(np.sum(self.axes**2, axis=1))
        return self.centre - half, self.centre + half

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        left, radii, _ = np.linalg.svd(matrix @ self.axes)
        angle = np.rad2deg(np.arctan2(left[1, 0], left[0, 0]))
        return Ellipse(matrix @ self.centre + shift, radii, float(angle), self.name)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Disk(AbstractPlaneLeaf):
    """The points no further than `radius` from `centre`."""

    centre: Any
    radius: float
    name: str = "disk"

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", numbers(self.centre, 2, "Disk(centre)"))
        object.__setattr__(self, "radius", positive(self.radius, "Disk(radius)"))

    def curves(self) -> Arcs:
        return Arcs(self.centre, self.radius * np.eye(2))

    def labels(self) -> tuple[tuple[str, ...], ...]:
        return ((self.name,),) * 4

    def level(self, points: np.ndarray) -> np.ndarray:
        return np.sqrt(np.sum((points - self.centre) ** 2, axis=1)) - self.radius

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.centre - self.radius, self.centre + self.radius

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        square = matrix.T @ matrix
        if np.allclose(square, square[0, 0] * np.eye(2), rtol=0, atol=1e-14 * square[0, 0]):
            return Disk(matrix @ self.centre + shift, self.radius * float(np.sqrt(square[0, 0])), self.name)
        return Ellipse(self.centre, np.full(2, self.radius), 0.0, self.name).mapped(matrix, shift)


def convex(normals: ArrayLike, offsets: ArrayLike, labels: Sequence[str], reach: float, name: str) -> Polygon | None:
    """The points with `normals @ x <= offsets`, cut off at a distance; `None` where there are none."""
    points = np.array([[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]])
    sides = [""] * 4
    for normal, offset, label in zip(np.asarray(normals), np.asarray(offsets), labels, strict=True):
        away = points @ normal - offset
        kept: list[np.ndarray] = []
        named: list[str] = []
        for k in range(len(points)):
            after = (k + 1) % len(points)
            share = away[k] / (away[k] - away[after]) if (away[k] < 0) != (away[after] < 0) else 0.0
            cut = points[k] + share * (points[after] - points[k])
            if away[k] < 0:
                kept.append(points[k])
                named.append(sides[k])
                if away[after] >= 0:
                    kept.append(cut)
                    named.append(label)
            elif away[after] < 0:
                kept.append(cut)
                named.append(sides[k])
        if len(kept) < 3:
            return None
        points, sides = np.array(kept), named
        gaps = np.any(points != np.roll(points, -1, axis=0), axis=1)
        points, sides = points[gaps], [s for s, gap in zip(sides, gaps, strict=True) if gap]
        if len(points) < 3:
            return None
    return Polygon(points, name, sides)
