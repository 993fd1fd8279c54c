"""Is it the right solution? Checks after training, on points that training did not use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hierax._results import RESULTS
from hierax.events import Guard
from hierax.objective.build import SampledProblem, is_equation, mesh
from hierax.objective.samples import Samples
from hierax.problems.domain import Box
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.sampling import Sobol
from hierax.problems.terms import Data, Residual

FRESH = 4096
SETTLED = 1e-3
"""Root of the loss over that of the untrained field, above which a solution that no longer changes is doubted."""


SMALL_CHANGE = 1e-3
"""A change of the solution by less is compared with the larger of the two before."""
SINGLE = 0.1
"""Residual of the only level over that of the untrained field; levels, which show more, may leave a larger part."""
WITHIN = 0.2
"""Part of the noise of the data: changes by less from level to level follow it, and need not fall."""
EXPLAINED = 0.02
"""A misfit below this part of the spread of the data is not held against three times less noise."""
RESULT_OF = {"resolution": "levels", "equation": "levels", "regularity": "levels", "data": "validation"}
"""Guards whose failure is told as that of another one."""

Residuals = Callable[[int, Any, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Limits:
    """Limits of the guards; see the sentences of each.

    Parameters
    ----------
    fresh_residual:
        Residual at fresh points over that at training points.
    boundary:
        Misfit of conditions over the size of the solution.
    levels:
        Change of the solution at the last refinement over that at the one before.
    resolution:
        Relative change of the solution at the last refinement.
    equation:
        Residual of the last level over that of the first, as long as refinement still changes the solution.
    validation:
        Validation error of the returned level over that of the best.
    data:
        Misfit at measured values over their noise; without equations the typical one, where neighbours show a noise.
    regularity:
        Power of the mesh width with which the residual has to fall.
    """

    fresh_residual: float = 10.0
    boundary: float = 1e-2
    levels: float = 1.0
    resolution: float = 5e-2
    equation: float = 0.3
    validation: float = 1.1
    data: float = 3.0
    regularity: float = 0.6


@dataclass(frozen=True)
class Evidence:
    """What the guards look at.

    Attributes
    ----------
    field, untrained:
        The returned field and the one before any training.
    samples:
        Training samples of the returned level, one entry a term.
    coarsest:
        The field after training on the first level, whose residual tells the size of the equation's parts.
    changes:
        Relative changes of the solution from level to level.
    losses, widths:
        Losses of the levels; shortest intervals along each axis, where the equations admit kinks.
    only:
        Whether the budget ended after the first of several levels.
    start:
        Loss of the untrained field, which tells what size a loss can have.
    validation:
        Validation errors of all levels and of the returned one, for data.
    misfit:
        Misfit at data, those kept back where there are any, and the noise of the data, both in units of their spread.
    size:
        Root mean square of the largest component of the solution.
    """

    field: Any
    untrained: Any
    coarsest: Any
    samples: Sequence[Samples]
    changes: Sequence[float]
    losses: Sequence[float]
    widths: Sequence[np.ndarray]
    only: bool
    start: float
    validation: tuple[Sequence[float], float] | None
    misfit: tuple[float, float] | None
    size: float


def check(
    sampled: SampledProblem, residuals: Residuals, evidence: Evidence, key: Key, limits: Limits
) -> dict[str, Guard]:
    """All guards that apply, by name; `residuals(term, field, points, normals)` evaluates a term anywhere."""
    guards: dict[str, Guard] = {}
    equations = [k for k, t in enumerate(sampled.terms) if isinstance(t, Residual) and is_equation(t, sampled.problem)]
    if equations and (sampled.cloud is None or len(sampled.cloud.held)):
        guards["fresh_residual"] = _fresh(sampled, residuals, evidence, equations, key, limits.fresh_residual)
    conditions = [
        k
        for k, t in enumerate(sampled.problem.terms)
        if not isinstance(t, Data) and not is_equation(t, sampled.problem) and isinstance(t, Residual)
    ]
    if conditions:
        guards["boundary"] = _boundary(sampled, residuals, evidence, conditions, key, limits.boundary)
    if equations or any(is_equation(t, sampled.problem) for t in sampled.problem.terms):
        guards |= _levels(evidence, limits)
    if equations and not any(isinstance(t, Data) for t in sampled.problem.terms):
        guards |= _single(sampled, residuals, evidence, equations, min(SINGLE, limits.equation))
        guards |= _equation(evidence, limits.equation) | _regularity(evidence, limits.regularity)
    if evidence.validation is not None:
        guards["validation"] = _validation(*evidence.validation, limits.validation)
    if evidence.misfit is not None and (equations or evidence.misfit[1] > 0.0):
        guards["data"] = _data(*evidence.misfit, limits.data)
    return guards


def verdict(guards: dict[str, Guard]) -> RESULTS:
    """`successful`, or the result that belongs to the first guard that failed."""
    for name, guard in guards.items():
        if not guard.passed:
            return RESULTS[f"guard_{RESULT_OF.get(name, name)}"]
    return RESULTS.successful


def fresh_points(box: Box, cells: Sequence[np.ndarray] | None, key: Key, count: int = FRESH) -> np.ndarray:
    """Sobol points, a quarter of them inside the first cell of each face of the box."""
    points = Sobol(box).sample(seed_of(key, 0), 0, count).points
    faces = box.faces()
    near = Sobol(box).sample(seed_of(key, 1), 0, max(1, count // 4)).points
    for k, face in enumerate(faces):
        axis = box.axis(face.name)
        low, high = box.lower[axis], box.upper[axis]
        breaks = np.array([low, low + 0.02 * (high - low), high]) if cells is None else np.asarray(cells[axis])
        first = breaks[1] - breaks[0] if face.side == "lower" else breaks[-1] - breaks[-2]
        own = slice(k, None, len(faces))
        unit = (near[own, axis] - low) / (high - low)
        near[own, axis] = low + first * unit if face.side == "lower" else high - first * unit
    return np.concatenate([points[: count - len(near)], near]) if faces else points


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def _fresh(
    sampled: SampledProblem, residuals: Residuals, evidence: Evidence, equations: Sequence[int], key: Key, limit: float
) -> Guard:
    box, where = sampled.problem.domain, "fresh points, a quarter of them at the boundaries,"
    if isinstance(box, Box):
        points = fresh_points(box, mesh(evidence.field), key)
    else:
        points, where = sampled.cloud.held, "points of the cloud that were kept back"  # pyright: ignore
    worst, name = 0.0, ""
    for k in equations:
        own = evidence.samples[k]
        zero = np.zeros_like(points)
        fresh = _rms(residuals(k, evidence.field, points, zero))
        # zero solves a homogeneous equation, so the untrained field alone does not tell what size a residual can have
        untrained = max(_rms(residuals(k, f, points, zero)) for f in (evidence.untrained, evidence.coarsest))
        weight = own.weights / own.weights.sum()
        trained_values = residuals(k, evidence.field, own.points, own.normals)
        trained = float(np.sqrt(weight @ np.sum(trained_values**2, axis=1) / max(1, trained_values.shape[1])))
        ratio = fresh / max(trained, 1e-6 * untrained, 1e-300) if fresh > 0 else 0.0
        if not np.isfinite(fresh):
            ratio = np.inf
        if ratio >= worst:
            worst, name = ratio, sampled.terms[k].name
    return Guard(
        worst,
        limit,
        bool(worst <= limit),
        f"The residual of {name!r} at {where} is {worst:.3g} times that at the training points (limit {limit:g}).",
    )


def _boundary(
    sampled: SampledProblem, residuals: Residuals, evidence: Evidence, conditions: Sequence[int], key: Key, limit: float
) -> Guard:
    worst, name = 0.0, ""
    for k in conditions:
        samples = evidence.samples[k]
        values = residuals(k, evidence.field, *_fresh_boundary(samples, sampled.problem, key))
        misfit = _rms(values) / max(evidence.size, 1e-300)
        misfit = misfit if np.isfinite(misfit) else np.inf
        if misfit >= worst:
            worst, name = misfit, sampled.terms[k].name
    return Guard(
        worst,
        limit,
        bool(worst <= limit),
        f"The condition {name!r} is missed by {worst:.3g} of the size of the solution (limit {limit:g}).",
    )


def _fresh_boundary(samples: Samples, problem: Problem, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Points between the training points of each face: convex combinations of pairs with the same normal."""
    if problem.domain.dim == 1 or not isinstance(problem.domain, Box):
        return samples.points, samples.normals
    rng = np.random.default_rng(seed_of(key, 2))
    points, normals = samples.points, samples.normals
    order = np.lexsort(normals.T)
    groups = np.split(order, np.flatnonzero(np.any(np.diff(normals[order], axis=0) != 0, axis=1)) + 1)
    mixed, kept = [], []
    for group in groups:
        partner, share = rng.permutation(group), rng.random((len(group), 1))
        mixed.append(share * points[group] + (1 - share) * points[partner])
        kept.append(normals[group])
    return np.concatenate(mixed), np.concatenate(kept)


