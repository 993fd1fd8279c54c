"""Do iterations grow with the number of subdomains? One and two levels of Schwarz, overlaps and coarse spaces.

- `-Laplacian u = f` with zero boundary values on [0, 1]^d, `u` a product of sines with half a wave for every two
  subdomains of a side: more subdomains carry more waves, and the best error stays the same.
- Local fields are Legendre polynomials of one degree on equal boxes that overlap, blended by smooth windows. The rows
  of the least-squares problem, Gauss points inside and on the boundary, the boundary weighted by the third power of the
  number of subdomains along a side, are the same for all solvers.
- Every subdomain's columns are orthonormal first. `filtered blocks` stops there (patches of one subdomain); `one level`
  has patches with their neighbours; `two levels` have a coarse space as well, of polynomials up to degree one or two
  times windows; `adaptive` adds to the latter what the method was slow at (`AdaptiveCoarseSpace`).
- Iterations until the preconditioned gradient has fallen by ten orders of magnitude, at most `MOST`. Errors are
  relative L2 errors at random points, seconds processor seconds of preconditioner and solve.
- `iteration_ratio` and `error_ratio`: the largest over the smallest of the adaptive two-level method among the
  sizes of a family from `FIRST` subdomains on, for each family (dimension, overlap and degree).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hierax.fields.local_fields import Polynomials
from hierax.fields.partition_of_unity import PartitionOfUnity
from hierax.objective import flat_parameters
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.least_squares import weighted_residual
from hierax.objective.rows import RowObjective
from hierax.problems import Box, Problem, Reference, Residual, laplacian
from hierax.results.evaluation import evaluate
from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM
from hierax.solvers.linear.coarse_spaces import Nicolaides, NoCoarseSpace
from hierax.solvers.linear.schwarz import least_squares
from hierax.solvers.linear.subdomains import Schwarz, part_of
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study

NAME = "schwarz-scaling"
MOST, FIRST = 400, 10
BEST = "two levels, adaptive"
SOLVERS = {
    "filtered blocks": Schwarz(NoCoarseSpace(), layers=0),
    "one level": Schwarz(NoCoarseSpace()),
    "two levels, degree 1": Schwarz(Nicolaides(1)),
    "two levels, degree 2": Schwarz(Nicolaides(2)),
    BEST: Schwarz(),
}
COLORS = dict(zip(SOLVERS, (MUTED, INK, "#b08d3c", ACCENT, WARM), strict=True))


@dataclass(frozen=True)
class Family:
    """Covers of one kind: dimension, width of a subdomain over their distance, subdomains along a side."""

    dim: int
    overlap: float
    sides: tuple[int, ...]
    degree: int = 4

    @property
    def name(self) -> str:
        """In tables."""
        return f"{self.dim}-D, overlap {self.overlap:g}, degree {self.degree}"


FULL = (
    Family(1, 1.5, (10, 100, 1000, 10000)),
    Family(1, 1.9, (10, 100, 1000, 10000)),
    Family(2, 1.3, (4, 8, 16, 32, 100), 3),
    Family(2, 1.5, (4, 8, 16, 32)),
    Family(2, 1.9, (4, 8, 16, 32)),
    Family(2, 1.9, (4, 8, 16, 32, 100), 3),
)
QUICK = (Family(1, 1.5, (10, 40)),)


@study(NAME)
def schwarz_scaling(out: Path, quick: bool) -> dict[str, Any]:
    """Iterations and error against the number of subdomains; one and two levels, overlap, coarse space."""
    rows = [row for family in (QUICK if quick else FULL) for side in family.sides for row in measured(family, side)]
    families = list(dict.fromkeys(row["family"] for row in rows))
    summary = {
        "iteration_ratio": {name: _ratio(rows, name, "iterations") for name in families},
        "error_ratio": {name: _ratio(rows, name, "relative_l2") for name in families},
    }
    text = table(rows)
    files = write_files(out, NAME, "Schwarz preconditioners", text, rows, lambda path: draw(path, rows))
    return record(NAME, quick, summary, files, text, None, rows=rows)


def measured(family: Family, side: int) -> list[Row]:
    """A row for each solver on one cover."""
    problem = waves(family.dim, side)
    field = PartitionOfUnity.uniform(*problem.domain.bounds(), side, family.overlap, local=Polynomials(family.degree))
    objective = sampled(problem, field, side, family.degree + 2)
    theta = flat_parameters(field)[0]
    matrix, residual = objective.sparse_rows(theta), weighted_residual(objective, theta)
    points = np.random.default_rng(0).uniform(size=(2000, family.dim))
    assert problem.reference is not None
    exact = np.asarray(problem.reference.evaluate(points, "u"))
    rows: list[Row] = []
    for name, solver in SOLVERS.items():
        began = time.process_time()
        basis, two_level = solver.preconditioner(matrix, part_of(field))
        found = least_squares(basis.matrix, residual, two_level, solver.precision, MOST)
        seconds = time.process_time() - began
        values = evaluate(problem, flat_parameters(field)[1](-(basis.back @ found.x)), points, "u")
        rows.append(
            {
                "family": family.name,
                "subdomains": side**family.dim,
                "solver": name,
                "iterations": found.iterations,
                "converged": bool(found.norms[-1] <= solver.precision),
                "relative_l2": float(np.linalg.norm(values.ravel() - exact) / np.linalg.norm(exact)),
                "parameters": len(theta),
                "coarse": 0 if two_level.coarse is None else two_level.coarse.shape[1],  # pyright: ignore
                "seconds": seconds,
            }
        )
    return rows


def waves(dim: int, side: int) -> Problem:
    """Poisson's equation with half a wave for every two subdomains of a side."""
    wave = 0.5 * np.pi * max(2, side - side % 2)

    def exact(x: jax.Array) -> jax.Array:
        return jnp.prod(jnp.sin(wave * x))

    return Problem(
        domain=Box(np.zeros(dim), np.ones(dim)),
        terms=(
            Residual("interior", lambda u, x: -laplacian(u)(x) - dim * wave**2 * exact(x)),
            Residual("wall", lambda u, x, normal: u(x), on="boundary"),
        ),
        reference=Reference(exact, 1e-13),
        name=NAME,
    )


