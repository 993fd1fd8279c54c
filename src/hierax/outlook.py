"""Whether a finer level is made: what speaks against it, what it would bring, and what it would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hierax.cycles import Forecast
from hierax.fields import parameter_count
from hierax.hierarchy import Level
from hierax.levels import Bench, Visited


@dataclass(frozen=True)
class Obstacle:
    """Why there is no finer level: a reason for `Done`, and a sentence, empty where there is nothing to say."""

    reason: str
    sentence: str = ""


def settled(
    bench: Bench, level: int, visited: Mapping[int, Visited], changes: Mapping[int, float], points: int | None = None
) -> Obstacle | None:
    """What the levels so far say against a finer one; the last has `points` samples of its own."""
    if bench.plan.rule is None:
        return Obstacle("levels")
    errors = [visited[k].validation for k in sorted(visited)]
    if len(errors) >= 3 and bench.supports_no_more(errors, Level(visited[level].field, points)):
        return Obstacle(
            "stalled", "Two refinements did not lower the validation error: the data support no finer level."
        )
    if level >= 2 and precision_reached(level, changes):
        return Obstacle("converged", "The last refinements changed the solution by rounding only.")
    return None


def precision_reached(level: int, changes: Mapping[int, float]) -> bool:
    """Whether changes are tiny and no longer fall."""
    last, before = changes.get(level, np.inf), changes.get(level - 1, np.inf)
    return last < 1e-6 and last > 0.3 * before


def too_much(
    bench: Bench, done: Visited, coarse: Level, finer: Level, left: float, promise: Forecast | None
) -> Obstacle | None:
    """What the size of a finer level says against it, given the seconds that are left."""
    size = parameter_count(finer.field)
    if size > bench.plan.largest or not bench.fits(finer.field):
        return Obstacle("levels", f"A finer level would have {size} parameters, more than this strategy uses.")
    expected = bench.seconds(finer, coarse, done.seconds - done.seconds_compile, done.steps)
    if expected > left:
        gain = "" if promise is None else f" and {promise}"
        sentence = f"The next level would take about {expected:.0f} s{gain}; {max(left, 0.0):.0f} s are left: stopped."
        return Obstacle("budget", sentence)
    return None


def forecast(bench: Bench, coarse: Level, finer: Level, changes: Mapping[int, float]) -> Forecast | None:
    """What a finer level would bring for its work."""
    return Forecast.of([changes[k] for k in sorted(changes)], (bench.work(coarse), bench.work(finer)))
