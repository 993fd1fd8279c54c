"""Estimation on levels: a pilot, then as many samples of each group as an error needs, and more levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy.special import ndtri

from hierax import clock
from hierax.results.intervals import LEVEL
from hierax.statistics.beginnings import costs_of_beginnings
from hierax.statistics.blue import Design, Group
from hierax.statistics.models import SURROGATE, Models
from hierax.statistics.moments import MeanEstimator, PartMoment, part_moment
from hierax.statistics.quantities import AbstractStatistic, Found, Mean, Moment, Transform
from hierax.statistics.rates import KEPT, Rates, expected, rates, remaining
from hierax.statistics.samples import Part

NORMAL = float(ndtri(0.5 + 0.5 * LEVEL))
"""Half the width of an interval over the standard error, where that is known."""
PILOT, TOGETHER = (64, 32, 16), 40
"""Samples of the first levels, and of all models of an ensemble, before anything is known."""
DENSER = 4
"""Times as many of Sobol sequences."""
SHARE, PROBE = 0.2, 4
"""Share of the budget that a pilot may cost, and samples that tell what one costs."""
FEWEST, MOST_NEW = 8, 64
"""Samples of a level that is new, at least and at most."""
BIAS = 0.1
"""Largest share of the mean square error that the levels that are left out may have."""
GROWTH = 3.0
"""By what factor the cost may grow before variances are estimated again."""
FEW_DIMENSIONS = 32
"""Random numbers of a sample up to which means are estimated by Sobol sequences."""
LEFT = 0.02
"""Share of the budget that is not worth a further round."""
MORE, TRIES = 1.1, 40
"""By what factor costs grow where designs see no need, and how often."""
MOST_NUMBERS = 20_000_000
"""Most values of a group of samples: they are kept in memory."""
WORTH = 0.8
"""Cost of another beginning over that from the coarsest level, below which it is taken."""
FURTHER = 0.25
"""Share of the samples that is drawn once more where an error seems small enough: those at which it seems so for the
first time are not any samples, but ones without the tails that are still to come."""
COARSE = 3
"""Levels of a pilot."""
MANY = 1024
"""Values of a surrogate that are asked for at first."""


@final
@dataclass(frozen=True, eq=False)
class State:
    """Where an estimation stands.

    Attributes
    ----------
    parts, moments:
        The parts, from the coarsest level, and their means.
    transform, found, moment:
        What is done to values, the statistic, and the mean that it comes from.
    rates, bias:
        Rates of the levels, and what those that are left out would add to the mean of transformed values, `(m,)`.
    aside:
        Differences of coarse levels that are not summed; rates are told by them as well.
    before:
        What samples cost that are in none of the parts.
    """

    parts: tuple[Part, ...]
    moments: tuple[PartMoment, ...]
    transform: Transform
    found: Found
    moment: Moment
    rates: Rates
    bias: np.ndarray
    aside: tuple[Part, ...] = ()
    before: float = 0.0

    @property
    def spent(self) -> float:
        """What all samples cost."""
        return self.before + sum(part.spent for part in self.parts)

    @property
    def statistical(self) -> float:
        """Mean over components of the variance of the estimate, larger where few samples tell it."""
        return float(np.mean(np.square(self.moment.error))) * (self.moment.factor / NORMAL) ** 2

    @property
    def missing(self) -> float:
        """Mean over components of the square of the bias."""
        return float(np.mean(np.square(self.bias)))


@final
@dataclass(frozen=True, eq=False)
class Estimation:
    """What is estimated, and how exactly.

    Attributes
    ----------
    simulator, statistic:
        Levels and surrogate, and what is asked.
    tolerance:
        Root mean square error that is wanted.
    budget:
        Cost that may be spent: seconds, or units of the costs that are given.
    quasi:
        Whether samples come from scrambled Sobol sequences; where they serve if not given.
    seed:
        Of all random numbers.
    tell:
        Is called with sentences.
    before:
        Part of the budget that was spent before.
    """

    simulator: Models
    statistic: AbstractStatistic
    tolerance: float | None
    budget: float
    quasi: bool | None = None
    seed: int = 0
    tell: Callable[[str], None] = lambda sentence: None
    before: float = 0.0
    begun: float = field(default_factory=lambda: clock.seconds_now())

    @property
    def chain(self) -> bool:
        """Whether there are levels whose limit is asked for, if only one."""
        return not self.simulator.ensemble

    @property
    def processes(self) -> int:
        """Seconds of samples in one second."""
        return self.simulator.leveled.processes if self.simulator.measured else 1

    @property
    def by_sequences(self) -> bool:
        """Whether samples come from Sobol sequences."""
        few = self.simulator.dim <= FEW_DIMENSIONS and isinstance(self.statistic, Mean)
        wanted = few if self.quasi is None else self.quasi
        return self.chain and wanted

    def rounds(self) -> Iterator[State]:
        """States until the error is small enough, or the budget is spent."""
        state = self.state(self._pilot())
        if self.chain:
            state = self._begun(state)
        yield state
        further = False
        while True:
            more = self._more(state)
            further = more is None and not further
            if further:
                more = self._further(state)
            if more is None:
                return
            state = more if isinstance(more, State) else self.state(more, state.aside, state.before)
            yield state

    def state(self, parts: tuple[Part, ...], aside: tuple[Part, ...] = (), before: float = 0.0) -> State:
        """What the samples of parts tell."""
        mean = MeanEstimator(parts, self.statistic.hidden)
        transform = self.statistic.transform(mean)
        moments = mean.moments(transform)
        found_rates, bias = Rates(*[float("nan")] * 3), np.zeros(moments[0].mean.shape)
        if self.chain:
            own = [k for k, part in enumerate(parts) if part.step]
            told = [part_moment(part, transform, self.statistic.hidden) for part in aside] + [moments[k] for k in own]
            costs = [part.step_cost for part in (*aside, *(parts[k] for k in own))]
            found_rates = rates(told, np.array(costs))
            bias = bias + remaining(told)
        found = self.statistic.found(mean, transform, bias)
        return State(parts, moments, transform, found, mean(transform), found_rates, bias, aside, before)

    def _pilot(self) -> tuple[Part, ...]:
        if not self.chain:
            return (self._tried(self._ensemble(), TOGETHER),)
        levels = COARSE if self.simulator.levels is None else min(COARSE, self.simulator.levels)
        # where the surrogate is good, few samples of levels are needed
        few = (PILOT[-1] // (DENSER if self.by_sequences else 1),) * COARSE
        counts = PILOT if self.simulator.surrogate is None else few
        return tuple(self._tried(self._level(level, tried=True), counts[level]) for level in range(levels))

    def _tried(self, part: Part, count: int) -> Part:
        """A new part with some samples, fewer where they are dear."""
        part = self._drawn(part, PROBE)
        most = SHARE * self.budget / part.cost_of(part.everything)
        return self._drawn(part, int(min(count * (DENSER if part.quasi else 1), most)))

    def _drawn(self, part: Part, count: int) -> Part:
        return part.extended(self.simulator, part.everything, count, self.seed)

    def _ensemble(self) -> Part:
        """All models, the truth first."""
        assert self.simulator.levels is not None
        lowest = SURROGATE if self.simulator.surrogate is not None else 0
        models = tuple(range(self.simulator.levels - 1, lowest - 1, -1))
        return Part(models, np.eye(len(models)), self.by_sequences)

    def _level(self, level: int, tried: bool = False) -> Part:
        """The difference of a level to the one below; the surrogate beside it while it is tried."""
        models = (level, level - 1) if level else (level,)
        beside = (SURROGATE,) if tried and self.simulator.surrogate is not None else ()
        contrast = np.array([[1.0, -1.0][: len(models)] + [0.0] * len(beside)])
        return Part((*models, *beside), contrast, self.by_sequences)

    def _begun(self, state: State) -> State:
        """From the level on, above the surrogate or without it, that promise the least cost.

        Differences of coarse levels that are left out serve for the bias.
        """
        costs = costs_of_beginnings(state.parts, state.moments, state.transform)
        best = min(costs, key=costs.__getitem__)
        gain = costs[False, 0] / max(costs[best], 1e-300)
        if gain < 1.0 / WORTH:
            best = False, 0
        self._say_begin(*best, gain)
        return self._from(state, *best)

    def _say_begin(self, with_surrogate: bool, first: int, gain: float) -> None:
        if with_surrogate:
            self.tell(f"The surrogate stands below level {first}: samples cost {gain:.2g} times less.")
        elif first:
            self.tell(f"Levels below {first} are left out: they cost {gain:.2g} times what they save.")
        if self.simulator.surrogate is not None and not with_surrogate:
            self.tell("The surrogate is left out: it has too little in common with the levels.")

    def _from(self, state: State, with_surrogate: bool, first: int) -> State:
        """The state without what is left out."""
        alone, step = np.array([[1.0]]), np.array([[1.0, -1.0]])
        whole = [part.narrowed(part.models[:2], step) for part in state.parts[1:]]
        start = state.parts[first].narrowed((first,), alone)
        if with_surrogate:
            start = state.parts[first].narrowed((first, SURROGATE), step)
        parts = (start, *whole[first:])
        before = state.spent - sum(part.spent for part in parts)
        if with_surrogate:
            parts = (self._drawn(Part((SURROGATE,), alone, self.by_sequences), MANY), *parts)
        else:
            # whatever level is the first one needs as many samples as the coarsest to show its tails
            parts = tuple(self._tried(part, count) for part, count in zip(parts, PILOT, strict=False))
        return self.state(parts, tuple(whole[:first]), before)

    def _designs(self, state: State) -> list[Design]:
        """Samples of groups of each part for a unit of cost; variances of fine levels are not below expectation."""
        found = [moment.design(part) for part, moment in zip(state.parts, state.moments, strict=True)]
        steps = [k for k, part in enumerate(state.parts) if part.step] if self.chain else []
        for k, variance in zip(steps, expected([state.moments[k] for k in steps], state.rates.beta), strict=True):
            own = state.moments[k].covariance[0, 0]
            found[k] = found[k]._replace(product=found[k].product * variance / max(own, 1e-300))
        return found

    def _left(self, state: State) -> float:
        """What is left of the budget."""
        if not self.simulator.measured:
            return self.budget - state.spent
        return self.budget - self.before - (clock.seconds_now() - self.begun)

    def _more(self, state: State) -> State | tuple[Part, ...] | None:
        """The parts with the samples of the next round, or the state after it; `None` at the end."""
        left, components = self._left(state), state.found.value.size
        designs = self._designs(state)
        roots = np.sqrt([design.product for design in designs])
        payable = float(np.sum(roots)) ** 2 / max(state.spent + left * self.processes, 1e-300) / components
        factor = self.statistic.factor(state.found, state.moment)
        wanted = None if self.tolerance is None else (self.tolerance / max(factor, 1e-300)) ** 2
        error = payable if wanted is None else wanted
        if left < LEFT * self.budget:
            return None
        if self.chain and state.missing > BIAS * (error + (state.missing if wanted is None else 0.0)):
            finer = self._clearer(state, left) or self._finer(state, error, left)
            if finer is not None:
                return finer
            if wanted is not None:
                return None
        allowed = error if wanted is None else max(error - state.missing, (1.0 - BIAS) * error)
        if wanted is not None and state.statistical <= allowed:
            return None
        if self.by_sequences:
            return self._doubled(state, left)
        budgets = roots * np.sum(roots) / (components * max(allowed, payable))
        if wanted is not None:
            # what is seen may be more than what designs expect from as many samples
            known = float(np.sum(np.square(roots) / np.maximum([part.spent for part in state.parts], 1e-300)))
            budgets = budgets * float(np.clip(state.statistical * components / max(known, 1e-300), 1.0, MORE))
        return self._sampled(state, designs, budgets, left)

    def _sampled(
        self, state: State, designs: list[Design], budgets: np.ndarray, left: float
    ) -> tuple[Part, ...] | None:
        """Samples until each part has spent its share, as far as the growth of a round allows."""
        wanted = _wanted(state, designs, budgets)
        # a variance may be seen larger than designs expect it: more of all until something is wanted
        for _ in range(TRIES if self.tolerance is not None else 0):
            if wanted:
                break
            budgets = MORE * budgets
            wanted = _wanted(state, designs, budgets)
        price = sum(state.parts[k].cost_of(group) * more for k, group, more in wanted)
        share = min(1.0, GROWTH * state.spent / max(price, 1e-300), left / max(price, 1e-300))
        parts = list(state.parts)
        changed = False
        for k, group, more in wanted:
            count = parts[k].count(group) + max(int(np.ceil(share * more)), FEWEST - parts[k].count(group), 0)
            if self.simulator.measured and self._left(state) < 0:
                break
            parts[k], changed = parts[k].extended(self.simulator, group, count, self.seed), True
        return tuple(parts) if changed else None

    def _doubled(self, state: State, left: float) -> tuple[Part, ...] | None:
        """Twice the points of the part that gains most of it (Giles, Waterhouse, 2009)."""
        gains = [
            float(np.sum(m.variance)) / max(p.spent, 1e-300) for p, m in zip(state.parts, state.moments, strict=True)
        ]
        for k in np.argsort(gains)[::-1]:
            part = state.parts[k]
            if part.spent <= left and gains[k] > 0:
                more = part.extended(self.simulator, (0,), 2 * part.count((0,)), self.seed)
                return (*state.parts[:k], more, *state.parts[k + 1 :])
        return None

    def _further(self, state: State) -> tuple[Part, ...] | None:
        """More samples of all groups than those that have let the error seem small enough; `None` where it does not.

        Sobol sequences are only doubled, which looks seldom and costs too much to be done once more.
        """
        reached = self.tolerance is not None and np.mean(np.square(state.found.error)) <= self.tolerance**2
        price = FURTHER * sum(part.spent for part in state.parts)
        if not reached or self.by_sequences or price > self._left(state):
            return None
        parts = list(state.parts)
        for k, part in enumerate(parts):
            for group in part.groups:
                count = int(np.ceil((1.0 + FURTHER) * part.count(group)))
                parts[k] = parts[k].extended(self.simulator, group, count, self.seed)
        return tuple(parts)

    def _clearer(self, state: State, left: float) -> State | None:
        """Twice the samples of the finest difference, where noise is what they show and they cost less than a level.

        What finer levels would change is told by it: noise would add levels that nothing asks for.
        """
        last = state.parts[-1]
        own = last if last.step else state.aside[-1] if state.aside else None
        if own is None:
            return None
        seen = part_moment(own, state.transform, self.statistic.hidden)
        price = own.count((0,)) * own.step_cost
        gamma = max(state.rates.gamma, 0.0) if np.isfinite(state.rates.gamma) else 1.0
        finer = FEWEST * (DENSER if own.quasi else 1) * own.step_cost * 2.0**gamma
        if np.sum(seen.variance) < np.sum(np.square(seen.mean)) or price > min(finer, left):
            return None
        more = own.extended(self.simulator, (0,), 2 * own.count((0,)), self.seed)
        if last.step:
            return self.state((*state.parts[:-1], more), state.aside, state.before)
        return self.state(state.parts, (*state.aside[:-1], more), state.before + more.spent - own.spent)

    def _finer(self, state: State, error: float, left: float) -> tuple[Part, ...] | None:
        """One more level, with as many samples as it is expected to need."""
        level = state.parts[-1].level + 1
        if self.simulator.levels is not None and level >= self.simulator.levels:
            return None
        beta, gamma = (0.0 if not np.isfinite(rate) else max(rate, 0.0) for rate in state.rates[1:])
        variance = max(state.moments[-1].covariance[0, 0], 0.0) * 2.0**-beta
        cost = state.parts[-1].cost_of((0,)) * 2.0**gamma
        roots = sum(np.sqrt(design.product) for design in self._designs(state))
        needed = np.sqrt(max(variance, 0.0) / cost) * roots / (state.found.value.size * max(error, 1e-300))
        count = int(np.clip(np.ceil(KEPT * needed), FEWEST, MOST_NEW))
        if FEWEST * cost > left:
            return None
        count = int(max(min(count, 0.5 * left / cost), FEWEST))
        self.tell(f"Level {level} is added: what the others lack is estimated as {np.sqrt(state.missing):.2g}.")
        return (*state.parts, self._drawn(self._level(level), count))


def _wanted(state: State, designs: list[Design], budgets: np.ndarray) -> list[tuple[int, Group, int]]:
    """Samples that parts lack: number of the part, group, and how many."""
    wanted: list[tuple[int, Group, int]] = []
    for k, (part, design, budget) in enumerate(zip(state.parts, designs, budgets, strict=True)):
        for group, rate in zip(design.groups, design.samples, strict=True):
            most = MOST_NUMBERS // (len(part.seen(group)) * state.found.value.size)
            more = int(min(np.ceil(rate * budget), most)) - part.count(group)
            wanted += [(k, group, more)] if more > 0 else []
    return wanted
