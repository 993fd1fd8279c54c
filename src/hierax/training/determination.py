"""Whether the terms determine the solution: flat directions of the coarse levels of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hierax.checks.limits import EXACTLY_FLAT, FLAT, STAYS
from hierax.fields import linear_in_parameters, parameter_count
from hierax.fields.base import has_fixed_cells
from hierax.objective.flatness import LARGEST, Direction, Flatness, flattest
from hierax.problems.terms import Data
from hierax.training.discrete import DiscreteProblem
from hierax.training.state import Visited
from hierax.training.time_slabs import on_slabs


def flatness(discrete: DiscreteProblem, visited: Mapping[int, Visited]) -> Flatness | None:
    """The flattest directions of the coarse levels; `None` without equations, and without grids that are small enough.

    Finer levels are asked as long as they show smaller violations: a direction that is free, such as the mode of a
    resonance, violates the terms on each level by the error of its approximation. With data the coarsest is asked
    alone: the finer a level, the more of its directions no datum sees.
    """
    fields = [visited[k].field for k in sorted(visited) if _suits(visited[k].field)]
    if not fields or not discrete.equations.any() or not discrete.plan.local:
        return None
    measured = any(isinstance(t, Data) for t in discrete.sampled.terms)
    found: list[float] = []
    directions: list[Direction] = []
    points = np.zeros((0, 0))
    for field in fields[:1] if measured else fields:
        samples = discrete.samples(field, everything=True)
        inside = samples[int(np.flatnonzero(discrete.equations)[0])]
        directions, points = (
            flattest(discrete.problem, field, samples, inside, discrete.periodic, _rough(discrete)),
            inside.points,
        )
        found.append(directions[0].violation)
        if found[-1] < EXACTLY_FLAT or (len(found) > 1 and (found[-1] < FLAT or found[-1] > STAYS * found[-2])):
            break
    return Flatness(found, directions, points)


def _suits(field: Any) -> bool:
    small = parameter_count(field) <= LARGEST and not on_slabs(field)
    return small and has_fixed_cells(field) and linear_in_parameters(field)


def _rough(discrete: DiscreteProblem) -> list[str]:
    """Functions that a penalty keeps smooth, which decides where the terms do not."""
    return sorted({penalty.name or next(iter(discrete.problem.functions)) for penalty in discrete.plan.penalties})
