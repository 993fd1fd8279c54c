"""Part of the study `cost-scaling`: the cost of the rows of the Jacobian over that of the residual alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hierax.fields import SplineGrid
from hierax.objective import flat_parameters
from hierax.objective.pointwise import point_term
from hierax.objective.rows import RowObjective
from hierax.objective.samples import make_samples
from hierax.problems import Problem

DEGREE, INTERVALS = 5, 64
"""A plane grid of degree 5 has 36 coefficients at every point."""
REPEATS = 3


def row_cost(problem: Problem, points: int = 100_000) -> dict[str, float]:
    """Processor seconds of the rows and of one evaluation of the residual of a problem's first term, and their ratio.

    Both go through the same local pieces, block by block; each is compiled before, and the fastest of three counts.

    Parameters
    ----------
    problem:
        In the plane; its first term is an equation.
    points:
        Random ones.
    """
    lower, upper = problem.domain.bounds()
    field = SplineGrid.uniform(lower, upper, INTERVALS, DEGREE)
    x = np.random.default_rng(0).uniform(lower, upper, (points, len(lower)))
    samples = make_samples(point_term(problem, problem.terms[0]), x, np.ones(points))
    objective, theta = RowObjective(field, [samples]), flat_parameters(field)[0]
    residual = _fastest(lambda: objective.residuals(theta))
    rows = _fastest(lambda: [block.rows for block in objective.row_blocks(samples, theta)])
    return {"rows_seconds": rows, "residual_seconds": residual, "rows_over_residual": rows / residual}


def _fastest(run: Callable[[], Any]) -> float:
    run()
    out = []
    for _ in range(REPEATS):
        began = time.process_time()
        run()
        out.append(time.process_time() - began)
    return min(out)
