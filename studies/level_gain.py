"""Is the gain of a level known before it is paid for? Predicted against realised decrease, over thirty cases.

- A case is a function on [-1, 1], a field that was fitted to 200 of its values by Gauss-Newton until a step promises
  less than a millionth (at most 150 steps), and a refinement of it: a spline grid of eight intervals with knots in the
  middle of all of them, of the right half or of the left half; a perceptron of five hidden units with five more, four
  of them in pairs that cancel, with five copies, or with one copy.
- Predicted is the largest decrease of the damped Gauss-Newton model at the prolonged parameters, before the level is
  trained, beyond what the range of prolong offers (`hierax.dynamics.complementarity`), over the value there.
- Realised is the value of the coarse field after twenty more steps less that of the fine one after twenty steps, over
  the same value. It may be negative: copies can be a worse place to go on from.
- The measure is Spearman's rank correlation over all cases, and over those of each kind of field. For the grids, which
  are linear in their parameters, the prediction is exact but for its damping: they are half of the cases, and the other
  half stands by itself. Beside it stands a simpler guess, the number of new parameters. What decides in `BestOf` is the
  gain for each new parameter, so the right choices among the refinements of a field are counted as well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from hierax.dynamics import complementarity
from hierax.fields import MLP, SplineGrid
from hierax.hierarchy import AbstractRefinement, IntervalDoubling, KnotInsertion, Level, WidthGrowth
from hierax.objective import flat_parameters, make_samples
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.results.figures import ACCENT, MUTED, STYLE, WARM
from hierax.solvers import GaussNewton, Tolerances
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study

NAME = "level-gain"
POINTS = np.linspace(-1.0, 1.0, 200)[:, None]
STEPS = 20
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "smooth": lambda x: np.sin(3.0 * x),
    "kink": lambda x: np.abs(x - 0.35),
    "wave": lambda x: np.sin(12.0 * x),
    "front": lambda x: np.arctan(20.0 * (x - 0.4)),
    "two scales": lambda x: np.sin(2.0 * x) + 0.2 * np.sin(20.0 * x),
}
RIGHT = (0.125, 0.375, 0.625, 0.875)
FIELDS: dict[str, tuple[Callable[[], Any], dict[str, AbstractRefinement]]] = {
    "spline grid": (
        lambda: SplineGrid.uniform([-1.0], [1.0], 8, 3),
        {
            "all knots": IntervalDoubling(),
            "right half": KnotInsertion([RIGHT]),
            "left half": KnotInsertion([[-x for x in reversed(RIGHT)]]),
        },
    ),
    "perceptron": (
        lambda: MLP([1, 5, 1], key=0, domain=([-1.0], [1.0])),
        {"pairs": WidthGrowth(2.0), "copies": WidthGrowth(2.0, mixing=0.0), "one copy": WidthGrowth(1.2)},
    ),
}
_FIT = SquaredResidual("fit", lambda field, place: jnp.ravel(field(place.x)) - place.target)


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Fit and refine all cases, leave table, figure and rows in `out`, rank correlations under `summary`.

    The short form has two functions.
    """
    names = list(FUNCTIONS)[2:4] if quick else list(FUNCTIONS)
    rows = [row for name in names for kind in FIELDS for row in cases(name, kind)]
    main = summary(rows)
    text = "\n\n".join([table(rows), answer(main)])
    title = "Gain of a level: predicted before it is trained, and realised" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, rows))
    return record(NAME, quick, main, paths, text, __doc__, rows=rows)


def objective_of(field: Any, values: np.ndarray) -> RowObjective:
    """Mean square misfit."""
    samples = make_samples(_FIT, POINTS, np.full(len(POINTS), 1.0 / len(POINTS)), None, values)
    return RowObjective(field, [samples], local=False)


def fitted(field: Any, values: np.ndarray, tolerances: Tolerances) -> tuple[Any, float]:
    """The field after Gauss-Newton steps until they end, and the misfit."""
    objective, (theta, build) = objective_of(field, values), flat_parameters(field)
    solver = GaussNewton(tolerances=tolerances)
    state, done, value = solver.init(objective, theta), False, np.inf
    while not done:
        step = solver.step(objective, theta, state)
        theta, state, done, value = step.theta, step.state, step.done, step.value
    return build(theta), value


