"""The command line: the only place that prints, and the only one that maps words to objects."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import jax
import tyro
from rich.console import Console

from hierax import IMPORT_BEGAN, __version__
from hierax._errors import InputError, ProcessesError
from hierax._results import RESULTS
from hierax.cli.codes import BAD_INPUT, FAILED, INTERRUPTED
from hierax.cli.estimating import Estimating, is_estimation
from hierax.cli.materials import Material
from hierax.cli.predicting import Predict, Surrogates, is_learning
from hierax.cli.telling import ending
from hierax.devices import Devices, first
from hierax.models.catalogue import families
from hierax.problems.registry import catalogue
from hierax.records.folder import Folder
from hierax.records.health import examine
from hierax.records.live import BLOCKS, PLAIN, CurrentStep, LevelBoard
from hierax.records.measures import MEASURES, write_measures
from hierax.records.options import Options, check_budget
from hierax.records.outputs import check_output
from hierax.records.placement import Placement
from hierax.records.progress import Progress
from hierax.records.resumption import Resumption
from hierax.records.run import RUNS, Run
from hierax.records.settings import describe_settings, first_line
from hierax.records.sources import AbstractSource, DataSource, continued_source, parametric_source
from hierax.records.tensorboard import TensorBoard
from hierax.records.terminal import ended_by_signals, steady_output
from hierax.records.user_file import user_errors
from hierax.records.watch import Watch
from hierax.results.files import write_json
from hierax.results.solution import Solution
from hierax.training.train import train

SECONDS_IMPORT = time.perf_counter() - IMPORT_BEGAN


@final
@dataclass(frozen=True)
class Train:
    """Solve a problem of the catalogue, or of a file of your own."""

    problem: tyro.conf.Positional[str]
    """NAME of the catalogue (see `hierax list`), or FILE.py:OBJECT (problem if not given)."""
    options: tyro.conf.OmitArgPrefixes[Options]
    set: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """KEY=VALUE: settings of the problem."""
    over: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=LOW:HIGH, or NAME=LOW:HIGH:log: a setting that becomes a coordinate; one training for all its values."""
    through: Annotated[str | None, tyro.conf.arg(name="continue", metavar="KEY=V,V,...")] = None
    """Follow the solution from an easy value of a setting, on the coarsest level, to the last value, on the finest."""

    def __call__(self, console: Console) -> int:
        settings = tuple(text for group in self.set for text in group)
        asked: dict[str, Any] = {"set": list(settings)}
        if self.through is None:
            return _solve(parametric_source(self.problem, settings, self.over), self.options, asked, console)
        if self.over:
            raise InputError("A setting is continued, and others are coordinates.", "--over", "Leave one of both out.")
        source = continued_source(self.problem, settings, self.through)
        return _solve(source, self.options, {**asked, "continue": self.through}, console)


@final
@dataclass(frozen=True)
class Fit:
    """Learn columns of a table as functions of other columns."""

    data: tyro.conf.Positional[Path]
    """CSV with a line of headings (comments and units are passed over), NPZ, HDF5 or Parquet with named arrays."""
    inputs: tuple[str, ...]
    """Columns of the coordinates."""
    outputs: tuple[str, ...]
    """Columns to be learned."""
    options: tyro.conf.OmitArgPrefixes[Options]
    level: str | None = None
    """Column with the number or name of the fidelity of each row; the dearest is predicted with the help of all."""
    cost: str | None = None
    """Column with what a row costs; without it the highest number of --level is the dearest."""

    rename: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """HEADING=NAME: names of columns whose headings are none; units in brackets are left out in any case."""
    log: tuple[str, ...] = ()
    """Columns of which the natural logarithm is taken; it is called log_NAME."""
    sigma: str | None = None
    """Column with the standard deviation of the outputs, the same in all rows or one for each."""
    group: str | None = None
    """Column with what a row belongs to (a specimen, a batch); rows of one group are kept back together."""
    drop_missing: bool = False
    """Leave rows with empty cells or NaN out."""
    domain: tuple[str, ...] = ()
    """COLUMN=LOW:HIGH: how far inputs reach, beyond their rows; as far as these if not given."""
    periodic: tuple[str, ...] = ()
    """COLUMN=PERIOD: inputs that begin again after a period, such as 360 for an angle."""

    def __call__(self, console: Console) -> int:
        rename = tuple(word for words in self.rename for word in words)
        how = {"level": self.level, "cost": self.cost, "rename": rename, "log": self.log, "sigma": self.sigma}
        how |= {"group": self.group, "domain": self.domain, "periodic": self.periodic}
        columns = {"inputs": self.inputs, "outputs": self.outputs, **how, "drop_missing": self.drop_missing}
        asked = {name: list(value) if isinstance(value, tuple) else value for name, value in columns.items()}
        return _solve(DataSource(self.data, **columns), self.options, asked, console)


