"""Which frequencies survive noise in the parameters: trained networks are moved along random directions.

The second experiment of Rahaman et al. (ICML 2019, arXiv 1806.08734, section 4): the parameters of a network that has
learned ten sines become `theta + delta d` with a random unit vector `d`, and the amplitudes of the ten modes are
averaged over directions. The paper finds that high frequencies go first. Here `delta` is told as a share of the length
of `theta`, and a mode counts as lost when the noise has raised the mean amplitude of its error by half of its size.
Networks that have not learned half of a mode do not count for it. The order is the rank correlation between frequency
and the noise at which a mode is lost: -1 if high frequencies always go first. The published network has one seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from hierax.dynamics.spectrum import grid_amplitudes
from hierax.objective import flat_parameters
from hierax.results.figures import STYLE
from hierax.results.files import write_json
from hierax.results.record import plain
from hierax.training.train import train
from studies.common import Row, aligned, record, save, write_files
from studies.modes import MODES, Sines
from studies.registry import study
from studies.spectral_bias import EQUAL, MULTILEVEL, PUBLISHED, SIZES, Way, ways

NAME = "parameter-noise"
STRENGTHS = np.geomspace(1e-5, 1.0, 21)
"""Lengths of the noise over those of the parameters."""


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train, move, and leave table, figure and rows in `out`; the short form has the splines on levels alone."""
    wanted = {MULTILEVEL} if quick else {PUBLISHED, "SIREN, Gauss-Newton", MULTILEVEL}
    title = "Noise in the parameters at which each mode is lost" + (" (short form)" if quick else "")
    rows, result = [], {}
    for way in ways():
        for seed in range(1 if quick or way.name == PUBLISHED else 5) if way.name in wanted else ():
            rows.append(moved(way, seed, 10 if quick else 100))
            result = written(out, title, rows, quick)
            write_json(out / f"{NAME}.json", plain(result))
    return result


def written(out: Path, title: str, rows: list[Row], quick: bool) -> dict[str, Any]:
    """Table, figure and rows of the trainings so far; the files are written anew after every one."""
    head = ["way", "seed", "order", *(f"mode {mode}" for mode in MODES)]
    cells = [
        [row["way"], str(row["seed"]), f"{row['order']:.2f}", *(f"{s:.1e}" for s in row["lost_at"])] for row in rows
    ]
    text = "\n".join(aligned([head, *cells]))
    flat = [{key: value for key, value in row.items() if not isinstance(value, list)} for row in rows]
    paths = write_files(out, NAME, title, text, flat, lambda path: draw(path, title, rows))
    names = dict.fromkeys(row["way"] for row in rows)
    summary = {"order": {way: float(np.median([r["order"] for r in rows if r["way"] == way])) for way in names}}
    return record(NAME, quick, summary, paths, text, __doc__, rows=rows)


def moved(way: Way, seed: int, directions: int) -> Row:
    """Train once and find the strength of the noise at which each mode is lost."""
    sines = Sines(SIZES[EQUAL], seed, points=way.points)
    assert way.field is not None
    solution = train(
        sines.everywhere(), way.field(seed), solver=way.solver, cycle=way.cycle, key=seed, budget=way.budget
    )
    return row_of(
        way.name, sines, seed, noisy_errors(sines, solution.field, np.append(0.0, STRENGTHS), directions, seed)
    )


def row_of(name: str, sines: Sines, seed: int, errors: Float[np.ndarray, "s modes"]) -> Row:
    """At which strength each mode is lost, and in which order."""
    lost = lost_at(errors)
    known = np.isfinite(lost)
    rank = float(spearmanr(sines.modes[known], lost[known])[0]) if known.sum() > 2 else float("nan")  # pyright: ignore
    return {"way": name, "seed": seed, "order": rank, "lost_at": lost.tolist(), "errors": errors.tolist()}


def noisy_errors(
    sines: Sines, field: Any, strengths: Float[np.ndarray, " s"], directions: int, seed: int
) -> Float[np.ndarray, "s modes"]:
    """Mean error of every mode over its size, for each strength of the noise."""
    theta, build = flat_parameters(field)
    random = np.random.default_rng(seed).normal(size=(directions, theta.size))
    random *= np.linalg.norm(theta) / np.linalg.norm(random, axis=1, keepdims=True)
    grid = jnp.asarray(sines.grid)
    values = jax.jit(jax.vmap(lambda z: jax.vmap(build(z))(grid)))
    out = []
    for strength in strengths:
        found = grid_amplitudes(np.asarray(values(jnp.asarray(theta + strength * random))).T)[sines.modes]
        out.append(np.mean(np.abs(found - sines.truth[:, None]), axis=1) / sines.sizes)
    return np.array(out)


def lost_at(errors: Float[np.ndarray, "s modes"]) -> Float[np.ndarray, " modes"]:
    """Smallest of `STRENGTHS` that raises the error by half; NaN for modes of which half is not known without noise."""
    lost = errors[1:] - errors[0] >= 0.5
    first = np.where(lost.any(axis=0), STRENGTHS[np.argmax(lost, axis=0)], STRENGTHS[-1])
    return np.where(errors[0] < 0.5, first, np.nan)


def draw(path: Path, title: str, rows: list[Row]) -> None:
    """Errors of all modes against the strength of the noise, seed 0."""
    own = [row for row in rows if row["seed"] == 0]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(own), 2.8), layout="constrained")
        for axes, row in zip(figure.subplots(1, len(own), squeeze=False)[0], own, strict=True):
            for k, (mode, error) in enumerate(zip(MODES, np.array(row["errors"])[1:].T, strict=True)):
                axes.loglog(STRENGTHS, error, color=matplotlib.colormaps["viridis"](k / len(MODES)), lw=1, label=mode)
            axes.set(title=row["way"], xlabel="noise over parameters", ylabel="error of the mode")
            axes.legend(fontsize=5, loc="lower right")
        save(figure, path, title)
