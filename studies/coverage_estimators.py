"""Whether intervals of estimators hold the truth as often as they say: nominal 95 %, means and variances, formulas.

A number is a function of a normal one: itself, its exponential, its square, a sine with a slope, a number of Student's
t with three degrees of freedom (whose variance has no standard error: fourth moments are infinite), and whether it is
above one. Tolerances are those that 50 or 300 independent samples would reach were variances known (of the variance of
the heavy tail: with a made-up kurtosis of 40). Monte Carlo and Sobol sequences have one level; levels differ from the
limit by shifts of the normal number that fall fourfold; the surrogate shrinks the normal number by 3 %. "Held" is the
share of repetitions whose interval holds the truth, with a standard error of one and a half percentage points, "below"
and "above" are those in which the truth lies there, "said" is the share that says that tails are heavy, "unsaid" that
which misses the truth and does not say so, "error" the root mean square error over the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtr, stdtrit

import hierax as hx
from hierax.results.figures import INK, STYLE
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study
from studies.so_far import SoFar

NAME = "coverage-estimators"
REPETITIONS, QUICK = 200, 20
SAMPLES = (50, 300)
Function = Callable[[np.ndarray], np.ndarray]


def heavy(z: np.ndarray) -> np.ndarray:
    """A number of Student's law from a normal one."""
    return stdtrit(3.0, np.clip(ndtr(z), 1e-16, 1.0 - 1e-16))


# mean, variance and kurtosis of each
NUMBERS: dict[str, tuple[Function, float, float, float]] = {
    "normal": (lambda z: z, 0.0, 1.0, 3.0),
    "log-normal": (np.exp, np.exp(0.5), np.e**2 - np.e, np.e**4 + 2.0 * np.e**3 + 3.0 * np.e**2 - 3.0),
    "square": (np.square, 1.0, 2.0, 15.0),
    "sine": (lambda z: np.sin(1.0 + 0.7 * z) + 0.2 * z, 0.0, 0.0, 0.0),
    "heavy tail": (heavy, 0.0, 3.0, 40.0),
    "indicator": (lambda z: np.asarray(z > 1.0, float), 0.0, 0.0, 0.0),
}
# whether samples come from Sobol sequences
ARMS = {"Monte Carlo": False, "levels": False, "levels, surrogate": False, "Sobol": True}
STATISTICS = {"mean": hx.Mean(), "variance": hx.Variance()}


def moments(name: str) -> tuple[float, float, float]:
    """Mean, variance and kurtosis."""
    function, *known = NUMBERS[name]
    if name == "indicator":
        p = float(ndtr(-1.0))
        return p, p * (1.0 - p), 1.0 / (p * (1.0 - p)) - 3.0
    if name == "sine":
        z, weights = np.polynomial.hermite_e.hermegauss(80)
        values, weights = function(z), weights / np.sum(weights)
        off = values - weights @ values
        return float(weights @ values), float(weights @ off**2), float(weights @ off**4 / (weights @ off**2) ** 2)
    return known[0], known[1], known[2]


def simulation(function: Function, arm: str) -> hx.Simulation:
    """What an arm evaluates."""
    inputs = {"z": hx.Normal(0.0, 1.0)}
    if arm in ("Monte Carlo", "Sobol"):
        return hx.Simulation(lambda one, level: function(one["z"]), inputs, 1, costs=[1.0], batch=True)

    def on_level(one: dict[str, np.ndarray], level: int) -> np.ndarray:
        return function(one["z"] + 0.3 * 4.0 ** -(level + 1) * (1.0 + np.cos(2.0 * one["z"])))

    return hx.Simulation(on_level, inputs, 6, costs=[2.0**k for k in range(6)], batch=True)


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Every arm; the short form has two of them and few repetitions. Rows that `out` has are not made again."""
    so_far = SoFar(out, NAME)
    repetitions = QUICK if quick else REPETITIONS
    for arm in list(ARMS)[: 2 if quick else None]:
        for statistic in STATISTICS:
            # the variance of an indicator is a function of its mean
            for name in list(NUMBERS)[: None if statistic == "mean" else -1]:
                for samples in SAMPLES:
                    key = {"arm": arm, "statistic": statistic, "number": name, "samples": samples}
                    so_far.add(key | {"repetitions": repetitions}, lambda key=key: [measured(**key, count=repetitions)])
    rows = [row for row in so_far.rows if row["repetitions"] == repetitions]
    title = "Intervals of estimators that hold the truth, nominal 95 %" + (" (short form)" if quick else "")
    head = ["estimator, statistic, number", "samples", "held", "below", "above", "said", "unsaid", "error", "cost"]
    text = "\n".join(aligned([head, *map(_cells, rows)])) + "\n\n" + so_far.reading()
    summary = {f"{row['arm']}, {row['statistic']}, {row['number']}, {row['samples']}": row["held"] for row in rows}
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, rows))
    return plain(record(NAME, quick, {"coverage": summary}, paths, text, __doc__, rows=rows))


def measured(arm: str, statistic: str, number: str, samples: int, count: int) -> Row:
    """Estimate as often as is asked, and compare with the truth."""
    function = NUMBERS[number][0]
    mean, variance, kurtosis = moments(number)
    truth, spread = (mean, variance) if statistic == "mean" else (variance, variance**2 * (kurtosis - 1.0))
    tolerance, made = float(np.sqrt(spread / samples)), simulation(function, arm)
    surrogate = (lambda one: function(0.97 * one["z"])) if "surrogate" in arm else None
    found = [
        hx.estimate(
            made,
            statistic=STATISTICS[statistic],
            tolerance=tolerance,
            budget=1e12,
            key=key,
            surrogate=surrogate,
            quasi=ARMS[arm],
        )
        for key in range(count)
    ]
    below, above = np.array([(truth < one.low, truth > one.high) for one in found]).T
    said = np.array([any("heavy" in sentence for sentence in one.sentences) for one in found])
    return {
        "held": 1.0 - np.mean(below | above), "below": np.mean(below), "above": np.mean(above), "said": np.mean(said),
        "unsaid": np.mean((below | above) & ~said),
        "error": np.sqrt(np.mean([(one.value - truth) ** 2 for one in found])) / tolerance,
        "cost": np.mean([one.spent for one in found]),
    }  # fmt: skip


def _cells(row: Row) -> list[str]:
    shares = [f"{100.0 * row[key]:.1f}" for key in ("held", "below", "above")]
    return [f"{row['arm']}, {row['statistic']}, {row['number']}", str(row["samples"]), *shares,
            f"{100.0 * row['said']:.0f}", f"{100.0 * row['unsaid']:.1f}", f"{row['error']:.2f}",
            f"{row['cost']:.3g}"]  # fmt: skip


def _draw(path: Path, title: str, rows: list[Row]) -> None:
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.subplots()
        for k, statistic in enumerate(STATISTICS):
            own = [row for row in rows if row["statistic"] == statistic]
            places = [arms.index(row["arm"]) + 0.3 * (k - 0.5) for row in own]
            axes.plot(places, [row["held"] for row in own], ".", label=statistic)
        axes.axhline(0.95, color=INK, lw=0.8)
        axes.set(ylabel="share held", xticks=range(len(arms)))
        axes.set_xticklabels(arms, rotation=20, ha="right")
        axes.legend(fontsize="x-small")
        save(figure, path, title)
