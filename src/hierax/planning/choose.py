"""The one default strategy: from what a problem shows to field, hierarchy, solver and cycle.

It sees the number of coordinates, the unknowns, the terms, the order of derivatives, the data, and the budget; never a
name. What it decides is written down in words before training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import optax

from hierax._errors import InputError
from hierax.cycles import AbstractCycle, AbstractMultigrid, Automatic, NestedIteration, SingleLevel
from hierax.fields import LowRank, linear_in_parameters, parameter_count
from hierax.fields.base import mesh
from hierax.hierarchy import (
    AbstractRefinement,
    Hierarchy,
    IntervalDoubling,
    Level,
    MarkedKnots,
    WiderOrMoreData,
    refine,
)
from hierax.hierarchy.regrid import grids_of
from hierax.objective import interfaces
from hierax.objective.evolution import evolution
from hierax.objective.jet_rows import is_low_rank
from hierax.objective.missed import missed
from hierax.objective.prescribed import with_prescribed_values
from hierax.objective.prior import Prior, priors
from hierax.objective.separation import Separation
from hierax.objective.sizes import own_units
from hierax.planning.data import is_table, plan_for_data
from hierax.planning.examine import examine
from hierax.planning.families import GRID_DIMENSIONS, AbstractFamily, Grid, Perceptron, Tensor, has_grid, revisits
from hierax.planning.features import ProblemFeatures
from hierax.planning.inverse import plan_for_inverse
from hierax.planning.placing import on_domain, refuse_open
from hierax.planning.plan import Plan, named
from hierax.planning.starting import Examined, refuse_unused, start_field
from hierax.planning.tensors import plan_for_tensors
from hierax.planning.words import chosen
from hierax.problems.domain import Box, Interface
from hierax.problems.fidelities import Fidelities
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.problems.units import Units
from hierax.solvers import AbstractSolver, GaussNewton, Optax, Schwarz, Smoothing, Tolerances, VariableProjection

VALUES_PER_PARAMETER = 4.0
"""Measured values that a network's first level sees for each parameter: with fewer it follows its sample."""
RIVALS = (
    "Rivals: a Gaussian process (kriging), its lengths, warps and noise by maximum likelihood, and of many inputs and "
    "rows a low-rank tensor; rows that a field has not seen choose."
)
CYCLE_LEVELS = 4
"""Levels of a V-, W- or F-cycle when no number is given."""


def plan(
    problem: Problem,
    hierarchy: Any = None,
    *,
    solver: AbstractSolver | optax.GradientTransformation | str | None = None,
    cycle: AbstractCycle | str | None = None,
    levels: int | None = None,
    key: Key = 0,
) -> Plan:
    """What `train` would do with the same arguments.

    Parameters
    ----------
    problem, hierarchy, solver, cycle, levels, key
        As those of `hierax.train`.

    Returns
    -------
    Plan
        To be read (`print(plan)`), changed (`plan.changed(...)`), and carried out (`hx.train(problem, plan=plan)`).

    Raises
    ------
    InputError
        For `Fidelities`, whose levels are chosen one after the other while they are fitted, and for what the parts
        refuse.

    Examples
    --------
    >>> print(hx.plan(problem))  # doctest: +SKIP
    """
    if isinstance(problem, Fidelities):
        raise InputError(
            what="what is done with fidelities is decided by their data, one after the other",
            where="plan(Fidelities(...))",
            remedy="call train(problem), whose solution has the plan in words, or plan one fidelity as a problem",
        )
    return choose(problem, key=seed_of(key, 0), levels=levels, **chosen(hierarchy, solver, cycle))


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
    examine(problem)
    units = _units(problem, hierarchy)
    if units is not None:
        problem = units.converted(with_prescribed_values(problem))
    seen = ProblemFeatures.of(problem)
    features = missed(problem, seen.order, seen.linear)
    grids = hierarchy is None or isinstance(hierarchy, Grid)
    _refuse_whole(problem, grids and seen.dim <= GRID_DIMENSIONS)
    given = interfaces.named(problem, seen.order)
    found, unseen = interfaces.divided(problem, features, seen.order, grids)
    places = (*given, *(place for place in found if not interfaces.is_among(problem, place, given)))
    problem = interfaces.with_interfaces(problem, places)
    plan = _for_fields(hierarchy, levels, Examined(problem, seen, features, units, key))
    refuse_open(problem, plan.hierarchy)
    _refuse_prior(problem, plan)
    plan = _with_choices(problem, plan, solver, cycle, levels)
    unbroken = not (interfaces.stated(problem) or problem.regions)
    splines = isinstance(plan.rule, MarkedKnots) and grids_of(plan.hierarchy.levels[0].field)
    if solver is None and cycle is None and seen.local and splines:
        plan = replace(plan, evolution=evolution(problem) if unbroken else None)
    reasons = (*plan.reasons, *(_interface(place, place in given) for place in places))
    rivals = hierarchy is None and solver is None and cycle is None and levels is None and is_table(problem)
    reasons = (*reasons, RIVALS) if rivals else reasons
    return replace(
        plan, rivals=rivals, units=units, missed=unseen, interfaces=places, reasons=reasons, order=seen.order,
        local=seen.local, linear=seen.linear, convection=seen.convection,
    )  # fmt: skip


