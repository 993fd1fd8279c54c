"""Where a problem lives: boxes of any dimension, shapes, and point arrays with normals and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.geometry import AbstractShape, Cuboid, Rectangle, Repeated
from hierax.geometry.regions import inside
from hierax.problems.checked import as_floats, as_points, as_weights, check_names, default_names

TIME = "t"


@dataclass(frozen=True)
class Face:
    """One face of a `Box`: the points whose coordinate `name` is at its `"lower"` or `"upper"` end."""

    name: str
    side: str

    def __post_init__(self) -> None:
        if self.side not in ("lower", "upper"):
            raise InputError(
                what=f"side {self.side!r} of a face is unknown",
                where=f"Face({self.name!r}, ...)",
                remedy='write Face(name, "lower") or Face(name, "upper")',
            )


@dataclass(frozen=True)
class Interface:
    """What divides a domain: the plane `x[name] = at` inside of a `Box`, or the boundary of a shape in any domain.

    Across it derivatives of the unknowns may jump. In `Problem(..., interfaces=[...])` it says that every equation
    tells by itself what holds there, in most cases that the flux is continuous; planes where a coefficient jumps inside
    of a derivative are found without it. Terms may hold on an interface in place of that (`on=interface`), for what
    there is besides, such as a source in the surface: they see an unknown from both sides by `hierax.sides`, and their
    normal points upwards along the coordinate, or out of the shape.

    Parameters
    ----------
    name:
        The coordinate that is constant, or the shape.
    at:
        The value of the coordinate, inside of the box; nothing for a shape.
    continuity:
        Highest order of derivatives that are the same from both sides: 0 for the values alone, 1 for slopes too; -1
        lets the values jump, and a second condition has to say by how much.

    Raises
    ------
    InputError
        For a plane without a place, or a shape with one.

    Examples
    --------
    >>> rod = hx.Interface(hx.Disk((0.5, 0.5), 0.2))  # doctest: +SKIP
    >>> k = rod.by_side(inside=100.0, outside=1.0)  # doctest: +SKIP
    >>> heat = hx.Residual("heat", lambda u, x: hx.divergence(lambda z: k(z) * hx.gradient(u)(z))(x))  # doctest: +SKIP
    """

    name: str | AbstractShape
    at: float | None = None
    continuity: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.name, AbstractShape) != (self.at is None):
            raise InputError(
                f"an interface at {self.at} of {self.name!r:.60}", "Interface(...)",
                'write Interface("x", 0.3) for a plane, Interface(shape) for the boundary of a shape',
            )  # fmt: skip

    def __str__(self) -> str:
        return f"the boundary of {self.name!r}" if self.at is None else f"{self.name} = {self.at:.6g}"

    @property
    def shape(self) -> AbstractShape | None:
        """The shape whose boundary it is; `None` for a plane."""
        return self.name if isinstance(self.name, AbstractShape) else None

    def inside(self, x: Any) -> Any:
        """Whether a point lies inside of the shape; on its boundary, while a term is evaluated, from which side."""
        if self.shape is None:
            raise InputError("a plane has no inside", "Interface.inside(x)", f"compare the coordinate {self.name!r}")
        return inside(self.shape, x)

    def by_side(self, inside: Any, outside: Any) -> Callable[[Any], Any]:
        """A coefficient with one value inside of the shape and another outside: numbers, arrays, functions of `x`."""

        def value(x: Any) -> Any:
            return jnp.where(self.inside(x), *(own(x) if callable(own) else own for own in (inside, outside)))

        return value


class Plane(NamedTuple):
    """Where a face or an interface lies: coordinate `axis` has the value `at`, the normal points along `sign`."""

    axis: int
    at: float
    sign: float


class Box:
    """The box `[lower_1, upper_1] x ... x [lower_d, upper_d]`.

    Parameters
    ----------
    lower, upper:
        The `d` lower and upper ends, finite, `lower < upper`, in the units of the coordinates.
    names:
        Names of the coordinates; `x`, `y`, `z` (then `x4`, ...) unless given. A coordinate named `t` is time.
    periodic:
        Names of the coordinates in which every unknown is periodic.
    units:
        What coordinates are measured in, by name, for figures and reports: `{"t": "s"}`. Nothing is converted.

    Raises
    ------
    InputError
        If the ends are not finite and ordered, or a name is unknown or given twice.
    """

    def __init__(
        self,
        lower: ArrayLike,
        upper: ArrayLike,
        names: Sequence[str] | None = None,
        periodic: Sequence[str] = (),
        units: Mapping[str, str] | None = None,
    ) -> None:
        self.lower = np.atleast_1d(as_floats(lower, "Box(lower)"))
        self.upper = np.atleast_1d(as_floats(upper, "Box(upper)"))
        self.names = tuple(names) if names is not None else default_names(len(self.lower))
        self.periodic = (periodic,) if isinstance(periodic, str) else tuple(periodic)
        self.units = dict(units or {})
        self._check()

    def _check(self) -> None:
        if self.lower.ndim != 1 or self.lower.shape != self.upper.shape or len(self.lower) == 0:
            raise InputError(
                what=f"lower has shape {self.lower.shape} and upper has shape {self.upper.shape}",
                where="Box(lower, upper)",
                remedy="give two lists of the same length, one number a coordinate",
            )
        bad = np.flatnonzero(~(np.isfinite(self.lower) & np.isfinite(self.upper) & (self.lower < self.upper)))
        if bad.size:
            k = int(bad[0])
            raise InputError(
                what=f"coordinate {k} runs from {self.lower[k]} to {self.upper[k]}",
                where="Box(lower, upper)",
                remedy="both ends must be finite and the lower one smaller",
            )
        check_names(self.names, len(self.lower), "Box(names=...)")
        for setting, given in (("periodic", self.periodic), ("units", self.units)):
            for name in given:
                if name not in self.names:
                    raise InputError(
                        what=f"coordinate {name!r} is unknown",
                        where=f"Box({setting}=...)",
                        remedy=f"the coordinates are {', '.join(self.names)}",
                    )

    def __repr__(self) -> str:
        spans = ", ".join(
            f"{n}: {a:g}..{b:g}{' periodic' if n in self.periodic else ''}"
            for n, a, b in zip(self.axis_labels, self.lower, self.upper, strict=True)
        )
        return f"Box({spans})"

    @property
    def axis_labels(self) -> tuple[str, ...]:
        """Names of the coordinates with their units, where these are given: `t [s]`."""
        return tuple(f"{name} [{self.units[name]}]" if name in self.units else name for name in self.names)

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.lower)

    @property
    def measure(self) -> float:
        """Length, area or volume."""
        return float(np.prod(self.upper - self.lower))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner, each of shape `(dim,)`."""
        return self.lower, self.upper

    def axis(self, name: Any) -> int:
        """Position of the coordinate `name`."""
        if name not in self.names:
            raise InputError(
                what=f"coordinate {name!r} is unknown",
                where="a face or derivative",
                remedy=f"the coordinates are {', '.join(self.names)}",
            )
        return self.names.index(name)

    def faces(self) -> tuple[Face, ...]:
        """All faces that are a boundary: two for every coordinate that is not periodic."""
        return tuple(Face(n, s) for n in self.names if n not in self.periodic for s in ("lower", "upper"))

    def plane(self, place: Face | Interface) -> Plane:
        """The plane of a face, whose normal points outward, or of an interface."""
        axis = self.axis(place.name)
        if isinstance(place, Interface):
            return Plane(axis, float(place.at), 1.0)  # pyright: ignore
        upper = place.side == "upper"
        return Plane(axis, float((self.upper if upper else self.lower)[axis]), 1.0 if upper else -1.0)

    def as_shape(self) -> AbstractShape:
        """The box as a shape, in two or three coordinates without periods.

        Raises
        ------
        InputError
            For other boxes.
        """
        if self.dim not in (2, 3) or self.periodic:
            raise InputError(
                f"a shape in {self}", "hx.Interface(shape)", "take two or three coordinates, none of them periodic"
            )
        return (Rectangle if self.dim == 2 else Cuboid)(self.lower, self.upper)

    def contains(self, points: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Which of the points `(n, dim)` lie in the closed box, up to `tolerance` times its size."""
        slack = tolerance * (self.upper - self.lower)
        return np.all((points >= self.lower - slack) & (points <= self.upper + slack), axis=1)


@dataclass(frozen=True, eq=False)
class Boundary:
    """Boundary points `(n, dim)` with outward unit normals `(n, dim)` and weights `(n,)` that add up to its measure."""

    points: np.ndarray
    normals: np.ndarray
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        points = as_points(self.points, "Boundary(points)")
        normals = as_points(self.normals, "Boundary(normals)")
        if normals.shape != points.shape:
            raise InputError(
                what=f"normals have shape {normals.shape}, points {points.shape}",
                where="Boundary(points, normals)",
                remedy="give one outward unit normal a point",
            )
        length = np.linalg.norm(normals, axis=1)
        bad = np.flatnonzero(np.abs(length - 1.0) > 1e-6)
        if bad.size:
            raise InputError(
                what=f"normal {int(bad[0])} has length {length[bad[0]]:g} ({bad.size} such normals)",
                where="Boundary(normals)",
                remedy="give outward normals of length 1",
            )
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "normals", normals)
        object.__setattr__(self, "weights", as_weights(self.weights, len(points), "Boundary(weights)"))


@dataclass(frozen=True, eq=False)
class PointCloud:
    """A domain known by points: interior points `(n, dim)` with weights that add up to its measure, named boundaries.

    Without weights all points count the same and the measure is taken as 1. In two and three dimensions the points
    show the region that lies between them (`hierax.problems.region`): equations hold in all of it, not at the points
    alone. Energies are summed over the points with their weights.
    """

    points: np.ndarray
    weights: np.ndarray | None = None
    boundaries: Mapping[str, Boundary] = field(default_factory=dict)
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        points = as_points(self.points, "PointCloud(points)")
        names = tuple(self.names) if self.names else default_names(points.shape[1])
        check_names(names, points.shape[1], "PointCloud(names=...)")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "weights", as_weights(self.weights, len(points), "PointCloud(weights)"))
        object.__setattr__(self, "boundaries", dict(self.boundaries))
        for name, boundary in self.boundaries.items():
            if boundary.points.shape[1] != self.dim:
                raise InputError(
                    what=f"points of boundary {name!r} have {boundary.points.shape[1]} coordinates",
                    where="PointCloud(boundaries=...)",
                    remedy=f"the interior points have {self.dim}",
                )

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.points.shape[1]

    @property
    def periodic(self) -> tuple[str, ...]:
        """A cloud has no periodic coordinates."""
        return ()

    @property
    def measure(self) -> float:
        """Sum of the weights."""
        return float(np.sum(np.asarray(self.weights)))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the smallest box around interior and boundary points."""
        everything = np.concatenate([self.points, *(b.points for b in self.boundaries.values())])
        return everything.min(axis=0), everything.max(axis=0)

    def axis(self, name: str) -> int:
        """Position of the coordinate `name`."""
        return Box(*self.bounds(), names=self.names).axis(name)


Domain = Box | PointCloud | AbstractShape


def repeated(domain: Domain, names: Sequence[str]) -> Domain:
    """The domain that goes on at both ends of these coordinates, besides those that do already.

    Raises
    ------
    InputError
        For coordinates that it does not have, a cloud of points, and a shape whose ends are not alike.
    """
    wraps = tuple(dict.fromkeys((*domain.periodic, *names)))
    if isinstance(domain, Box):
        return Box(domain.lower, domain.upper, domain.names, wraps, domain.units)
    if isinstance(domain, AbstractShape):
        return Repeated(domain.shape if isinstance(domain, Repeated) else domain, wraps)
    raise InputError("a cloud of points has no ends", "hx.periodic(...)", "give a box or one period of a shape")
