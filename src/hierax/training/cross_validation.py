"""How well a fit of a returned level predicts values that it has not seen, each of them once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hierax.fields import parameter_count
from hierax.problems.keys import Key, seed_of
from hierax.solvers import Smoothing
from hierax.training.discrete import DiscreteProblem
from hierax.training.state import Visited
from hierax.training.table_process import FOLDS

FEW, SMALL = 2000, 4000
"""Most values, and most parameters of a level, for which that is done: of more values some were kept back anyway."""


def left_out(discrete: DiscreteProblem, level: Visited, key: Key) -> float | None:
    """Relative error of all values, each predicted by the level fitted without it, with the smoothness that was chosen.

    `None` with equations, for fields whose fit is no matter of one step, and where there are too many values.
    """
    solver, rows = discrete.plan.solver, discrete.rows
    small = 2 < rows.values <= FEW and parameter_count(level.field) <= SMALL
    if not isinstance(solver, Smoothing) or discrete.equations.any() or not small:
        return None
    squares, counts = [], []
    for fold in rows.folds(FOLDS, seed_of(key, 5)):
        part = replace(discrete, rows=fold)
        prepared = part.prepare(level.field)
        step = solver.smooth(prepared.objective, prepared.theta, level.state)
        if step.failure is not None:
            return None
        squares.append(fold.misfit(prepared.build(step.theta), fold.held, part.misses) ** 2)
        counts.append(sum(len(held.points) for held in fold.held.values()))
    return float(np.sqrt(np.average(squares, weights=counts)))
