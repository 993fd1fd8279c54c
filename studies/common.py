"""What studies share: networks, one measured training as a row, medians over seeds, table, figure and files."""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hierax import clock
from hierax.cycles import AbstractCycle
from hierax.events import Event, LevelFinished
from hierax.fields import KAN, Unknowns
from hierax.fields.geometry import AbstractGeometry, BSplineBasis
from hierax.hierarchy.transport import RESET
from hierax.objective import AbstractObjective
from hierax.problems.problem import Problem
from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM
from hierax.results.files import written
from hierax.results.solution import Solution
from hierax.solvers import AbstractSolver, Step
from hierax.training.train import train
from studies.gap import first, held_out

Row = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """One way to train, to be compared with others.

    Attributes
    ----------
    name:
        In tables and figures.
    field:
        From problem and seed to what `train` takes as its second argument.
    solver, cycle:
        Nothing leaves them to the strategy.
    side:
        Run with fewer seeds: expected to lose, and kept in the table to show by how much.
    color:
        In figures.
    """

    name: str
    field: Callable[[Problem, int], Any]
    solver: AbstractSolver | None = None
    cycle: AbstractCycle | None = None
    side: bool = False
    color: str = MUTED


@dataclass(frozen=True)
class Network:
    """A spline network, one for each unknown function.

    Attributes
    ----------
    hidden:
        Nodes between the two layers.
    intervals, degree:
        Of the splines on the coarsest level.
    linear_first:
        Whether the first layer is linear with bias, and not one of splines.
    """

    hidden: int
    intervals: int
    degree: int
    linear_first: bool

    def build(self, problem: Problem, seed: int, geometry: AbstractGeometry | None = None) -> Any:
        """The coarsest field."""

        def part(outputs: int, key: int) -> KAN:
            return KAN(
                [problem.domain.dim, self.hidden, outputs],
                intervals=self.intervals,
                degree=self.degree,
                key=key,
                domain=problem.domain.bounds(),
                linear_first=self.linear_first,
                first_bias=self.linear_first,
                geometry=geometry or BSplineBasis(),
            )

        return each_unknown(problem, part, seed)


def each_unknown(problem: Problem, part: Callable[[int, int], Any], seed: int) -> Any:
    """One field for each unknown function, `part(outputs, key)`; the field itself for the only, unnamed one."""
    if not problem.named:
        return part(1, seed)
    names = enumerate(problem.functions.items())
    return Unknowns(**{name: part(function.components or 1, 1000 * k + seed) for k, (name, function) in names})


class SharesState(NamedTuple):
    """State of the solver within, and when the visit began."""

    inner: Any
    began: float


@dataclass(frozen=True)
class Shares(AbstractSolver):
    """Ends a visit of any level below the finest after a fixed time: the same rule of switching for all solvers.

    Parameters
    ----------
    solver:
        Trains.
    seconds:
        For each visit, compilation included.
    finest:
        Parameters of the finest level, which goes on until the budget is spent.
    """

    solver: AbstractSolver
    seconds: float
    finest: int

    @property
    def second_order(self) -> bool:
        return self.solver.second_order

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> SharesState:
        return SharesState(self.solver.init(objective, theta), clock.seconds_now())

    def kinds(self, state: SharesState) -> Any:
        return SharesState(self.solver.kinds(state.inner), RESET)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: SharesState) -> Step:
        step = self.solver.step(objective, theta, state.inner)
        spent = objective.size < self.finest and clock.seconds_now() - state.began > self.seconds
        return step._replace(state=SharesState(step.state, state.began), done=step.done or spent)


def trained(problem: Problem, arm: Arm, seed: int, budget: float) -> tuple[Solution, list[Any]]:
    """Train once; the solution, and the field that every level was trained to.

    What is special to the problem is compiled by every training for itself, because it makes its own kernels.
    """
    fields: dict[int, Any] = {}

    def keep(event: Event) -> None:
        if isinstance(event, LevelFinished):
            fields[event.record.level] = event.field

    start = arm.field(problem, seed)
    solution = train(problem, start, solver=arm.solver, cycle=arm.cycle, key=seed, budget=budget, subscribers=[keep])
    return solution, list(fields.values())


