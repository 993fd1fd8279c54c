"""How a fidelity depends on cheaper ones: candidates from simple to free, and the choice by leave-one-out errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hierax.solvers.kriging import KrigingFit, best_lengths

JUDGED = 200
"""Most values that candidates are compared on."""
MOST = 600
"""Most values, and so kernels, of a fit."""
FEW, PARTS = 100, 10
"""Most values of which each part is predicted by a choice that has not seen it, and how many parts."""
SWEEPS = 3
"""Of the lengths of the kernels of what is chosen, see `best_lengths`."""


@dataclass(frozen=True)
class Relation:
    """A way to use cheaper fidelities.

    Attributes
    ----------
    parents:
        Positions of the cheaper fidelities that are used.
    words:
        How, for the plan.
    rank:
        Order of complexity; more has to be earned by a smaller error.
    linear:
        Whether the factors may change linearly with the coordinates.
    degree:
        Highest power of the cheaper values in the trend.
    free:
        Whether the kernels see the cheaper values.
    """

    parents: tuple[int, ...]
    words: str
    rank: int
    linear: bool = False
    degree: int = 1
    free: bool = False

    def exponents(self, dim: int, count: int) -> np.ndarray:
        """Rows of exponents of the trend in the `dim` coordinates and the values of the parents."""
        unit = np.eye(dim + len(self.parents), dtype=int)
        coordinates = list(unit[:dim]) if count >= 4 * (dim + 1) else []
        rows = [0 * unit[0], *coordinates]
        for power in range(1, self.degree + 1):
            for own in unit[dim:]:
                rows.append(power * own)
                rows += [power * own + axis for axis in unit[:dim]] if self.linear else []
        return np.array(rows)

    def seen(self, dim: int) -> np.ndarray:
        """Which inputs the kernels see, as ones and zeros."""
        return np.r_[np.ones(dim), np.full(len(self.parents), float(self.free))]


@dataclass(frozen=True, eq=False)
class CoarseChoice:
    """The candidate that the data support, its fit, the scaling of its inputs, and how it compares.

    Attributes
    ----------
    candidate, fit:
        What was chosen.
    centre, width:
        Inputs are `(z - centre) / width`.
    error:
        Root mean square error of values that neither the fit nor the choice has seen, where there are few values;
        else of those that the fit has left out.
    alone, best:
        Such errors of the fit without cheaper data, and of the choice among all; infinite where there are none.
    """

    candidate: Relation
    fit: KrigingFit
    centre: np.ndarray
    width: np.ndarray
    error: float
    alone: float
    best: float


@dataclass(frozen=True, eq=False)
class _Table:
    """Points `(n, dim)`, values of the cheaper fields there, and the data `(n,)`, with the corners of the domain."""

    corners: tuple[np.ndarray, np.ndarray]
    x: np.ndarray
    lower: np.ndarray
    values: np.ndarray

    def inputs(self, candidate: Relation, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scaled inputs `(rows, inputs)` of a candidate, and the centre and width of the scale."""
        parents = self.lower[:, candidate.parents]
        centre, width = _scale(self.corners, parents)
        return (np.c_[self.x, parents][rows] - centre) / width, centre, width

    def fitted(self, candidate: Relation, rows: np.ndarray, count: int, sweeps: int = 0) -> KrigingFit | None:
        """A candidate, fitted to some rows, with the trend that so many allow."""
        exponents, seen = candidate.exponents(self.x.shape[1], count), candidate.seen(self.x.shape[1])
        return best_lengths(exponents, seen, self.inputs(candidate, rows)[0], self.values[rows], sweeps)

    def chosen(self, every: Sequence[Relation], rows: np.ndarray) -> tuple[Relation, float] | None:
        """The candidate that some rows support, and its error left out."""
        price = 1 + np.sqrt(np.log(len(every)) / len(rows))
        fits = [(candidate, self.fitted(candidate, rows, len(rows))) for candidate in every]
        scored = [(fit.error * price**candidate.rank, k) for k, (candidate, fit) in enumerate(fits) if fit is not None]
        if not scored:
            return None
        candidate, fit = fits[min(scored)[1]]
        assert fit is not None
        return candidate, fit.error

    def unseen(self, every: Sequence[Relation], rows: np.ndarray) -> float:
        """Error of rows that are predicted by what is chosen and fitted without them; infinite where nothing can be."""
        misfits = []
        for part in np.array_split(rows, min(PARTS, len(rows))):
            rest = np.setdiff1d(rows, part)
            found = self.chosen(every, rest)
            fit = None if found is None else self.fitted(found[0], rest, len(rest), SWEEPS)
            if found is None or fit is None:
                return np.inf
            misfits.append(fit.predict(self.inputs(found[0], part)[0]) - self.values[part])
        return float(np.sqrt(np.mean(np.concatenate(misfits) ** 2)))


