"""Spatial decomposition: error against seconds for every local field and solver, on problems with many scales.

- A problem is divided into equal overlapping boxes, blended by smooth windows; on all of them stands a field of one
  kind: Legendre polynomials, random ridges of `tanh`, random waves, splines, or a perceptron of 16 units. All are
  trained on one level, at the same seconds, from one seed.
- Fields that are linear in their parameters are solved by least squares with a two-level Schwarz preconditioner, by
  Gauss-Newton steps with a factorisation and with plain conjugate gradients, by L-BFGS and by Adam; perceptrons by
  Gauss-Newton with conjugate gradients, L-BFGS and Adam. `one layer` is a network of one hidden layer that is not
  divided, its readout by variable projection.
- Beside them stand the default strategy (`spline grid, default`) and a classical method where one is at hand: an
  explicit Runge-Kutta method of order eight for the oscillator, Chebyshev collocation for elliptic problems.
- Errors are relative L2 errors against the problem's reference at points that training did not see, seconds those of
  `train` with compilation. The published row that a problem stands for is named in its title; their errors are
  normalised L1.
- Table, rows and figure are written after every row: a run that is ended early keeps what it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from hierax.cycles import SingleLevel
from hierax.families import HiddenLayer
from hierax.fields import PartitionOfUnity, Polynomials, SplineGrid
from hierax.fields.local_fields import AbstractLocals, Copies, Perceptrons, RandomFeatures, RandomWaves
from hierax.figures import ACCENT, INK, MUTED, WARM, draw_cover
from hierax.problems import oscillator, poisson_2d
from hierax.problems.problem import Problem
from hierax.records.files import written
from hierax.solvers import (
    AbstractSolver,
    Cholesky,
    ConjugateGradients,
    GaussNewton,
    Schwarz,
    VariableProjection,
    adam,
    lbfgs,
)
from hierax.studies.classical import Control, collocation, minus_laplacian
from hierax.studies.common import Arm, Row, aligned, draw, measured, record, write_files
from hierax.studies.gap import held_out
from hierax.studies.registry import study

NAME = "decomposition"
DEFAULT, SEED = "spline grid, default", 0


@dataclass(frozen=True)
class Case:
    """A problem, the boxes along each of its axes, their width over their distance, and a classical method.

    Attributes
    ----------
    published:
        Error and seconds of the published row, in words.
    """

    name: str
    problem: Problem
    boxes: int
    overlap: float
    published: str
    classical: Callable[[Problem], Control]

    @property
    def title(self) -> str:
        """Of its block in the table."""
        return f"{self.name} (published: {self.published})"


def runge_kutta(problem: Problem, frequency: float, damping: float = 2.0) -> Control:
    """The oscillator as a system of first order, by an explicit method of order eight with tolerances of 1e-12."""
    del problem
    began = time.perf_counter()
    found = solve_ivp(
        lambda t, y: [y[1], -2.0 * damping * y[1] - frequency**2 * y[0]], (0.0, 1.0), [1.0, 0.0], "DOP853",
        rtol=1e-12, atol=1e-12, dense_output=True,
    )  # fmt: skip
    seconds, follow = time.perf_counter() - began, found.sol
    return Control("Runge-Kutta of order 8", found.t.size, seconds, lambda points: follow(points[:, 0])[0])


def _elliptic(count: int, cubic: bool = False) -> Callable[[Problem], Control]:
    return lambda problem: collocation(problem, count, minus_laplacian, cubic)


def cases() -> tuple[Case, ...]:
    """The problems of the study."""
    fast, slow = 320.0, 60.0
    return (
        Case("oscillator 60", oscillator(slow), 20, 1.9, "1.2e-8 in 5.3 s", partial(runge_kutta, frequency=slow)),
        Case("oscillator 320", oscillator(fast), 80, 1.9, "3.1e-4 in 16 s", partial(runge_kutta, frequency=fast)),
        Case("multiscale Laplacian, n = 3", poisson_2d(scales=3), 8, 1.5, "1.1e-3 in 9 s", _elliptic(32)),
        Case("multiscale Laplacian, n = 4", poisson_2d(scales=4), 12, 1.5, "9e-5 in 350 s", _elliptic(48)),
    )


def locals_of(dim: int) -> dict[str, AbstractLocals]:
    """What stands on the boxes, by name; about as many parameters a box."""
    ends = [-1.0] * dim, [1.0] * dim
    return {
        "polynomials": Polynomials(8 if dim == 1 else 5),
        "random tanh": RandomFeatures(16 if dim == 1 else 36),
        "random waves": RandomWaves(8 if dim == 1 else 18),
        "splines": Copies(SplineGrid.uniform(*ends, 4 if dim == 1 else 3, 5 if dim == 1 else 4)),
        "perceptrons": Perceptrons((16,)),
    }


def solvers_of(local: AbstractLocals) -> dict[str, AbstractSolver]:
    """Solvers that make sense for a local field."""
    iterative = GaussNewton(linear=ConjugateGradients())
    first = {"L-BFGS": lbfgs(), "Adam": adam()}
    if isinstance(local, Perceptrons):
        return {"Gauss-Newton, conjugate gradients": iterative, **first}
    direct = GaussNewton(linear=Cholesky())
    return {"Schwarz": Schwarz(), "factorised": direct, "conjugate gradients": iterative, **first}


COLORS = {"Schwarz": ACCENT, "factorised": WARM, "conjugate gradients": INK}


def arms_of(case: Case) -> list[Arm]:
    """All ways to train one case, the default first."""
    out = [Arm(DEFAULT, lambda problem, seed: None, color=WARM)]
    for kind, local in locals_of(case.problem.domain.dim).items():
        for word, solver in solvers_of(local).items():
            field = partial(divided, case, local)
            out.append(Arm(f"{kind}, {word}", field, solver, SingleLevel(), color=COLORS.get(word, MUTED)))
    projected = Arm("one layer, variable projection", lambda problem, seed: HiddenLayer(), VariableProjection())
    return [*out, projected]


def divided(case: Case, local: AbstractLocals, problem: Problem, seed: int) -> PartitionOfUnity:
    """One kind of field on equal boxes."""
    bounds = problem.domain.bounds()
    return PartitionOfUnity.uniform(*bounds, case.boxes, case.overlap, local=local, key=seed)


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Error against seconds for every local field and solver; `error {problem: {arm: [error, seconds]}}` as summary.

    The short form has one problem, two kinds of local fields, and few seconds.
    """
    everything = cases()[:1] if quick else cases()
    rows: list[Row] = []
    files: list[str] = []
    for case in everything:
        for row in rows_of(case, 10.0 if quick else 40.0, ("polynomials", "perceptrons") if quick else None):
            rows.append(row)
            text = table(rows)
            files = write_files(out, NAME, NAME, text, rows, partial(_figure, rows))
        place = out / f"{NAME}-{case.name.replace(' ', '-').replace(',', '')}-cover.png"
        with written(place) as draft:
            draw_cover(divided(case, Polynomials(1), case.problem, SEED).cover, draft)
        files = [*files, str(place)]
    return record(NAME, quick, summary(rows), files, table(rows), __doc__, rows=rows)


