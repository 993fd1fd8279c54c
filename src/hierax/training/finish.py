"""The end of a training: the level that is returned is chosen, checked and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hierax._results import RESULTS
from hierax.checks.guards import verdict
from hierax.clock import compile_seconds
from hierax.cycles import Visit
from hierax.events import Guard, RunFinished
from hierax.results.solution import Solution
from hierax.training.account import account, in_the_users_units
from hierax.training.context import Context
from hierax.training.contradicted import counted
from hierax.training.corrections import sentence, unconfirmed
from hierax.training.cross_validation import left_out
from hierax.training.intervals import NOTHING, face_widths, half_widths, intervals
from hierax.training.other_constants import other_constants
from hierax.training.run import reported, visited, with_change
from hierax.training.second_start import another_solution
from hierax.training.selection import chosen, guarded, last_level
from hierax.training.state import RunState

LEFT_OUT = "{} were left out as outliers: the equations and all other values contradict them."
EXCEEDED = (
    "The residuals of {!r} are {:.2g} times the noise that was stated, which chance does not do. Intervals are by the "
    "residuals, and hold if noise was understated; if an equation is wrong, nothing here tells by how much."
)
MOVING = "The interval of {} is as wide as it is since finer levels still change the value, by more than noise does."


def finish(state: RunState, context: Context) -> Solution:
    """The solution of a training that has stopped."""
    state = _closed(state, context)
    discrete = context.problem_of(state)
    level, trained = returned(state, context)
    own, interrupted = state.visited.get(level), state.stopped == "interrupted"
    left = None if own is None or interrupted else left_out(discrete, own, context.key)
    over = state.stopped == "budget"
    widths = NOTHING if state.failure else half_widths(discrete, trained, own and own.state)
    widths = widths.wider(state.visited, state.changes, level) if own else widths
    finest = None if state.failure or own is None else state.visited[max(state.visited)]
    faces = face_widths(discrete, finest.field, finest.state) if finest else {}
    guards = guarded(
        discrete, state.visited, state.changes, level, trained, context.key, over, left, widths.halves, faces
    )
    result = RESULTS.interrupted if interrupted else state.failure or verdict(guards)
    reason = "budget" if interrupted else state.stopped or "budget"
    # what no term fixes has no interval: rounding decides where along it training came to
    free = "determined" in guards and not guards["determined"].passed
    found = {} if result.exit_code == 2 else intervals(discrete, trained, {} if free else widths.halves)
    wrong = {name: np.flatnonzero(which).tolist() for name, which in state.outliers.items() if which.any()}
    remarks = [LEFT_OUT.format(counted(state.outliers))] if wrong else []
    remarks += [EXCEEDED.format(name, ratio) for name, ratio in widths.exceeded.items()]
    remarks += [MOVING.format(" and ".join(widths.moving))] if widths.moving else []
    if result.exit_code == 0:
        others = (
            another_solution(discrete, state.visited, trained, context.clock),
            other_constants(discrete, state.visited, widths.halves, context.clock),
        )
        remarks += filter(None, others)
    seconds, compiled = context.elapsed, compile_seconds() - context.compiled
    reached = discrete.accuracy(trained)
    rows = [v.record(k, discrete.accuracy(v.field).relative_l2) for k, v in sorted(state.visited.items())]
    solution = replace(
        account(state, context, level, trained),
        result=result,
        stopped_by=reason,
        levels=[*context.sequence.rows(state.easier), *rows],
        guards=guards,
        accuracy=replace(
            reached, validation_error=own and own.validation, left_out=left, over_box=value_of(guards, "everywhere")
        ),
        fresh_residual_ratio=value_of(guards, "fresh_residual"),
        seconds_total=seconds,
        seconds_compile=compiled,
        unknowns=found,
        outliers=wrong,
        remarks=remarks,
    )
    return in_the_users_units(solution, context)


def value_of(guards: Mapping[str, Guard], name: str) -> float | None:
    """The number of a guard; `None` where its question does not arise."""
    return guards[name].value if name in guards else None


def told_of(solution: Solution, context: Context) -> Solution:
    """The solution, after those who watch were told that this is the end."""
    context.emit(RunFinished(solution.result, solution.stopped_by, solution.guards, context.elapsed))
    return solution


def _closed(state: RunState, context: Context) -> RunState:
    """After cycles that correct: the best parameters, and a coarser level to compare with, trained for itself."""
    if state.corrections is None:
        return state
    equations = bool(context.problem_of(state).equations.any())
    below = unconfirmed(state, equations) if state.failure is None and state.stopped != "interrupted" else None
    if below is not None:
        state = _trained_for_itself(state, below, context)
    assert state.corrections is not None
    context.say(sentence(state.corrections))
    state = state._replace(visited=context.stack(state).closed(state.corrections, state.visited))
    for level in sorted(state.visited):
        state = reported(state, level, context)
    return state


def _trained_for_itself(state: RunState, level: int, context: Context) -> RunState:
    assert state.corrections is not None
    levels = state.corrections.levels
    if level in levels:
        levels = {**levels, level: levels[level]._replace(above=None)}
    state = state._replace(corrections=state.corrections._replace(levels=levels))
    return with_change(visited(state, Visit(level), context), level + 1, context)


def returned(state: RunState, context: Context) -> tuple[int, Any]:
    """The finest level; with data the one with the smallest validation error, fitted again to all of them."""
    if not state.visited:
        if not state.easier:
            return 0, state.levels[0].field
        level, last = state.easier[-1]
        return level, last.field
    over = context.over or state.stopped == "interrupted"
    last = last_level(state, over)
    if state.failure is not None:
        return last, state.visited[last].field
    left = 0.0 if over else context.left(state).nominal
    return chosen(context.problem_of(state), state.visited, state.changes, last, left, context.emit)
