"""What hierax does, in less than a minute of one core: an equation with a layer, noisy data, and a report.

Burgers' equation is solved by the default strategy, and then, in the same seconds, by a perceptron that Adam trains.
Then values with noise are smoothed. The report is the page that every run can have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierax.cycles import SingleLevel
from hierax.fields import MLP
from hierax.problems import Box, Data, Problem, burgers
from hierax.results.solution import Solution
from hierax.solvers import adam
from hierax.training.train import train
from studies.common import record, row_of
from studies.registry import study

NAME = "demo"
LEVELS, LONGEST = 7, 300.0
"""The first training ends by its levels, so that a busy machine shows the same; the second has as many seconds."""
ENDLESS = 10**9
NOISE, MEASURED, CENTRES = 0.05, 2000, np.array([[0.3, 0.4], [0.7, 0.6]])


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train three times and write a report and its picture; what a visitor should remember is under `words`."""
    problem = burgers()
    grid = train(problem, levels=LEVELS, budget=LONGEST)
    first_order = {"solver": adam(1e-3, ENDLESS), "cycle": SingleLevel()}
    network = train(problem, perceptron(problem), budget=grid.seconds_total, **first_order)
    fit, error = smoothed()
    report, picture = out / "report.html", out / "burgers.png"
    grid.report(report)
    grid.plot(picture)
    trained = {"default": grid, "Adam": network}
    rows = [row_of(problem.name, problem, arm, 0, LONGEST, solution) for arm, solution in trained.items()]
    words = [
        *about_equation(grid, network),
        "",
        *about_data(fit, error),
        "",
        f"Report:  {report}",
        f"Picture: {picture}",
    ]
    summary = {"burgers": rows[0]["relative_l2"], "network": rows[1]["relative_l2"], "fit": error}
    shown = "\n".join(words[:-3])
    return record(NAME, quick, summary, [str(report), str(picture)], shown, __doc__, rows=rows, words=words)


def perceptron(problem: Problem) -> MLP:
    """Two hidden layers of 32 units, as networks for this equation often have."""
    return MLP([problem.domain.dim, 32, 32, 1], key=0, activation=jnp.tanh, domain=problem.domain.bounds())


def bumps(points: np.ndarray) -> np.ndarray:
    """What is measured with noise."""
    squares = np.sum((points[:, None, :] - CENTRES) ** 2, axis=2)
    return np.exp(-squares / (2 * 0.15**2)).sum(axis=1)


def smoothed() -> tuple[Solution, float]:
    """A fit of measured values, and its root mean square error against the values without noise, at fresh points."""
    generator = np.random.default_rng(0)
    points, fresh = generator.random((MEASURED, 2)), generator.random((MEASURED, 2))
    values = bumps(points) + NOISE * generator.standard_normal(MEASURED)
    solution = train(Problem(Box([0.0, 0.0], [1.0, 1.0]), (Data("u", points, values),), name="bumps"), budget=LONGEST)
    return solution, float(np.sqrt(np.mean((solution.evaluate(fresh) - bumps(fresh)) ** 2)))


def about_equation(grid: Solution, network: Solution) -> list[str]:
    """Five lines about the main job."""
    weights, mine, other = network.parameters, grid.accuracy.relative_l2, network.accuracy.relative_l2
    assert mine is not None
    assert other is not None
    sizes = f"{grid.parameters} coefficients, {len(grid.levels)} levels"
    return [
        "Burgers' equation, whose solution steepens to a thin layer (viscosity 0.01):",
        f"  hierax  error {mine:.0e} after {grid.seconds_total:.0f} s: a spline grid of {sizes}, Gauss-Newton.",
        f"  Adam    error {other:.0e} after {network.seconds_total:.0f} s: a network of {weights} parameters.",
        f"  Checks  hierax {verdict(grid)}; Adam {verdict(network)}.",
        "  Errors are relative to the size of a reference solution, at points that training did not use.",
    ]


def verdict(solution: Solution) -> str:
    """How the guards ended, in words."""
    failed = [name.replace("_", " ") for name, guard in solution.guards.items() if not guard.passed]
    return f"fails {' and '.join(failed)}" if failed else f"passes all {len(solution.guards)}"


def about_data(fit: Solution, error: float) -> list[str]:
    """Two lines about the fit."""
    return [
        f"{MEASURED} measured values with noise of {NOISE}, smoothed in {fit.seconds_total:.0f} s:",
        f"  the fit is {error:.3f} from the values without noise, {NOISE / error:.0f} times nearer than a measurement.",
    ]
