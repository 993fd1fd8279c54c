"""Shapes: sets of points that are put together by union, intersection and difference, moved and turned.

A shape is known by a level, a function that is negative inside and positive outside. What it is put together from,
its leaves, know their boundaries as curves or by slices; quadrature follows those, see `hierax.geometry.cut_cells`.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.geometry.part import Part

ROUNDING = 1e-11
"""Distance from a boundary, in sizes of the shape, within which a point lies on it."""


@dataclass(frozen=True, eq=False)
class AbstractShape(abc.ABC):
    """A bounded set of points in one to three dimensions.

    `a | b` is the union, `a & b` the intersection, `a - b` the difference.
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Number of coordinates."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates: `x`, `y`, `z`."""
        return ("x", "y", "z")[: self.dim]

    @property
    def periodic(self) -> tuple[str, ...]:
        """Coordinates at whose ends the shape goes on; none but for repeated ones."""
        return ()

    @abc.abstractmethod
    def level(self, points: np.ndarray) -> np.ndarray:
        """At points `(n, dim)`: negative inside, positive outside, zero on the boundary, smooth beside it; `(n,)`."""

    @property
    @abc.abstractmethod
    def leaves(self) -> tuple[AbstractShape, ...]:
        """What the shape is put together from."""

    @abc.abstractmethod
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of a box around the shape, which may be too large and, of a part of a larger shape, infinite."""

    @abc.abstractmethod
    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        """The shape of the points `matrix @ x + shift`."""

    @abc.abstractmethod
    def combined(self, of: Callable[[AbstractShape], Any]) -> Any:
        """The same combination of what a function makes of the leaves; `None` is the empty set."""

    def __or__(self, other: AbstractShape) -> AbstractShape:
        return Union(self, _same_dim(self, other))

    def __and__(self, other: AbstractShape) -> AbstractShape:
        return Intersection(self, _same_dim(self, other))

    def __sub__(self, other: AbstractShape) -> AbstractShape:
        return Difference(self, _same_dim(self, other))

    def translated(self, *by: float) -> AbstractShape:
        """The shape moved by one number a coordinate."""
        shift = _numbers(by[0] if len(by) == 1 and np.ndim(by[0]) else by, self.dim, "translated(...)")
        return self.mapped(np.eye(self.dim), shift)

    def scaled(self, factor: float, about: ArrayLike | None = None) -> AbstractShape:
        """The shape stretched by a factor in all directions about a point, the origin by default."""
        if not (np.isfinite(factor) and factor > 0):
            raise InputError(f"the factor is {factor}", "scaled(factor)", "give a positive number")
        return self._about(factor * np.eye(self.dim), about, "scaled(about=...)")

    def rotated(self, degrees: float, about: ArrayLike | None = None, axis: str = "z") -> AbstractShape:
        """The shape turned about a point, the origin by default; in space about the direction of a coordinate."""
        if self.dim == 1 or axis not in (("z",) if self.dim == 2 else ("x", "y", "z")):
            raise InputError(f"a rotation about {axis!r} in {self.dim} dimensions", "rotated(...)", "use x, y or z")
        first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        matrix, angle = np.eye(self.dim), np.deg2rad(degrees)
        matrix[first, first] = matrix[second, second] = np.cos(angle)
        matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
        return self._about(matrix, about, "rotated(about=...)")

    def _about(self, matrix: np.ndarray, about: ArrayLike | None, where: str) -> AbstractShape:
        centre = np.zeros(self.dim) if about is None else _numbers(about, self.dim, where)
        return self.mapped(matrix, centre - matrix @ centre)

    @property
    def size(self) -> float:
        """The longest edge of the box around the shape."""
        low, high = self.bounds()
        return float(np.max(high - low))

    def contains(self, points: ArrayLike, tolerance: float = 1e-9) -> np.ndarray:
        """Which of the points `(n, dim)` lie inside or on the boundary, up to `tolerance` times the size."""
        return self.level(np.atleast_2d(np.asarray(points, float))) <= tolerance * self.size

    def boundary(self, name: str | None = None, where: Callable[[Any], Any] | None = None) -> Part:
        """The part of the boundary with a name, or where a predicate of the point holds, for `on=`.

        Raises
        ------
        InputError
            For a name that no part has.
        """
        part = Part(name, where)
        if name is not None and name not in self.boundaries:
            raise InputError(
                f"no part of the boundary is called {name!r}", "shape.boundary(...)",
                f"the names are {', '.join(self.boundaries)}",
            )  # fmt: skip
        return part

    def quadrature(self, on: Part | str | None = None, cells: int = 32, order: int = 6) -> Any:
        """Points and weights for integrals over the body, or over a part of its boundary with outward normals.

        Parameters
        ----------
        on:
            The name of a part of the boundary, `"boundary"` for all of it, or `shape.boundary(...)`; inside by default.
        cells:
            Those of a grid along the longest edge of the box around the shape: the rule holds cell by cell.
        order:
            Gauss points along every axis in a cell or what is left of it, exact for polynomials of degree
            `2 order - 1` where boundaries are straight.

        Returns
        -------
        tuple
            `points` `(n, dim)`, `weights` `(n,)`, and `normals` `(n, dim)` on a boundary.

        Raises
        ------
        InputError
            For a name that no part has.
        """
        from hierax.geometry.body import interior_rule, surface_rule

        low, high = self.bounds()
        counts = np.maximum(1, np.rint(cells * (high - low) / self.size).astype(int))
        mesh = [np.linspace(a, b, n + 1) for a, b, n in zip(low, high, counts, strict=True)]
        if on is None:
            return interior_rule(self, mesh, order)
        part = self.boundary(None if on == "boundary" else on) if isinstance(on, str) else on
        return surface_rule(self, part, mesh, order)

    @functools.cached_property
    def body(self) -> Any:
        """The boundary, found once, with all that follows from it."""
        from hierax.geometry.body import body_of

        return body_of(self)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the smallest box around the shape."""
        return self.body.bounds

    @property
    def boundaries(self) -> tuple[str, ...]:
        """Names of the parts of the boundary."""
        return self.body.names

    @property
    def measure(self) -> float:
        """Length, area or volume."""
        return self.body.measure

    def axis(self, name: str) -> int:
        """Position of the coordinate `name`."""
        if name not in self.names:
            raise InputError(
                f"coordinate {name!r} is unknown", "a derivative", f"the coordinates are {', '.join(self.names)}"
            )
        return self.names.index(name)

    def distance(self, points: ArrayLike) -> np.ndarray:
        """Signed distance `(n,)` of points `(n, dim)` from the boundary, negative inside."""
        points = np.atleast_2d(np.asarray(points, float))
        sign = np.where(self.level(points) <= 0.0, -1.0, 1.0)
        return sign * np.linalg.norm(self.body.nearest(points) - points, axis=1)


