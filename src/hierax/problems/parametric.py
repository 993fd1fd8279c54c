"""Numbers of a problem as further coordinates: one training for all their values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.calls import check_arguments
from hierax.problems.domain import Box
from hierax.problems.operators import coordinates
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.terms import AbstractValues, Energy, Residual, Term
from hierax.problems.unknowns import Function, Unknown

LOGARITHM = "log_"
"""Before the name of a coordinate that is the natural logarithm of a parameter."""


@final
@dataclass(frozen=True)
class Parameter:
    """A number of a problem and the range of its values.

    Parameters
    ----------
    name:
        The keyword of the function that makes the problem.
    low, high:
        Ends of the range.
    log:
        Whether the coordinate is the natural logarithm of the number, `log_NAME`, for ranges over decades.
    """

    name: str
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        ordered = np.isfinite([self.low, self.high]).all() and self.low < self.high
        if not ordered or (self.log and self.low <= 0) or not self.name.isidentifier():
            raise InputError(
                what=f"the range of {self.name!r} is from {self.low} to {self.high}{', logarithmic' * self.log}",
                where="Parameter(name, low, high)",
                remedy="give finite ends, low < high, above 0 with log=True",
            )

    @property
    def coordinate(self) -> str:
        """Name of the coordinate."""
        return LOGARITHM * self.log + self.name

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the coordinate."""
        return (float(np.log(self.low)), float(np.log(self.high))) if self.log else (self.low, self.high)

    def value(self, coordinate: Any) -> Any:
        """The number at a place along the coordinate."""
        return jnp.exp(coordinate) if self.log else coordinate


def over(make: Callable[..., Problem], *parameters: Parameter, **settings: Any) -> Problem:
    """The problem whose solution is a function of its coordinates and of some of its numbers.

    Its box has the parameters as last coordinates. Terms, conditions and a reference are those of the problem that
    `make` returns for the parameters at the point, which the unknowns see as functions of the other coordinates.

    Parameters
    ----------
    make:
        A function that returns a `Problem` in a `Box`; the parameters, its keywords, enter the terms by `jax.numpy`.
    parameters:
        One or more.
    settings:
        Values of other keywords.

    Raises
    ------
    InputError
        For keywords that `make` does not have, a domain that is no box or depends on a parameter, and data, which
        do not say what value of a parameter they belong to.

    Examples
    --------
    >>> problem = hx.over(heat, hx.Parameter("conductivity", 0.05, 0.5, log=True))  # doctest: +SKIP
    """
    _check(make, [*(p.name for p in parameters), *settings])
    return _Parametric(functools.partial(make, **settings), parameters).problem()


