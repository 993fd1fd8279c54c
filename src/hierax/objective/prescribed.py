"""Which measured values are prescribed ones: they show no noise, and equations determine what is between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hierax.objective.build import is_equation
from hierax.objective.noise import relative_noise
from hierax.objective.traced import measured
from hierax.problems.continuation import Continuation
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.terms import Data, Values

EXACT = 1e-2
"""Most noise, over the spread of the values, that may be the bend of a smooth function between neighbours."""


@once_for_each
def with_prescribed_values(problem: Problem) -> Problem:
    """The problem with `Values` in place of data without noise; the problem itself where there are none.

    Data with noise 0 are meant so. Where no noise is stated, beside equations and with nothing but measured functions
    to be found, values are prescribed that are too few to show a noise or show none: to smooth them would only move
    the solution away from them.
    """
    if isinstance(problem, Continuation) or not any(_is_exact(problem, term) for term in problem.terms):
        return problem
    terms = [_as_exact(t) if _is_exact(problem, t) else t for t in problem.terms]
    return problem.changed(terms=terms)


def _as_exact(term: Any) -> Values:
    return Values(term.name, term.points, term.values, observe=term.observe, given=term.given)


def _is_exact(problem: Problem, term: object) -> bool:
    if not isinstance(term, Data) or not any(is_equation(t, problem) for t in problem.terms):
        return False
    if term.noise is not None:
        return term.typical_noise == 0.0
    inverse = problem.constants or set(problem.functions) - measured(problem)
    few = len(term.points) <= 2 * (problem.domain.dim + 1)
    return not inverse and (few or np.ptp(term.values) == 0.0 or (relative_noise([term]) or 0.0) < EXACT)
