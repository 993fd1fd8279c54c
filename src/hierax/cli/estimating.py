"""The command that estimates a random quantity from a simulator in a user's file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import tyro
from rich.console import Console

from hierax._errors import InputError
from hierax.cli.codes import FAILED, GUARD_FAILED
from hierax.cli.telling import discarded, tell
from hierax.models.family import Family
from hierax.models.family_levels import FamilyLevels
from hierax.models.leveled import AbstractLeveled
from hierax.records.options import check_budget
from hierax.records.outputs import check_output
from hierax.records.run import Run
from hierax.records.settings import call_with
from hierax.records.sources import checksum
from hierax.records.user_file import object_of_file, user_errors
from hierax.results.record import plain
from hierax.statistics import Estimate, Mean, Probability, Quantile, Simulator, Variance, estimate
from hierax.statistics.asked import quantity_of
from hierax.statistics.estimating import State
from hierax.statistics.quantities import AbstractStatistic

RECORD = "estimate.json"
"""What came out, in a run folder."""


@final
@dataclass(frozen=True)
class Estimating:
    """Estimate the mean, the variance, a probability or a quantile of a random quantity that is simulated on levels."""

    simulator: tyro.conf.Positional[str]
    """FILE.py:OBJECT, a hx.Simulator, hx.Simulation or hx.Family, or a function that returns one."""
    quantity: str | None = None
    """Of a hx.Family: "u at x=0.6", "mean(u)", "max(u)" or "min(u)"."""
    set: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """KEY=VALUE: settings of the function."""
    tolerance: float | None = None
    """Root mean square error that is wanted, in the units of the quantity; the budget decides if not given."""
    budget_seconds: float = 60.0
    """Seconds after which it ends with what it has; units of cost where the simulator states costs."""
    variance: bool = False
    """Estimate the variance and not the mean."""
    above: float | None = None
    """Estimate the probability of a value above this one."""
    quantile: float | None = None
    """Estimate the value that is not exceeded with this probability."""
    seed: int = 0
    """Seed of all samples."""
    run: Path | None = None
    """Run folder, new or empty; runs/<name>-<number> if not given."""
    json: Path | None = None
    """File for the record as JSON."""
    force: bool = False
    """Let --json overwrite an input or a file of another run."""

    def __call__(self, console: Console) -> int:
        check_budget(self.budget_seconds)
        statistic = self._statistic()
        text, _, name = self.simulator.rpartition(":")
        path = Path(text)
        if not text.endswith(".py"):
            raise InputError("There is no file in it.", self.simulator, "Write FILE.py:OBJECT.")
        if self.json is not None:
            check_output(self.json, (path,), self.force)
        simulator = self._simulator(path, name)
        run = Run.create(path.stem, self.run)
        settings = [word for words in self.set for word in words]
        asked = {"statistic": statistic.words, "quantity": self.quantity, "tolerance": self.tolerance,
                 "seed": self.seed, "set": settings, "budget_seconds": self.budget_seconds}  # fmt: skip
        source = {"kind": "simulator", "file": path.name, "object": name, "given": str(path), "sha256": checksum(path)}

        def watch(state: State) -> None:
            counts = ", ".join(f"{part.level}: {max(map(part.count, part.groups))}" for part in state.parts)
            error = float(np.sqrt(np.mean(np.square(state.found.error))))
            console.print(f"samples of levels {counts}; rms error {error:.2g}, cost {state.spent:.3g}", soft_wrap=True)

        with contextlib.closing(run):
            with discarded(run), user_errors(path):
                run.write_request(source, asked)
                made = estimate(
                    simulator, statistic, tolerance=self.tolerance, budget=self.budget_seconds, key=self.seed,
                    watch=watch, tell=lambda sentence: console.print(sentence, soft_wrap=True),
                )  # fmt: skip
            record = _record(made, asked, run)
            run.write_result({RECORD: json.dumps(record, indent=2, allow_nan=False).encode() + b"\n"})
        tell(made, run, record, self.json)
        return GUARD_FAILED if not made.reached else 0 if run.whole else FAILED

    def _statistic(self) -> AbstractStatistic:
        asked: list[AbstractStatistic] = [Variance()] if self.variance else []
        asked += [] if self.above is None else [Probability(self.above)]
        asked += [] if self.quantile is None else [Quantile(self.quantile)]
        if len(asked) > 1:
            raise InputError(
                "More than one statistic is asked for.", "--variance, --above, --quantile", "Give one of them."
            )
        return asked[0] if asked else Mean()

    def _simulator(self, path: Path, name: str) -> Simulator | AbstractLeveled:
        found = object_of_file(path, name, path.resolve().parent)
        settings = tuple(word for words in self.set for word in words)
        if callable(found) and not isinstance(found, Simulator | AbstractLeveled | Family):
            with user_errors(path):
                found = call_with(found, settings, f"function {name!r}")
        elif settings:
            raise InputError(f"{name!r} is no function, so there is nothing to set.", str(path), "Leave --set out.")
        if isinstance(found, Family):
            if self.quantity is None:
                raise InputError("A family has many quantities.", self.simulator, 'Add --quantity "u at x=0.6".')
            with user_errors(path):
                return FamilyLevels(found, quantity_of(self.quantity, found))
        if self.quantity is not None:
            raise InputError("Only a hx.Family is asked for one.", "--quantity", "Leave it out.")
        if not isinstance(found, Simulator | AbstractLeveled):
            raise InputError(
                f"{name!r} is a {type(found).__name__}.", self.simulator,
                "Name a hx.Simulator or hx.Simulation, or a function that returns one.",
            )  # fmt: skip
        return found


def _record(made: Estimate, asked: dict[str, Any], run: Run) -> dict[str, Any]:
    """What other programs may want to know."""
    members = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    named = dict(zip(("alpha", "beta", "gamma"), made.rates, strict=True))
    return plain({**members, "rates": named, "rows": [row._asdict() for row in made.rows], "options": asked,
                  "run": str(run.path)})  # fmt: skip
