"""Do nonlinear solves in parts help the steps of the whole? Subdomains before Schwarz, layers before L-BFGS.

- `-Laplacian u + sinh u = f` on the unit square with a bump of height 8 (`sinh 8` is 1490), and the steady equation of
  Burgers with a layer whose place is not where it begins, both on partitions of unity with polynomials: Gauss-Newton
  steps with the Schwarz preconditioner (`Schwarz`), and the same after a nonlinear sweep over groups of subdomains.
  All go on until the solver ends. The least-squares problem of the layer has several minima; the loss says which.
- Burgers' equation in time and Poisson's with two scales by a perceptron of three layers of 20: L-BFGS on all
  parameters, on layers in turn and together before all (the additive and multiplicative methods of arXiv 2306.17648 on
  one core), and Gauss-Newton, each for the same processor seconds.
- Seconds are processor seconds after a first step that compiles. Errors are relative L2 errors at random points.
  `gain {problem: ratio}` is the error of the method without over that with nonlinear solves in parts (the better one).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax.fields.local_fields import Polynomials
from hierax.fields.mlp import MLP
from hierax.fields.partition_of_unity import PartitionOfUnity
from hierax.objective import flat_parameters
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.rows import RowObjective
from hierax.problems import Box, Problem, Reference, Residual, burgers, laplacian, poisson_2d
from hierax.results.evaluation import evaluate
from hierax.results.figures import ACCENT, INK, MUTED, WARM
from hierax.solvers import (
    AbstractSolver,
    GaussNewton,
    LayerBlocks,
    LayersInTurn,
    LayersTogether,
    NonlinearSchwarz,
    Schwarz,
    Tolerances,
    lbfgs,
)
from studies.common import Row, aligned, draw, record, write_files
from studies.registry import study

NAME = "nonlinear-preconditioning"
SECONDS, QUICK = 20.0, 2.0
SUBDOMAINS: dict[str, AbstractSolver] = {"Schwarz": Schwarz(), "nonlinear Schwarz": NonlinearSchwarz()}
LAYERS: dict[str, AbstractSolver] = {
    "L-BFGS": lbfgs(10**6, 10),
    "layers in turn": LayerBlocks(LayersInTurn(), sweeps=10**6, stall=0.0),
    "layers together": LayerBlocks(LayersTogether(), sweeps=10**6, stall=0.0),
    "Gauss-Newton": GaussNewton(tolerances=Tolerances(1e-9, 10**6)),
}
COLORS = {
    "Schwarz": INK, "nonlinear Schwarz": ACCENT, "L-BFGS": INK, "layers in turn": ACCENT, "layers together": WARM,
    "Gauss-Newton": MUTED,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A problem with its sampled objective, the solvers, and the seconds that each gets."""

    name: str
    problem: Problem
    objective: RowObjective
    solvers: dict[str, AbstractSolver]
    seconds: float


@study(NAME)
def nonlinear_preconditioning(out: Path, quick: bool) -> dict[str, Any]:
    """Steps, error and seconds with and without nonlinear solves on subdomains and in layers."""
    rows = [row for case in cases(quick) for row in measured(case)]
    gain = {}
    for problem in dict.fromkeys(row["problem"] for row in rows):
        errors = {row["arm"]: row["relative_l2"] for row in rows if row["problem"] == problem}
        plain = errors.get("Schwarz", errors.get("L-BFGS"))
        gain[problem] = plain / min(e for arm, e in errors.items() if arm.startswith(("nonlinear", "layers")))
    text = table(rows)
    title = "Nonlinear solves in parts before steps of the whole"
    files = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, rows, COLORS))
    return record(NAME, quick, {"gain": gain}, files, text, None, rows=rows)


def cases(quick: bool) -> list[Case]:
    """The four problems; in the short form smaller ones, for fewer seconds."""
    side, seconds = (4, QUICK) if quick else (8, SECONDS)
    width, points = (8, 300) if quick else (20, 1500)
    out = [
        _divided("sinh", sinh(), side, 4 if quick else 5, 100.0 * 8**3),
        _divided("steady layer", steady_layer(0.02 if quick else 0.005), 10 * side, 6, 1e4),
    ]
    for name, problem in {"burgers": burgers(), "poisson-2d, scales=2": poisson_2d(scales=2)}.items():
        field = MLP([2, width, width, width, 1], key=0, domain=problem.domain.bounds())
        out.append(Case(name, problem, _sampled(problem, field, points, 200, 100.0), LAYERS, seconds))
    return out


