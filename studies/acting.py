"""Measures that act: weights of terms from the kernel, a switch of solver on a stall, stages from the residual.

Each way to let a measure of training decide something is trained beside the same without it, at equal seconds with
compilation:

- `weights`: Adam on networks for equations with boundary conditions. The terms are weighed by the ratio of their
  curvature once on each level (what the library does by itself), not at all, or by the traces of the tangent kernel, at
  the start alone or again and again (`hierax.solvers.Weighted`).
- `switch`: Adam or L-BFGS until they stall and then Gauss-Newton (`hierax.solvers.Switching`), against each alone.
- `stages`: Gauss-Newton on one network, on a network that becomes wider (`WidthGrowth`), and on networks in stages
  whose frequency and size follow from the spectrum of what is left (`AddStage`).

Trainings are ordered by seed, and the files are written after every one: a run that is ended early has some seeds in
full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hierax.cycles import NestedIteration, SingleLevel, Until
from hierax.fields import MLP
from hierax.hierarchy import WidthGrowth, refine
from hierax.objective import AbstractObjective
from hierax.objective.weighting import AbstractWeighting
from hierax.planning.families import Stages
from hierax.problems import Box, Problem, Reference, Residual, burgers, poisson_2d, semilinear_2d
from hierax.records.files import write_json
from hierax.results.solution import plain
from hierax.solvers import AbstractSolver, GaussNewton, Switching, Tolerances, Weighted, adam, lbfgs
from studies.common import BASELINE, BEST, OTHER, Arm, Row, draw, find, measured, record, statistics, table
from studies.common import write_files as write
from studies.registry import study

NAME = "acting"
ENDLESS = 10**9
NEWTON = GaussNewton(tolerances=Tolerances(1e-6, 4000))
FIRST, QUASI = adam(2e-3, ENDLESS), lbfgs(10**6)
PLAIN, KERNEL = "Adam, weights by curvature (default)", "Adam, kernel weights"
ALONE, SWITCHED = "Gauss-Newton alone", "Adam, on a stall Gauss-Newton"
ONE, STAGES = "one network", "stages"


@dataclass(frozen=True)
class Unweighted(AbstractWeighting):
    """All terms with the factor one."""

    def init(self, objective: AbstractObjective, theta: Float[np.ndarray, " N"]) -> Float[np.ndarray, " terms"]:
        del theta
        return 1.0 / objective.scales

    def update(
        self,
        weights: Float[np.ndarray, " terms"],
        objective: AbstractObjective,
        theta: Float[np.ndarray, " N"],
    ) -> Float[np.ndarray, " terms"]:
        del objective, theta
        return weights


@dataclass(frozen=True)
class Trial:
    """A problem with the arms that are compared on it, and their seconds."""

    question: str
    name: str
    problem: Problem
    arms: tuple[Arm, ...]
    seconds: float

    @property
    def title(self) -> str:
        """Of its block in the table."""
        return f"{self.question}: {self.name}"


def network(hidden: int, problem: Problem, seed: int) -> MLP:
    """A perceptron with two hidden layers."""
    return MLP([problem.domain.dim, hidden, hidden, 1], key=seed, domain=problem.domain.bounds())


def wider(problem: Problem, seed: int) -> Any:
    """The network of the first stage, which becomes wider twice."""
    return refine(network(16, problem, seed), by=WidthGrowth(1.35), levels=3)


def _arm(name: str, solver: AbstractSolver, color: str = OTHER) -> Arm:
    return Arm(name, partial(network, 20), solver, SingleLevel(), color=color)


def trials(seconds: float = 12.0) -> list[Trial]:
    """All comparisons."""
    equations = {
        "burgers, viscosity 0.02": burgers(viscosity=0.02),
        "poisson-2d, one scale": poisson_2d(scales=1),
        "semilinear-2d": semilinear_2d(),
    }
    weights = (
        _arm("Adam, no weights", Weighted(FIRST, Unweighted(), ENDLESS)),
        _arm(PLAIN, FIRST, BASELINE),
        _arm("Adam, kernel weights of the start", Weighted(FIRST, every=ENDLESS)),
        _arm(KERNEL, Weighted(FIRST), BEST),
    )
    switch = (
        _arm("Adam alone", FIRST),
        _arm("L-BFGS alone", QUASI),
        _arm(ALONE, NEWTON, BASELINE),
        _arm(SWITCHED, Switching(FIRST, NEWTON), BEST),
        _arm("L-BFGS, on a stall Gauss-Newton", Switching(QUASI, NEWTON), BEST),
    )
    # each level ends where its steps bring little; the last one goes on
    levels = NestedIteration((Until(stall=0.02), Until(stall=0.02), Until()), most=3)
    # a stage begins with slow steps, in which its waves find their places: it gets a number of them
    counted = NestedIteration((Until(steps=150), Until(steps=150), Until()), most=3)
    grown = (
        Arm(ONE, partial(network, 28), NEWTON, SingleLevel(), color=BASELINE),
        Arm("a network that becomes wider", wider, NEWTON, levels),
        Arm(STAGES, lambda problem, seed: Stages(hidden=(16, 16)), NEWTON, counted, color=BEST),
    )
    fits = {"two waves in 1-D": two_waves(), "oscillation in 2-D": oscillation(), "poisson-2d": poisson_2d(scales=1)}
    return [
        *(Trial("weights", name, problem, weights, seconds) for name, problem in equations.items()),
        *(Trial("switch", name, problem, switch, seconds) for name, problem in equations.items()),
        *(Trial("stages", name, problem, grown, 2.0 * seconds) for name, problem in fits.items()),
    ]


def two_waves() -> Problem:
    """A smooth function on [-1, 1] to be fitted everywhere."""
    u = lambda x: jnp.sin(2 * x[0] + 1) + 0.2 * jnp.sin(8 * x[0]) * x[0] ** 2  # noqa: E731
    return _fit(Box([-1.0], [1.0]), u)


def oscillation() -> Problem:
    """A smooth function on the unit square."""
    u = lambda x: jnp.exp(-x[0]) * jnp.sin(5 * x[0] * x[1]) + jnp.cos(3 * x[1])  # noqa: E731
    return _fit(Box([0.0, 0.0], [1.0, 1.0]), u)


def _fit(box: Box, u: Any) -> Problem:
    misfit = Residual("misfit", lambda v, x: v(x) - u(x))
    return Problem(box, (misfit,), reference=Reference(u, 1e-15), name="fit")


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train all arms, leave table, figure and rows in `out`; the short form has the stages in one dimension alone."""
    chosen = [trial for trial in trials(6.0 if quick else 12.0) if not quick or trial.name == "two waves in 1-D"]
    title = "Measures that act, each beside the same without it" + (" (short form)" if quick else "")
    rows, result = [], {}
    for trial, arm, seed in cases(chosen, 1 if quick else 5):
        rows.append(measured(trial.title, trial.problem, arm, seed, trial.seconds))
        text = table(statistics(rows))
        colors = {arm.name: arm.color for trial in chosen for arm in trial.arms}
        paths = write(out, NAME, title, text, rows, partial(draw, title=title, rows=rows, colors=colors))
        result = record(NAME, quick, summary(rows), paths, text, __doc__, rows=rows)
        write_json(out / f"{NAME}.json", plain(result))
    return result


def cases(chosen: list[Trial], seeds: int) -> Iterator[tuple[Trial, Arm, int]]:
    """All trainings, seed by seed."""
    return ((trial, arm, seed) for seed in range(seeds) for trial in chosen for arm in trial.arms)


def summary(rows: list[Row]) -> dict[str, Any]:
    """Median error without each measure over that with it: above one where the measure helps."""
    medians = statistics(rows)
    pairs = {"weights": (PLAIN, KERNEL), "switch": (ALONE, SWITCHED), "stages": (ONE, STAGES)}
    out: dict[str, Any] = {}
    for problem in dict.fromkeys(row["problem"] for row in rows):
        without, with_it = (find(medians, problem, arm) for arm in pairs[problem.partition(":")[0]])
        if without and with_it:
            out[problem] = without["relative_l2"] / with_it["relative_l2"]
    return {"gain": out}
