"""Networks on scattered data: units and data from coarse to fine, against the same network on one level.

A front that no grid line follows and a function of six coordinates are where a grid cannot follow and a network is
wanted. What is asked: does it pay to begin with few units and a part of the data, at equal seconds, compilation
included?

- All networks of a problem have the same layers at the end. Single-level arms train them on all data from the start,
  by Gauss-Newton and by Adam; two arms have levels in units alone and in data alone.
- Coarse data are local means in two dimensions, and the first of the rows in six; see `hierax.objective.data_rows`.
- Every arm keeps the same 15 % of the data back, and stops where the error there is smallest.
- The default strategy is a row: in two dimensions a spline grid, linear in its parameters, in six the perceptron with
  levels in the data that follow the misfit at the values kept back.
- A classical control has no training: cubic interpolation on a triangulation in two dimensions, a radial basis (thin
  plates on the nearest neighbours) in six.
- `gain` is the error of the single level by Gauss-Newton, or of the better single level, over that of the arm with
  levels in both, by medians over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import CloughTocher2DInterpolator, NearestNDInterpolator, RBFInterpolator

from hierax import clock
from hierax.cycles import NestedIteration, SingleLevel
from hierax.fields import MLP
from hierax.hierarchy import Hierarchy, Level, MoreData, WidthGrowth, refine
from hierax.problems import catalogue
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.solvers import AbstractSolver, GaussNewton, Tolerances, adam
from studies.common import (
    BASELINE,
    BEST,
    CONTROL,
    Arm,
    Row,
    colors_of,
    draw,
    each_unknown,
    measured,
    record,
    statistics,
    table,
    write_files,
)
from studies.gap import held_out
from studies.registry import study

NAME = "networks"
ENDLESS, SEEDS = 10**9, 5
BOTH, UNITS, DATA = "levels of units and data, Gauss-Newton", "levels of units", "levels of data"
SECOND, FIRST = "one level, Gauss-Newton", "one level, Adam"
DEFAULT = "default strategy"
CONTROLS = {2: "cubic interpolation (control)", 6: "radial basis (control)"}


@dataclass(frozen=True)
class Case:
    """One problem with the network that is trained on it.

    Attributes
    ----------
    problem, options:
        Name in the catalogue, and settings.
    width:
        Units of the two hidden layers on the finest level.
    levels:
        Of units; half as many on every coarser one.
    points:
        Samples of the coarsest level.
    budget:
        Seconds for every training.
    """

    problem: str
    width: int
    levels: int
    points: int
    budget: float
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Problem:
        return catalogue()[self.problem](**self.options)

    def network(self, problem: Problem, seed: int, width: int) -> Any:
        layers = [problem.domain.dim, width, width]
        return each_unknown(problem, lambda out, key: MLP([*layers, out], key=key), seed)

    def units(self, problem: Problem, seed: int) -> Hierarchy:
        """Narrow to wide, all data on every level."""
        return refine(self._narrow(problem, seed), by=WidthGrowth(2.0), levels=self.levels, key=seed)

    def data(self, problem: Problem, seed: int) -> Hierarchy:
        """The whole network; four times the samples on every level until all are seen."""
        field, rows = self.network(problem, seed, self.width), _rows(problem)
        count = 1 + int(np.ceil(np.log(rows / self.points) / np.log(4.0)))
        return _everything(refine(field, by=MoreData(4.0), levels=count, points=self.points))

    def both(self, problem: Problem, seed: int) -> Hierarchy:
        """Narrow to wide, the samples growing with the parameters, then those that are left."""
        narrow = self._narrow(problem, seed)
        made = refine(narrow, by=WidthGrowth(2.0), levels=self.levels, points=self.points, key=seed)
        points = made.levels[-1].points
        further = points is not None and points < _rows(problem) / 2
        return _everything(made.grow(MoreData(4.0)) if further else made)

    def _narrow(self, problem: Problem, seed: int) -> Any:
        return self.network(problem, seed, self.width >> (self.levels - 1))


CASES = (
    Case("curved-fronts", 32, 3, 512, 60.0),
    Case("constitutive", 32, 3, 128, 60.0),
)


def _rows(problem: Problem) -> int:
    return sum(len(term.points) for term in problem.terms if isinstance(term, Data))


def _everything(hierarchy: Hierarchy) -> Hierarchy:
    """The same with all data on the finest level."""
    return Hierarchy((*hierarchy.levels[:-1], Level(hierarchy.levels[-1].field)), hierarchy.transfers)


def gauss_newton() -> AbstractSolver:
    """As all arms use it: a level ends with a step that promises less than a tenth of a per mille."""
    return GaussNewton(tolerances=Tolerances(1e-4, 200))


def arms(case: Case) -> list[Arm]:
    """Everything that is trained on one problem."""

    def whole(problem: Problem, seed: int) -> Any:
        return case.network(problem, seed, case.width)

    return [
        Arm(BOTH, case.both, gauss_newton(), NestedIteration(), color=BEST),
        Arm(UNITS, case.units, gauss_newton(), NestedIteration(), side=True),
        Arm(DATA, case.data, gauss_newton(), NestedIteration(), side=True),
        Arm(SECOND, whole, gauss_newton(), SingleLevel(), color=BASELINE),
        Arm(FIRST, whole, adam(2e-3, ENDLESS), SingleLevel(), color=BASELINE),
        Arm(DEFAULT, lambda problem, seed: None, color=CONTROL),
    ]


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train everything, leave table, figure and rows in `out`, return them with the main numbers under `summary`.

    The short form has one seed, a smaller network of each problem, fewer samples and a few seconds for each training.
    """
    return compare(out, _short_cases() if quick else CASES, 1 if quick else SEEDS, quick)


