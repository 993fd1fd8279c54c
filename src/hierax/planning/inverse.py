"""The plan where equations meet measured values: what was not measured is inferred."""

from __future__ import annotations

from hierax.cycles import NestedIteration
from hierax.hierarchy import AbstractRefinement, Hierarchy
from hierax.objective.build import is_equation
from hierax.objective.order import orders_of_rows
from hierax.objective.prior import priors
from hierax.planning.data import smoothness
from hierax.planning.features import ProblemFeatures
from hierax.planning.plan import Plan
from hierax.problems.problem import Problem
from hierax.problems.terms import Data, Residual
from hierax.solvers import AbstractSolver, GaussNewton, Smoothing, Tolerances

FROM_DATA = (1e-6, 1e-2, 1.0, 100.0)
"""Factors of nonlinear equations against data before the last one. With the first the data alone say where to begin: a
state at rest satisfies many equations whatever their coefficients are, and from there nothing leads to the data."""
FIRST_DATA = (
    "Start: the first level follows the data first, and the equations weigh more from step to step; where they lead "
    "away from the data, they wait for a finer level."
)


def plan_for_inverse(
    problem: Problem, hierarchy: Hierarchy, rule: AbstractRefinement | None, seen: ProblemFeatures
) -> Plan:
    """Equations that weigh much more than the data, which carry noise."""
    # without a hidden function or constant the data stand in for missing conditions: the solution itself is kept smooth
    rough = seen.hidden or (() if seen.constants else tuple(problem.functions))
    if seen.hidden and seen.dim == 1 and _closed(problem):
        rough = ()
    penalties = smoothness(problem, rough, (1, 2), [tuple(range(seen.dim))])
    data = tuple(k for k, t in enumerate(problem.terms) if isinstance(t, Data))
    positions = tuple(len(problem.terms) + k for k in range(len(penalties)))
    solver: AbstractSolver = GaussNewton(damping=1e-3, tolerances=Tolerances(1e-4, 60))
    share = 0.15 if seen.values >= 40 else 0.0
    if penalties:
        choices = 1 if seen.linear else 8
        solver = Smoothing(
            data, positions, int(seen.values * (1 - share)), choices=choices, tolerances=Tolerances(1e-4, 40)
        )
    hidden = ", ".join((*seen.hidden, *problem.constants)) or ", ".join(problem.functions)
    return Plan(
        hierarchy,
        rule,
        solver,
        NestedIteration(tolerance=1e-6),
        sampling=seen.gauss_points,
        penalties=(*penalties, *priors(problem)),
        easier=() if seen.linear else FROM_DATA,
        validation_share=share,
        indifference=1.05,
        largest=12_000,
        reasons=(
            f"Inverse problem: {hidden} inferred from {seen.values} values; the equations weigh much more than "
            "the data, which carry noise.",
            "Smoothness of what is inferred: penalties on first and second derivatives, factors by generalised "
            "cross-validation."
            if penalties
            else "Unknown constants need no penalty.",
            *(() if seen.linear else (FIRST_DATA,)),
        ),
    )


def _closed(problem: Problem) -> bool:
    """Whether there are as many equations as functions: along one coordinate they leave a few numbers free at most.

    A penalty would favour constants with which what was not measured changes slowly.
    """
    equations = [t for t in problem.terms if isinstance(t, Residual) and is_equation(t, problem)]
    rows = sum(orders_of_rows(problem, term).shape[1] for term in equations)
    return rows >= sum(function.components or 1 for function in problem.functions.values())
