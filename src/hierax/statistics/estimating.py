"""Estimation on levels: a pilot, then as many samples of each group as an error needs, and more levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy.special import ndtri

from hierax import clock
from hierax.results.intervals import LEVEL
from hierax.statistics.blue import Design, Group
from hierax.statistics.moments import MeanEstimator, PartMoment, part_moment
from hierax.statistics.quantities import AbstractStatistic, Found, Mean, Moment, Transform
from hierax.statistics.rates import KEPT, Rates, expected, rates, remaining
from hierax.statistics.samples import Part
from hierax.statistics.simulator import SURROGATE, AbstractSimulator

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
"""Cost without the coarsest level over the cost with it, below which it is left out."""
COARSE = 3
"""Levels of a pilot."""


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
        Parts of coarse levels that are no longer summed; rates are told by them as well.
    """

    parts: tuple[Part, ...]
    moments: tuple[PartMoment, ...]
    transform: Transform
    found: Found
    moment: Moment
    rates: Rates
    bias: np.ndarray
    aside: tuple[Part, ...] = ()

    @property
    def spent(self) -> float:
        """What all samples cost."""
        return sum(part.spent for part in (*self.parts, *self.aside))

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
        The models, and what is asked.
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
    """

    simulator: AbstractSimulator
    statistic: AbstractStatistic
    tolerance: float | None
    budget: float
    quasi: bool | None = None
    seed: int = 0
    tell: Callable[[str], None] = lambda sentence: None
    begun: float = field(default_factory=lambda: clock.seconds_now())

    @property
    def chain(self) -> bool:
        """Whether there are levels whose limit is asked for."""
        return not self.simulator.ensemble and self.simulator.levels != 1

    @property
    def by_sequences(self) -> bool:
        """Whether samples come from Sobol sequences."""
        alone = self.simulator.surrogates is None and (self.chain or self.simulator.levels == 1)
        few = self.simulator.dim <= FEW_DIMENSIONS and isinstance(self.statistic, Mean)
        wanted = few if self.quasi is None else self.quasi
        return alone and wanted

    def rounds(self, kept: tuple[Part, ...] = ()) -> Iterator[State]:
        """States until the error is small enough, or the budget is spent; `kept` are parts to go on with."""
        state = self.state(kept or self._pilot())
        if self.chain and not kept:
            state = self._without_coarse(state)
        yield state
        while (parts := self._more(state)) is not None:
            state = self.state(parts, state.aside)
            yield state

    def state(self, parts: tuple[Part, ...], aside: tuple[Part, ...] = ()) -> State:
        """What the samples of parts tell."""
        mean = MeanEstimator(parts, self.statistic.rare)
        transform = self.statistic.transform(mean)
        moments = mean.moments(transform)
        found_rates, bias = Rates(*[float("nan")] * 3), np.zeros(moments[0].mean.shape)
        if self.chain:
            levels = (*aside[1:], *parts[1:])
            told = [part_moment(part, transform, self.statistic.rare) for part in aside[1:]] + list(moments[1:])
            found_rates = rates(told, np.array([part.cost_of((0,)) for part in levels]))
            bias = remaining(told)
        found = self.statistic.found(mean, transform, bias)
        return State(parts, moments, transform, found, mean(transform), found_rates, bias, aside)

    def _pilot(self) -> tuple[Part, ...]:
        if not self.chain:
            return (self._tried(self._ensemble(), TOGETHER),)
        levels = COARSE if self.simulator.levels is None else min(COARSE, self.simulator.levels)
        return tuple(self._tried(self._level(level), PILOT[level]) for level in range(levels))

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
        own = tuple(range(self.simulator.levels - 1, -1, -1))
        kind = self.simulator.surrogates
        others = () if kind is None else (SURROGATE - own[0] if kind else SURROGATE,)
        return Part((*own, *others), np.eye(len(own) + len(others)), self.by_sequences)

    def _level(self, level: int, first: bool = False) -> Part:
        """The difference of a level to the one below, and what the surrogate says of it."""
        kind, alone = self.simulator.surrogates, first or level == 0
        own, signs = ((level,), (1.0,)) if alone else ((level, level - 1), (1.0, -1.0))
        if kind is None:
            return Part(own, np.array([signs]), self.by_sequences)
        seen = (SURROGATE - level, SURROGATE - level + 1)[: len(own)] if kind else (SURROGATE,)
        contrast = np.zeros((2, len(own) + len(seen)))
        contrast[0, : len(own)] = signs
        contrast[1, len(own) :] = signs[: len(seen)]
        return Part((*own, *seen), contrast)

    def _without_coarse(self, state: State) -> State:
        """From a finer level on, where coarse ones cost more than they save; a difference is left for the bias."""
        roots = [np.sqrt(self._product(state, k)) for k in range(len(state.parts))]
        costs = [sum(roots) ** 2]
        for first in range(1, len(state.parts) - 1):
            part = state.parts[first]
            values = state.transform(part.groups[part.everything].values)[:, :, 0]
            spread = float(np.sum(np.var(values.reshape(-1, values.shape[-1]), axis=0)))
            costs.append((np.sqrt(spread * part.unit_costs()[0]) + sum(roots[first + 1 :])) ** 2)
        best = int(np.argmin(costs))
        if best == 0 or costs[best] > WORTH * costs[0]:
            return state
        self.tell(f"Levels below {best} are left out: they cost {costs[0] / costs[best]:.2g} times what they save.")
        first = self._tried(self._level(best, first=True), PILOT[best])
        return self.state((first, *state.parts[best + 1 :]), state.parts[: best + 1])

    def _product(self, state: State, number: int) -> float:
        """Cost times variance of a part."""
        return state.moments[number].design(state.parts[number]).product

    def _designs(self, state: State) -> list[Design]:
        """Samples of groups of each part for a unit of cost; variances of fine levels are not below expectation."""
        found = [moment.design(part) for part, moment in zip(state.parts, state.moments, strict=True)]
        if not self.chain:
            return found
        for k, variance in enumerate(expected(state.moments[1:], state.rates.beta), 1):
            own = state.moments[k].covariance[0, 0]
            found[k] = found[k]._replace(product=found[k].product * variance / max(own, 1e-300))
        return found

    def _left(self, state: State) -> float:
        """What is left of the budget."""
        spent = clock.seconds_now() - self.begun if self.simulator.measured else 0.0
        return self.budget - max(spent, state.spent if not self.simulator.measured else 0.0)

    def _more(self, state: State) -> tuple[Part, ...] | None:
        """The parts with the samples of the next round; `None` at the end."""
        left, components = self._left(state), state.found.value.size
        designs = self._designs(state)
        roots = np.sqrt([design.product for design in designs])
        payable = float(np.sum(roots)) ** 2 / max(state.spent + left, 1e-300) / components
        factor = self.statistic.factor(state.found, state.moment)
        wanted = None if self.tolerance is None else (self.tolerance / max(factor, 1e-300)) ** 2
        error = payable if wanted is None else wanted
        if left < LEFT * self.budget:
            return None
        if self.chain and state.missing > BIAS * (error + (state.missing if wanted is None else 0.0)):
            finer = self._finer(state, error, left)
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