@dataclass(frozen=True, eq=False)
class _Parametric:
    make: Callable[..., Problem]
    parameters: tuple[Parameter, ...]

    @functools.cached_property
    def base(self) -> Problem:
        """The problem in the middle of the ranges."""
        return self.make(**{p.name: float(p.value(np.mean(p.ends))) for p in self.parameters})

    @property
    def dim(self) -> int:
        return self.base.domain.dim

    def at(self, x: Any) -> Problem:
        """The problem for the parameters of a point."""
        return self.make(**{p.name: p.value(x[self.dim + k]) for k, p in enumerate(self.parameters)})

    def problem(self) -> Problem:
        base, box = self.base, self.base.domain
        if not isinstance(box, Box) or any(isinstance(t, AbstractValues) for t in base.terms) or base.constraint:
            raise InputError(
                what="a domain that is no box, values at points, or a constraint",
                where="over(...)",
                remedy="give a problem in a hx.Box with equations and conditions alone",
            )
        self._check_traced()
        ends = np.array([p.ends for p in self.parameters])
        names = (*(box.names or ()), *(p.coordinate for p in self.parameters))
        lower, upper = np.r_[box.lower, ends[:, 0]], np.r_[box.upper, ends[:, 1]]
        whole = Box(lower, upper, names=names, periodic=box.periodic, units=box.units)
        return Problem(
            whole,
            [self._term(k, term) for k, term in enumerate(base.terms)],
            unknowns={name: self._unknown(one) for name, one in base.unknowns.items()} if base.named else None,
            reference=self._reference(),
            name=base.name,
        )

    def _check_traced(self) -> None:
        """Refuse what needs to know the values of parameters before the solution is asked for."""
        try:
            jax.eval_shape(
                lambda x: (self.at(x), x)[1], jax.ShapeDtypeStruct((self.dim + len(self.parameters),), float)
            )
        except (jax.errors.JAXTypeError, TypeError, InputError) as error:
            raise InputError(
                what=f"the problem cannot be made for a value that is not known yet ({type(error).__name__})",
                where=f"over({', '.join(p.name for p in self.parameters)})",
                remedy="let parameters enter the terms alone, by jax.numpy: no domain and no choice may depend on them",
            ) from error

    def _term(self, number: int, term: Term) -> Term:
        on = None if term.on is None else tuple(self.base.places(term))
        if isinstance(term, Energy):
            return Energy(term.name, self._called(number), on)  # pyright: ignore
        return Residual(term.name, self._called(number), on)  # pyright: ignore

    def _called(self, number: int) -> Callable[..., Any]:
        names = tuple(self.base.domain.names or ())

        def function(u: Any, x: Any, normal: Any = None) -> Any:
            term = self.at(x).terms[number]
            user: Any = term.density if isinstance(term, Energy) else term.function  # pyright: ignore
            place = (
                (x[: self.dim],) if normal is None or not _takes_normal(user) else (x[: self.dim], normal[: self.dim])
            )
            with coordinates(names):
                return user(self._seen(u, x), *place)

        def inside(u: Any, x: Any) -> Any:
            return function(u, x)

        def on_face(u: Any, x: Any, normal: Any) -> Any:
            return function(u, x, normal)

        return inside if self.base.terms[number].on is None else on_face

    def _seen(self, u: Any, x: Any) -> Any:
        """The unknowns as functions of the coordinates alone."""

        def restricted(whole: Callable[[Any], Any]) -> Callable[[Any], Any]:
            return lambda z: whole(jnp.concatenate([z, x[self.dim :]]))

        if not self.base.named:
            return restricted(u)
        parts = {name: getattr(u, name) for name in self.base.unknowns}
        return SimpleNamespace(**{n: restricted(v) if n in self.base.functions else v for n, v in parts.items()})

    def _unknown(self, unknown: Unknown) -> Unknown:
        start: Any = unknown.initial
        if callable(start):
            unknown = replace(unknown, initial=lambda x: start(x[: self.dim]))
        if isinstance(unknown, Function) and unknown.of is not None:
            return replace(unknown, of=(*unknown.of, *(p.coordinate for p in self.parameters)))
        return unknown

    def _reference(self) -> Reference | None:
        known = self.base.reference
        if not isinstance(known, Reference) or not all(callable(v) for v in known.named().values()):
            return None

        def value(name: str) -> Callable[[Any], Any]:
            def exact(x: Any) -> Any:
                own: Any = self.at(x).reference
                return own.named()[name](x[: self.dim])

            return exact

        return Reference({name: value(name) for name in known.named()}, known.error_bound)


def _takes_normal(function: Callable[..., Any]) -> bool:
    try:
        check_arguments(function, "", (3,), "")
    except InputError:
        return False
    return True


def _check(make: Callable[..., Problem], names: list[str]) -> None:
    keywords = inspect.signature(make).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in keywords.values())
    unknown = [name for name in names if name not in keywords and not open_ended]
    twice = [name for name in names if names.count(name) > 1]
    if unknown or twice or not names:
        raise InputError(
            what=f"the problem has no number {unknown[0]!r}"
            if unknown
            else f"{twice[0]!r} twice"
            if twice
            else "nothing",
            where="over(make, ...)",
            remedy=f"its keywords are {', '.join(keywords) or 'none'}",
        )
