"""Tables of the kind that people bring, fitted by default and by usual tools, on the same core.

Emulators of the literature (borehole, wing weight, piston, output transformerless circuit, robot arm), noisy ones and
one with wrong values, columns in odd units, and laws of physics with designs of their own. Beside them, from scikit-
learn, a Gaussian process with a length for every input by maximum likelihood of at most 400 rows and boosted trees,
from SciPy a thin-plate spline whose smoothness is chosen by five-fold cross-validation and for one input a smoothing
spline by generalised cross-validation; Gaussian process and thin plate see at most 2,000 rows. Errors are root mean
squares at 2,000 fresh points of the box over the spread of the truth; the ratio is to the best of the usual tools;
what was refused is marked. Claimed is the larger of the error at rows left out and the one to be expected over the
box; for noisy rows it contains the noise. There is one seed: the long form says what wins, not by how much.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.interpolate import RBFInterpolator, make_smoothing_spline

from hierax import clock
from hierax.problems import Box, Data, Function, Problem
from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM
from hierax.training.train import train
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study
from studies.so_far import SoFar
from studies.tabulated import TABLES, Table

NAME = "tables"
BUDGET, SEEDS, FRESH, MOST = 60.0, 1, 2000, 2000
SEARCHED = 400
"""Rows by which the lengths of the usual Gaussian process are found."""
GOLD = "#c9a227"
ARMS = {"hierax": ACCENT, "Gaussian process": WARM, "boosting": INK, "thin plate": MUTED, "smoothing spline": GOLD}


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Fit every table with every tool; the short form takes a few small ones."""
    so_far = SoFar(out, NAME)
    for table in TABLES:
        for count in table.counts[:1] if quick else table.counts:
            if quick and not table.quick:
                continue
            for seed in range(1 if quick else SEEDS):
                key = {"problem": table.name, "count": count, "seed": seed}
                so_far.add(key, lambda own=(table, count, seed): measured(*own))
    rows = so_far.rows
    medians = over_seeds(rows)
    head = ["table", "rows", "inputs", *ARMS, "claimed", "ratio", "refused", "seconds"]
    text = "\n".join(aligned([head, *map(_cells, medians)]))
    title = "Errors of fits by default and by usual tools"
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, medians))
    return record(NAME, quick, summary(medians), paths, text, __doc__, rows=rows)


def measured(table: Table, count: int, seed: int) -> list[Row]:
    """All tools on one table."""
    rng = np.random.default_rng(1000 * seed + count)
    points = table.design(rng.uniform(size=(count, table.dim)))
    fresh = table.design(rng.uniform(size=(FRESH, table.dim)))
    clean, truth = table.law(points), table.law(fresh)
    noise = np.where(rng.uniform(size=count) < table.wrong, 5.0, table.noise)
    values = clean + noise * np.std(truth) * rng.normal(size=count)
    lower = np.minimum(points.min(axis=0), fresh.min(axis=0))
    upper = np.maximum(points.max(axis=0), fresh.max(axis=0))
    base = {"problem": table.name, "count": count, "dim": table.dim, "seed": seed}
    rows = []
    unit = [(x - lower) / (upper - lower) for x in (points, fresh)]
    level, size = np.mean(values), np.std(values)
    for arm in ARMS:
        began, refused, claimed = clock.seconds_now(), False, None
        if arm == "hierax":
            names = tuple(f"x{k}" for k in range(table.dim))
            box = Box(lower, upper, names=names)
            problem = Problem(box, (Data("y", points, values),), unknowns={"y": Function()}, name=table.name)
            solution = train(problem, key=seed, budget=BUDGET)
            found, refused = solution.evaluate(fresh, "y"), solution.result.exit_code != 0
            known = solution.accuracy
            claimed = max(known.left_out or known.validation_error or 0.0, known.over_box or 0.0)
        elif arm == "smoothing spline" and table.dim > 1:
            continue
        else:
            found = level + size * TOOLS[arm](unit[0], (values - level) / size, unit[1])
        error = float(np.sqrt(np.mean((found - truth) ** 2)) / np.std(truth))
        seconds = clock.seconds_now() - began
        rows.append(base | {"arm": arm, "error": error, "refused": refused, "claimed": claimed, "seconds": seconds})
    return rows


