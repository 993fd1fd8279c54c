"""Tensor trains on grids: functions of many coordinates as chains of small matrices, found by cross approximation.

A train is a list of cores `(a, n, b)`: the value at `(i_1, ..., i_d)` is the product of the matrices `core_k[:, i_k]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Train = list[np.ndarray]
"""Cores `(a, n, b)`, whose first and last bonds are 1."""
Values = Callable[[np.ndarray], np.ndarray]
"""From indices `(m, d)` of points of a grid to values `(m,)` there."""

TRIALS = 4000
"""Random points of a grid at which a start is looked for, and as many at which the result is verified."""
SWEEPS, ROUNDS, ADDED = 6, 6, 3
"""Most sweeps; rounds of sweeps, and pivots that are added where a round has left the largest errors."""


@dataclass(frozen=True)
class Cross:
    """How a function is approximated from some of its values.

    Attributes
    ----------
    tolerance:
        Largest error, beside the largest value.
    rank:
        Most columns of a core; a function that needs more is given up.
    """

    tolerance: float = 1e-9
    rank: int = 40

    def __call__(self, values: Values, sizes: Sequence[int]) -> Train | None:
        """A train with these values on a grid of some sizes; `None` where it is not found within tolerance and rank.

        Sets of pivots for the left and the right parts of the indices are exchanged pair by pair of neighbouring axes,
        by elimination with full pivoting of the matrix between them, until they no longer change.

        References
        ----------
        Oseledets, Tyrtyshnikov, Linear Algebra Appl. 432 (2010); Dolgov, Savostyanov, Comput. Phys. Commun. 246 (2020);
        Nunez Fernandez et al., Phys. Rev. X 12 (2022), section III.
        """
        generator = np.random.default_rng(0)
        tried = _draw(generator, sizes)
        found = values(tried)
        if not np.all(np.isfinite(found)):
            return None
        largest = float(np.abs(found).max())
        if largest == 0.0:
            return [np.zeros((1, size, 1)) for size in sizes]
        pivots = _Pivots.at(tried[int(np.argmax(np.abs(found)))], sizes)
        for _ in range(ROUNDS):
            largest = self._swept(values, pivots, largest)
            if largest is None:
                return None
            train, fresh = pivots.train(values), _draw(generator, sizes)
            errors = np.abs(at(train, fresh) - values(fresh))
            if errors.max() <= max(10.0 * self.tolerance, 1e-12) * largest:
                return train
            # neighbours alone do not see a dependence between axes that are far from each other
            for worst in np.argsort(errors)[-ADDED:]:
                pivots.add(fresh[worst])
        return None

    def _swept(self, values: Values, pivots: _Pivots, largest: float) -> float | None:
        """Exchange pivots until their numbers stay; the largest value seen, or `None` where they become too many."""
        for sweep in range(SWEEPS):
            before, bonds = pivots.ranks, range(len(pivots.sizes) - 1)
            for bond in bonds if sweep % 2 == 0 else reversed(bonds):
                largest = pivots.exchanged(values, bond, self, largest)
            if max(pivots.ranks, default=1) > self.rank or not np.isfinite(largest):
                return None
            if sweep and pivots.ranks == before:
                break
        return largest


class _Pivots:
    """Left sets `(r, k)` of indices of the first `k` axes, and right sets of those from axis `k` on."""

    def __init__(self, left: list[np.ndarray], right: list[np.ndarray], sizes: Sequence[int]) -> None:
        self.left, self.right, self.sizes = left, right, sizes

    @classmethod
    def at(cls, start: Int[np.ndarray, " d"], sizes: Sequence[int]) -> _Pivots:
        ends = range(len(sizes) + 1)
        return cls([start[None, :k] for k in ends], [start[None, k:] for k in ends], sizes)

    @property
    def ranks(self) -> list[int]:
        """Numbers of pivots between the axes."""
        return [len(part) for part in self.left[1:-1]]

    def add(self, index: Int[np.ndarray, " d"]) -> None:
        """One more pivot between all axes."""
        for k in range(1, len(self.sizes)):
            self.left[k] = np.concatenate([self.left[k], index[None, :k]])
            self.right[k] = np.concatenate([self.right[k], index[None, k:]])

    def exchanged(self, values: Values, bond: int, cross: Cross, largest: float) -> float:
        """Choose the pivots between two axes anew; the largest value seen so far."""
        rows = _pairs(self.left[bond], _column(self.sizes[bond]))
        columns = _pairs(_column(self.sizes[bond + 1]), self.right[bond + 2])
        matrix = values(_pairs(rows, columns)).reshape(len(rows), len(columns))
        largest = max(largest, float(np.abs(matrix).max()))
        i, j = _eliminated(matrix, cross.tolerance * largest, cross.rank + 1)
        self.left[bond + 1], self.right[bond + 1] = rows[i], columns[j]
        return largest

    def train(self, values: Values) -> Train:
        """The train that interpolates at the pivots."""
        cores, last = [], len(self.sizes) - 1
        for k, size in enumerate(self.sizes):
            rows, columns = _pairs(self.left[k], _column(size)), self.right[k + 1]
            core = values(_pairs(rows, columns)).reshape(len(rows), len(columns))
            if k < last:
                square = values(_pairs(self.left[k + 1], columns)).reshape(len(columns), len(columns))
                core = np.linalg.solve(square.T, core.T).T
            cores.append(core.reshape(len(self.left[k]), size, len(columns)))
        return cores


def _eliminated(matrix: np.ndarray, least: float, most: int) -> tuple[list[int], list[int]]:
    """Rows and columns of the pivots of an elimination with full pivoting, down to the least size of a pivot."""
    rest, rows, columns = matrix.copy(), [], []
    for _ in range(min(most, *matrix.shape)):
        i, j = divmod(int(np.argmax(np.abs(rest))), rest.shape[1])
        pivot = rest[i, j]
        if rows and not abs(pivot) > least:
            break
        if pivot == 0.0:
            pivot = 1.0
        rows.append(i)
        columns.append(j)
        rest -= np.outer(rest[:, j], rest[i] / pivot)
    return rows, columns


def _pairs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """All indices of one set followed by those of another."""
    return np.concatenate([np.repeat(left, len(right), axis=0), np.tile(right, (len(left), 1))], axis=1)


def _column(size: int) -> np.ndarray:
    return np.arange(size)[:, None]


def _draw(generator: np.random.Generator, sizes: Sequence[int]) -> Int[np.ndarray, "trials d"]:
    return np.stack([generator.integers(size, size=TRIALS) for size in sizes], axis=1)


def at(train: Train, index: Int[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
    """Values at some points of the grid."""
    row = np.ones((len(index), 1, 1))
    for core, i in zip(train, index.T, strict=True):
        row = row @ np.moveaxis(core, 1, 0)[i]
    return row[:, 0, 0]


def added(trains: Sequence[Train]) -> Train:
    """The sum of some trains, with bonds that add up."""
    out, last = [], len(trains[0]) - 1
    for k, cores in enumerate(zip(*trains, strict=True)):
        if last == 0:
            out.append(sum(cores[1:], cores[0]))
        elif k in (0, last):
            out.append(np.concatenate(cores, axis=2 if k == 0 else 0))
        else:
            ends = np.cumsum([[0, 0], *([core.shape[0], core.shape[2]] for core in cores)], axis=0)
            block = np.zeros((ends[-1, 0], cores[0].shape[1], ends[-1, 1]))
            for core, (a, b) in zip(cores, ends[:-1], strict=True):
                block[a : a + core.shape[0], :, b : b + core.shape[2]] = core
            out.append(block)
    return out


def rounded(train: Train, tolerance: float = 1e-12) -> Train:
    """The same values, up to a tolerance relative to their norm, with the smallest bonds that have them.

    References
    ----------
    Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33 (2011), algorithm 2.
    """
    cores = list(train)
    for k in range(len(cores) - 1, 0, -1):
        a, n, b = cores[k].shape
        q, r = np.linalg.qr(cores[k].reshape(a, n * b).T)
        cores[k] = q.T.reshape(-1, n, b)
        cores[k - 1] = cores[k - 1] @ r.T
    for k in range(len(cores) - 1):
        a, n, b = cores[k].shape
        u, s, v = np.linalg.svd(cores[k].reshape(a * n, b), full_matrices=False)
        tail = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1]
        kept = max(1, int(np.sum(tail > tolerance * tail[0])))
        cores[k] = u[:, :kept].reshape(a, n, kept)
        cores[k + 1] = np.tensordot(s[:kept, None] * v[:kept], cores[k + 1], axes=1)
    return cores