def _levels(evidence: Evidence, limits: Limits) -> dict[str, Guard]:
    changes, guards = list(evidence.changes), {}
    if evidence.only:
        sentence = (
            "Only the first level was trained within the budget: nothing shows how well it resolves the solution."
        )
        return {"resolution": Guard(None, limits.resolution, False, sentence)}
    noise = evidence.misfit[1] if evidence.misfit is not None else 0.0
    if len(changes) >= 2 and changes[-1] > max(1e-6, WITHIN * noise):
        # a level that is finer along one axis alone may change less than the next one, along another
        large = changes[-1] > SMALL_CHANGE
        before = changes[-2] if large else max(changes[-3:-1])
        ratio = changes[-1] / max(before, 1e-300)
        guards["levels"] = Guard(
            ratio,
            limits.levels,
            bool(ratio <= limits.levels),
            f"The last refinement changed the solution {ratio:.3g} times as much as "
            f"{'the one before' if large else 'the larger of the two before'} (limit {limits.levels:g}).",
        )
    elif changes:
        guards["levels"] = Guard(
            None, limits.levels, True, f"The last refinement changed the solution by {changes[-1]:.2g} of its size."
        )
    if changes:
        guards["resolution"] = Guard(
            changes[-1],
            limits.resolution,
            bool(changes[-1] <= limits.resolution),
            f"The last refinement changed the solution by {changes[-1]:.2g} of its size (limit {limits.resolution:g}).",
        )
    return guards


