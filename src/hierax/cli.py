"""The command line: the only place that prints, and the only one that maps words to objects."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, final

import jax
import numpy as np
import tyro
from rich.console import Console

from hierax import IMPORT_BEGAN, __version__, cycles
from hierax._errors import InputError
from hierax._results import RESULTS
from hierax.planning import families
from hierax.problems.problem import Problem
from hierax.problems.registry import catalogue
from hierax.records.files import check_writable, write_json
from hierax.records.health import examine
from hierax.records.live import BLOCKS, PLAIN, CurrentStep, LevelBoard
from hierax.records.measures import write_measures
from hierax.records.progress import Progress
from hierax.records.run import RUNS, Run, load_run
from hierax.records.settings import describe_settings, first_line
from hierax.records.sources import AbstractSource, DataSource, continued_source, source_of
from hierax.records.tables import read_columns, write_columns, writer_for
from hierax.records.tensorboard import TensorBoard
from hierax.records.user_file import user_errors
from hierax.records.watch import Watch
from hierax.results.evaluation import check_points, columns, quantities
from hierax.results.solution import Solution
from hierax.solvers import AbstractSolver, GaussNewton, Schwarz, VariableProjection, adam, lbfgs
from hierax.training.train import train

SECONDS_IMPORT = time.perf_counter() - IMPORT_BEGAN
BAD_INPUT, FAILED, INTERRUPTED = 1, 2, 130

FIELDS: dict[str, Callable[[], families.AbstractFamily | None]] = {
    "auto": lambda: None,
    "grid": families.Grid,
    "decoded": families.DecodedFeatures,
    "kan": families.SplineNetwork,
    "mlp": families.Perceptron,
    "tanh": families.HiddenLayer,
    "pou": families.Subdomains,
}
SOLVERS: dict[str, Callable[[], AbstractSolver | None]] = {
    "auto": lambda: None,
    "gauss-newton": GaussNewton,
    "variable-projection": VariableProjection,
    "schwarz": Schwarz,
    "lbfgs": lbfgs,
    "adam": adam,
}
CYCLES: dict[str, Callable[[], cycles.AbstractCycle | None]] = {
    "auto": lambda: None,
    "nested": cycles.NestedIteration,
    "single": cycles.SingleLevel,
    "v": cycles.VCycle,
    "w": cycles.WCycle,
    "f": cycles.FCycle,
    "fmg": cycles.FullMultigrid,
    "additive": cycles.AdditiveCycle,
}


@final
@dataclass(frozen=True)
class Options:
    """How to train; what is not given is chosen by what the problem shows."""

    field: Literal["auto", "grid", "decoded", "kan", "mlp", "tanh", "pou"] = "auto"
    """Kind of field: spline grid, the same decoded by a small network, spline network, perceptron, one hidden layer,
    polynomials on overlapping subdomains."""
    levels: int | None = None
    """Number of levels."""
    cycle: Literal["auto", "nested", "single", "v", "w", "f", "fmg", "additive"] = "auto"
    """Order of levels: once from coarse to fine, one alone, V-, W-, F- or additive cycles, full multigrid."""
    solver: Literal["auto", "gauss-newton", "variable-projection", "schwarz", "lbfgs", "adam"] = "auto"
    """How one level is trained; schwarz works on overlapping subdomains (--field pou, which it then stands for)."""
    seed: int = 0
    """Seed of points and initial values."""
    budget_seconds: float = 60.0
    """Seconds after which training stops with what it has."""
    run: Path | None = None
    """Run folder, new or empty; runs/<problem>-<number> if not given."""
    json: Path | None = None
    """File for the result as JSON."""
    live: bool = False
    """Show a table of the levels with the course of the loss, where the output is a terminal."""
    watch: bool = False
    """Measure spectra, contraction and tangent kernel, at most a twentieth of the seconds, for the report."""
    tensorboard: Path | None = None
    """Folder for scalars that TensorBoard shows (an extra: pip install 'hierax[tensorboard]')."""

    def check(self) -> None:
        """Refuse values out of range and a JSON that could not be written, before any work."""
        if self.levels is not None and self.levels < 1:
            raise InputError(f"{self.levels} levels are asked for.", "--levels", "Give a number from 1 on.")
        if not (math.isfinite(self.budget_seconds) and self.budget_seconds > 0):
            raise InputError(
                f"The budget is {self.budget_seconds} s.", "--budget-seconds", "Give a positive number of seconds."
            )
        if self.json is not None:
            check_writable(self.json)

    def overrides(self) -> dict[str, Any]:
        """The words as objects, as arguments of `train`."""
        return {
            "hierarchy": FIELDS["pou" if (self.field, self.solver) == ("auto", "schwarz") else self.field](),
            "solver": SOLVERS[self.solver](),
            "cycle": CYCLES[self.cycle](),
            "levels": self.levels,
            "key": self.seed,
            "budget": self.budget_seconds,
        }


@final
@dataclass(frozen=True)
class Train:
    """Solve a problem of the catalogue, or of a file of your own."""

    problem: tyro.conf.Positional[str]
    """NAME of the catalogue (see `hierax list`), or FILE.py:OBJECT."""
    options: tyro.conf.OmitArgPrefixes[Options]
    set: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """KEY=VALUE: settings of the problem."""
    through: Annotated[str | None, tyro.conf.arg(name="continue", metavar="KEY=V,V,...")] = None
    """Follow the solution from an easy value of a setting, on the coarsest level, to the last value, on the finest."""

    def __call__(self, console: Console) -> int:
        settings = tuple(text for group in self.set for text in group)
        asked: dict[str, Any] = {"set": list(settings)}
        if self.through is None:
            return _solve(source_of(self.problem, settings), self.options, asked, console)
        source = continued_source(self.problem, settings, self.through)
        return _solve(source, self.options, {**asked, "continue": self.through}, console)


@final
@dataclass(frozen=True)
class Fit:
    """Learn columns of a table as functions of other columns."""

    data: tyro.conf.Positional[Path]
    """CSV with named columns, NPZ or HDF5 with arrays of these names."""
    inputs: tuple[str, ...]
    """Columns of the coordinates."""
    outputs: tuple[str, ...]
    """Columns to be learned."""
    options: tyro.conf.OmitArgPrefixes[Options]
    level: str | None = None
    """Column with the number or name of the fidelity of each row; the dearest is predicted with the help of all."""
    cost: str | None = None
    """Column with what a row costs; without it the highest number of --level is the dearest."""

    def __call__(self, console: Console) -> int:
        asked = {"inputs": list(self.inputs), "outputs": list(self.outputs), "level": self.level, "cost": self.cost}
        source = DataSource(self.data, self.inputs, self.outputs, self.level, self.cost)
        return _solve(source, self.options, asked, console)


@final
@dataclass(frozen=True)
class Predict:
    """Evaluate what a run has learned."""

    run: tyro.conf.Positional[Path]
    """Run folder of `hierax train` or `hierax fit`."""
    points: tyro.conf.Positional[Path]
    """CSV with the coordinates as columns; NPZ or HDF5 with arrays of these names, or one array `points`."""
    out: Path
    """File to write: .csv, .npz or .h5."""
    values: tuple[str, ...] = ()
    """Values and derivatives, such as u u_x u_xy kappa, components as u[0]; all unknowns if not given."""

    def __call__(self, console: Console) -> int:
        del console
        writer_for(self.out)
        check_writable(self.out)
        source, field = load_run(self.run)
        problem = source.load()
        names = tuple(problem.domain.names or ())
        wanted = self.values or tuple(problem.unknowns)
        for value in wanted:
            quantities(problem, value)
        table = read_columns(self.points, names, points=names)
        points = check_points(problem, np.stack([table[name] for name in names], axis=1), str(self.points))
        with user_errors(source.file):
            values = columns(problem, field, points, wanted)
        write_columns(self.out, table | values)
        print(f"{len(points)} points, {', '.join(values)}: {self.out}")
        bad = next((name for name, column in values.items() if not np.all(np.isfinite(column))), None)
        if bad is not None:
            print(f"Values of {bad} are not finite in some rows.", file=sys.stderr)
        return 0 if bad is None else FAILED


@final
@dataclass(frozen=True)
class Report:
    """Make one HTML page of a run, which needs no network: evidence, figures, settings, citations."""

    run: tyro.conf.Positional[Path]
    """Run folder of `hierax train` or `hierax fit`."""
    out: Path | None = None
    """File to write; report.html in the run folder if not given."""

    def __call__(self, console: Console) -> int:
        del console
        # Imported here: it draws, and matplotlib takes longer to import than other commands to run.
        from hierax.records.report import write_report

        if self.out is not None:
            check_writable(self.out)
        path = write_report(self.run, self.out)
        print(f"report {path} ({path.stat().st_size / 1024:.0f} KiB)")
        return 0


@final
@dataclass(frozen=True)
class List:
    """Show the problems of the catalogue with their settings."""

    def __call__(self, console: Console) -> int:
        del console
        print("Problems (hierax train NAME --set KEY=VALUE ...)")
        for name, make in sorted(catalogue().items()):
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
        command = tyro.cli(
            commands,
            args=None if argv is None else list(argv),
            prog=program,
            description=description,
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
        )
        return command(Console())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads the output, `head` for example, has seen enough; what is left must not be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as leaving:
        # The parser has said what is wrong; its own code for that, 2, means a numerical failure here.
        return BAD_INPUT if leaving.code else 0


def _solve(source: AbstractSource, options: Options, asked: dict[str, Any], console: Console) -> int:
    """Train, show, and keep: the common part of `train` and `fit`."""
    options.check()
    problem = source.load()
    run = Run.create(problem.name, options.run)
    words = {"field": options.field, "levels": options.levels, "cycle": options.cycle, "solver": options.solver}
    asked = {**asked, **words, "seed": options.seed, "budget_seconds": options.budget_seconds}
    watches = (Watch(problem),) if options.watch else ()
    with contextlib.closing(run):
        try:
            run.write_settings(source, problem, asked)
            solution = _trained(source, problem, options, (run, *watches), console)
        except InputError:
            # Nothing was trained: a folder without a result would only be in the way of the next try.
            run.discard()
            raise
    solution = dataclasses.replace(solution, options=asked)
    record = solution.to_json(run=str(run.path), seconds_import=SECONDS_IMPORT)
    run.write_solution(solution, record)
    for watch in watches:
        write_measures(run.path, watch.measures())
    print(f"{solution}\n")
    if options.json is not None:
        write_json(options.json, record)
        print(f"json   {options.json}")
    if solution.result is not RESULTS.interrupted:
        run.write_figure(solution)
    print(f"run    {run.path}")
    return solution.result.exit_code


def _trained(
    source: AbstractSource, problem: Problem, options: Options, subscribers: tuple[Any, ...], console: Console
) -> Solution:
    with contextlib.ExitStack() as stack:
        if options.tensorboard is not None:
            subscribers = (*subscribers, stack.enter_context(TensorBoard(options.tensorboard)))
        stack.enter_context(user_errors(source.file))
        board = LevelBoard(BLOCKS if "utf" in console.encoding.lower() else PLAIN) if options.live else CurrentStep()
        progress = stack.enter_context(Progress(console, board))
        return train(problem, subscribers=(*subscribers, progress), **options.overrides())


if __name__ == "__main__":
    raise SystemExit(main())