def sampled(problem: Problem, field: PartitionOfUnity, side: int, order: int) -> RowObjective:
    """The same rows for all solvers, at Gauss points in cells and on faces that follow the cover."""
    inside, wall = SampledProblem(problem).sample(field, Sampling(inside=order, boundary=order), 0)
    return RowObjective(field, [inside, wall.scaled(100.0 * side**3)])


def _ratio(rows: list[Row], family: str, key: str) -> float:
    values = [
        row[key] for row in rows if (row["family"], row["solver"]) == (family, BEST) and row["subdomains"] >= FIRST
    ]
    return float(max(values) / min(values))


def table(rows: list[Row]) -> str:
    """All rows as text, a block for each family."""
    head = ["solver", "subdomains", "iterations", "relative L2", "coarse", "seconds"]
    lines: list[str] = []
    for family in dict.fromkeys(row["family"] for row in rows):
        cells = [head, *(_cells(row) for name in SOLVERS for row in rows if _is(row, family, name))]
        lines += ["", family, *aligned(cells)]
    return "\n".join(lines[1:])


def _is(row: Row, family: str, solver: str) -> bool:
    return (row["family"], row["solver"]) == (family, solver)


def _cells(row: Row) -> list[str]:
    iterations = f"{row['iterations']}" if row["converged"] else f"{row['iterations']}, not converged"
    numbers = [f"{row['relative_l2']:.1e}", str(row["coarse"]), f"{row['seconds']:.1f}"]
    return [row["solver"], str(row["subdomains"]), iterations, *numbers]


def draw(path: Path, rows: list[Row]) -> None:
    """Iterations and errors against the number of subdomains, a column for each family."""
    families = list(dict.fromkeys(row["family"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.5 + 2.4 * len(families), 4.6), layout="constrained")
        panels = figure.subplots(2, len(families), squeeze=False, sharex="col", sharey="row")
        for column, family in zip(panels.T, families, strict=True):
            for name in SOLVERS:
                own = [row for row in rows if _is(row, family, name)]
                for axes, key in zip(column, ("iterations", "relative_l2"), strict=True):
                    axes.loglog(
                        [row["subdomains"] for row in own],
                        [row[key] for row in own],
                        "o-",
                        ms=3.5,
                        color=COLORS[name],
                        label=name,
                    )
            column[0].set_title(family)
            column[1].set_xlabel("subdomains")
        panels[0, 0].set_ylabel("iterations")
        panels[1, 0].set_ylabel("relative L2 error")
        panels[0, 0].legend(fontsize=7)
        save(figure, path, "Schwarz preconditioners: iterations and error against subdomains")
