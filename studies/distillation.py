"""From grid to network: does it pay to solve on a spline grid first, and to teach the network what the grid knows?

- A network of one shape a problem is trained with the equation (or the data) from random weights, and from weights that
  were fitted to the values and derivatives of a spline grid's solution (`hierax.distil`). The grid is the default
  strategy's, with a quarter of the seconds at most; the fit takes another quarter at most; the rest goes to training.
- Both are done with Gauss-Newton and with Adam. In a third way (`hierax.guided`) the network starts with random weights
  and follows the values of the grid while it is trained with the equation by Gauss-Newton, ever less.
- All arms have equal elapsed seconds, compilation in them.
- `distilled` is the network before any training with the equation, and `grid` the solution that it learned from, which
  is linear in its parameters and nearly always better: a network is wanted for other reasons, for its size or because
  it is to go on learning.
- `gain` is the median error of direct training over that of the distilled and trained network, by the same solver;
  above one it pays.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hierax.cycles import SingleLevel
from hierax.fields import MLP, parameter_count
from hierax.problems import catalogue
from hierax.problems.problem import Problem
from hierax.results.solution import Solution
from hierax.solvers import AbstractSolver, GaussNewton, Tolerances, adam
from hierax.training.distillation import distil, guided
from hierax.training.train import train
from studies.common import BASELINE, BEST, CONTROL, Row, draw, record, row_of, statistics, table, write_files
from studies.gap import held_out
from studies.laps import Ruler
from studies.registry import study

NAME = "distillation"
ENDLESS, SEEDS = 10**9, 3
GRID, START, GUIDED = "grid", "distilled", "guided, Gauss-Newton"
SHARE = 0.25
SOLVERS: dict[str, AbstractSolver] = {
    "Gauss-Newton": GaussNewton(tolerances=Tolerances(1e-6, ENDLESS)),
    "Adam": adam(2e-3, ENDLESS),
}


@dataclass(frozen=True)
class Case:
    """A problem with the two hidden layers of the network, and seconds of every arm."""

    problem: str
    width: int
    budget: float
    options: dict[str, Any] = field(default_factory=dict)

    def network(self, problem: Problem, seed: int) -> MLP:
        """With random weights."""
        widths = [problem.domain.dim, self.width, self.width, 1]
        return MLP(widths, key=seed, domain=problem.domain.bounds())


CASES = {
    "poisson-2d": Case("poisson-2d", 24, 40.0, {"scales": 1}),
    "burgers": Case("burgers", 20, 40.0, {"viscosity": 0.02}),
    "allen-cahn": Case("allen-cahn", 20, 40.0),
    "curved-fronts": Case("curved-fronts", 24, 40.0, {"points": 6000}),
}
"""A linear equation, an evolution with a layer, one with a false minimum, and a fit of data without any equation."""


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train everything, leave table, figure and rows in `out`, return them with the main numbers under `summary`.

    The short form has one problem, a smaller network, one seed, and ten seconds for each training.
    """
    short = {"burgers": Case("burgers", 12, 10.0, {"viscosity": 0.05})}
    return compare(out, short if quick else CASES, 1 if quick else SEEDS, quick)


def compare(out: Path, cases: Mapping[str, Case], seeds: int, quick: bool = False) -> dict[str, Any]:
    """Run some problems with so many seeds; what is in `out` is written after every seed."""
    rows: list[Row] = []
    told: dict[str, Any] = {}
    for name, case in cases.items():
        for seed in range(seeds):
            rows += trainings(name, case, seed)
            told = leave(out, rows, quick)
    return told


def leave(out: Path, rows: list[Row], quick: bool) -> dict[str, Any]:
    """Table, figure and rows, and the JSON."""
    medians = statistics(rows)
    main = summary(medians)
    text = table(medians) + "\n\n" + "\n".join(_lines(main))
    title = "A network from random weights, or from what a spline grid has learned" + (" (short form)" if quick else "")
    colors = {GRID: CONTROL} | {name: BASELINE if "direct" in name else BEST for name in _arms(rows)}
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, rows, colors))
    return record(NAME, quick, main, paths, text, __doc__, medians=medians, rows=rows)


