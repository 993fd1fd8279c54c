"""Multilevel training of Kolmogorov-Arnold networks: the four problems of arXiv 2603.04827, with what it leaves out.

The paper trains spline networks from coarse to fine (nested iteration) with L-BFGS (regression) or Adam (equations), at
equal numbers of "epochs times knots". This study repeats that, and asks what is left at equal seconds, compilation
included, when the levels are trained by Gauss-Newton; it reports errors on points that training did not see. Beside
the networks there is a control: the library's default strategy, for these problems a spline grid, linear in its
parameters.

Where the paper leaves a choice open, or where a choice differs from it:

- Regression: a linear layer with bias and cubic splines, 5 to 40 intervals, gives the paper's 55 and 230 parameters.
  15 % of its 20,000 points are kept back by the library to choose the level.
- The other problems: two layers of splines, ten nodes between them, degree 4; 5 to 20 intervals for Burgers as in the
  paper, 4 to 16 for the others. The paper's three layers for Burgers and Allen-Cahn cost ten times as much a
  Gauss-Newton step for less accuracy in the same seconds.
- Poisson: the first-order system (`poisson-jump-mixed`), one network for each unknown. No level-set input: the paper
  gives its network the interface, here it has to be found.
- Points are Sobol points that grow with the parameters, not the paper's fixed grids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax.nn
import jax.numpy as jnp

from hierax.cycles import NestedIteration, SingleLevel, Until
from hierax.fields import MLP
from hierax.fields.geometry import AbstractGeometry, BSplineBasis, PowerReLUBasis
from hierax.hierarchy import IntervalDoubling, refine
from hierax.problems import catalogue
from hierax.problems.problem import Problem
from hierax.solvers import AbstractSolver, GaussNewton, Optax, Tolerances, adam, lbfgs
from studies.common import (
    BASELINE,
    BEST,
    CONTROL,
    Arm,
    Network,
    Row,
    colors_of,
    draw,
    each_unknown,
    find,
    measured,
    record,
    statistics,
    table,
    write_files,
)
from studies.registry import study
from studies.starts import SeveralStarts

NAME = "multilevel-kan"
ENDLESS = 10**9
MULTILEVEL = "nested, Gauss-Newton"
CONTROL_ARM = "default strategy (control)"


@dataclass(frozen=True)
class Case:
    """One problem with the networks that are trained on it.

    Attributes
    ----------
    problem:
        Name in the catalogue.
    hidden:
        Nodes between the layers.
    intervals, levels, degree:
        Intervals of the coarsest splines, doubled on every level; degree.
    linear_first:
        Whether the first layer is linear.
    paper:
        The paper's optimiser.
    coarse, fine, nested:
        The paper's schedules in blocks of the optimiser's steps: coarsest level alone, finest alone, every level.
    budget:
        Seconds for every training.
    options:
        Settings of the problem.
    """

    problem: str
    hidden: int
    intervals: int
    levels: int
    degree: int
    linear_first: bool
    paper: Callable[[], Optax]
    coarse: int
    fine: int
    nested: tuple[int, ...]
    budget: float
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Problem:
        return catalogue()[self.problem](**self.options)

    def kan(self, problem: Problem, seed: int, geometry: AbstractGeometry) -> Any:
        """The coarsest field, one network for each unknown."""
        return Network(self.hidden, self.intervals, self.degree, self.linear_first).build(problem, seed, geometry)

    def mlp(self, problem: Problem, seed: int, activation: Callable) -> Any:
        """A perceptron; about as many parameters as the finest network of the regression, more for the others."""
        width = 13 if self.linear_first else 32
        layers = [problem.domain.dim, width, width]

        def part(outputs: int, key: int) -> MLP:
            return MLP([*layers, outputs], key=key, domain=problem.domain.bounds(), activation=activation)

        return each_unknown(problem, part, seed)


def _adam() -> Optax:
    return adam(1e-3, ENDLESS)


def _lbfgs() -> Optax:
    return lbfgs(ENDLESS)


CASES = (
    Case("rotated-regression", 5, 5, 4, 3, True, _lbfgs, 13, 2, (3, 2, 1, 1), 30.0),
    Case("burgers", 10, 5, 3, 4, False, _adam, 64, 16, (16, 8, 4), 60.0),
    Case("poisson-jump-mixed", 10, 4, 3, 4, False, _adam, 75, 25, (25, 25, 25), 60.0),
    Case("allen-cahn", 10, 4, 3, 4, False, _adam, 50, 50, (50, 50, 50), 60.0),
)


def arms(case: Case) -> list[Arm]:
    """Everything that is trained on one problem; the first three and the control with all seeds."""

    def hierarchy(geometry: AbstractGeometry) -> Callable[[Problem, int], Any]:
        return lambda problem, seed: refine(
            case.kan(problem, seed, geometry), by=IntervalDoubling(), levels=case.levels
        )

    def perceptron(activation: Callable) -> Callable[[Problem, int], Any]:
        return lambda problem, seed: case.mlp(problem, seed, activation)

    splines, powers = hierarchy(BSplineBasis()), hierarchy(PowerReLUBasis())
    paper, first, second = case.paper(), _adam(), gauss_newton()
    label = "L-BFGS" if case.paper is _lbfgs else "Adam"
    shared = [
        Arm(MULTILEVEL, splines, several_starts(), NestedIteration(), color=BEST),
        Arm("fine only, Adam", splines, first, SingleLevel(), color=BASELINE),
        Arm(f"nested, {label}", splines, paper, _nested(case)),
        Arm(CONTROL_ARM, lambda problem, seed: None, color=CONTROL),
    ]
    if case.paper is _lbfgs:
        shared.append(Arm("fine only, L-BFGS", splines, paper, SingleLevel(), color=BASELINE))
    side = [
        Arm("fine only, Gauss-Newton", splines, second, SingleLevel()),
        Arm("coarse only, Gauss-Newton", splines, several_starts(), SingleLevel(0)),
        Arm(f"coarse only, {label}", splines, paper, SingleLevel(0)),
        Arm(f"paper's work: coarse, {label}", splines, paper, SingleLevel(0, Until(steps=case.coarse))),
        Arm(f"paper's work: fine, {label}", splines, paper, SingleLevel(until=Until(steps=case.fine))),
        Arm(f"paper's work: nested, {label}", splines, paper, _nested(case, last=True)),
        Arm(f"power-ReLU nested, {label}", powers, paper, _nested(case)),
        Arm("power-ReLU nested, Gauss-Newton", powers, second, NestedIteration()),
        Arm("MLP tanh, Adam", perceptron(jnp.tanh), first, SingleLevel()),
        Arm("MLP tanh, Gauss-Newton", perceptron(jnp.tanh), second, SingleLevel()),
        Arm("MLP ReLU, Adam", perceptron(jax.nn.relu), first, SingleLevel()),
    ]
    return [*shared, *(Arm(a.name, a.field, a.solver, a.cycle, True, a.color) for a in side)]


def gauss_newton() -> GaussNewton:
    """Gauss-Newton as all arms use it: a level ends when a step promises less than one per mille."""
    return GaussNewton(tolerances=Tolerances(1e-3, 60))


def several_starts() -> AbstractSolver:
    """The same, from the best of several starts on the coarsest level."""
    return SeveralStarts(gauss_newton())


def _nested(case: Case, last: bool = False) -> NestedIteration:
    """The paper's schedule; the finest level goes on until the budget is spent, unless `last`."""
    visits = [Until(steps=count) for count in case.nested]
    return NestedIteration(tuple(visits if last else [*visits[:-1], Until()]))


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train everything, leave table, figure and rows in `out`, return them with the main numbers under `summary`.

    The short form has one seed of the regression with a quarter of the points, for the multilevel network, what the
    paper compares it with, and the control; and the control for Burgers.
    """
    rows: list[Row] = []
    colors: dict[str, str] = {}
    for case in short_cases() if quick else CASES:
        problem, own = case.make(), _short_arms(case) if quick else arms(case)
        colors |= colors_of(own)
        for arm in own:
            for seed in range(_seeds(arm, quick)):
                rows.append(measured(case.problem, problem, arm, seed, case.budget))
    medians = statistics(rows)
    text = table(medians)
    title = "Multilevel training of Kolmogorov-Arnold networks" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, rows, colors))
    return record(NAME, quick, summary(medians), paths, text, __doc__, medians=medians, rows=rows)


def _seeds(arm: Arm, quick: bool) -> int:
    if quick or arm.name == CONTROL_ARM:
        return 1
    return 2 if arm.side else 5


def short_cases() -> tuple[Case, ...]:
    """The problems of the short form, with fewer points and seconds."""
    regression, burgers = CASES[:2]
    return replace(regression, budget=14.0, options={"points": 5000}), replace(burgers, budget=20.0)


def _short_arms(case: Case) -> list[Arm]:
    wanted = {MULTILEVEL, "fine only, Adam", "fine only, L-BFGS", CONTROL_ARM}
    if case.problem != "rotated-regression":
        wanted = {CONTROL_ARM}
    # fewer starts than in the long form: with these seconds the search must not take most of them
    return [
        replace(arm, solver=SeveralStarts(gauss_newton(), starts=4)) if arm.name == MULTILEVEL else arm
        for arm in arms(case)
        if arm.name in wanted
    ]


def summary(medians: list[Row]) -> dict[str, Any]:
    """The main numbers; null where an arm was not run."""
    regression = find(medians, "rotated-regression", MULTILEVEL)
    names = [case.problem for case in CASES]
    best = {name: find(medians, name, MULTILEVEL) for name in names}
    slow = {name: find(medians, name, "fine only, Adam") for name in names}
    errors = {name: None if row is None else row["relative_l2"] for name, row in best.items()}
    pairs = {name: (slow[name], best[name]) for name in names}
    gains = {
        name: s["relative_l2"] / b["relative_l2"] for name, (s, b) in pairs.items() if s is not None and b is not None
    }
    return {
        "regression_mse_median": regression and regression["mse"],
        "regression_mse_worst_over_median": regression
        and (regression["relative_l2_worst"] / regression["relative_l2"]) ** 2,
        "regression_seconds": regression and regression["seconds"],
        "burgers_relative_l2": errors["burgers"],
        "poisson_jump_relative_l2": errors["poisson-jump-mixed"],
        "gain_over_adam": gains,
        "control_relative_l2": {row["problem"]: row["relative_l2"] for row in medians if row["arm"] == CONTROL_ARM},
    }
