"""Quantities of solutions in words: a value at a point, a mean, a maximum or a minimum."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.models.family import Family

AT = re.compile(r"(\w+) at (.+)")
OVER = re.compile(r"(mean|max|min)\((\w+)\)")
POINTS = {1: 256, 2: 48, 3: 16}
"""Points an axis at whose cells' centres a mean or an end is taken."""


def quantity_of(text: str | Callable[[Any], Any], family: Family) -> Callable[[Any], Any]:
    """The quantity of a solution that a text such as `u at x=0.6, y=0.2`, `mean(u)`, `max(u)` or `min(u)` names.

    Raises
    ------
    InputError
        For other texts, for unknowns and coordinates that there are not, and for points outside of the domain.
    """
    if not isinstance(text, str):
        return text
    problem = family.problem(family.middle())
    domain = problem.domain
    at, over = AT.fullmatch(text.strip()), OVER.fullmatch(text.strip())
    name = at[1] if at else over[2] if over else None
    if name not in problem.unknowns:
        raise InputError(
            f"{text!r} names no quantity.", "--quantity",
            f'Write "u at x=0.6", "mean(u)", "max(u)" or "min(u)"; the unknowns are {", ".join(problem.unknowns)}.',
        )  # fmt: skip
    lower, upper = domain.bounds()
    if at:
        point = jnp.asarray(_point(at[2], tuple(domain.names or ()), lower, upper))
        return lambda solution: _unknown(solution, name)(point)
    count = POINTS.get(len(lower), 6)
    axes = [low + (high - low) * (np.arange(count) + 0.5) / count for low, high in zip(lower, upper, strict=True)]
    points = jnp.asarray(np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1))
    assert over
    reduced = {"mean": jnp.mean, "max": jnp.max, "min": jnp.min}[over[1]]
    return lambda solution: reduced(jax.vmap(_unknown(solution, name))(points), axis=0)


def _unknown(solution: Any, name: str) -> Callable[[Any], Any]:
    return getattr(solution, name) if hasattr(solution, name) else solution


def _point(text: str, names: tuple[str, ...], lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The point of a text `x=0.6, y=0.2`."""
    try:
        given = {key.strip(): float(value) for key, value in (word.split("=") for word in text.split(","))}
        point = np.array([given.pop(name) for name in names])
    except (ValueError, KeyError):
        given, point = {"": 0.0}, lower
    if given or np.any(point < lower) or np.any(point > upper):
        raise InputError(
            f"{text!r} is no point of the domain.", "--quantity", f"Give {', '.join(names)}, such as {names[0]}=0.6."
        )
    return point
