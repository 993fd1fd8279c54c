"""The end of a table: other kinds of fields are tried beside that of the plan, and rows not seen choose."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from hierax import clock
from hierax._results import RESULTS
from hierax.checks.evidence import NOISE
from hierax.checks.guards import verdict
from hierax.clock import compile_seconds
from hierax.events import EventDispatcher, Reached, Subscriber
from hierax.fields import Splits, Trees, Unknowns
from hierax.objective.compiled import forget_if_many
from hierax.objective.data_rows import folds
from hierax.planning.choose import plan as planned_for
from hierax.planning.families import GRID_DIMENSIONS, Tensor
from hierax.planning.plan import Plan
from hierax.problems.grouping import belonging
from hierax.problems.keys import Key
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.results.solution import Candidate, Solution
from hierax.solvers.boosting import boosted, validated
from hierax.training.account import account, in_the_users_units, so_far
from hierax.training.anew import trained
from hierax.training.context import Context
from hierax.training.continuation import ProblemSequence
from hierax.training.corrections import Objectives
from hierax.training.finish import finish, told_of, value_of
from hierax.training.processes import ALL, LONGEST, MOST, PATIENCE, ProcessLimits, table_process
from hierax.training.run import begin, run
from hierax.training.selection import guarded
from hierax.training.state import RunState, Visited
from hierax.training.table_process import TableProcess

KRIGING, LOGARITHMIC = "kriging (linear in its weights)", "exponential of kriging"
TREES = "boosted trees (linear in their values)"
OUTLIERS = "Outliers: {} of {} values, which all others contradict, do not count for kriging."
CLEARLY = 0.9
"""Part of the error of the planned field that a rival has to reach, which is told from luck."""
WORTH, PRODUCTS = 0.02, 1e-4
"""Relative errors above which a network and a low-rank tensor are worth their seconds."""
MANY = 500
"""Rows below which neither is."""
HALF = 0.5
"""Share of the seconds left for the tensor, as long as a network may follow."""
SHORT = 4.0
"""Seconds of a budget below which kriging is all that is tried."""
FOLDS = 5
"""Parts of the rows that are left out in turn to tell how many trees serve."""
SHARE = 0.2
"""Share of the budget for steps with all rows, by counted work."""


def carried_out(
    problem: Problem,
    plan: Plan,
    *,
    key: Key = 0,
    budget: float = 60.0,
    subscribers: Iterable[Subscriber] = (),
    began: tuple[float, float] | None = None,
    state: RunState | None = None,
) -> Solution:
    """Carry a plan out, from a state on if one is given, which leads to the bits of a training without that.

    Parameters
    ----------
    problem, plan, key, budget, subscribers:
        As those of `hierax.train`.
    began:
        When the training began, and the seconds of compilation before that; as long ago as the state says otherwise.
    state:
        Where a training with the same problem, plan and key stood.
    """
    forget_if_many()
    before = (0.0, 0.0) if state is None else (state.seconds, state.seconds_compile)
    began = began or (clock.seconds_now() - before[0], compile_seconds() - before[1])
    context = Context.of(problem, plan, key, budget, tuple(subscribers), began)
    first = begin(context)
    return solved(first if state is None else state, context)


def solved(state: RunState, context: Context) -> Solution:
    """Train from a state to the end; of a table the best of all kinds of fields that are worth their seconds."""
    process = _process(state, context)
    if process is None:
        return told_of(trained(state, context), context)
    if process.outliers is not None:
        context.say(OUTLIERS.format(int(process.outliers.sum()), len(process.rows.points)))
    rival = _kriging(process, state, context)
    took = rival.seconds_total
    context = replace(context, rival=rival)
    if state.process is None and not context.over:
        state = state._replace(process=process.found, seconds=took, seconds_compile=rival.seconds_compile)
        context.emit(Reached(state, functools.partial(so_far, state, context)))
    tensor = _tensor(process, context)
    if tensor is not None and tensor.result is RESULTS.interrupted:
        return told_of(replace(rival, result=RESULTS.interrupted, stopped_by="budget"), context)
    others = [] if tensor is None else [(tensor, _error(tensor))]
    trees = _trees(min([process.left_out, *(error for _, error in others)]), state, context)
    others += [] if trees is None else [(trees, _error(trees))]
    least = min([process.left_out, *(error for _, error in others)])
    if _worth_more(process, least, context):
        planned = finish(run(state, context), context)
        if planned.result is RESULTS.interrupted:
            return told_of(planned, context)
        others.append((planned, _error(planned)))
    else:
        context.say(f"Nothing more is tried: the error at rows left out is {least:.2g}.")
    return told_of(_best(process, rival, others, context), context)


def _error(solution: Solution) -> float:
    """The error at rows not seen."""
    return solution.accuracy.left_out or solution.accuracy.validation_error or np.inf


def _best(process: TableProcess, rival: Solution, others: list[tuple[Solution, float]], context: Context) -> Solution:
    """The process, or what rows not seen prefer to it, with all that was tried."""
    least = min((error for _, error in _admitted(process, others)), default=np.inf)
    better = _tells_less(process, least)
    chosen = rival if better else next(solution for solution, error in others if error == least)
    each = [*others, (rival, process.left_out)]
    ends = np.diff([solution.seconds_total for solution, _ in ((rival, 0.0), *others)])
    seconds = [*ends, rival.seconds_total]
    candidates = [
        _candidate(solution, error, float(own), solution is chosen)
        for (solution, error), own in zip(each, seconds, strict=True)
    ]
    if others:
        errors = ", ".join(f"{error:.2g} of {solution.field_kind}" for solution, error in each)
        context.say(f"Chosen by errors at rows not seen, {errors}: {chosen.field_kind}.")
    compiled = compile_seconds() - context.compiled
    return replace(
        chosen,
        candidates=candidates,
        seconds_total=context.elapsed,
        seconds_compile=compiled,
        processes={next(iter(chosen.problem.functions)): process.found},
    )


def _admitted(process: TableProcess, others: list[tuple[Solution, float]]) -> list[tuple[Solution, float]]:
    """Those among which is chosen: trees, which have no slopes, only where they tell clearly more than all others."""
    smooth = [(solution, error) for solution, error in others if solution.field_kind != TREES]
    least = min(process.beyond_noise(error) for error in (process.left_out, *(error for _, error in smooth)))
    clear = [one for one in others if one not in smooth and process.beyond_noise(one[1]) < CLEARLY**2 * least]
    return [*smooth, *clear]


def _tells_less(process: TableProcess, own: float) -> bool:
    """Whether a field with the error `own` at rows not seen tells less than the process.

    The mean of the values, where a process finds nothing but noise, is only left for what tells clearly more.
    """
    if process.process.silent:
        return own > CLEARLY * process.left_out
    return process.beyond_noise(process.left_out) < CLEARLY**2 * process.beyond_noise(own)


def _candidate(solution: Solution, error: float, seconds: float, chosen: bool) -> Candidate:
    return Candidate(next(iter(solution.problem.functions)), solution.field_kind, error, seconds, chosen)


def _process(state: RunState, context: Context) -> TableProcess | None:
    """The process of the output; none where another kind of field is planned that many rows suit better."""
    problem = context.problem
    if not context.plan.rivals or len(problem.functions) > 1:
        return None
    rows = sum(len(term.points) for term in problem.terms if isinstance(term, Data))
    few = problem.domain.dim <= GRID_DIMENSIONS
    if few and rows > ALL:
        return None
    steps = 0.0 if few and rows <= MOST else SHARE * context.budget
    end = context.elapsed + LONGEST * (context.budget - context.elapsed)
    patience = ProcessLimits(PATIENCE * context.budget, lambda: context.elapsed > end)
    return table_process(problem, next(iter(problem.functions)), steps, patience, state.process)


def _worth_more(process: TableProcess, least: float, context: Context) -> bool:
    """Whether the planned field is tried as well where others have come to an error."""
    if context.budget < SHORT:
        return False
    many, good = len(process.rows.points) >= MANY, max(WORTH, NOISE * process.noise)
    return context.problem.domain.dim <= GRID_DIMENSIONS or (many and least > good)


def _tensor(process: TableProcess, context: Context) -> Solution | None:
    """A low-rank tensor as a solution, where it may tell more: sums of products need no rows nearby.

    What a process takes for noise may be what is too far from its rows, so noise is no reason against it.
    """
    enough = len(process.rows.points) >= MANY and process.left_out > PRODUCTS and context.budget >= SHORT
    if context.problem.domain.dim <= GRID_DIMENSIONS or not enough:
        return None
    plan = replace(planned_for(context.asked, Tensor(), key=context.key), units=context.plan.units).seeded(context.key)
    end = context.elapsed + HALF * (context.budget - context.elapsed)
    within = replace(
        context, plan=plan, sequence=ProblemSequence.of(context.problem, plan, context.key), budget=end,
        emit=EventDispatcher(()), made=Objectives(),
    )  # fmt: skip
    return finish(run(begin(within), within), within)


def _trees(least: float, state: RunState, context: Context) -> Solution | None:
    """Boosted trees as a solution, where others have come to an error that steps and corners in the values may be."""
    terms = context.problem.data_of(next(iter(context.problem.functions)))
    points, values = np.concatenate([t.points for t in terms]), np.concatenate([t.values for t in terms]).ravel()
    if len(points) < MANY or least <= WORTH or context.budget < SHORT or context.over:
        return None
    end = context.elapsed + HALF * (context.budget - context.elapsed)
    parts = folds(belonging(terms), FOLDS, np.random.default_rng(0))
    count, square = validated(points, values, parts, lambda: context.elapsed > end)
    made, variance = boosted(points, values, count, lambda: context.over), float(np.var(values))
    splits = Splits(jnp.asarray(made.inputs), jnp.asarray(made.thresholds))
    field = Trees(jnp.asarray(made.mean), jnp.asarray(made.values), splits)
    loss, error = 0.5 * float(np.mean((made.at(points) - values) ** 2)) / variance, float(np.sqrt(square / variance))
    level = Visited(field, None, loss, count, len(points), 0.0, 0.0, float(count * len(points)), error)
    return _of_one_level(level, TREES, ("boosting", "tree by tree"), state, context)


def _kriging(process: TableProcess, state: RunState, context: Context) -> Solution:
    """The process as a solution."""
    count, error = len(process.rows.points), process.left_out
    level = Visited(process.field, None, process.loss, 0, count, 0.0, 0.0, float(count) ** 3, error)
    kind = LOGARITHMIC if process.scale.sign else KRIGING
    return _of_one_level(level, kind, ("maximum likelihood", "from few rows to all"), state, context)


def _of_one_level(level: Visited, kind: str, how: tuple[str, str], state: RunState, context: Context) -> Solution:
    """The solution whose only level has a field of the output; `how`: its solver and cycle.

    The error of the level is that of rows left out, all once.
    """
    problem, discrete = context.problem, context.problem_of(state)
    name = next(iter(problem.functions))
    field = Unknowns(**{name: level.field}) if problem.named else level.field
    seconds, compiled = context.elapsed, compile_seconds() - context.compiled
    level = level._replace(field=field, seconds=seconds, seconds_compile=compiled)
    guards = guarded(discrete, {0: level}, {}, 0, field, context.key, False, level.validation)
    reached = discrete.accuracy(field)
    solution = replace(
        account(state._replace(visited={0: level}, easier=()), context, 0, field),
        result=verdict(guards),
        stopped_by="converged",
        levels=[level.record(0, reached.relative_l2)],
        guards=guards,
        solver=how[0],
        cycle=how[1],
        field_kind=kind,
        accuracy=replace(
            reached,
            validation_error=level.validation,
            left_out=level.validation,
            over_box=value_of(guards, "everywhere"),
        ),
        seconds_total=context.elapsed,
        seconds_compile=compile_seconds() - context.compiled,
        second_order=False,
        changes=[],
    )
    return in_the_users_units(solution, context)
