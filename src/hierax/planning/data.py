"""The plan where there are measured values and no equation, and penalties on roughness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hierax.cycles import NestedIteration
from hierax.hierarchy import AbstractRefinement, Hierarchy, WiderOrMoreData
from hierax.objective.prior import priors
from hierax.objective.roughness import Roughness
from hierax.planning.features import ProblemFeatures
from hierax.planning.plan import Plan
from hierax.problems.continuation import Continuation
from hierax.problems.domain import Box
from hierax.problems.grouping import specimen_axes, together
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.solvers import AbstractSolver, GaussNewton, Smoothing, Tolerances

GROWTH = (
    "Levels: on a part of the data first; a level that misses the values kept back by much more than those it saw gets "
    "more data, any other more units, where their number suits more."
)
CLUSTERS = (
    "Groups: rows lie in {} clusters far from each other; each is kept back as a whole, and errors are those elsewhere."
)


LEAST, TIE = -9.0, 0.1
"""Decades below the data under which penalties do not fall where something else than the unknown is measured, and rise
of the logarithm of the score that is given for more smoothness there."""


def plan_for_data(
    problem: Problem, hierarchy: Hierarchy, rule: AbstractRefinement | None, seen: ProblemFeatures, grids: bool
) -> Plan:
    """Levels that follow the data as far as they reach; `grids`: a spline grid, whose smoothness data choose."""
    separate = [(axis,) for axis in range(seen.dim)]
    penalties = smoothness(problem, tuple(problem.functions), (2, 3), separate) if grids else ()
    data = tuple(k for k, t in enumerate(problem.terms) if isinstance(t, Data))
    # nothing but values kept back tells a network that it follows the noise; a grid has cross-validation
    share = 0.15 if seen.values >= 40 else 0.0 if grids else 0.25
    growing = rule if isinstance(rule, WiderOrMoreData) else None
    count = int(seen.values * (1 - share))
    positions = tuple(len(problem.terms) + k for k in range(len(penalties)))
    observed = any(isinstance(t, Data) and t.observe is not None for t in problem.terms)
    solver: AbstractSolver = (
        Smoothing(data, positions, count, least=LEAST, tie=TIE)
        if grids and observed
        else Smoothing(data, positions, count)
        if grids
        else GaussNewton(damping=1e-3, tolerances=Tolerances(1e-4, 200))
    )
    return Plan(
        hierarchy,
        rule,
        solver,
        NestedIteration(tolerance=1e-7),
        penalties=(*penalties, *(priors(problem) if grids else ())),
        validation_share=share,
        largest=max(400, min(60_000, 2 * seen.values)) if grids else growing.largest if growing else 4000,
        reasons=(
            f"Data: {seen.values} values; {share:.0%} are kept back to choose the level, which is then fitted "
            "again to all of them."
            if share
            else f"Data: {seen.values} values, too few to keep any back.",
            "Smoothness: penalties on second and third derivatives along each axis, their factors by generalised "
            "cross-validation on every level."
            if grids
            else "Smoothness: training stops where the error at the values kept back is smallest.",
            *((GROWTH,) if growing else ()),
            *_grouped(problem),
        ),
    )


def _grouped(problem: Problem) -> list[str]:
    """Which rows are kept back together, in words."""
    term = next(t for t in problem.terms if isinstance(t, Data))
    axes = specimen_axes(term.points)
    if (shared := together(term)) is term.points:
        return []
    count = len(np.unique(shared, axis=0))
    if term.groups is None and not axes:
        return [CLUSTERS.format(count)]
    if term.groups is not None:
        return [f"Groups: {count}, each of which is kept back as a whole."]
    names = ", ".join((problem.domain.names or ())[axis] for axis in axes)
    return [
        f"Groups: {names} only change together, so rows belong to {count} specimens; each is kept back as a whole, and "
        "errors are those at new ones."
    ]


def has_process(problem: Problem, name: str) -> bool:
    """Whether a Gaussian process can be the fit of an unknown: a scalar without bounds, of data alone, in a box."""
    if not all(isinstance(t, Data) and t.observe is None for t in problem.terms) or problem.constraint is not None:
        return False
    unknown, domain = problem.functions[name], problem.domain
    plain = unknown.components is None and unknown.of is None and unknown.bounds is None and unknown.prior is None
    return plain and isinstance(domain, Box) and not domain.periodic and not isinstance(problem, Continuation)


def is_table(problem: Problem) -> bool:
    """Whether all unknowns are outputs of a table."""
    return not problem.constants and all(has_process(problem, name) for name in problem.functions)


def smoothness(
    problem: Problem, names: tuple[str, ...], orders: tuple[int, ...], groups: Sequence[tuple[int, ...]]
) -> tuple[Roughness, ...]:
    """Penalties: for each unknown, group of axes and order the mean square of the derivatives, in units of the box."""
    out = []
    for name in names:
        of = problem.functions[name].of
        own = range(problem.domain.dim) if of is None else [problem.domain.axis(coordinate) for coordinate in of]
        felt = [axes for group in groups if (axes := tuple(axis for axis in group if axis in own))]
        out += [Roughness(name if problem.named else "", axes, order) for axes in felt for order in orders]
    return tuple(out)
