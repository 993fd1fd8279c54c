"""Units of a problem: the same problem in others, in which its unknowns and its equations have size one."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.problems.continuation import Continuation
from hierax.problems.problem import Problem
from hierax.problems.reference import AnyReference
from hierax.problems.remembered import once_for_each
from hierax.problems.terms import AbstractValues, Data, Energy, Residual, Term, Values, Where
from hierax.problems.unknowns import Unknown


@dataclass(frozen=True, eq=False)
class Units:
    """Sizes of the quantities of a problem, in the units that it was written in.

    An unknown `u` becomes `(u - shift) / size`, a residual `r` becomes `r / size`, component by component; an energy
    is divided by one number.

    Attributes
    ----------
    sizes, shifts:
        Of each unknown, by name: `()`, or `(components,)`.
    terms:
        Of each residual and energy, by name: `()`, or `(rows,)`.
    levels:
        Of each unknown the value, in its old unit, that conditions give it in the mean, where training may start.
    apart:
        Names of conditions whose rows are of different order, as `[u, u_x]`: each row becomes a term, since on a fine
        grid rows with higher derivatives would outweigh the others.
    places:
        Of conditions whose rows are of other orders on one place than on another, by name, the places of like orders:
        on each of these it becomes a term, whose name says where; `terms` and `apart` know that name.
    """

    sizes: Mapping[str, np.ndarray]
    shifts: Mapping[str, np.ndarray]
    terms: Mapping[str, np.ndarray]
    levels: Mapping[str, np.ndarray]
    apart: frozenset[str] = frozenset()
    places: Mapping[str, tuple[Where, ...]] = field(default_factory=dict)

    def converted(self, problem: Problem) -> Problem:
        """The problem whose unknowns are `(u - shift) / size`: the same minimisers, counted in other units.

        The same object comes back whenever it is asked for, and with it all kernels.
        """
        return _converted(problem, self)

    def start(self, name: str) -> np.ndarray:
        """The level of an unknown in these units."""
        return (self.levels[name] - self.shifts[name]) / self.sizes[name]

    def _made(self, problem: Problem) -> Problem:
        if isinstance(problem, Continuation):
            members = [*(self._made(easier) for easier in problem.easier), self._alone(problem)]
            return Continuation(members.__getitem__, range(len(members)), notes=problem.notes)
        return self._alone(problem)

    def _alone(self, problem: Problem) -> Problem:
        return problem.changed(
            terms=[part for term in by_place(problem, self.places) for part in self._parts(problem, term)],
            unknowns={name: self._unknown(name, u) for name, u in problem.unknowns.items()} if problem.named else None,
            constraint=self._constraint(problem),
            reference=self._reference(problem),
        )

    def seen(self, problem: Problem, w: Any) -> Any:
        """The unknowns in the problem's own units, from those in these units."""
        if problem.named:
            return types.SimpleNamespace(
                **{name: self._back(problem, name, getattr(w, name)) for name in problem.unknowns}
            )
        return self._back(problem, next(iter(problem.unknowns)), w)

    def _back(self, problem: Problem, name: str, u: Any) -> Any:
        size, shift = self.sizes[name], self.shifts[name]
        if name in problem.constants:
            return shift + size * u
        return _Affine(u, size, shift)

    def _unknown(self, name: str, unknown: Unknown) -> Unknown:
        size, shift = self.sizes[name], self.shifts[name]

        def inside(value: float | None) -> Any:
            return None if value is None else float((value - shift) / size)

        changed: dict[str, Any] = {}
        if unknown.bounds is not None:
            changed["bounds"] = tuple(inside(value) for value in unknown.bounds)
        if unknown.prior is not None:
            changed["prior"] = (inside(unknown.prior[0]), float(unknown.prior[1] / size))
        first = unknown.initial
        if callable(first):
            changed["initial"] = lambda x: (first(x) - shift) / size
        elif first is not None:
            changed["initial"] = inside(first)
        return replace(unknown, **changed)

    def _constraint(self, problem: Problem) -> Callable[[Any], Any] | None:
        inner = problem.constraint
        if inner is None:
            return None

        def constraint(w: Any) -> Any:
            out = inner(self.seen(problem, w))
            if not problem.named:
                return self._forth(next(iter(problem.unknowns)), out)
            parts = {name: getattr(out, name) for name in problem.unknowns}
            return types.SimpleNamespace(
                **{n: u if n in problem.constants else self._forth(n, u) for n, u in parts.items()}
            )

        return constraint

    def _forth(self, name: str, u: Callable[..., Any]) -> _Affine:
        size, shift = self.sizes[name], self.shifts[name]
        return _Affine(u, 1.0 / size, -shift / size)

    def _parts(self, problem: Problem, term: Term) -> list[Term]:
        made = self._term(problem, term)
        if term.name not in self.apart or not isinstance(made, Residual):
            return [made]
        rows = range(self.terms[term.name].size)
        return [replace(made, name=f"{made.name}[{k}]", function=_row(made.function, k)) for k in rows]

    def _term(self, problem: Problem, term: Term) -> Term:
        if isinstance(term, AbstractValues):
            return self._values(problem, term)
        factor = 1.0 / self.terms[term.name]
        if isinstance(term, Energy):
            return replace(term, density=self._measured(problem, term.density, factor))
        return replace(term, function=self._measured(problem, term.function, factor))

    def _values(self, problem: Problem, term: Data | Values) -> Data | Values:
        """Values over their sizes; over one size for all components where their noise is stated beside equations."""
        name = problem.data_unknown(term)
        size = self.terms[term.name] if name is None else self.sizes[name]
        shift = 0.0 if name is None else self.shifts[name]
        observe, noise = term.observe, term.noise if isinstance(term, Data) else None
        governed = any(not isinstance(t, AbstractValues) for t in problem.terms)
        if np.ptp(size) and governed and noise is not None and np.any(noise):
            size = np.exp(np.mean(np.log(size)))
            observe = observe or (lambda w, x: (getattr(w, str(name)) if problem.named else w)(x) - shift)
        changed: dict[str, Any] = {} if noise is None else {"noise": noise / np.mean(size)}
        if observe is not None:
            changed["observe"] = self._measured(problem, observe, 1.0 / size)
        return replace(term, values=(term.values - shift) / size, **changed)

    def _measured(self, problem: Problem, user: Callable[..., Any], factor: np.ndarray) -> Callable[..., Any]:
        def changed(w: Any, *place: Any) -> Any:
            return factor * jnp.asarray(user(self.seen(problem, w), *place))

        return _called_like(user, changed)

    def _reference(self, problem: Problem) -> AnyReference | None:
        known = problem.reference
        if known is None:
            return None

        def value(name: str, own: Any) -> Any:
            size, shift = self.sizes[name], self.shifts[name]
            return (lambda x: (own(x) - shift) / size) if callable(own) else (own - shift) / size

        return type(known)({name: value(name, own) for name, own in known.named().items()}, known.error_bound)


