"""What rules are told about a level, and whether data support a finer one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hierax.fields.base import mesh
from hierax.geometry import AbstractShape
from hierax.geometry.body import interior_rule
from hierax.hierarchy import Fit, Level, Settling
from hierax.training.discrete import DiscreteProblem

MISSED = 1.5
"""Loss of a level over that of a finer or better one, above which it is too coarse for the equations."""


def evidence_for(
    discrete: DiscreteProblem, wants: type | None, level: Level, steps: int, changes: Mapping[int, float]
) -> Any:
    """What a rule is told about a level, of the kind that it wants; `None` where there is nothing to tell."""
    if wants is Settling:
        return _settling(discrete, level, steps, changes)
    return _fit(discrete, level) if wants is Fit else None


def _settling(discrete: DiscreteProblem, level: Level, steps: int, changes: Mapping[int, float]) -> Settling | None:
    """Of equations: how much the last refinement changed the solution."""
    if not discrete.equations.any() or discrete.rows.values:
        return None
    cloud = discrete.sampled.cloud
    points = None if cloud is None else cloud.between(mesh(level.field))
    shape, cells = discrete.problem.domain, mesh(level.field)
    if discrete.problem.regions is not None and cells is not None:
        points = discrete.problem.regions.interior(cells, 3).points
    elif isinstance(shape, AbstractShape) and cells is not None:
        points = interior_rule(shape, cells, 3).points
    return Settling(changes[max(changes)] if changes else np.inf, steps, points)


def _fit(discrete: DiscreteProblem, level: Level) -> Fit | None:
    """Of a level that has seen a part of the data: how it meets those and others."""
    if level.points is None or not discrete.rows.held:
        return None
    both = discrete.rows.seen(level.points), discrete.rows.held
    seen, unseen = (discrete.rows.misfit(level.field, samples, discrete.misses) for samples in both)
    return Fit(seen, unseen, discrete.rows.total)


def supports_no_more(
    discrete: DiscreteProblem, errors: Sequence[float | None], losses: Sequence[float], last: Level
) -> bool:
    """Whether the validation errors of the levels say that a finer one would only follow the noise.

    They do when the last two are no better than the best before, unless the levels may still be too coarse to see
    what is there: with fewer parameters than half the data, or an error above the noise that neighbouring data
    show, and fewer parameters than data. With equations the levels are coarse for other reasons: where these are all
    that shapes the functions, levels may have met the data by missing these, which says nothing until the loss settles.
    A level that has seen a part of the data only is too coarse, and a network that has seen all of them is not.
    """
    if any(e is None for e in errors):
        return False
    best = min(errors[:-2])  # pyright: ignore
    if min(errors[-2:]) < 0.97 * best:  # pyright: ignore
        return False
    if discrete.equations.any():
        settled = bool(discrete.plan.penalties) or max(losses[-2:]) <= MISSED * min(losses)
        return best < 1.5 * discrete.rows.noise and settled
    if last.points is not None:
        return last.points >= discrete.rows.total
    count, parameters = discrete.rows.values, last.parameters
    return parameters >= count or (parameters >= count / 2 and best < 1.15 * discrete.rows.noise)
