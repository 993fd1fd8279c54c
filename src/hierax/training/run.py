"""The one loop of a training: `advance` takes a state and returns the next one, after one action of the cycle."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from hierax import clock
from hierax._results import RESULTS
from hierax.clock import compile_seconds
from hierax.cycles import Action, Ascend, Descend, Done, Grow, NestedIteration, Outcome, Pace, Visit
from hierax.devices import agree_on
from hierax.events import LevelFinished, LevelStarted, Reached, RunStarted, StepTaken
from hierax.hierarchy import Level
from hierax.problems.keys import seed_of
from hierax.training.account import so_far, within_visit
from hierax.training.context import Context
from hierax.training.continuation import EASIER, leads_away, off_bounds
from hierax.training.corrections import corrected, solved
from hierax.training.discrete import Prepared
from hierax.training.moving_knots import moved
from hierax.training.refinement import Obstacle, growth, precision_reached, settled, wants_slabs, within_reach
from hierax.training.saddles import left_saddle
from hierax.training.second_start import left_minimum
from hierax.training.selection import place_of
from hierax.training.state import RunState, SlabsState, Visited, lasting
from hierax.training.time_slabs import FIRST_TOLERANCE, Sweep, TimeSlabs, next_sweep
from hierax.training.visit import initial_state, stepped

LADDER_LEVELS = 3
"""Levels on which equations may wait for a finer one."""


def begin(context: Context) -> RunState:
    """The state before the first action."""
    plan = context.plan
    context.emit(RunStarted(context.problem.name, plan.text, context.budget, context.problem, plan))
    return RunState.begin(context.plan, len(context.sequence.problems), context.sequence.first)


def run(state: RunState, context: Context) -> RunState:
    """Advance to the end, and tell of every level; an interruption keeps what the steps so far have led to."""
    try:
        while state.stopped is None:
            state = advance(state, replace(context, origin=state))
            agree_on([v.field for v in state.visited.values()])
            state = told(state, context)
            if _can_go_on(state, context):
                context.emit(Reached(state, functools.partial(so_far, state, context)))
    except KeyboardInterrupt:
        state = state._replace(stopped="interrupted")
    return state


def advance(state: RunState, context: Context) -> RunState:
    """One action: a visit, a way down or up, a further level, a sweep over time slabs, or the end."""
    if state.failure is not None:
        state = state._replace(stopped="stalled")
    elif state.slabs is not None:
        state = _swept(state, state.slabs, context)
    elif state.outcome is not None and context.over:
        context.say(f"The budget of {context.budget:g} s is spent.")
        state = state._replace(stopped="budget")
    else:
        state = _acted(state, context)
    if state.stopped not in (None, "interrupted"):
        state = _reached_the_last_problem(state, context)
    return state._replace(seconds=context.elapsed, seconds_compile=compile_seconds() - context.compiled)


def _can_go_on(state: RunState, context: Context) -> bool:
    """Whether a level was just trained, and no clock has had a part in it."""
    visited = state.slabs is not None or (state.outcome is not None and state.outcome.visited)
    return visited and state.stopped is None and state.failure is None and not context.over


def _is_news(level: int, context: Context) -> bool:
    """Whether steps on a level lead to more than was there before the present action."""
    return context.origin is not None and level >= max(context.origin.visited, default=0) and not context.over


def told(state: RunState, context: Context) -> RunState:
    """Tell of levels that were trained for themselves and not told of before."""
    for level in sorted(state.visited.keys() - state.reported.keys()):
        if not corrected(state.corrections, level):
            state = reported(state, level, context)
    return state


def reported(state: RunState, level: int, context: Context) -> RunState:
    """Tell of a level, unless nothing has changed since it was told of."""
    result = state.visited[level]
    if state.reported.get(level) == result.steps:
        return state
    context.emit(LevelFinished(result.record(level), result.field))
    return state._replace(reported={**state.reported, level: result.steps})


def _acted(state: RunState, context: Context) -> RunState:
    """What the cycle wants next, done."""
    outcome = _judged(state, context)
    cycle, action = context.plan.cycle.next(state.cycle, outcome)
    state = state._replace(cycle=cycle)
    if isinstance(action, Done) and outcome is not None and outcome.forecast is not None:
        context.say(f"The next level would {outcome.forecast}: stopped.")
    if isinstance(action, Grow) and outcome is not None:
        if outcome.obstacle is not None:
            action = Done(outcome.obstacle)
        elif why := wants_slabs(context.problem_of(state), outcome.level, state.changes, state.visited):
            context.say(why)
            return state._replace(slabs=SlabsState(why, FIRST_TOLERANCE))
    return state._replace(stopped=action.reason) if isinstance(action, Done) else _done(state, action, context)


def _judged(state: RunState, context: Context) -> Outcome | None:
    """The last outcome, with what the levels so far say against a finer one."""
    outcome = state.outcome
    if outcome is None or not outcome.visited:
        return outcome
    level = outcome.level
    if level not in state.visited or level < state.first or corrected(state.corrections, level):
        return outcome
    points = state.levels[level].points
    obstacle = settled(context.problem_of(state), level, state.visited, state.changes, points)
    return replace(outcome, obstacle=_reason(obstacle, context))


def _done(state: RunState, action: Action, context: Context) -> RunState:
    if isinstance(action, Visit):
        return visited(state, action, context)
    if isinstance(action, Descend | Ascend):
        return _moved(state, action, context)
    return _grown(state, context)


def _reached_the_last_problem(state: RunState, context: Context) -> RunState:
    """At the end: the last problem of a continuation on the present level, if it was not trained before."""
    if state.failure is not None or state.visited:
        return state
    if not context.over:
        state = visited(state._replace(first=state.current), Visit(state.current), context, last_chance=True)
    if state.failure is None and not state.visited:
        context.say("The budget ended before the last problem of the continuation was trained.")
        state = state._replace(failure=RESULTS.guard_levels)
    return state


# visits


def visited(state: RunState, visit: Visit, context: Context, last_chance: bool = False) -> RunState:
    """Train a level, before that with the easier problems that are its part of a continuation.

    Where the equations, once they weigh more, lead away from the data, the level is too coarse for them: unless this is
    the `last_chance`, they wait for the next one, which begins with the weight that they had.
    """
    level, sequence = visit.level, context.sequence
    state = state._replace(current=level, outcome=Outcome(level, len(state.levels)))
    may_wait = not last_chance and level < LADDER_LEVELS and isinstance(context.plan.cycle, NestedIteration)
    again = bool(state.easier) and level == state.first > sequence.first and state.easier[-1][0] < level
    while again or len(state.easier) < min(sequence.last(level, state.first) + 1, len(sequence.problems) - 1):
        before, number = state, len(state.easier) - again
        state, result = _trained(state, Visit(level, EASIER), number, context)
        if may_wait and not again and leads_away(context.problem_of(state, number), result, state.easier):
            return _waiting(before, state, context)
        state, again = state._replace(easier=(*state.easier[:number], (level, result))), False
        context.emit(LevelFinished(result.record(level), result.field))
        if state.failure is not None or state.stopped is not None or context.over:
            return state
    if level < state.first:
        return state
    after = _visited_last(state, visit, context)
    if may_wait and not state.visited and leads_away(context.problem_of(after), after.visited[level], state.easier):
        return _waiting(state, after, context)
    return after


def _waiting(before: RunState, after: RunState, context: Context) -> RunState:
    """The state before equations weighed more, which they will do on the next level."""
    context.say(f"Level {before.current}: the equations lead away from the data, and wait for a finer level.")
    return before._replace(first=before.current + 1, history=after.history)


def _visited_last(state: RunState, visit: Visit, context: Context) -> RunState:
    """Train a level with the problem that is asked for."""
    level = visit.level
    state, result = _trained(state, visit, len(context.sequence.problems) - 1, context)
    if state.failure is None and state.corrections is None and state.stopped is None:
        state, result = _with_moves(state, visit, result, context)
    state = state._replace(visited={**state.visited, level: result})
    state = concluded(state, level, result.loss, context)
    return state._replace(outcome=replace(state.outcome, pace=result.pace))  # pyright: ignore


def concluded(state: RunState, level: int, value: float, context: Context) -> RunState:
    """The outcome of a visit or a way up; corrected problems are a means only, and nothing is concluded from them."""
    if not corrected(state.corrections, level):
        state = with_change(state, level, context)
    change = None if corrected(state.corrections, level) else state.changes.get(level)
    return state._replace(outcome=Outcome(level, len(state.levels), True, change, value=value))


def with_change(state: RunState, level: int, context: Context) -> RunState:
    """With the difference of a level from the one before, where both were trained for themselves."""
    # a coarse problem that was only ever corrected says nothing about refinement: it has seen the finer level
    if level - 1 not in state.visited or not solved(state.corrections, level - 1):
        return state
    # nor does a level that the budget left as it was prolonged
    if context.over and state.visited[level].steps == 0:
        return state
    change = context.problem_of(state).change(state.visited[level].field, state.visited[level - 1].field)
    return state._replace(changes={**state.changes, level: change})


def _trained(
    state: RunState, visit: Visit, number: int, context: Context, start: Prepared | None = None
) -> tuple[RunState, Visited]:
    """Train a level with one problem of the sequence."""
    level, began, compiled = visit.level, clock.seconds_now(), compile_seconds()
    stacked = state.corrections is not None and number == len(context.sequence.problems) - 1
    state, made = (state, start) if start else _prepared(state, level, number, context, stacked)
    discrete = context.problem_of(state, number)
    points = sum(s.count for s in made.objective.samples)
    context.emit(LevelStarted(level, len(made.theta), points))
    solver = context.plan.solver
    first = initial_state(solver, made, level, state.known, state.transfers)

    def seen(step: StepTaken, view: Prepared, sentence: str) -> None:
        context.emit(step, view)
        context.say(f"Level {step.level}, step {step.step}: {sentence}" if sentence else "")
        if number == len(context.sequence.problems) - 1 and _is_news(level, context):
            made_so_far = functools.partial(within_visit, context, step, view, points)
            context.emit(Reached(context.origin, made_so_far, within=True))

    visit, unit = within_reach(discrete, visit), made.objective.work
    done = stepped(discrete, made, first, visit, context.clock, seen)
    stopped = "interrupted" if done.interrupted else state.stopped
    state = state._replace(history=(*state.history, *done.taken), failure=done.failure, stopped=stopped)
    if done.failure is not None:
        place = place_of(discrete, done.failure, level, done.steps, made.objective, done.theta)
        context.say(f"{place}: {done.failure.value}")
    trained = made.build(done.theta)
    result = Visited(
        trained, lasting(solver, done.state), float(done.value), done.steps, points, clock.seconds_now() - began,
        compile_seconds() - compiled, done.steps * unit, discrete.validation_error(trained),
        context.sequence.notes[number], Pace(done.steps * unit, done.brought / unit, done.promise),
    )  # fmt: skip
    if not stacked:
        return state, result
    assert state.corrections is not None
    stack = context.stack(state)
    corrections = stack.noted(state.corrections, level, done.theta, result.loss)
    result = stack.kept(corrections, level, result, state.visited.get(level))
    return state._replace(corrections=corrections), result


def _prepared(state: RunState, level: int, number: int, context: Context, stacked: bool) -> tuple[RunState, Prepared]:
    """Objective and start of a visit, and the factor of the equations where this is the first one."""
    state = _balanced(state, level, number, context)
    if not stacked:
        discrete, start = context.problem_of(state, number), carried(state, level, context)
        start = start if state.visited or not state.easier else off_bounds(discrete, start)
        return state, discrete.prepare(start, points=state.levels[level].points)
    assert state.corrections is not None
    stack = context.stack(state)
    corrections = stack.entered(state.corrections, level, carried(state, level, context))
    return state._replace(corrections=corrections), stack.prepared(corrections, level)


def _balanced(state: RunState, level: int, number: int, context: Context) -> RunState:
    """With the factor of a problem's equations against its data, fixed where it is met first."""
    discrete = context.problem_of(state, number)
    if state.scales[number] is not None or not discrete.weighs_data:
        return state
    scale = discrete.equation_factor(carried(state, level, context), state.levels[level].points)
    return state._replace(scales=(*state.scales[:number], scale, *state.scales[number + 1 :]))


