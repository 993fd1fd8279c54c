"""What holds on interfaces: on those that a problem names, and on planes across which a coefficient is found to jump.

There derivatives of the unknowns jump, and every equation says by itself what holds, see
`hierax.problems.interfaces.concentrated`. What it says is verified before it is used: for unknowns with a kink it has
to be what the coefficients of the highest derivatives on both sides make of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.geometry import AbstractShape
from hierax.geometry.cut_cells import Quadrature
from hierax.objective.build import is_equation
from hierax.objective.compiled import compiled_quickly
from hierax.objective.missed import Feature, Jump
from hierax.objective.order import order_along
from hierax.objective.own_variation import constant_apart
from hierax.objective.pointwise import Place, point_term
from hierax.problems.continuation import Continuation
from hierax.problems.domain import Interface
from hierax.problems.interfaces import Cut, concentrated
from hierax.problems.operators import gradient, sides
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.terms import Energy, Residual

ORDERS = (1, 2, 4)
"""Orders of equations whose interfaces are found: `m` conditions, and continuous derivatives below the order `m`, with
half as many as the order (rounded up) for `m`."""
NEAR = 1e-6
"""Distance from the boundary of a shape, in its size, within which a jump is one across it."""
SAME = 1e-6
"""Relative difference between what is said on an interface and what the coefficients say."""


def stated(problem: Problem) -> tuple[Interface, ...]:
    """The planes on which terms hold, each once with the least continuity of any."""
    found: dict[tuple[Any, Any], Interface] = {}
    for place in _with_terms(problem):
        if place.shape is None:
            known = found.setdefault((place.name, place.at), place)
            found[place.name, place.at] = min(known, place, key=lambda p: p.continuity)
    return tuple(found.values())


def _with_terms(problem: Problem) -> list[Interface]:
    """The interfaces on which terms hold."""
    return [p for term in problem.terms for p in problem.places(term) if isinstance(p, Interface)]


def named(problem: Problem, order: int) -> tuple[Interface, ...]:
    """The interfaces that a problem names, and on which more holds than its terms say, with their continuity.

    Raises
    ------
    InputError
        Where an equation does not say what holds there.
    """
    places, own = [], _with_terms(problem)
    # an energy of first derivatives is an equation of second ones
    twice = 2 if any(isinstance(term, Energy) for term in problem.terms) else 1
    for place in problem.interfaces:
        axis = None if place.shape is not None else problem.domain.axis(str(place.name))
        along = twice * (order if axis is None else order_along(problem, axis, order))
        place = replace(place, continuity=min(place.continuity, along // 2 - 1))
        mine = is_among(problem, place, own)
        if mine and place.shape is None:
            continue
        if not mine and not _is_settled(problem, place, along):
            raise InputError(
                f"what the equations say across {place} is not that a flux is continuous", "Problem(interfaces=...)",
                "write coefficients that jump inside of the outer derivative, "
                "hx.divergence(lambda z: k(z) * hx.gradient(u)(z)), or state what holds in a term on the interface",
            )  # fmt: skip
        places.append(place)
    return tuple(places)


def is_among(problem: Problem, place: Interface, others: Sequence[Interface]) -> bool:
    """Whether an interface is one of others, but for their continuity."""
    return any(_is_one(problem, place, other) for other in others)


def _is_settled(problem: Problem, place: Interface, order: int) -> bool:
    """Whether what holds on an interface follows from the terms."""
    if any(isinstance(term, Energy) for term in problem.terms):
        return True
    numbers = [k for k, term in enumerate(problem.terms) if _divides(problem, term)]
    return order in ORDERS and all(
        _felt(problem, place, order, level, number).agrees(True)
        for number in numbers for level in range(_conditions(place))
    )  # fmt: skip


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
        places.setdefault(next((p for p in places if _is_one(problem, p, own)), own), []).append(jump)
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
    """Whether a term or an interface says what holds where a coefficient jumps."""
    for place in problem.interfaces:
        shape = place.shape
        if shape is not None and abs(shape.distance(jump.place[None])[0]) <= NEAR * shape.size:
            return True
    return jump.flat and any(
        _is_one(problem, _place(problem, jump, 1), other) for other in (*stated(problem), *problem.interfaces)
    )


def _place(problem: Problem, jump: Jump, order: int) -> Interface:
    return Interface((problem.domain.names or ())[jump.axis], float(jump.place[jump.axis]), order // 2 - 1)


def _is_one(problem: Problem, place: Interface, other: Interface) -> bool:
    """Whether two interfaces are the same, but for their continuity."""
    if place.at is None or other.at is None:
        return place.shape is other.shape
    return place.name == other.name and abs(place.at - other.at) <= Cut.of(problem.domain, place).near


@once_for_each
def with_interfaces(problem: Problem, places: tuple[Interface, ...]) -> Problem:
    """The problem with what its equations say on interfaces, as further conditions."""
    divided = [term for term in problem.terms if _divides(problem, term)]
    own, more = _with_terms(problem), []
    for place in places:
        if place.shape is not None:
            more += [_continuity(problem, name, place) for name in problem.functions if place.continuity >= 0]
        if not is_among(problem, place, own):
            more += [_condition(problem, term, place, k) for term in divided for k in range(_conditions(place))]
    return problem.changed(terms=[*problem.terms, *more]) if more else problem


def _continuity(problem: Problem, name: str, place: Interface) -> Residual:
    """That values, and derivatives along the normal up to some order, are the same from both sides."""

    def jumps(w: Any, x: Any, normal: Any) -> Any:
        sides_of = list(sides(getattr(w, name) if problem.named else w))
        rows = [sides_of[1](x) - sides_of[0](x)]
        for _ in range(place.continuity):
            sides_of = [lambda z, u=u: gradient(u)(z) @ normal for u in sides_of]
            rows.append(sides_of[1](x) - sides_of[0](x))
        return jnp.concatenate([jnp.ravel(row) for row in rows])

    return Residual(f"{name} across {place}", jumps, on=place)


def _divides(problem: Problem, term: Any) -> bool:
    return isinstance(term, Residual) and is_equation(term, problem)


def _conditions(place: Interface) -> int:
    """Number of conditions of an equation for which so much is continuous."""
    return max(1, place.continuity + 1)


def _condition(problem: Problem, term: Any, place: Interface, level: int) -> Residual:
    own = concentrated(term.function, Cut.of(problem.domain, place, problem.regions), level)
    number = f" ({level + 1})" if level else ""
    return Residual(f"{term.name} across {place}{number}", lambda u, x, normal: own(u, x, normal), on=place)


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
    """Unknowns of which one derivative jumps on an interface, and the highest derivative is one at a point."""

    def __init__(self, problem: Problem, place: Interface, order: int, level: int):
        self.problem, self.place, self.order, self.level = problem, place, order, level
        self.low, self.high = problem.domain.bounds()
        self.cut = Cut.of(problem.domain, place, problem.regions)
        self.length = float((self.high - self.low)[self.cut.axis])
        self.count = sum(f.components or 1 for f in problem.functions.values())

    def felt(self, number: int) -> _Felt:
        """What a term makes of them."""
        known, term = self.problem, self.problem.terms[number]
        whole = known.changed(terms=[term, _condition(known, term, self.place, self.level)], reference=None)
        inside, across = (point_term(whole, t) for t in whole.terms)
        scale = self.length ** (self.level + 1)

        def at_point(x: jax.Array, normal: jax.Array) -> tuple[jax.Array, ...]:
            def unknowns(c: jax.Array) -> Any:
                return self._unknowns(c, x, normal)

            def one_side(c: jax.Array, above: bool) -> jax.Array:
                own = lambda z: inside.residual(unknowns(c), Place(z, jnp.zeros_like(x), jnp.zeros(0)))  # noqa: E731
                return self.cut.from_side(own, above, normal)(x)

            def said(c: jax.Array) -> jax.Array:
                return across.residual(unknowns(c), Place(x, normal, jnp.zeros(0)))

            none = jnp.zeros((3, self.count))
            below, above = (jax.jacfwd(one_side)(none, side)[:, 2] for side in (False, True))
            kinks = jax.jacfwd(said)(none)[:, :2].reshape(-1, 2 * self.count)
            return said(none), kinks, scale * below, scale * above

        return _Felt(*(np.asarray(a) for a in compiled_quickly(jax.vmap(at_point))(*self._points())))

    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        """Three points of the interface with normals."""
        rng = np.random.default_rng(5)
        if self.place.shape is not None:
            wall = _on(self.problem, self.place.shape)
            pick = rng.integers(0, len(wall.points), 3)
            return wall.points[pick], wall.normals[pick]  # pyright: ignore
        points = self.low + rng.uniform(0.1, 0.9, (3, len(self.low))) * (self.high - self.low)
        points[:, self.cut.axis] = self.cut.at
        return points, np.repeat(np.eye(len(self.low))[[self.cut.axis]], 3, axis=0)

    def _unknowns(self, c: jax.Array, x: jax.Array, normal: jax.Array) -> Any:
        parts, start, known = {}, 0, self.problem
        for name in known.unknowns:
            if name in known.constants:
                parts[name] = constant_apart(known, name)
                continue
            size = known.functions[name].components
            own = c[:, start : start + (size or 1)]
            parts[name] = self._kinked(own if size else own[:, 0], x, normal, 0.7 + 0.1 * start)
            start += size or 1
        return SimpleNamespace(**parts) if known.named else next(iter(parts.values()))

    def _kinked(self, c: jax.Array, x: jax.Array, normal: jax.Array, base: float) -> Any:
        """`(c_0 [s < 0] + c_1 [s >= 0]) s^p / p! + c_2 s^m / m!` on a wave, `s` along the normal from the point."""
        m, p = self.order, self.order - 1 - self.level

        def u(z: jax.Array) -> jax.Array:
            s = normal @ (z - x) / self.length
            even = base + 0.3 * jnp.sin(1.0 + jnp.sum((z - self.low) / (self.high - self.low)))
            return even + jnp.where(s < 0.0, c[0], c[1]) * s**p / math.factorial(p) + c[2] * s**m / math.factorial(m)

        return u


def _on(problem: Problem, shape: AbstractShape) -> Quadrature:
    assert problem.regions is not None
    return problem.regions.wall(shape, None, 3)
