"""Are the boundary and start conditions met?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from scipy.spatial import KDTree

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard
from hierax.fields.two_sided import upper_side
from hierax.geometry import AbstractShape
from hierax.geometry.body import surface_rule
from hierax.objective.samples import Samples, make_samples
from hierax.problems.domain import Box, Interface
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.sampling import points_in, uniform_cells
from hierax.problems.terms import Values

INSIDE = 256
"""Fewest points inside the domain at which the size of a condition is looked at."""
NEIGHBOURS = 6
"""Training points nearest to one, with one of which it is mixed."""
LINES = {1: 2, 2: 53, 3: 11}
"""Cells along an axis of the mesh on which points of the boundary of a shape are spread."""
ROUNDING = 1e-10
"""Prescribed values below this part of the largest component are rounding."""


@final
@dataclass(frozen=True)
class Boundary(AbstractGuard):
    """Misfit of the conditions, between their training points, over the size of the condition in its own units.

    It is the root of the mean over each face, not over points, most of which may lie in next to no part of it: beside
    a jump of what is prescribed, which no continuous field meets.

    That size is the largest of what the condition prescribes, which is its value for fields that are zero, of what it
    takes from the solution at points inside the domain, where its value differs from that for zero by as much (of
    `u = g` the size of `u`, also where `g` vanishes; of a stress the size of stresses), and of what it feels where all
    parameters change by a part of 1e-8: a stress that is zero everywhere since two others cancel has no other size.
    On an interface the solution counts on one side alone for this: of a flux its size is that of the flux.
    """

    limit: float = 1e-2
    name: ClassVar[str] = "boundary"
    result: ClassVar[RESULTS] = RESULTS.guard_boundary

    def judge(self, evidence: Evidence) -> Guard | None:
        if not evidence.conditions:
            return None
        worst, number = max((_misfit(evidence, k), k) for k in evidence.conditions)
        name = evidence.sampled.terms[number].name
        sentence = f"The condition {name!r} is missed by {worst:.3g} of its own size (limit {self.limit:g})."
        return Guard(worst, self.limit, bool(worst <= self.limit), sentence)


def _misfit(evidence: Evidence, term: int) -> float:
    """Largest misfit of any component of a condition over the size of that component."""
    if isinstance(evidence.sampled.terms[term], Values):
        return _missed_values(evidence, term)
    points, normals, weights = elsewhere(evidence, term)
    missed = _columns(evidence.residuals(term, evidence.field, points, normals), weights)
    if not np.all(np.isfinite(missed)):
        return np.inf
    asked = _columns(evidence.residuals(term, evidence.nothing, points, normals), weights)
    inside = _columns(_free(evidence, term, points, normals))
    shaken = _columns(
        evidence.residuals(term, evidence.shaken, points, normals)
        - evidence.residuals(term, evidence.field, points, normals),
        weights,
    )
    size = np.max([np.where(np.isfinite(own), own, 0.0) for own in (asked, inside, shaken)], axis=0)
    return float(np.max(missed / np.maximum(size, 1e-300)))


def _free(evidence: Evidence, term: int, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """What a condition takes from the solution where it is not imposed."""
    inner = _inside(evidence.problem, max(INSIDE, len(points)), evidence.key)
    every, fields = (inner, normals[np.arange(len(inner)) % len(normals)]), (evidence.field, evidence.nothing)
    if evidence.samples[term].term.cut is not None:
        every = np.concatenate([points, every[0]]), np.concatenate([normals, every[1]])
        fields = tuple(map(upper_side, fields))
    there, zero = (evidence.residuals(term, field, *every) for field in fields)
    return there - zero


def _missed_values(evidence: Evidence, term: int) -> float:
    """Largest misfit of prescribed values, at their own points, over the size of the unknown in the domain."""
    own = evidence.samples[term]
    missed = _columns(evidence.misses(evidence.field, own))
    inner = _inside(evidence.problem, INSIDE, evidence.key)
    free = make_samples(own.term, inner, np.ones(len(inner)), None, np.zeros((len(inner), own.targets.shape[1])))
    free = free.of_member(own.inputs)
    size = np.maximum(_columns(own.targets), _columns(evidence.misses(evidence.field, free)))
    worst = float(np.max(missed / np.maximum(size, max(ROUNDING * size.max(), 1e-300))))
    return worst if np.isfinite(worst) else np.inf


def _columns(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Root of the mean square of every component, with weights."""
    return np.sqrt(np.average(values**2, axis=0, weights=weights))


def _inside(problem: Problem, count: int, key: Key) -> np.ndarray:
    return points_in(problem.domain, seed_of(key, 3), count)


def elsewhere(evidence: Evidence, term: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points where a condition holds that training has not used, with normals and weights of a mean over them."""
    problem = evidence.problem
    places, domain = problem.places(evidence.sampled.terms[term]), problem.domain
    shape = places[0].shape if isinstance(places[0], Interface) else None
    if not isinstance(domain, AbstractShape) and shape is None:
        return between(evidence.samples[term], problem, evidence.key)
    cells = uniform_cells(Box(*domain.bounds()), [LINES[domain.dim]] * domain.dim)
    if shape is not None:
        rules = [problem.regions.wall(shape, cells, 2)]  # pyright: ignore
    else:
        rules = [surface_rule(domain, place, cells, 2) for place in places]  # pyright: ignore
    points, weights, normals = (np.concatenate(part) for part in zip(*rules, strict=True))  # pyright: ignore
    return points, normals, weights


def between(samples: Samples, problem: Problem, key: Key) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points between the training points of each face: convex combinations of neighbours with the same normal.

    Each stands for the mean of what its two training points stand for, and every face for as much as it has points.
    """
    if problem.domain.dim == 1 or not isinstance(problem.domain, Box):
        return samples.points, samples.normals, np.ones(samples.count)
    rng = np.random.default_rng(seed_of(key, 2))
    points, normals = samples.points, samples.normals
    order = np.lexsort(normals.T)
    groups = np.split(order, np.flatnonzero(np.any(np.diff(normals[order], axis=0) != 0, axis=1)) + 1)
    mixed, kept, weights = [], [], []
    for group in groups:
        near = np.asarray(KDTree(points[group]).query(points[group], k=min(NEIGHBOURS + 1, len(group)))[1])
        near = near.reshape(len(group), -1)
        partner = group[near[np.arange(len(group)), rng.integers(near.shape[1], size=len(group))]]
        share = rng.random((len(group), 1))
        mixed.append(share * points[group] + (1 - share) * points[partner])
        kept.append(normals[group])
        own = samples.weights[group] + samples.weights[partner]
        weights.append(own / np.mean(own))
    return np.concatenate(mixed), np.concatenate(kept), np.concatenate(weights)
