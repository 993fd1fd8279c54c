"""Interfaces that a problem has without saying so: planes across which a coefficient jumps inside of a derivative.

There the unknowns have kinks, and every equation says by itself what holds on the plane, see
`hierax.problems.interfaces.concentrated`. What it says is verified before it is used: for unknowns with a kink it has
to be what the coefficients of the second derivatives on both sides make of the two slopes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax.objective.build import is_equation
from hierax.objective.missed import Feature, Jump
from hierax.objective.pointwise import Place, point_term
from hierax.problems.continuation import Continuation
from hierax.problems.domain import Interface
from hierax.problems.interfaces import Cut, concentrated
from hierax.problems.problem import Problem
from hierax.problems.terms import Energy, Residual

ORDER = 2
"""Of the equations whose interfaces are found: values are continuous there, and fluxes are."""
SAME = 1e-6
"""Relative difference between what is said on an interface and what the coefficients say."""


def stated(problem: Problem) -> tuple[Interface, ...]:
    """The interfaces on which terms hold, each once; values are continuous where all terms say so."""
    found: dict[tuple[str, float], Interface] = {}
    for term in problem.terms:
        for place in problem.places(term):
            if isinstance(place, Interface) and not (place.continuous and (place.name, place.at) in found):
                found[place.name, place.at] = place
    return tuple(found.values())


def hidden(problem: Problem, features: Sequence[Feature], order: int) -> tuple[Interface, ...]:
    """The interfaces that jumps of the terms make, where what holds on them is known."""
    if order != ORDER or isinstance(problem, Continuation) or any(isinstance(t, Energy) for t in problem.terms):
        return ()
    lost = [f for f in features if isinstance(f, Jump) and f.flat and f.lost and not is_stated(problem, f)]
    places: dict[Interface, set[int]] = {}
    for jump in lost:
        own = _place(problem, jump)
        same = next((p for p in places if _same(problem, p, own)), own)
        places.setdefault(same, set()).add(jump.term)
    return tuple(place for place, terms in places.items() if _agrees(problem, place, terms))


def is_stated(problem: Problem, jump: Jump) -> bool:
    """Whether a term says what holds where a coefficient jumps."""
    return jump.flat and any(_same(problem, _place(problem, jump), other) for other in stated(problem))


def _place(problem: Problem, jump: Jump) -> Interface:
    return Interface((problem.domain.names or ())[jump.axis], float(jump.place[jump.axis]))


def _same(problem: Problem, place: Interface, other: Interface) -> bool:
    near = Cut.of(problem.domain, place).near  # pyright: ignore
    return place.name == other.name and abs(place.at - other.at) <= near


@functools.lru_cache(maxsize=64)
def with_interfaces(problem: Problem, places: tuple[Interface, ...]) -> Problem:
    """The problem with what its equations say on interfaces, as further conditions."""
    more = [_condition(problem, term, place) for place in places for term in problem.terms if _divides(problem, term)]
    if not more:
        return problem
    return Problem(
        problem.domain,
        [*problem.terms, *more],
        unknowns=problem.unknowns if problem.named else None,
        constraint=problem.constraint,
        reference=problem.reference,
        name=problem.name,
    )


def _divides(problem: Problem, term: Any) -> bool:
    return isinstance(term, Residual) and is_equation(term, problem)


def _condition(problem: Problem, term: Residual, place: Interface) -> Residual:
    own = concentrated(term.function, Cut.of(problem.domain, place))  # pyright: ignore
    return Residual(f"{term.name} across {place.name} = {place.at:.6g}", lambda u, x: own(u, x), on=place)


def _agrees(problem: Problem, place: Interface, jumping: set[int]) -> bool:
    """Whether what the equations say on a plane is the difference of slopes times coefficients on its two sides."""
    found = [_slopes(problem, k, place) for k, t in enumerate(problem.terms) if _divides(problem, t)]
    numbers = [k for k, t in enumerate(problem.terms) if _divides(problem, t)]
    for number, (said, below, above) in zip(numbers, found, strict=True):
        expected = np.concatenate([-(below if number in jumping else above), above], axis=-1)
        size = np.abs(expected).max()
        if not np.all(np.abs(said - expected) <= SAME * size) or (number in jumping and size == 0.0):
            return False
    return True


def _slopes(problem: Problem, number: int, place: Interface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a term at some points of a plane: what it says there of slopes below and above `(points, rows, 2 unknowns)`,
    and its coefficients of second derivatives below and above `(points, rows, unknowns)`, in units of the box."""
    cut, box = Cut.of(problem.domain, place), problem.domain  # pyright: ignore
    term = problem.terms[number]
    assert isinstance(term, Residual)
    whole = Problem(
        box, [term, _condition(problem, term, place)], unknowns=problem.unknowns if problem.named else None,
        constraint=problem.constraint,
    )  # fmt: skip
    inside, across = (point_term(whole, t) for t in whole.terms)
    low, high = box.bounds()
    count, length = _columns(problem), float((high - low)[cut.axis])

    def unknowns(c: jax.Array, x: jax.Array) -> Any:
        """Kinks on the plane, and curvature at a point, of all unknowns."""
        parts, start = {}, 0
        for name in problem.unknowns:
            if name in problem.constants:
                parts[name] = jnp.asarray(problem.constants[name].initial, float)
                continue
            size = problem.functions[name].components
            own = c[:, start : start + (size or 1)]
            parts[name] = _kinked(own if size else own[:, 0], x, cut, length, 0.7 + 0.1 * start)
            start += size or 1
        return SimpleNamespace(**parts) if problem.named else next(iter(parts.values()))

    def at_point(x: jax.Array) -> tuple[jax.Array, ...]:
        none = jnp.zeros((3, count))
        normal = jnp.zeros_like(x).at[cut.axis].set(1.0)
        felt = [
            jax.jacfwd(lambda c, t=t, z=z: t.residual(unknowns(c, z), Place(z, normal, jnp.zeros(0))))(none)
            for t, z in ((across, x), (inside, cut.below(x)), (inside, cut.above(x)))
        ]
        return felt[0][:, :2].reshape(-1, 2 * count), felt[1][:, 2] / length, felt[2][:, 2] / length

    points = low + np.random.default_rng(5).uniform(0.1, 0.9, (3, len(low))) * (high - low)
    points[:, cut.axis] = cut.at
    said, below, above = (np.asarray(a) for a in jax.jit(jax.vmap(at_point))(points))
    return said, below, above


def _columns(problem: Problem) -> int:
    return sum(f.components or 1 for f in problem.functions.values())


def _kinked(c: jax.Array, x: jax.Array, cut: Cut, length: float, base: float) -> Any:
    """`base + c_0 min(s, 0) + c_1 max(s, 0) + c_2 t^2 / 2`: `s` from the plane, `t` from the point, in lengths."""

    def u(z: jax.Array) -> jax.Array:
        s, t = (z[cut.axis] - cut.at) / length, (z[cut.axis] - x[cut.axis]) / length
        return base + c[0] * jnp.minimum(s, 0.0) + c[1] * jnp.maximum(s, 0.0) + c[2] * t**2 / 2

    return u
