"""Whether intervals of constants hold the truth as often as they say: nominal 95 %, over many draws of the noise.

Three small inverse problems, whose noise is not stated: the rate of a decay, the diffusivity of the heat equation with
an unknown start, and rate and capacity of logistic growth from an unknown start. Every draw has its own noise at the
same points and is trained by the same plan. The share of the draws whose interval holds the truth has a standard
deviation of 1.5 % with 200 draws and a true 95 %; what of it is chance is seen beside least squares with the
solution in closed form, fitted to the same draws, where there is one. Draws in which training ends at a bound of
the constant have no interval (`none`), and do not count; whoever solves such a problem alone is told by a guard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import curve_fit
from scipy.special import stdtrit

import hierax as hx
from hierax.planning.choose import plan
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.results.figures import ACCENT, INK, MUTED, STYLE
from hierax.results.intervals import LEVEL, Interval
from hierax.training.anew import settled
from hierax.training.context import Context
from hierax.training.finish import returned
from hierax.training.intervals import half_widths, intervals
from hierax.training.run import begin
from studies.common import Row, aligned, record, write_files
from studies.registry import study
from studies.so_far import SoFar

NAME = "coverage"
DRAWS, QUICK = 200, 20
"""Draws of each case, and in the short form."""


@dataclass(frozen=True)
class Case:
    """An inverse problem with its truth.

    Attributes
    ----------
    name:
        In tables.
    make:
        From measured values to the problem, in which the data are those of `u`.
    points:
        Where `u` is measured, `(n, dim)`.
    state:
        The true `u` at the points.
    noise:
        Standard deviation of the noise.
    truth:
        The constants, by name.
    model, others:
        The state in closed form, of the points, the constants and further unknown numbers, and these; `None` where it
        has none.
    """

    name: str
    make: Callable[[np.ndarray], Problem]
    points: np.ndarray
    state: np.ndarray
    noise: float
    truth: dict[str, float]
    model: Callable[..., np.ndarray] | None = None
    others: tuple[float, ...] = ()

    def values(self, draw: int) -> np.ndarray:
        """Measured values of a draw."""
        return self.state + self.noise * np.random.default_rng([7, draw]).normal(size=len(self.state))


def decay() -> Case:
    """`u' = -k u`, `u(0) = 1`."""
    points, rate = np.linspace(0.05, 2.0, 30)[:, None], 1.3
    model = lambda x, k: np.exp(-k * x[:, 0])  # noqa: E731

    def equation(w: Any, x: Any) -> Any:
        return hx.derivative(w.u, "t")(x) + w.k * w.u(x)

    def start(w: Any, x: Any) -> Any:
        return w.u(x) - 1.0

    def make(values: np.ndarray) -> Problem:
        terms = [
            hx.Residual("decay", equation),
            hx.Residual("start", start, on=hx.Face("t", "lower")),
            hx.Data("u", points, values),
        ]
        unknowns = {"u": hx.Function(), "k": hx.Constant(0.5)}
        return hx.Problem(hx.Box([0.0], [2.0], names=("t",)), terms, unknowns=unknowns)

    return Case("decay", make, points, model(points, rate), 0.05, {"k": rate}, model)


def diffusion() -> Case:
    """`u_t = nu u_xx` with zero walls and an unknown start."""
    points, nu = np.random.default_rng(0).random((120, 2)), 0.05
    t, x = points.T
    state = np.exp(-nu * np.pi**2 * t) * np.sin(np.pi * x) + 0.5 * np.exp(-4 * nu * np.pi**2 * t) * np.sin(
        2 * np.pi * x
    )

    def equation(w: Any, x: Any) -> Any:
        return hx.derivative(w.u, "t")(x) - w.nu * hx.derivative(w.u, "xx")(x)

    def walls(w: Any, x: Any) -> Any:
        return w.u(x)

    def make(values: np.ndarray) -> Problem:
        terms = [
            hx.Residual("diffusion", equation),
            hx.Residual("walls", walls, on=(hx.Face("x", "lower"), hx.Face("x", "upper"))),
            hx.Data("u", points, values),
        ]
        unknowns = {"u": hx.Function(), "nu": hx.Constant(0.2, bounds=(0.0, None))}
        return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")), terms, unknowns=unknowns)

    # a draw takes four times as long as those of the others
    return Case("diffusion", make, points, state, 0.05, {"nu": nu})


def logistic() -> Case:
    """`u' = r u (1 - u / K)` from an unknown start."""
    points, rate, capacity, first = np.linspace(0.0, 8.0, 60)[:, None], 1.1, 2.0, 0.1
    model = lambda x, r, K, start: K / (1 + (K / start - 1) * np.exp(-r * x[:, 0]))  # noqa: E731
    state = model(points, rate, capacity, first)

    def equation(w: Any, x: Any) -> Any:
        return hx.derivative(w.u, "t")(x) - w.r * w.u(x) * (1 - w.u(x) / w.K)

    def make(values: np.ndarray) -> Problem:
        terms = [hx.Residual("growth", equation), hx.Data("u", points, values)]
        unknowns = {"u": hx.Function(), "r": hx.Constant(0.5), "K": hx.Constant(1.0, bounds=(0.0, None))}
        return hx.Problem(hx.Box([0.0], [8.0], names=("t",)), terms, unknowns=unknowns)

    return Case("logistic", make, points, state, 0.05, {"r": rate, "K": capacity}, model, (first,))


CASES = (decay(), logistic(), diffusion())


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train every case with many draws of the noise, and leave table, figure and rows in `out`."""
    title = "Intervals of constants that hold the truth, nominal 95 %" + (" (short form)" if quick else "")
    so_far = SoFar(out, NAME)
    for case in CASES:
        rows = drawn(case)
        for draw in range(QUICK if quick else DRAWS):
            so_far.add({"case": case.name, "draw": draw}, lambda rows=rows, draw=draw: rows(draw))
    return written(out, title, so_far.rows, quick) | {"reading": so_far.reading()}


