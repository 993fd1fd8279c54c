"""Marching: an evolution on time slabs, each a spline grid with knots where the solution needs them at its own time.

A sweep trains the slabs one after another. Each starts from where the one before ended, so the solution is causal, and
each is refined until its residual, taken as a rate of error over the whole time, is below the tolerance of the sweep.
The next sweep starts from the slabs of the one before, halved in time or refined in space where its smaller tolerance
asks for it: a hierarchy in time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np

from hierax.fields import parameter_count
from hierax.fields.moving import at_rest
from hierax.hierarchy.regrid import jumps
from hierax.objective import Samples, flat_parameters, make_samples
from hierax.objective.assembly import local_residuals
from hierax.objective.build import balance
from hierax.objective.evolution import Evolution, after_start, at_start, joined, loss_of, rates
from hierax.objective.pointwise import SquaredResidual
from hierax.solvers import GaussNewton, Tolerances
from hierax.training.cost import nominal_seconds
from hierax.training.discrete import DiscreteProblem
from hierax.training.slab_grids import SlabGrids, outside, slabs_of, times
from hierax.training.state import Slab, SlabsState

FIRST_LENGTH = 1 / 16
"""Length of the first slab in units of the whole time; the others follow from how the one before went."""
SHORTEST = 1e-10
"""A slab shorter than this part of the whole time is given up: its knots would hardly differ."""
REFINEMENTS = 12
"""Most refinements of one slab in a sweep."""
STEPS = 12
"""A slab that needs more Gauss-Newton steps is too long: the front has left the place where the guess has it."""
ENOUGH = 0.3
"""Part of the tolerance below which a slab is trained no further."""
HALVING_GAIN = 0.05
"""When the estimated error along time is above this part of the one in space, refinement halves the slab as well."""


FIRST_TOLERANCE = 0.3
"""Rate of error, over the whole time and in units of the solution, of the first sweep."""
NEXT = 0.2
"""Tolerance of a sweep over that of the one before."""
LEAST_FACTOR = 1.6
"""A sweep with a tolerance that is not smaller by this factor is not begun."""
SWEEP_SHARE = 1.0
"""Seconds of a sweep over those of its last grids' work at the nominal speed, refinements and guesses included."""
STEP_SHARE = 0.3
"""Seconds of a step on a slab over those of its work at the nominal speed, by which one is begun or not."""
RETRY, LOOSE = 0.05, 1e-3
"""A first sweep that cannot be finished is begun again with so much of its tolerance, down to where that is below
`LOOSE`: where solutions depart from one another fast, one from a start that is a little wrong may not exist for long.
"""


class OutOfTime(Exception):
    """The time for a sweep is over."""


class Stuck(Exception):
    """A slab could not be trained, however short."""


class Sweep(NamedTuple):
    """What a sweep has led to.

    Attributes
    ----------
    state:
        With the slabs of the sweep, or with another tolerance where it is to be begun again.
    reason, sentence:
        Why there is no sweep any more; `None` and empty where there may be one.
    field:
        All slabs as one field; `None` where the sweep could not be ended.
    """

    state: SlabsState
    reason: str | None = None
    sentence: str = ""
    field: Any = None


def next_sweep(state: SlabsState, left: float) -> Sweep:
    """The tolerance of the next sweep, as small as `left` seconds of a nominal machine are expected to allow.

    Three steps a slab, and unknowns like the root of the tolerance: rates of error fall with the fourth power of the
    spacing in two coordinates.
    """
    expected = SWEEP_SHARE * nominal_seconds(4.0 * sum(slab.unit for slab in state.slabs), 0)
    factor = min(1.0 / NEXT, (0.8 * left / expected) ** 2) if left > 0 else 0.0
    if factor < LEAST_FACTOR:
        return Sweep(
            state, "budget",
            f"By counted work the next sweep would take about {2.2 * expected:.0f} s, {max(left, 0.0):.0f} s are left: "
            "stopped.",
        )  # fmt: skip
    # every sweep improves something, also where all slabs turned out better than they were asked to
    tolerance = min(state.tolerance, max(slab.rate for slab in state.slabs) ** 0.5) / factor
    return Sweep(state._replace(tolerance=tolerance))


def slab_samples(discrete: DiscreteProblem, evolution: Evolution, field: Any, most: int = 20_000) -> list[Samples]:
    """Samples of every term of the problem over all slabs of a field; of each at most about `most`."""
    rng = np.random.default_rng(0)
    each = [outside(slab, discrete.samples(at_rest(slab))) for slab in slabs_of(field)]
    each = [[after_start(s, evolution.axis) if k else s for s in own] for k, own in enumerate(each)]
    out = []
    for own in zip(*each, strict=True):
        every = joined(own)
        out.append(every if every.count <= most else every.take(np.sort(rng.permutation(every.count)[:most])))
    return out


