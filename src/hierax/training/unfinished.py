"""What a level that was left before its solver had ended would still change: its next step, in full."""

from __future__ import annotations

from typing import Any

import numpy as np

from hierax.checks.limits import DOWNWARDS
from hierax.objective import Linearisation, LocalObjective
from hierax.solvers import GaussNewton
from hierax.solvers.linear.solve import NotPositive
from hierax.training.discrete import DiscreteProblem
from hierax.training.slab_grids import on_slabs
from hierax.training.state import Visited

SHIFT = 1e-14
"""Added to the diagonal of the matrix of the step, relative."""


def step_ahead(discrete: DiscreteProblem, done: Visited, field: Any) -> float | None:
    """Relative change of the solution by the next Gauss-Newton step without damping.

    Along a narrow valley damped steps are short, and so is what they still lower the loss: neither says that the
    solution is near. Of energies it is Newton's step, and infinite where the energy curves downwards. `None` where the
    solver had ended, or where another kind of step is taken.
    """
    solver = discrete.plan.solver
    if not isinstance(solver, GaussNewton) or on_slabs(field):
        return None
    prepared = discrete.prepare(field)
    objective = prepared.objective
    if not isinstance(objective, LocalObjective) or objective.quadratic:
        return None
    whole, exact = objective.exact, None
    if whole is not None:
        exact = whole.linearise(prepared.theta)
        if _step(solver, exact, DOWNWARDS) is None:
            return np.inf
    more = done.pace.promise > solver.tolerances.relative
    for near in (exact, objective.linearise(prepared.theta) if more else None):
        step = None if near is None else _step(solver, near, SHIFT)
        if step is not None:
            return discrete.change(prepared.build(prepared.theta - step), field)
    return None


def _step(solver: GaussNewton, near: Linearisation, shift: float) -> np.ndarray | None:
    """The step with a part of the diagonal added; `None` where the curvature is not positive."""
    diagonal = near.curvature.diagonal()
    try:
        step = solver.prepare(near, shift * np.maximum(diagonal, 1e-10 * diagonal.max(initial=0.0)))(near.gradient)
    except NotPositive:
        return None
    return step if np.all(np.isfinite(step)) else None
