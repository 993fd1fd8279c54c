"""How a fidelity depends on cheaper ones: candidates from simple to free, and the choice by leave-one-out errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hierax.solvers.kriging import KrigingFit, best_lengths

JUDGED = 200
"""Most values that candidates are compared on."""
MOST = 600
"""Most values, and so kernels, of a fit."""


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
    alone, best:
        Leave-one-out errors of the fit without cheaper data and of the best coupling, on the same values.
    """

    candidate: Relation
    fit: KrigingFit
    centre: np.ndarray
    width: np.ndarray
    alone: float
    best: float


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
    candidates and `n` values: about what the best of `M` useless ones gains by chance.

    Parameters
    ----------
    corners:
        Of the domain.
    x, lower, values:
        Points `(n, dim)`, values of the cheaper fields there `(n, count)`, and the data `(n,)`.
    seed:
        Of the choice of the values to compare on, where there are many.

    Returns
    -------
    The choice, or `None` where there are too few values for any fit.
    """
    order = np.random.default_rng(seed).permutation(len(x))
    judged, kept = np.sort(order[:JUDGED]), np.sort(order[:MOST])
    every = list(candidates(lower.shape[1]))
    price = 1 + np.sqrt(np.log(len(every)) / len(judged))
    best, errors = None, []
    for candidate in every:
        centre, width = _scale(corners, lower[:, candidate.parents])
        z = (np.c_[x, lower[:, candidate.parents]] - centre) / width
        dim = x.shape[1]
        exponents, seen = candidate.exponents(dim, len(judged)), candidate.seen(dim)
        fit = best_lengths(exponents, seen, z[judged], values[judged])
        if fit is None:
            continue
        errors.append((candidate.rank, fit.error))
        score = fit.error * price**candidate.rank
        if best is None or score < best[0]:
            best = (score, candidate, exponents, seen, z, centre, width)
    if best is None:
        return None
    _, candidate, exponents, seen, z, centre, width = best
    fit = best_lengths(exponents, seen, z[kept], values[kept], sweeps=3)
    assert fit is not None
    alone = min((error for rank, error in errors if rank == 0), default=np.inf)
    return CoarseChoice(
        candidate, fit, centre, width, alone, min((error for rank, error in errors if rank > 0), default=np.inf)
    )


def _scale(corners: tuple[np.ndarray, np.ndarray], parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = corners
    spread = 2 * np.std(parents, axis=0)
    size = 1e-12 * np.max(np.abs(parents), axis=0, initial=0.0)
    centre = np.r_[(low + high) / 2, parents.mean(axis=0)]
    return centre, np.r_[(high - low) / 2, np.where(spread > size, spread, 1.0)]