@final
@dataclass(frozen=True, eq=False)
class TimeSlabs:
    """Sweeps over the slabs of an evolution: a state in, the state after one sweep out.

    Attributes
    ----------
    discrete:
        Objectives of the problem, with a plan that has its evolution and the coarsest field.
    evolution, links:
        The problem as an evolution, and the terms that join a slab to the end of the one before.
    grids:
        Where the grids of slabs come from.
    left:
        Says how many seconds of the budget are left.
    seen:
        Called after each slab with the number of slabs so far and the loss.
    solver:
        Of the present sweep: a guess that is far off is damped a little, or most full steps are refused, one of the
        sweep before is good.
    """

    discrete: DiscreteProblem
    evolution: Evolution
    links: tuple[SquaredResidual, ...]
    grids: SlabGrids
    left: Callable[[], float]
    seen: Callable[[int, float], None]
    solver: GaussNewton = GaussNewton(damping=1e-5, tolerances=Tolerances(1e-2, STEPS))

    @classmethod
    def of(cls, discrete: DiscreteProblem, left: Callable[[], float], seen: Callable[[int, float], None]) -> TimeSlabs:
        """Slabs of a problem whose plan has an evolution."""
        evolution = discrete.plan.evolution
        assert evolution is not None
        grids = SlabGrids.of(discrete.problem, discrete.plan.hierarchy.levels[0].field, evolution.axis)
        return cls(discrete, evolution, evolution.links, grids, left, seen)

    def swept(self, state: SlabsState) -> Sweep:
        """One sweep to the tolerance of the state; where its slabs are missing it could not be ended."""
        first = not state.slabs
        own = self if first else replace(self, solver=replace(self.solver, damping=0.0))
        try:
            slabs = own._first(state.tolerance) if first else own._again(state.tolerance, state.slabs)
        except OutOfTime:
            return Sweep(state, "budget", "The budget is spent.")
        except Stuck as stuck:
            if first and state.tolerance > LOOSE:
                return Sweep(state._replace(tolerance=RETRY * state.tolerance))
            return Sweep(state, "stalled", str(stuck))
        return Sweep(state._replace(slabs=tuple(slabs)), field=self.grids.joined(slabs))

    # the sweeps

    def _first(self, tolerance: float) -> list[Slab]:
        """From the coarsest grid, finding the lengths of the slabs on the way."""
        low, high = self.grids.ends
        slabs: list[Slab] = []
        length, at = FIRST_LENGTH * (high - low), low
        guess = self.grids.first(low, _end(low, length, high))
        while True:
            trained, good = self._settled(guess, slabs[-1] if slabs else None, tolerance)
            begin, end = times(guess, self.evolution.axis)
            if good:
                assert trained is not None
                slabs.append(trained)
                self._note(slabs)
                length, at = (end - begin) * _growth(trained.steps), end
                if at >= high:
                    return slabs
                guess = self.grids.continued(trained, at, _end(at, length, high), tolerance)
                continue
            length = 0.5 * (end - begin)
            self._check_length(length)
            guess = self._shorter(guess, None if trained is None else trained.field, slabs, tolerance)

    def _shorter(self, guess: Any, trained: Any, slabs: Sequence[Slab], tolerance: float) -> Any:
        """A guess for the first half of a slab that was too long, from where training has led it, if anywhere."""
        begin, end = times(guess, self.evolution.axis)
        middle = 0.5 * (begin + end)
        if not slabs:
            return self.grids.first(begin, middle, trained)
        if trained is not None:
            return self.grids.part(trained, begin, middle)
        return self.grids.continued(slabs[-1], begin, middle, tolerance)

    def _again(self, tolerance: float, before: tuple[Slab, ...]) -> list[Slab]:
        """Each slab from its own field of the sweep before."""
        slabs: list[Slab] = []
        waiting = [field for slab in before for field in self._prepared(slab, tolerance)][::-1]
        while waiting:
            guess = waiting.pop()
            trained, good = self._settled(guess, slabs[-1] if slabs else None, tolerance)
            if not good:
                begin, end = times(guess, self.evolution.axis)
                middle = 0.5 * (begin + end)
                self._check_length(end - middle)
                waiting.append(self.grids.part(guess, middle, end))
                waiting.append(self.grids.part(guess if trained is None else trained.field, begin, middle))
                continue
            assert trained is not None
            slabs.append(trained)
            self._note(slabs)
        return slabs

    def _prepared(self, slab: Slab, tolerance: float) -> list[Any]:
        """A slab's field refined for a smaller tolerance, as one slab or as two."""
        axis = self.evolution.axis
        if slab.rate <= tolerance**2:
            return [slab.field]
        finer = self.grids.refined(slab, tolerance, coarsen=True)
        errors = jumps(slab.field, axis, slab.shares)
        if errors[axis] <= HALVING_GAIN * np.delete(errors, axis).max(initial=0.0):
            return [finer]
        begin, end = times(slab.field, axis)
        middle = 0.5 * (begin + end)
        return [self.grids.part(finer, begin, middle), self.grids.part(finer, middle, end)]

    # one slab

    def _settled(self, guess: Any, before: Slab | None, tolerance: float) -> tuple[Slab | None, bool]:
        """Train and refine a slab until it is good enough.

        Otherwise the slab is too long; the field that comes back then, if any, is a guess for the shorter one.
        """
        axis = self.evolution.axis
        steps = 0
        for _ in range(REFINEMENTS):
            slab = self._trained(guess, before, tolerance)
            if slab is None:
                return None, False
            steps = max(steps, slab.steps)
            if slab.rate <= tolerance**2:
                return slab._replace(steps=steps), True
            errors = jumps(slab.field, axis, slab.shares)
            if errors[axis] > np.delete(errors, axis).max(initial=0.0):
                return slab, False
            guess = self.grids.refined(slab, tolerance)
            if parameter_count(guess) > self.discrete.plan.largest:
                return slab, False
        return None, False

    def _trained(self, guess: Any, before: Slab | None, tolerance: float) -> Slab | None:
        """Gauss-Newton steps on one grid, until its rate is below what is asked for or falls no more; `None` when they
        fail or are too many."""
        samples, scales, equations = self.terms(guess, None if before is None else before.field)
        objective = self.discrete.objective(guess, samples)
        theta, build = flat_parameters(guess)
        diagonals = objective.diagonals(theta, equations)
        factors = np.full(len(samples), self.discrete.plan.condition_factor)
        objective = objective.rescaled(list(balance(diagonals, equations, factors)))
        state, steps, done = self.solver.init(objective, theta), 0, False
        enough = loss_of(guess, scales, equations, ENOUGH * tolerance)
        expected = STEP_SHARE * nominal_seconds(objective.work, 0)
        while not done:
            if self.left() < expected:
                raise OutOfTime
            step = self.solver.step(objective, theta, state)
            theta, state, steps = step.theta, step.state, steps + 1
            if step.failure is not None or steps >= STEPS:
                return None
            done = step.done or step.value <= enough
        field = build(theta)
        shares, value, jump = rates(self.evolution, field, samples, scales, equations)
        points, unit = sum(s.count for s in samples), objective.work
        return Slab(field, shares, value, points, steps, steps * unit, unit, jump)

    def terms(self, field: Any, before: Any) -> tuple[list[Samples], list[np.ndarray], np.ndarray]:
        """Samples, scales of the residuals, and which are equations; links in place of the start."""
        samples = self.discrete.samples(at_rest(field))
        triples = list(zip(outside(field, samples), self.evolution.scales, self.discrete.equations, strict=True))
        if before is not None:
            axis = self.evolution.axis
            start = next(s for s in (at_start(s, axis) for s in samples) if s.count)
            points = start.points.copy()
            points[:, axis] = times(field, axis)[0]
            (start,) = outside(field, [replace(start, points=points)])
            triples = [(after_start(s, axis), scale, e) for s, scale, e in triples]
            triples = [triple for triple in triples if triple[0].count]
            for link in self.links:
                bare = make_samples(link, start.points, start.weights)
                given = local_residuals(before, bare)
                linked = make_samples(link, start.points, start.weights, start.normals, given)
                triples.append((linked, np.ones(given.shape[1]), False))
        return [s for s, _, _ in triples], [c for _, c, _ in triples], np.array([bool(e) for _, _, e in triples])

    def _check_length(self, length: float) -> None:
        if length < SHORTEST * self.evolution.span:
            raise Stuck(f"A slab of length {length:.3g} could not be trained: stopped.")

    def _note(self, slabs: Sequence[Slab]) -> None:
        self.seen(len(slabs), sum(slab.loss for slab in slabs))


def _growth(steps: int) -> float:
    """Length of the next slab over that of one which took so many steps."""
    return 2.0 if steps <= 2 else 1.4 if steps <= 4 else 1.0 if steps <= 6 else 0.7


def _end(begin: float, length: float, high: float) -> float:
    """End of a slab of about this length: the last two share what is left."""
    left = high - begin
    if left <= 1.01 * length:
        return high
    return begin + (0.5 * left if left < 1.5 * length else length)