def measured(name: str, problem: Problem, arm: Arm, seed: int, budget: float) -> Row:
    """Train once and measure the first unknown against the reference; a training that fails is a row too."""
    return row_of(name, problem, arm.name, seed, budget, trained(problem, arm, seed, budget)[0])


def row_of(name: str, problem: Problem, arm: str, seed: int, budget: float, solution: Solution) -> Row:
    """What a training reached, as a row."""
    return {
        "problem": name,
        "arm": arm,
        "seed": seed,
        "budget_seconds": budget,
        **errors(problem, solution),
        "loss": solution.loss,
        "parameters": solution.parameters,
        "linear_in_parameters": solution.linear_in_parameters,
        "seconds": solution.seconds_total,
        "seconds_compile": solution.seconds_compile,
        "steps": [level.steps for level in solution.levels],
        "levels": [level.level for level in solution.levels],
        "work_units": solution.work_units,
        "result": solution.result.name,
        "stopped_by": solution.stopped_by,
    }


def errors(problem: Problem, solution: Solution) -> Row:
    """Relative L2 error, largest error and mean square error of the first unknown; never below the stated floor."""
    (points, exact), reference = held_out(problem), problem.reference
    assert reference is not None
    wrong = solution.evaluate(points, first(problem)).reshape(exact.shape) - exact
    mean_square = float(np.mean(wrong**2))
    relative = float(np.sqrt(mean_square / np.mean(exact**2)))
    return {
        "relative_l2": max(relative, reference.error_bound),
        "max_error": float(np.abs(wrong).max()),
        "mse": mean_square,
        "reference_floor": reference.error_bound,
    }


def statistics(rows: Sequence[Row]) -> list[Row]:
    """One row for each problem and arm: medians over seeds, quartiles and extremes of the error."""
    out = []
    for problem, arm in dict.fromkeys((row["problem"], row["arm"]) for row in rows):
        own = [row for row in rows if (row["problem"], row["arm"]) == (problem, arm)]
        error = np.array([row["relative_l2"] for row in own])
        error[~np.isfinite(error)] = np.inf
        low, middle, high = np.quantile(error, [0.25, 0.5, 0.75], method="nearest")
        medians = {key: float(np.median([row[key] for row in own])) for key in MEDIANS}
        out.append(
            {
                "problem": problem,
                "arm": arm,
                "seeds": len(own),
                "parameters": own[0]["parameters"],
                "linear_in_parameters": own[0]["linear_in_parameters"],
                "relative_l2": float(middle),
                "relative_l2_quartiles": [float(low), float(high)],
                "relative_l2_worst": float(error.max()),
                **medians,
            }
        )
    return out


MEDIANS = ("max_error", "mse", "loss", "seconds", "seconds_compile")


def find(medians: Sequence[Row], problem: str, arm: str) -> Row | None:
    """The row of one problem and arm, where it was run."""
    return next((row for row in medians if (row["problem"], row["arm"]) == (problem, arm)), None)


def table(medians: Sequence[Row]) -> str:
    """The medians as text, a block for each problem."""
    head = ["arm", "seeds", "parameters", "relative L2", "quartiles", "worst", "maximum", "loss"]
    head += ["seconds", "(compile)"]
    lines: list[str] = []
    for problem in dict.fromkeys(row["problem"] for row in medians):
        cells = [head, *(_cells(row) for row in medians if row["problem"] == problem)]
        lines += ["", problem, *aligned(cells)]
    return "\n".join(lines[1:])


