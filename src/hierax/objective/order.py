"""The order of the derivatives in a term, found by trying."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax.objective.pointwise import Place, point_term
from hierax.problems.problem import Problem
from hierax.problems.terms import Data, Term

HIGHEST = 6


def differential_order(problem: Problem, term: Term) -> int:
    """Highest order of derivatives of any unknown in a term.

    The unknowns are random smooth functions plus `c (a . (z - x))^m / m!`, which at `x` touches derivatives of order `m`
    alone; the largest `m` for which the density feels `c` is the order. Data have order 0; a density that cannot be
    evaluated there counts as order 2.
    """
    if isinstance(term, Data):
        return 0
    point = point_term(problem, term)
    rng = np.random.default_rng(0)
    low, high = problem.domain.bounds()
    orders = [0]
    for _ in range(3):
        x = jnp.asarray(low + (0.1 + 0.8 * rng.random(len(low))) * (high - low))
        place = Place(x, jnp.asarray(_normal(rng, len(low))), jnp.zeros(0))
        for m in range(HIGHEST, 0, -1):
            slope = _slope(problem, point, place, m, rng)
            if slope is None:
                orders.append(2)
                break
            if np.any(np.abs(slope) > 0):
                orders.append(m)
                break
    return max(orders)


def _normal(rng: np.random.Generator, dim: int) -> np.ndarray:
    direction = rng.normal(size=dim)
    return direction / np.linalg.norm(direction)


def _slope(problem: Problem, point: Any, place: Place, order: int, rng: np.random.Generator) -> np.ndarray | None:
    span = jnp.asarray(problem.domain.bounds()[1] - problem.domain.bounds()[0])
    direction = jnp.asarray(rng.random(len(span)) + 0.5) / span

    def build(c: jax.Array) -> Any:
        parts = {}
        for k, (name, unknown) in enumerate(problem.unknowns.items()):
            if name in problem.constants:
                parts[name] = jnp.asarray(0.3 + 0.1 * k)
                continue
            lead = () if unknown.components is None else (unknown.components,)  # pyright: ignore
            phase = jnp.asarray(np.arange(np.prod(lead, dtype=int)).reshape(lead) + k)

            def u(z: jax.Array, phase: jax.Array = phase) -> jax.Array:
                t = direction @ (z - place.x)
                return 0.6 + 0.3 * jnp.cos(t + phase) + c * t**order

            parts[name] = u
        return SimpleNamespace(**parts) if problem.named else next(iter(parts.values()))

    try:
        return np.asarray(jax.jacfwd(lambda c: point.residual(build(c), place))(jnp.asarray(0.0)))
    except (TypeError, ValueError, ZeroDivisionError, FloatingPointError):
        return None
