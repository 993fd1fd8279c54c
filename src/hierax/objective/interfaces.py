"""Interfaces that a problem has without saying so: planes across which a coefficient jumps inside of a derivative.

There derivatives of the unknowns jump, and every equation says by itself what holds on the plane, see
`hierax.problems.interfaces.concentrated`. What it says is verified before it is used: for unknowns with a kink it has
to be what the coefficients of the highest derivatives on both sides make of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hierax.objective.build import is_equation
from hierax.objective.compiled import compiled_quickly
from hierax.objective.missed import Feature, Jump
from hierax.objective.order import order_along
from hierax.objective.own_variation import constant_apart
from hierax.objective.pointwise import Place, point_term
from hierax.problems.continuation import Continuation
from hierax.problems.domain import Interface
from hierax.problems.interfaces import Cut, concentrated
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.terms import Energy, Residual

ORDERS = (1, 2, 4)
"""Orders of equations whose interfaces are found: `m` conditions, and continuous derivatives below the order `m`, with
half as many as the order (rounded up) for `m`."""
SAME = 1e-6
"""Relative difference between what is said on an interface and what the coefficients say."""


def stated(problem: Problem) -> tuple[Interface, ...]:
    """The interfaces on which terms hold, each once with the least continuity of any."""
    found: dict[tuple[str, float], Interface] = {}
    for term in problem.terms:
        for place in problem.places(term):
            if isinstance(place, Interface):
                known = found.setdefault((place.name, place.at), place)
                found[place.name, place.at] = min(known, place, key=lambda p: p.continuity)
    return tuple(found.values())


class Divided(NamedTuple):
    """The interfaces that jumps of the terms make, and the features that points still do not see."""

    interfaces: tuple[Interface, ...]
    unseen: tuple[Feature, ...]


def divided(problem: Problem, features: Sequence[Feature], order: int, breakable: bool) -> Divided:
    """What jumps of the terms make of a problem, whose fields may be `breakable`.

    Jumps across which nothing is differentiated do no harm; those where terms of the problem hold are seen; of others
    what holds there has to be known.
    """
    breakable = breakable and not isinstance(problem, Continuation)
    breakable = breakable and not any(isinstance(term, Energy) for term in problem.terms)
    lost = [f for f in features if isinstance(f, Jump) and f.lost and not is_stated(problem, f)]
    unseen: list[Feature] = [f for f in features if not isinstance(f, Jump)] + [f for f in lost if not f.flat]
    places: dict[Interface, list[Jump]] = {}
    for jump in (f for f in lost if f.flat):
        own = _place(problem, jump, order_along(problem, jump.axis, order))
        places.setdefault(next((p for p in places if _same(problem, p, own)), own), []).append(jump)
    found = []
    for place, jumps in places.items():
        numbers, along = {jump.term for jump in jumps}, order_along(problem, jumps[0].axis, order)
        if not along or _is_harmless(problem, place, along):
            continue
        if breakable and along in ORDERS and _agrees(problem, place, numbers, along):
            found.append(place)
        else:
            unseen += jumps
    return Divided(tuple(found), tuple(unseen))


def is_stated(problem: Problem, jump: Jump) -> bool:
    """Whether a term says what holds where a coefficient jumps."""
    return jump.flat and any(_same(problem, _place(problem, jump, 1), other) for other in stated(problem))


def _place(problem: Problem, jump: Jump, order: int) -> Interface:
    return Interface((problem.domain.names or ())[jump.axis], float(jump.place[jump.axis]), order // 2 - 1)


def _same(problem: Problem, place: Interface, other: Interface) -> bool:
    near = Cut.of(problem.domain, place).near  # pyright: ignore
    return place.name == other.name and abs(place.at - other.at) <= near


@once_for_each
def with_interfaces(problem: Problem, places: tuple[Interface, ...]) -> Problem:
    """The problem with what its equations say on interfaces, as further conditions."""
    divided = [term for term in problem.terms if _divides(problem, term)]
    more = [_condition(problem, t, p, k) for p in places for t in divided for k in range(_conditions(p))]
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


def _conditions(place: Interface) -> int:
    """Number of conditions of an equation for which so much is continuous."""
    return max(1, place.continuity + 1)


def _condition(problem: Problem, term: Any, place: Interface, level: int) -> Residual:
    own = concentrated(term.function, Cut.of(problem.domain, place), level)  # pyright: ignore
    number = f" ({level + 1})" if level else ""
    return Residual(f"{term.name} across {place.name} = {place.at:.6g}{number}", lambda u, x: own(u, x), on=place)


def _agrees(problem: Problem, place: Interface, jumping: set[int], order: int) -> bool:
    """Whether what the equations say on a plane is what their highest coefficients on both sides make of kinks."""
    for number in (k for k, term in enumerate(problem.terms) if _divides(problem, term)):
        for level in range(_conditions(place)):
            felt = _felt(problem, place, order, level, number)
            none = not np.any(felt.above) and not np.any(felt.below)
            if not felt.agrees(number in jumping) or (number in jumping and none):
                return False
    return True


def _is_harmless(problem: Problem, place: Interface, order: int) -> bool:
    """Whether the equations say on a plane nothing of smooth unknowns, and of kinks what they say anywhere."""
    numbers = [k for k, term in enumerate(problem.terms) if _divides(problem, term)]
    found = [_felt(problem, place, order, 0, number) for number in numbers]
    return bool(found) and all(felt.agrees(False) and felt.silent for felt in found)


class _Felt(NamedTuple):
    """Of a term at some points of a plane: what it says there of smooth unknowns `(points, rows)`, of kinks below and
    above `(points, rows, 2 n)`, and its coefficients of the highest derivatives of the `n` unknowns below and above."""

    smooth: np.ndarray
    kinks: np.ndarray
    below: np.ndarray
    above: np.ndarray

    def agrees(self, jumping: bool) -> bool:
        """Whether coefficients, that jump or do not, make of kinks what is said of them."""
        expected = np.concatenate([-(self.below if jumping else self.above), self.above], axis=-1)
        return bool(np.all(np.abs(self.kinks - expected) <= SAME * np.abs(expected).max()))

    @property
    def silent(self) -> bool:
        """Whether nothing is said of smooth unknowns."""
        return bool(np.all(np.abs(self.smooth) <= SAME * np.abs(self.kinks).max()))


@once_for_each
def _felt(problem: Problem, place: Interface, order: int, level: int, number: int) -> _Felt:
    """What a term makes of kinks."""
    return _Kinks(problem, place, order, level).felt(number)


class _Kinks:
    """Unknowns of which one derivative jumps on a plane, and the highest derivative is one at a point."""

    def __init__(self, problem: Problem, place: Interface, order: int, level: int):
        self.problem, self.place, self.order, self.level = problem, place, order, level
        self.low, self.high = problem.domain.bounds()
        self.cut = Cut.of(problem.domain, place)  # pyright: ignore
        self.length = float((self.high - self.low)[self.cut.axis])
        self.count = sum(f.components or 1 for f in problem.functions.values())

    def felt(self, number: int) -> _Felt:
        """What a term makes of them."""
        known, term = self.problem, self.problem.terms[number]
        terms = [term, _condition(known, term, self.place, self.level)]
        unknowns = known.unknowns if known.named else None
        whole = Problem(known.domain, terms, unknowns=unknowns, constraint=known.constraint)
        inside, across = (point_term(whole, t) for t in whole.terms)
        cut, scale = self.cut, self.length ** (self.level + 1)

        def at_point(x: jax.Array) -> tuple[jax.Array, ...]:
            normal = jnp.zeros_like(x).at[cut.axis].set(1.0)
            said, below, above = (
                jax.jacfwd(lambda c, t=t, z=z: t.residual(self._unknowns(c, z), Place(z, normal, jnp.zeros(0))))(
                    jnp.zeros((3, self.count))
                )
                for t, z in ((across, x), (inside, cut.below(x)), (inside, cut.above(x)))
            )
            smooth = across.residual(self._unknowns(jnp.zeros((3, self.count)), x), Place(x, normal, jnp.zeros(0)))
            return smooth, said[:, :2].reshape(-1, 2 * self.count), scale * below[:, 2], scale * above[:, 2]

        points = self.low + np.random.default_rng(5).uniform(0.1, 0.9, (3, len(self.low))) * (self.high - self.low)
        points[:, cut.axis] = cut.at
        return _Felt(*(np.asarray(a) for a in compiled_quickly(jax.vmap(at_point))(points)))

    def _unknowns(self, c: jax.Array, x: jax.Array) -> Any:
        parts, start, known = {}, 0, self.problem
        for name in known.unknowns:
            if name in known.constants:
                parts[name] = constant_apart(known, name)
                continue
            size = known.functions[name].components
            own = c[:, start : start + (size or 1)]
            parts[name] = self._kinked(own if size else own[:, 0], x, 0.7 + 0.1 * start)
            start += size or 1
        return SimpleNamespace(**parts) if known.named else next(iter(parts.values()))

    def _kinked(self, c: jax.Array, x: jax.Array, base: float) -> Any:
        """`(c_0 [s < 0] + c_1 [s >= 0]) s^p / p! + c_2 t^m / m!` on a wave, `s` from the plane, `t` from the point."""
        axis, m, p = self.cut.axis, self.order, self.order - 1 - self.level

        def u(z: jax.Array) -> jax.Array:
            s, t = (z[axis] - self.cut.at) / self.length, (z[axis] - x[axis]) / self.length
            kink = s**p / math.factorial(p)
            even = base + 0.3 * jnp.sin(1.0 + jnp.sum((z - self.low) / (self.high - self.low)))
            return even + jnp.where(s < 0.0, c[0], c[1]) * kink + c[2] * t**m / math.factorial(m)

        return u