def drawn(case: Case) -> Callable[[int], list[Row]]:
    """From the number of a draw to a row for each constant; kernels are compiled in the first one."""
    problem = case.make(case.values(0))
    context = Context.of(problem, plan(problem), 0, np.inf)

    def rows(draw: int) -> list[Row]:
        values = measuring(context, case.values(draw))
        state, own = settled(begin(values), values)
        level, field = returned(state, own)
        discrete = own.problem_of(state)
        widths = half_widths(discrete, field, state.visited[level].state).wider(state.visited, state.changes, level)
        found = intervals(discrete, field, widths.halves)
        return [row_of(case, draw, name, in_units(context, name, interval)) for name, interval in found.items()]

    return rows


def in_units(context: Context, name: str, found: Interval) -> Interval:
    """An interval in the units of the problem."""
    units = context.plan.units
    return found if units is None else found.restored(units.sizes[name], units.shifts[name])


def measuring(context: Context, values: np.ndarray) -> Context:
    """The same training with other values of the data, by the same kernels, in the same units."""
    units = context.plan.units
    assert units is not None
    (own,) = (term for term in context.problem.terms if isinstance(term, Data))
    return context.measuring({own.name: replace(own, values=(values - units.shifts["u"]) / units.sizes["u"])})


def row_of(case: Case, draw: int, name: str, found: Interval) -> Row:
    """What a draw has found."""
    truth = case.truth[name]
    return {
        "case": case.name, "constant": name, "draw": draw, "truth": truth, **found._asdict(),
        "holds": bool(found.low <= truth <= found.high),
    }  # fmt: skip


def exact_holds(case: Case, draw: int, name: str) -> bool | None:
    """Whether the interval of least squares with the solution in closed form holds the truth; `None` without one."""
    if case.model is None:
        return None
    begin = [*case.truth.values(), *case.others]
    found, covariance = curve_fit(case.model, case.points, case.values(draw), begin)
    place = list(case.truth).index(name)
    half = stdtrit(len(case.points) - len(begin), 0.5 + 0.5 * LEVEL) * np.sqrt(covariance[place, place])
    return bool(abs(found[place] - case.truth[name]) <= half)


def written(out: Path, title: str, rows: list[Row], quick: bool) -> dict[str, Any]:
    """Table, figure and rows of the draws so far."""
    names = dict.fromkeys(f"{row['case']} {row['constant']}" for row in rows)
    own = {name: [row for row in rows if f"{row['case']} {row['constant']}" == name] for name in names}
    # a draw without an interval says nothing that could be wrong
    summary = {name: float(np.mean([r["holds"] for r in some if r["low"] is not None])) for name, some in own.items()}
    cells = [_cells(name, some, summary[name]) for name, some in own.items()]
    head = ["constant", "draws", "none", "held", "by closed form", "bias / spread", "half width / 1.96 spreads"]
    text = "\n".join(aligned([head, *cells]))
    paths = write_files(out, NAME, title, text, rows, lambda path: draw_figure(path, title, own))
    return record(NAME, quick, {"coverage": summary}, paths, text, __doc__, rows=rows)


def _cells(name: str, rows: list[Row], held: float) -> list[str]:
    found = [row for row in rows if row["low"] is not None]
    values = np.array([row["value"] for row in found])
    spread = float(np.std(values, ddof=1))
    half = float(np.median([0.5 * (row["high"] - row["low"]) for row in found]))
    case = next(case for case in CASES if case.name == rows[0]["case"])
    exact = [own for row in rows if (own := exact_holds(case, row["draw"], row["constant"])) is not None]
    closed = "-" if len(exact) < len(rows) else f"{np.mean(exact):.1%}"
    bias = (float(np.mean(values)) - rows[0]["truth"]) / spread
    return [
        name,
        str(len(rows)),
        str(len(rows) - len(found)),
        f"{held:.1%}",
        closed,
        f"{bias:.2f}",
        f"{half / 1.96 / spread:.2f}",
    ]


def draw_figure(path: Path, title: str, own: dict[str, list[Row]]) -> None:
    """Every interval over the truth, in the order of the values."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(own), 3.2), layout="constrained")
        for axes, (name, rows) in zip(np.ravel(figure.subplots(1, len(own), squeeze=False)), own.items(), strict=True):
            for k, row in enumerate(sorted((r for r in rows if r["low"] is not None), key=lambda row: row["value"])):
                color = MUTED if row["holds"] else ACCENT
                axes.plot([row["low"] / row["truth"], row["high"] / row["truth"]], [k, k], color=color, lw=0.8)
            axes.axvline(1.0, color=INK, lw=0.8)
            axes.set(title=name, xlabel="interval / truth", yticks=[])
        figure.suptitle(title)
        figure.savefig(path)
