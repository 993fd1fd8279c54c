"""Tables of the kind that people bring, fitted by default and by usual tools, on the same core.

Emulators of the literature (borehole, wing weight, piston, output transformerless circuit, Friedman's function), the
same with noise, one of them with wrong values, and laws of physics in their own units and designs. Beside them a
Gaussian process with a Gaussian kernel and a length for every input by maximum likelihood, its parameters from at most
500 rows, and a thin-plate spline whose smoothness is chosen by five-fold cross-validation; both see at most 2,000 rows.
Boosted trees are not among the packages of this environment. Errors are root mean squares at 2,000 fresh points over
the spread of the truth; the ratio is to the better of the usual tools; what was refused is marked.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.interpolate import RBFInterpolator
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from hierax.problems import Box, Data, Function, Problem
from hierax.results.figures import ACCENT, MUTED, STYLE, WARM
from hierax.results.files import write_json
from hierax.results.record import plain
from hierax.training.train import train
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study
from studies.tabulated import TABLES, Table

NAME = "tables"
BUDGET, SEEDS, FRESH, MOST = 60.0, 5, 2000, 2000
ARMS = {"hierax": ACCENT, "Gaussian process": WARM, "thin plate": MUTED}


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Fit every table with every tool, five times each; the short form takes a few small ones once."""
    rows: list[Row] = []
    for table in TABLES:
        for count in table.counts[:1] if quick else table.counts:
            if quick and not table.quick:
                continue
            for seed in range(1 if quick else SEEDS):
                rows += measured(table, count, seed)
                # A long run that is broken off leaves what it has measured.
                write_json(out / f"{NAME}-so-far.json", plain({"rows": rows}))
    medians = over_seeds(rows)
    head = ["table", "rows", "inputs", *ARMS, "ratio", "refused", "seconds"]
    text = "\n".join(aligned([head, *map(_cells, medians)]))
    title = "Error of a fit over that of the better usual tool"
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
    for arm in ARMS:
        began, refused = time.perf_counter(), False
        if arm == "hierax":
            names = tuple(f"x{k}" for k in range(table.dim))
            box = Box(lower, upper, names=names)
            problem = Problem(box, (Data("y", points, values),), unknowns={"y": Function()}, name=table.name)
            solution = train(problem, key=seed, budget=BUDGET)
            found, refused = solution.evaluate(fresh, "y"), solution.result.exit_code != 0
        else:
            tool = gaussian_process if arm == "Gaussian process" else thin_plate
            few = rng.permutation(count)[:MOST]
            unit = [(x - lower) / (upper - lower) for x in (points[few], fresh)]
            level, size = np.mean(values), np.std(values)
            found = level + size * tool(unit[0], (values[few] - level) / size, unit[1])
        error = float(np.sqrt(np.mean((found - truth) ** 2)) / np.std(truth))
        rows.append(base | {"arm": arm, "error": error, "refused": refused, "seconds": time.perf_counter() - began})
    return rows


