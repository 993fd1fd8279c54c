"""Several models of one number: how much less variance their estimators have than Monte Carlo at equal cost.

Three sets of the literature, as formulas: four powers of a uniform number (costs fall tenfold each), three tunable
models of two uniform numbers whose correlations follow an angle, and three variants of Ishigami's function. Covariances
are exact to quadrature and known to all; the budget is that of 500 samples of the dearest model. "Design" is what the
best linear unbiased estimator promises for them, with as many samples as are best; "estimate" is what `hx.estimate`
reaches with its pilot paid, over repetitions. Where PyApprox can be imported its estimators get the same covariances,
costs and budget: multilevel and multifidelity Monte Carlo, generalised multifidelity, and its multilevel best linear
unbiased estimator, whose samples are whole numbers; "-" is where its optimiser finds none.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import hierax as hx
from hierax.results.figures import STYLE
from hierax.results.record import plain
from hierax.statistics.blue import best_design, candidates
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study

NAME = "model-sets"
BUDGET, NODES = 500.0, 24
REPETITIONS, QUICK = 100, 20


@dataclass(frozen=True)
class ModelSet:
    """Models by number, the dearest first, of as many numbers that are uniform between two ends, and their costs."""

    name: str
    models: tuple[Callable[[np.ndarray], np.ndarray], ...]
    dim: int
    ends: tuple[float, float]
    costs: tuple[float, ...]

    def covariance(self) -> tuple[np.ndarray, float]:
        """Covariance of the models, and the mean of the dearest, by Gauss's rule."""
        nodes, own = np.polynomial.legendre.leggauss(NODES)
        low, high = self.ends
        axes = np.meshgrid(*[0.5 * (low + high) + 0.5 * (high - low) * nodes] * self.dim, indexing="ij")
        weights = np.prod(np.meshgrid(*[0.5 * own] * self.dim, indexing="ij"), axis=0).ravel()
        values = np.stack([model(np.stack([a.ravel() for a in axes], axis=1)) for model in self.models])
        means = values @ weights
        return (values - means[:, None]) * weights @ (values - means[:, None]).T, float(means[0])

    def simulation(self) -> hx.Simulation:
        """The models as an ensemble, the dearest last."""
        order = self.models[::-1]
        return hx.Simulation(
            lambda inputs, level: order[level](inputs["z"]), {"z": (hx.Uniform(*self.ends), self.dim)},
            len(order), costs=list(self.costs[::-1]), ensemble=True, batch=True,
        )  # fmt: skip


def polynomial() -> ModelSet:
    """`x^5, ..., x^2` (Gorodetsky et al., 2020)."""
    powers = tuple((lambda z, p=p: z[:, 0] ** p) for p in range(5, 1, -1))
    return ModelSet("polynomial", powers, 1, (0.0, 1.0), tuple(10.0**-k for k in range(4)))


def tunable(angle: float) -> ModelSet:
    """Fifth, third and first powers of two numbers, turned against each other by angles (Gorodetsky et al., 2020)."""

    def turned(power: int, by: float, size: float, shift: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda z: size * (np.cos(by) * z[:, 0] ** power + np.sin(by) * z[:, 1] ** power) + shift

    models = (turned(5, np.pi / 2, np.sqrt(11.0), 0.0), turned(3, angle, np.sqrt(7.0), 1.0),
              turned(1, np.pi / 6, np.sqrt(3.0), 0.5))  # fmt: skip
    return ModelSet(f"tunable, angle {angle / np.pi:.2g} pi", models, 2, (-1.0, 1.0), (1.0, 0.1, 0.01))


def ishigami() -> ModelSet:
    """Ishigami's function with other coefficients (Qian et al., SIAM/ASA J. Uncertain. Quantif., 2018)."""

    def one(first: float, even: float, power: int, last: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda z: (
            first * np.sin(z[:, 0]) + even * np.sin(z[:, 1]) ** power + last * z[:, 2] ** 4 * np.sin(z[:, 0])
        )

    models = (one(1.0, 5.0, 2, 0.1), one(0.95, 5.0, 2, 0.1), one(0.6, 5.0, 2, 0.09))
    return ModelSet("Ishigami", models, 3, (-np.pi, np.pi), (1.0, 0.05, 0.001))


SETS = (polynomial(), tunable(np.pi / 2.3), tunable(np.pi / 3), ishigami())


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """All sets; the short form repeats estimates less often."""
    rows: list[Row] = []
    for one in SETS:
        covariance, mean = one.covariance()
        plain_variance = covariance[0, 0] / BUDGET
        found = {"design": designed(one, covariance), **pyapprox(one, covariance)}
        found["estimate"] = estimated(one, mean, QUICK if quick else REPETITIONS)
        rows += [
            {"set": one.name, "arm": arm, "reduction": plain_variance / variance} for arm, variance in found.items()
        ]
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    cells = [[one.name, *(_cell(rows, one.name, arm) for arm in arms)] for one in SETS]
    text = "\n".join(aligned([["set", *arms], *cells]))
    summary = {f"{row['set']}, {row['arm']}": row["reduction"] for row in rows}
    title = "Variance of Monte Carlo over that of estimators from several models" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, rows))
    return plain(record(NAME, quick, summary, paths, text, __doc__, rows=rows))