@final
@dataclass(frozen=True)
class Resume:
    """Go on with a run that was killed, interrupted, or ended by its budget: to the bits of a run without that."""

    run: tyro.conf.Positional[Path]
    """Run folder of `hierax train`, `hierax fit`, `hierax estimate` or `hierax surrogate`."""
    problem: str | None = None
    """FILE.py:OBJECT, where the problem of the run is in a file; where the table is now, for one of data."""
    budget_seconds: float | None = None
    """Seconds in all, with those spent before; those of the run if not given."""
    state: int | None = None
    """Number of a state before the last one."""
    json: Path | None = None
    """File for the result as JSON."""
    live: bool = False
    """Show a table of the levels with the course of the loss, where the output is a terminal."""
    force: bool = False
    """Let --json overwrite a file of another run."""
    where: tyro.conf.OmitArgPrefixes[Placement] = Placement()

    def __call__(self, console: Console) -> int:
        check_budget(self.budget_seconds)
        if self.json is not None:
            check_output(self.json, (), self.force)
        if is_learning(self.run):
            own = {"json": self.json, "force": self.force, "where": self.where}
            return Surrogates.of_run(self.run, self.problem, self.budget_seconds, **own)(console)
        devices = self.where.start()
        if is_estimation(self.run):
            return Estimating.of_run(self.run, self.problem, self.budget_seconds, self.json, self.force)(console)
        how = {"budget": self.budget_seconds, "state": self.state, "devices": devices}
        made = Resumption.of(self.run, self.problem, **how)
        if not first(devices):
            return made().result.exit_code
        return _kept(made.run, lambda progress: made((progress,)), dict(made.options), self.json, self.live, console)


@final
@dataclass(frozen=True)
class Report:
    """Make one HTML page of a run, which needs no network: evidence, figures, settings, citations."""

    run: tyro.conf.Positional[Path]
    """Run folder of `hierax train`, `hierax fit` or `hierax estimate`."""
    out: Path | None = None
    """File to write; report.html in the run folder if not given."""
    problem: str | None = None
    """FILE.py:OBJECT of the run, for pictures of residuals and errors; the file is run only if it is named here."""
    state: int | None = None
    """Number of a state of the run, in place of what it has come to."""
    force: bool = False
    """Let --out overwrite a file of a run."""

    def __call__(self, console: Console) -> int:
        del console
        # Imported here: it draws, and matplotlib takes longer to import than other commands to run.
        from hierax.records.report import write_report

        if self.out is not None:
            check_output(self.out, (), self.force)
        path = write_report(self.run, self.out, problem=self.problem, state=self.state)
        for warning in Folder.open(self.run).warnings:
            print(warning, file=sys.stderr)
        print(f"report {path} ({path.stat().st_size / 1024:.0f} KiB)")
        return 0


@final
@dataclass(frozen=True)
class List:
    """Show problems and families of the catalogue with their settings."""

    def __call__(self, console: Console) -> int:
        del console
        for title, known in (("Problems (hierax train", catalogue()), ("\nFamilies (hierax surrogate", families())):
            print(f"{title} NAME --set KEY=VALUE ...)")
            for name, make in sorted(known.items()):
                print(f"\n  {name}\n    {first_line(make)}\n    settings: {describe_settings(make)}")
        return 0


