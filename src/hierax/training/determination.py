"""Whether the terms determine the solution: flat directions of the coarse levels of a training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hierax.checks.limits import EXACTLY_FLAT, STAYS
from hierax.fields import linear_in_parameters, parameter_count
from hierax.fields.base import has_fixed_cells
from hierax.hierarchy import IntervalDoubling, Level
from hierax.hierarchy.refinement import spline_axes
from hierax.objective.flat_polynomials import degrees, flattest_polynomials
from hierax.objective.flat_product import flattest_product
from hierax.objective.flatness import LARGEST, Direction, Flatness, flattest
from hierax.objective.jet_rows import is_low_rank
from hierax.objective.jets import seen_by_jets
from hierax.objective.samples import Samples, make_samples
from hierax.objective.separation import Separation
from hierax.problems.keys import seed_of
from hierax.problems.terms import AbstractValues
from hierax.training.discrete import DiscreteProblem
from hierax.training.slab_grids import on_slabs, slabs_of
from hierax.training.state import Visited
from hierax.training.time_slabs import TimeSlabs

NEAR = 0.3
"""Relative difference from the returned field up to which a level of nonlinear terms is asked."""
PACE, NEARLY, SETTLED = 0.5, 0.02, 0.7
"""Factor by which the violations of polynomials fall from degree to degree, and least of them, that foretell more; and
factor above which they have settled."""
HIGH = 5
"""Total degree of polynomials below which products, where terms separate, tell more."""
SLABS = 2
"""Sweeps over time slabs that are asked where no grid over the whole time comes near the solution."""
SMOOTH = 0.5
"""Share of waves across the domain in a change that values at points have to fix."""

Asked = tuple[Any, Sequence[Samples], Samples]
"""A grid, the samples of all terms on it, and those of an equation, or others all over it."""


def flatness(discrete: DiscreteProblem, visited: Mapping[int, Visited], trained: Any) -> Flatness | None:
    """The flattest directions of grids that are not too large; `None` without such grids, and where data of the
    unknowns are all there is.

    Those are the coarse levels, and grids with half their intervals up to `LARGEST` parameters: a direction that is
    free violates the terms on each by the error of its approximation, which falls until it is exact, whereas that of
    a coefficient that varies fast or of an interface between phases ends at its own; and many waves are seen on fine
    grids alone. With values at points the coarsest level is asked alone, and for smooth changes: between the points
    there is room for others, but for equations along one coordinate. Nonlinear terms are asked where the level was
    already near the field that is returned, `trained`: elsewhere they are other terms. Of a field on time slabs each
    slab is asked, where no grid over the whole time is near: all of a solution that grows is determined where each of
    its parts is by what was before, though by least squares over the whole time it may be lost to rounding.
    """
    separation = discrete.plan.separation
    if separation is not None and degrees(discrete.problem)[-1] < HIGH:
        return _of_products(discrete, separation, visited)
    if is_low_rank(trained):
        return by_polynomials(discrete, trained)
    fields = [visited[k].field for k in sorted(visited) if suits(visited[k].field)]
    if not discrete.plan.linear or on_slabs(trained):
        fields = [field for field in fields if discrete.change(trained, field) < NEAR]
    if not (discrete.equations.any() or _observed(discrete)) or not discrete.plan.local:
        return None
    if not fields:
        sweeps = [visited[k].field for k in sorted(visited) if on_slabs(visited[k].field)]
        small = [field for field in sweeps if parameter_count(field) <= LARGEST]
        return _flattest(discrete, [list(_slabs(discrete, field)) for field in small[:SLABS]])
    pointwise = _between_points(discrete)
    grids = fields[:1] if pointwise else itertools.chain(fields, _halved(fields[-1]))
    asked = ((field, discrete.samples(field, everything=True)) for field in grids)
    return _flattest(discrete, ([(field, own, _inside(discrete, own))] for field, own in asked), pointwise)


def _flattest(discrete: DiscreteProblem, levels: Iterable[Sequence[Asked]], pointwise: bool = False) -> Flatness | None:
    """What the flattest directions of some levels show, each of one grid or of several."""
    found: list[float] = []
    directions: list[Direction] = []
    points = np.zeros((0, 0))
    for level in levels:
        flat, points = [], np.zeros((0, 0))
        for field, samples, inside in level:
            try:
                own = flattest(
                    discrete.problem, field, samples, inside, discrete.periodic, _rough(discrete), discrete.plan.linear
                )
            except (np.linalg.LinAlgError, ValueError):
                return None  # a matrix that is not finite, of a training that failed: another result says so
            if own and (not flat or own[0].violation < flat[0].violation):
                flat, points = own, inside.points
        if not flat:
            break
        directions = [d for d in flat if d.smooth > SMOOTH] or flat[-1:] if pointwise else flat
        found.append(directions[0].violation)
        if found[-1] < EXACTLY_FLAT:
            break
    return Flatness(found, [_restored(discrete, d) for d in directions], points) if found else None


def _slabs(discrete: DiscreteProblem, field: Any) -> Iterator[Asked]:
    """The time slabs of a field, each with its samples: those of its start are links to the end of the one before."""
    marching, before = TimeSlabs.of(discrete, lambda: np.inf, lambda count, loss: None), None
    for slab in slabs_of(field):
        samples, _, equations = marching.terms(slab, before)
        yield slab, samples, samples[int(np.flatnonzero(equations)[0])]
        before = slab


def _between_points(discrete: DiscreteProblem) -> bool:
    """Whether changes have room between values at points: not where equations along one coordinate leave a few free."""
    several = discrete.problem.domain.dim > 1 or bool(discrete.plan.penalties)
    return several and any(isinstance(t, AbstractValues) for t in discrete.sampled.terms)


def _observed(discrete: DiscreteProblem) -> bool:
    """Whether data are of something else than the unknowns, which they may leave free."""
    return any(isinstance(t, AbstractValues) and t.observe is not None for t in discrete.sampled.terms)


def _inside(discrete: DiscreteProblem, samples: Sequence[Samples]) -> Samples:
    """Points all over the domain: of an equation; without one those at which levels are compared."""
    if discrete.equations.any():
        return samples[int(np.flatnonzero(discrete.equations)[0])]
    points = discrete.probes
    return make_samples(discrete.value_term, points, np.full(len(points), 1.0 / len(points)))


def _halved(field: Any) -> Iterator[Any]:
    """Grids with half the intervals of the one before, beginning with those of a field, as long as they are small."""
    while spline_axes(field):
        field = IntervalDoubling().refine(Level(field, None))[0].field
        if not suits(field):
            return
        yield field


def by_polynomials(discrete: DiscreteProblem, trained: Any) -> Flatness | None:
    """The flattest polynomials of rising degree, about low-rank tensors; see `hierax.objective.flat_polynomials`.

    Where their violations have fallen fast to a small part, one more is what that pace comes to in two steps: a change
    that is carried in obliquely needs higher degrees than are affordable.
    """
    problem = discrete.problem
    pointwise = any(isinstance(t, AbstractValues) for t in problem.terms)
    if pointwise or not discrete.equations.any() or problem.constraint is not None or not seen_by_jets(problem):
        return None
    found, directions, points = [], [], discrete.probes
    for degree in degrees(problem):
        try:
            directions, points = flattest_polynomials(discrete.sampled, trained, degree, seed_of(discrete.key, 6))
        except (np.linalg.LinAlgError, ValueError):
            return None
        if not directions:
            return None
        found.append(directions[0].violation)
        if found[-1] < EXACTLY_FLAT or (len(found) > 1 and found[-1] > SETTLED * found[-2]):
            break
    if len(found) > 2 and found[-1] < PACE * found[-2] < PACE**2 * found[-3] and found[-1] < NEARLY:
        found.append(found[-1] * (found[-1] / found[-2]) ** 2)
    return Flatness(found, [_restored(discrete, d) for d in directions], points)


def _of_products(discrete: DiscreteProblem, separation: Separation, visited: Mapping[int, Visited]) -> Flatness | None:
    """The flattest products of the coarse levels, where these are low-rank tensors of one function."""
    found, directions, name = [], [], next(iter(discrete.problem.functions))
    for field in [visited[k].field for k in sorted(visited)]:
        try:
            directions = [flattest_product(separation, field, name, discrete.probes)]
        except (np.linalg.LinAlgError, ValueError):
            return None
        found.append(directions[0].violation)
        if found[-1] < EXACTLY_FLAT or (len(found) > 1 and found[-1] > STAYS * found[-2]):
            break
    return Flatness(found, directions, discrete.probes) if found else None


def _restored(discrete: DiscreteProblem, direction: Direction) -> Direction:
    """The changes of constants in the units of the user."""
    units = discrete.plan.units
    if units is None:
        return direction
    return direction._replace(changes={n: c * float(units.sizes[n]) for n, c in direction.changes.items()})


def suits(field: Any, largest: int = LARGEST) -> bool:
    """Whether a field is small, and linear in its parameters on cells that stay."""
    small = parameter_count(field) <= largest and not on_slabs(field)
    return small and has_fixed_cells(field) and linear_in_parameters(field)


def _rough(discrete: DiscreteProblem) -> list[str]:
    """Functions that a penalty keeps smooth, which decides where the terms do not."""
    return sorted({penalty.name or next(iter(discrete.problem.functions)) for penalty in discrete.plan.penalties})
