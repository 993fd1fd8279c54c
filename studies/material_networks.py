"""Material networks: errors of effective tensors, seconds, and stresses beyond linear phases, against the cell itself.

The cell in the plane has 64 x 64 pixels with twelve discs (30 %), the one in space 16 x 16 x 16 with eight short fibres
(15 %). Networks learn from 160 (space: 80) random pairs of orthotropic phases with contrasts up to 100; 40 (20) others
judge them. `random` trees are trained at once from a random start, `grown` ones begin with three levels and nucleate
the others. `seconds` are processor seconds of training with compilation; samples have rows of their own.
The stress of the nonlinear paths (J2 matrix with hardening young / 50, elastic inclusions five times as stiff) is
compared with that of the cell; mean and largest error along the path over its largest stress. `speed-up` is processor
seconds of the cell over those of the tree, both compiled. Published (another microstructure, short fibres): 0.88 % at
depth 8 after 203 s, Wan, Wei, Su and Chen, J. Mech. 40 (2024).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hierax.materials import J2, Cell, Linear, cell_path, discs, fibres, isotropic, network_path, stress_error
from hierax.materials.fft import LoadPath
from hierax.materials.fitting import TensorSamples, fitted, grow, relative_errors
from hierax.materials.learning import drawn_samples
from hierax.materials.network import MaterialNetwork, seedling
from hierax.materials.tensors import Physics
from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM
from hierax.results.files import write_json
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study

NAME = "material-networks"
LAWS = (J2(1.0, 0.35, 0.01, 0.02), Linear(isotropic(5.0, 0.25)))
START = 3
"""Levels with which grown trees begin."""


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Learn, follow paths, and leave table, figure and rows in `out`; the short form is one small cell and seed."""
    seeds = 1 if quick else 5
    rows: list[Row] = []
    shown: dict[str, Any] = {}
    plane = discs(8, 1, 0.25) if quick else discs(64)
    plan: list[tuple[str, Cell, int, tuple[int, ...]]] = [
        ("discs", plane, 20 if quick else 200, (2,) if quick else (5, 7))
    ]
    if not quick:
        plan.append(("fibres", fibres(16), 100, (6,)))
    for name, cell, count, depths in plan:
        physics = Physics(cell.dimension)
        samples, seconds = _timed(
            lambda cell=cell, physics=physics, count=count: drawn_samples(cell, physics, count, 0)[0]
        )
        rows.append({"cell": name, "arm": f"{count} samples", "seed": 0, "seconds": seconds})
        loads = paths(quick) if cell.dimension == 2 else {}
        truth = {load: _cell(cell, *given) for load, given in loads.items()}
        for depth in depths:
            for arm in ("random", "grown"):
                for seed in range(seeds):
                    tree, row = trained(samples, physics, depth, arm, seed)
                    rows.append({"cell": name, **row})
                    for load, (targets, free) in loads.items():
                        rows.append(online(row, tree, load, targets, free, truth[load]))
                        if seed == 0 and arm == "random":
                            shown[load] = (targets, truth[load][0], network_path(tree, LAWS, targets, free))
                    shown["tree"] = shown.get("tree", tree)
        if cell.dimension == 2:
            shown["cell"] = (cell, truth["tension"][0])
    result = written(out, rows, quick, shown)
    write_json(out / f"{NAME}.json", plain(result))
    return result


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    found = call()
    return found, time.process_time() - began


