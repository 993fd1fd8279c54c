"""Part of the study `cost-scaling`: iterations on composed networks, with the hierarchy and with the diagonal alone.

A network is trained on one level by a few damped Gauss-Newton steps and prolonged to the next. The first system there,
with the damping that the solver has come to, is solved by conjugate gradients until the decrease of the quadratic model
is within 1e-6 of the possible one, which a factorisation gives. Nothing is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hierax.cycles import NestedIteration
from hierax.fields import DecodedGrid
from hierax.hierarchy import IntervalDoubling, refine
from hierax.hierarchy.variables import spline_leaves
from hierax.objective.rows import RowObjective
from hierax.objective.sparse_rows import SparseRowGram
from hierax.planning.choose import choose
from hierax.problems import Problem
from hierax.solvers import GaussNewton, Multigrid, Tolerances
from hierax.solvers.gauss_newton import DampingState
from hierax.solvers.linear.solve import AbstractStop, factorise, iterated
from hierax.training.discrete import DiscreteProblem
from studies.common import Network, Row, aligned

ENOUGH = 1e-6
"""Share of the possible decrease that may be left."""
STEPS = 12
PLAIN_LIMIT, LIMIT = 20_000, 4000
COARSEST = 300
"""Parameters below which the hierarchy factors the matrix."""


def decoded(intervals: int, degree: int = 3) -> Callable[[Problem], DecodedGrid]:
    """A grid of three channels, two of them for a network of six units."""

    def build(problem: Problem) -> DecodedGrid:
        lower, upper = problem.domain.bounds()
        return DecodedGrid.uniform(lower, upper, intervals, degree, key=0, channels=2, hidden=(6,))

    return build


SPLINES, DECODED = "KAN [2, 8, 1]", "decoded grid"
COMPOSED: dict[str, tuple[Callable[[Problem], Any], int]] = {
    SPLINES: (lambda problem: Network(8, 4, 4, True).build(problem, 0), 6),
    DECODED: (decoded(4), 4),
}
"""The coarsest field and the number of levels."""


@dataclass(frozen=True)
class Decrease(AbstractStop):
    """Stop where nearly all of a known decrease is reached."""

    possible: float

    def __call__(self, count: int, gain: float, model: float, error: float) -> bool:
        del count, gain, error
        return self.possible - model < ENOUGH * self.possible


def composed_rows(problem: Problem, name: str, levels: int | None = None) -> list[Row]:
    """Iterations on every level of one kind of network that has levels below it."""
    build, most = COMPOSED[name]
    hierarchy = refine(build(problem), by=IntervalDoubling(), levels=levels or most)
    solver = GaussNewton(tolerances=Tolerances(1e-3, STEPS))
    plan = choose(problem, key=0, hierarchy=hierarchy, solver=solver, cycle=NestedIteration())
    bench, rows, damping = DiscreteProblem.of(problem, plan, 0), [], solver.damping
    field = hierarchy.levels[0].field
    for number in range(len(hierarchy)):
        if number:
            field = bench.prolonged(hierarchy.transfers[number - 1], field, hierarchy.levels[number].field)
        prepared = bench.prepare(field)
        if number:
            objective = RowObjective(field, prepared.objective.samples)
            if objective.size > COARSEST:
                rows.append({"field": name, "level": number, **iterations(objective, prepared.theta, damping)})
        theta, state = prepared.theta, DampingState(damping)
        for _ in range(STEPS):
            step = solver.step(prepared.objective, theta, state)
            theta, state = step.theta, step.state
            if step.done or step.failure is not None:
                break
        field, damping = prepared.build(theta), float(state.damping)
    return rows


def iterations(objective: RowObjective, theta: np.ndarray, damping: float) -> Row:
    """Both counts for one damped system, with its size."""
    gram = SparseRowGram(objective.sparse_rows(theta), spline_leaves(objective.field))
    right, diagonal = -objective.value_and_gradient(theta)[1], gram.diagonal()
    shifted = gram.shifted(damping * np.maximum(diagonal, 1e-10 * diagonal.max()))
    stop = Decrease(0.5 * float(right @ factorise(shifted, np.zeros(gram.size))(right)))
    inverse = 1.0 / shifted.diagonal()
    plain = iterated(shifted.mv, right, lambda r: inverse * r, stop, PLAIN_LIMIT).iterations
    cycle = Multigrid(coarsest=COARSEST, sweeps=1).cycle(shifted)
    few = iterated(shifted.mv, right, cycle, stop, LIMIT).iterations
    return {"parameters": gram.size, "damping": damping, "plain": plain, "hierarchy": few, "ratio": plain / few}


def composed_table(rows: list[Row]) -> str:
    """A line for each level."""
    head = ["composed networks: iterations to 1e-6", "parameters", "damping", "diagonal", "hierarchy", "ratio"]
    cells = [
        [
            r["field"],
            str(r["parameters"]),
            f"{r['damping']:.1e}",
            str(r["plain"]),
            str(r["hierarchy"]),
            f"{r['ratio']:.1f}",
        ]
        for r in rows
    ]
    return "\n".join(aligned([head, *cells]))
