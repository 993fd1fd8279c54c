"""Boundary conditions as the textbook writes them; each helper makes one `Residual`.

Values may be numbers, arrays or functions of the point. Where a problem names its unknowns, `unknown=` says of which
one a condition is; of a vector `component=` takes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax._errors import InputError
from hierax.geometry import Part
from hierax.problems.domain import Face
from hierax.problems.operators import divergence, gradient
from hierax.problems.terms import Residual, Where, Wrapped

Value = Callable[[Any], Any] | Any


def dirichlet(
    on: Where, value: Value = 0.0, *, unknown: str | None = None, component: int | None = None,
    name: str | None = None, exact: bool = False,
) -> Residual:  # fmt: skip
    """`u = value` on a part of the boundary.

    Parameters
    ----------
    on:
        Where: a face, a name, a part of a boundary, several of them, `"boundary"`.
    value:
        A number, an array, or a function of the point.
    unknown, component:
        Of which unknown, where the problem names them; of which component, where it has several.
    name:
        Of the term, for messages and tables.
    exact:
        Other libraries build values in by the distance from the boundary; here that loses, and is refused.

    Returns
    -------
    Residual
        To be put among the terms of a problem.

    Raises
    ------
    InputError
        For values that are no numbers, and for `exact`.

    Examples
    --------
    >>> hx.dirichlet("hole", 0.0)  # doctest: +SKIP
    """
    if exact:
        raise InputError(
            "values are not built in by the distance: solutions are less exact with it than without",
            f"exact of a condition on {_places(on)}",
            "leave it out; where values must hold to the last digit, give Problem(..., constraint=lambda u: lambda x: "
            "g(x) + d(x) * u(x)) with a smooth d that is zero there, and no condition",
        )
    _check(on, value=value)

    def condition(w: Any, x: Any, normal: Any) -> Any:
        del normal
        return _component(_unknown(w, unknown)(x), component) - at_point(value, x)

    return Residual(name or _named(unknown or "value", on, component), condition, on=on)


def neumann(
    on: Where, flux: Value = 0.0, k: Value = 1.0, *, unknown: str | None = None, component: int | None = None,
    name: str | None = None,
) -> Residual:  # fmt: skip
    """`k du/dn = flux` with the outward normal `n`; `k` is a number, a matrix, or a function of the point.

    Other parameters are those of `dirichlet`.
    """
    _check(on, flux=flux, k=k)

    def condition(w: Any, x: Any, normal: Any) -> Any:
        return _component(_flux(_unknown(w, unknown), k, x, normal), component) - at_point(flux, x)

    return Residual(name or _named(f"flux of {unknown}" if unknown else "flux", on, component), condition, on=on)


def robin(
    on: Where, h: Value, ambient: Value = 0.0, k: Value = 1.0, *, unknown: str | None = None,
    component: int | None = None, name: str | None = None,
) -> Residual:  # fmt: skip
    """`k du/dn + h (u - ambient) = 0`: exchange with surroundings. Other parameters are those of `neumann`."""
    _check(on, h=h, ambient=ambient, k=k)

    def condition(w: Any, x: Any, normal: Any) -> Any:
        u = _unknown(w, unknown)
        exchange = at_point(h, x) * (_component(u(x), component) - at_point(ambient, x))
        return _component(_flux(u, k, x, normal), component) + exchange

    return Residual(
        name or _named(f"exchange of {unknown}" if unknown else "exchange", on, component), condition, on=on
    )


def traction(
    on: Where, stress: Callable[[Any], Any], vector: Value = 0.0, *, unknown: str | None = None, name: str | None = None
) -> Residual:
    """`stress(u) n = vector`: forces on a surface.

    Parameters
    ----------
    stress:
        `stress(u)(x)`, a matrix, such as `hx.Elastic(young, poisson).stress`.
    vector:
        Force on a unit of surface, zero by default.
    on, unknown, name:
        As those of `dirichlet`.
    """
    _check(on, vector=vector)

    def condition(w: Any, x: Any, normal: Any) -> Any:
        return stress(_unknown(w, unknown))(x) @ normal - at_point(vector, x)

    return Residual(name or _named("traction", on, None), condition, on=on)


def symmetry(
    on: Where, stress: Callable[[Any], Any] | None = None, *, unknown: str | None = None, name: str | None = None
) -> Residual:
    """A plane of symmetry: `du/dn = 0`, or for a displacement `u . n = 0` and no shear, with its `stress(u)(x)`.

    Other parameters are those of `traction`.
    """

    def condition(w: Any, x: Any, normal: Any) -> Any:
        u = _unknown(w, unknown)
        if stress is None:
            return gradient(u)(x) @ normal
        # rows of one kind each, however the plane lies
        return jnp.append(_tangents(normal) @ stress(u)(x) @ normal, u(x) @ normal)

    return Residual(name or _named("symmetry", on, None), condition, on=on)


def periodic(*names: str) -> Wrapped:
    """All unknowns are the same at both ends of these coordinates, with all derivatives.

    The domain, a box or one period of a shape whose ends are alike, then has no boundary there: `"boundary"` is the
    rest. In a box `hx.Box(..., periodic=names)` says the same.

    Examples
    --------
    >>> terms = (equation, hx.periodic("x", "y"), hx.neumann("hole"))  # doctest: +SKIP
    """
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{names!r:.60} are no coordinates", "periodic(...)", 'give their names, as in periodic("x")')
    return Wrapped(names)


class Elastic:
    r"""A linear elastic, isotropic material: :math:`\sigma = \lambda \, \mathrm{tr}(e) I + 2 \mu e`.

    The strain :math:`e` is the symmetric part of the gradient of the displacement. In two coordinates it is that of
    plane strain, unless `plane_stress` says that the body is thin.

    Parameters
    ----------
    young, poisson:
        Young's modulus in the unit of stresses, positive, and Poisson's ratio between -1 and 1/2.
    plane_stress:
        Whether stresses across the plane vanish.
    """

    def __init__(self, young: float, poisson: float, plane_stress: bool = False) -> None:
        if not (young > 0 and -1.0 < poisson < 0.5):
            raise InputError(
                f"Young's modulus is {young}, Poisson's ratio {poisson}", "Elastic(young, poisson)",
                "give a positive modulus and a ratio between -1 and 1/2",
            )  # fmt: skip
        self.shear = young / (2.0 * (1.0 + poisson))
        lame = young * poisson / ((1.0 + poisson) * (1.0 - 2.0 * poisson))
        self.lame = young * poisson / (1.0 - poisson**2) if plane_stress else lame

    def stress(self, u: Callable[[Any], Any]) -> Callable[[Any], Float[Array, "dim dim"]]:
        """The stress of a displacement, `stress(u)(x)`."""

        def sigma(x: Any) -> Float[Array, "dim dim"]:
            slope = gradient(u)(x)
            return self.lame * jnp.trace(slope) * jnp.eye(len(x)) + self.shear * (slope + slope.T)

        return sigma

    def balance(self, u: Callable[[Any], Any], force: Value = 0.0) -> Callable[[Any], Float[Array, " dim"]]:
        """The divergence of the stress plus a force on a unit of volume, `balance(u, force)(x)`: zero at rest."""
        return lambda x: divergence(self.stress(u))(x) + at_point(force, x)

    def energy(self, u: Callable[[Any], Any]) -> Callable[[Any], Float[Array, ""]]:
        """Elastic energy of a unit of volume, `energy(u)(x)`, for an `Energy`."""

        def density(x: Any) -> Float[Array, ""]:
            slope = gradient(u)(x)
            strain = 0.5 * (slope + slope.T)
            return 0.5 * self.lame * jnp.trace(strain) ** 2 + self.shear * jnp.sum(strain**2)

        return density


def _unknown(w: Any, name: str | None) -> Any:
    return w if name is None else getattr(w, name)


def _component(values: Any, component: int | None) -> Any:
    return values if component is None else values[component]


def _check(on: Where, **values: Value) -> None:
    """Refuse what is neither a function nor numbers; these may be traced."""
    for name, value in values.items():
        try:
            if not callable(value):
                jnp.asarray(value, float)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{value!r:.80} is no number", f"{name} of a condition on {_places(on)}",
                "give a number, an array of numbers, or a function of the point",
            ) from error  # fmt: skip


def at_point(value: Value, x: Any) -> Any:
    return value(x) if callable(value) else jnp.asarray(value, float)


def _flux(u: Callable[[Any], Any], k: Value, x: Any, normal: Any) -> Any:
    slope, factor = gradient(u)(x), at_point(k, x)
    return slope @ (factor.T @ normal) if jnp.ndim(factor) == 2 else factor * (slope @ normal)


def _tangents(normal: Any) -> Float[Array, "dim-1 dim"]:
    """Unit vectors across a normal: of the reflection that takes it to its largest coordinate the other rows."""
    dim, k = len(normal), jnp.argmax(jnp.abs(normal))
    v = normal + jnp.sign(normal[k]) * jnp.eye(dim)[k]
    return (jnp.eye(dim) - 2.0 * jnp.outer(v, v) / (v @ v))[(k + 1 + jnp.arange(dim - 1)) % dim]


def _named(what: str, on: Where, component: int | None) -> str:
    return f"{what}{'' if component is None else f'[{component}]'} on {_places(on)}"


def _places(on: Where) -> str:
    return ", ".join(_place(place) for place in (on if isinstance(on, tuple | list) else (on,)))


def _place(place: Any) -> str:
    if isinstance(place, Face):
        return f"{place.name} {place.side}"
    if isinstance(place, Part):
        return (place.name or "boundary") + (" (part)" if place.where is not None else "")
    return str(place)
