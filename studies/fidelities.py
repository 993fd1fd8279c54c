"""Four fidelities in five parameters, of 3,000, 600, 120 and 30 runs at different points, beside the dear runs alone.

A heated rod whose conductivity rises along it, with a source and heat transfer at its end, by finite volumes on 4, 8,
16 and 64 cells: the temperature at the end and in the middle. And ladders of random functions, in which every fidelity
is the one below times a factor that is linear in the parameters, and a smooth function: six waves of wave number 3 at
the bottom, of wave number 1 and a third of the size between. Errors are relative root mean squares at fresh points, of
the last fidelity, with all runs and with its own thirty alone; beside them the error that was claimed, over the spread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import hierax as hx
from hierax.results.figures import STYLE
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study
from studies.so_far import SoFar

NAME = "fidelities"
RUNS, FRESH, SEEDS, DIM = (3000, 600, 120, 30), 2000, 5, 5
SHORT = (150, 80, 40, 20)
CELLS = (4, 8, 16, 64)
Models = Sequence[Callable[[np.ndarray], np.ndarray]]


def rod(cells: int) -> Callable[[np.ndarray], np.ndarray]:
    """Temperature at the end and in the middle of a rod of `-(k u')' = q`, from points `(n, 5)` of the unit box."""
    x = np.linspace(0.0, 1.0, cells + 1)
    faces = 0.5 * (x[1:] + x[:-1])

    def one(conductivity: float, slope: float, heat: float, place: float, transfer: float) -> float:
        k = conductivity * (1.0 + slope * faces) * cells
        source = heat * np.exp(-(((x - place) / 0.25) ** 2)) / cells
        source[-1] = 0.5 * source[-1] + transfer
        matrix = np.diag(np.r_[0.0, k] + np.r_[k, transfer]) - np.diag(k, 1) - np.diag(k, -1)
        u = np.r_[0.0, np.linalg.solve(matrix[1:, 1:], source[1:])]
        return float(u[-1] + u[cells // 2])

    low, high = np.array([0.5, 0.0, 1.0, 0.2, 0.5]), np.array([2.0, 2.0, 4.0, 0.8, 2.5])
    return lambda points: np.array([one(*row) for row in low + (high - low) * points])


def rods(seed: int) -> Models:
    """The rod on all meshes; only the points depend on the seed."""
    del seed
    return [rod(cells) for cells in CELLS]


def ladder(seed: int) -> Models:
    """Random functions, each made from the one below."""
    rng = np.random.default_rng(seed)
    models = [_waves(rng, 3.0)]
    for _ in RUNS[1:]:
        models.append(_step(rng, models[-1]))
    return models


def _waves(rng: np.random.Generator, number: float, count: int = 6) -> Callable[[np.ndarray], np.ndarray]:
    along = rng.normal(size=(count, DIM))
    along *= number / np.linalg.norm(along, axis=1, keepdims=True)
    phase, size = rng.uniform(0.0, 6.0, count), rng.normal(size=count) * np.sqrt(2.0 / count)
    return lambda x: np.sin(x @ along.T + phase) @ size


def _step(rng: np.random.Generator, below: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    rest, slope, factor = _waves(rng, 1.0), 0.1 * rng.normal(size=DIM), 1.0 + 0.2 * rng.normal()
    return lambda x: (factor + (x - 0.5) @ slope) * below(x) + 0.3 * rest(x)


FAMILIES: dict[str, Callable[[int], Models]] = {"rod": rods, "ladder": ladder}


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Both families from five seeds; the short form has the rod with fewer runs."""
    so_far, runs = SoFar(out, NAME), SHORT if quick else RUNS
    for seed in range(1 if quick else SEEDS):
        for name in list(FAMILIES)[: 1 if quick else None]:
            so_far.add({"family": name, "seed": seed}, lambda name=name, seed=seed: [measured(name, runs, seed)])
    rows = so_far.rows
    by_family = {name: [row for row in rows if row["family"] == name] for name in FAMILIES}
    summary = {name: _over_seeds(own) for name, own in by_family.items() if own}
    head = ["family", "seeds", "median", "worst", "claimed", "alone", "seconds"]
    cells = [[name, f"{own['seeds']:.0f}", *(f"{own[key]:.1e}" for key in head[2:6]), f"{own['seconds']:.0f}"]
             for name, own in summary.items()]  # fmt: skip
    title = "Four fidelities in five parameters" + (" (short form)" if quick else "")
    text = "\n".join(aligned([head, *cells]))
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, rows))
    return plain(record(NAME, quick, summary, paths, text, __doc__, rows=rows, reading=so_far.reading()))


def measured(name: str, runs: Sequence[int], seed: int) -> Row:
    """All fidelities together, and the last one alone."""
    models, rng, parts = FAMILIES[name](seed), np.random.default_rng(100 + seed), []
    for k, (model, count) in enumerate(zip(models, runs, strict=True)):
        points = rng.random((count, DIM))
        parts.append(hx.Fidelity(points, model(points), cost=10.0**k, name=f"fidelity {k}"))
    problem = hx.Fidelities(hx.Box([0.0] * DIM, [1.0] * DIM), parts)
    fresh = np.random.default_rng(7).random((FRESH, DIM))
    truth = models[-1](fresh)
    both, alone = hx.train(problem, key=seed), hx.train(problem.alone(len(runs) - 1), key=seed)
    error, own = (float(np.linalg.norm(s.evaluate(fresh) - truth) / np.linalg.norm(truth)) for s in (both, alone))
    return {"error": error, "alone": own, "claimed": both.accuracy.validation_error, "verdict": both.result.name,
            "seconds": both.seconds_total}  # fmt: skip


def _over_seeds(rows: Sequence[Row]) -> dict[str, float]:
    middle = {key: float(np.median([row[key] for row in rows])) for key in ("error", "claimed", "alone", "seconds")}
    return {"seeds": len(rows), "median": middle.pop("error"), "worst": max(row["error"] for row in rows), **middle}


def _draw(path: Path, title: str, rows: Sequence[Row]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.4), layout="constrained")
        axes = figure.subplots()
        for key, marker, label in (("error", "o", "all runs"), ("alone", "s", "the dear runs alone")):
            axes.semilogx([row[key] for row in rows], [row["family"] for row in rows], marker, alpha=0.6, label=label)
        axes.margins(y=0.4)
        axes.set(xlabel="relative error")
        axes.legend()
        save(figure, path, title)
