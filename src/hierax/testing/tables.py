"""Laws of fits: the units of a table are nobody's choice."""

from __future__ import annotations

from typing import Any

import numpy as np

from hierax.problems.domain import Box
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.problems.unknowns import Function
from hierax.training.train import train

TOLERANCE = 1e-6
"""Most that predictions may differ by, over the spread of the values."""
UNITS = ((1.0, 100.0), (3e5, 2.0), (1e-7, 0.0))
"""Factors and offsets of the values and of the inputs."""


def check_table(points: np.ndarray, values: np.ndarray, fresh: np.ndarray, **how: Any) -> None:
    """Whether other units of the inputs and of the output leave the fit of a table as it is.

    Parameters
    ----------
    points, values:
        The table, `(n, dim)` and `(n,)`.
    fresh:
        Points `(m, dim)` within its box where predictions are compared.
    **how:
        Further arguments of `hierax.train`.

    Raises
    ------
    AssertionError
        With the units in which predictions differ by more than a millionth of the spread, or another field is chosen.
    """
    kind, expected = _fitted(points, values, fresh, how)
    for factor, offset in UNITS:
        own, found = _fitted(offset + factor * points, offset + factor * values, offset + factor * fresh, how)
        apart = np.max(np.abs((found - offset) / factor - expected)) / np.std(values)
        where = f"inputs and values times {factor:g} plus {offset:g}"
        assert own == kind, f"{where}: {own} is chosen in place of {kind}"
        assert apart <= TOLERANCE, f"{where}: predictions differ by {apart:.1e}"


def _fitted(points: np.ndarray, values: np.ndarray, fresh: np.ndarray, how: dict[str, Any]) -> tuple[str, np.ndarray]:
    names = tuple(f"x{k}" for k in range(points.shape[1]))
    box = Box(points.min(axis=0), points.max(axis=0), names=names)
    problem = Problem(box, (Data("u", points, values),), unknowns={"u": Function()}, name="table")
    solution = train(problem, **how)
    return solution.field_kind, solution.evaluate(np.clip(fresh, *box.bounds()), "u")
