"""A last step: from least squares of the residual to stabilised Galerkin equations, where that lowers the error.

It is thought of where least squares may be far from the best: in nonlinear evolutions, and where convection outweighs
diffusion, steady or not. Whether it lowers the error is tried where that is known well enough: on the level below the
last, whose error the last level shows. Both are kept as they are unless the polished coarser level is clearly nearer to
the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hierax.fields import linear_in_parameters, parameter_count
from hierax.objective.build import is_equation
from hierax.objective.galerkin import galerkin
from hierax.problems.terms import Residual
from hierax.training.cost import VISIT_SECONDS, band_width, nominal_seconds
from hierax.training.discrete import DiscreteProblem
from hierax.training.slab_grids import on_slabs
from hierax.training.state import Visited

MOST = 30_000
"""Most parameters: the equations are not symmetric, and are solved by a sparse factorisation."""
CONVECTION = 5.0
"""Least Peclet number of an equation, across the whole domain, that is no nonlinear evolution."""
FACTORING = 3e9
"""Multiplications a second of a sparse factorisation on a nominal machine, in units of that of the band."""
WORTH = 1e-7
"""Levels that differ by less are good as they are."""
NEARER = 0.5
"""The polished coarser level has to be at least as much nearer to the last one."""
TRAININGS = 3.0
"""There must be time for as many trainings of the last level, besides compilation."""


def polished(
    discrete: DiscreteProblem, visited: Mapping[int, Visited], changes: Mapping[int, float], level: int, left: float
) -> tuple[Any, str] | None:
    """The field of a level after the last step, and a sentence; `None` where it was not taken.

    Parameters
    ----------
    visited, changes:
        The trained levels, and by how much each differs from the one before.
    level:
        The finest that was trained.
    left:
        Seconds of a nominal machine that are left, by counted work.
    """
    change = changes.get(level, 0.0)
    if change < WORTH or level - 1 not in visited or not _suits(discrete, visited[level]):
        return None
    if left < _nominal_seconds(discrete, visited[level]):
        return None
    fine, coarse = visited[level].field, _solved(discrete, visited[level - 1].field)
    if coarse is None or not discrete.change(fine, coarse) < NEARER * change:
        return None
    field = _solved(discrete, fine)
    if field is None or not max(discrete.change(field, fine), discrete.change(field, coarse)) < NEARER * change:
        return None
    near = discrete.change(fine, coarse) / change
    return field, (
        "Last step: from least squares to stabilised Galerkin equations, after which the level before "
        f"was {near:.2g} times as far from this one as without it."
    )


def _nominal_seconds(discrete: DiscreteProblem, own: Visited) -> float:
    """Expected seconds of the last step and its trial, for a nominal machine."""
    factoring = parameter_count(own.field) * float(band_width(discrete, own.field)) ** 2
    return TRAININGS * (nominal_seconds(own.work, 0) + factoring / FACTORING) + 2.0 * VISIT_SECONDS


def _suits(discrete: DiscreteProblem, visited: Visited) -> bool:
    """Whether there is one suitable equation of one scalar unknown, with conditions and nothing else, on a grid.

    In elliptic equations least squares are near the best already, and the trial would only cost its compilation.
    """
    problem, field, plan = discrete.problem, visited.field, discrete.plan
    functions = list(problem.functions.values())
    return (
        ((plan.evolution is not None and not plan.linear) or plan.convection > CONVECTION)
        and not on_slabs(field)
        and discrete.local(field)
        and linear_in_parameters(field)
        and parameter_count(field) <= MOST
        and len(problem.unknowns) == 1
        and functions[0].components is None
        and functions[0].bounds is None
        and all(isinstance(term, Residual) for term in problem.terms)
        and sum(is_equation(term, problem) for term in problem.terms) == 1
    )


def _solved(discrete: DiscreteProblem, field: Any) -> Any | None:
    samples = discrete.samples(field)
    inside = int(discrete.equations.argmax())
    conditions = [s for k, s in enumerate(samples) if k != inside]
    return galerkin(field, samples[inside], conditions, discrete.value_term, discrete.plan.linear)