def paths(quick: bool = False) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
    """Mean strains `(steps, 3)` and components free of stress."""
    part = 10 if quick else 1

    def ramp(component: int, *turns: tuple[float, int]) -> np.ndarray:
        out, last = [], 0.0
        for value, steps in turns:
            out.append(np.linspace(last, value, steps // part + 1)[1:])
            last = value
        strain = np.zeros((sum(map(len, out)), 3))
        strain[:, component] = np.concatenate(out) * (np.sqrt(2.0) if component == 2 else 1.0)
        return strain

    along = np.linspace(0.0, 0.03, 40 // part + 1)[1:, None]
    found = {
        "tension": (ramp(0, (0.04, 40)), (1, 2)),
        "cyclic": (ramp(0, (0.02, 20), (-0.02, 40), (0.03, 50)), (1, 2)),
        "shear": (ramp(2, (0.03, 30), (-0.03, 60)), (0, 1)),
        "biaxial": (along * np.array([1.0, -0.5, 0.3 * np.sqrt(2.0)]), ()),
    }
    return {"tension": found["tension"]} if quick else found


def _cell(cell: Cell, targets: np.ndarray, free: tuple[int, ...]) -> tuple[LoadPath, float]:
    """The path of the cell, and its processor seconds once it is compiled."""
    physics = Physics(cell.dimension)
    cell_path(cell, LAWS, physics, targets, free)
    return _timed(lambda: cell_path(cell, LAWS, physics, targets, free))


def trained(samples: TensorSamples, physics: Physics, depth: int, arm: str, seed: int) -> tuple[MaterialNetwork, Row]:
    """One tree, judged by every fifth sample."""
    kept = np.arange(len(samples)) % 5 == 4
    shares = np.where(kept, 0.0, 1.0 / np.sum(~kept))

    def train() -> MaterialNetwork:
        if arm == "random":
            return fitted(seedling(depth, physics, 2, seed), samples, shares)[0]
        start = min(START, depth - 1)
        return grow(seedling(depth, physics, 2, seed, start), samples, shares, start)

    tree, seconds = _timed(train)
    tree = tree.pruned()
    error = float(np.mean(relative_errors(tree, samples)[kept]))
    volume = float(np.max(np.abs(np.asarray(tree.volume(2)) - samples.fractions)))
    row = {"arm": arm, "depth": depth, "seed": seed, "error": error, "seconds": seconds, "volume": volume,
           "alive": int(np.sum(tree.alive))}  # fmt: skip
    return tree, row


def online(row: Row, tree: MaterialNetwork, load: str, targets: np.ndarray, free: Any, truth: Any) -> Row:
    """A path of a tree against that of the cell."""
    network_path(tree, LAWS, targets, free)
    path, seconds = _timed(lambda: network_path(tree, LAWS, targets, free))
    mean, largest = stress_error(path, truth[0])
    return {"cell": "discs", "arm": row["arm"], "depth": row["depth"], "seed": row["seed"], "path": load, "mean": mean,
            "largest": largest, "converged": float(np.mean(path.converged)),
            "speed_up": truth[1] / max(seconds, 1e-9)}  # fmt: skip


def written(out: Path, rows: list[Row], quick: bool, shown: dict[str, Any]) -> dict[str, Any]:
    """Table, figure and rows; medians and worst over the seeds."""
    title = "Material networks" + (" (short form)" if quick else "")
    cells = [["what", "error %", "worst", "seconds", "worst", "alive", "max %", "worst", "converged", "speed-up"]]
    summary: dict[str, float] = {}
    for what in dict.fromkeys(map(_what, rows)):
        own = [row for row in rows if _what(row) == what]

        def number(key: str, how: Any = np.median, factor: float = 1.0, own: list[Row] = own) -> str:
            found = [row[key] for row in own if key in row]
            return f"{factor * float(how(found)):.3g}" if found else "-"

        error = "error" if "error" in own[0] else "mean"
        cells.append([what, number(error, factor=100.0), number(error, np.max, 100.0), number("seconds"),
                      number("seconds", np.max), number("alive"), number("largest", factor=100.0),
                      number("largest", np.max, 100.0), number("converged", np.min), number("speed_up")])  # fmt: skip
        summary |= {
            f"{what} {k}": float(np.median([r[k] for r in own])) for k in own[0] if k in ("error", "mean", "speed_up")
        }
    text = "\n".join(aligned(cells))
    files = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, shown))
    return record(NAME, quick, {NAME: summary}, files, text, __doc__, rows=rows)


def _what(row: Row) -> str:
    depth = f" depth {row['depth']}" if "depth" in row else ""
    return f"{row['cell']}, {row['arm']}{depth}" + (f", {row['path']}" if "path" in row else "")


def draw(path: Path, title: str, shown: dict[str, Any]) -> None:
    """The cell with its stress, the tree with its live leaves, and paths of both."""
    loads = [name for name in ("tension", "cyclic", "shear", "biaxial") if name in shown]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 5.6), layout="constrained")
        layout: list[Any] = [["cell", "stress", "tree", "tree"], (loads * 4)[:4]]
        grid = figure.subplot_mosaic(layout)
        cell, truth = shown["cell"]
        grid["cell"].imshow(cell.image.T, origin="lower", cmap="Greys", vmax=2)
        grid["cell"].set_title("phases")
        image = grid["stress"].imshow(truth.field[1, 0].T, origin="lower", cmap="viridis")
        grid["stress"].set_title("stress 11 after tension")
        figure.colorbar(image, ax=grid["stress"], shrink=0.8)
        for name in ("cell", "stress"):
            grid[name].set_xticks([])
            grid[name].set_yticks([])
        draw_tree(grid["tree"], shown["tree"])
        for name in loads:
            targets, truth, found = shown[name]
            k = 2 if name == "shear" else 0
            grid[name].plot(targets[:, k], truth.stress[:, k], color=MUTED, lw=3.0, label="cell")
            grid[name].plot(targets[:, k], found.stress[:, k], color=WARM, lw=1.0, label="network")
            grid[name].set_title(name)
            grid[name].set_xlabel("mean strain")
        grid[loads[0]].set_ylabel("mean stress")
        grid[loads[0]].legend()
        save(figure, path, title)


def draw_tree(axes: Any, tree: MaterialNetwork) -> None:
    """Branches as wide as their volume; leaves in the colour of their phase, dead ones left out."""
    weights, depth = np.asarray(tree.weights), tree.depth
    for level in range(depth):
        below = weights.reshape(2 ** (level + 1), -1).sum(axis=1)
        for child, weight in enumerate(below):
            if weight > 0.0:
                ends = (child // 2 + 0.5) / 2**level, (child + 0.5) / 2 ** (level + 1)
                axes.plot(ends, [-level, -level - 1], color=INK, lw=0.3 + 3.0 * np.sqrt(weight))
    places = (np.arange(len(weights)) + 0.5) / len(weights)
    live = weights > 0.0
    colours = np.where(np.asarray(tree.phases) > 0, WARM, ACCENT)
    axes.scatter(places[live], np.full(live.sum(), -depth), s=8 + 300 * weights[live], c=colours[live], zorder=3)
    axes.set_title(f"tree of depth {depth}, {live.sum()} of {len(live)} leaves alive")
    axes.axis("off")
