"""Whether other constants fit as well: nonlinear regression from those that the problem starts with.

Data and equations may have mirror images, as of a drug whose uptake and clearance change places: both fit to the last
digit, and nothing near one tells of the other. Training follows the data first, and comes to either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import chdtri

from hierax.fields import Unknowns
from hierax.objective import LocalObjective
from hierax.objective.view import bounded
from hierax.results.intervals import Interval
from hierax.solvers import GaussNewton
from hierax.solvers.linear.solve import NotPositive
from hierax.training.determination import suits
from hierax.training.discrete import DiscreteProblem
from hierax.training.intervals import term_factors
from hierax.training.state import Visited

LARGEST = 1000
"""Most parameters of a level that is asked."""
SOLVES, STEPS, HALVED = 6, 30, 8
"""Steps that solve the equations for constants that are held, steps of these, and how often one is halved."""
HELD, DAMPED, SETTLED = 1e8, 1e-10, 1e-6
"""What holds constants, over the largest curvature; damping of functions; fall of the loss that ends the search."""
CHANCE, APART = 0.05, 3.0
"""Probability of a misfit so much larger at the true constants, up to which others fit as well; half widths of an
interval beyond which a constant is another one."""
SOLVER = GaussNewton()


def other_constants(
    discrete: DiscreteProblem,
    visited: Mapping[int, Visited],
    halves: Mapping[str, float],
    clock: Callable[[], tuple[float, bool]],
) -> str:
    """A sentence about other constants that fit as well; empty where none are looked for or found.

    They are looked for where terms are nonlinear and local, on the finest level that is small.

    Parameters
    ----------
    halves:
        Half the widths of the intervals of the parameters of constants.
    clock:
        Seconds since the training began, and whether the budget is over.
    """
    names = list(discrete.problem.constants)
    levels = [
        one for _, one in sorted(visited.items()) if isinstance(one.field, Unknowns) and suits(one.field, LARGEST)
    ]
    if discrete.plan.linear or not (names and levels and discrete.rows.total and set(names) <= set(halves)):
        return ""
    level = levels[-1]
    prepared = discrete.prepare(level.field, everything=discrete.refits(level.field))
    if not isinstance(prepared.objective, LocalObjective):
        return ""
    objective = prepared.objective.rescaled(list(term_factors(prepared.objective, level.state)))

    def constants(theta: Any) -> Any:
        return jnp.stack([prepared.build(theta).parts[name].value for name in names])

    own, change = np.asarray(constants(prepared.theta)), np.asarray(jax.jacrev(constants)(prepared.theta))
    begun = [float(discrete.plan.hierarchy.levels[0].field.parts[name].value) for name in names]
    start, held = prepared.theta + np.linalg.pinv(change) @ (begun - own), np.any(change != 0.0, axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        found = _regressed(objective, start, held, clock)
    if found is None:
        return ""
    there = np.asarray(constants(found))
    apart = np.max(np.abs(there - own) / [max(halves[name], 1e-300) for name in names])
    losses = [float(objective.value(theta)) for theta in (found, prepared.theta)]
    if apart < APART or discrete.rows.total * (losses[0] / max(losses[1], 1e-300) - 1.0) > chdtri(len(names), CHANCE):
        return ""
    units, said = discrete.plan.units, []
    for name, value in zip(names, there, strict=True):
        seen = Interval(float(bounded(discrete.problem.constants[name].bounds)(value)))
        seen = seen if units is None else seen.restored(units.sizes[name], units.shifts[name])
        said.append(f"{name} = {seen.value:.4g}")
    return (
        f"From the constants that the problem starts with, {', '.join(said)} fit the data as well: these do not choose "
        "between the two, and intervals are about one of them. bounds=, prior= or further data do."
    )


def _regressed(
    objective: LocalObjective, theta: np.ndarray, held: np.ndarray, clock: Callable[[], tuple[float, bool]]
) -> np.ndarray | None:
    """Parameters after steps of Gauss-Newton, each with the functions solved for its constants; `None` if it fails."""
    best = _solved(objective, theta, held)
    for _ in range(STEPS):
        step = None if best is None else _step(objective, best, np.zeros_like(held))
        if best is None or step is None or clock()[1]:
            return None
        value = float(objective.value(best))
        tried = (_solved(objective, best + 0.5**k * step, held) for k in range(HALVED))
        better = next((t for t in tried if t is not None and float(objective.value(t)) < value), None)
        if better is None or value - float(objective.value(better)) < SETTLED * value:
            return best if better is None else better
        best = better
    return best


def _solved(objective: LocalObjective, theta: np.ndarray, held: np.ndarray) -> np.ndarray | None:
    """The functions for constants that are held."""
    for _ in range(SOLVES):
        step = _step(objective, theta, held)
        if step is None:
            return None
        theta = theta + step
    return theta


def _step(objective: LocalObjective, theta: np.ndarray, held: np.ndarray) -> np.ndarray | None:
    """A step of Gauss-Newton, with some parameters held; `None` where it is not finite."""
    near = objective.linearise(theta)
    diagonal = near.curvature.diagonal()
    shift = DAMPED * np.maximum(diagonal, 1e-6 * diagonal.max()) + held * HELD * diagonal.max()
    try:
        step = -np.asarray(SOLVER.prepare(near, shift)(near.gradient))
    except NotPositive:
        return None
    return step if np.all(np.isfinite(step)) else None
