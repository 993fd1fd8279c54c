"""Commands that predict: a run at points, and families of problems as surrogates."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import tyro
from rich.console import Console

from hierax._errors import InputError
from hierax.cli.codes import FAILED, GUARD_FAILED, INTERRUPTED
from hierax.cli.telling import discarded, ending, tell
from hierax.devices import SAMPLES, first
from hierax.materials.learning import LearnedNetwork
from hierax.models.course import CourseState
from hierax.models.family import Family
from hierax.models.generated import learn_generated
from hierax.models.learning import learn_family, surrogate
from hierax.models.leveled import AbstractLeveled
from hierax.models.operators import Operator
from hierax.models.samples import Samples
from hierax.models.surrogate import Surrogate
from hierax.records.columns import Reading
from hierax.records.folder import SURROGATE, Folder, as_written
from hierax.records.live import CurrentStep
from hierax.records.materials import predicted_tensors
from hierax.records.options import check_budget
from hierax.records.outputs import check_output
from hierax.records.placement import Placement
from hierax.records.predict import OUTSIDE, Outside, predicted, predicted_on_mesh, write_on_mesh
from hierax.records.progress import Progress
from hierax.records.recorded import recorded_source, same_table
from hierax.records.run import Run
from hierax.records.sources import checksum
from hierax.records.surrogates import (
    BOUND,
    FamilySource,
    predicted_members,
    predicted_samples,
    recorded_family,
    write_operator,
    write_surrogate,
)
from hierax.records.tables import Table, write_columns, writer_for
from hierax.records.terminal import ended_by_signals
from hierax.records.user_file import user_errors
from hierax.results.arrays import ARRAYS, write_arrays
from hierax.results.files import written
from hierax.results.solution import Solution

NOTHING = 0.3
"""Relative error of an operator above which the command says that it failed."""
SAMPLED = "samples"
"""The kind of a source that is a file of samples."""
MEMBERS = "members.npz"
"""The file in a run folder of members as they came, which no manifest lists."""


def is_learning(path: Path) -> bool:
    """Whether a run folder is one of `hierax surrogate`; `hierax estimate` has others of the same sources."""
    with contextlib.suppress(InputError):
        settings = Folder.open(path).settings
        return settings["source"].get("kind") in ("family", SAMPLED) and "statistic" not in settings["options"]
    return False


@final
@dataclass(frozen=True)
class Predict:
    """Evaluate what a run has learned."""

    run: tyro.conf.Positional[Path]
    """Run folder of `hierax train` or `hierax fit`."""
    out: Path
    """File to write: .csv, .npz, .h5 or .parquet; for --mesh .vtu, .xdmf or what else meshio writes."""
    points: tyro.conf.Positional[Path | None] = None
    """CSV with the coordinates as columns; NPZ, HDF5 or Parquet with arrays of these names, or one array `points`."""
    mesh: Path | None = None
    """In place of points: a mesh at whose nodes the values are written, with its cells."""
    unit: float = 1.0
    """Length of a unit of the mesh in units of the problem, as that of hx.mesh."""
    values: tuple[str, ...] = ()
    """Values and derivatives, such as u u_x u_xy kappa, components as u[0], outputs of the problem as sigma[0,0]; all
    unknowns if not given."""
    outside: Outside = "flag"
    """Rows outside of the domain: marked, with empty values or those of the nearest point inside, or refused."""
    intervals: float | None = None
    """Percent, such as 95: columns NAME_low and NAME_high between which the function behind a table lies as often."""
    rename: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """HEADING=NAME: names of columns whose headings are none."""
    drop_missing: bool = False
    """Leave rows with empty cells or NaN out."""
    state: int | None = None
    """Number of a state of the run, in place of what it has come to."""
    problem: str | None = None
    """FILE.py:OBJECT, needed for outputs and where the problem has a constraint; of a surrogate for errors from the
    equations."""
    at: Path | None = None
    """Of a surrogate: table of points at which every member is written; a grid over the domain if not given."""
    tolerance: float | None = None
    """Of a surrogate: relative L2 error; members that miss it are solved. Needs --problem."""
    force: bool = False
    """Let --out overwrite an input or a file of a run."""

    def __call__(self, console: Console) -> int:
        del console
        given = self.mesh or self.points
        if given is None or (self.mesh and self.points):
            raise InputError(
                "Points or a mesh are given, one of both.", "hierax predict", "Add a table, or --mesh FILE."
            )
        if self.mesh is None:
            writer_for(self.out)
        check_output(self.out, (given, *([] if self.at is None else [self.at])), self.force)
        folder = Folder.open(self.run)
        check_output(self.out, folder.inputs, self.force)
        if SURROGATE in folder.manifest.files and self.points is not None:
            if self.intervals is not None:
                raise InputError(
                    "A surrogate tells its errors in columns of their own.", "--intervals", "Leave it out."
                )
            return self._members(folder, self.points)
        if self.at is not None or self.tolerance is not None:
            raise InputError("This run has no surrogate.", "--at, --tolerance", "Leave them out.")
        solution = folder.solution(self.state)
        source = None
        own = solution.problem.outputs
        derived = any(value.startswith(name) for value in self.values for name in own)
        if self.problem is not None or solution.problem.constraint is not None or derived:
            settings = folder.settings
            source = recorded_source(settings["source"], settings.get("options") or {}, self.problem)
            solution = dataclasses.replace(solution, problem=source.load())
        for warning in folder.warnings:
            print(warning, file=sys.stderr)
        if self.mesh is not None:
            return self._on_mesh(solution, self.mesh)
        table = Table(given, Reading.of([word for words in self.rename for word in words], self.drop_missing))
        with as_written(self.run), user_errors(source and source.file):
            points, values, sentences = predicted(solution, table, self.values, self.outside, self._probability)
        write_columns(self.out, points | values)
        for sentence in (*table.notes, *sentences):
            print(sentence, file=sys.stderr)
        print(f"{len(table.rows)} points, {', '.join(values)}: {self.out}")
        inside = values.get(OUTSIDE, np.zeros(len(table.rows))) == 0
        bad = next((name for name, column in values.items() if not np.all(np.isfinite(column[inside]))), None)
        if bad is not None:
            print(f"Values of {bad} are not finite in some rows.", file=sys.stderr)
        return 0 if bad is None else FAILED

    @property
    def _probability(self) -> float | None:
        return None if self.intervals is None else self.intervals / 100.0

    def _on_mesh(self, solution: Solution, mesh: Path) -> int:
        """Values at the nodes of a mesh."""
        found, sentences = predicted_on_mesh(solution, mesh, self.values, self.outside, self.unit, self._probability)
        with written(self.out) as draft:
            write_on_mesh(found, draft)
        for sentence in sentences:
            print(sentence, file=sys.stderr)
        print(f"{len(found.points)} nodes, {', '.join(found.point_data)}: {self.out}")
        return 0

    def _members(self, folder: Folder, points: Path) -> int:
        """Members of a family, predicted by the surrogate of a run; 3 where some miss the tolerance."""
        made, family, source = folder.surrogate(), None, None
        if isinstance(made, LearnedNetwork | Operator) and (self.problem or self.tolerance or self.at):
            raise InputError(
                "What was learned maps arrays to arrays: values on a grid are no members of a problem, whose equations "
                "could be asked or that could be solved.",
                "--problem, --tolerance, --at",
                "Leave them out; error and error_bound say what samples kept apart show of each prediction.",
            )
        if isinstance(made, LearnedNetwork):
            return self._arrays(predicted_tensors(made, points), [])
        if isinstance(made, Operator):
            return self._arrays(*predicted_samples(made, points))
        reading = Reading.of([word for words in self.rename for word in words], self.drop_missing)
        if self.problem is not None:
            source = recorded_family(folder.settings["source"], self.problem)
            family = source.family()
        table, places = Table(points, reading), None if self.at is None else Table(self.at)
        with user_errors(source and source.file):
            found, sentences = predicted_members(made, table, places, self.values, family, self.tolerance)
        write_columns(self.out, found)
        for sentence in (*table.notes, *sentences):
            print(sentence, file=sys.stderr)
        print(f"{len(next(iter(found.values())))} rows, {', '.join(found)}: {self.out}")
        missed = self.tolerance is not None and not np.all(found[BOUND] <= self.tolerance)
        return GUARD_FAILED if missed else 0

    def _arrays(self, found: dict[str, np.ndarray], sentences: list[str]) -> int:
        """Functions on grids, and tensors: arrays in, arrays out."""
        write_arrays(self.out, found)
        for sentence in sentences:
            print(sentence, file=sys.stderr)
        print(f"{len(next(iter(found.values())))} samples, {', '.join(found)}: {self.out}")
        return 0


@final
@dataclass(frozen=True)
class Surrogates:
    """Learn solutions of a family of problems as functions of a few numbers, or a map from functions to functions."""

    family: tyro.conf.Positional[str]
    """FILE.py:OBJECT, a hx.Family, a hx.Simulation, or a function of what varies that returns a Problem; NAME of the
    catalogue; or an NPZ, HDF5 or NetCDF file with samples of functions on grids."""
    inputs: tuple[str, ...] = ()
    """Arrays of such a file that are given."""
    outputs: tuple[str, ...] = ()
    """Arrays of such a file that are to be learned."""
    base: str | None = None
    """Array among the inputs that is a coarse solution: what it lacks is learned."""
    coarse: Path | None = None
    """A further file with samples of the base alone: the other inputs, and the base as what they lead to."""
    periodic: bool = False
    """Say that the grids of such a file wrap around."""
    vary: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """NAME=LOW:HIGH, or NAME=LOW:HIGH:log: what varies, evenly or evenly in its logarithm."""
    set: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """KEY=VALUE: other settings of the problem."""
    tolerance: float | None = None
    """Relative L2 error at which learning stops; 1e-6 if not given."""
    budget_seconds: float = 60.0
    """Seconds after which learning stops with what it has."""
    keep: Path | None = None
    """NPZ in which members with random fields, or of a simulator, are kept as they come, in place of one in the run
    folder; those that are there already are not evaluated again."""
    seed: int = 0
    """Seed of the members."""
    run: Path | None = None
    """Run folder, new or empty; runs/<family>-<number> if not given."""
    json: Path | None = None
    """File for the record as JSON."""
    force: bool = False
    """Let --json overwrite an input or a file of another run."""
    where: tyro.conf.OmitArgPrefixes[Placement] = Placement()
    resumed: tyro.conf.Suppress[bool] = False

    @classmethod
    def of_run(cls, path: Path, problem: str | None, budget: float | None, **how: Any) -> Surrogates:
        """The command of a run folder, to go on with what it came to; `problem` is FILE.py:OBJECT of what it is of, or
        where its samples are now."""
        settings = Folder.open(path).settings
        record, options = settings["source"], settings["options"]
        seconds = options["budget_seconds"] if budget is None else budget
        how |= {"seed": options["seed"], "run": path, "budget_seconds": seconds, "resumed": True}
        if record["kind"] == SAMPLED:
            names = {name: tuple(options[name]) for name in ("inputs", "outputs")}
            more = None if record.get("coarse") is None else same_table(record["coarse"], None)
            how |= {"base": options["base"], "coarse": more, "periodic": options["periodic"]}
            return cls(str(same_table(record, problem)), **names, **how)
        source, keep = recorded_family(record, problem), options.get("keep")
        return cls(
            source.text, vary=(source.vary,), set=(source.settings,), tolerance=options.get("tolerance"),
            keep=None if keep is None else Path(keep), **how,
        )  # fmt: skip

    def __call__(self, console: Console) -> int:
        check_budget(self.budget_seconds)
        if self.family.endswith(ARRAYS):
            return self._operator(console)
        # no step of a family has samples that could be divided; --processes are those of a simulator
        dataclasses.replace(self.where, processes=None).start(())
        words = [tuple(word for group in groups for word in group) for groups in (self.vary, self.set)]
        source = FamilySource(self.family, *words)
        if self.json is not None:
            check_output(self.json, source.inputs_read, self.force)
        family = source.varied()
        asked = {"vary": list(source.vary), "set": list(source.settings), "seed": self.seed,
                 "budget_seconds": self.budget_seconds}  # fmt: skip
        if isinstance(family, AbstractLeveled) or family.random_fields:
            return self._generated(family, source, asked, console)
        problem = source.load()
        run, kept = self._run(problem.name)
        asked["tolerance"] = self.tolerance

        def learned(subscribers: Any) -> Surrogate:
            if not self.resumed:
                run.write_settings(source, problem, asked)
            return learn_family(family, self.tolerance, self.budget_seconds, self.seed, subscribers, kept)

        def told(made: Surrogate) -> int:
            tell(made, run, write_surrogate(run, made, asked), self.json)
            missed = self.tolerance is not None and np.max(made.calibration.errors) > self.tolerance
            if missed:
                print(f"The tolerance {self.tolerance:g} is missed at members kept apart.", file=sys.stderr)
            return GUARD_FAILED if missed else 0 if run.whole else FAILED

        return self._kept(run, learned, told, source.file, console)

    def _generated(
        self, made_of: Family | AbstractLeveled, source: FamilySource, asked: dict[str, Any], console: Console
    ) -> int:
        """Learn from members with random fields, or of a simulator, that are made for it."""
        if self.tolerance is not None:
            raise InputError("Functions are learned for a time.", "--tolerance", "Give --budget-seconds.")
        if self.where.processes is not None and isinstance(made_of, AbstractLeveled):
            made_of.processes = self.where.processes
        run, kept = self._run(made_of.name or "family")
        asked["keep"] = None if self.keep is None else str(self.keep)

        def learned(subscribers: Any) -> Operator:
            if not self.resumed:
                run.write_request(source.record(), asked)
            how = {"budget": self.budget_seconds, "key": self.seed, "subscribers": subscribers, "kept": kept}
            return learn_generated(made_of, keep=self.keep or run.path / MEMBERS, **how)

        return self._kept(run, learned, lambda made: self._judged(run, made, asked), source.file, console)

    def _run(self, name: str) -> tuple[Run, CourseState | None]:
        """A new run folder, or that of the run that goes on with what it had come to."""
        if not self.resumed or self.run is None:
            return Run.create(name, self.run), None
        folder = Folder.open(self.run)
        number, record = _reached(folder)
        run = Run(self.run, folder.manifest)
        run.goes_on(number, int(record["events"]))
        return run, record["state"]

    def _kept(
        self, run: Run, learned: Callable[[Any], Any], told: Callable[[Any], int], file: Path | None, console: Console
    ) -> int:
        """Learn, and tell it; what was reached is kept however it ends."""
        with contextlib.closing(run), ended_by_signals() as signals:
            try:
                with (
                    discarded(run, unless=run.path / MEMBERS),
                    user_errors(file),
                    Progress(console, CurrentStep()) as progress,
                ):
                    made = learned((progress, run.decided))
            except KeyboardInterrupt:
                if not run.path.exists():
                    raise
                print(ending(run, signals), file=sys.stderr)
                return INTERRUPTED
            return told(made)

    def _judged(self, run: Run, made: Operator, asked: dict[str, Any]) -> int:
        """Tell what an operator has learned; the exit code."""
        tell(made, run, write_operator(run, made, asked), self.json)
        if np.mean(made.errors) > NOTHING:
            print("Hardly anything was learned: give a larger budget, or more samples.", file=sys.stderr)
            return GUARD_FAILED
        return 0 if run.whole else FAILED

    def _operator(self, console: Console) -> int:
        """Learn from the samples of a file."""
        path = Path(self.family)
        if not self.inputs or not self.outputs:
            raise InputError("Nothing is named.", str(path), "Add --inputs NAME ... and --outputs NAME ...")
        if self.json is not None:
            check_output(self.json, (path,), self.force)
        devices = self.where.start((SAMPLES,))
        samples = Samples.read(path, list(self.inputs), list(self.outputs), self.base, self.periodic)
        more, further = None, None
        if self.coarse is not None:
            others = [name for name in self.inputs if name != self.base]
            more = Samples.read(self.coarse, others, [str(self.base)], None, self.periodic)
            further = {"file": str(self.coarse), "sha256": checksum(self.coarse)}
        how: dict[str, Any] = {"coarse": more, "budget": self.budget_seconds, "key": self.seed, "devices": devices}
        if not first(devices):
            kept = _reached(Folder.open(self.run))[1]["state"] if self.resumed and self.run is not None else None
            surrogate(samples, kept=kept, **how)
            return 0
        run, kept = self._run(path.stem)
        asked = {"inputs": list(self.inputs), "outputs": list(self.outputs), "base": self.base, "seed": self.seed,
                 "periodic": self.periodic, "budget_seconds": self.budget_seconds}  # fmt: skip
        record = {"kind": SAMPLED, "file": str(path), "sha256": checksum(path), "coarse": further}

        def learned(subscribers: Any) -> Any:
            if not self.resumed:
                run.write_request(record, asked)
            return surrogate(samples, subscribers=subscribers, kept=kept, **how)

        return self._kept(run, learned, lambda made: self._judged(run, made, asked), None, console)


def _reached(folder: Folder) -> tuple[int, dict[str, Any]]:
    """The last state of a learning with its number; where there is none nothing but members was kept."""
    return folder.state() if folder.keeps_states else (0, {"state": None, "events": sys.maxsize})
