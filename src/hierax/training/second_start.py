"""Second starts of nonlinear terms: a coarse level is trained once more from elsewhere.

Where refinement no longer lowers a residual that is far from zero, training stands at a minimum that is no solution,
and a second start may lead to one. Where training has come to a solution, it may lead to another, which is told: if a
grid with half the intervals stays near it and lowers its loss. That none is found says little; one that is found says
that the terms alone do not choose.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hierax.cycles import Until, Visit
from hierax.fields import parameter_count
from hierax.hierarchy import IntervalDoubling, Level
from hierax.hierarchy.refinement import spline_axes
from hierax.problems.terms import Energy
from hierax.solvers import GaussNewton
from hierax.solvers.linear.solve import NotPositive
from hierax.training.determination import NEAR, suits
from hierax.training.discrete import DiscreteProblem, Prepared
from hierax.training.growing_domain import grown
from hierax.training.refinement import is_stuck
from hierax.training.state import Visited
from hierax.training.visit import stepped

LARGEST = 300
"""Most parameters of a level that is trained again."""
LARGE = 3000
"""Most parameters of a level that is trained from a start that others have found."""
AMPLITUDES = (2.0, 8.0, 64.0)
"""Root mean squares of what is added, in sizes of the unknowns: solutions with larger ones are missed from near by."""
STEPS = 40
"""Most steps from a start."""
APART = 0.1
"""Relative difference from which on a solution is another one."""
FALLS, ROUNDING = 0.25, 1e-14
"""Part of the loss that halved intervals may leave to a solution, and part of that of its start that is rounding."""
LOWER = "The energy may have a lower minimum elsewhere: training starts once more."
STUCK = "Refinement no longer lowers the residual, which is far from zero: training starts once more, elsewhere."


def another_solution(
    discrete: DiscreteProblem, visited: Mapping[int, Visited], trained: Any, clock: Callable[[], tuple[float, bool]]
) -> str:
    """A sentence about another solution; empty where none is looked for or found.

    It is looked for where the terms are nonlinear and local, without data, which choose, and without a course in time,
    which has one: beside the field, and along one coordinate also at the end of a domain that grows.
    """
    fields = [visited[k].field for k in sorted(visited, reverse=True)]
    field = next((field for field in fields if _may_start(discrete, field)), None)
    if field is None:
        return ""
    # along one coordinate a domain that grows costs little, and its length is often one at which infinity is cut off
    small = _from_small_domains(discrete, field, clock) if discrete.problem.domain.dim == 1 else ()
    for start in itertools.chain(_starts(discrete, field), small):
        found = _confirmed(discrete, start, clock)
        difference = 0.0 if found is None else discrete.change(found, trained)
        if difference > APART:
            return (
                "A second start on a coarse level came to another solution of the same terms, which differs by "
                f"{100 * difference:.0f} %: they do not choose between the two. initial=, bounds= or a further "
                "condition does."
            )
    return ""


def left_minimum(
    discrete: DiscreteProblem,
    visited: Mapping[int, Visited],
    level: int,
    train: Callable[[Prepared], Visited],
    say: Callable[[str], bool],
    clock: Callable[[], tuple[float, bool]],
) -> Visited:
    """The trained level, or the best of those from second starts where it is the first that shows no way to zero.

    The starts lie beside the field, on both sides, and at the end of a domain that grows.

    Parameters
    ----------
    train, say:
        As those of `hierax.training.saddles.left_saddle`.
    clock:
        Seconds since the training began, and whether the budget is over.
    """
    best, loss = visited[level], visited[level].loss
    if discrete.plan.linear or parameter_count(best.field) > LARGE:
        return best
    # terms that are counted in units of the problem are of size one
    size = discrete.untrained_loss if discrete.plan.units is None else min(discrete.untrained_loss, 1.0)
    first = is_stuck(level, visited, size) and not is_stuck(level - 1, visited, size)
    if not first:
        return best
    # an energy is not measured from zero
    why = LOWER if any(isinstance(term, Energy) for term in discrete.problem.terms) else STUCK
    for start in itertools.chain(_starts(discrete, best.field)[:2], _from_small_domains(discrete, best.field, clock)):
        if best.loss < FALLS * loss or not say(why):
            break
        trial = train(start)
        best = trial.after(best) if trial.loss < best.loss else best.after(trial)
    return best


def _from_small_domains(
    discrete: DiscreteProblem, field: Any, clock: Callable[[], tuple[float, bool]]
) -> Iterator[Prepared]:
    # the time of an evolution grows slab by slab
    if not discrete.rows.total and discrete.plan.evolution is None:
        found = grown(discrete, field, clock)
        if found is not None:
            yield discrete.prepare(found)


def _may_start(discrete: DiscreteProblem, field: Any) -> bool:
    """Whether a level is small, and nothing but its terms chooses among their solutions."""
    plan = discrete.plan
    chosen = plan.linear or plan.evolution is not None or bool(discrete.rows.total) or not discrete.equations.any()
    return not chosen and plan.local and isinstance(plan.solver, GaussNewton) and suits(field, LARGEST)


def _starts(discrete: DiscreteProblem, field: Any) -> list[Prepared]:
    """A small level beside its field, on both sides along the change to which the terms object least, near by first."""
    solver = discrete.plan.solver
    if not (isinstance(solver, GaussNewton) and _may_start(discrete, field)):
        return []
    start = discrete.prepare(field)
    change = _softest(discrete, solver, start) if spline_axes(field) else None
    steps = [] if change is None else [sign * size * change for size in AMPLITUDES for sign in (1.0, -1.0)]
    return [replace(start, theta=start.theta + step) for step in steps]


def _softest(discrete: DiscreteProblem, solver: GaussNewton, start: Prepared) -> np.ndarray | None:
    """The change of a prepared level to which its terms object least, with the root mean square one."""
    near = start.objective.linearise(start.theta)
    diagonal = near.curvature.diagonal()
    try:
        solve = solver.prepare(near, 1e-8 * np.maximum(diagonal, 1e-8 * diagonal.max()))
        change = np.ones_like(start.theta)
        for _ in range(4):
            change = solve(change)
            change = change / np.linalg.norm(change)
    except NotPositive:
        return None
    moved = discrete.probe(start.build(start.theta + change)) - discrete.probe(start.build(start.theta))
    size = float(np.sqrt(np.mean(moved**2)))
    return change / size if np.isfinite(size) and size > 0.0 else None


def _confirmed(discrete: DiscreteProblem, start: Prepared, clock: Callable[[], tuple[float, bool]]) -> Any:
    """The field that a start leads to on a grid with half the intervals; `None` where it is no solution."""
    coarse = _trained(discrete, start, clock)
    if coarse is None:
        return None
    level, transfer = IntervalDoubling().refine(Level(coarse[0], None))
    finer = discrete.prepare(discrete.prolonged(transfer, coarse[0], level.field))
    fine = _trained(discrete, finer, clock)
    if fine is None or discrete.change(fine[0], coarse[0]) > NEAR:
        return None
    settled = fine[1] < max(FALLS * coarse[1], ROUNDING * float(start.objective.value(start.theta)))
    return fine[0] if settled else None


def _trained(
    discrete: DiscreteProblem, start: Prepared, clock: Callable[[], tuple[float, bool]]
) -> tuple[Any, float] | None:
    solver = discrete.plan.solver
    state = solver.init(start.objective, start.theta)
    done = stepped(discrete, start, state, Visit(0, Until(STEPS)), clock, lambda *_: None)
    return None if done.failure or done.interrupted or clock()[1] else (start.build(done.theta), float(done.value))
