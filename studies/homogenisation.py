"""Effective tensors of random microstructures on levels of grids: coarse solves, bounds, and a learned correction.

Two phases where a random field is above or below a threshold, fractions from 20 to 60 %, Young's moduli whose ratio is
log-uniform in 5 to 100; the truth is the solve on 128 x 128 pixels. `raw` solves take the phase at the centre of each
coarse pixel; `composite` ones make pixels that hold both phases laminates. `corrected` learns what the two coarse
solves lack, from fine solves of other samples. Relative Frobenius errors of fresh samples; `covered` is the part of
them below the bound promised for 95 %. `outside` counts tensors that leave the bounds of Reuss and Voigt. `ms` is the
processor time of a sample; a corrected one has both coarse solves in it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hierax.materials import Cell, composite_tensor, isotropic, learn_correction, random_field, voigt_reuss
from hierax.materials.tensors import Physics
from hierax.results.figures import ACCENT, MUTED, STYLE, WARM
from hierax.results.files import write_json
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study

NAME = "homogenisation"
PHYSICS = Physics(2)


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Solve, learn, test, and leave table, figure and rows in `out`; the short form has small grids and few samples."""
    fine, grids, known, tested = (32, (8, 16), 24, 8) if quick else (128, (32, 64), 120, 60)
    cells, phases = drawn(known + tested, fine)
    fresh = cells[known:], phases[known:]
    truth, ms = solved(*fresh, fine)
    rows: list[Row] = [{"arm": f"composite {fine}", "ms": ms, "errors": [0.0]}]
    for grid in (*(() if quick else (16,)), *grids):
        tensors, ms = solved([cell.on(grid) for cell in fresh[0]], fresh[1], grid)
        rows.append(_row(f"raw {grid}", tensors, truth, ms, fresh))
        tensors, ms = solved(*fresh, grid)
        rows.append(_row(f"composite {grid}", tensors, truth, ms, fresh))
    counts = (known,) if quick else (40, 80, known)
    for count in counts:
        made = learn_correction(cells[:count], phases[:count], PHYSICS, grids)
        began = time.process_time()
        found = made(*fresh)
        ms = 1e3 * (time.process_time() - began) / tested
        row = _row(f"corrected {grids[0]}, {grids[1]} from {count}", found.tensors, truth, ms, fresh)
        rows.append(row | {"covered": float(np.mean(np.array(row["errors"]) <= found.bounds)),
                           "bound": float(np.median(found.bounds))})  # fmt: skip
    result = written(out, rows, quick, cells[known])
    write_json(out / f"{NAME}.json", plain(result))
    return result


def drawn(count: int, grid: int) -> tuple[list[Cell], np.ndarray]:
    """Random cells with their phases."""
    rng = np.random.default_rng(7)
    cells = [random_field(grid, float(rng.uniform(0.2, 0.6)), seed=seed) for seed in range(count)]
    stiff = 10.0 ** rng.uniform(np.log10(5.0), 2.0, count)
    return cells, np.array([[isotropic(1.0, 0.3), isotropic(young, 0.3)] for young in stiff])


def solved(cells: list[Cell], phases: np.ndarray, grid: int) -> tuple[np.ndarray, float]:
    """Effective tensors, and processor milliseconds of each once it is compiled."""
    composite_tensor(cells[0], grid, phases[0], PHYSICS)
    began = time.process_time()
    found = [composite_tensor(cell, grid, pair, PHYSICS) for cell, pair in zip(cells, phases, strict=True)]
    return np.array(found), 1e3 * (time.process_time() - began) / len(cells)


def _row(arm: str, tensors: np.ndarray, truth: np.ndarray, ms: float, fresh: tuple[list[Cell], np.ndarray]) -> Row:
    errors = np.linalg.norm(tensors - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))
    voigt, reuss = voigt_reuss(fresh[1], np.array([cell.fractions for cell in fresh[0]]))
    least = np.minimum(np.linalg.eigvalsh(voigt - tensors).min(axis=1), np.linalg.eigvalsh(tensors - reuss).min(axis=1))
    return {"arm": arm, "ms": ms, "errors": list(errors), "outside": int(np.sum(least < -1e-9))}


def written(out: Path, rows: list[Row], quick: bool, cell: Cell) -> dict[str, Any]:
    """Table, figure and rows."""
    title = "Homogenisation on levels" + (" (short form)" if quick else "")
    cells = [["solve", "mean %", "median %", "95 %", "bound %", "covered", "outside", "ms"]]
    for row in rows:
        errors = 100.0 * np.array(row["errors"])
        known = [f"{100 * row['bound']:.3g}", f"{row['covered']:.2f}"] if "bound" in row else ["-", "-"]
        numbers = [f"{value:.3g}" for value in (errors.mean(), np.median(errors), np.quantile(errors, 0.95))]
        cells.append([row["arm"], *numbers,
                      *known, str(row.get("outside", 0)), f"{row['ms']:.3g}"])  # fmt: skip
    text = "\n".join(aligned(cells))
    kept = [{**{k: v for k, v in row.items() if k != "errors"}, "error": float(np.mean(row["errors"]))} for row in rows]
    files = write_files(out, NAME, title, text, kept, lambda path: draw(path, title, rows, cell))
    summary = {row["arm"]: row["error"] for row in kept}
    return record(NAME, quick, {NAME: summary}, files, text, __doc__, rows=kept)


def draw(path: Path, title: str, rows: list[Row], cell: Cell) -> None:
    """A microstructure, and errors against milliseconds."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.6))
        left.imshow(cell.image.T, origin="lower", cmap="Greys", vmax=2)
        left.set_xticks([])
        left.set_yticks([])
        left.set_title("one of the microstructures")
        for row in rows[1:]:
            colour = {"raw": MUTED, "composite": ACCENT, "corrected": WARM}[row["arm"].split()[0]]
            error = 100.0 * float(np.mean(row["errors"]))
            right.loglog(row["ms"], error, "o", color=colour)
            if row is rows[-1] or colour != WARM:
                right.annotate(row["arm"], (row["ms"], error), fontsize=7, xytext=(4, 3), textcoords="offset points")
        right.set_xlabel("processor milliseconds of a sample")
        right.set_ylabel("mean relative error, %")
        save(figure, path, title)
