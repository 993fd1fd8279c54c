"""The one default strategy: from what a problem shows to field, hierarchy, solver and cycle.

It sees the number of coordinates, the unknowns, the terms, the order of derivatives, the data, and the budget; never a
name. What it decides is written down in words before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.cycles import AbstractCycle, AbstractMultigrid, Automatic, NestedIteration, SingleLevel
from hierax.fields import Scalar, SplineGrid, Unknowns, linear_in_parameters, parameter_count, place
from hierax.hierarchy import (
    AbstractRefinement,
    Hierarchy,
    IntervalDoubling,
    Level,
    MarkedKnots,
    WiderOrMoreData,
    refine,
)
from hierax.objective.build import Sampling, mesh
from hierax.objective.evolution import Evolution, evolution
from hierax.objective.roughness import Roughness
from hierax.objective.view import unbounded
from hierax.planning.families import GRID_DIMENSIONS, AbstractFamily, Grid, Perceptron, grid_degree, has_grid, revisits
from hierax.planning.features import Sight
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.solvers import AbstractSolver, GaussNewton, Optax, Schwarz, Smoothing, Tolerances, VariableProjection
from hierax.solvers.nonlinear_schwarz import NonlinearSchwarz

VALUES_PER_PARAMETER = 4.0
"""Measured values that a network's first level sees for each parameter: with fewer it follows its sample."""
GROWTH = (
    "Levels: on a part of the data first; a level that misses the values kept back by much more than those it saw gets "
    "more data, any other more units, where their number suits more."
)
FROM_DATA = (1e-6, 1e-2, 1.0, 100.0)
"""Factors of nonlinear equations against data before the last one. With the first the data alone say where to begin: a
state at rest satisfies many equations whatever their coefficients are, and from there nothing leads to the data."""
FIRST_DATA = "Start: the first level follows the data first, and the equations weigh more from step to step."
CYCLE_LEVELS = 4
"""Levels of a V-, W- or F-cycle when no number is given."""


@dataclass(frozen=True)
class Plan:
    """What is going to be done.

    Attributes
    ----------
    hierarchy:
        The levels to begin with.
    rule:
        How further levels are made; `None` when none are.
    solver, cycle:
        How one level is trained; in which order.
    sampling:
        How densely the terms are sampled.
    penalties:
        Roughness of unknowns, further terms after the problem's own; the solver chooses their factors.
    indifference:
        Levels whose validation error is within this factor of the best count as equal.
    order:
        Highest order of derivatives.
    local, linear:
        Whether all terms look only at their own point, so that curvature can be assembled cell by cell; whether all
        residuals are affine in the unknowns, so that one step of a linear field is the solution.
    convection:
        How much first derivatives outweigh second ones in the equations; see `hierax.objective.order.Reach`.
    evolution:
        The problem as an evolution in time where slabs may follow it; see `hierax.training.time_slabs`.
    condition_factor, equation_factor:
        Factor of boundary conditions against equations where both act; of equations against data.
    easier:
        Smaller factors of the equations against the data, with which the first level is trained before.
    validation_share:
        Share of the data kept back to choose the level.
    largest:
        Most parameters of a level.
    label:
        The kind of field, for tables.
    reasons:
        The plan in words, one sentence a line.
    """

    hierarchy: Hierarchy
    rule: AbstractRefinement | None
    solver: AbstractSolver
    cycle: AbstractCycle
    sampling: Sampling = Sampling()
    penalties: tuple[Roughness, ...] = ()
    condition_factor: float = 100.0
    equation_factor: float = 1e4
    easier: tuple[float, ...] = ()
    validation_share: float = 0.0
    largest: int = 2_000_000
    indifference: float = 1.01
    order: int = 0
    local: bool = True
    linear: bool = False
    convection: float = 0.0
    evolution: Evolution | None = None
    label: str = ""
    reasons: tuple[str, ...] = field(default_factory=tuple)

    @property
    def text(self) -> str:
        """The plan in words."""
        return "\n".join(self.reasons)


