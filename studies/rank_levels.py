"""Do levels of rank pay? Low-rank tensors from coarse to fine, against one level of the final size at equal seconds.

Two equations, `-Lap u = 1` on the unit cube with zero on its boundary in four and six coordinates, whose solutions are
no short sums of products, and three fits to 3,000 exact rows: `1 / (1 + sum x)` in six coordinates, a Gaussian whose
axes are not those of the box in four, the flow through a borehole in eight. The single level begins with factors near
one, as the coarsest level does, with the rank and the knots that the levels have ended with, and takes the same damped
Gauss-Newton steps until the seconds are over; of the fits another one begins with alternating least squares of that
size. Errors are relative L2 errors against the solution, and of fits root mean squares at fresh points over the spread;
ratios are those of the medians and of the worst over the seeds, over coarse to fine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np
from matplotlib.figure import Figure

import hierax as hx
from hierax.fields import LowRank
from hierax.fields.low_rank import drawn, with_factors
from hierax.hierarchy import Hierarchy, Level
from hierax.planning.plan import Plan
from hierax.results.figures import STYLE
from hierax.results.record import plain
from hierax.solvers import GaussNewton, Tolerances
from hierax.solvers.alternating import alternated
from studies.common import Row, aligned, record, save, write_files
from studies.high_dimension import constant
from studies.registry import study
from studies.so_far import SoFar
from studies.tabulated import TABLES

NAME = "rank-levels"
SEEDS, SECONDS, ROWS, FRESH = 5, 5.0, 3000, 2000
SHORT = "fit of 1 / (1 + sum x), 6 coordinates"
LEVELS, SINGLE, SWEPT = "coarse to fine", "one level", "one level, swept first"


@dataclass(frozen=True)
class Fit:
    """Exact rows of a law in the unit cube, from values `(n,)` at points `(n, dim)`."""

    law: Callable[[np.ndarray], np.ndarray]
    dim: int


def _turned(x: np.ndarray) -> np.ndarray:
    turn = np.linalg.qr(np.random.default_rng(7).standard_normal((4, 4)))[0]
    return np.exp(-(((x - 0.45) @ turn) ** 2) @ np.linspace(0.5, 3.0, 4))


def _borehole(x: np.ndarray) -> np.ndarray:
    table = next(table for table in TABLES if table.name == "borehole")
    return table.law(table.design(x))


CASES: dict[str, int | Fit] = {
    "constant source, 4 coordinates": 4,
    "constant source, 6 coordinates": 6,
    SHORT: Fit(lambda x: 1.0 / (1.0 + x.sum(axis=1)), 6),
    "fit of a turned Gaussian, 4 coordinates": Fit(_turned, 4),
    "fit of a borehole, 8 coordinates": Fit(_borehole, 8),
}


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train every case in all ways from five seeds; the short form has one case and one seed."""
    so_far = SoFar(out, NAME)
    for seed in range(1 if quick else SEEDS):
        for case in [SHORT] if quick else CASES:
            so_far.add({"case": case, "seed": seed}, lambda case=case, seed=seed: measured(case, seed))
    rows = so_far.rows
    summary = {case: _ratios([row for row in rows if row["case"] == case]) for case in {row["case"]: 0 for row in rows}}
    head = ["case", "arm", "median", "worst", "ratio of medians", "of worst"]
    cells = [[case, arm, *(f"{v:.1e}" for v in own[:2]), *(f"{v:.2g}" for v in own[2:])]
             for case, found in summary.items() for arm, own in found.items()]  # fmt: skip
    text = "\n".join(aligned([head, *cells]))
    title = "Levels of rank against one level" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, rows))
    return plain(record(NAME, quick, summary, paths, text, __doc__, rows=rows, reading=so_far.reading()))


def measured(case: str, seed: int) -> list[Row]:
    """All ways from one seed."""
    law = CASES[case]
    problem = constant(law) if isinstance(law, int) else table(law, seed)
    plan = hx.plan(problem, hx.families.Tensor(), key=seed)
    levels = hx.train(problem, plan=plan, budget=SECONDS, key=seed)
    final = tensor(levels.field)
    starts: dict[str, Any] = {SINGLE: drawn([factor.shape[0] for factor in final.factors], final.rank, seed)}
    found = {LEVELS: levels}
    if isinstance(law, Fit):
        term = problem.data_of("y")[0]
        values = (term.values - term.values.mean()) / term.values.std()
        starts[SWEPT] = alternated(final, term.points, values, seed).factors
    for arm, factors in starts.items():
        one = one_level(plan, with_factors(final, factors))
        found[arm] = hx.train(problem, plan=one, budget=SECONDS, key=seed)
    return [
        {"case": case, "seed": seed, "arm": arm, "error": _error(one, law), "parameters": one.parameters,
         "steps": len(one.history), "seconds": one.seconds_total}
        for arm, one in found.items()
    ]  # fmt: skip


def table(law: Fit, seed: int) -> hx.Problem:
    """Rows of a law."""
    points = np.random.default_rng(seed).uniform(size=(ROWS, law.dim))
    box = hx.Box([0.0] * law.dim, [1.0] * law.dim, names=tuple(f"x{k}" for k in range(law.dim)))
    return hx.Problem(box, (hx.Data("y", points, law.law(points)),), unknowns={"y": hx.Function()})


def _error(solution: hx.Solution, law: int | Fit) -> float:
    if isinstance(law, int):
        assert solution.accuracy.relative_l2 is not None
        return solution.accuracy.relative_l2
    fresh = np.random.default_rng(10_000).uniform(size=(FRESH, law.dim))
    truth = law.law(fresh)
    return float(np.sqrt(np.mean((solution.evaluate(fresh, "y") - truth) ** 2)) / np.std(truth))


def tensor(field: Any) -> LowRank:
    """The tensor in a field."""
    return next(leaf for leaf in jax.tree.leaves(field, is_leaf=_whole) if _whole(leaf))


def _whole(node: Any) -> bool:
    return isinstance(node, LowRank)


def one_level(plan: Plan, start: LowRank) -> Plan:
    """The plan with one level that begins with a tensor, and steps without end."""
    solver = GaussNewton(tolerances=Tolerances(0.0, 100_000, 100_000))
    first = plan.hierarchy.levels[0].field
    field = jax.tree.map(lambda leaf: start if _whole(leaf) else leaf, first, is_leaf=_whole)
    return plan.changed(hierarchy=Hierarchy((Level(field),), ()), rule=None, solver=solver)


def _ratios(rows: list[Row]) -> dict[str, list[float]]:
    """Of every arm median and worst, and their ratios to coarse to fine."""
    arms = {row["arm"]: [own["error"] for own in rows if own["arm"] == row["arm"]] for row in rows}
    found = {arm: (float(np.median(errors)), float(np.max(errors))) for arm, errors in arms.items()}
    median, worst = found[LEVELS]
    return {arm: [own, far, own / median, far / worst] for arm, (own, far) in found.items()}


def _draw(path: Path, title: str, rows: list[Row]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 3.6), layout="constrained")
        axes = figure.subplots()
        for arm, marker in ((LEVELS, "o"), (SINGLE, "s"), (SWEPT, "^")):
            own = [row for row in rows if row["arm"] == arm]
            names = [row["case"].replace(", ", ",\n") for row in own]
            axes.semilogx([row["error"] for row in own], names, marker, alpha=0.6, label=arm)
        axes.margins(y=0.2)
        axes.set(xlabel="relative L2 error")
        axes.legend()
        save(figure, path, title)
