"""Truths that have no formula: solutions of ordinary differential equations by SciPy as JAX functions of the point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_bvp, solve_ivp
from scipy.interpolate import PPoly, make_interp_spline

Curve = Callable[[Any], Any]


def interpolated(nodes: np.ndarray, values: np.ndarray) -> Curve:
    """The quintic spline through `values` at increasing `nodes`, in the first coordinate; JAX can differentiate it."""
    pieces = PPoly.from_spline(make_interp_spline(nodes, values, k=5))
    coefficients, breaks = jnp.asarray(pieces.c), jnp.asarray(pieces.x)

    def curve(x: Any) -> Any:
        cell = jnp.clip(jnp.searchsorted(breaks, x[0], side="right") - 1, 0, coefficients.shape[1] - 1)
        return jnp.polyval(coefficients[:, cell], x[0] - breaks[cell])

    return curve


def initial_value(
    slope: Callable[[float, np.ndarray], Any], start: list[float], span: tuple[float, float], nodes: Any = 4001
) -> list[Curve]:
    """Components of the solution of `y' = slope(t, y)`, `y(span[0]) = start`, to a relative error of about 1e-9."""
    times = np.linspace(*span, nodes) if isinstance(nodes, int) else np.asarray(nodes)
    found = solve_ivp(slope, span, start, method="Radau", rtol=1e-10, atol=1e-14, t_eval=times)
    assert found.success, found.message
    return [interpolated(times, row) for row in found.y]


def boundary_value(
    slope: Callable[..., Any], conditions: Callable[..., Any], guess: Callable[[np.ndarray], np.ndarray], end: float
) -> list[Curve]:
    """Components of the solution of `y' = slope(x, y)` on `[0, end]` with `conditions(y(0), y(end)) = 0`."""
    nodes = np.linspace(0.0, end, 2001)
    found = solve_bvp(slope, conditions, nodes, guess(nodes), tol=1e-9, max_nodes=200000)
    assert found.success, found.message
    return [interpolated(nodes, row) for row in found.sol(nodes)]
