"""Going on with a run that was cut off, to the same bits as without the interruption."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, final

import numpy as np

from hierax._errors import InputError
from hierax.devices import Devices, dividing, first, gathered, leads
from hierax.events import Subscriber
from hierax.planning.choose import plan as planned
from hierax.planning.plan import Plan
from hierax.planning.words import chosen
from hierax.problems.problem import Problem
from hierax.records.fingerprint import fingerprint, plan_print
from hierax.records.folder import Folder, as_written
from hierax.records.recorded import recorded_source
from hierax.records.run import Run
from hierax.records.sources import AbstractSource
from hierax.records.user_file import user_errors
from hierax.results.environment import EXACT, environment
from hierax.results.files import DAMAGED
from hierax.results.solution import Solution
from hierax.training.parts import PartsState
from hierax.training.state import RunState
from hierax.training.train import go_on, train

SAME = ("hierax", "Python", "packages", "device", "numbers")
"""What of its environment a run has to find again: the bits depend on it."""


@final
@dataclass(frozen=True, eq=False)
class Resumption:
    """A run folder, the state in it from which training goes on, and its problem and plan, found to be the same.

    Without a `state` nothing was reached, and training begins anew.
    """

    run: Run
    state: RunState | PartsState | None
    problem: Problem
    how: Plan | Mapping[str, Any]
    seed: int
    budget: float
    options: Mapping[str, Any]
    source: AbstractSource | None
    devices: Devices | None = None

    @classmethod
    def of(
        cls,
        path: Path,
        problem: Problem | str | None = None,
        *,
        plan: Plan | None = None,
        budget: float | None = None,
        state: int | None = None,
        devices: Devices | None = None,
    ) -> Resumption:
        """Read a folder and compare what it notes with what is there; see `resume`."""
        with as_written(path), dividing(devices):
            return replace(cls._read(path, problem, plan, budget, state), devices=devices)

    @classmethod
    def _read(
        cls, path: Path, problem: Problem | str | None, plan: Plan | None, budget: float | None, state: int | None
    ) -> Resumption:
        folder = Folder.open(path)
        settings = folder.settings
        options = settings.get("options") or {}
        anew = state is None and not folder.keeps_states and "field" in options
        number, record = (0, {"state": None, "events": 0}) if anew else folder.state(state)
        _refuse_other_versions(settings, path)
        source = None
        if not isinstance(problem, Problem):
            source = recorded_source(settings["source"], options, problem)
            problem = source.load()
        reached = record["state"]
        if not isinstance(reached, RunState | PartsState | None):
            raise InputError("The file does not hold a state of a training.", str(path), DAMAGED)
        with user_errors(source and source.file):
            _refuse_another_problem(problem, settings.get("prints") or {}, path)
            seed = options.get("seed", 0)
            words = chosen(options.get("field"), options.get("solver"), options.get("cycle"))
            how = {**words, "levels": options.get("levels")}
            # a training of several parts plans each of them when it comes to it
            plan = plan or (planned(problem, key=seed, **how) if isinstance(reached, RunState) else None)
        if not anew and ("" if plan is None else plan_print(plan.seeded(seed))) != record["plan"]:
            raise InputError(
                "The plan is not the one that the run was started with.",
                str(path),
                "Give the same plan: hx.resume(path, problem, plan=...).",
            )
        run = Run(path, folder.manifest)
        gathered(np.zeros(1))  # all processes have read before the first one writes
        if leads():
            run.goes_on(number, int(record["events"]))
        seconds = float(options.get("budget_seconds", 60.0)) if budget is None else budget
        return cls(run, reached, problem, plan or how, seed, seconds, options, source)

    def __call__(self, subscribers: Iterable[Subscriber] = ()) -> Solution:
        """Train on."""
        asked = {"key": self.seed, "budget": self.budget, "subscribers": (self.run, *subscribers)}
        asked["devices"] = self.devices
        with user_errors(self.source and self.source.file):
            if self.state is not None:
                return go_on(self.state, self.problem, self.how, **asked)
            how = self.how if isinstance(self.how, Mapping) else {"plan": self.how}
            return train(self.problem, **how, **asked)


def resume(
    path: str | PathLike[str],
    problem: Problem | str | None = None,
    *,
    plan: Plan | None = None,
    budget: float | None = None,
    state: int | None = None,
    subscribers: Iterable[Subscriber] = (),
    devices: Devices | None = None,
) -> Solution:
    """Go on with a run that was killed, interrupted, or ended by its budget, in its folder.

    The solution has the same bits as that of a run without the interruption, on the same machine: all decisions follow
    from counted work; only the end of the budget looks at a clock.

    Parameters
    ----------
    path:
        The run folder.
    problem:
        Needed where the problem is code: the `Problem`, or `FILE.py:OBJECT`. It is compared with what the folder notes.
    plan:
        That of the run, where it was started with one of its own.
    budget:
        Seconds in all, with those that were spent before; those of the run if not given.
    state:
        Number of a state before the last one.
    subscribers:
        As those of `hierax.train`.
    devices:
        Likewise; others than before, also of another number of processes, lead to the same but for rounding.

    Raises
    ------
    InputError
        For another problem, other data or another version than the run was started with, by name; for a folder that
        is damaged.
    """
    made = Resumption.of(Path(path), problem, plan=plan, budget=budget, state=state, devices=devices)
    try:
        solution = made(subscribers)
        if first(devices):
            made.run.write_solution(solution, solution.to_json(run=str(path)))
    finally:
        made.run.close()
    return solution


def _refuse_other_versions(settings: Mapping[str, Any], path: Path) -> None:
    was, now = settings.get("environment") or {}, environment()
    for name in SAME:
        old, new = (_exact(name, str(text)) for text in (was.get(name), now[name]))
        if old != new:
            raise InputError(
                f"The run was made with {', '.join(sorted(old - new)) or 'others'}; "
                f"here is {', '.join(sorted(new - old)) or 'less'} ({name}).",
                str(path),
                "Go on with the versions and the device of the run; with others the bits would not be the same.",
            )


def _exact(name: str, text: str) -> set[str]:
    """The parts of an entry that bits depend on."""
    parts = set(text.split(", "))
    return {part for part in parts if part.partition(" ")[0] in EXACT} if name == "packages" else parts


def _refuse_another_problem(problem: Problem, was: Mapping[str, str], path: Path) -> None:
    now = fingerprint(problem)
    other = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if other:
        raise InputError(
            f"The problem is not that of the run: {', '.join(other)} differ{'s' * (len(other) == 1)}.",
            str(path),
            "Give the problem as it was; for another one start another run.",
        )
