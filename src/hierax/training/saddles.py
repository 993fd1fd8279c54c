"""Leaving a saddle of an energy: along the direction in which it curves downwards, both ways, to the lower minimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from hierax.checks.limits import DOWNWARDS
from hierax.fields import parameter_count
from hierax.objective import flat_parameters
from hierax.objective.landscape import LARGEST, REACH, Landscape
from hierax.problems.terms import Energy
from hierax.training.discrete import DiscreteProblem, Prepared
from hierax.training.state import Visited

SAME = 1e-6
"""Part of the fall of the energy up to which two minima are as low: the first one found is taken."""


def landscape(discrete: DiscreteProblem, field: Any) -> Landscape | None:
    """The energy about a field; `None` without energies, where the level is too large, and by integrals along axes.

    An energy that separates is quadratic, and was found to be positive.
    """
    energies = any(isinstance(t, Energy) for t in discrete.problem.terms)
    if not energies or discrete.plan.separation is not None or parameter_count(field) > LARGEST:
        return None
    return Landscape(field, discrete.prepare(field).objective.samples)


def left_saddle(
    discrete: DiscreteProblem, visited: Visited, train: Callable[[Prepared], Visited], say: Callable[[str], bool]
) -> Visited:
    """The trained level, or the better of two trained from either side of the saddle that it stopped at.

    Parameters
    ----------
    discrete, visited:
        Problem and result of the level that was trained.
    train:
        Trains a prepared level.
    say:
        Called with a sentence; says whether training may go on.
    """
    land = landscape(discrete, visited.field)
    if land is None:
        return visited
    lowest, best = land.bend(), visited
    if lowest.value >= -DOWNWARDS:
        return visited
    sentence = "The energy curves downwards where training stopped: a saddle, which is left along that direction."
    start = discrete.prepare(visited.field)
    for direction in (lowest.direction, -lowest.direction):
        energies = np.nan_to_num(land.energies(direction), nan=np.inf, posinf=np.inf, neginf=-np.inf)
        step = int(np.argmin(energies))
        if step in (0, len(REACH) - 1) or not say(sentence):
            continue  # nothing lower, or no end of it
        trial = train(replace(start, theta=land.theta + REACH[step] * direction))
        saddle, lower, other = (_energy(start, one.field) for one in (visited, best, trial))
        better = other < lower - SAME * (saddle - lower)
        best = trial.after(best) if better else best.after(trial)
    return best


def _energy(start: Prepared, field: Any) -> float:
    """Energies of two fields are compared with the same weights of the conditions."""
    value = float(start.objective.value(flat_parameters(field)[0]))
    return value if np.isfinite(value) else np.inf
