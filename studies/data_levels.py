"""Levels of data: errors against the cost of all samples, with and without coarse ones.

The map from the coefficient of a random medium to the pressure on 64 x 64 cells, the equation not used. A sample on `n`
cells an axis costs `(n / 64)^3` of a fine one. Levels spend three quarters of the cost on pairs, the same medium on 64
and on 16 cells an axis, and the rest on 16 alone: a network learns from the pairs what coarse solutions lack, and one
learns these from all media (`hx.surrogate(pairs, coarse=more)`, which keeps two pairs apart or more to choose by). Fine
samples alone are all learned from, by a network of the same size. Both have the same seconds, with compilation; errors
are means over 100 fresh media.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hierax.models import Operator, Samples, surrogate
from hierax.models.course import Course
from hierax.models.grids import relative_errors
from hierax.models.operator_training import Training
from hierax.results.figures import STYLE
from studies.common import Row, aligned, record, save, write_files
from studies.media import Media, media
from studies.operators import MEDIA
from studies.registry import study
from studies.so_far import SoFar

NAME = "data-levels"
COSTS, SEEDS, TESTED, FACTOR, BUDGETS = (8, 32, 128), 3, 100, 4, (4.0, 60.0)
PAIRS = 3
"""Quarters of the cost that levels spend on pairs."""
ALONE, LEVELS = ARMS = "fine samples alone", "levels"


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Both arms at each cost, seed by seed; the short form is small, and short."""
    so_far = SoFar(out, NAME)
    cells, budget, tested = (16, BUDGETS[0], 20) if quick else (64, BUDGETS[1], TESTED)
    for seed in range(1 if quick else SEEDS):
        for cost in COSTS[:1] if quick else COSTS:
            for name, contrast in list(MEDIA.items())[: 1 if quick else None]:
                count = tested + max(cost, FACTOR**3 * (cost - PAIRS * cost // 4))
                made = functools.cache(functools.partial(media, count, cells, cells // FACTOR, seed, contrast))
                for arm in ARMS:
                    key = {"family": name, "cost": cost, "seed": seed, "arm": arm}
                    so_far.add(key, functools.partial(measured, arm, cost, made, tested, budget, seed))
    return written(out, so_far, quick)


def measured(arm: str, cost: int, made: Any, tested: int, budget: float, seed: int) -> list[Row]:
    """One arm: what it learned, at media that nothing has seen."""
    own: Media = made()
    test, pairs = np.arange(tested), tested + np.arange(PAIRS * cost // 4 if arm == LEVELS else cost)
    a, fine, coarse = own.coefficient, own.fine, own.coarse
    if arm == LEVELS:
        others = slice(tested + len(pairs), None)
        more = Samples({"a": a[others]}, {"coarse": coarse[others]})
        both = Samples({"a": a[pairs], "coarse": coarse[pairs]}, {"u": fine[pairs]}, base="coarse")
        found = surrogate(both, coarse=more, budget=budget, key=seed)
    else:
        every = np.arange(len(pairs))
        training = Training.of(Samples({"a": a[pairs]}, {"u": fine[pairs]}), every, every[:2], budget, seed, Course())
        trained = training.trained()
        # a kernel is exact at samples that it has learned: they cannot choose it
        found = replace(training.judged(trained), network=trained.network)
    assert isinstance(found, Operator)
    truth = fine[test]
    errors = relative_errors(jnp.asarray(found({"a": a[test]})["u"][..., None]), jnp.asarray(truth[..., None]), False)
    return [{"pairs": len(pairs), "l2": float(np.mean(errors[0])), "h1": float(np.mean(errors[1]))}]


def written(out: Path, so_far: SoFar, quick: bool) -> dict[str, Any]:
    """Table, figure and rows; medians over the seeds."""
    title = "Levels of data" + (" (short form)" if quick else "")
    cells = [["family", "cost", "arm", "seeds", "L2", "H1", "L2 over fine alone"]]
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for cost, family in sorted({(row["cost"], row["family"]) for row in so_far.rows}):
        for arm in ARMS:
            own = [r for r in so_far.rows if (r["family"], r["cost"], r["arm"]) == (family, cost, arm)]
            if own:
                l2, h1 = (float(np.median([row[k] for row in own])) for k in ("l2", "h1"))
                known = summary.setdefault(family, {})
                known.setdefault(arm, {})[str(cost)] = l2
                alone = known.get(ALONE, {}).get(str(cost), np.nan)
                cells.append([family, str(cost), arm, str(len(own)), f"{l2:.2g}", f"{h1:.2g}", f"{l2 / alone:.2g}"])
    text = "\n".join(aligned(cells))
    paths = write_files(out, NAME, title, text, so_far.rows, lambda path: draw(path, title, summary))
    return record(NAME, quick, {NAME: summary}, paths, text, __doc__, rows=so_far.rows, reading=so_far.reading())


def draw(path: Path, title: str, summary: dict[str, dict[str, dict[str, float]]]) -> None:
    """Errors against cost."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(summary), 3.0), layout="constrained")
        for axes, (family, arms) in zip(
            figure.subplots(1, len(summary), squeeze=False)[0], summary.items(), strict=True
        ):
            for arm, errors in arms.items():
                axes.loglog([int(cost) for cost in errors], list(errors.values()), "o-", label=arm)
            axes.set(title=family, xlabel="cost in fine samples", ylabel="relative L2 error")
            axes.legend()
        save(figure, path, title)