def gaussian_process(points: np.ndarray, values: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Values at fresh points of a Gaussian process with a length for every input."""
    # scikit-learn is no requirement of the package, and its parts take long to import
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    # the stubs of scikit-learn know one type of each argument
    lengths: Any = np.full(points.shape[1], 1.0)
    kept: Any = None
    start = ConstantKernel(1.0, (1e-3, 1e6)) * RBF(lengths, (1e-2, 1e3))
    kernel = start + WhiteKernel(1e-4, (1e-12, 10.0))
    with warnings.catch_warnings():
        # lengths of inputs that do not matter end at their bound
        warnings.simplefilter("ignore")
        search = GaussianProcessRegressor(kernel, alpha=1e-12, n_restarts_optimizer=1, random_state=0)
        found = search.fit(points[:SEARCHED], values[:SEARCHED]).kernel_
    whole = GaussianProcessRegressor(found, alpha=1e-12, optimizer=kept).fit(points[:MOST], values[:MOST])
    return np.asarray(whole.predict(fresh))


def boosting(points: np.ndarray, values: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Values at fresh points of boosted trees, as many as rows kept back ask for."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    early: Any = True
    trees = HistGradientBoostingRegressor(
        max_iter=1000, learning_rate=0.05, early_stopping=early, min_samples_leaf=5, random_state=0
    )
    return np.asarray(trees.fit(points, values).predict(fresh))


def smoothing_spline(points: np.ndarray, values: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Values at fresh points of a cubic smoothing spline of one input."""
    x, place = np.unique(points[:, 0], return_index=True)
    return make_smoothing_spline(x, values[place])(fresh[:, 0])


def thin_plate(points: np.ndarray, values: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Values at fresh points of a thin-plate spline; its smoothness by cross-validation of a few rows."""
    some, known = points[:SEARCHED], values[:SEARCHED]
    folds = np.arange(len(known)) % 5

    def missed(smoothing: float) -> float:
        out = []
        for k in range(5):
            kept = folds != k
            fit = RBFInterpolator(some[kept], known[kept], smoothing=smoothing)
            out.append(fit(some[~kept]) - known[~kept])
        return float(np.mean(np.concatenate(out) ** 2))

    best = min([0.0, *10.0 ** np.arange(-6.0, 3.0)], key=missed)
    return RBFInterpolator(points[:MOST], values[:MOST], smoothing=best)(fresh)


TOOLS = {
    "Gaussian process": gaussian_process,
    "boosting": boosting,
    "thin plate": thin_plate,
    "smoothing spline": smoothing_spline,
}
"""The usual tools: from points of the unit box, standardised values and fresh points to values there."""


def over_seeds(rows: list[Row]) -> list[Row]:
    """Medians over seeds, one row a table and number of rows."""
    out = []
    for key in dict.fromkeys((row["problem"], row["count"], row["dim"]) for row in rows):
        own = [row for row in rows if (row["problem"], row["count"], row["dim"]) == key]
        tried = dict.fromkeys(r["arm"] for r in own)
        errors = {arm: float(np.median([r["error"] for r in own if r["arm"] == arm])) for arm in tried}
        mine = [r for r in own if r["arm"] == "hierax"]
        out.append(
            dict(zip(("problem", "count", "dim"), key, strict=True))
            | {"errors": errors, "ratio": errors["hierax"] / min(e for arm, e in errors.items() if arm != "hierax")}
            | {"refused": sum(r["refused"] for r in mine), "claimed": float(np.median([r["claimed"] for r in mine]))}
            | {"seconds": float(np.median([r["seconds"] for r in mine]))}
        )
    return out


def summary(medians: list[Row]) -> Row:
    """How often the default is the best, within 1.3 of it, refused, and more than thrice as wrong as claimed."""
    ratios = [row["ratio"] for row in medians]
    wrong = [not row["refused"] and row["errors"]["hierax"] > 3.0 * row["claimed"] for row in medians]
    return {
        "tables": len(ratios),
        "wins": sum(ratio <= 1.0 for ratio in ratios),
        "within": sum(ratio <= 1.3 for ratio in ratios),
        "ratio": max(ratios),
        "refused": sum(row["refused"] for row in medians),
        "overconfident": sum(wrong),
    }


def _cells(row: Row) -> list[str]:
    errors = [f"{row['errors'][arm]:.1e}" if arm in row["errors"] else "-" for arm in ARMS]
    counts = [str(row["count"]), str(row["dim"])]
    return [
        row["problem"],
        *counts,
        *errors,
        f"{row['claimed']:.1e}",
        f"{row['ratio']:.2f}",
        str(row["refused"]),
        f"{row['seconds']:.1f}",
    ]


def draw(path: Path, title: str, medians: list[Row]) -> None:
    """Errors of all tools, one line a table."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 1.2 + 0.28 * len(medians)), layout="constrained")
        axes = figure.subplots()
        names = [f"{row['problem']}, {row['count']}" for row in medians]
        for arm, color in ARMS.items():
            axes.plot([row["errors"].get(arm, np.nan) for row in medians], names, "o", color=color, label=arm)
        axes.set_xscale("log")
        axes.invert_yaxis()
        axes.set_xlabel("error over the spread")
        axes.legend()
        save(figure, path, title)