def carried(state: RunState, level: int, context: Context) -> Any:
    """The field a visit starts from: its own on a revisit, else the prolonged coarser one, else the initial one."""
    known = state.known
    if level in known:
        return known[level].field
    if level - 1 in known and level - 1 < len(state.transfers):
        coarse, fine = known[level - 1].field, state.levels[level].field
        return context.problem_of(state).prolonged(state.transfers[level - 1], coarse, fine)
    return state.levels[level].field


def _with_moves(state: RunState, visit: Visit, result: Visited, context: Context) -> tuple[RunState, Visited]:
    """A level after it left a saddle and its knots were moved, where they are; what failed is taken back."""
    now, number = [state], len(context.sequence.problems) - 1

    def train(start: Prepared) -> Visited:
        now[0], trial = _trained(now[0], visit, number, context, start)
        return trial

    def may_go_on(sentence: str) -> bool:
        context.say(sentence)
        return now[0].failure is None and now[0].stopped is None and not context.over

    if not state.visited:
        result = left_saddle(context.problem_of(state), result, train, may_go_on)
    seen = {**state.visited, visit.level: result}
    result = left_minimum(context.problem_of(state), seen, visit.level, train, may_go_on, context.clock)
    result = moved(context.problem_of(state), result, train, may_go_on)
    return now[0]._replace(failure=None), result


