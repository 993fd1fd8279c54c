"""Spatial decomposition: error against seconds for every local field and solver, on problems with many scales.

- A problem is divided into equal overlapping boxes, blended by smooth windows; on all of them stands a field of one
  kind: Legendre polynomials, random ridges of `tanh`, random waves, splines, or perceptrons of one hidden layer. All
  are trained on one level, at the same seconds, from one seed.
- Fields that are linear in their parameters are solved by least squares with a two-level Schwarz preconditioner, by
  Gauss-Newton steps with a factorisation and with plain conjugate gradients; perceptrons by Gauss-Newton with conjugate
  gradients, L-BFGS and Adam, and where their rows fit a dense matrix, hidden units trained and readouts solved for
  (variable projection). L-BFGS and Adam on linear fields are measured where `first_order` says so: they lose by orders
  everywhere. `one layer` is a network of one hidden layer that is not divided, by variable projection.
- Beside them stand the default strategy (`spline grid, default`) and a classical method for every problem.
- Errors are relative L2 errors against the problem's reference at points that training did not see, seconds those of
  `train` with compilation: the problem is made anew for every row, so that nothing is compiled already. The published
  row that a problem stands for is named in its title; their errors are normalised L1.
- Table, rows and figure are written after every row, and rows that are in the CSV of the folder already are not
  measured again: a run that is ended early goes on where it was. Give another folder to measure anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp
from scipy.spatial import KDTree

from hierax import clock
from hierax.cycles import SingleLevel
from hierax.fields import AdaptiveBasis, Cover, PartitionOfUnity, Polynomials, SplineGrid
from hierax.fields.local_fields import AbstractLocals, Copies, Perceptrons, RandomFeatures, RandomWaves
from hierax.planning.families import HiddenLayer
from hierax.problems import helmholtz_l_shape, oscillator, poisson_2d, semilinear_2d, wave_2d
from hierax.problems.domain import PointCloud
from hierax.problems.problem import Problem
from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM, plain_powers
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
from studies.classical import Control, collocation, l_shape_differences, minus_laplacian, wave_lines
from studies.common import Arm, Row, aligned, measured, read_rows, record, save, write_files
from studies.gap import held_out
from studies.registry import study

NAME = "decomposition"
DEFAULT, SEED = "spline grid, default", 0


@dataclass(frozen=True)
class Case:
    """A problem, the boxes along its axes, their width over their distance, a classical method.

    Attributes
    ----------
    published:
        Error and seconds of the published row, in words.
    seconds:
        For each training.
    first_order:
        Whether fields that are linear in their parameters are trained by L-BFGS and Adam too.
    dense:
        Whether the rows of all perceptrons fit a dense matrix.
    schwarz:
        Whether a subdomain with its neighbours is a small part of the whole.
    """

    name: str
    problem: Callable[[], Problem]
    boxes: int | tuple[int, ...]
    overlap: float
    published: str
    classical: Callable[[Problem], Control]
    seconds: float
    first_order: bool = False
    dense: bool = False
    schwarz: bool = True

    @property
    def title(self) -> str:
        """Of its block in the table."""
        return f"{self.name} (published: {self.published})"

    @property
    def dim(self) -> int:
        return self.problem().domain.dim


def runge_kutta(problem: Problem, frequency: float, damping: float = 2.0) -> Control:
    """The oscillator as a system of first order, by an explicit method of order eight with tolerances of 1e-12."""
    del problem
    began = clock.seconds_now()
    found = solve_ivp(
        lambda t, y: [y[1], -2.0 * damping * y[1] - frequency**2 * y[0]], (0.0, 1.0), [1.0, 0.0], "DOP853",
        rtol=1e-12, atol=1e-12, dense_output=True,
    )  # fmt: skip
    seconds, follow = clock.seconds_now() - began, found.sol
    return Control("Runge-Kutta of order 8", found.t.size, seconds, lambda points: follow(points[:, 0])[0])


def _elliptic(count: int, power: int = 0) -> Callable[[Problem], Control]:
    return lambda problem: collocation(problem, count, minus_laplacian, power)


def _oscillator(frequency: float, boxes: int, published: str, **more: Any) -> Case:
    classical = partial(runge_kutta, frequency=frequency)
    make = partial(oscillator, frequency)
    return Case(f"oscillator {frequency:g}", make, boxes, 1.9, published, classical, 15.0, **more)


def _laplacian(scales: int, boxes: int, published: str, **more: Any) -> Case:
    name, make = f"multiscale Laplacian, n = {scales}", partial(poisson_2d, scales=scales)
    return Case(name, make, boxes, 1.5, published, _elliptic(16 * (scales - 1)), 15.0, **more)


def cases() -> tuple[Case, ...]:
    """The problems of the study."""
    l_shape = partial(helmholtz_l_shape, 16, 64)
    return (
        _oscillator(60.0, 20, "1.2e-8 in 5.3 s", first_order=True, dense=True),
        _oscillator(320.0, 80, "3.1e-4 in 16 s"),
        _laplacian(3, 8, "1.1e-3 in 9 s", first_order=True),
        _laplacian(4, 12, "9e-5 in 350 s"),
        Case("semilinear", semilinear_2d, 4, 1.5, "1.8e-8 in 3.3 s on a GPU", _elliptic(24, 2), 15.0, dense=True),
        Case("wave, width 0.2", wave_2d, (2, 4, 4), 1.5, "1.5e-2", wave_lines, 40.0, schwarz=False),
        Case("L-shape Helmholtz, w = 16", l_shape, 32, 1.5, "7.8e-3 in 330 s", l_shape_differences, 25.0),
    )


def locals_of(dim: int) -> dict[str, AbstractLocals]:
    """What stands on the boxes, by name; about as many parameters a box."""
    degree, features = {1: (8, 16), 2: (5, 36), 3: (3, 64)}[dim]
    spline = SplineGrid.uniform([-1.0] * dim, [1.0] * dim, *{1: (4, 5), 2: (3, 4), 3: (1, 3)}[dim])
    return {
        "polynomials": Polynomials(degree),
        "random tanh": RandomFeatures(features),
        "random waves": RandomWaves(features // 2),
        "splines": Copies(spline),
        PERCEPTRONS: Perceptrons((16,)),
    }


PERCEPTRONS, ADAPTIVE = "perceptrons", "perceptrons, variable projection"
SCHWARZ = {"Schwarz": Schwarz()}
DIRECT = {"factorised": GaussNewton(linear=Cholesky())}
ITERATIVE = {"conjugate gradients": GaussNewton(linear=ConjugateGradients())}
FIRST_ORDER = {"L-BFGS": lbfgs(), "Adam": adam()}


def solvers_of(case: Case, kind: str) -> dict[str, AbstractSolver]:
    """Solvers that make sense for a local field."""
    if kind == PERCEPTRONS:
        return {**ITERATIVE, **FIRST_ORDER}
    return {**(SCHWARZ if case.schwarz else {}), **DIRECT, **ITERATIVE, **(FIRST_ORDER if case.first_order else {})}


def arms_of(case: Case) -> list[Arm]:
    """All ways to train one case, the default first."""
    out, dim = [Arm(DEFAULT, lambda problem, seed: None)], case.dim
    for kind, local in locals_of(dim).items():
        for word, solver in solvers_of(case, kind).items():
            out.append(Arm(f"{kind}, {word}", partial(divided, case, local), solver, SingleLevel()))
    if case.dense:
        # transitions spread over the box: from Glorot's weights, all in the middle, it ends far from as well
        unit = AdaptiveBasis.boxed(16, ([-1.0] * dim, [1.0] * dim), key=SEED)
        out.append(Arm(ADAPTIVE, partial(divided, case, Copies(unit)), VariableProjection(), SingleLevel()))
    return [*out, Arm("one layer, variable projection", lambda problem, seed: HiddenLayer(), VariableProjection())]


def divided(case: Case, local: AbstractLocals, problem: Problem, seed: int) -> PartitionOfUnity:
    """One kind of field on equal boxes, those that hold points of the domain."""
    return PartitionOfUnity.on(cover_of(case, problem), local, key=seed)


def cover_of(case: Case, problem: Problem) -> Cover:
    """The boxes of a case; on a cloud those whose own cells hold points of it.

    Boxes that meet the domain in a sliver would have more functions than points: with them the error was 270 times
    larger on a smaller L-shape.
    """
    domain = problem.domain
    cover = Cover.uniform(*domain.bounds(), case.boxes, case.overlap)
    if not isinstance(domain, PointCloud):
        return cover
    apart = np.asarray(KDTree(domain.points).query(np.asarray(cover.centres), p=np.inf)[0])
    return cover.keep(lambda low, high: apart < 0.5 * np.max(high - low, axis=1) / case.overlap)


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Error against seconds for every local field and solver; `error {problem: {arm: [error, seconds]}}` as summary.

    The short form has one problem, two kinds of local fields, and few seconds.
    """
    rows = [] if quick else read_rows(out / f"{NAME}.csv")
    files: list[str] = []
    for case in cases()[:1] if quick else cases():
        known = {row["arm"] for row in rows if row["problem"] == case.title}
        for row in rows_of(case, known, 2.0 if quick else case.seconds, ("polynomials", PERCEPTRONS) if quick else ()):
            rows.append(row)
            files = write_files(out, NAME, NAME, table(rows), rows, partial(_figure, rows))
    return record(NAME, quick, summary(rows), files, table(rows), __doc__, rows=rows)


