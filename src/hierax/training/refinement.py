"""Whether a finer level is made: what speaks against it, what it would bring and cost, and when slabs serve better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from hierax.checks.limits import SETTLED, SETTLING, UNCHANGED
from hierax.cycles import Forecast
from hierax.fields import parameter_count
from hierax.hierarchy import AbstractRefinement, AbstractTransfer, Level, MarkedKnots, MovingKnots, Settling
from hierax.hierarchy.regrid import motion
from hierax.objective.gather import gather
from hierax.training.discrete import Bench, Visited

UNSETTLED, LEAST_LEVELS, MOVING, SLOW = 1e-2, 3, 1.5, 0.2
"""Slabs are tried when from this level on refinement still changes the solution by more than `UNSETTLED`, and what has
to be fine at any time is `MOVING` times longer than what has to be fine at one time; twice that where the last
refinement lowered the loss to less than `SLOW` times what it was."""
LABEL = "spline grids on time slabs (linear in their parameters)"
SLABS = (
    "Time slabs: {}, so the time is divided into slabs, each starting from the end of the one before, with knots where "
    "they are needed at its own time; each further level is one sweep over the slabs with a smaller tolerance."
)
MOVES = SLABS.format("refinement does not settle and what is steep moves")
STUCK = SLABS.format("refinement no longer lowers the residual, which is far from zero")
DETERMINED = 0.5
"""Most parameters of a level for each row that the points of a cloud give."""
FLAT = 0.5
"""Slabs are also tried when two refinements lowered the loss to no less than this part. Over the whole time a residual
has minima that are no solutions; on a short slab, from the right start, the nearest minimum is one."""


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
    return last < UNCHANGED and last > SETTLING * before


def too_much(
    bench: Bench, done: Visited, coarse: Level, finer: Level, left: float, promise: Forecast | None
) -> Obstacle | None:
    """What the size of a finer level says against it, given the seconds that are left."""
    size = parameter_count(finer.field)
    if size > bench.plan.largest or not bench.fits(finer.field):
        return Obstacle("levels", f"A finer level would have {size} parameters, more than this strategy uses.")
    if not _determined(bench, finer.field):
        sentence = f"A finer level would have {size} parameters, too many for the points of the cloud: stopped."
        return Obstacle("levels", sentence)
    expected = bench.seconds(finer, coarse, done.seconds - done.seconds_compile, done.steps)
    if expected > left:
        gain = "" if promise is None else f" and {promise}"
        sentence = f"The next level would take about {expected:.0f} s{gain}; {max(left, 0.0):.0f} s are left: stopped."
        return Obstacle("budget", sentence)
    return None


def _determined(bench: Bench, field: Any) -> bool:
    """Whether the points of a cloud, which are what they are, are enough for the parameters that they see."""
    cloud, equations = bench.sampled.cloud, np.flatnonzero(bench.equations)
    if cloud is None or not (len(equations) and bench.local(field)):
        return True
    seen = len(np.unique(gather(field, cloud.points)[0]))
    one, normal = cloud.points[:1], np.zeros((1, bench.problem.domain.dim))
    rows = sum(bench.residuals(int(k), field, one, normal).size for k in equations)
    return seen <= DETERMINED * rows * len(cloud.points)


def forecast(bench: Bench, coarse: Level, finer: Level, changes: Mapping[int, float]) -> Forecast | None:
    """What a finer level would bring for its work; unknown where data are kept back, whose noise ends the decrease."""
    if bench.rows.held:
        return None
    return Forecast.of([changes[k] for k in sorted(changes)], (bench.work(coarse), bench.work(finer)))


def wants_slabs(bench: Bench, level: int, changes: dict[int, float], visited: dict[int, Visited]) -> str | None:
    """The sentence about time slabs, where they are to follow: at a false minimum, or where what is steep moves."""
    plan = bench.plan
    if plan.evolution is None or level < LEAST_LEVELS - 1:
        return None
    if _is_stuck(bench, level, visited):
        return STUCK
    if level < LEAST_LEVELS or changes.get(level, 0.0) < UNSETTLED:
        return None
    slow = visited[level].loss > SLOW * visited[level - 1].loss
    return MOVES if motion(visited[level].field, plan.evolution.axis) >= (MOVING if slow else 2 * MOVING) else None


def _is_stuck(bench: Bench, level: int, visited: dict[int, Visited]) -> bool:
    """Whether two refinements left the loss where it was, no small part of that of the untrained field."""
    if level - 2 not in visited:  # trained with an easier problem only
        return False
    last = visited[level].loss
    return last > FLAT * visited[level - 2].loss and last > SETTLED**2 * bench.untrained_loss


class Growth(NamedTuple):
    """A finer level, the transfer to it, what it would bring, and what speaks against it."""

    finer: Level
    transfer: AbstractTransfer
    promise: Forecast | None
    obstacle: Obstacle | None


def growth(
    bench: Bench, coarse: Level, done: Visited, changes: Mapping[int, float], key: jax.Array, left: float
) -> Growth:
    """A finer level by the plan's rule; where the seconds left are too few for it, along the worst axis alone.

    In three dimensions a level that is finer along all axes has eight times the cells: with that as the only choice,
    most of the time is often left over.
    """
    rule = bench.plan.rule
    assert rule is not None
    smaller = [replace(rule, axis_share=1.0, growth=1.0, small=0)] if isinstance(rule, MarkedKnots) else []
    for one in (rule, *smaller):
        finer, transfer = _refined(bench, one, coarse, done, changes, key)
        promise = forecast(bench, coarse, finer, changes)
        found = Growth(finer, transfer, promise, too_much(bench, done, coarse, finer, left, promise))
        if found.obstacle is None or found.obstacle.reason != "budget":
            break
    return found  # pyright: ignore


def _refined(
    bench: Bench, rule: AbstractRefinement, level: Level, done: Visited, changes: Mapping[int, float], key: jax.Array
) -> tuple[Level, AbstractTransfer]:
    """Of equations on knots the rule is told how much the last refinement changed the solution; else see `evidence`."""
    cloud = bench.sampled.cloud
    if not isinstance(rule, MarkedKnots | MovingKnots) or not bench.equations.any() or bench.rows.values:
        return rule.refine(level, key=key, evidence=bench.evidence(level))
    change = changes[max(changes)] if changes else np.inf
    settling = Settling(change, done.steps, None if cloud is None else cloud.points)
    return rule.refine(level, key=key, evidence=settling)
