"""What a solution must satisfy: named densities over a set of points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hierax._errors import InputError
from hierax.geometry import Part
from hierax.problems.calls import check_arguments
from hierax.problems.domain import Face, Interface, as_floats, as_points, check_finite

Where = Face | Interface | Part | str | tuple[Face | Interface | Part | str, ...] | None


@dataclass(frozen=True, eq=False)
class Residual:
    """Least squares: the density is half the square of `function(u, x)` (all components, where it has several).

    Parameters
    ----------
    name:
        What messages, tables and figures call it.
    function:
        `function(u, x)` inside, `function(u, x, normal)` on a boundary with the outward unit normal. `u` is a callable
        of a point, or the collection `w` of all unknowns when the problem names them.
    on:
        `None` for the inside; a `Face`, an `Interface`, the name of a boundary or a part of it (`shape.boundary(...)`),
        several of these, or `"boundary"` for all of it.
    """

    name: str
    function: Callable[..., Any]
    on: Where = None

    def __post_init__(self) -> None:
        _check_function(self.function, f"Residual({self.name!r}, function)", self.on)


@dataclass(frozen=True, eq=False)
class Energy:
    """A density `density(u, x)` whose integral is minimised; not a square.

    Its curvature is the positive semidefinite part of the second derivative with respect to the values and first
    derivatives of the unknowns.
    """

    name: str
    density: Callable[..., Any]
    on: Where = None

    def __post_init__(self) -> None:
        _check_function(self.density, f"Energy({self.name!r}, density)", self.on)


@dataclass(frozen=True, eq=False)
class AbstractValues:
    """Values of an unknown at points: `u(points[i])` should be `values[i]`."""

    name: str
    points: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        where = f"{type(self).__name__}({self.name!r}, "
        points = as_points(self.points, f"{where}points)")
        values = np.atleast_1d(as_floats(self.values, f"{where}values)"))
        if len(values) != len(points):
            raise InputError(
                what=f"{len(points)} points, but {len(values)} values",
                where=f"{where}points, values)",
                remedy="give one value (or one row of values) a point",
            )
        check_finite(values, f"{where}values)")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, eq=False)
class Data(AbstractValues):
    """Measured values, which carry noise.

    Without a stated noise it is found from the values; those that show none, beside equations, are prescribed values.

    Parameters
    ----------
    name:
        Name of the unknown that was measured, where there are several; any name where there is one.
    points, values:
        Arrays `(n, dim)` and `(n,)` or `(n, m)`; finite.
    noise:
        Standard deviation of the values in their own units, where it is known; values with noise 0 are prescribed.
    """

    noise: float | None = None
    on: Where = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise is not None and not (np.isfinite(self.noise) and self.noise >= 0):
            raise InputError(
                what=f"noise is {self.noise}",
                where=f"Data({self.name!r}, noise=...)",
                remedy="give a standard deviation in the units of the values, or leave it out",
            )


@dataclass(frozen=True, eq=False)
class Values(AbstractValues):
    """Prescribed values, which are met as boundary conditions are.

    Parameters
    ----------
    name:
        Name of the unknown, where there are several; any name where there is one.
    points, values:
        Arrays `(n, dim)` and `(n,)` or `(n, m)`; finite. Points may lie anywhere in the domain and on its boundary.
    """

    on: Where = None


Term = Residual | Energy | Data | Values


def _check_function(function: object, where: str, on: Where) -> None:
    if on is None:
        check_arguments(function, where, (2,), "function(u, x), or with on=... as function(u, x, normal)")
    else:
        check_arguments(function, where, (3, 2), "function(u, x, normal), or function(u, x)")