def cases(name: str, kind: str) -> list[Row]:
    """All refinements of one field fitted to one function."""
    values = FUNCTIONS[name](POINTS)
    make, rules = FIELDS[kind]
    coarse, before = fitted(make(), values, Tolerances(1e-6, 150))
    more = Tolerances(1e-12, STEPS)
    alone = fitted(coarse, values, more)[1]
    out = []
    for label, rule in rules.items():
        fine, transfer = rule.refine(Level(coarse), key=jax.random.key(1))
        seen = complementarity(objective_of(fine.field, values), transfer, coarse)
        after = fitted(fine.field, values, more)[1]
        out.append(
            {
                "function": name,
                "field": kind,
                "refinement": label,
                "new_parameters": fine.parameters - Level(coarse).parameters,
                "loss": before,
                "predicted": seen.gain / before,
                "realised": (alone - after) / before,
                "share_of_step_outside": seen.newton,
            }
        )
    return out


def summary(rows: list[Row]) -> dict[str, Any]:
    """Rank correlations, and how often the best refinement for each new parameter was foretold."""
    realised = [row["realised"] for row in rows]
    by_kind = {
        kind: rank(
            [r["predicted"] for r in rows if r["field"] == kind], [r["realised"] for r in rows if r["field"] == kind]
        )
        for kind in FIELDS
    }
    right, all_ = 0, 0
    for function, kind in dict.fromkeys((row["function"], row["field"]) for row in rows):
        own = [row for row in rows if (row["function"], row["field"]) == (function, kind)]
        best = {key: max(own, key=lambda r: r[key] / r["new_parameters"]) for key in ("predicted", "realised")}
        right, all_ = right + (best["predicted"] is best["realised"]), all_ + 1
    return {
        "cases": len(rows),
        "rank_correlation": rank([row["predicted"] for row in rows], realised),
        "rank_correlation_by_field": by_kind,
        "rank_correlation_of_new_parameters": rank([row["new_parameters"] for row in rows], realised),
        "right_choices": [right, all_],
    }


def rank(predicted: list[float], realised: list[float]) -> float:
    """Spearman's rank correlation; decreases below a millionth count as none."""
    first, second = (np.where(np.abs(part) < 1e-6, 0.0, part) for part in map(np.asarray, (predicted, realised)))
    fit: Any = spearmanr(first, second)
    return float(fit.statistic)


def table(rows: list[Row]) -> str:
    """A line for each case."""
    head = ["case", "new parameters", "loss", "predicted", "realised", "step outside"]
    cells = [
        [
            f"{r['function']}, {r['field']}, {r['refinement']}",
            str(r["new_parameters"]),
            f"{r['loss']:.2e}",
            f"{r['predicted']:.4f}",
            f"{r['realised']:.4f}",
            f"{r['share_of_step_outside']:.3f}",
        ]
        for r in rows
    ]
    return "\n".join(aligned([head, *cells]))


def answer(main: dict[str, Any]) -> str:
    """The question of the study, answered by its numbers."""
    own = ", ".join(f"{kind} {value:.2f}" for kind, value in main["rank_correlation_by_field"].items())
    right, count = main["right_choices"]
    return (
        f"Rank correlation of predicted and realised gain over {main['cases']} cases: {main['rank_correlation']:.2f} "
        f"({own}); of the number of new parameters: {main['rank_correlation_of_new_parameters']:.2f}. The best "
        f"refinement for each new parameter was foretold in {right} of {count} choices."
    )


def draw(path: Path, title: str, rows: list[Row]) -> None:
    """Predicted across, realised up, a mark for each case."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8)
        for kind, color in zip(FIELDS, (ACCENT, WARM), strict=True):
            own = [row for row in rows if row["field"] == kind]
            axes.plot([r["predicted"] for r in own], [r["realised"] for r in own], "o", color=color, ms=5, label=kind)
        axes.set(xlabel="predicted decrease over the loss", ylabel="realised decrease over the loss")
        axes.legend(frameon=False, fontsize=8)
        save(figure, path, title)
