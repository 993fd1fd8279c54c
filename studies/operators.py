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

import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hierax.models import Family, LogUniform, Operator, Samples, Surrogate, Uniform, predict, surrogate
from hierax.models.grids import relative_errors, resampled
from hierax.problems import Box, Face, Problem, Residual, derivative
from hierax.results.figures import STYLE
from hierax.results.files import write_json
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.media import Media, media
from studies.registry import study

NAME = "operators"
TESTED = 100
HEAT = "heat, three numbers"
MEDIA = {"darcy, log-normal": None, "darcy, two phases": 6.0}


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Learn, test, and leave table, figure and rows in `out`; the short form is small, and short."""
    budget, seeds = (8.0, 1) if quick else (60.0, 5)
    cells, few, many, tested = (16, 12, 40, 20) if quick else (64, 32, 800, TESTED)
    rows: list[Row] = []
    shown: dict[str, Any] = {}
    result: dict[str, Any] = {}
    for seed in range(seeds):
        rows += heat(max(budget, 20.0), seed)
        for name, contrast in list(MEDIA.items())[: 1 if quick else None]:
            made = media(many + tested, cells, cells // 4, seed, contrast)
            rows += flow(name, made, few, many, budget, seed, shown)
        result = written(out, rows, quick, shown)
        write_json(out / f"{NAME}.json", plain(result))
    return result


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


def flow(name: str, made: Media, few: int, many: int, budget: float, seed: int, shown: dict[str, Any]) -> list[Row]:
    """A random medium: networks, the coarse solve, and the direct solver."""
    pick = np.arange(len(made.fine))
    arrays = {"a": made.coefficient, "coarse": made.coarse}
    inputs = {key: value[many:] for key, value in arrays.items()}
    truth = made.fine[many:]

    def row(model: str, found: np.ndarray, ms: float, samples: int = 0, seconds: float = 0.0) -> Row:
        l2, h1 = relative_errors(jnp.asarray(found[..., None]), jnp.asarray(truth[..., None]), False)
        shown.setdefault(name, {"truth": truth[0]})[model] = found[0]
        return {"family": name, "seed": seed, "model": model, "samples": samples, "seconds": seconds, "ms": ms,
                "l2": float(np.mean(l2)), "h1": float(np.mean(h1)), "worst": float(np.max(l2))}  # fmt: skip

    rows = []
    for model, count, base in (("multigrid network", many, None), ("network on a coarse solve", few, "coarse")):
        names = ["a"] if base is None else ["a", "coarse"]
        samples = Samples({n: arrays[n][pick[:count]] for n in names}, {"u": made.fine[:count]}, base=base)
        learned = surrogate(samples, budget=budget, key=seed)
        assert isinstance(learned, Operator)
        learned(inputs)
        began = time.process_time()
        found = learned(inputs)["u"]
        ms = 1e3 * (time.process_time() - began) / len(truth) + (0.0 if base is None else 1e3 * made.seconds[1])
        rows.append(row(model, found, ms, count, learned.seconds))
    coarse = resampled(made.coarse[many:][..., None], truth.shape[1:], False)[..., 0]
    rows.append(row("solve on a quarter of the cells an axis", coarse, 1e3 * made.seconds[1]))
    return [*rows, row("solve (direct)", truth, 1e3 * made.seconds[0])]


def written(out: Path, rows: list[Row], quick: bool, shown: dict[str, Any]) -> dict[str, Any]:
    """Table, figure and rows; medians over the seeds."""
    title = "Operators at equal seconds" + (" (short form)" if quick else "")
    keys = dict.fromkeys((row["family"], row["model"].split(", ")[0]) for row in rows)
    cells = [["family", "model", "samples", "seconds", "L2", "worst", "H1", "ms"]]
    summary: dict[str, dict[str, list[float]]] = {}
    for family, model in keys:
        own = [row for row in rows if row["family"] == family and row["model"].split(", ")[0] == model]
        median = {k: _median(own, k) for k in ("samples", "seconds", "l2", "worst", "h1", "ms")}
        numbers = ["-" if np.isnan(median[k]) else f"{median[k]:.2g}" for k in ("l2", "worst", "h1", "ms")]
        cells.append([family, model, f"{median['samples']:.0f}", f"{median['seconds']:.0f}", *numbers])
        summary.setdefault(family, {})[model] = [median["l2"], median["seconds"]]
    text = "\n".join(aligned(cells))
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, shown))
    return record(NAME, quick, {"operators": summary}, paths, text, __doc__, rows=rows)


def _median(rows: list[Row], key: str) -> float:
    found = [row[key] for row in rows if key in row]
    return float(np.median(found)) if found else float("nan")


def draw(path: Path, title: str, shown: dict[str, Any]) -> None:
    """One test sample of each medium: truth, predictions, and their errors."""
    with matplotlib.rc_context(STYLE):
        names = [model for model in next(iter(shown.values())) if "direct" not in model]
        figure = Figure(figsize=(2.2 * len(names), 4.2 * len(shown)), layout="constrained")
        grid = figure.subplots(2 * len(shown), len(names), squeeze=False)
        for k, (family, found) in enumerate(shown.items()):
            for axes, below, model in zip(grid[2 * k], grid[2 * k + 1], names, strict=True):
                truth = found["truth"]
                axes.imshow(found[model].T, origin="lower", vmin=truth.min(), vmax=truth.max(), cmap="viridis")
                axes.set_title(f"{family}\n{model}", fontsize=6)
                error = (found[model] - truth) / np.sqrt(np.mean(truth**2))
                below.imshow(error.T, origin="lower", cmap="coolwarm", vmin=-0.03, vmax=0.03)
                below.set_title(f"error, rms {np.sqrt(np.mean(error**2)):.1e}", fontsize=6)
                for one in (axes, below):
                    one.set_xticks([])
                    one.set_yticks([])
        save(figure, path, title)
