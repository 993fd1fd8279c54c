"""Whether a finer level is made: what speaks against it, what it would bring and cost, and when slabs serve better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from hierax.checks.limits import FLAT as FREE
from hierax.checks.limits import SETTLED, SETTLING, UNCHANGED
from hierax.cycles import Forecast, Visit
from hierax.fields import parameter_count
from hierax.hierarchy import AbstractTransfer, Level
from hierax.hierarchy.regrid import motion
from hierax.problems.terms import Energy
from hierax.training.cost import fits, growth_of_work, nominal_seconds, work
from hierax.training.determination import flatness
from hierax.training.discrete import DiscreteProblem
from hierax.training.evidence import evidence_for, supports_no_more
from hierax.training.state import Visited

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
GROWS = SLABS.format("solutions grow by orders of magnitude, which squares over the whole time do not tell from none")
FAR = SLABS.format("training takes many steps from the level before, which may lead to a minimum that is no solution")
SLOWLY = SLABS.format("refinement does not settle, and lowers the residual slowly")
DETERMINED = 0.5
"""Most parameters of a level for each row that the points of a cloud give."""
MANY = 12
"""Gauss-Newton steps on one level above which its start was too far, as on a slab."""
FLAT = 0.5
"""Slabs are also tried when two refinements lowered the loss to no less than this part. A nonlinear residual
has minima over the whole time that are no solutions; on a short slab, from the right start, the nearest one is."""
SLOW_MACHINE = 4.0
"""How much slower than nominal a machine is taken to be: an old core, or one that is shared."""


@dataclass(frozen=True)
class Obstacle:
    """Why there is no finer level: a reason for `Done`, and a sentence, empty where there is nothing to say."""

    reason: str
    sentence: str = ""


def settled(
    discrete: DiscreteProblem,
    level: int,
    visited: Mapping[int, Visited],
    changes: Mapping[int, float],
    points: int | None = None,
) -> Obstacle | None:
    """What the levels so far say against a finer one; the last has `points` samples of its own."""
    if discrete.plan.rule is None:
        return Obstacle("levels")
    errors, losses = zip(*((visited[k].validation, visited[k].loss) for k in sorted(visited)), strict=True)
    if len(errors) >= 3 and supports_no_more(discrete, errors, losses, Level(visited[level].field, points)):
        return Obstacle(
            "stalled", "Two refinements did not lower the validation error: the data support no finer level."
        )
    if level >= 2 and precision_reached(level, changes):
        tiny = f"The last refinement changed the solution by {changes[level]:.1g} of its size"
        return Obstacle("converged", f"{tiny}: tiny, and no longer falling.")
    return None


def precision_reached(level: int, changes: Mapping[int, float]) -> bool:
    """Whether changes are tiny and no longer fall."""
    last, before = changes.get(level, np.inf), changes.get(level - 1, np.inf)
    return last < UNCHANGED and last > SETTLING * before


class Left(NamedTuple):
    """What is left of the budget: seconds by the clock, and seconds of a nominal machine by counted work."""

    seconds: float
    nominal: float


def too_large(discrete: DiscreteProblem, finer: Level) -> Obstacle | None:
    """What the size of a finer level says against it."""
    size = parameter_count(finer.field)
    if size > discrete.plan.largest or not fits(discrete, finer.field):
        return Obstacle("levels", f"A finer level would have {size} parameters, more than this strategy uses.")
    if not _determined(discrete, finer.field):
        sentence = f"A finer level would have {size} parameters, too many for the points of the cloud: stopped."
        return Obstacle("levels", sentence)
    return None


def ends_the_budget(
    discrete: DiscreteProblem, done: Visited, coarse: Level, finer: Level, left: float, promise: Forecast | None
) -> Obstacle | None:
    """Where a finer level would take longer than the seconds that are left by the clock: the end of the budget.

    Seconds grow as the work does, or by what is added to it on a slow machine, where most of them were no work.
    """
    seconds = max(done.seconds - done.seconds_compile, 0.02)
    times = growth_of_work(discrete, finer, coarse, done.steps)
    expected = min(seconds * times, seconds + SLOW_MACHINE * nominal_seconds(done.work * max(times - 1.0, 0.0), 0))
    if expected <= left:
        return None
    gain = "" if promise is None else f" and {promise}"
    sentence = f"The next level would take about {expected:.0f} s{gain}; {max(left, 0.0):.0f} s are left: stopped."
    return Obstacle("budget", sentence)


def _determined(discrete: DiscreteProblem, field: Any) -> bool:
    """Whether the points of a cloud, which are what they are, are enough for the parameters that they see."""
    cloud, equations = discrete.sampled.cloud, np.flatnonzero(discrete.equations)
    if cloud is None or not (len(equations) and discrete.local(field)):
        return True
    if cloud.region is not None and not any(isinstance(t, Energy) for t in discrete.sampled.terms):
        return True
    seen = len(np.unique(field.gather(cloud.points)[0]))
    one, normal = cloud.points[:1], np.zeros((1, discrete.problem.domain.dim))
    rows = sum(discrete.residuals(int(k), field, one, normal).size for k in equations)
    return seen <= DETERMINED * rows * len(cloud.points)


def forecast(discrete: DiscreteProblem, coarse: Level, finer: Level, changes: Mapping[int, float]) -> Forecast | None:
    """What a finer level would bring for its work; unknown where data are kept back, whose noise ends the decrease."""
    if discrete.rows.held:
        return None
    return Forecast.of([changes[k] for k in sorted(changes)], (work(discrete, coarse), work(discrete, finer, coarse)))


def wants_slabs(
    discrete: DiscreteProblem, level: int, changes: dict[int, float], visited: dict[int, Visited]
) -> str | None:
    """The sentence about time slabs, where they are to follow: at a false minimum, on the way to one, or where what is
    steep moves."""
    plan = discrete.plan
    if plan.evolution is None or level < LEAST_LEVELS - 1:
        return None
    if is_stuck(level, visited, discrete.untrained_loss):
        if not plan.linear:
            return STUCK
        if not is_stuck(level - 1, visited, discrete.untrained_loss) and _grows(discrete, visited):
            return GROWS
    if changes.get(level, 0.0) < UNSETTLED:
        return None
    if not plan.linear and visited[level].steps > MANY:
        return FAR
    if level < LEAST_LEVELS:
        return None
    slow = visited[level].loss > SLOW * visited[level - 1].loss
    if not plan.linear and slow and len(discrete.periodic) == 1:
        return SLOWLY
    if plan.linear and not (slow or any(discrete.periodic)):
        # linear levels are solved in a step each: without a frame that follows, sweeps over slabs are no cheaper
        return None
    return MOVES if motion(visited[level].field, plan.evolution.axis) >= (MOVING if slow else 2 * MOVING) else None


def within_reach(discrete: DiscreteProblem, visit: Visit) -> Visit:
    """A visit; of a level from which slabs may follow it ends when there were too many steps."""
    plan, most = discrete.plan, getattr(discrete.plan.cycle, "most", None)
    last = plan.rule is None or (most is not None and visit.level + 1 >= most)
    if plan.evolution is None or plan.linear or last or visit.level < LEAST_LEVELS - 1 or visit.until.steps is not None:
        return visit
    return replace(visit, until=replace(visit.until, steps=MANY + 1))


def is_stuck(level: int, visited: Mapping[int, Visited], size: float) -> bool:
    """Whether two refinements left the loss where it was, no small part of the size that a loss can have."""
    if level - 2 not in visited:  # trained with an easier problem only
        return False
    last = visited[level].loss
    return last > FLAT * visited[level - 2].loss and last > SETTLED**2 * size


def _grows(discrete: DiscreteProblem, visited: Mapping[int, Visited]) -> bool:
    """Whether changes by a solution that grows violate no term by more than what counts as free."""
    seen = flatness(discrete, visited, visited[max(visited)].field)
    return seen is not None and min(seen.violations) < FREE


class Growth(NamedTuple):
    """A finer level, the transfer to it, what it would bring, and what speaks against it."""

    finer: Level
    transfer: AbstractTransfer
    promise: Forecast | None
    obstacle: Obstacle | None


def growth(
    discrete: DiscreteProblem, coarse: Level, done: Visited, changes: Mapping[int, float], key: jax.Array, left: Left
) -> Growth:
    """A finer level by the plan's rule; where the counted work that is left is too little, along the worst axis alone.

    In three dimensions a level that is finer along all axes has eight times the cells: with that as the only choice,
    most of the time is often left over. Which of the two is made follows from counted work; the clock only says that
    none is.
    """
    rule = discrete.plan.rule
    assert rule is not None
    evidence = evidence_for(discrete, rule.wants, coarse, done.steps, changes)
    finer, transfer = rule.refine(coarse, key=key, evidence=evidence)
    smaller = rule.sparing()
    if smaller is not None and not _worked_off(discrete, done, coarse, finer, left.nominal):
        finer, transfer = smaller.refine(coarse, key=key, evidence=evidence)
    promise = forecast(discrete, coarse, finer, changes)
    obstacle = too_large(discrete, finer) or ends_the_budget(discrete, done, coarse, finer, left.seconds, promise)
    return Growth(finer, transfer, promise, obstacle)


def _worked_off(discrete: DiscreteProblem, done: Visited, coarse: Level, finer: Level, left: float) -> bool:
    """Whether a nominal machine would train a finer level in the seconds that are left; also where it is too large."""
    if too_large(discrete, finer) is not None:
        return True
    return nominal_seconds(done.work * growth_of_work(discrete, finer, coarse, done.steps)) <= left