def rows_of(case: Case, seconds: float, kinds: tuple[str, ...] | None = None) -> Iterator[Row]:
    """The rows of one case as they are measured: the classical method, the default, then local fields and solvers."""
    yield classical_row(case)
    for arm in arms_of(case):
        if kinds is None or arm.name.startswith((DEFAULT, *kinds)):
            yield measured(case.title, case.problem, arm, SEED, seconds)


def classical_row(case: Case) -> Row:
    """The classical method as a row."""
    control = case.classical(case.problem)
    points, exact = held_out(case.problem)
    reference = case.problem.reference
    assert reference is not None
    wrong = control.values(points) - exact.ravel()
    error = float(np.linalg.norm(wrong) / np.linalg.norm(exact))
    return {
        "problem": case.title,
        "arm": control.name,
        "seed": SEED,
        "budget_seconds": 0.0,
        "relative_l2": max(error, reference.error_bound),
        "parameters": control.unknowns,
        "seconds": control.seconds,
        "result": "classical",
    }


def summary(rows: list[Row]) -> dict[str, Any]:
    """Error and seconds of every arm, by problem."""
    out: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        out.setdefault(row["problem"].partition(" (")[0], {})[row["arm"]] = [row["relative_l2"], row["seconds"]]
    return {"error": out}


def table(rows: list[Row]) -> str:
    """A block for each problem, a line for each arm."""
    blocks = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        own = [row for row in rows if row["problem"] == problem]
        head = ["field and solver", "relative L2", "seconds", "compiling", "parameters", "result"]
        cells = [
            [
                row["arm"],
                f"{row['relative_l2']:.1e}",
                f"{row['seconds']:.1f}",
                f"{row.get('seconds_compile', 0.0):.1f}",
                str(row["parameters"]),
                row["result"],
            ]
            for row in own
        ]
        blocks.append("\n".join([problem, *aligned([head, *cells])]))
    return "\n\n".join(blocks)


def _figure(rows: list[Row], path: Path) -> None:
    colors = {f"{kind}, {word}": color for kind in locals_of(1) for word, color in COLORS.items()}
    draw(path, "Subdomains: error of every local field and solver", rows, {**colors, DEFAULT: WARM})
