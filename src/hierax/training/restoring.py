"""Back from the units of a training to those of its problem."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierax.fields import Scalar, Unknowns
from hierax.fields.affine import affine
from hierax.problems.problem import Problem
from hierax.problems.units import Units
from hierax.problems.unknowns import Unknown
from hierax.results.solution import Solution


def restored(solution: Solution, problem: Problem, units: Units) -> Solution:
    """A solution of the converted problem as one of the problem itself."""
    found = {n: own.restored(units.sizes[n], units.shifts[n]) for n, own in solution.unknowns.items()}
    field = restored_field(solution.field, problem, units)
    return replace(solution, problem=problem, field=field, unknowns=found)


def restored_field(field: Any, problem: Problem, units: Units) -> Any:
    """The field whose values, after the bounds of the problem, are those that the converted problem sees in it."""
    if not problem.named:
        ((name, unknown),) = problem.unknowns.items()
        return affine(field, *_factors(unknown, units.sizes[name], units.shifts[name]))
    parts = {}
    for name, unknown in problem.unknowns.items():
        size, shift = _factors(unknown, units.sizes[name], units.shifts[name])
        part = field.parts[name]
        parts[name] = Scalar(shift + size * part.value) if name in problem.constants else affine(part, size, shift)
    return Unknowns(**parts)


def _factors(unknown: Unknown, size: np.ndarray, shift: np.ndarray) -> tuple[Any, Any]:
    """Size and shift before the bounds: a bound on one side is kept by an exponential, on both by a sigmoid."""
    low, high = unknown.bounds or (None, None)
    size, shift = np.asarray(size, dtype=float), np.asarray(shift, dtype=float)
    if low is not None and high is not None:
        size, shift = np.ones_like(size), np.zeros_like(size)
    elif low is not None or high is not None:
        size, shift = np.ones_like(size), np.log(size) if high is None else -np.log(size)
    return jnp.asarray(size, dtype=float), jnp.asarray(shift, dtype=float)
