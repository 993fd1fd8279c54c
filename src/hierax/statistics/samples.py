"""Samples of models that are evaluated together, from streams that more of them continue."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from hierax._errors import InputError
from hierax.statistics.blue import Group
from hierax.statistics.models import Models, Places

REPLICATES = 16
"""Independent scramblings of a Sobol sequence, whose spread tells the error."""
NUMBERS = 4_000_000
"""Uniform numbers that are drawn at once."""
BLOCK = 2**40
"""Distance of the numbers of samples in one replicate and the next."""


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Values of some models at the same inputs.

    Attributes
    ----------
    values:
        `(blocks, each, models, m)`: independent blocks, of one sample each, or replicates of a Sobol sequence.
    costs:
        What the values of each model cost, `(models,)`.
    drawn:
        Samples that were drawn of each block, with those of which a model failed.
    """

    values: np.ndarray
    costs: np.ndarray
    drawn: int

    @property
    def count(self) -> int:
        """Samples that are there."""
        return self.values.shape[0] * self.values.shape[1]


class NotFiniteError(InputError):
    """A member of a sequence has no value: the others, without it, are no sequence."""


@final
@dataclass(frozen=True, eq=False)
class Part:
    r"""One of the independent parts whose expectations add up to what is estimated.

    Its variables are combinations of models, the first of which is the part's own share; the others are control
    variates. A level of multilevel Monte Carlo has the difference to the level below as its variable.

    Attributes
    ----------
    models:
        Numbers of the models.
    contrast:
        The variables `(variables, models)` as combinations of models.
    quasi:
        Whether samples come from scrambled Sobol sequences.
    groups:
        Samples by the variables that they show.
    """

    models: tuple[int, ...]
    contrast: np.ndarray
    quasi: bool = False
    groups: dict[Group, Samples] = field(default_factory=dict)

    @property
    def everything(self) -> Group:
        """All variables."""
        return tuple(range(len(self.contrast)))

    @property
    def level(self) -> int:
        """The finest level in it."""
        return max(self.models)

    @property
    def step(self) -> bool:
        """Whether it is the difference of a level to the one below."""
        return self.models[:2] == (self.level, self.level - 1) and self.level > 0

    @property
    def step_cost(self) -> float:
        """What one sample of the finest level in it costs with the one below."""
        return max(float(np.sum(self.unit_costs()[:2])), 1e-12)

    def seen(self, group: Group) -> list[int]:
        """Places of the models that a group needs; of all variables all models."""
        if group == self.everything:
            return list(range(len(self.models)))
        return np.flatnonzero(np.any(self.contrast[list(group)] != 0, axis=0)).tolist()

    def count(self, group: Group) -> int:
        """Samples of a group."""
        return self.groups[group].count if group in self.groups else 0

    def unit_costs(self) -> np.ndarray:
        """What one value of each model costs, on average."""
        total, count = np.zeros(len(self.models)), np.zeros(len(self.models))
        for group, samples in self.groups.items():
            places = self.seen(group)
            total[places] += samples.costs
            count[places] += samples.drawn * len(samples.values) if self.quasi else samples.drawn
        return total / np.maximum(count, 1)

    def cost_of(self, group: Group) -> float:
        """What one sample of a group costs."""
        return max(float(np.sum(self.unit_costs()[self.seen(group)])), 1e-12)

    @property
    def spent(self) -> float:
        """What all samples cost."""
        return float(sum(np.sum(samples.costs) for samples in self.groups.values()))

    @property
    def failed(self) -> int:
        """Samples that were left out since a model gave no finite value."""
        drawn = sum(s.drawn * (len(s.values) if self.quasi else 1) for s in self.groups.values())
        return drawn - sum(s.count for s in self.groups.values())

    def variables(self, group: Group) -> np.ndarray:
        """Combinations `(variables, models)` of the models that a group needs."""
        return self.contrast[np.ix_(group, self.seen(group))]

    def narrowed(self, models: tuple[int, ...], contrast: np.ndarray) -> Part:
        """The same samples of fewer models, in other combinations."""
        places = [self.models.index(model) for model in models]
        (one,) = self.groups.values()
        kept = replace(one, values=one.values[:, :, places], costs=one.costs[places])
        part = Part(models, contrast, self.quasi)
        return replace(part, groups={part.everything: kept})

    def extended(self, simulator: Models, group: Group, count: int, seed: int) -> Part:
        """With at least `count` samples of a group; of Sobol sequences the next power of two in each replicate.

        Raises
        ------
        InputError
            For a failure of a model under a Sobol sequence, which may not have gaps.
        """
        before = self.groups.get(group)
        start = before.drawn if before else 0
        end = 1 << max(-(-count // REPLICATES) - 1, 0).bit_length()
        if not self.quasi:
            end = start + count - self.count(group)
        if end <= start:
            return self
        step = max(NUMBERS // (simulator.dim * (REPLICATES if self.quasi else 1)), 1)
        found = [] if before is None else [before]
        for begin in range(start, end, step):
            found.append(self._drawn(simulator, group, begin, min(begin + step, end), seed))
        axis = 1 if self.quasi else 0
        values = found[0].values if len(found) == 1 else np.concatenate([one.values for one in found], axis=axis)
        if values.shape[axis] < min(2, end):
            raise InputError("No sample gives a finite value.", f"levels {self.models}", "Repair the simulation.")
        costs = np.sum([one.costs for one in found], axis=0)
        return replace(self, groups={**self.groups, group: Samples(values, costs, end)})

    def _drawn(self, simulator: Models, group: Group, start: int, end: int, seed: int) -> Samples:
        """The samples of a group from one place of its stream to another."""
        # a seed may not be negative, and the surrogate's number is
        key = [seed, self.level + 2**16, 0, *group]
        name = f"{self.level}_{'-'.join(map(str, group))}" + "_independent" * (not self.quasi)
        uniform = self._uniform(simulator.dim, key, start, end)
        blocks, each = (1, end - start) if not self.quasi else (REPLICATES, end - start)
        numbers = np.arange(blocks)[:, None] * BLOCK + np.arange(start, end)
        places = Places(name, numbers.ravel())
        found = [simulator.evaluated(uniform, self.models[p], places) for p in self.seen(group)]
        values = np.stack([one.values for one in found], axis=1)
        costs = np.array([one.cost for one in found])
        good = np.all(np.isfinite(values), axis=(1, 2))
        if self.quasi and not np.all(good):
            raise NotFiniteError(
                "A model gave no finite value.", f"levels {self.models}", "Repair it, or sample without quasi=True."
            )
        values = values.reshape(blocks, each, *values.shape[1:]) if self.quasi else values[good][:, None]
        return Samples(values, costs, end)

    def _uniform(self, dim: int, key: list[int], start: int, end: int) -> np.ndarray:
        """Uniform numbers `(n, dim)` from one place of the stream to another, of one replicate after the other."""
        if not self.quasi:
            stream = np.random.PCG64(key)
            stream.advance(start * dim)
            return np.random.Generator(stream).random((end - start, dim))
        # imported here: it takes longer to import than many a command to run
        from scipy.stats import qmc

        blocks = []
        for number in range(REPLICATES):
            engine = qmc.Sobol(dim, rng=np.random.default_rng([*key, number]))
            # the first number of a sequence cannot be passed over by none
            blocks.append((engine.fast_forward(start) if start else engine).random(end - start))
        return np.concatenate(blocks)
