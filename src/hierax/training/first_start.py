"""The first start of nonlinear terms, where equations vanish to first order at the one that was planned.

The p-Laplace operator `div(|grad u|^(p-2) grad u)` at a constant: for `p > 2` its tangent is zero, and no step leads
away; for `p < 2` it is not finite. From either side of such a point, at a wave of the size of the unknowns, it is an
elliptic operator like any other. Of terms that are homogeneous and even or odd about the point, the mean of the two
Newton steps from there is the solution with the coefficient at the wave (a step of Kacanov's iteration), whatever the
sign of the wave, and so is that of the solution.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierax.fields import SplineGrid, Unknowns
from hierax.hierarchy import Hierarchy
from hierax.objective import Linearisation, flat_parameters
from hierax.planning.starting import fitted
from hierax.solvers import GaussNewton
from hierax.solvers.gauss_newton import finite
from hierax.solvers.linear.solve import NotPositive
from hierax.training.discrete import DiscreteProblem, Prepared

VANISHED = 1e-8
"""Curvature of a parameter, over that beside the start, below which equations do not feel it there."""
SHARE = 0.25
"""Part of the parameters that equations do not feel, from which on a start is of no use."""
SHIFT = 1e-10
"""Damping of the steps, over the diagonal."""


def begun(discrete: DiscreteProblem, planned: Hierarchy) -> Hierarchy:
    """The planned levels, the coarsest from where equations have a tangent."""
    first = planned.levels[0]
    theta = _start(discrete, first.field)
    if theta is None:
        return planned
    return Hierarchy(
        (replace(first, field=flat_parameters(first.field)[1](theta)), *planned.levels[1:]), planned.transfers
    )


def _start(discrete: DiscreteProblem, field: Any) -> np.ndarray | None:
    """Parameters at which equations have a tangent; `None` where those of the field are as good, or there are none."""
    plan = discrete.plan
    steps = plan.local and isinstance(field, SplineGrid | Unknowns)
    if plan.linear or not (isinstance(plan.solver, GaussNewton) and steps and discrete.equations.any()):
        return None
    made = discrete.prepare(field)
    wave = _wave(discrete, field) - made.theta
    beside = [made.theta + wave, made.theta - wave]
    felt = [_felt(discrete, made, theta) for theta in beside]
    if _is_regular(_felt(discrete, made, made.theta), felt):
        return None
    ends = [end for theta in beside if (end := _newton(discrete, plan.solver, made.build(theta))) is not None]
    starts = ([np.mean(ends, axis=0)] if ends else []) + beside
    good = (s for s in starts if np.isfinite(made.objective.value(s)) and _is_regular(_felt(discrete, made, s), felt))
    return next(good, None)


def _felt(discrete: DiscreteProblem, made: Prepared, theta: np.ndarray) -> np.ndarray | None:
    """What equations feel of each parameter, the diagonal of their curvature; `None` where that is not finite."""
    scales = np.zeros(len(made.objective.scales))
    scales[: len(discrete.equations)] = discrete.equations
    there: Linearisation = made.objective.rescaled(list(scales)).linearise(theta)
    diagonal = there.curvature.diagonal()
    return diagonal if finite(there) and np.all(np.isfinite(diagonal)) else None


def _is_regular(own: np.ndarray | None, beside: list[np.ndarray | None]) -> bool:
    """Whether equations have a tangent, against what they feel beside the place."""
    if own is None:
        return all(other is None for other in beside)
    return all(np.mean(own[other > 0] < VANISHED * other[other > 0]) < SHARE for other in beside if other is not None)


def _newton(discrete: DiscreteProblem, solver: GaussNewton, field: Any) -> np.ndarray | None:
    """Where a step from a field leads; `None` where there is none."""
    made = discrete.prepare(field)
    there = made.objective.linearise(made.theta)
    diagonal = there.curvature.diagonal()
    if not finite(there):
        return None
    try:
        solve = solver.prepare(there, SHIFT * np.maximum(diagonal, SHIFT * diagonal.max()))
        end = made.theta - solve(there.gradient)
    except NotPositive:
        return None
    return end if np.all(np.isfinite(end)) else None


def _wave(discrete: DiscreteProblem, field: Any) -> np.ndarray:
    """Parameters of the field with half a wave along every coordinate, in sizes of the unknowns, added to functions."""
    if not isinstance(field, Unknowns):
        return flat_parameters(_raised(field))[0]
    parts = {
        name: _raised(part) if name in discrete.problem.functions and isinstance(part, SplineGrid) else part
        for name, part in field.parts.items()
    }
    return flat_parameters(Unknowns(**parts))[0]


def _raised(part: SplineGrid) -> SplineGrid:
    ends = [(b[0], b[-1]) for b in part.breakpoints()]
    low, high = np.array(ends).T

    def wave(x: Any) -> Any:
        return jnp.prod(jnp.sin(jnp.pi * (x - low) / (high - low))) * jnp.ones(part.channels)

    return SplineGrid(part.axes, part.coefficients + fitted(part, wave).coefficients)
