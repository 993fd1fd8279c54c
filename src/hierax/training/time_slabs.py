"""Marching: an evolution on time slabs, each a spline grid with knots where the solution needs them at its own time.

A sweep trains the slabs one after another. Each starts from where the one before ended, so the solution is causal, and
each is refined until its residual, taken as a rate of error over the whole time, is below the tolerance of the sweep.
The next sweep starts from the slabs of the one before, halved in time or refined in space where its smaller tolerance
asks for it: a hierarchy in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hierax.clock import compile_seconds
from hierax.fields import Slabs, parameter_count
from hierax.hierarchy.regrid import (
    breakpoints_of,
    coarsened,
    grids_of,
    held,
    jumps,
    refined,
    regrid,
    with_grids,
)
from hierax.objective import Samples, flat_parameters, make_samples
from hierax.objective.assembly import local_residuals
from hierax.objective.build import balance
from hierax.objective.evolution import after_start, at_start, joined, rates
from hierax.planning.plan import Plan
from hierax.solvers import GaussNewton, Tolerances
from hierax.training.discrete import Bench

INTERVALS = 6
"""Intervals of a slab along time."""
FIRST_LENGTH = 1 / 16
"""Length of the first slab in units of the whole time; the others follow from how the one before went."""
SHORTEST, SHORT = 1e-6, 1e-3
"""A slab shorter than this part of the whole time is given up; sooner while a smaller tolerance can still help."""
REFINEMENTS = 12
"""Most refinements of one slab in a sweep."""
STEPS = 12
"""A slab that needs more Gauss-Newton steps is too long: the front has left the place where the guess has it."""
HALVING_GAIN = 0.05
"""When the estimated error along time is above this part of the one in space, refinement halves the slab as well."""


FIRST_TOLERANCE = 0.3
"""Rate of error, over the whole time and in units of the solution, of the first sweep."""
NEXT = 0.2
"""Tolerance of a sweep over that of the one before."""
RETRY, LOOSE = 0.05, 1e-3
"""A first sweep that cannot be finished is begun again with so much of its tolerance, down to where that is below
`LOOSE`: where solutions depart from one another fast, one from a start that is a little wrong may not exist for long.
"""


class OutOfTime(Exception):
    """The time for a sweep is over."""


class Stuck(Exception):
    """A slab could not be trained, however short."""


@dataclass(frozen=True, eq=False)
class Slab:
    """A trained slab.

    Attributes
    ----------
    field:
        Spline grids on the slab.
    shares:
        For each axis the part of every interval in the squared rate of error; `None` before training.
    loss, points, steps, work:
        The equations' part of the objective, sample points, Gauss-Newton steps and their cost.
    """

    field: Any
    shares: tuple[np.ndarray, ...] | None = None
    loss: float = 0.0
    points: int = 0
    steps: int = 0
    work: float = 0.0

    @property
    def rate(self) -> float:
        """Squared rate of error, relative to the size of the solution."""
        assert self.shares is not None
        return float(self.shares[0].sum())


@dataclass(frozen=True, eq=False)
class Sweep:
    """All slabs, trained to one tolerance."""

    slabs: tuple[Slab, ...]
    field: Any
    tolerance: float

    def total(self, name: str) -> float:
        """Sum over the slabs of `loss`, `points`, `steps` or `work`."""
        return sum(getattr(slab, name) for slab in self.slabs)


class March:
    """Sweeps over the slabs of an evolution.

    Parameters
    ----------
    bench:
        Objectives of the problem.
    plan:
        With the evolution, and the coarsest field, on the whole domain: degrees, ends and longest intervals of the
        slabs are those of its grids.
    left:
        Seconds that are left.
    seen:
        Called after each slab with the number of slabs so far and the loss.
    """

    def __init__(self, bench: Bench, plan: Plan, left: Callable[[], float], seen: Callable[[int, float], None]) -> None:
        assert plan.evolution is not None
        self.bench, self.evolution, self.start = bench, plan.evolution, plan.hierarchy.levels[0].field
        self.left, self.seen = left, seen
        self.links = plan.evolution.links
        # a guess that is far off is damped a little, or most full steps are refused; one of the sweep before is good
        self.solvers = [GaussNewton(damping=d, tolerances=Tolerances(1e-2, STEPS)) for d in (1e-3, 0.0)]
        self.solver = self.solvers[0]
        self.reason, self.ended = "budget", ""
        self._done, self._shortest = 0, SHORTEST

    def sweeps(self) -> Iterator[Sweep]:
        """Sweeps with falling tolerance while there is time; `reason` and `ended` then say why there are no more."""
        tolerance, before = FIRST_TOLERANCE, None
        while True:
            began, compiled, self._done = time.perf_counter(), compile_seconds(), 0
            swept = self.sweep(tolerance, before)
            if swept is None and before is None and self.reason == "stalled" and tolerance > LOOSE:
                tolerance *= RETRY
                continue
            if swept is None:
                return
            before = swept
            pace = (time.perf_counter() - began - (compile_seconds() - compiled)) / self._done
            yield before
            # three steps a slab, and unknowns like the root of the tolerance: rates of error fall with the fourth power
            # of the spacing in two coordinates
            expected = 4.0 * pace * before.total("points")
            factor = min(1.0 / NEXT, (0.8 * self.left() / expected) ** 2) if self.left() > 0 else 0.0
            if factor < 1.6:
                self.ended = (
                    f"The next sweep would take about {2.2 * expected:.0f} s, {self.left():.0f} s are left: stopped."
                )
                return
            # every sweep improves something, also where all slabs turned out better than they were asked to
            tolerance = min(tolerance, max(slab.rate for slab in before.slabs) ** 0.5) / factor

    def sweep(self, tolerance: float, before: Sweep | None) -> Sweep | None:
        """One sweep; `None` when the time is over or a slab cannot be trained."""
        self._shortest = SHORT if before is None and tolerance > LOOSE else SHORTEST
        self.solver = self.solvers[before is not None]
        try:
            slabs = self._first(tolerance) if before is None else self._again(tolerance, before)
        except OutOfTime:
            self.reason, self.ended = "budget", "The budget is spent."
            return None
        except Stuck as stuck:
            self.reason, self.ended = "stalled", str(stuck)
            return None
        return Sweep(tuple(slabs), self._joined(slabs), tolerance)

    def samples(self, sweep: Sweep, most: int = 20_000) -> list[Samples]:
        """Samples of every term of the problem over all slabs; of each at most about `most`."""
        rng = np.random.default_rng(0)
        each = [self.bench.samples(slab.field) for slab in sweep.slabs]
        each = [[after_start(s, self.evolution.axis) if k else s for s in own] for k, own in enumerate(each)]
        out = []
        for own in zip(*each, strict=True):
            every = joined(own)
            out.append(every if every.count <= most else every.take(np.sort(rng.permutation(every.count)[:most])))
        return out

    # the sweeps

    def _first(self, tolerance: float) -> list[Slab]:
        """From the coarsest grid, finding the lengths of the slabs on the way."""
        low, high = breakpoints_of(self.start)[self.evolution.axis][[0, -1]]
        slabs: list[Slab] = []
        length, at, guess = FIRST_LENGTH * (high - low), low, None
        while at < high:
            if guess is None:
                guess = self._continued(slabs[-1] if slabs else None, at, _end(at, length, high), tolerance)
            trained, good = self._settled(guess, slabs[-1] if slabs else None, tolerance)
            begin, end = _times(guess, self.evolution.axis)
            if not good:
                length = 0.5 * (end - begin)
                self._check_length(length)
                guess = None if trained is None else self._on(trained.field, begin, begin + length)
                continue
            assert trained is not None
            slabs.append(trained)
            self._note(slabs)
            length = (end - begin) * _growth(trained.steps)
            at, guess = end, None
        return slabs

    def _again(self, tolerance: float, before: Sweep) -> list[Slab]:
        """Each slab from its own field of the sweep before."""
        slabs: list[Slab] = []
        waiting = [field for slab in before.slabs for field in self._prepared(slab, tolerance)][::-1]
        while waiting:
            guess = waiting.pop()
            trained, good = self._settled(guess, slabs[-1] if slabs else None, tolerance)
            if not good:
                begin, end = _times(guess, self.evolution.axis)
                middle = 0.5 * (begin + end)
                self._check_length(end - middle)
                waiting.append(self._on(guess, middle, end))
                waiting.append(self._on(guess if trained is None else trained.field, begin, middle))
                continue
            assert trained is not None
            slabs.append(trained)
            self._note(slabs)
        return slabs

    def _prepared(self, slab: Slab, tolerance: float) -> list[Any]:
        """A slab's field refined for a smaller tolerance, as one slab or as two."""
        axis = self.evolution.axis
        assert slab.shares is not None
        if slab.rate <= tolerance**2:
            return [slab.field]
        finer = regrid(slab.field, self._marked(slab, tolerance, coarsen=True))
        errors = jumps(slab.field, axis, slab.shares)
        if errors[axis] <= HALVING_GAIN * np.delete(errors, axis).max(initial=0.0):
            return [finer]
        begin, end = _times(slab.field, axis)
        middle = 0.5 * (begin + end)
        return [self._on(finer, begin, middle), self._on(finer, middle, end)]

    # one slab

    def _settled(self, guess: Any, before: Slab | None, tolerance: float) -> tuple[Slab | None, bool]:
        """Train and refine a slab until it is good enough.

        Otherwise the slab is too long; the field that comes back then, if any, is a guess for the shorter one.
        """
        axis = self.evolution.axis
        steps = 0
        for _ in range(REFINEMENTS):
            if self.left() <= 0:
                raise OutOfTime
            slab = self._trained(guess, before)
            if slab is None:
                return None, False
            assert slab.shares is not None
            steps = max(steps, slab.steps)
            if slab.rate <= tolerance**2:
                return Slab(slab.field, slab.shares, slab.loss, slab.points, steps, slab.work), True
            errors = jumps(slab.field, axis, slab.shares)
            if errors[axis] > np.delete(errors, axis).max(initial=0.0):
                return slab, False
            guess = regrid(slab.field, self._marked(slab, tolerance))
            if parameter_count(guess) > self.bench.plan.largest:
                return slab, False
        return None, False

    def _trained(self, guess: Any, before: Slab | None) -> Slab | None:
        """Gauss-Newton steps on one grid; `None` when they fail or are too many."""
        samples, scales, equations = self._terms(guess, before)
        objective = self.bench.objective(guess, samples)
        theta, build = flat_parameters(guess)
        diagonals = objective.diagonals(theta, equations)
        factors = np.full(len(samples), self.bench.plan.condition_factor)
        objective = objective.rescaled(list(balance(diagonals, equations, factors)))
        state, done, steps = self.solver.init(objective, theta), False, 0
        while not done:
            step = self.solver.step(objective, theta, state)
            theta, state, steps, done = step.theta, step.state, steps + 1, step.done
            if step.failure is not None:
                return None
        if steps >= STEPS:
            return None
        self._done += (steps + 1) * sum(s.count for s in samples)
        field = build(theta)
        shares, value = rates(self.evolution, field, samples, scales, equations)
        return Slab(field, shares, value, sum(s.count for s in samples), steps, steps * objective.work)

    def _terms(self, field: Any, before: Slab | None) -> tuple[list[Samples], list[np.ndarray], np.ndarray]:
        """Samples, scales of the residuals, and which are equations; links in place of the start."""
        samples = self.bench.samples(field)
        triples = list(zip(samples, self.evolution.scales, self.bench.equations, strict=True))
        if before is not None:
            axis = self.evolution.axis
            start = next(s for s in (at_start(s, axis) for s in samples) if s.count)
            points = start.points.copy()
            points[:, axis] = _times(field, axis)[0]
            triples = [(after_start(s, axis), scale, e) for s, scale, e in triples]
            triples = [triple for triple in triples if triple[0].count]
            for link in self.links:
                bare = make_samples(link, points, start.weights)
                given = local_residuals(before.field, bare)
                linked = make_samples(link, points, start.weights, start.normals, given)
                triples.append((linked, np.ones(given.shape[1]), False))
        return [s for s, _, _ in triples], [c for _, c, _ in triples], np.array([bool(e) for _, _, e in triples])

    # grids

    def _marked(self, slab: Slab, tolerance: float, coarsen: bool = False) -> list[np.ndarray]:
        """Break points refined in space where the residual is; also coarsened where there is hardly any."""
        axis = self.evolution.axis
        assert slab.shares is not None
        errors = jumps(slab.field, axis, slab.shares)
        worst = np.delete(errors, axis).max(initial=0.0)
        out = []
        for k, (breaks, share) in enumerate(zip(breakpoints_of(slab.field), slab.shares, strict=True)):
            if k == axis or errors[k] < 0.1 * worst:
                out.append(breaks)
                continue
            finer = refined(breaks, share, tolerance**2)
            if coarsen:
                kept = coarsened(breaks, share, tolerance**2, self._longest(k))
                finer = np.union1d(kept, np.setdiff1d(finer, breaks))
            out.append(finer)
        return out

    def _longest(self, axis: int) -> float:
        return float(np.diff(breakpoints_of(self.start)[axis]).max())

    def _continued(self, before: Slab | None, begin: float, end: float, tolerance: float) -> Any:
        """First guess for a slab: the end of the one before, held, on knots without those no longer needed."""
        axis = self.evolution.axis
        times = np.linspace(begin, end, INTERVALS + 1)
        if before is None:
            breaks = list(breakpoints_of(self.start))
            breaks[axis] = times
            return regrid(self.start, breaks)
        assert before.shares is not None
        breaks = [
            b if k == axis else coarsened(b, share, tolerance**2, self._longest(k))
            for k, (b, share) in enumerate(zip(breakpoints_of(before.field), before.shares, strict=True))
        ]
        return held(regrid(before.field, breaks), axis, times)

    def _on(self, field: Any, begin: float, end: float) -> Any:
        """The field on a part of its time."""
        breaks = list(breakpoints_of(field))
        breaks[self.evolution.axis] = np.linspace(begin, end, INTERVALS + 1)
        return regrid(field, breaks)

    def _joined(self, slabs: Sequence[Slab]) -> Any:
        each = zip(*(grids_of(slab.field) for slab in slabs), strict=True)
        return with_grids(slabs[0].field, [Slabs(parts, self.evolution.axis) for parts in each])

    def _check_length(self, length: float) -> None:
        if length < self._shortest * self.evolution.span:
            raise Stuck(f"A slab of length {length:.3g} could not be trained: stopped.")

    def _note(self, slabs: Sequence[Slab]) -> None:
        self.seen(len(slabs), sum(slab.loss for slab in slabs))


def _growth(steps: int) -> float:
    """Length of the next slab over that of one which took so many steps."""
    return 2.0 if steps <= 4 else 1.4 if steps <= 6 else 1.0 if steps <= 8 else 0.7


def _end(begin: float, length: float, high: float) -> float:
    """End of a slab of about this length: the last two share what is left."""
    left = high - begin
    if left <= 1.01 * length:
        return high
    return begin + (0.5 * left if left < 1.5 * length else length)


def _times(field: Any, axis: int) -> tuple[float, float]:
    breaks = breakpoints_of(field)[axis]
    return float(breaks[0]), float(breaks[-1])
