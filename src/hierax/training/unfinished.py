"""What a level that was left before its solver had ended would still change: its next step, in full."""

from __future__ import annotations

from typing import Any

import numpy as np

from hierax.objective import LocalObjective
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
    solution is near. `None` where the solver had ended, or where another kind of step is taken.
    """
    solver = discrete.plan.solver
    if not isinstance(solver, GaussNewton) or done.pace.promise <= solver.tolerances.relative or on_slabs(field):
        return None
    prepared = discrete.prepare(field)
    objective = prepared.objective
    if not isinstance(objective, LocalObjective) or objective.quadratic:
        return None
    near = objective.linearise(prepared.theta)
    diagonal = near.curvature.diagonal()
    try:
        step = solver.prepare(near, SHIFT * np.maximum(diagonal, 1e-10 * diagonal.max(initial=0.0)))(near.gradient)
    except NotPositive:
        return None
    moved = prepared.build(prepared.theta - step)
    return discrete.change(moved, field) if np.all(np.isfinite(step)) else None
