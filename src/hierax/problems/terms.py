"""What a solution must satisfy: named densities over a set of points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hierax._errors import InputError
from hierax.geometry import Part
from hierax.problems.calls import check_arguments
from hierax.problems.checked import as_floats, as_points, check_finite
from hierax.problems.domain import Face, Interface

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
    """Values of an unknown, or of what is observed of the unknowns, at points: `u(points[i])` should be `values[i]`."""

    name: str
    points: np.ndarray
    values: np.ndarray
    observe: Callable[..., Any] | None = field(default=None, kw_only=True)
    given: np.ndarray | None = field(default=None, kw_only=True)

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
        self._check_observation(where, len(points))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "values", values)

    def _check_observation(self, where: str, count: int) -> None:
        if self.observe is not None:
            arguments = (2,) if self.given is None else (3,)
            form = "function(u, x)" if self.given is None else "function(u, x, given)"
            check_arguments(self.observe, f"{where}observe)", arguments, form)
        if self.given is None:
            return
        given = as_points(self.given, f"{where}given)")
        if self.observe is None or len(given) != count:
            raise InputError(
                what=f"{len(given)} rows of numbers are given with {count} points"
                + " and nothing that observes them" * (self.observe is None),
                where=f"{where}given)",
                remedy="give one row a point, and observe=function(u, x, given)",
            )
        object.__setattr__(self, "given", given)

    @property
    def targets(self) -> np.ndarray:
        """What a sample brings to its pointwise term, `(n, m + k)`: the values, and what is given with them."""
        values = self.values.reshape(len(self.points), -1)
        return values if self.given is None else np.concatenate([values, self.given], axis=1)


@dataclass(frozen=True, eq=False)
class Data(AbstractValues):
    """Measured values, which carry noise.

    Without a stated noise it is found from the values; those that show none, beside equations, are prescribed values.

    Parameters
    ----------
    name:
        Name of the unknown that was measured, where there are several; any name where there is one, or where something
        else is observed.
    points, values:
        Arrays `(n, dim)` and `(n,)` or `(n, m)`; finite.
    observe:
        What was measured, where it is no unknown itself: `function(u, x)` of the unknowns near the point, such as
        `lambda u, x: hx.derivative(u, "x")(x)`; it is called as terms are, and returns a number or `(m,)`.
    given:
        Numbers `(n, k)` that measurements depend on beside their points; `observe` is then `function(u, x, given)`.
    noise:
        Standard deviation of the values in their own units, where it is known: one number, or one for every point;
        values with noise 0 are prescribed.
    groups:
        For every point what it belongs to, `(n,)` numbers or words: a specimen, a batch, a day. Points of one group are
        kept back together, so that errors at values not seen are those at new groups.
    """

    noise: float | np.ndarray | None = None
    on: Where = None
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise is not None:
            object.__setattr__(self, "noise", self._checked(np.asarray(self.noise, dtype=float)))
        if self.groups is not None:
            groups = np.asarray(self.groups)
            if groups.shape != (len(self.points),):
                raise InputError(
                    what=f"{len(self.points)} points, but groups of shape {groups.shape}",
                    where=f"Data({self.name!r}, groups=...)",
                    remedy="give one number or word a point",
                )
            object.__setattr__(self, "groups", np.unique(groups, return_inverse=True)[1].ravel())

    def _checked(self, noise: np.ndarray) -> float | np.ndarray:
        even = noise.ndim == 0 or (noise.shape == (len(self.points),) and np.ptp(noise) <= 1e-9 * np.max(noise))
        valid = noise.shape in ((), (len(self.points),)) and np.all(np.isfinite(noise)) and np.all(noise >= 0)
        if not valid or not (even or np.all(noise > 0)):
            raise InputError(
                what=f"noise is {noise if noise.ndim == 0 else f'of shape {noise.shape}, from {noise.min()} on'}",
                where=f"Data({self.name!r}, noise=...)",
                remedy="give a standard deviation in the units of the values, for all points or (above 0) for each, or "
                "leave it out; components of different noise are terms of their own, with observe=",
            )
        return float(noise.flat[0]) if even else noise

    def rows(self, which: np.ndarray) -> Data:
        """The same of some points only, by a mask or numbers."""
        per_point = ("points", "values", "given", "groups") + ("noise",) * isinstance(self.noise, np.ndarray)
        own = {name: getattr(self, name) for name in per_point}
        return replace(self, **{name: array[which] for name, array in own.items() if array is not None})

    @property
    def unevenness(self) -> np.ndarray:
        """Variance of the noise of every value over the harmonic mean of all, `(n,)`; one where they are equal."""
        if not isinstance(self.noise, np.ndarray):
            return np.ones(len(self.points))
        return self.noise**2 * np.mean(self.noise**-2.0)

    @property
    def typical_noise(self) -> float | None:
        """Standard deviation of the noise: the root of the harmonic mean of the variances; `None` if not stated."""
        if not isinstance(self.noise, np.ndarray):
            return self.noise
        return float(np.mean(self.noise**-2.0) ** -0.5)


@dataclass(frozen=True, eq=False)
class Values(AbstractValues):
    """Prescribed values, which are met as boundary conditions are.

    Parameters
    ----------
    name:
        Name of the unknown, where there are several; any name where there is one.
    points, values:
        Arrays `(n, dim)` and `(n,)` or `(n, m)`; finite. Points may lie anywhere in the domain and on its boundary.
    observe, given:
        What is prescribed, where it is no unknown itself; see `Data`.
    """

    on: Where = None


@dataclass(frozen=True, eq=False)
class Wrapped:
    """Every unknown is periodic along some coordinates: what a problem makes of it is a domain without ends there."""

    names: tuple[str, ...]


Term = Residual | Energy | Data | Values


def _check_function(function: object, where: str, on: Where) -> None:
    if on is None:
        check_arguments(function, where, (2,), "function(u, x), or with on=... as function(u, x, normal)")
    else:
        check_arguments(function, where, (3, 2), "function(u, x, normal), or function(u, x)")