# further levels


def _moved(state: RunState, action: Descend | Ascend, context: Context) -> RunState:
    """A way down to a corrected coarser level, or up again."""
    assert state.corrections is not None
    level, number = action.level, len(context.sequence.problems) - 1
    state, _ = _prepared(state, level, number, context, True)
    stack, corrections = context.stack(state), state.corrections
    assert corrections is not None
    if isinstance(action, Descend):
        start = carried(state, level - 1, context)
        corrections, value = stack.descended(corrections, action, start)
        return concluded(state._replace(corrections=corrections), level - 1, value, context)
    corrections, record, value = stack.ascended(corrections, action, state.visited)
    if record is not None:
        state = state._replace(visited={**state.visited, level: record})
    return concluded(state._replace(corrections=corrections), level, value, context)


def _grown(state: RunState, context: Context) -> RunState:
    """A finer level where size and time allow; otherwise the outcome says why not."""
    last = len(state.levels) - 1
    done, own = state.known[last], jax.random.key(seed_of(context.key, 100 + last))
    coarse = Level(done.field, state.levels[last].points)
    found = growth(context.problem_of(state), coarse, done, state.changes, own, context.left(state))
    reason = _reason(found.obstacle, context)
    if reason is not None:
        return state._replace(outcome=Outcome(last, len(state.levels), False, obstacle=reason))
    levels, transfers = (*state.levels, found.finer), (*state.transfers, found.transfer)
    outcome = Outcome(last + 1, len(levels), False, forecast=found.promise)
    return state._replace(levels=levels, transfers=transfers, outcome=outcome)


