"""Do levels of rank pay? Low-rank tensors from coarse to fine, against one level of the final size at equal seconds.

`-Lap u = 1` on the unit cube with zero on its boundary, whose solution is no short sum of products, in four and six
coordinates. The single level begins with factors near one, as the coarsest level does, with the rank and the knots that
the levels have ended with, and takes the same damped Gauss-Newton steps until the seconds are over. Errors are relative
L2 errors against the solution; the ratios are those of the medians and of the worst over the seeds.
"""

from __future__ import annotations

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
from studies.common import Row, aligned, record, save, write_files
from studies.high_dimension import constant
from studies.registry import study
from studies.so_far import SoFar

NAME = "rank-levels"
CASES, SEEDS, SECONDS = {"constant source, 4 coordinates": 4, "constant source, 6 coordinates": 6}, 10, 5.0
LEVELS, SINGLE = "coarse to fine", "one level"


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train every case both ways from ten seeds; the short form has one case and one seed."""
    so_far = SoFar(out, NAME)
    for seed in range(1 if quick else SEEDS):
        for case in list(CASES)[:1] if quick else CASES:
            so_far.add({"case": case, "seed": seed}, lambda case=case, seed=seed: measured(case, seed))
    rows = so_far.rows
    summary = {case: _ratios([row for row in rows if row["case"] == case]) for case in {row["case"]: 0 for row in rows}}
    head = ["case", f"{LEVELS}, median", "worst", f"{SINGLE}, median", "worst", "ratio of medians", "of worst"]
    text = "\n".join(aligned([head, *([case, *(f"{v:.1e}" for v in found)] for case, found in summary.items())]))
    title = "Levels of rank against one level" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, rows))
    return plain(record(NAME, quick, {c: v[4:] for c, v in summary.items()}, paths, text, __doc__, rows=rows,
                        reading=so_far.reading()))  # fmt: skip


def measured(case: str, seed: int) -> list[Row]:
    """Both ways from one seed."""
    problem = constant(CASES[case])
    plan = hx.plan(problem, key=seed)
    levels = hx.train(problem, plan=plan, budget=SECONDS, key=seed)
    single = hx.train(problem, plan=one_level(plan, tensor(levels.field), seed), budget=SECONDS, key=seed)
    return [
        {"case": case, "seed": seed, "arm": arm, "error": found.accuracy.relative_l2, "parameters": found.parameters,
         "steps": len(found.history), "seconds": found.seconds_total}
        for arm, found in ((LEVELS, levels), (SINGLE, single))
    ]  # fmt: skip


def tensor(field: Any) -> LowRank:
    """The tensor of a field in the units of the user."""
    found = jax.tree.leaves(field, is_leaf=lambda node: isinstance(node, LowRank))
    return next(leaf for leaf in found if isinstance(leaf, LowRank))


def one_level(plan: Plan, final: LowRank, seed: int) -> Plan:
    """The plan with one level of the size of a tensor, and steps without end."""
    factors = drawn([factor.shape[0] for factor in final.factors], final.rank, seed)
    solver = GaussNewton(tolerances=Tolerances(0.0, 100_000, 100_000))
    return plan.changed(hierarchy=Hierarchy((Level(with_factors(final, factors)),), ()), rule=None, solver=solver)


def _ratios(rows: list[Row]) -> list[float]:
    """Median and worst of both, and their ratios."""
    each = [[row["error"] for row in rows if row["arm"] == arm] for arm in (LEVELS, SINGLE)]
    (median, worst), (other, far) = ((float(np.median(errors)), float(np.max(errors))) for errors in each)
    return [median, worst, other, far, other / median, far / worst]


def _draw(path: Path, title: str, rows: list[Row]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 2.6), layout="constrained")
        axes = figure.subplots()
        for arm, marker in ((LEVELS, "o"), (SINGLE, "s")):
            own = [row for row in rows if row["arm"] == arm]
            names = [row["case"].replace(", ", ",\n") for row in own]
            axes.semilogx([row["error"] for row in own], names, marker, alpha=0.6, label=arm)
        axes.margins(y=0.4)
        axes.set(xlabel="relative L2 error")
        axes.legend()
        save(figure, path, title)