@dataclass(frozen=True, eq=False)
class AbstractCombination(AbstractShape):
    """Two shapes together."""

    first: AbstractShape
    second: AbstractShape

    @property
    def dim(self) -> int:
        return self.first.dim

    @property
    def names(self) -> tuple[str, ...]:
        return self.first.names

    @property
    def leaves(self) -> tuple[AbstractShape, ...]:
        return tuple(dict.fromkeys((*self.first.leaves, *self.second.leaves)))

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        return type(self)(self.first.mapped(matrix, shift), self.second.mapped(matrix, shift))

    def __repr__(self) -> str:
        sign = {"Union": "|", "Intersection": "&", "Difference": "-"}[type(self).__name__]
        return f"({self.first!r} {sign} {self.second!r})"


@final
@dataclass(frozen=True, eq=False, repr=False)
class Union(AbstractCombination):
    """What lies in either of two shapes."""

    def level(self, points: np.ndarray) -> np.ndarray:
        return np.minimum(self.first.level(points), self.second.level(points))

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        (a, b), (c, d) = self.first.box(), self.second.box()
        return np.minimum(a, c), np.maximum(b, d)

    def combined(self, of: Callable[[AbstractShape], Any]) -> Any:
        first, second = self.first.combined(of), self.second.combined(of)
        return second if first is None else first if second is None else Union(first, second)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Intersection(AbstractCombination):
    """What lies in both of two shapes."""

    def level(self, points: np.ndarray) -> np.ndarray:
        return np.maximum(self.first.level(points), self.second.level(points))

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        (a, b), (c, d) = self.first.box(), self.second.box()
        return np.maximum(a, c), np.minimum(b, d)

    def combined(self, of: Callable[[AbstractShape], Any]) -> Any:
        first, second = self.first.combined(of), self.second.combined(of)
        return None if first is None or second is None else Intersection(first, second)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Difference(AbstractCombination):
    """What lies in the first of two shapes and not in the second."""

    def level(self, points: np.ndarray) -> np.ndarray:
        return np.maximum(self.first.level(points), -self.second.level(points))

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.first.box()

    def combined(self, of: Callable[[AbstractShape], Any]) -> Any:
        first, second = self.first.combined(of), self.second.combined(of)
        return first if first is None or second is None else Difference(first, second)


@dataclass(frozen=True, eq=False)
class AbstractLeaf(AbstractShape):
    """A shape that is not put together from others."""

    def __repr__(self) -> str:
        return f"{type(self).__name__} {getattr(self, 'name', '')!r}"

    @property
    def leaves(self) -> tuple[AbstractShape, ...]:
        return (self,)

    def combined(self, of: Callable[[AbstractShape], Any]) -> Any:
        return of(self)


def _same_dim(shape: AbstractShape, other: Any) -> AbstractShape:
    if not isinstance(other, AbstractShape) or other.dim != shape.dim:
        raise InputError(
            f"{other!r:.60} is no shape in {shape.dim} dimensions", "a | b, a & b, a - b",
            "combine shapes with the same number of coordinates",
        )  # fmt: skip
    return other


def _numbers(values: Any, count: int, where: str) -> np.ndarray:
    """Finite numbers `(count,)`."""
    try:
        found = np.atleast_1d(np.asarray(values, float))
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (count,) or not np.all(np.isfinite(found)):
        raise InputError(f"{values!r:.60}", where, f"give {count} finite numbers")
    return found


def numbers(values: Any, count: int, where: str) -> np.ndarray:
    """Finite numbers `(count,)`, or an `InputError`."""
    return _numbers(values, count, where)


def positive(value: Any, where: str) -> float:
    """A positive finite number, or an `InputError`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not (np.isfinite(number) and number > 0):
        raise InputError(f"{value!r:.60}", where, "give a positive number")
    return number


def corners(lower: Sequence[float] | ArrayLike, upper: Any, dim: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Ordered corners of a box, or an `InputError`."""
    low, high = _numbers(lower, dim, where), _numbers(upper, dim, where)
    if not np.all(low < high):
        raise InputError(f"corners {low.tolist()} and {high.tolist()}", where, "give the lower ones first")
    return low, high
