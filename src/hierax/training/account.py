"""What is known of a training without asking anything of its field: who did what, how long, and how far it came."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hierax._results import RESULTS
from hierax.events import StepTaken, View
from hierax.fields import linear_in_parameters, parameter_count
from hierax.fields.foreign import released
from hierax.planning.plan import Plan, named
from hierax.results.solution import Accuracy, Solution
from hierax.training.context import Context
from hierax.training.refinement import LABEL
from hierax.training.restoring import restored
from hierax.training.state import RunState, Visited


def so_far(state: RunState, context: Context) -> Solution:
    """The solution of a training that would be interrupted now: its last level, unchecked and not measured.

    Of a table it is kriging, as long as nothing has been found to be better.
    """
    if context.rival is not None:
        return replace(context.rival, result=RESULTS.interrupted, stopped_by="budget")
    if state.visited:
        level = state.current if state.current in state.visited else state.finest
        return in_the_users_units(account(state, context, level, state.visited[level].field), context)
    level, easier = state.easier[-1]
    return in_the_users_units(account(state, context, level, easier.field), context)


def within_visit(context: Context, step: StepTaken, view: View, points: int) -> Solution:
    """The solution of a training that would be interrupted after a step of a visit, its level as far as it came."""
    origin, level, field = context.origin, step.level, view.build(view.theta)
    assert origin is not None
    if context.rival is not None:
        return so_far(origin, context)
    reached = Visited(field, None, step.loss, step.step, points, context.elapsed - origin.seconds, 0.0, 0.0, None)
    state = origin._replace(visited={**origin.visited, level: reached}, current=level, seconds=context.elapsed)
    return in_the_users_units(account(state, context, level, field), context)


def account(state: RunState, context: Context, level: int, trained: Any) -> Solution:
    """A solution without guards and errors, in the units of the training."""
    plan, own, field = _plan(state, context), state.visited.get(level), released(trained)
    return Solution(
        problem=context.problem,
        field=field,
        result=RESULTS.interrupted,
        stopped_by=state.stopped or "budget",
        levels=[visited.record(k) for k, visited in (*state.easier, *sorted(state.visited.items()))],
        guards={},
        history=list(state.history),
        plan=plan.text,
        solver=named(plan.solver),
        cycle=named(plan.cycle),
        field_kind=plan.label or type(field).__name__,
        seed=context.seed,
        linear_in_parameters=linear_in_parameters(trained),
        parameters=parameter_count(trained),
        loss=float("nan") if own is None else own.loss,
        accuracy=Accuracy(validation_error=own and own.validation),
        fresh_residual_ratio=None,
        seconds_total=state.seconds,
        seconds_compile=state.seconds_compile,
        work_units=state.work,
        second_order=plan.solver.second_order,
        linear_problem=plan.linear,
        changes=[state.changes[k] for k in sorted(state.changes)],
    )


def in_the_users_units(solution: Solution, context: Context) -> Solution:
    """The solution of the problem as it was asked."""
    units = context.plan.units
    return solution if units is None else restored(solution, context.asked, units)


def _plan(state: RunState, context: Context) -> Plan:
    """What was done: the plan, with time slabs where these took over."""
    plan = context.plan
    return replace(plan, label=LABEL, reasons=(*plan.reasons, state.slabs.why)) if state.slabs else plan
