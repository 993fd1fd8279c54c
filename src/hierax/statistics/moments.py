"""Means, their errors and what they cost, from the samples of parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np

from hierax.statistics.blue import Design, Group, best_design, candidates, weights
from hierax.statistics.quantities import Moment, Transform, as_it_is
from hierax.statistics.samples import Part
from hierax.statistics.tails import unseen_above

TIES = 2
"""Samples in which a difference may not be zero so that it counts as an event that samples do not show."""
FOLDS = 5
"""Parts of the samples: the weights of each come from the others, so that they depend on no value they multiply."""


@final
@dataclass(frozen=True, eq=False)
class PartMoment:
    """The mean of a part's first variable.

    Attributes
    ----------
    mean, variance:
        `(m,)`, and the variance of this estimate.
    third, freedom:
        Third central moment `(m,)` of this estimate, and degrees of freedom that tell its variance: fewer than samples
        where tails are heavy.
    covariance:
        Of the variables `(variables, variables)`, of one sample, added over components; for Sobol sequences what one
        sample is worth as long as there are as many.
    square:
        Mean square of one sample of the first variable, added over components: of Sobol sequences too that of a sample.
    weight:
        The largest share that one sample has in the variance.
    unseen:
        What the mean may lack in its lower and upper tail `(2, m)`, see `tails`.
    """

    mean: np.ndarray
    variance: np.ndarray
    third: np.ndarray
    freedom: float
    covariance: np.ndarray
    square: float
    weight: float
    unseen: np.ndarray

    def design(self, part: Part) -> Design:
        """The samples of its groups for a unit of cost."""
        groups = candidates(len(part.contrast))
        return best_design(self.covariance, groups, np.array([part.cost_of(group) for group in groups]))


Hidden = Callable[[Transform, np.ndarray], float]
"""See `AbstractStatistic.hidden`."""


def part_moment(part: Part, transform: Transform, hidden: Hidden) -> PartMoment:
    """The mean of a part from its groups of samples, by best linear weights if there are control variates."""
    seen = {group: _blocks(part, group, transform) for group in part.groups}
    size = len(part.contrast)
    centre = _centre(seen, size)
    seen = {group: y - centre[list(group)] for group, y in seen.items()}
    sums = {group: _sums(y) for group, y in seen.items()}
    covariance = _covariance(sums, size)
    alone = size == 1
    spread = {g: y[:, 0] for g, y in seen.items()} if alone else _contributions(seen, sums, size)
    most = max(part.count(group) for group in seen if group[0] == 0)
    each = _samples(part, transform)
    least = max(hidden(transform, _samples(part, as_it_is)), _unseen(part, each, transform) / most)
    covariance[0, 0] = max(covariance[0, 0], least)
    square = float(np.sum(np.mean(np.square(each), axis=0))) + least
    mean = centre[0] + np.sum([np.mean(z, axis=0) for z in spread.values()], axis=0)
    own = [_spread(z) for z in spread.values()]
    size = np.sum(np.square(each - np.mean(each, axis=0)), axis=1)
    weight = float(np.max(size) / max(np.sum(size), least * len(size), 1e-300))
    if part.quasi:
        (samples,) = part.groups.values()
        covariance = covariance * samples.values.shape[1]
    variance, third = (np.sum([getattr(one, name) for one in own], axis=0) for name in ("variance", "third"))
    shown = [each] if alone else list(spread.values())
    unseen = np.stack([np.sum([unseen_above(sign * z) for z in shown], axis=0) for sign in (-1.0, 1.0)])
    return PartMoment(
        mean, np.maximum(variance, least / most), third, together(own), covariance, square, weight, unseen
    )


def part_mean(part: Part, transform: Transform) -> np.ndarray:
    """The mean `(m,)` of a part's first variable alone."""
    if len(part.contrast) > 1:
        return part_moment(part, transform, lambda _, values: 0.0).mean
    (samples,) = part.groups.values()
    return part.contrast[0] @ np.mean(transform(samples.values), axis=(0, 1))


class Spread(NamedTuple):
    """Variance and third central moment of a mean `(m,)`, and degrees of freedom that tell the variance."""

    variance: np.ndarray
    third: np.ndarray
    freedom: float


def _spread(z: np.ndarray) -> Spread:
    """Of the mean of rows `(n, m)`; the third moment is without bias, so that few rows do not hide it.

    The variance of a variance is that of a chi-squared law with `2 n / (kurtosis - 1)` degrees of freedom.
    """
    count, rest = len(z), z - np.mean(z, axis=0)
    variance = np.sum(rest**2, axis=0) / (count - 1) / count
    third = np.sum(rest**3, axis=0) / ((count - 1) * max(count - 2, 1)) / count
    kurtosis = _kurtosis(np.sum(rest**2, axis=1))
    return Spread(variance, third, 2.0 * (count - 1) / max(kurtosis - 1.0, 2.0))


def _kurtosis(squares: np.ndarray) -> float:
    return float(np.mean(squares**2) / max(np.mean(squares) ** 2, 1e-300))


