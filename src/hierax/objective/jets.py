"""Terms as functions of the jets of the unknowns: the few derivatives at a point that a term looks at.

A local term sees of a field its values and some partial derivatives at the point, its *jets*, and nothing else. As a
function of these it does not know how the field is made, so one compiled kernel serves every field, level and rank.
It is compiled for one number of points: fewer take less time than another compilation.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import comb, factorial, prod
from types import SimpleNamespace
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.objective.compiled import compiled_for_each
from hierax.objective.order import reach_at_points
from hierax.objective.pointwise import AbstractPointTerm, Place, PointExpansion, orders_up_to, point_term
from hierax.objective.reduction import CHUNK, evaluated
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.terms import AbstractValues
from hierax.problems.unknowns import Constant

TRIALS = 256
"""Points at which it is found which derivatives a term looks at."""
MOST = 3000
"""Most derivatives that are tried."""


class Jet(NamedTuple):
    """A partial derivative of a component of an unknown function, or an unknown constant, which has no orders."""

    name: str
    component: int = 0
    orders: tuple[int, ...] = ()


class Expansions(NamedTuple):
    """Of many points: values `(n,)`, gradients `(n, J)` and rows `(n, m, J)` in the jets, and residuals `(n, r)`."""

    value: np.ndarray
    gradient: np.ndarray
    rows: np.ndarray
    residual: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class JetTerm:
    """A term as a function of jets.

    Attributes
    ----------
    problem, point:
        The problem, and the term at a point.
    jets:
        What it looks at.
    """

    problem: Problem
    point: AbstractPointTerm
    jets: tuple[Jet, ...]

    def expanded(self, place: Place, values: Float[np.ndarray, "n jets"]) -> Expansions:
        """The term at many places, with its derivatives in the jets."""

        def kernel(pick: np.ndarray) -> PointExpansion:
            return _expanded(self, jax.tree.map(lambda a: a[pick], place), values[pick])

        parts = list(evaluated(kernel, len(values), CHUNK))
        return Expansions(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def residual(self, place: Place, values: Float[np.ndarray, "n jets"]) -> Float[np.ndarray, "n r"]:
        """What is reported as misfit at many places."""

        def kernel(pick: np.ndarray) -> Array:
            return _residual(self, jax.tree.map(lambda a: a[pick], place), values[pick])

        return np.concatenate(list(evaluated(kernel, len(values), CHUNK)))

    def field(self, values: Float[Array, " jets"], x: Float[Array, " dim"]) -> Any:
        """Unknowns with these jets at a point: Taylor polynomials about it."""
        parts: dict[str, Any] = {}
        for name, unknown in self.problem.unknowns.items():
            own = [(jet, values[k]) for k, jet in enumerate(self.jets) if jet.name == name]
            if isinstance(unknown, Constant):
                parts[name] = own[0][1] if own else jnp.zeros(())
            else:
                parts[name] = _polynomial(own, unknown.components, x)
        return SimpleNamespace(**parts) if self.problem.named else next(iter(parts.values()))


@compiled_for_each(1, samples=(0, 0))
def _expanded(term: JetTerm, place: Place, values: Float[Array, "n jets"]) -> PointExpansion:
    return jax.vmap(lambda p, c: term.point.expand(lambda z: term.field(z, p.x), c, p))(place, values)


@compiled_for_each(1, samples=(0, 0))
def _residual(term: JetTerm, place: Place, values: Float[Array, "n jets"]) -> Float[Array, "n r"]:
    return jax.vmap(lambda p, c: term.point.residual(term.field(c, p.x), p))(place, values)


def _polynomial(own: list[tuple[Jet, Any]], components: int | None, x: Float[Array, " dim"]) -> Any:
    """Taylor polynomials with some jets about a point, in a few operations whatever their number."""
    most = max((sum(jet.orders) for jet, _ in own), default=0)
    # powers as products of entries of (1, z - x): for each jet the axes of its derivatives, filled up with ones
    axes = [[k + 1 for k, order in enumerate(jet.orders) for _ in range(order)] for jet, _ in own]
    entries = np.array([places + [0] * (most - len(places)) for places in axes], dtype=int).reshape(len(own), most)
    scales = np.array([1.0 / prod(map(factorial, jet.orders)) for jet, _ in own])
    whose = np.array([[float(jet.component == c) for jet, _ in own] for c in range(components or 1)])
    values = jnp.stack([value for _, value in own]) * scales if own else jnp.zeros(0)

    def u(z: Float[Array, " dim"]) -> Float[Array, "..."]:
        steps = jnp.concatenate([jnp.ones(1), z - x])
        sums = whose @ functools.reduce(lambda power, column: power * steps[column], entries.T, values)
        return jnp.asarray(sums[0] if components is None else sums)

    return u


@once_for_each
def jet_term(problem: Problem, point: AbstractPointTerm, targets: int) -> JetTerm | None:
    """A term as a function of the jets that it looks at; `None` where it looks beyond its point or at too many.

    They are found by trying: those in which the term, given so many measured values, has a derivative at any of many
    random points and jets.
    """
    found, dim = reach_at_points(problem, point, targets), problem.domain.dim
    count = comb(dim + found.order, dim) * sum(f.components or 1 for f in problem.functions.values())
    if not found.local or count > MOST:
        return None
    jets = [
        Jet(name, component, orders)
        for name, unknown in problem.functions.items()
        for component in range(unknown.components or 1)
        for orders in orders_up_to(dim, found.order)
    ]
    tried = JetTerm(problem, point, (*jets, *(Jet(name) for name in problem.constants)))
    felt = _felt(tried, targets)
    return JetTerm(problem, point, tuple(jet for jet, seen in zip(tried.jets, felt, strict=True) if seen))


@once_for_each
def seen_by_jets(problem: Problem) -> bool:
    """Whether all terms are functions of jets."""
    if any(isinstance(t, AbstractValues) and t.observe is not None for t in problem.terms):
        return False
    targets = [t.values[0].size if isinstance(t, AbstractValues) else 0 for t in problem.terms]
    terms = zip(problem.terms, targets, strict=True)
    return all(jet_term(problem, point_term(problem, term), count) is not None for term, count in terms)


def _felt(term: JetTerm, targets: int) -> np.ndarray:
    """Which of its jets a term has a derivative in."""
    rng = np.random.default_rng(0)
    low, high = term.problem.domain.bounds()
    normals = rng.normal(size=(TRIALS, len(low)))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    place = Place(low + rng.random((TRIALS, len(low))) * (high - low), normals, np.zeros((TRIALS, targets)))
    values = 0.5 + rng.random((TRIALS, len(term.jets)))
    found = term.expanded(place, values)
    # a load of an energy is linear, and has no part in its curvature
    slopes = np.concatenate([found.rows, found.gradient[:, None]], axis=1)
    return np.any(np.nan_to_num(slopes) != 0.0, axis=(0, 1))