def _interface(place: Interface, given: bool) -> str:
    why = f"{place} divides the domain" if given else f"a coefficient jumps inside of a derivative across {place}"
    return (
        f"Interface: {why}; slopes may jump there, and what the equations say on it, that fluxes are continuous, is a "
        "condition."
    )


def _refuse_whole(problem: Problem, grids: bool) -> None:
    """Refuse fields that no shape can break."""
    if problem.regions is not None and not grids:
        raise InputError(
            "this field is not broken by a shape", "Problem(interfaces=...)",
            "leave the field to the strategy, or take --field grid; both serve up to three coordinates",
        )  # fmt: skip


def _units(problem: Problem, hierarchy: Any) -> Units | None:
    """Those in which a problem is trained: of its own, unless the user gives fields, which have theirs."""
    if hierarchy is None or isinstance(hierarchy, AbstractFamily):
        return own_units(with_prescribed_values(problem))
    refuse_unused(problem)
    return None


def _for_fields(hierarchy: Any, levels: int | None, given: Examined) -> Plan:
    """The plan for given fields, for a family of them, or for the family that suits."""
    problem, seen = given.problem, given.seen
    if isinstance(hierarchy, Hierarchy):
        plan = _given(problem, on_domain(hierarchy, problem), None, seen)
    elif hierarchy is not None and not isinstance(hierarchy, AbstractFamily):
        plan = _given(problem, on_domain(refine(hierarchy, by=IntervalDoubling(), levels=1), problem), None, seen)
    else:
        family = hierarchy or _family(given)
        own = family if levels is None or not seen.only_data else family.spread(seen.values, levels)
        plan = _from_family(own, given)
    if seen.equations and not (seen.conditions or seen.data or seen.energies or problem.constraint is not None):
        note = "Note: there are equations but no conditions or data; they may not determine the solution."
        plan = replace(plan, reasons=(*plan.reasons, note))
    return plan


def _with_choices(
    problem: Problem, plan: Plan, solver: AbstractSolver | None, cycle: AbstractCycle | None, levels: int | None
) -> Plan:
    """The plan with what the user chose in its place."""
    if isinstance(solver, Schwarz):
        solver.refuse_without_subdomains(plan.hierarchy.levels[0].field)
    if solver is not None:
        plan = replace(plan, solver=solver, penalties=tuple(p for p in plan.penalties if isinstance(p, Prior)))
    if cycle is not None:
        plan = _with_cycle(plan, cycle, levels)
    if levels is not None:
        plan = _with_levels(plan, levels)
    made_for_cycles = isinstance(plan.solver, GaussNewton | Optax) and revisits(problem, plan.rule, plan.hierarchy)
    if cycle is None and isinstance(plan.cycle, NestedIteration) and made_for_cycles:
        plan = replace(plan, cycle=Automatic(nested=plan.cycle))
    return plan


