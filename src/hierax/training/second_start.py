"""Another solution of nonlinear terms: a coarse level is trained once more from a start on either side of its field.

What that leads to counts as a solution where a grid with half the intervals stays near it and lowers its loss. That
none is found says little; one that is found says that the terms alone do not choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hierax.cycles import Until, Visit
from hierax.hierarchy import IntervalDoubling, Level
from hierax.hierarchy.refinement import spline_axes
from hierax.solvers import GaussNewton
from hierax.solvers.linear.solve import NotPositive
from hierax.training.determination import NEAR, suits
from hierax.training.discrete import DiscreteProblem, Prepared
from hierax.training.state import Visited
from hierax.training.visit import stepped

LARGEST = 300
"""Most parameters of a level that is trained again."""
AMPLITUDE = 2.0
"""Root mean square of what is added, in sizes of the unknowns."""
STEPS = 40
"""Most steps from a start."""
APART = 0.1
"""Relative difference from which on a solution is another one."""
FALLS, ROUNDING = 0.25, 1e-14
"""Part of the loss that halved intervals may leave to a solution, and part of that of its start that is rounding."""


def another_solution(
    discrete: DiscreteProblem, visited: Mapping[int, Visited], trained: Any, clock: Callable[[], tuple[float, bool]]
) -> str:
    """A sentence about another solution; empty where none is looked for or found.

    It is looked for where the terms are nonlinear and local, without data, which choose, and without a course in time,
    which has one.
    """
    plan, fields = discrete.plan, [visited[k].field for k in sorted(visited, reverse=True)]
    fields = [f for f in fields if suits(f, LARGEST) and spline_axes(f)]
    chosen = plan.linear or plan.evolution is not None or bool(discrete.rows.total)
    if chosen or not (fields and plan.local and isinstance(plan.solver, GaussNewton) and discrete.equations.any()):
        return ""
    start = discrete.prepare(fields[0])
    change = _softest(discrete, plan.solver, start)
    for step in () if change is None else (change, -change):
        found = _confirmed(discrete, replace(start, theta=start.theta + step), clock)
        difference = 0.0 if found is None else discrete.change(found, trained)
        if difference > APART:
            return (
                "A second start on a coarse level came to another solution of the same terms, which differs by "
                f"{100 * difference:.0f} %: they do not choose between the two. initial=, bounds= or a further "
                "condition does."
            )
    return ""


def _softest(discrete: DiscreteProblem, solver: GaussNewton, start: Prepared) -> np.ndarray | None:
    """The change of a prepared level to which its terms object least, with the root mean square `AMPLITUDE`."""
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
    return AMPLITUDE / size * change if np.isfinite(size) and size > 0.0 else None


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