def together(parts: Sequence[Spread | PartMoment]) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite, Biometrics Bull. 2, 1946)."""
    total = np.array([np.sum(one.variance) for one in parts])
    freedom = np.array([one.freedom for one in parts])
    return float(np.sum(total) ** 2 / np.sum(total**2 / freedom)) if np.sum(total) else float(min(freedom))


def _blocks(part: Part, group: Group, transform: Transform) -> np.ndarray:
    """Means of the variables in each block `(blocks, variables, m)`."""
    values = np.mean(transform(part.groups[group].values), axis=1)
    return np.einsum("vk,bkm->bvm", part.variables(group), values)


def _samples(part: Part, transform: Transform) -> np.ndarray:
    """The first variable `(n, m)` of single samples in the largest group that shows it."""
    group = max((g for g in part.groups if g[0] == 0), key=part.count)
    values = transform(part.groups[group].values)
    return np.einsum("k,bnkm->bnm", part.variables(group)[0], values).reshape(-1, values.shape[-1])


def _unseen(part: Part, each: np.ndarray, transform: Transform) -> float:
    """Hidden variance, times samples, of what a surrogate lacks, if it is exactly zero in nearly all samples.

    So it is of numbers with few values.
    One sample in as many as there are may show another value, by as much as values of the model itself differ. Of
    differences of levels the rates tell more.
    """
    lacking = len(part.contrast) == 1 and np.count_nonzero(part.contrast) > 1 and not part.step
    if not lacking or np.sum(np.any(each, axis=1)) > TIES:
        return 0.0
    (samples,) = part.groups.values()
    own = transform(samples.values)[:, :, 0]
    return float(np.sum(np.var(own.reshape(-1, own.shape[-1]), axis=0)))


def _centre(seen: dict[Group, np.ndarray], variables: int) -> np.ndarray:
    """Rough means of all variables `(variables, m)`."""
    return np.stack(
        [np.mean(max((y[:, g.index(k)] for g, y in seen.items() if k in g), key=len), axis=0) for k in range(variables)]
    )


class _Sums(NamedTuple):
    """Of each fold of a group: samples `(folds,)`, sums `(folds, variables, m)`, sums of products added over `m`."""

    samples: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def without(self, fold: int | None) -> tuple[float, np.ndarray]:
        """Samples but those of a fold, and their covariance times one less."""
        kept = np.arange(FOLDS) != fold
        count, first = float(np.sum(self.samples[kept])), np.sum(self.first[kept], axis=0)
        return count, np.sum(self.second[kept], axis=0) - first @ first.T / max(count, 1.0)


def _sums(y: np.ndarray) -> _Sums:
    folds = [y[fold::FOLDS] for fold in range(FOLDS)]
    flat = [np.moveaxis(part, 1, 0).reshape(y.shape[1], -1) for part in folds]
    return _Sums(
        np.array([len(part) for part in folds], float), np.stack([np.sum(part, axis=0) for part in folds]),
        np.stack([part @ part.T for part in flat]),
    )  # fmt: skip


def _contributions(seen: dict[Group, np.ndarray], sums: dict[Group, _Sums], size: int) -> dict[Group, np.ndarray]:
    """What each block of each group adds to the mean `(blocks, m)`, before they are averaged."""
    counts = np.array([len(y) for y in seen.values()], float)
    out = {group: np.empty((len(y), y.shape[2])) for group, y in seen.items()}
    for fold in range(FOLDS):
        found = weights(_covariance(sums, size, fold), list(seen), counts)
        for (group, y), own in zip(seen.items(), found, strict=True):
            out[group][fold::FOLDS] = np.tensordot(y[fold::FOLDS], own, axes=(1, 0))
    return out


def _covariance(sums: dict[Group, _Sums], size: int, fold: int | None = None) -> np.ndarray:
    """Covariance of the variables, added over components, without a fold of the samples.

    It is that of samples which show all variables: weights are as good as the regression of one on the others, and
    variances from other samples than covariances would spoil it where models have nearly everything in common.
    """
    count, products = sums[tuple(range(size))].without(fold)
    return products / max(count - 1.0, 1.0)


@final
@dataclass(frozen=True, eq=False)
class MeanEstimator:
    """The sum of the means of parts, as a function of what is done to values first."""

    parts: Sequence[Part]
    hidden: Hidden
    _known: dict[Transform, tuple[PartMoment, ...]] = field(default_factory=dict)

    def moments(self, transform: Transform) -> tuple[PartMoment, ...]:
        """The means of all parts."""
        if transform not in self._known:
            self._known[transform] = tuple(part_moment(part, transform, self.hidden) for part in self.parts)
        return self._known[transform]

    def __call__(self, transform: Transform) -> Moment:
        found = self.moments(transform)
        variance, third = (np.sum([getattr(one, name) for one in found], axis=0) for name in ("variance", "third"))
        skewness = third / np.maximum(variance, 1e-180) ** 1.5
        count = sum(samples.count for samples in self.parts[0].groups.values())
        mean = np.sum([one.mean for one in found], axis=0)
        unseen = np.sum([one.unseen for one in found], axis=0)
        return Moment(mean, np.sqrt(variance), skewness, together(found), count, unseen)

    def value(self, transform: Transform) -> np.ndarray:
        """The mean `(m,)` alone."""
        return np.sum([part_mean(part, transform) for part in self.parts], axis=0)