def _refuse_prior(problem: Problem, plan: Plan) -> None:
    """Refuse priors that nothing weighs."""
    if priors(problem) and not any(isinstance(p, Prior) for p in plan.penalties):
        raise InputError(
            what="a prior is weighed against the noise of data, in spline grids, and one of both is missing",
            where="Function(prior=...) or Constant(prior=...)",
            remedy="leave it out (initial= says where to start), or add Data and take spline grids",
        )


def _family(given: Examined) -> AbstractFamily:
    problem, seen = given.problem, given.seen
    if seen.dim <= GRID_DIMENSIONS:
        return Grid()
    pointwise = seen.local and not (seen.only_data or seen.hidden or interfaces.stated(problem))
    if not (pointwise and isinstance(problem.domain, Box)):
        return Perceptron()
    # the steps of tensors at points are those of least squares
    first = start_field(Tensor(), given) if seen.energies else None
    separates = isinstance(first, LowRank) and Separation.of(problem, first) is not None
    return Tensor() if separates or not seen.energies else Perceptron()


def _from_family(family: AbstractFamily, given: Examined) -> Plan:
    problem, seen, start = given.problem, given.seen, start_field(family, given)
    grid = isinstance(family, Grid)
    if grid and seen.dim > GRID_DIMENSIONS:
        raise InputError(
            what=f"a spline grid in {seen.dim} dimensions",
            where="--field grid",
            remedy=f"grids serve up to {GRID_DIMENSIONS} dimensions; use tensor, kan or mlp",
        )
    rule = family.data_rule(seen.values) if seen.only_data else family.rule()
    points = _some(problem, start, seen) if isinstance(rule, WiderOrMoreData) else None
    plan = _given(problem, refine(start, levels=1, points=points), rule, seen)
    return replace(plan, label=family.label, reasons=(seen.text, f"Field: {family.label}.", *plan.reasons))


def _some(problem: Problem, start: Any, seen: ProblemFeatures) -> int | None:
    """Samples that a first level is trained on; nothing where these would be most of them."""
    rows = sum(len(term.points) for term in problem.terms if isinstance(term, Data))
    points = int(np.ceil(VALUES_PER_PARAMETER * parameter_count(start) * rows / seen.values))
    return points if points < 0.5 * rows else None


def _given(problem: Problem, hierarchy: Hierarchy, rule: AbstractRefinement | None, seen: ProblemFeatures) -> Plan:
    """Solver, cycle and weights for fields of any kind."""
    first = hierarchy.levels[0].field
    linear = linear_in_parameters(first)
    grids = has_grid(first)
    if seen.only_data:
        return plan_for_data(problem, hierarchy, rule, seen, grids and seen.local)
    if seen.data and grids and seen.local:
        return plan_for_inverse(problem, hierarchy, rule, seen)
    if is_low_rank(first):
        return plan_for_tensors(problem, hierarchy, rule, seen)
    celled = mesh(first) is not None
    # a decoded grid creeps long after its next level would do better
    tolerances = Tolerances(1e-4, 60) if grids else Tolerances(1e-3, 300) if celled else Tolerances(1e-4, 2000)
    dense = seen.gauss_points
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


def _with_cycle(plan: Plan, cycle: AbstractCycle, levels: int | None) -> Plan:
    """A given cycle; one that goes down needs its levels beforehand, and a solver that trains any objective.

    Raises
    ------
    InputError
        For a cycle that corrects coarse objectives with a solver that trains least squares only.
    """
    if cycle.corrects and isinstance(plan.solver, VariableProjection | Schwarz):
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
        made = _refined(plan, levels or CYCLE_LEVELS, cycle)
        plan = replace(plan, hierarchy=made, rule=None)
    return replace(plan, cycle=cycle)


def _refined(plan: Plan, levels: int, cycle: AbstractCycle) -> Hierarchy:
    """The levels of a cycle, made beforehand."""
    first = plan.hierarchy.levels[0].field
    try:
        return refine(first, by=IntervalDoubling(), levels=levels)
    except ValueError as error:
        raise InputError(
            f"{named(cycle)} visits levels that are made beforehand, and a {type(first).__name__} has none ({error})",
            "train(..., field=..., cycle=...)",
            "take NestedIteration(), or give the levels: hx.refine(field, by=...)",
        ) from error


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
