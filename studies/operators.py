"""Operators and surrogates at equal seconds: what is learned, beside coarse solves and a direct solver.

A family whose input is three numbers: heat in a rod with a source, its conductivity, the place and the strength of the
source; solved members with a tolerance are the truth. Flow through random media on 64 x 64 cells, with log-normal
coefficients and of two phases (contrast 6): the map from the coefficient to the pressure, with 800 samples and the
equation not used, and with 32 samples on top of a solve on 16 x 16 cells; errors on 100 fresh samples. `ms` is the
processor time of one prediction; a prediction on top of a coarse solve has that solve in it. Seconds are those of
training with compilation, data not counted. Rows named "solve" learn nothing: where one of them is below a row in
error and in milliseconds, do not learn.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hierax.models import Family, LogUniform, Operator, Samples, Surrogate, Uniform, predict, surrogate
from hierax.models.grids import relative_errors, resampled
from hierax.problems import Box, Face, Problem, Residual, derivative
from hierax.results.figures import MUTED, STYLE
from studies.common import Row, aligned, record, save, write_files
from studies.media import Media, media
from studies.registry import study
from studies.so_far import SoFar

NAME = "operators"
TESTED = 100
HEAT = "heat, three numbers"
SEEDS = 5
NETWORK, CORRECTION, COARSE, DIRECT = MODELS = (
    "multigrid network", "network on a coarse solve", "solve on a quarter of the cells an axis", "solve (direct)",
)  # fmt: skip
MEDIA = {"darcy, log-normal": None, "darcy, two phases": 6.0}


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Learn, test, and leave table, figure and rows in `out`, seed by seed; the short form is small, and short."""
    budget, seeds = (8.0, 1) if quick else (60.0, SEEDS)
    cells, few, many, tested = (16, 12, 40, 20) if quick else (64, 32, 800, TESTED)
    so_far, shown = SoFar(out, NAME), {}
    for seed in range(seeds):
        so_far.add({"family": HEAT, "seed": seed}, lambda own=seed: heat(max(budget, 20.0), own))
        for name, contrast in list(MEDIA.items())[: 1 if quick else None]:
            made = functools.cache(functools.partial(media, many + tested, cells, cells // 4, seed, contrast))
            for model in MODELS:
                measure = functools.partial(flow, name, model, made, few, many, budget, seed, shown)
                so_far.add({"family": name, "seed": seed, "model": model}, measure)
    return written(out, so_far, quick, shown)


def problem(conductivity: Any = 0.2, place: Any = 0.5, strength: Any = 1.0) -> Problem:
    """Heat in a rod from a sine, with a source of width 0.1."""

    def interior(u: Any, x: Any) -> Any:
        source = strength * jnp.exp(-(((x[1] - place) / 0.1) ** 2))
        return derivative(u, "t")(x) - conductivity * derivative(u, "xx")(x) - source

    walls = Residual("walls", lambda u, x, normal: u(x), on=(Face("x", "lower"), Face("x", "upper")))
    start = Residual("start", lambda u, x, normal: u(x) - jnp.sin(jnp.pi * x[1]), on=Face("t", "lower"))
    return Problem(Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")), (Residual("interior", interior), walls, start))


def heat(budget: float, seed: int) -> list[Row]:
    """The family of three numbers: the surrogate, and the same with the equation as its judge."""
    inputs = {"conductivity": LogUniform(0.05, 0.5), "place": Uniform(0.3, 0.7), "strength": Uniform(0.5, 2.0)}
    family = Family(problem, inputs)
    made = surrogate(family, budget=budget, key=seed)
    assert isinstance(made, Surrogate)
    members = family.drawn(12, 1000 + seed)
    began = time.process_time()
    judged = predict(made, members, family=family)
    middle = time.process_time()
    predict(made, members)
    ended = time.process_time()
    known = made.calibration
    common = {"family": HEAT, "seed": seed, "samples": made.record.samples, "seconds": made.record.seconds}
    ratio = float(np.median(known.errors / known.estimates))
    return [
        {**common, "model": f"reduced basis, {made.record.model}", "l2": float(np.median(known.errors)),
         "worst": float(known.errors.max()), "ms": 1e3 * (ended - middle) / 12, "true_over_estimated": ratio},
        {**common, "model": "the same, judged by the equation", "l2": float(np.median(judged.errors)),
         "worst": float(judged.errors.max()), "ms": 1e3 * (middle - began) / 12},
        {**common, "model": "solve on the common mesh", "l2": known.floor, "samples": 0, "seconds": 0.0,
         "ms": 1e3 * made.record.seconds_member},
    ]  # fmt: skip


def flow(
    name: str,
    model: str,
    made: Callable[[], Media],
    few: int,
    many: int,
    budget: float,
    seed: int,
    shown: dict[str, Any],
) -> list[Row]:
    """A model of a random medium: a network, the coarse solve, or the direct solver."""
    own = made()
    truth, arrays = own.fine[many:], {"a": own.coefficient, "coarse": own.coarse}
    samples, seconds, ms = 0, 0.0, 1e3 * own.seconds[0 if model == DIRECT else 1]
    found = truth if model == DIRECT else resampled(own.coarse[many:][..., None], truth.shape[1:], False)[..., 0]
    if model in (NETWORK, CORRECTION):
        names, samples, base = (["a"], many, None) if model == NETWORK else (["a", "coarse"], few, "coarse")
        given = Samples({n: arrays[n][:samples] for n in names}, {"u": own.fine[:samples]}, base=base)
        learned = surrogate(given, budget=budget, key=seed)
        assert isinstance(learned, Operator)
        inputs = {key: value[many:] for key, value in arrays.items()}
        learned(inputs)
        began = time.process_time()
        found, seconds = learned(inputs)["u"], learned.seconds
        ms = 1e3 * (time.process_time() - began) / len(truth) + (0.0 if base is None else ms)
    l2, h1 = relative_errors(jnp.asarray(found[..., None]), jnp.asarray(truth[..., None]), False)
    shown.setdefault(name, {"truth": truth[0]})[model] = found[0]
    return [{"samples": samples, "seconds": seconds, "ms": ms, "l2": float(np.mean(l2)), "h1": float(np.mean(h1)),
             "worst": float(np.max(l2))}]  # fmt: skip


def written(out: Path, so_far: SoFar, quick: bool, shown: dict[str, Any]) -> dict[str, Any]:
    """Table, figure and rows; medians over the seeds."""
    rows = so_far.rows
    title = "Operators at equal seconds" + (" (short form)" if quick else "")
    keys = dict.fromkeys((row["family"], row["model"].split(", ")[0]) for row in rows)
    cells = [["family", "model", "seeds", "samples", "seconds", "L2", "worst", "H1", "ms"]]
    summary: dict[str, dict[str, list[float]]] = {}
    for family, model in keys:
        own = [row for row in rows if row["family"] == family and row["model"].split(", ")[0] == model]
        median = {k: _median(own, k) for k in ("samples", "seconds", "l2", "worst", "h1", "ms")}
        numbers = ["-" if np.isnan(median[k]) else f"{median[k]:.2g}" for k in ("l2", "worst", "h1", "ms")]
        cells.append([family, model, str(len(own)), f"{median['samples']:.0f}", f"{median['seconds']:.0f}", *numbers])
        summary.setdefault(family, {})[model] = [median["l2"], median["seconds"]]
    text = "\n".join(aligned(cells))
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, shown))
    return record(NAME, quick, {"operators": summary}, paths, text, __doc__, rows=rows, reading=so_far.reading())


def _median(rows: list[Row], key: str) -> float:
    found = [row[key] for row in rows if key in row]
    return float(np.median(found)) if found else float("nan")


def draw(path: Path, title: str, shown: dict[str, Any]) -> None:
    """One test sample of each medium that was measured now: truth, predictions, and their errors."""
    with matplotlib.rc_context(STYLE):
        names = [NETWORK, CORRECTION, COARSE]
        figure = Figure(figsize=(2.2 * len(names), 4.2 * max(1, len(shown))), layout="constrained")
        grid = figure.subplots(2 * max(1, len(shown)), len(names), squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        if not shown:
            figure.text(0.5, 0.5, "All samples were measured by an earlier run.", ha="center", color=MUTED)
        for k, (family, found) in enumerate(shown.items()):
            for axes, below, model in zip(grid[2 * k], grid[2 * k + 1], names, strict=True):
                truth = found["truth"]
                if model not in found:
                    continue
                axes.imshow(found[model].T, origin="lower", vmin=truth.min(), vmax=truth.max(), cmap="viridis")
                axes.set_title(f"{family}\n{model}", fontsize=6)
                error = (found[model] - truth) / np.sqrt(np.mean(truth**2))
                below.imshow(error.T, origin="lower", cmap="coolwarm", vmin=-0.03, vmax=0.03)
                below.set_title(f"error, rms {np.sqrt(np.mean(error**2)):.1e}", fontsize=6)
        save(figure, path, title)