@final
@dataclass(frozen=True)
class Doctor:
    """Check the installation."""

    def __call__(self, console: Console) -> int:
        del console
        findings = examine(RUNS)
        for finding in findings:
            print(f"{'pass' if finding.passed else 'FAIL'}  {finding.name}: {finding.found}")
        return 0 if all(finding.passed for finding in findings) else FAILED


Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Resume, tyro.conf.subcommand("resume")]
    | Annotated[Surrogates, tyro.conf.subcommand("surrogate")]
    | Annotated[Material, tyro.conf.subcommand("material")]
    | Annotated[Estimating, tyro.conf.subcommand("estimate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 guards pass, 1 bad input, 2 failure, 3 a guard failed, 130 interrupt.

    Parameters
    ----------
    argv:
        Words after the name of the program; those of this process if not given.
    """
    if (sys.argv[1:] if argv is None else list(argv)) == ["--version"]:
        print(f"hierax {__version__}")
        return 0
    about = "Multilevel training of splines and networks for scientific problems; --version says which one this is."
    return answer(Command, "hierax", about, argv)


def answer(commands: Any, program: str, description: str, argv: Sequence[str] | None = None) -> int:
    """Parse words as one of some commands, run it, and turn what is raised on the way into a sentence and an exit code.

    Parameters
    ----------
    commands:
        A settings class, or a union of such, whose instances are called with a console and return an exit code.
    program, description:
        Name of the program, and what its help says first.
    argv:
        Words after the name of the program; those of this process if not given.
    """
    jax.config.update("jax_enable_x64", True)
    try:
        # help is output too
        with steady_output() as output:
            command = tyro.cli(
                commands,
                args=None if argv is None else list(argv),
                prog=program,
                description=description,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
            )
            code = command(Console())
        if output.lost:
            print("The output was closed by its reader; the command went on to its end.", file=sys.stderr)
        return code
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return _left(BAD_INPUT)
    except ProcessesError as error:
        print(f"error: {error}\n  remedy: Go on by hierax resume, with these or other processes.", file=sys.stderr)
        return _left(FAILED)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _left(INTERRUPTED)
    except SystemExit as leaving:
        # The parser has said what is wrong; its own code for that, 2, means a numerical failure here.
        return BAD_INPUT if leaving.code else 0


def _solve(source: AbstractSource, options: Options, asked: dict[str, Any], console: Console) -> int:
    """Train, show, and keep: the common part of `train` and `fit`."""
    options.check(source.inputs_read)
    devices = options.where.start()
    problem, notes = source.read()
    if not first(devices):
        with user_errors(source.file):
            return train(problem, devices=devices, **options.overrides()).result.exit_code
    for note in notes:
        print(note)
    run = Run.create(problem.name, options.run)
    words = {"field": options.field, "levels": options.levels, "cycle": options.cycle, "solver": options.solver}
    asked = {**asked, **words, "seed": options.seed, "budget_seconds": options.budget_seconds}
    watches = (Watch(problem),) if options.watch else ()

    def trained(progress: Progress) -> Solution:
        with contextlib.ExitStack() as stack:
            stack.enter_context(user_errors(source.file))
            run.write_settings(source, problem, asked)
            board = () if options.tensorboard is None else (stack.enter_context(TensorBoard(options.tensorboard)),)
            return train(problem, subscribers=(run, *watches, *board, progress), devices=devices, **options.overrides())

    return _kept(run, trained, asked, options.json, options.live, console, watches)


def _kept(
    run: Run, trained: Callable[[Progress], Solution], asked: dict[str, Any], json: Path | None, live: bool,
    console: Console, watches: Sequence[Watch] = (),
) -> int:  # fmt: skip
    """Train, show, and keep, in a run folder that is there; what was reached is kept however it ends."""
    board = LevelBoard(BLOCKS if "utf" in console.encoding.lower() else PLAIN) if live else CurrentStep()
    with contextlib.closing(run), ended_by_signals() as signals:
        try:
            with Progress(console, board) as progress:
                solution = dataclasses.replace(trained(progress), options=asked)
        except (InputError, KeyboardInterrupt) as error:
            if not run.reached:
                # A folder in which nothing was reached would only be in the way of the next try.
                run.discard()
            if not run.reached or isinstance(error, InputError):
                raise
            print(ending(run, signals), file=sys.stderr)
            return INTERRUPTED
        record = solution.to_json(run=str(run.path), seconds_import=SECONDS_IMPORT)
        run.write_solution(solution, record)
        for watch in watches:
            run.add(MEASURES, lambda path, watch=watch: write_measures(path.parent, watch.measures()))
        print(f"{solution}\n")
        if json is not None:
            with run.tried(f"beside it {json}"):
                write_json(json, record)
                print(f"json   {json}")
        interrupted = solution.result is RESULTS.interrupted
        if not interrupted:
            run.write_figure(solution)
    print(f"run    {run.path}")
    for sentence in (*run.troubles, *([ending(run, signals)] if interrupted else [])):
        print(sentence, file=sys.stderr)
    return solution.result.exit_code or (0 if run.whole else FAILED)


def _left(code: int) -> int:
    """The exit code of a command that ends early: at once, where other processes and this one would wait in vain."""
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