def _equation(evidence: Evidence, limit: float) -> dict[str, Guard]:
    """A consistent equation is satisfied ever better on finer levels; one without a smooth solution is not.

    Where refinement no longer changes the solution the residual may be as small as it gets, and then it is tiny beside
    that of the untrained field. If it is not, training has settled at a minimum that is no solution.
    """
    if not evidence.changes:
        return {}
    last = max(evidence.losses[-1], 0.0)
    ratio = float(np.sqrt(last / max(evidence.losses[0], 1e-300)))
    how = "while refinement still changes the solution"
    if evidence.changes[-1] < 1e-6:
        share = float(np.sqrt(last / max(evidence.start, 1e-300)))
        if share < SETTLED:
            return {}
        how = f"{share:.2g} times that of the untrained field, and refinement no longer changes the solution"
    sentence = f"The residual of the last level is {ratio:.3g} times that of the first (limit {limit:g}), {how}."
    return {"equation": Guard(ratio, limit, bool(ratio <= limit), sentence)}


def _single(
    sampled: SampledProblem, residuals: Residuals, evidence: Evidence, equations: Sequence[int], limit: float
) -> dict[str, Guard]:
    """One level has no coarser one to be compared with: its equations have to hold better than before any training.

    A network that met the conditions at the cost of the equations, or fell to a state that leaves them as they were,
    has a small loss beside that of the untrained one, whose conditions weigh most.
    """
    if evidence.changes or evidence.only:
        return {}
    ratio = 0.0
    for k in equations:
        points, normals = evidence.samples[k].points, evidence.samples[k].normals
        before = _rms(residuals(k, evidence.untrained, points, normals))
        # nothing is said by a field that solves a homogeneous equation before any training
        ratio = max(ratio, _rms(residuals(k, evidence.field, points, normals)) / before if before > 0 else 0.0)
    sentence = f"The residual of the only level is {ratio:.3g} times that of the untrained field (limit {limit:g})."
    return {"equation": Guard(ratio, limit, bool(ratio <= limit), sentence)}


def _regularity(evidence: Evidence, limit: float) -> dict[str, Guard]:
    """The residual of a smooth solution falls with a power of the mesh width that grows with the degree.

    At a kink it stays what it is, on cells that become smaller: in the mean square it falls with the power 1/2.
    Solutions with kinks are many where `|grad u| = 1` is to hold almost everywhere, and at most one is meant.
    """
    widths, losses = evidence.widths[-4:], np.maximum(evidence.losses[-4:], 1e-300)
    if len(widths) < 3 or losses[-1] < 1e-6 * losses[0] or losses[-1] < 1e-12 * evidence.start:
        return {}
    finer = float(np.max(widths[0] / widths[-1]))
    if finer < 2.0:
        return {}
    order = float(np.log(losses[0] / losses[-1]) / (2.0 * np.log(finer)))
    sentence = (
        f"The residual falls like the mesh width to the power {order:.2g} (limit {limit:g}); where the solution has a "
        "kink it does not vanish, and such solutions are many."
    )
    return {"regularity": Guard(order, limit, bool(order >= limit), sentence)}


def _validation(errors: Sequence[float], returned: float, limit: float) -> Guard:
    ratio = returned / max(min(errors), 1e-300)
    return Guard(
        ratio,
        limit,
        bool(ratio <= limit),
        f"The validation error of the returned level is {ratio:.3g} times the best level's (limit {limit:g}).",
    )


def _data(misfit: float, noise: float, limit: float) -> Guard:
    """What does not fit the data leaves a misfit far above the noise: equations, an untrue minimum, a coarse field."""
    ratio = misfit / max(noise, EXPLAINED)
    sentence = f"The misfit at the data is {misfit:.3g} of their spread, {ratio:.3g} times their noise"
    return Guard(ratio, limit, bool(ratio <= limit), f"{sentence} (limit {limit:g}).")
