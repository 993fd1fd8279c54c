"""A start from smaller domains: nonlinear terms are solved on a small box about the centre, which then grows.

On a small domain the highest derivatives outweigh all else. Where these are linear the problem nearly is, and has one
solution, which Gauss-Newton finds from anywhere. As the domain grows, boundary layers become thin and reactions
strong, and each solution starts from the one before. It is a continuation in the length of the domain, which every
problem on a box has by itself (Ascher, Mattheij, Russell, Numerical Solution of Boundary Value Problems for ODEs, 1995,
chapter 8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierax.cycles import Until, Visit
from hierax.fields import SplineGrid, Unknowns, parameter_count
from hierax.hierarchy import IntervalDoubling, Level
from hierax.hierarchy.regrid import regrid
from hierax.objective.build import MemberTerms
from hierax.objective.order import reach
from hierax.objective.pointwise import AbstractPointTerm, Place, SquaredResidual, point_term
from hierax.problems.dilated import dilated
from hierax.problems.domain import Box
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.terms import Residual
from hierax.training.discrete import DiscreteProblem
from hierax.training.visit import stepped

LENGTHS = 2.0 ** np.arange(-5.0, 0.1, 0.5)
"""Lengths of the domains, over that of the last."""
LARGEST = 300
"""Most parameters of the grid on which it grows."""
CONDITION = 1e12
"""Largest condition number of normal equations there: with `n` parameters along an axis and derivatives of order `k`
about `n^(2 k)`. Above it steps follow rounding."""
STEPS = 40
"""Most steps on a domain."""


def grown(discrete: DiscreteProblem, onto: Any, clock: Callable[[], tuple[float, bool]]) -> Any:
    """A field on the grid of `onto`, from a domain that has grown to its length; `None` where it can't or fails."""
    problem, first = discrete.problem, discrete.plan.hierarchy.levels[0].field
    free = [not periodic for periodic in discrete.periodic]
    simple = all(isinstance(t, Residual) for t in problem.terms) and not problem.interfaces and problem.regions is None
    if not (isinstance(problem.domain, Box) and simple and any(free) and _is_grid(first) and _is_grid(onto)):
        return None
    terms = _terms(problem)
    field, order = first, max(reach(problem, term).order for term in problem.terms)
    most = min(LARGEST, CONDITION ** (problem.domain.dim / (2 * max(order, 1))))
    while parameter_count(finer := IntervalDoubling().refine(Level(field, None))[0].field) <= most:
        field = finer
    for length in LENGTHS:
        here = replace(discrete, sampled=terms.of(np.where(free, length, 1.0)))
        field = _trained(here, field, clock)
        if field is None:
            return None
    return _on_grid(field, onto)


@once_for_each
def _terms(problem: Problem) -> MemberTerms:
    """Terms of a domain of any length; what is compiled for them serves every training of the problem."""
    each = tuple(_dilated(problem, number) for number in range(len(problem.terms)))
    return MemberTerms(problem, each, np.ones(problem.domain.dim))


def _dilated(problem: Problem, number: int) -> AbstractPointTerm:
    """A term on the domain of which `Place.inputs` tells the lengths, times these to the power of its order.

    As they are, equations of a small domain are so large that conditions drown in their rounding.
    """
    own, order = point_term(problem, problem.terms[number]), reach(problem, problem.terms[number]).order

    def function(field: Any, place: Place) -> Any:
        there = dilated(problem, place.inputs)
        value = point_term(there, there.terms[number]).function(field, place)  # pyright: ignore
        return value * jnp.min(place.inputs) ** order

    return SquaredResidual(own.name, function)


def _trained(discrete: DiscreteProblem, field: Any, clock: Callable[[], tuple[float, bool]]) -> Any:
    start, solver = discrete.prepare(field), discrete.plan.solver
    state = solver.init(start.objective, start.theta)
    done = stepped(discrete, start, state, Visit(0, Until(STEPS)), clock, lambda *_: None)
    return None if done.failure or done.interrupted or clock()[1] else start.build(done.theta)


def _is_grid(field: Any) -> bool:
    parts = field.parts.values() if isinstance(field, Unknowns) else [field]
    return any(isinstance(part, SplineGrid) for part in parts) and all(
        isinstance(part, SplineGrid) or parameter_count(part) == 1 for part in parts
    )


def _on_grid(field: Any, onto: Any) -> Any:
    """The field on another grid; numbers as they are."""
    if isinstance(field, Unknowns):
        return Unknowns(**{name: _on_grid(part, onto.parts[name]) for name, part in field.parts.items()})
    return regrid(field, onto.breakpoints()) if isinstance(field, SplineGrid) else field
