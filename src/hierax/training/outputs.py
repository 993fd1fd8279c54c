"""Tables with several outputs: each is fitted on its own, with its share of the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from hierax._results import RESULTS
from hierax.clock import compile_seconds, seconds_now
from hierax.events import (
    AbstractWatcher,
    Decision,
    Event,
    EventDispatcher,
    Guard,
    LevelFinished,
    LevelStarted,
    RunFinished,
    RunStarted,
    StepTaken,
    Subscriber,
)
from hierax.fields import Unknowns
from hierax.problems.keys import seed_of
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.results.solution import Accuracy, Solution

PLAN = "Outputs: {}, each fitted on its own with its share of the budget."


def train_outputs(
    problem: Problem,
    train: Callable[..., Solution],
    *,
    key: int | jax.Array = 0,
    budget: float = 60.0,
    subscribers: Iterable[Subscriber] = (),
) -> Solution:
    """Fit every output of a table by itself, and join what comes out.

    Parameters
    ----------
    problem:
        A table with several outputs; see `hierax.planning.data.is_table`.
    train:
        `hierax.train`.
    key, budget, subscribers:
        As there. Watchers of steps, which are told of one problem, see nothing.

    Returns
    -------
    One solution: its guards are for each question the worst of all outputs, its errors root mean squares over them.
    """
    began, compiled = seconds_now(), compile_seconds()
    emit = EventDispatcher(tuple(s for s in subscribers if not isinstance(s, AbstractWatcher)))
    emit(RunStarted(problem.name, PLAN.format(", ".join(problem.functions)), budget))
    found: dict[str, Solution] = {}
    for number, name in enumerate(problem.functions):
        left = max(budget - (seconds_now() - began), 0.1)
        emit(Decision(f"Output {name}:"))
        heard = _Told(emit, sum(len(solution.levels) for solution in found.values()))
        one, seed = output_of(problem, name), seed_of(key, 400 + number)
        found[name] = train(one, key=seed, budget=left / (len(problem.functions) - number), subscribers=(heard,))
        if found[name].result is RESULTS.interrupted:
            break
    seconds = seconds_now() - began, compile_seconds() - compiled
    solution = _joined(problem, found, key if isinstance(key, int) else -1, *seconds)
    emit(RunFinished(solution.result, solution.stopped_by, solution.guards, seconds[0]))
    return solution


def output_of(problem: Problem, name: str) -> Problem:
    """The problem of one of its outputs."""
    terms = [t for t in problem.terms if isinstance(t, Data) and problem.data_unknown(t) == name]
    whole = problem.reference
    known = None if whole is None else whole.named().get(name)
    reference = None if whole is None or known is None else type(whole)({name: known}, whole.error_bound)
    return Problem(
        problem.domain, terms, unknowns={name: problem.functions[name]}, reference=reference, name=problem.name
    )


class _Told:
    """Passes on what happens to one output, its levels counted on from those before."""

    def __init__(self, emit: EventDispatcher, before: int) -> None:
        self.emit, self.before = emit, before

    def __call__(self, event: Event) -> None:
        if isinstance(event, LevelStarted | StepTaken):
            self.emit(replace(event, level=self.before + event.level))
        elif isinstance(event, LevelFinished):
            record = replace(event.record, level=self.before + event.record.level)
            self.emit(replace(event, record=record))
        elif isinstance(event, Decision):
            self.emit(event)


def _joined(problem: Problem, found: Mapping[str, Solution], seed: int, seconds: float, compiled: float) -> Solution:
    all_of = list(found.values())
    levels, history = [], []
    for name, solution in found.items():
        history += [replace(step, level=len(levels) + step.level) for step in solution.history]
        levels += [replace(row, level=len(levels) + k, note=name) for k, row in enumerate(solution.levels)]
    bad = [s.result for s in all_of if s.result.exit_code]
    kinds = dict.fromkeys(s.field_kind for s in all_of)
    return replace(
        all_of[0],
        problem=problem,
        field=Unknowns(**{name: solution.field.parts[name] for name, solution in found.items()}),
        result=max(bad, key=lambda r: r.exit_code == 2) if bad else RESULTS.successful,
        stopped_by="budget" if any(s.stopped_by == "budget" for s in all_of) else all_of[0].stopped_by,
        levels=levels,
        guards=_worst(found),
        history=history,
        plan="\n".join([PLAN.format(", ".join(found)), *(f"{name}: {s.plan}" for name, s in found.items())]),
        solver=", ".join(dict.fromkeys(s.solver for s in all_of)),
        cycle=", ".join(dict.fromkeys(s.cycle for s in all_of)),
        field_kind=", ".join(kinds),
        seed=seed,
        linear_in_parameters=all(s.linear_in_parameters for s in all_of),
        parameters=sum(s.parameters for s in all_of),
        loss=float(np.mean([s.loss for s in all_of])),
        accuracy=_errors([s.accuracy for s in all_of]),
        seconds_total=seconds,
        seconds_compile=compiled,
        work_units=sum(s.work_units for s in all_of),
        changes=[],
        candidates=[candidate for s in all_of for candidate in s.candidates],
    )


def _errors(each: list[Accuracy]) -> Accuracy:
    """The largest errors against references, root mean squares of those at data."""

    def over(name: str, joined: Callable[[list[float]], Any]) -> float | None:
        known = [value for accuracy in each if (value := getattr(accuracy, name)) is not None]
        return float(joined(known)) if known else None

    def size(values: list[float]) -> float:
        return float(np.sqrt(np.mean(np.square(values))))

    return Accuracy(
        over("relative_l2", max), over("max_error", max), over("floor", max), over("validation_error", size),
        over("left_out", size),
    )  # fmt: skip


def _worst(found: Mapping[str, Solution]) -> dict[str, Guard]:
    """Of every question the judgement that failed, or came nearest to it, with the output that it is about."""
    worst: dict[str, Guard] = {}
    for output, solution in found.items():
        for name, guard in solution.guards.items():
            said = replace(guard, sentence=f"{output}: {guard.sentence}")
            if name not in worst or _nearness(said) > _nearness(worst[name]):
                worst[name] = said
    return worst


def _nearness(guard: Guard) -> tuple[bool, float]:
    return not guard.passed, (guard.value or 0.0) / guard.limit