def choose(
    problem: Problem,
    *,
    key: Key,
    hierarchy: Any = None,
    levels: int | None = None,
    solver: AbstractSolver | None = None,
    cycle: AbstractCycle | None = None,
) -> Plan:
    """The plan for a problem, with whatever the user fixed.

    Parameters
    ----------
    problem:
        What is to be learned.
    key:
        Random key of initial values.
    hierarchy:
        `None`; a family of fields (`Grid()`, `SplineNetwork()`, `Perceptron()`); a field; or a `Hierarchy`.
    levels:
        Number of levels; grown as long as it pays when not given.
    solver, cycle:
        Used in place of the strategy's own.
    """
    seen = Sight.of(problem)
    if isinstance(hierarchy, Hierarchy):
        plan = _given(problem, _placed(hierarchy, problem), None, seen)
    elif hierarchy is not None and not isinstance(hierarchy, AbstractFamily):
        plan = _given(problem, _placed(refine(hierarchy, by=IntervalDoubling(), levels=1), problem), None, seen)
    else:
        family = hierarchy or _family(seen)
        own = family if levels is None or not seen.only_data else family.spread(seen.values, levels)
        plan = _from_family(problem, own, seen, key)
    if seen.equations and not (seen.conditions or seen.data or seen.energies or problem.constraint is not None):
        note = "Note: there are equations but no conditions or data; they may not determine the solution."
        plan = replace(plan, reasons=(*plan.reasons, note))
    if isinstance(solver, Schwarz):
        solver.refuse_without_subdomains(plan.hierarchy.levels[0].field)
    if solver is not None:
        plan = replace(plan, solver=solver, penalties=(), validation_share=plan.validation_share)
    if cycle is not None:
        plan = _with_cycle(plan, cycle, levels)
    if levels is not None:
        plan = _with_levels(plan, levels)
    made_for_cycles = isinstance(plan.solver, GaussNewton | Optax) and revisits(problem, plan.rule, plan.hierarchy)
    if cycle is None and isinstance(plan.cycle, NestedIteration) and made_for_cycles:
        plan = replace(plan, cycle=Automatic(nested=plan.cycle))
    if solver is None and cycle is None and seen.local and not seen.linear and isinstance(plan.rule, MarkedKnots):
        plan = replace(plan, evolution=evolution(problem))
    return replace(
        plan,
        order=seen.order,
        local=seen.local,
        linear=seen.linear,
        convection=seen.convection,
        reasons=(*plan.reasons, f"Solver {named(plan.solver)}, cycle {named(plan.cycle)}."),
    )


def _placed(hierarchy: Hierarchy, problem: Problem) -> Hierarchy:
    """Networks built without a domain get the problem's."""
    low, high = problem.domain.bounds()
    levels = [Level(place(l.field, low, high), l.points, l.cells, l.trained) for l in hierarchy.levels]  # noqa: E741
    return Hierarchy(levels, hierarchy.transfers)


def named(part: Any) -> str:
    """Name of a solver or cycle for tables."""
    return type(part).__name__


def _family(seen: Sight) -> AbstractFamily:
    if seen.dim <= GRID_DIMENSIONS:
        return Grid()
    return Perceptron()


def _from_family(problem: Problem, family: AbstractFamily, seen: Sight, key: Key) -> Plan:
    start = _start(problem, family, seen, key)
    grid = isinstance(family, Grid)
    if grid and seen.dim > GRID_DIMENSIONS:
        raise InputError(
            what=f"a spline grid in {seen.dim} dimensions",
            where="--field grid",
            remedy=f"grids serve up to {GRID_DIMENSIONS} dimensions; use kan or mlp",
        )
    rule = family.data_rule(seen.values) if seen.only_data else family.rule()
    points = _some(problem, start, seen) if isinstance(rule, WiderOrMoreData) else None
    plan = _given(problem, refine(start, levels=1, points=points), rule, seen)
    return replace(plan, label=family.label, reasons=(seen.text, f"Field: {family.label}.", *plan.reasons))


def _some(problem: Problem, start: Any, seen: Sight) -> int | None:
    """Samples that a first level is trained on; nothing where these would be most of them."""
    rows = sum(len(term.points) for term in problem.terms if isinstance(term, Data))
    points = int(np.ceil(VALUES_PER_PARAMETER * parameter_count(start) * rows / seen.values))
    return points if points < 0.5 * rows else None


def _start(problem: Problem, family: AbstractFamily, seen: Sight, key: Key) -> Any:
    keys = [jax.random.key(seed_of(key, k)) for k in range(len(problem.unknowns))]
    parts: dict[str, Any] = {}
    for (name, unknown), k in zip(problem.unknowns.items(), keys, strict=True):
        if name in problem.constants:
            constant = problem.constants[name]
            parts[name] = Scalar(float(unbounded(constant.bounds)(constant.initial)))
            continue
        values = seen.values if seen.only_data else None
        part = family.part(problem, problem.functions[name].components, seen.order, values, k)
        if name in seen.hidden and isinstance(part, SplineGrid) and unknown.bounds is None:
            # one is a natural start for a coefficient, and harmless for a source; at zero its equation would degenerate
            mean = unknown.prior[0] if unknown.prior else 1.0
            part = SplineGrid(part.axes, jnp.full_like(part.coefficients, mean))
        parts[name] = part
    return Unknowns(**parts) if problem.named else next(iter(parts.values()))


def _given(problem: Problem, hierarchy: Hierarchy, rule: AbstractRefinement | None, seen: Sight) -> Plan:
    """Solver, cycle and weights for fields of any kind."""
    first = hierarchy.levels[0].field
    linear = linear_in_parameters(first)
    grids = has_grid(first)
    if seen.only_data:
        return _for_data(problem, hierarchy, rule, seen, grids and seen.local)
    if seen.data and grids and seen.local:
        return _inverse(problem, hierarchy, rule, seen)
    celled = mesh(first) is not None
    # a decoded grid creeps long after its next level would do better
    tolerances = Tolerances(1e-4, 60) if grids else Tolerances(1e-3, 300) if celled else Tolerances(1e-4, 2000)
    dense = _gauss_points(seen)
    return Plan(
        hierarchy,
        rule,
        GaussNewton(damping=0.0 if linear and grids else 1e-3, tolerances=tolerances),
        NestedIteration() if rule or len(hierarchy.levels) > 1 else SingleLevel(),
        sampling=dense,
        condition_factor=1e8 if seen.energies else 100.0,
        reasons=(
            "Levels: from coarse to fine, refined where the highest derivative of the solution jumps most; each level "
            "starts from the one before and is solved by Gauss-Newton steps."
            if grids
            else "Levels: from coarse to fine, each trained by damped Gauss-Newton steps from the one before.",
            f"Points: {'at least ' * (not grids)}{dense.inside} Gauss points an axis and cell "
            f"({dense.energy} for energies)."
            if celled
            else "Points: Sobol sequence, more points than parameters.",
            f"Conditions weigh as much as the equations where both act, times {1e8 if seen.energies else 100.0:g}.",
        ),
    )


