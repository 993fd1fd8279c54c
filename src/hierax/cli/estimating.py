"""The command that estimates a random quantity from a simulator or a family in a user's file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import tyro
from rich.console import Console

from hierax._errors import InputError
from hierax.cli.codes import FAILED, GUARD_FAILED, INTERRUPTED
from hierax.cli.telling import discarded, ending, tell
from hierax.models.surrogate import Surrogate
from hierax.records.folder import ESTIMATE, Folder
from hierax.records.options import check_budget
from hierax.records.outputs import check_output
from hierax.records.run import EVENTS, Run
from hierax.records.sources import checksum
from hierax.records.surrogates import FamilySource, recorded_family
from hierax.records.tables import Table, is_table
from hierax.records.terminal import ended_by_signals
from hierax.records.user_file import user_errors
from hierax.results.record import plain
from hierax.statistics import Estimate, Mean, Probability, Quantile, Variance, estimate, estimate_samples
from hierax.statistics.estimating import State
from hierax.statistics.quantities import AbstractStatistic

SAMPLES = "samples"
"""Kind of source of an estimate from a table."""
VALUES = "values"
"""The folder in a run folder of values as they came."""
ASKED = ("quantity", "tolerance", "variance", "above", "quantile", "seed")
"""Options that a run that goes on takes over as they are."""


def is_estimation(path: Path) -> bool:
    """Whether a run folder is one of `hierax estimate`."""
    with contextlib.suppress(InputError):
        return "statistic" in (Folder.open(path).settings.get("options") or {})
    return False


@final
@dataclass(frozen=True)
class Estimating:
    """Estimate the mean, the variance, a probability or a quantile of a random quantity that is simulated on levels."""

    simulator: tyro.conf.Positional[str]
    """FILE.py:OBJECT, a hx.Simulation or hx.Family, a function that returns one, or of what varies; NAME of the
    catalogue; or a table of samples that are there, with columns `sample`, `level`, `cost` and the quantity."""
    quantity: str | None = None
    """Of a family: "u at x=0.6", "mean(u)", "max(u)" or "min(u)"; of a table the column of values."""
    vary: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """NAME=LOW:HIGH, or NAME=LOW:HIGH:log: what varies, evenly or evenly in its logarithm."""
    set: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """KEY=VALUE: other settings."""
    surrogate: Path | None = None
    """Run folder of `hierax surrogate` for the same family: makes the estimate cheaper, and not wrong."""
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
    processes: int | None = None
    """Members that are evaluated at a time; as many as the simulator says, or one, if not given."""
    seed: int = 0
    """Seed of all samples."""
    run: Path | None = None
    """Run folder, new or empty; runs/<name>-<number> if not given."""
    json: Path | None = None
    """File for the record as JSON."""
    force: bool = False
    """Let --json overwrite an input or a file of another run."""
    resumed: tyro.conf.Suppress[bool] = False

    @classmethod
    def of_run(
        cls, path: Path, problem: str | None, budget: float | None, json: Path | None, force: bool
    ) -> Estimating:
        """The command of a run folder, to go on; `problem` is FILE.py:OBJECT of what is estimated."""
        settings = Folder.open(path).settings
        if settings["source"].get("kind") == SAMPLES:
            raise InputError("Its samples were given: nothing is to go on.", str(path), "Estimate from a longer table.")
        source, options = recorded_family(settings["source"], problem), settings["options"]
        taken = {name: options[name] for name in ASKED}
        return cls(
            source.text, **taken, vary=(source.vary,), set=(source.settings,),
            surrogate=None if options["surrogate"] is None else Path(options["surrogate"]),
            budget_seconds=options["budget_seconds"] if budget is None else budget, processes=options["processes"],
            run=path, json=json, force=force, resumed=True,
        )  # fmt: skip

    def __call__(self, console: Console) -> int:
        check_budget(self.budget_seconds)
        if is_table(Path(self.simulator)):
            return self._of_table(Path(self.simulator))
        words = [tuple(word for group in groups for word in group) for groups in (self.vary, self.set)]
        statistic, source = self._statistic(), FamilySource(self.simulator, *words)
        if self.json is not None:
            check_output(self.json, source.inputs_read, self.force)
        asked = self._asked(statistic)
        with user_errors(source.file):
            leveled = source.on_levels(self.quantity)
        leveled.processes = self.processes or leveled.processes
        cheap = None if self.surrogate is None else self._surrogate(self.surrogate)
        if self.resumed and self.run is not None:
            run = Run(self.run, Folder.open(self.run).manifest)
        else:
            run = Run.create(leveled.name, self.run)

        def watch(state: State) -> None:
            counts = ", ".join(f"{_named(part.level)}: {max(map(part.count, part.groups))}" for part in state.parts)
            error = float(np.sqrt(np.mean(np.square(state.found.error))))
            console.print(f"samples of levels {counts}; rms error {error:.2g}, cost {state.spent:.3g}", soft_wrap=True)

        def say(sentence: str) -> None:
            run.note(sentence)
            console.print(sentence, soft_wrap=True)

        with contextlib.closing(run), ended_by_signals() as signals:
            try:
                with discarded(run, unless=run.path / VALUES), user_errors(source.file):
                    if self.resumed:
                        run.goes_on(0, (run.path / EVENTS).stat().st_size)
                    else:
                        run.write_request(source.record(), asked)
                        run.note(f"Estimate the {statistic.words} of {self.quantity or leveled.name}.")
                    made = estimate(
                        leveled, None, statistic, tolerance=self.tolerance, budget=self.budget_seconds, surrogate=cheap,
                        key=self.seed, keep=run.path / VALUES, watch=watch, tell=say,
                    )  # fmt: skip
            except KeyboardInterrupt:
                if not run.path.exists():
                    raise
                print(ending(run, signals), file=sys.stderr)
                return INTERRUPTED
            record = _kept(made, asked, leveled.name, run)
        return self._told(made, record, run)

    def _of_table(self, path: Path) -> int:
        """Estimate from samples that are there."""
        given = (self.vary, self.set, self.surrogate, self.tolerance, self.processes)
        if self.quantity is None or any(value not in ((), None) for value in given):
            raise InputError(
                "A table has its samples and the numbers of its models.", str(path),
                "Name the column of values by --quantity, and leave --vary, --set, --surrogate, --tolerance and "
                "--processes out.",
            )  # fmt: skip
        if self.json is not None:
            check_output(self.json, [path], self.force)
        table = Table(path)
        levels, values, costs = table.numbers(["level", self.quantity, "cost"]).values()
        statistic, run = self._statistic(), Run.create(path.stem, self.run)
        with contextlib.closing(run), discarded(run):
            asked = self._asked(statistic)
            run.write_request({"kind": SAMPLES, "given": str(path), "sha256": checksum(path)}, asked)
            made = estimate_samples(table.labels("sample"), levels, values, costs, statistic)
            record = _kept(made, asked, path.stem, run)
        return self._told(made, record, run)

    def _asked(self, statistic: AbstractStatistic) -> dict[str, Any]:
        """The options that a run folder keeps."""
        surrogate = None if self.surrogate is None else str(self.surrogate)
        return {"statistic": statistic.words, **{name: getattr(self, name) for name in ASKED}, "surrogate": surrogate,
                "processes": self.processes, "budget_seconds": self.budget_seconds}  # fmt: skip

    def _told(self, made: Estimate, record: dict[str, Any], run: Run) -> int:
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

    def _surrogate(self, path: Path) -> Surrogate:
        made = Folder.open(path).result()
        if not isinstance(made, Surrogate):
            raise InputError(
                f"The run has a {type(made).__name__}.",
                str(path),
                "Give one of a family of numbers.",
            )
        return made


def _named(level: int) -> str:
    return str(level) if level >= 0 else "surrogate"


def _kept(made: Estimate, asked: dict[str, Any], name: str, run: Run) -> dict[str, Any]:
    """What other programs may want to know, kept in the folder of the run."""
    members = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    named = dict(zip(("alpha", "beta", "gamma"), made.rates, strict=True))
    shown = {"name": name, "rates": named, "rows": [row._asdict() for row in made.rows]}
    record = plain({**members, **shown, "options": asked, "run": str(run.path)})
    run.write_result({ESTIMATE: json.dumps(record, indent=2, allow_nan=False).encode() + b"\n"})
    return record
