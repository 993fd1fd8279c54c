"""Estimates from samples that are there: values of models, what they cost, and which of them have the same inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.statistics.blue import Group
from hierax.statistics.estimate import Estimate, heavy_tails, quantiles, rows, sampled_plainly
from hierax.statistics.estimating import State
from hierax.statistics.moments import FOLDS, MeanEstimator
from hierax.statistics.quantities import AbstractStatistic, Mean
from hierax.statistics.rates import Rates
from hierax.statistics.samples import Part, Samples

FEWEST = 2 * FOLDS
"""Samples of a group, at least: fewer do not tell their own variance."""
WHERE = "estimate_samples(samples, levels, values, costs)"


def estimate_samples(
    samples: Shaped[ArrayLike, " n"],
    levels: Float[ArrayLike, " n"],
    values: Float[ArrayLike, " n"],
    costs: Float[ArrayLike, " n"],
    statistic: AbstractStatistic | None = None,
) -> Estimate:
    """Estimate a statistic of the finest of some models from values that were computed before.

    Samples need not be nested. Where some show all models, the estimator is the best linear unbiased one of all groups
    of samples that show the same models. Else it is the sum of differences between neighbouring levels, each from the
    samples whose finest two levels these are.

    Parameters
    ----------
    samples:
        What names the inputs: values with the same name are those of different models at the same inputs.
    levels:
        Number of the model of each value; the largest one is asked for.
    values, costs:
        Of a single number, and what each value cost.
    statistic:
        As of `hx.estimate`.

    Raises
    ------
    InputError
        For columns of different lengths, a model that is given twice at the same inputs, values that are not finite,
        and levels that too few samples link.
    """
    names, number = np.unique(np.ravel(np.asarray(samples)), return_inverse=True)
    columns = [np.ravel(np.asarray(column, dtype=float)) for column in (levels, values, costs)]
    if len({len(number), *map(len, columns)}) > 1 or not np.all(np.isfinite(np.concatenate(columns))):
        raise InputError(
            f"{[len(number), *map(len, columns)]} entries.", WHERE, "Give columns of equal length, finite."
        )
    models, place = np.unique(-columns[0], return_inverse=True)
    table, price = np.full((2, len(names), len(models)), np.nan)
    if len(np.unique(number * len(models) + place)) < len(number):
        raise InputError("A model has two values for one sample.", WHERE, "Name samples by their inputs.")
    table[number, place], price[number, place] = columns[1:]
    groups = _groups(table, price)
    parts = _together(groups, len(models)) or _chain(groups, -models)
    left_out = len(names) - sum(samples.count for part in parts for samples in part.groups.values())
    found = _estimated(parts, statistic or Mean(), float(np.sum(columns[2])), left_out)
    # inside of parts the coarsest model is number 0
    named = tuple(row._replace(name=f"{-models[::-1][int(row.name)]:g}") for row in found.rows)
    return dataclasses.replace(found, rows=named)


def _groups(table: np.ndarray, price: np.ndarray) -> dict[Group, tuple[np.ndarray, np.ndarray]]:
    """Values and costs `(n, models of the group)` by the models that samples show."""
    shown = np.isfinite(table)
    kinds = {tuple(np.flatnonzero(row).tolist()) for row in np.unique(shown, axis=0)}
    own = {kind: np.all(shown == np.isin(np.arange(table.shape[1]), kind), axis=1) for kind in sorted(kinds)}
    return {kind: (table[rows][:, kind], price[rows][:, kind]) for kind, rows in own.items()}


def _samples(found: Iterable[tuple[np.ndarray, np.ndarray]]) -> Samples:
    values, costs = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Samples(values[:, None, :, None], np.sum(costs, axis=0), len(values))


def _together(groups: dict[Group, tuple[np.ndarray, np.ndarray]], models: int) -> tuple[Part, ...]:
    """All models in one part, if enough samples show them all; numbers of models count from the coarsest."""
    kept = {group: _samples([found]) for group, found in groups.items() if len(found[0]) >= FEWEST}
    numbers = tuple(reversed(range(models)))
    return (Part(numbers, np.eye(models), groups=kept),) if tuple(range(models)) in kept else ()


def _chain(groups: dict[Group, tuple[np.ndarray, np.ndarray]], levels: np.ndarray) -> tuple[Part, ...]:
    """A part for each level and the one below it, from the coarsest."""
    parts = []
    for place in reversed(range(len(levels))):
        pair = (place,) if place == len(levels) - 1 else (place, place + 1)
        own = [(v[:, : len(pair)], c[:, : len(pair)]) for group, (v, c) in groups.items() if group[: len(pair)] == pair]
        count = sum(len(v) for v, _ in own)
        if count < FEWEST:
            what = " and ".join(f"{levels[k]:g}" for k in pair)
            raise InputError(f"{count} samples have level {what} as their finest.", WHERE, f"Give at least {FEWEST}.")
        number, contrast = len(levels) - 1 - place, np.array([[1.0, -1.0][: len(pair)]])
        parts.append(Part((number, number - 1)[: len(pair)], contrast, groups={(0,): _samples(own)}))
    return tuple(parts)


def _estimated(parts: tuple[Part, ...], statistic: AbstractStatistic, spent: float, left_out: int) -> Estimate:
    mean = MeanEstimator(parts, statistic.hidden)
    transform = statistic.transform(mean)
    found, moments = statistic.found(mean, transform), mean.moments(transform)
    state = State(parts, moments, transform, found, mean(transform), Rates(*[float("nan")] * 3), np.zeros(1))
    said = heavy_tails(state)
    if left_out:
        said = (*said, f"{left_out} samples are left out: they are too few of their kind.")
    whole = len(parts) == 1
    method = "Best linear unbiased estimator" if whole else "Sum of differences of levels"
    value, error, low, high = (float(part[0]) for part in found)
    return Estimate(
        statistic=statistic.words, method=f"{method} of the finest model, from samples that were given", value=value,
        error=error, low=low, high=high, bias=0.0, rows=rows(state), rates=state.rates, spent=spent,
        plain=sampled_plainly(state), tolerance=None, failed=0, reached=not heavy_tails(state), sentences=said,
        distribution=quantiles(state),
    )  # fmt: skip