def rows_of(case: Case, known: set[str], seconds: float, kinds: tuple[str, ...] = ()) -> Iterator[Row]:
    """The rows of one case as they are measured: the classical method, the default, then local fields and solvers.

    Arms that are `known` are left out, and where `kinds` are named, all other local fields.
    """
    if CLASSICAL not in known:
        yield classical_row(case)
    for arm in arms_of(case):
        if arm.name not in known and (not kinds or arm.name.startswith((DEFAULT, *kinds))):
            yield measured(case.title, case.problem(), arm, SEED, seconds)


CLASSICAL = "classical"


def classical_row(case: Case) -> Row:
    """The classical method as a row."""
    problem = case.problem()
    control = case.classical(problem)
    points, exact = held_out(problem)
    reference = problem.reference
    assert reference is not None
    wrong = control.values(points) - exact.ravel()
    error = float(np.linalg.norm(wrong) / np.linalg.norm(exact))
    return {
        "problem": case.title,
        "arm": CLASSICAL,
        "seed": SEED,
        "budget_seconds": 0.0,
        "relative_l2": max(error, reference.error_bound),
        "parameters": control.unknowns,
        "seconds": control.seconds,
        "result": control.name,
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


MARKS = {
    "polynomials": "s",
    "random tanh": "^",
    "random waves": "v",
    "splines": "D",
    PERCEPTRONS: "o",
    "one layer": "P",
}
GOLD = "#e0a100"
COLORS = {
    "Schwarz": ACCENT,
    "factorised": WARM,
    "conjugate gradients": INK,
    "variable projection": "#7a5195",
    "L-BFGS": MUTED,
    "Adam": "#c9ced3",
}


def _figure(rows: list[Row], path: Path) -> None:
    """Error against seconds, a panel for each problem: marks tell the field, colours the solver."""
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    columns = min(3, len(problems) + 1)
    lines = -(-(len(problems) + 1) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.3 * columns, 2.7 * lines), layout="constrained")
        panels = np.ravel(figure.subplots(lines, columns, squeeze=False))
        for axes, problem in zip(panels, problems, strict=False):
            _scatter(axes, problem.partition(" (")[0], [row for row in rows if row["problem"] == problem])
        for axes in panels[len(problems) :]:
            axes.set_axis_off()
        _legend(panels[len(problems)])
        save(figure, path, "Subdomains: error of every local field and solver, against seconds with compilation")


def _scatter(axes: Axes, title: str, rows: Sequence[Row]) -> None:
    for row in rows:
        kind, _, word = row["arm"].partition(", ")
        mark, color = ("*", "#e0a100") if row["arm"] == DEFAULT else (MARKS.get(kind, "X"), COLORS.get(word, "black"))
        axes.plot(
            row["seconds"], row["relative_l2"], mark, color=color, ms=9 if mark == "*" else 5, mec="white", mew=0.4
        )
    axes.set(xscale="log", yscale="log", title=title, xlabel="seconds", ylabel="relative L2 error", xlim=(0.01, 150.0))
    plain_powers(axes.yaxis)
    plain_powers(axes.xaxis)
    axes.grid(lw=0.4, alpha=0.5)


def _legend(axes: Axes) -> None:
    """Marks and colours in words."""
    for label, mark in {"classical": "X", DEFAULT: "*", **MARKS}.items():
        color = GOLD if mark == "*" else "black"
        axes.plot([], [], mark, color=color, ms=8 if mark == "*" else 5, label=label)
    for label, color in COLORS.items():
        axes.plot([], [], "-", color=color, lw=4, label=label)
    axes.legend(loc="center", ncols=2)
