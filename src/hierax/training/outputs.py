"""Tables with several outputs: each is fitted on its own, with its share of the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from hierax._results import RESULTS
from hierax.events import Decision, Event, Guard, LevelFinished, LevelStarted, Reached, StepTaken
from hierax.fields import Unknowns
from hierax.planning.choose import plan as planned
from hierax.problems.keys import seed_of
from hierax.problems.outputs import of_outputs
from hierax.problems.problem import Problem
from hierax.results.solution import Accuracy, Solution
from hierax.training.parts import AbstractParts, Asked, PartsState
from hierax.training.rivals import carried_out

PLAN = "Outputs: {}, each fitted on its own with its share of the budget."


@final
@dataclass(frozen=True, eq=False)
class OutputFits(AbstractParts):
    """The fits of all outputs of a table, each by itself.

    Parameters
    ----------
    problem:
        A table with several outputs; see `hierax.planning.data.is_table`.
    asked:
        As of `hierax.train`. Watchers of steps, which are told of one problem, should see nothing.
    """

    problem: Problem
    asked: Asked

    @property
    def text(self) -> str:
        return PLAN.format(", ".join(self.problem.functions))

    @property
    def count(self) -> int:
        return len(self.problem.functions)

    def trained(self, state: PartsState) -> Solution:
        name, asked = list(self.problem.functions)[state.current], self.asked
        asked.emit(Decision(f"Output {name}:"))
        before = 0.0 if state.within is None else state.within.seconds
        share = max(asked.budget - asked.seconds + before, 0.1) / (self.count - state.current)
        one, seed = of_outputs(self.problem, [name]), seed_of(asked.key, 400 + state.current)
        found = carried_out(
            one, planned(one, key=seed), key=seed, budget=share, subscribers=(_Told(self, state.done),),
            state=state.within,
        )  # fmt: skip
        # the problem of an output follows from that of all
        return replace(found, problem=None)

    def ended_by(self, part: Solution) -> str:
        return "interrupted" if part.result is RESULTS.interrupted else part.stopped_by

    def joined(self, done: tuple[Solution, ...]) -> Solution:
        """One solution: its guards are for each question the worst of all outputs, its errors root mean squares."""
        names = list(self.problem.functions)[: len(done)]
        found = dict(zip(names, done, strict=True))
        levels, history = [], []
        for name, one in found.items():
            history += [replace(step, level=len(levels) + step.level) for step in one.history]
            levels += [replace(row, level=len(levels) + k, note=name) for k, row in enumerate(one.levels)]
        bad = [one.result for one in done if one.result.exit_code]
        return replace(
            done[0],
            problem=of_outputs(self.problem, names),
            field=Unknowns(**{name: one.field.parts[name] for name, one in found.items()}),
            result=max(bad, key=lambda r: r.exit_code == 2) if bad else RESULTS.successful,
            stopped_by="budget" if any(one.stopped_by == "budget" for one in done) else done[0].stopped_by,
            levels=levels,
            guards=_worst(found),
            history=history,
            plan="\n".join([self.text, *(f"{name}: {one.plan}" for name, one in found.items())]),
            solver=", ".join(dict.fromkeys(one.solver for one in done)),
            cycle=", ".join(dict.fromkeys(one.cycle for one in done)),
            field_kind=", ".join(dict.fromkeys(one.field_kind for one in done)),
            seed=self.asked.seed,
            linear_in_parameters=all(one.linear_in_parameters for one in done),
            parameters=sum(one.parameters for one in done),
            loss=float(np.mean([one.loss for one in done])),
            accuracy=_errors([one.accuracy for one in done]),
            seconds_total=self.asked.seconds,
            seconds_compile=self.asked.seconds_compile,
            work_units=sum(one.work_units for one in done),
            changes=[],
            candidates=[candidate for one in done for candidate in one.candidates],
            processes={name: process for one in done for name, process in one.processes.items()},
        )


class _Told:
    """Passes on what happens to one output, its levels counted on from those before, its states with what is done."""

    def __init__(self, parts: OutputFits, done: tuple[Solution, ...]) -> None:
        self.parts, self.done, self.emit = parts, done, parts.asked.emit
        self.before = sum(len(solution.levels) for solution in done)

    def __call__(self, event: Event) -> None:
        if isinstance(event, LevelStarted | StepTaken):
            self.emit(replace(event, level=self.before + event.level))
        elif isinstance(event, LevelFinished):
            record = replace(event.record, level=self.before + event.record.level)
            self.emit(replace(event, record=record))
        elif isinstance(event, Reached):
            state = self.parts.now(self.done, event.state)
            self.emit(Reached(state, lambda: self.parts.solution((*self.done, event.solution())), event.within))
        elif isinstance(event, Decision):
            self.emit(event)


def _errors(each: list[Accuracy]) -> Accuracy:
    """The largest errors against references, root mean squares of those at data."""

    def over(name: str, joined: Callable[[list[float]], Any]) -> float | None:
        known = [value for accuracy in each if (value := getattr(accuracy, name)) is not None]
        return float(joined(known)) if known else None

    def size(values: list[float]) -> float:
        return float(np.sqrt(np.mean(np.square(values))))

    return Accuracy(
        over("relative_l2", max), over("max_error", max), over("floor", max), over("validation_error", size),
        over("left_out", size), over("over_box", size),
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