def compare(
    out: Path, cases: Sequence[Case], seeds: int, quick: bool = False, names: Sequence[str] | None = None
) -> dict[str, Any]:
    """Run some problems with so many seeds, side arms with two at most; what is in `out` is written after every arm.

    `names` are the arms that are run, all by default.
    """
    rows: list[Row] = []
    told: dict[str, Any] = {}
    for case in cases:
        problem = case.make()
        for arm in arms(case):
            if (quick and arm.side) or (names is not None and arm.name not in names):
                continue
            own = min(seeds, 2) if arm.side or arm.name == DEFAULT else seeds
            rows += [measured(case.problem, problem, arm, seed, case.budget) for seed in range(own)]
            told = leave(out, rows, quick)
        rows.append(control(case, problem))
        told = leave(out, rows, quick)
    return told


def leave(out: Path, rows: list[Row], quick: bool) -> dict[str, Any]:
    """Table, figure and rows of what was trained, and the JSON."""
    medians, colors = statistics(rows), colors_of(arms(CASES[0]))
    text = table(medians)
    title = "Networks on scattered data, one level or several" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, rows, colors))
    return record(NAME, quick, summary(medians), paths, text, __doc__, medians=medians, rows=rows)


def _short_cases() -> list[Case]:
    fronts, stress = CASES
    return [
        replace(fronts, width=12, levels=2, points=256, budget=8.0, options={"points": 4000, "width": 0.05}),
        replace(stress, width=12, levels=2, points=96, budget=8.0, options={"points": 3000}),
    ]


def summary(medians: list[Row]) -> dict[str, Any]:
    """The main numbers; null where an arm was not run."""
    names = [case.problem for case in CASES]
    found = {name: {row["arm"]: row["relative_l2"] for row in medians if row["problem"] == name} for name in names}

    def gain(over: Callable[[dict[str, float]], float]) -> dict[str, float]:
        wanted = {BOTH, SECOND, FIRST}
        return {name: over(errors) / errors[BOTH] for name, errors in found.items() if wanted <= set(errors)}

    return {
        "relative_l2": found,
        "gain_over_one_level_second_order": gain(lambda errors: errors[SECOND]),
        "gain_over_best_one_level": gain(lambda errors: min(errors[SECOND], errors[FIRST])),
    }


def control(case: Case, problem: Problem) -> Row:
    """The classical control as a row: interpolation of the same samples."""
    term, began = next(term for term in problem.terms if isinstance(term, Data)), clock.seconds_now()
    (points, exact), values = held_out(problem), term.values.reshape(len(term.points), -1)
    if problem.domain.dim == 2:
        inside = np.asarray(CloughTocher2DInterpolator(term.points, values)(points))
        outside = NearestNDInterpolator(term.points, values)(points)
        own = np.where(np.isfinite(inside), inside, outside)
    else:
        own = RBFInterpolator(term.points, values, neighbors=64)(points)
    wrong = own - exact.reshape(own.shape)
    mean_square = float(np.mean(wrong**2))
    return {
        "problem": case.problem, "arm": CONTROLS[problem.domain.dim], "seed": 0, "budget_seconds": case.budget,
        "relative_l2": float(np.sqrt(mean_square / np.mean(exact**2))), "max_error": float(np.abs(wrong).max()),
        "mse": mean_square, "loss": 0.0, "parameters": values.size, "linear_in_parameters": True,
        "seconds": clock.seconds_now() - began, "seconds_compile": 0.0,
    }  # fmt: skip
