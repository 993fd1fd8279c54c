"""From a problem and a field to an objective: where the points lie and how the terms are weighed against each other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hierax.fields.base import crowd, mesh, parameter_count
from hierax.geometry import AbstractShape, Part
from hierax.geometry.body import interior_rule, surface_rule
from hierax.geometry.cut_cells import Quadrature
from hierax.objective.cloud import Cloud
from hierax.objective.data_rows import measured
from hierax.objective.local_means import Measurements
from hierax.objective.pointwise import AbstractPointTerm, point_term
from hierax.objective.samples import Samples, make_samples
from hierax.problems.domain import Box, Domain, Face, Interface
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.sampling import (
    AbstractSampler,
    Batch,
    Gauss,
    Sobol,
    on_face,
    scattered,
    thinned,
    uniform_cells,
    without,
)
from hierax.problems.terms import AbstractValues, Data, Energy, Residual, Term

WEAKER = 0.1
"""Quantile of the ratios of curvatures that stands for the weaker of two parts."""
CROWD = 2
"""Points of a cloud that a cell uses along an axis for each Gauss point that it would have: they lie less well."""


@dataclass(frozen=True)
class Sampling:
    """How densely terms are sampled.

    Parameters
    ----------
    inside, energy, boundary:
        Gauss points an axis and cell for residuals, energies, and anything on a face.
    ratio:
        Points for each parameter, for fields that are not linear in them: with more the steps of a second-order solver
        cost more, with fewer than two the field can satisfy the equations at the points alone.
    least:
        Fewest random points of a term.
    scattered:
        How points of residuals are spread over a box where they do not follow cells.
    """

    inside: int = 3
    energy: int = 5
    boundary: int = 5
    ratio: float = 2.5
    least: int = 1000
    scattered: Callable[[Box], AbstractSampler] = Sobol


class SampledProblem:
    """The pointwise terms of a problem, made once so that compiled kernels are found again on every level.

    Parameters
    ----------
    problem:
        What is to be learned.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.terms: tuple[Term, ...] = problem.terms
        self.point_terms: tuple[AbstractPointTerm, ...] = tuple(point_term(problem, t) for t in self.terms)
        self.cloud = Cloud.of(problem)

    def sample(
        self, field: Any, settings: Sampling, key: Key, data: Mapping[str, Measurements] | None = None
    ) -> list[Samples]:
        """Samples of every term for a level's field.

        `data` are what is seen of the data terms, by name; all of it by default.

        Inside a box and on its faces Gauss points follow the field's cells, inside a shape and on its boundary the
        parts of these cells; without cells Sobol points are used, their number growing with the parameters. In a point
        cloud the Gauss points are those in its region; energies are summed with its own points and weights. Boundaries
        of clouds and data come with their points.
        """
        cells = mesh(field)
        count = max(settings.least, int(settings.ratio * parameter_count(field)))
        a_cell = 0.0 if cells is None else settings.ratio * crowd(field, int(np.prod([len(b) - 1 for b in cells])))
        if cells is not None and a_cell > 0:
            least = int(np.ceil(a_cell ** (1 / len(cells))))
            settings = replace(settings, inside=max(settings.inside, least), energy=max(settings.energy, least))
        keys = [seed_of(key, k) for k in range(len(self.terms))]
        out = []
        for term, point, k in zip(self.terms, self.point_terms, keys, strict=True):
            if isinstance(term, AbstractValues):
                if not isinstance(term, Data):
                    seen = Measurements.equal(term.points, term.targets)
                else:
                    seen = measured(term) if data is None else data[term.name]
                out.append(make_samples(point, seen.points, seen.weights, None, seen.values))
            else:
                spread = Sobol if isinstance(term, Energy) else settings.scattered
                out.append(self.samples_of(term, point, self._density(term, settings), count, cells, k, spread))
        return out

    def at(self, number: int, points: np.ndarray, normals: np.ndarray | None = None) -> Samples:
        """Samples of a term, by its number, at any points, which weigh one."""
        return make_samples(self.point_terms[number], points, np.ones(len(points)), normals)

    def _density(self, term: Term, settings: Sampling) -> int:
        if self.problem.places(term) != (None,):
            return settings.boundary
        return settings.energy if isinstance(term, Energy) else settings.inside

    def samples_of(
        self,
        term: Term,
        point: AbstractPointTerm,
        order: int,
        count: int,
        cells: tuple[np.ndarray, ...] | None,
        key: Key,
        spread: Callable[[Box], AbstractSampler] = Sobol,
    ) -> Samples:
        """Samples of one equation, energy or condition."""
        domain, regions = self.problem.domain, self.problem.regions
        region = self.cloud.region if self.cloud is not None and isinstance(term, Residual) else None
        if region is not None and cells is not None and is_equation(term, self.problem):
            batches = [region.sample(order, cells)]
        elif regions is not None and cells is not None and is_equation(term, self.problem):
            batches = [_batch_of(regions.interior(cells, order))]
        else:
            batches = [self._batch(place, order, count, cells, key, spread) for place in self.problem.places(term)]
        points = np.concatenate([b.points for b in batches])
        # faces across different coordinates have areas in different units: a condition is a mean over each of them
        means = isinstance(domain, Box) and isinstance(term, Residual) and not is_equation(term, self.problem)
        weights = np.concatenate([b.weights / b.weights.sum() if means else b.weights for b in batches])
        normals = [b.normals for b in batches if b.normals is not None]
        if not isinstance(domain, Box) and self.problem.places(term) == (None,):
            normals = []
        return make_samples(point, points, weights, np.concatenate(normals) if normals else None)

    def _batch(
        self,
        place: Face | Interface | Part | str | None,
        order: int,
        count: int,
        cells: tuple[np.ndarray, ...] | None,
        key: Key,
        spread: Callable[[Box], AbstractSampler],
    ) -> Batch:
        domain, regions = self.problem.domain, self.problem.regions
        if isinstance(place, Interface) and place.shape is not None:
            assert regions is not None
            return _batch_of(regions.wall(place.shape, cells or _uniform(domain, order, count), order))
        if isinstance(domain, Box):
            if place is None:
                sampler: AbstractSampler = Gauss(order) if cells is not None else spread(domain)
                return sampler.sample(key, 0, count, cells)
            assert isinstance(place, Face | Interface)
            if cells is not None or domain.dim == 1:
                inner: AbstractSampler = Gauss(order)
            else:
                inner = spread(without(domain, domain.axis(place.name)))
            faces = max(1, len(domain.faces()))
            return on_face(domain, place, inner, key, max(64, count // (2 * faces)), cells)
        if isinstance(domain, AbstractShape):
            return _of_shape(domain, place, order, count, cells, key)  # pyright: ignore
        part = self.cloud if place is None else domain.boundaries[place]  # pyright: ignore
        assert part is not None
        assert part.weights is not None
        normals = None if place is None else part.normals  # pyright: ignore
        batch = Batch(part.points, part.weights, np.arange(len(part.points)), normals)
        parts = CROWD * order
        most = parts ** (domain.dim if place is None else domain.dim - 1)
        return batch if cells is None else thinned(batch, cells, parts, most)


class MemberTerms(SampledProblem):
    """The terms of one member of a family, by kernels that all members share.

    Parameters
    ----------
    problem:
        A member in the units of the plan; domain, places and prescribed values of all others are the same.
    terms:
        The shared terms, functions of a point and of `Place.inputs`.
    inputs:
        Numbers `(k,)` that tell the member.
    """

    def __init__(self, problem: Problem, terms: tuple[AbstractPointTerm, ...], inputs: np.ndarray) -> None:
        super().__init__(problem)
        self.point_terms, self.inputs = terms, inputs

    def of(self, inputs: np.ndarray) -> MemberTerms:
        """Those of another member."""
        other = copy.copy(self)
        other.inputs = inputs
        return other

    def sample(self, *arguments: Any, **settings: Any) -> list[Samples]:
        return [one.of_member(self.inputs) for one in super().sample(*arguments, **settings)]

    def at(self, number: int, points: np.ndarray, normals: np.ndarray | None = None) -> Samples:
        return super().at(number, points, normals).of_member(self.inputs)


def _of_shape(
    shape: AbstractShape, place: Part | None, order: int, count: int, cells: tuple[np.ndarray, ...] | None, key: Key
) -> Batch:
    """Points inside of a shape, or on a part of its boundary."""
    if place is None and cells is None:
        return scattered(shape, key, count)
    cells = cells or _uniform(shape, order, count)
    return _batch_of(interior_rule(shape, cells, order) if place is None else surface_rule(shape, place, cells, order))


def _uniform(domain: Domain, order: int, count: int) -> tuple[np.ndarray, ...]:
    """Cells that give a boundary about a quarter of so many points, for fields that have none."""
    walls = max(domain.dim - 1, 1)
    lines = max(4, int((max(64, count // 4) / (4 * order**walls)) ** (1 / walls)))
    return tuple(uniform_cells(Box(*domain.bounds()), [lines] * domain.dim))


def _batch_of(rule: Quadrature) -> Batch:
    return Batch(rule.points, rule.weights, np.arange(len(rule.points)), rule.normals)


def is_equation(term: Term, problem: Problem) -> bool:
    """Whether a term is an equation or energy inside the domain, as opposed to boundary conditions and data."""
    return isinstance(term, Residual | Energy) and problem.places(term) == (None,)


def balance(
    diagonals: np.ndarray, equations: np.ndarray, factor: np.ndarray, between: np.ndarray | None = None
) -> np.ndarray:
    """Scales that let conditions count as much as the equations where both act.

    On a parameter that a condition touches, a strong-form equation of order `m` weighs `h^(-2m)` times more:
    unbalanced,
    the condition is ignored on fine levels. The scale is the median ratio of the two curvature diagonals over the
    parameters that the condition touches most, so it follows the order of the equation, its coefficients and the mesh.

    Parameters
    ----------
    diagonals:
        `(terms, N)` curvature diagonals of the unscaled terms.
    equations:
        `(terms,)`, true for equations inside the domain.
    factor:
        `(terms,)` further factor of each condition.
    between:
        `(terms,)`, true for conditions between two parts of the domain: what is weaker there counts, and not the
        median, so that with any contrast of coefficients the weaker part can follow the stronger one.
    """
    scales = np.ones(len(diagonals))
    total = diagonals[equations].sum(axis=0)
    if not np.any(total > 0):
        return scales
    for row in np.flatnonzero(~equations):
        own = diagonals[row]
        touched = (own > 0.05 * own.max(initial=0.0)) & (total > 0)
        if touched.any():
            share = 0.5 if between is None or not between[row] else WEAKER
            scales[row] = factor[row] * float(np.quantile(total[touched] / own[touched], share))
    return scales