def _arms(rows: list[Row]) -> list[str]:
    return [name for name in dict.fromkeys(row["arm"] for row in rows) if name != GRID]


def trainings(name: str, case: Case, seed: int) -> list[Row]:
    """All arms of one problem and seed."""
    problem = catalogue()[case.problem](**case.options)
    network, began = case.network(problem, seed), time.perf_counter()
    source = train(problem, key=seed, budget=SHARE * case.budget)
    known = time.perf_counter() - began
    start = distil(source, network, key=seed, budget=SHARE * case.budget)
    spent = time.perf_counter() - began
    rows = [row_of(name, problem, GRID, seed, case.budget, source), _untrained(name, case, problem, start, seed, spent)]
    for label, solver in SOLVERS.items():
        arms = {f"direct, {label}": (network, 0.0), f"{START}, {label}": (start, spent)}
        for arm, (from_, before) in arms.items():
            left = max(case.budget - before, 1e-3)
            found: Solution = train(problem, from_, solver=solver, cycle=SingleLevel(), key=seed, budget=left)
            row = row_of(name, problem, arm, seed, case.budget, found)
            rows.append(row | {"seconds": row["seconds"] + before})
    return [*rows, _guided(name, case, source, network, seed, known)]


def _guided(name: str, case: Case, source: Solution, network: MLP, seed: int, known: float) -> Row:
    """The network that follows the grid, which was known after some seconds."""
    began, problem = time.perf_counter(), source.problem
    solver = guided(source, network, key=seed)
    left = max(case.budget - known - (time.perf_counter() - began), 1e-3)
    found = train(problem, network, solver=solver, cycle=SingleLevel(), key=seed, budget=left)
    row = row_of(name, problem, GUIDED, seed, case.budget, found)
    return row | {"seconds": row["seconds"] + case.budget - left}


def _untrained(name: str, case: Case, problem: Problem, start: Any, seed: int, spent: float) -> Row:
    """The distilled network as a row."""
    exact = held_out(problem)[1]
    error = Ruler(problem)(start)
    return {
        "problem": name, "arm": START, "seed": seed, "budget_seconds": case.budget, "relative_l2": error,
        "max_error": float("nan"), "mse": error**2 * float(np.mean(exact**2)), "loss": 0.0,
        "parameters": parameter_count(start), "linear_in_parameters": False, "seconds": spent, "seconds_compile": 0.0,
    }  # fmt: skip


def summary(medians: list[Row]) -> dict[str, Any]:
    """The main numbers; see the head of the file."""
    found: dict[str, dict[str, float]] = {}
    for row in medians:
        found.setdefault(row["problem"], {})[row["arm"]] = row["relative_l2"]
    gain = {
        problem: {s: errors[f"direct, {s}"] / errors[f"{START}, {s}"] for s in SOLVERS}
        | {"guided": errors["direct, Gauss-Newton"] / errors[GUIDED]}
        for problem, errors in found.items()
    }
    best = {p: min(e[f"direct, {s}"] for s in SOLVERS) / _best_of(e) for p, e in found.items()}
    return {"relative_l2": found, "gain": gain, "gain_of_the_best": best}


def _best_of(errors: dict[str, float]) -> float:
    return min(errors[GUIDED], *(errors[f"{START}, {s}"] for s in SOLVERS))


def _lines(main: dict[str, Any]) -> list[str]:
    return [
        f"{problem}: direct over distilled, " + ", ".join(f"{solver} {value:.2g}" for solver, value in gains.items())
        + f", the better of both solvers {main['gain_of_the_best'][problem]:.2g}"
        for problem, gains in main["gain"].items()
    ]  # fmt: skip
