"""Moving the knots of a trained level: trained again, and taken back where the objective did not fall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hierax.hierarchy import Level, MovingKnots
from hierax.training.discrete import DiscreteProblem, Prepared
from hierax.training.state import Visited

WORTH_MOVING = 0.9
"""Moved knots are kept when the objective falls to less than this part."""


def moved(
    discrete: DiscreteProblem, visited: Visited, train: Callable[[Prepared], Visited], said: Callable[[str], bool]
) -> Visited:
    """A level after moves of its knots, with the steps and seconds of all of them.

    Parameters
    ----------
    discrete:
        With a plan whose rule may be `MovingKnots`; otherwise there are no moves.
    visited:
        The trained level.
    train:
        Trains a prepared level.
    said:
        Called with a sentence after each move; says whether there may be another one.
    """
    rule = discrete.plan.rule
    if not isinstance(rule, MovingKnots):
        return visited
    for _ in range(rule.moves):
        field = rule.move(Level(visited.field))[0].field
        trial = train(_comparable(discrete, field, visited.field))
        change = f"objective from {visited.loss:.3g} to {trial.loss:.3g}"
        better = trial.loss < WORTH_MOVING * visited.loss
        kept = trial if better else visited
        cost = trial.after(visited)
        visited = kept._replace(
            steps=cost.steps, seconds=cost.seconds, seconds_compile=cost.seconds_compile, work=cost.work
        )
        if not (said(f"Knots moved: {change}." if better else f"Knots stay where they are: {change}.") and better):
            break
    return visited


def _comparable(discrete: DiscreteProblem, field: Any, before: Any) -> Prepared:
    """Objective and start of a field with the weights of another one, so that their values can be compared."""
    like, made = discrete.prepare(before).objective, discrete.prepare(field)
    return Prepared(made.objective.rescaled(list(like.scales)), made.theta, made.build)