def by_place(problem: Problem, places: Mapping[str, tuple[Where, ...]]) -> list[Term]:
    """The terms, of which those that are named hold on each of these places for themselves."""
    terms: list[Term] = []
    for term in problem.terms:
        own = [replace(term, on=on) for on in places.get(term.name, (term.on,))]
        terms += [replace(t, name=f"{t.name} {problem.where(t)}") for t in own] if len(own) > 1 else own
    return terms


def _row(function: Callable[..., Any], number: int) -> Callable[..., Any]:
    return _called_like(function, lambda *given: jnp.ravel(function(*given))[number])


def _called_like(function: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """The other function, which says that it takes the arguments of the first: terms get as many as they ask for."""
    other.__signature__ = inspect.signature(function)  # pyright: ignore
    return other


@once_for_each
def _converted(problem: Problem, units: Units) -> Problem:
    return units._made(problem)


@dataclass(frozen=True, eq=False)
class _Affine:
    """`shift + size u`, with the sides of a broken unknown."""

    inner: Callable[..., Any]
    size: Any
    shift: Any

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.shift + self.size * self.inner(x)

    @property
    def sides(self) -> tuple[_Affine, _Affine]:
        """From inside and from outside; see `hierax.problems.sides`."""
        inside, outside = getattr(self.inner, "sides", (self.inner, self.inner))
        return replace(self, inner=inside), replace(self, inner=outside)