def _cells(row: Row) -> list[str]:
    low, high = row["relative_l2_quartiles"]
    linear = " (linear in its parameters)" if row["linear_in_parameters"] else ""
    numbers = [row["relative_l2_worst"], row["max_error"], row["loss"]]
    return [
        row["arm"] + linear,
        str(row["seeds"]),
        str(row["parameters"]),
        f"{row['relative_l2']:.2e}",
        f"{low:.1e} - {high:.1e}",
        *(f"{number:.1e}" for number in numbers),
        f"{row['seconds']:.1f}",
        f"({row['seconds_compile']:.1f})",
    ]


def write_files(
    out: Path, name: str, title: str, text: str, rows: Sequence[Row], figure: Callable[[Path], None]
) -> list[str]:
    """Table as text, all rows as CSV, and the figure that `figure` draws; returns their paths."""
    paths = [out / f"{name}.txt", out / f"{name}.csv", out / f"{name}.png"]
    with written(paths[0]) as draft:
        draft.write_text(f"{title}\n\n{text}\n", encoding="utf-8")
    with written(paths[1]) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        keys = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(stream, keys)
        writer.writeheader()
        writer.writerows(rows)
    figure(paths[2])
    return [str(path) for path in paths]


def read_rows(path: Path) -> list[Row]:
    """The rows that `write_files` has left in a CSV; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [{key: _value(text) for key, text in row.items() if text} for row in csv.DictReader(stream)]


def _value(text: str) -> Any:
    """A number, list or truth value from its text; any other text as it is."""
    try:
        return float(text) if text.lstrip("-") in ("inf", "nan") else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def record(name: str, quick: bool, summary: Row, files: list[str], table: str, notes: str | None, **more: Any) -> Row:
    """The JSON of a study; `more` are its rows, medians and whatever else it measured."""
    return {
        "study": name,
        "quick": quick,
        "summary": summary,
        "files": files,
        "table": table,
        **more,
        "notes": notes,
    }


def save(figure: Figure, path: Path, title: str) -> None:
    """Write a figure under its title; call within `matplotlib.rc_context(STYLE)`."""
    figure.suptitle(title, fontsize=10.5, x=0.01, ha="left", color=INK)
    with written(path) as draft:
        figure.savefig(draft)


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first row is its head: the first column to the left, the others to the right."""
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    return ["  " + "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]


def draw(path: Path, title: str, rows: Sequence[Row], colors: dict[str, str]) -> None:
    """Errors of all trainings: a panel for each problem, a line for each arm, a bar at the median."""
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    counts = [len({row["arm"] for row in rows if row["problem"] == problem}) for problem in problems]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 0.9 + 0.24 * sum(counts) + 0.75 * len(problems)), layout="constrained")
        panels = figure.subplots(len(problems), 1, squeeze=False, height_ratios=[2.0 + c for c in counts])[:, 0]
        for axes, problem in zip(panels, problems, strict=True):
            _panel(axes, problem, [row for row in rows if row["problem"] == problem], colors)
        save(figure, path, title)


def _panel(axes: Axes, problem: str, rows: Sequence[Row], colors: dict[str, str]) -> None:
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for place, arm in enumerate(arms):
        own = [row for row in rows if row["arm"] == arm]
        error = [row["relative_l2"] for row in own if np.isfinite(row["relative_l2"])]
        color = colors.get(arm, MUTED)
        axes.plot(error, [place] * len(error), "o", ms=4, alpha=0.75, color=color, mec="white", mew=0.4)
        if error:
            axes.plot([np.median(error)] * 2, [place - 0.32, place + 0.32], color=color, lw=1.8)
    budgets = sorted({row["budget_seconds"] for row in rows})
    axes.set(xscale="log", title=f"{problem}: relative L2 error within {', '.join(f'{b:g}' for b in budgets)} s")
    axes.set_yticks(range(len(arms)), arms)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.grid(axis="x", lw=0.4, alpha=0.5)


def colors_of(arms: Iterable[Arm]) -> dict[str, str]:
    """Color of each arm."""
    return {arm.name: arm.color for arm in arms}


BEST, BASELINE, CONTROL, OTHER = WARM, INK, ACCENT, MUTED
"""Colors of the arm that a study is about, of what it is measured against, of classical controls, of the rest."""