def sinh() -> Problem:
    """`-Laplacian u + sinh u = f` on the unit square, `u` a wave and a bump of height 8 and width 0.15."""

    def exact(x: jax.Array) -> jax.Array:
        bump = 8.0 * jnp.exp(-jnp.sum((x - jnp.array([0.3, 0.6])) ** 2) / 0.15**2)
        return jnp.prod(jnp.sin(jnp.pi * x)) + bump

    def left(u: Any, x: jax.Array) -> jax.Array:
        return -laplacian(u)(x) + jnp.sinh(u(x))

    return Problem(
        domain=Box([0.0, 0.0], [1.0, 1.0]),
        terms=(
            Residual("interior", lambda u, x: left(u, x) - left(exact, x)),
            Residual("wall", lambda u, x, normal: u(x) - exact(x), on="boundary"),
        ),
        reference=Reference(exact, 1e-14),
        name="sinh",
    )


def steady_layer(viscosity: float) -> Problem:
    """`u u' = viscosity u'' + f` on [0, 1], `u` a wave and a layer at 0.37, given at the ends."""

    def exact(x: jax.Array) -> jax.Array:
        return -jnp.tanh((x[0] - 0.37) / (2.0 * viscosity)) + 0.3 * jnp.sin(3.0 * jnp.pi * x[0])

    def left(u: Any, x: jax.Array) -> jax.Array:
        return u(x) * jax.grad(u)(x)[0] - viscosity * laplacian(u)(x)

    return Problem(
        domain=Box([0.0], [1.0]),
        terms=(
            Residual("interior", lambda u, x: left(u, x) - left(exact, x)),
            Residual("ends", lambda u, x, normal: u(x) - exact(x), on="boundary"),
        ),
        reference=Reference(exact, 1e-14),
        name="steady layer",
    )


def _divided(name: str, problem: Problem, side: int, degree: int, wall: float) -> Case:
    field = PartitionOfUnity.uniform(*problem.domain.bounds(), side, 1.5, local=Polynomials(degree))
    objective = _sampled(problem, field, degree + 2, degree + 2, wall)
    return Case(name, problem, objective, SUBDOMAINS, np.inf)


def _sampled(problem: Problem, field: Any, inside: int, boundary: int, factor: float) -> RowObjective:
    first, *others = SampledProblem(problem).sample(field, Sampling(inside=inside, boundary=boundary), 0)
    return RowObjective(field, [first, *(samples.scaled(factor) for samples in others)])


def measured(case: Case) -> list[Row]:
    """A row for each solver."""
    rng, (lower, upper) = np.random.default_rng(0), case.problem.domain.bounds()
    points = rng.uniform(lower, upper, size=(2000, len(np.ravel(lower))))
    assert case.problem.reference is not None
    exact = np.asarray(case.problem.reference.evaluate(points, "u")).ravel()
    theta, build = flat_parameters(case.objective.field)
    rows: list[Row] = []
    for name, solver in case.solvers.items():
        solver.step(case.objective, theta, solver.init(case.objective, theta))  # compiles
        found, steps, iterations, seconds = _trained(solver, case, theta)
        values = np.ravel(evaluate(case.problem, build(found.theta), points, "u"))
        rows.append(
            {
                "problem": case.name,
                "arm": name,
                "steps": steps,
                "iterations": iterations,
                "loss": found.value,
                "relative_l2": float(np.linalg.norm(values - exact) / np.linalg.norm(exact)),
                "seconds": seconds,
                "budget_seconds": case.seconds,
                "parameters": len(theta),
            }
        )
    return rows


def _trained(solver: AbstractSolver, case: Case, theta: np.ndarray) -> tuple[Any, int, int, float]:
    """The last step, their number, inner iterations, and processor seconds."""
    state, steps, iterations, began = solver.init(case.objective, theta), 0, 0, time.process_time()
    while True:
        step = solver.step(case.objective, theta, state)
        theta, state = step.theta, step.state
        steps, iterations, seconds = steps + 1, iterations + step.iterations, time.process_time() - began
        if step.done or seconds >= case.seconds:
            return step, steps, iterations, seconds


def table(rows: list[Row]) -> str:
    """All rows as text, a block for each problem."""
    head = ["solver", "steps", "iterations", "loss", "relative L2", "seconds"]
    lines: list[str] = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        cells = [head]
        for row in (row for row in rows if row["problem"] == problem):
            numbers = [f"{row['loss']:.2e}", f"{row['relative_l2']:.1e}", f"{row['seconds']:.1f}"]
            cells.append([row["arm"], str(row["steps"]), str(row["iterations"]), *numbers])
        lines += ["", problem, *aligned(cells)]
    return "\n".join(lines[1:])