def designed(one: ModelSet, covariance: np.ndarray) -> float:
    """Variance of the best linear unbiased estimator."""
    groups = candidates(len(one.costs))
    costs = np.array([sum(one.costs[k] for k in group) for group in groups])
    return best_design(covariance, groups, costs).product / BUDGET


def estimated(one: ModelSet, mean: float, repetitions: int) -> float:
    """Mean square error of estimates with a budget, the pilot in it."""
    made = [hx.estimate(one.simulation(), budget=BUDGET, key=k).value for k in range(repetitions)]
    return float(np.mean((np.array(made) - mean) ** 2))


def pyapprox(one: ModelSet, covariance: np.ndarray) -> dict[str, float]:
    """Variances of PyApprox's estimators; empty where it cannot be imported."""
    if importlib.util.find_spec("pyapprox") is None:
        return {}
    from pyapprox import statest  # pyright: ignore[reportMissingImports]
    from pyapprox.statest.acv.search import ACVSearch  # pyright: ignore[reportMissingImports]
    from pyapprox.statest.groupacv.search import GroupACVSearch  # pyright: ignore[reportMissingImports]
    from pyapprox.util.backends.numpy import NumpyBkd  # pyright: ignore[reportMissingImports]

    backend = NumpyBkd()
    known, costs = statest.MultiOutputMean(1, backend), np.array(one.costs)
    known.set_pilot_quantities(covariance)
    searches = {
        "PyApprox MLMC": ACVSearch(known, costs, [statest.MLMCEstimator]),
        "PyApprox MFMC": ACVSearch(known, costs, [statest.MFMCEstimator]),
        "PyApprox GMF": ACVSearch(known, costs, [statest.GMFEstimator]),
        "PyApprox MLBLUE": GroupACVSearch(known, costs, [statest.MLBLUEEstimator]),
    }
    found = {}
    for arm, search in searches.items():
        try:
            found[arm] = float(np.ravel(search.search(BUDGET, allow_failures=True).best.covariance())[0])
        except RuntimeError:
            found[arm] = np.nan
    return found


def _cell(rows: list[Row], name: str, arm: str) -> str:
    found = next(row["reduction"] for row in rows if (row["set"], row["arm"]) == (name, arm))
    return "-" if np.isnan(found) else f"{found:.1f}"


def _draw(path: Path, title: str, rows: list[Row]) -> None:
    names, arms = ([*dict.fromkeys(row[key] for row in rows)] for key in ("set", "arm"))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 3.2), layout="constrained")
        axes = figure.subplots()
        for k, arm in enumerate(arms):
            heights = [row["reduction"] for row in rows if row["arm"] == arm]
            axes.bar(np.arange(len(names)) + k * 0.8 / len(arms), heights, 0.8 / len(arms), label=arm, align="edge")
        axes.set(yscale="log", ylabel="variance of Monte Carlo / own", xticks=np.arange(len(names)) + 0.4)
        axes.set_xticklabels(names)
        axes.legend(fontsize="xx-small")
        save(figure, path, title)