def gaussian_process(points: np.ndarray, values: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Values at fresh points of a Gaussian process with a length for every input."""
    some = slice(0, 500)
    starts = [np.r_[np.full(points.shape[1], np.log(length)), -9.0] for length in (0.3, 1.0, 3.0)]
    bounds = [*[(-4.0, 6.0)] * points.shape[1], (-25.0, 2.0)]
    runs = [
        minimize(_unlikely, start, (points[some], values[some]), "L-BFGS-B", True, bounds=bounds) for start in starts
    ]
    best = min(runs, key=lambda r: r.fun).x
    kernel, scaled = _gaussian(points, points, best), values - values.mean()
    kernel[np.diag_indices_from(kernel)] += np.exp(best[-1])
    return values.mean() + _gaussian(fresh, points, best) @ cho_solve(cho_factor(kernel, lower=True), scaled)


def _gaussian(one: np.ndarray, other: np.ndarray, theta: np.ndarray) -> np.ndarray:
    one, other = one / np.exp(theta[:-1]), other / np.exp(theta[:-1])
    squares = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1) - 2.0 * one @ other.T
    return np.exp(-0.5 * np.maximum(squares, 0.0))


def _unlikely(theta: np.ndarray, points: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
    kernel = _gaussian(points, points, theta)
    noisy = kernel + np.exp(theta[-1]) * np.eye(len(values))
    try:
        factor = cho_factor(noisy, lower=True)
    except LinAlgError:
        return 1e10, np.zeros_like(theta)
    inverse = cho_solve(factor, np.eye(len(values)))
    weights = inverse @ (values - values.mean())
    variance = float(weights @ (values - values.mean())) / len(values)
    outer = 0.5 * (inverse - np.outer(weights, weights) / variance)
    pulled = outer * kernel
    slopes = [np.sum(pulled * np.subtract.outer(x, x) ** 2) for x in (points / np.exp(theta[:-1])).T]
    value = 0.5 * len(values) * np.log(variance) + float(np.sum(np.log(np.diag(factor[0]))))
    return value, np.r_[slopes, np.exp(theta[-1]) * np.trace(outer)]


def thin_plate(points: np.ndarray, values: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Values at fresh points of a thin-plate spline; its smoothness by cross-validation of at most 500 rows."""
    some, known = points[:500], values[:500]
    folds = np.arange(len(known)) % 5

    def missed(smoothing: float) -> float:
        out = []
        for k in range(5):
            kept = folds != k
            fit = RBFInterpolator(some[kept], known[kept], smoothing=smoothing)
            out.append(fit(some[~kept]) - known[~kept])
        return float(np.mean(np.concatenate(out) ** 2))

    best = min([0.0, *10.0 ** np.arange(-6.0, 3.0)], key=missed)
    return RBFInterpolator(points, values, smoothing=best)(fresh)


def over_seeds(rows: list[Row]) -> list[Row]:
    """Medians over seeds, one row a table and number of rows."""
    out = []
    for key in dict.fromkeys((row["problem"], row["count"], row["dim"]) for row in rows):
        own = [row for row in rows if (row["problem"], row["count"], row["dim"]) == key]
        errors = {arm: float(np.median([r["error"] for r in own if r["arm"] == arm])) for arm in ARMS}
        mine = [r for r in own if r["arm"] == "hierax"]
        out.append(
            dict(zip(("problem", "count", "dim"), key, strict=True))
            | {"errors": errors, "ratio": errors["hierax"] / min(e for arm, e in errors.items() if arm != "hierax")}
            | {"refused": sum(r["refused"] for r in mine), "seconds": float(np.median([r["seconds"] for r in mine]))}
        )
    return out


def summary(medians: list[Row]) -> Row:
    """How often the default is the best, how often within 1.3 of it, and the largest ratio."""
    ratios = [row["ratio"] for row in medians]
    return {
        "tables": len(ratios),
        "wins": sum(ratio <= 1.0 for ratio in ratios),
        "within": sum(ratio <= 1.3 for ratio in ratios),
        "ratio": max(ratios),
        "refused": sum(row["refused"] for row in medians),
    }


def _cells(row: Row) -> list[str]:
    errors = [f"{row['errors'][arm]:.1e}" for arm in ARMS]
    counts = [str(row["count"]), str(row["dim"])]
    return [row["problem"], *counts, *errors, f"{row['ratio']:.2f}", str(row["refused"]), f"{row['seconds']:.1f}"]


def draw(path: Path, title: str, medians: list[Row]) -> None:
    """Errors of all tools, one line a table."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 1.2 + 0.28 * len(medians)), layout="constrained")
        axes = figure.subplots()
        names = [f"{row['problem']}, {row['count']}" for row in medians]
        for arm, color in ARMS.items():
            axes.plot([row["errors"][arm] for row in medians], names, "o", color=color, label=arm)
        axes.set_xscale("log")
        axes.invert_yaxis()
        axes.set_xlabel("error over the spread")
        axes.legend()
        save(figure, path, title)
