"""Do finer levels satisfy each of the equations better?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.checks.limits import SETTLED, UNCHANGED
from hierax.events import Guard
from hierax.fields import SplineGrid, Unknowns, partition
from hierax.fields.spline_grid import with_coefficients
from hierax.objective.samples import Samples

TOLD = 1e-3
"""Least size of the parts of an equation, over what smooth waves of the sizes of the unknowns make of it, which is one
in the problem's own units: an equation such as `ds/dx = 0` of what does not depend on `x` has no larger one."""
NEARLY_ALL, FEW, TINY, WIDE = 0.99, 0.01, 1e-4, 0.1
"""Part of the square of a residual that a singularity keeps in so small a part of the points, and of the volume; where
it takes more of the volume than the last of these the residual is not that of a few cells."""
MANY, ENOUGH = 262_144, 16_384
"""Points at which it is told what an equation leaves, and the size of its parts."""


@final
@dataclass(frozen=True)
class Equation(AbstractGuard):
    """Residual of the last level over that of the first, or of the only level over that of the untrained field.

    A consistent equation is satisfied ever better on finer levels; one without a smooth solution is not. Where
    refinement no longer changes the solution the residual may be as small as it gets, and then it is tiny beside that
    of the untrained field, and beside its own parts. If it is not, and refinement leaves it, training has settled at
    a minimum that is no solution; except where all of it is in a few cells of next to no volume, as beside the jump
    of a condition, where the derivatives of the solution are not bounded. Where refinement still moves the solution a
    little, but leaves a large residual all over the domain, its limit is no solution either. Nor is the first level
    any measure where of the size of its parts an equation leaves next to nothing: its solution may have been of
    another size. An equation that was solved in the weak sense, as that of a minimum, need not hold at points.

    Where there are several equations, or data beside them, each is also judged against itself, row by row: over the
    size of its parts, which is the largest of what it leaves without training, on the first level, for zero, where
    one of the unknowns is zero, and where one does not change along one of the coordinates. The sum of all says nothing
    of an equation that weighs little in it.
    """

    limit: float = 0.3
    single: float = 0.1
    """The limit of one level; several, which show more, may leave a larger part."""
    kept: float = 0.8
    """Part of a residual that is not tiny which two refinements without a change of the solution may leave."""
    name: ClassVar[str] = "equation"
    result: ClassVar[RESULTS] = RESULTS.guard_levels

    def judge(self, evidence: Evidence) -> Guard | None:
        if not evidence.equations or evidence.measured or evidence.weak:
            return None
        if evidence.changes:
            return self._levels(evidence)
        return None if evidence.cut_short else self._single(evidence)

    def judge_each(self, evidence: Evidence) -> Mapping[str, Guard]:
        """The judgement of all, and one for each of several, or of one that data may outweigh."""
        found = dict(super().judge_each(evidence))
        alone = len(evidence.equations) < 2 and not evidence.measured
        if alone or evidence.weak or (evidence.cut_short and not evidence.changes):
            return found
        limit = self.limit if evidence.changes else min(self.single, self.limit)
        for number in evidence.equations:
            share, name = _of_its_parts(evidence, number), evidence.sampled.terms[number].name
            sentence = f"Of the size of its parts the equation {name!r} leaves {share:.3g} (limit {limit:g})."
            found[f"{self.name}:{name}"] = Guard(share, limit, bool(share <= limit), sentence)
        return found

    def _levels(self, evidence: Evidence) -> Guard | None:
        last = max(evidence.losses[-1], 0.0)
        ratio = float(np.sqrt(last / max(evidence.losses[0], 1e-300)))
        if ratio > self.limit:
            # points of the first level may have missed a narrow source, and its loss says nothing then
            ratio = min(ratio, max(_on_same_points(evidence, k) for k in evidence.equations))
        if ratio > self.limit and max(_of_its_parts(evidence, k) for k in evidence.equations) < SETTLED:
            return None  # the first level had next to nothing of a solution that grows, or solved it as well
        how = "while refinement still changes the solution"
        if evidence.changes[-1] < UNCHANGED:
            share, what = float(np.sqrt(last / max(evidence.untrained_loss, 1e-300))), "that of the untrained field"
            if share < SETTLED and any(_flattened(evidence.field)):
                # conditions that weigh much, and are missed before training, hide what an equation leaves
                share, what = max(_of_its_parts(evidence, k) for k in evidence.equations), "the size of its parts"
            if share < SETTLED or _is_singular(evidence):
                return None
            how = f"{share:.2g} times {what}, and refinement no longer changes the solution"
            left, stays = how, True
        else:
            # what finer levels leave, as the change of the solution that would make as much
            violation = min(evidence.flatness.violations[-1], 1.0) if evidence.flatness is not None else 1.0
            change = float(np.sqrt(last)) / max(violation, TOLD)
            left = f"over much of the domain, as much as a change of the solution by {change:.2g} of its size makes"
            stays = change > self.single and _is_wide(evidence)
        kept = float(np.sqrt(last / max(evidence.losses[-3:][0], 1e-300)))
        if ratio <= self.limit and kept > self.kept and stays:
            sentence = f"The last refinements left {kept:.3g} of the residual (limit {self.kept:g}), {left}."
            return Guard(kept, self.kept, False, sentence)
        sentence = (
            f"The residual of the last level is {ratio:.3g} times that of the first (limit {self.limit:g}), {how}."
        )
        return Guard(ratio, self.limit, bool(ratio <= self.limit), sentence)

    def _single(self, evidence: Evidence) -> Guard:
        """One level has no coarser one to be compared with: its equations have to hold better than before training.

        A network that met the conditions at the cost of the equations, or fell to a state that leaves them as they
        were, has a small loss beside that of the untrained one, whose conditions weigh most.
        """
        limit, ratio = min(self.single, self.limit), 0.0
        for k in evidence.equations:
            own = evidence.samples[k]
            before = evidence.rms(k, evidence.untrained, own.points, own.normals)
            after = evidence.rms(k, evidence.field, own.points, own.normals)
            # nothing is said by a field that solves a homogeneous equation before any training
            ratio = max(ratio, after / before if before > 0 else 0.0)
        sentence = f"The residual of the only level is {ratio:.3g} times that of the untrained field (limit {limit:g})."
        return Guard(ratio, limit, bool(ratio <= limit), sentence)


