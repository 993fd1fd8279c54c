"""Whether intervals of fits hold the function as often as they say: nominal 95 %, twenty tables, noise of four kinds.

Sums of random waves of one to four coordinates, exponentials and fronts, 80 to 400 rows at random places. Noise is
normal with a tenth of the spread; in proportion to the values; of Student's t with three degrees of freedom; and normal
with one row in thirty that is off by fifteen times as much. A last column is without noise. Every table is fitted by
default, without its noise being stated; held is the share of 1,000 points of the box at which the true function lies in
its interval, and width half of the interval over 1.96 times the root mean square error. One function errs at many
points at once: the shares of single tables scatter around their mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import hierax as hx
from hierax.results.figures import INK, STYLE
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study

NAME = "fit-intervals"
FRESH, BUDGET = 1000, 20.0
KINDS = ("normal", "proportional", "heavy", "outliers", "none")
TABLES, QUICK = 20, 5


@dataclass(frozen=True)
class Table:
    """A function of points `(n, dim)` of the unit box, and how many rows a table of it has."""

    dim: int
    rows: int
    function: Callable[[np.ndarray], np.ndarray]


def table(number: int) -> Table:
    """One of the twenty: waves, an exponential or a front in turn, of random directions."""
    rng = np.random.default_rng([3, number])
    dim = 1 + number % 4
    rows = int(rng.integers(80 * min(dim, 2), 101 * dim))
    along, shift = rng.normal(size=dim), rng.uniform(0.3, 0.7, dim)
    along /= np.linalg.norm(along)
    if number % 5 == 3:
        return Table(dim, rows, lambda x: np.exp(2.0 * (x - shift) @ along))
    if number % 5 == 4:
        return Table(dim, rows, lambda x: np.tanh(6.0 * (x - shift) @ along) + 0.3 * np.cos(3.0 * x[:, 0]))
    waves, phases, sizes = rng.normal(size=(4, dim)) * 5.0 / dim, rng.uniform(0.0, 6.0, 4), rng.normal(size=4)
    return Table(dim, rows, lambda x: np.sin(x @ waves.T + phases) @ sizes + 1.0)


def noise(kind: str, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise `(n,)` of a kind for values `(n,)`."""
    size, normal = 0.1 * np.std(values), rng.normal(size=len(values))
    if kind == "proportional":
        return 0.1 * np.abs(values) * normal
    if kind == "heavy":
        return size * rng.standard_t(3, size=len(values)) / np.sqrt(3.0)
    if kind == "outliers":
        return size * normal * np.where(rng.random(len(values)) < 1.0 / 30.0, 15.0, 1.0)
    return size * normal if kind == "normal" else np.zeros(len(values))


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Fit every table with every kind of noise; the short form has five of the tables."""
    rows = [measured(k, kind) for k in range(QUICK if quick else TABLES) for kind in KINDS]
    summary = {kind: float(np.mean([row["held"] for row in rows if row["noise"] == kind])) for kind in KINDS}
    cells = [_cells(kind, [row for row in rows if row["noise"] == kind]) for kind in KINDS]
    head = ["noise", "tables", "held, mean", "least", "below 90 %", "width, median", "guards pass", "held then"]
    text = "\n".join(aligned([head, *cells]))
    title = "Intervals of fits that hold the function, nominal 95 %" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, rows))
    return plain(record(NAME, quick, {"coverage": summary}, paths, text, __doc__, rows=rows))


def measured(number: int, kind: str) -> Row:
    """Fit a table, and compare the intervals with the function."""
    one, rng = table(number), np.random.default_rng([11, number, KINDS.index(kind)])
    x, fresh = rng.random((one.rows, one.dim)), rng.random((FRESH, one.dim))
    values, truth = one.function(x), one.function(fresh)
    data = hx.Data("u", x, values + noise(kind, values, rng))
    made = hx.train(hx.Problem(hx.Box([0.0] * one.dim, [1.0] * one.dim), (data,)), budget=BUDGET)
    low, high = hx.intervals(made, fresh)
    error = float(np.sqrt(np.mean((made.evaluate(fresh) - truth) ** 2)))
    return {
        "table": number, "noise": kind, "dim": one.dim, "rows": one.rows, "field": made.field_kind,
        "held": float(np.mean((low <= truth) & (truth <= high))), "error": error / float(np.std(truth)),
        "width": float(np.sqrt(np.mean((high - low) ** 2))) / (2 * 1.96 * error), "passed": made.result.exit_code == 0,
    }  # fmt: skip


def _cells(kind: str, rows: list[Row]) -> list[str]:
    held = np.array([row["held"] for row in rows])
    width, passed = np.median([row["width"] for row in rows]), [row for row in rows if row["passed"]]
    right = np.mean([row["held"] for row in passed]) if passed else np.nan
    return [kind, str(len(rows)), f"{held.mean():.1%}", f"{held.min():.0%}", str(np.sum(held < 0.9)), f"{width:.2f}",
            str(len(passed)), f"{right:.1%}"]  # fmt: skip


def _draw(path: Path, title: str, rows: list[Row]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.subplots()
        for k, kind in enumerate(KINDS):
            held = np.sort([row["held"] for row in rows if row["noise"] == kind])
            axes.plot(k + np.linspace(-0.3, 0.3, len(held)), held, ".")
        axes.axhline(0.95, color=INK, lw=0.8)
        axes.set(ylabel="share of points held", xticks=range(len(KINDS)), xticklabels=KINDS)
        save(figure, path, title)