def _gauss_points(seen: Sight) -> Sampling:
    degree = grid_degree(seen.dim, seen.order)
    # with fewer points the residual vanishes at them far better than between them
    inside = max(2, (degree + 2) // 2) if seen.dim < GRID_DIMENSIONS else max(2, degree // 2)
    return Sampling(inside=inside, energy=degree, boundary=degree)


def _for_data(
    problem: Problem, hierarchy: Hierarchy, rule: AbstractRefinement | None, seen: Sight, grids: bool
) -> Plan:
    separate = [(axis,) for axis in range(seen.dim)]
    penalties = smoothness(problem, tuple(problem.functions), (2, 3), separate) if grids else ()
    data = tuple(k for k, t in enumerate(problem.terms) if isinstance(t, Data))
    # nothing but values kept back tells a network that it follows the noise; a grid has cross-validation
    share = 0.15 if seen.values >= 40 else 0.0 if grids else 0.25
    growing = rule if isinstance(rule, WiderOrMoreData) else None
    count = int(seen.values * (1 - share))
    positions = tuple(len(problem.terms) + k for k in range(len(penalties)))
    solver: AbstractSolver = (
        Smoothing(data, positions, count) if grids else GaussNewton(damping=1e-3, tolerances=Tolerances(1e-4, 200))
    )
    return Plan(
        hierarchy,
        rule,
        solver,
        NestedIteration(tolerance=1e-7),
        penalties=penalties,
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
        ),
    )


def _inverse(problem: Problem, hierarchy: Hierarchy, rule: AbstractRefinement | None, seen: Sight) -> Plan:
    # without a hidden function or constant the data stand in for missing conditions: the solution itself is kept smooth
    rough = seen.hidden or (() if seen.constants else tuple(problem.functions))
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
        sampling=_gauss_points(seen),
        penalties=penalties,
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


def smoothness(
    problem: Problem, names: tuple[str, ...], orders: tuple[int, ...], groups: Sequence[tuple[int, ...]]
) -> tuple[Roughness, ...]:
    """Penalties: for each unknown, group of axes and order the mean square of the derivatives, in units of the box."""
    return tuple(
        Roughness(name if problem.named else "", axes, order) for name in names for axes in groups for order in orders
    )


def _with_cycle(plan: Plan, cycle: AbstractCycle, levels: int | None) -> Plan:
    """A given cycle; one that goes down needs its levels beforehand, and a solver that trains any objective.

    Raises
    ------
    InputError
        For a cycle that corrects coarse objectives with a solver that trains least squares only.
    """
    if cycle.corrects and isinstance(plan.solver, VariableProjection | Schwarz | NonlinearSchwarz):
        # a corrected objective is no sum of squares; a stand-in follows nearly dependent readouts to infinity
        raise InputError(
            what=f"{named(plan.solver)} trains sums of squares, and {named(cycle)} corrects coarse objectives, which "
            "then are none",
            where="train(..., solver=..., cycle=...)",
            remedy="keep the solver and take NestedIteration(), or keep the cycle and take GaussNewton()",
        )
    if cycle.corrects and isinstance(plan.solver, Smoothing):
        plan = replace(plan, solver=GaussNewton(tolerances=plan.solver.tolerances), penalties=())
    if isinstance(cycle, AbstractMultigrid) and plan.rule is not None and len(plan.hierarchy) == 1:
        made = refine(plan.hierarchy.levels[0].field, by=IntervalDoubling(), levels=levels or CYCLE_LEVELS)
        plan = replace(plan, hierarchy=made, rule=None)
    return replace(plan, cycle=cycle)


def _with_levels(plan: Plan, levels: int) -> Plan:
    if isinstance(plan.rule, WiderOrMoreData):
        made = refine(plan.hierarchy.levels[0], by=plan.rule.wider, levels=levels)
        finest = Level(made.levels[-1].field)
        return replace(plan, hierarchy=Hierarchy((*made.levels[:-1], finest), made.transfers), rule=None)
    if plan.rule is None or len(plan.hierarchy.levels) > levels:
        return plan
    if isinstance(plan.rule, IntervalDoubling):
        field_ = plan.hierarchy.levels[0].field
        return replace(plan, hierarchy=refine(field_, by=plan.rule, levels=levels), rule=None)
    return replace(plan, cycle=plan.cycle.limited(levels))