def candidates(count: int) -> Iterator[Relation]:
    """All ways to use `count` cheaper fidelities, the simplest first."""
    yield Relation((), "alone", 0)
    for j in reversed(range(count)):
        yield Relation((j,), "by a constant factor", 1)
    for j in reversed(range(count)):
        yield Relation((j,), "by a factor linear in the coordinates", 2, linear=True)
    if count > 1:
        yield Relation(tuple(range(count)), "by constant factors", 2)
    for j in reversed(range(count)):
        yield Relation((j,), "by a quadratic function with factors linear in the coordinates", 3, True, 2)
        yield Relation((j,), "by a free function of it and the coordinates", 3, free=True)


def choose_coupling(
    corners: tuple[np.ndarray, np.ndarray], x: np.ndarray, lower: np.ndarray, values: np.ndarray, seed: int
) -> CoarseChoice | None:
    r"""Choose how values depend on the cheaper fidelities.

    A candidate of rank `r` must lower the leave-one-out error by the factor :math:`(1 + \sqrt{\log M / n})^r`, with `M`
    candidates and `n` values: about what the best of `M` useless ones gains by chance. Errors that choose are too small
    for what was chosen. Where there are few values, all of the choosing is repeated without each part of them, which it
    then predicts; cheaper fidelities that do not lower this error are not used.

    Parameters
    ----------
    corners:
        Of the domain.
    x, lower, values:
        Points `(n, dim)`, values of the cheaper fields there `(n, count)`, and the data `(n,)`.
    seed:
        Of the choice of the values to compare on, where there are many, and of the parts.

    Returns
    -------
    The choice, or `None` where there are too few values for any fit.

    References
    ----------
    Varma and Simon, BMC Bioinformatics 7:91 (2006): the error of what was chosen by errors.
    """
    order = np.random.default_rng(seed).permutation(len(x))
    judged, kept = order[:JUDGED], np.sort(order[:MOST])
    table, every = _Table(corners, x, lower, values), tuple(candidates(lower.shape[1]))
    few = len(x) <= FEW
    taken, errors = [], []
    for some in (every[:1], every):
        found = table.chosen(some, np.sort(judged))
        taken.append(found and found[0])
        errors.append(np.inf if found is None else table.unseen(some, judged) if few else found[1])
    # where all are tried and none is taken, parts may have taken one: their error is not that of what is returned
    better = taken[1] is not taken[0] and (not few or errors[1] < errors[0])
    candidate, error = (taken[1], errors[1]) if better or taken[0] is None else (taken[0], errors[0])
    if candidate is None:
        return None
    fit = table.fitted(candidate, kept, len(judged), SWEEPS)
    assert fit is not None
    error = max(error, fit.error) if few else fit.error
    centre, width = table.inputs(candidate, kept)[1:]
    return CoarseChoice(candidate, fit, centre, width, error, errors[0], errors[1] if len(every) > 1 else np.inf)


def _scale(corners: tuple[np.ndarray, np.ndarray], parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = corners
    spread = 2 * np.std(parents, axis=0)
    size = 1e-12 * np.max(np.abs(parents), axis=0, initial=0.0)
    centre = np.r_[(low + high) / 2, parents.mean(axis=0)]
    return centre, np.r_[(high - low) / 2, np.where(spread > size, spread, 1.0)]