def _is_singular(evidence: Evidence) -> bool:
    """Whether nearly all of the residual of every equation is in a tiny part of the points and of the volume."""
    held = [_held(evidence, k) for k in evidence.equations]
    return all(points <= FEW and volume <= TINY for points, volume in held)


def _is_wide(evidence: Evidence) -> bool:
    """Whether the residuals of all equations are spread over the domain, where no finer level takes them away.

    Least squares end there where the solution has no square-integrable second derivatives, as between a prescribed
    value and a prescribed flux on a smooth boundary: the limit of refinement is then another function.
    """
    return all(_held(evidence, k)[1] > WIDE for k in evidence.equations)


def _held(evidence: Evidence, term: int) -> tuple[float, float]:
    """The least parts of the points and of the volume that hold nearly all of the square of the residual."""
    own = evidence.samples[term]
    squares = own.weights * np.sum(evidence.left(term) ** 2, axis=1)
    order = np.argsort(-squares)
    most = 1 + int(np.searchsorted(np.cumsum(squares[order]), NEARLY_ALL * squares.sum()))
    return most / len(squares), float(own.weights[order[:most]].sum() / own.weights.sum())


def _on_same_points(evidence: Evidence, term: int) -> float:
    """Residual of the returned level over that of the first one, both at the points of the returned one."""
    own = evidence.samples[term]
    after = float(own.weights @ np.sum(evidence.left(term) ** 2, axis=1))
    before = float(np.sum(_squares(evidence, term, own, evidence.coarsest)))
    return float(np.sqrt(after / before)) if before > 0 else np.inf


def _of_its_parts(evidence: Evidence, term: int) -> float:
    """The largest part of its own size that any row of an equation leaves."""
    field = evidence.field
    left = _squares(evidence, term, _some(evidence.samples[term], MANY), field)
    if not np.all(np.isfinite(left)):
        return np.inf
    others = (evidence.untrained, evidence.coarsest, evidence.nothing, *_without_one(field), *_flattened(field))
    some = _some(evidence.samples[term], ENOUGH)
    sizes = [_squares(evidence, term, some, other) for other in others]
    now, shaken = (evidence.residuals(term, f, some.points, some.normals) for f in (field, evidence.shaken))
    sizes.append(some.weights @ (shaken - now) ** 2)
    size = np.max([np.where(np.isfinite(own), own, 0.0) for own in sizes], axis=0)
    return float(np.sqrt(np.max(left / np.maximum(size, TOLD**2))))


def _some(samples: Samples, count: int) -> Samples:
    """So many of more samples, which stand for all."""
    if samples.count <= count:
        return samples
    some = samples.take(np.sort(np.random.default_rng(0).choice(samples.count, count, replace=False)))
    return some.weighted(some.weights * (samples.weights.sum() / some.weights.sum()))


def _squares(evidence: Evidence, term: int, samples: Samples, field: Any) -> np.ndarray:
    """Integral of the square of every row of an equation, at some of the points of the returned level."""
    return samples.weights @ evidence.residuals(term, field, samples.points, samples.normals) ** 2


def _without_one(field: Any) -> list[Any]:
    """The field with one of its unknowns zero, for each of several."""
    return [] if not isinstance(field, Unknowns) else [_zeroed(field, name) for name in field.parts]


def _flattened(field: Any) -> Iterator[Any]:
    """The field with one of its grids constant along one axis, as it is where it is largest on that."""
    for name, part in field.parts.items() if isinstance(field, Unknowns) else [("", field)]:
        for axis in range(len(part.axes)) if isinstance(part, SplineGrid) else ():
            slices = np.moveaxis(np.asarray(part.coefficients), axis, 0)
            largest = slices[np.argmax(np.sum(slices.reshape(len(slices), -1) ** 2, axis=1))]
            flat = with_coefficients(part, np.moveaxis(np.broadcast_to(largest, slices.shape), 0, axis))
            yield Unknowns(**field.parts | {name: flat}) if name else flat


def _zeroed(field: Unknowns, name: str) -> Unknowns:
    params, rest = partition(field.parts[name])
    return Unknowns(**field.parts | {name: eqx.combine(jax.tree.map(jnp.zeros_like, params), rest)})