def _reason(obstacle: Obstacle | None, context: Context) -> str | None:
    """The reason for the cycle, the sentence for those who watch."""
    if obstacle is None:
        return None
    context.say(obstacle.sentence)
    return obstacle.reason


def _swept(state: RunState, slabs: SlabsState, context: Context) -> RunState:
    """A sweep over time slabs, which is a level; after others with the tolerance that counted work allows."""
    if slabs.slabs:
        following = next_sweep(slabs, context.left(state).nominal)
        if following.reason is not None:
            return _ended_slabs(state, following, context)
        slabs = following.state
    began, compiled, level = clock.seconds_now(), compile_seconds(), state.finest + 1
    taken: list[StepTaken] = []

    def seen(count: int, loss: float) -> None:
        taken.append(StepTaken(level, count, loss, np.inf, context.elapsed))
        context.emit(taken[-1])

    sweep = TimeSlabs.of(context.problem_of(state), lambda: context.budget - context.elapsed, seen).swept(slabs)
    state = state._replace(history=(*state.history, *taken), slabs=sweep.state)
    if sweep.field is None:
        return state if sweep.reason is None else _ended_slabs(state, sweep, context)
    done = sweep.state.slabs
    record = Visited(
        sweep.field, None, sum(s.loss for s in done), sum(s.steps for s in done), sum(s.points for s in done),
        clock.seconds_now() - began, compile_seconds() - compiled, sum(s.work for s in done), None,
    )  # fmt: skip
    state = with_change(state._replace(visited={**state.visited, level: record}, current=level), level, context)
    # a sweep may refine few slabs; where others begin beside the end of those before, it has changed too little
    change = max(state.changes[level], sum(slab.jump for slab in done))
    state = state._replace(changes={**state.changes, level: change})
    if precision_reached(level, state.changes):
        return state._replace(stopped="converged")
    if isinstance(context.plan.cycle, NestedIteration) and len(state.visited) == context.plan.cycle.most:
        return state._replace(stopped="levels")
    return state


def _ended_slabs(state: RunState, sweep: Sweep, context: Context) -> RunState:
    """The last sweep was made; the levels before looked unsettled, and without a sweep nothing confirms them."""
    context.say(sweep.sentence)
    failure = state.failure if sweep.state.slabs else RESULTS.guard_levels
    return state._replace(stopped=sweep.reason, failure=failure)
