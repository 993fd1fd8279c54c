"""Runs that end with a small loss and a wrong answer, and what the library says about each.

Every run is one that people make: too few points, a start that lets a trivial solution win, a condition that was
forgotten, noise that is followed, a network that sees only the slow part. The table shows the loss, the true error, the
guard that failed with its exit code, and the limit that the diagnosis names. Rows in which nothing is noticed stay in
the table: they are what no check on the given equations and data can see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hierax.cycles import SingleLevel
from hierax.fields import MLP, SplineGrid
from hierax.problems import Box, Data, Face, Problem, Reference, Residual, derivative, laplacian
from hierax.results.figures import ACCENT, STYLE, WARM
from hierax.solvers import GaussNewton, Tolerances, adam
from hierax.training.train import train
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study

NAME = "failures"


@dataclass(frozen=True)
class Case:
    """One failure.

    Attributes
    ----------
    name:
        What was done.
    problem:
        With a reference that only the table sees.
    settings:
        Of `train`.
    """

    name: str
    problem: Callable[[], Problem]
    settings: dict[str, Any]


def _wave(x: Any) -> Any:
    return jnp.sin(4.0 * x[0]) + 0.3 * jnp.sin(60.0 * x[0])


def slow_part() -> Problem:
    """A slow wave and a fast one with a third of its amplitude."""
    points = np.random.default_rng(0).uniform(0.0, 1.0, (400, 1))
    values = np.sin(4.0 * points[:, 0]) + 0.3 * np.sin(60.0 * points[:, 0])
    return Problem(Box([0.0], [1.0]), (Data("u", points, values),), reference=Reference(_wave))


def aliased() -> Problem:
    """The same with measurements one period of the fast wave apart: it looks like a constant."""
    points = (np.arange(10) * 2.0 * np.pi / 60.0)[:, None]
    values = np.sin(4.0 * points[:, 0]) + 0.3 * np.sin(60.0 * points[:, 0])
    return Problem(Box([0.0], [1.0]), (Data("u", points, values),), reference=Reference(_wave))


def noisy() -> Problem:
    """Few measurements with much noise."""
    rng = np.random.default_rng(1)
    points = rng.uniform(0.0, 1.0, (60, 1))
    values = np.sin(4.0 * points[:, 0]) + 0.3 * rng.normal(size=60)
    return Problem(Box([0.0], [1.0]), (Data("u", points, values),), reference=Reference(lambda x: jnp.sin(4.0 * x[0])))


def forgotten_start() -> Problem:
    """`u' = -2 u` and no value anywhere: zero solves it."""
    terms = (Residual("decay", lambda u, x: derivative(u, "t")(x) + 2.0 * u(x)),)
    return Problem(Box([0.0], [1.0], names=("t",)), terms, reference=Reference(lambda x: jnp.exp(-2.0 * x[0])))


def layer() -> Problem:
    """`1e-4 u'' + u' = 1` with zero at both ends: a layer of width 1e-4 at the left one."""

    def exact(x: Any) -> Any:
        return x[0] - (1.0 - jnp.exp(-x[0] / 1e-4)) / (1.0 - jnp.exp(-1.0 / 1e-4))

    terms = (
        Residual("interior", lambda u, x: 1e-4 * laplacian(u)(x) + derivative(u, "x")(x) - 1.0),
        Residual("ends", lambda u, x, normal: u(x), on=(Face("x", "lower"), Face("x", "upper"))),
    )
    return Problem(Box([0.0], [1.0]), terms, reference=Reference(exact))


def cases() -> list[Case]:
    """All of them."""
    single, newton = SingleLevel(), GaussNewton(tolerances=Tolerances(1e-6, 100))
    return [
        Case(
            "Adam sees the slow part only",
            slow_part,
            {"hierarchy": MLP([1, 20, 1], key=0), "solver": adam(1e-2, 1500)},
        ),
        Case(
            "large network follows the noise",
            noisy,
            {"hierarchy": MLP([1, 30, 1], key=0), "solver": newton, "cycle": single},
        ),
        Case("the condition was forgotten", forgotten_start, {}),
        Case(
            "a layer thinner than the cells",
            layer,
            {"hierarchy": SplineGrid.uniform([0.0], [1.0], 12, 4), "cycle": single},
        ),
        Case("measured once a period", aliased, {}),
    ]


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Make every failure; leave table, figure and rows in `out`. The short form has two of them."""
    rows = [failed(case) for case in (cases()[1:3] if quick else cases())]
    head = ["what was done", "loss", "true error", "result", "exit", "limited by"]
    names = ("case", "loss", "relative_l2", "result", "exit_code", "limit")
    cells = [[f"{row[n]:.1e}" if isinstance(row[n], float) else str(row[n]) for n in names] for row in rows]
    sentences = [f"{row['case']}: {row['says']}" for row in rows]
    text = "\n".join([*aligned([head, *cells]), "", *sentences])
    title = "Small losses and wrong answers"
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, rows))
    summary = {key: {row["case"]: row[key] for row in rows} for key in ("exit_code", "limit")}
    return record(NAME, quick, summary, paths, text, __doc__, rows=rows)


def failed(case: Case) -> Row:
    """Train once; what the loss says, what is true, and what the library says."""
    solution = train(case.problem(), key=0, budget=60.0, **case.settings)
    limited = solution.diagnose()
    complaints = [guard.sentence for guard in solution.guards.values() if not guard.passed]
    notes = [line for line in solution.plan.splitlines() if line.startswith("Note")]
    return {
        "case": case.name,
        "loss": solution.loss,
        "relative_l2": solution.accuracy.relative_l2,
        "validation_error": solution.accuracy.validation_error,
        "result": solution.result.name,
        "exit_code": solution.result.exit_code,
        "limit": "" if limited is None else limited.limit.name,
        "says": " ".join([*notes, *complaints, *([] if limited is None else [str(limited)])]),
    }


def draw(path: Path, title: str, rows: list[Row]) -> None:
    """Root of the loss beside the true error."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 1.0 + 0.4 * len(rows)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(rows))
        roots = [np.sqrt(max(row["loss"], 1e-32)) for row in rows]
        axes.plot(roots, places, "o", color=ACCENT, label="root of the loss")
        axes.plot([row["relative_l2"] for row in rows], places, "s", color=WARM, label="true relative error")
        axes.set_yticks(places, [row["case"] for row in rows])
        axes.set(xscale="log", ylim=(len(rows) - 0.5, -0.5))
        axes.legend(loc="best")
        save(figure, path, title)
