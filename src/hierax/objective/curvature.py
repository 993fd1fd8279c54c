"""Curvature operators: symmetric positive semidefinite matrices in the storage that suits the field.

All act on flat parameter vectors. `DenseGram` holds the matrix; `BandGram` a symmetric band in an order that keeps it
narrow, with a few dense rows for unknown constants; `MatrixFreeGram` only products.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import get_blas_funcs
from scipy.sparse import csr_array

_band_product: Any = get_blas_funcs("sbmv", dtype=np.float64)


class Coarsened(NamedTuple):
    """A curvature on a coarser space, with the maps between the parameter vectors.

    Attributes
    ----------
    curvature:
        The Galerkin product `P' A P`.
    prolong, restrict:
        `P` and its transpose.
    """

    curvature: AbstractCurvature
    prolong: Callable[[np.ndarray], np.ndarray]
    restrict: Callable[[np.ndarray], np.ndarray]


class AbstractCurvature(abc.ABC):
    """A symmetric positive semidefinite operator on parameter vectors of length `size`."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of parameters."""

    @abc.abstractmethod
    def mv(self, vector: np.ndarray) -> np.ndarray:
        """Product with a vector `(size,)`."""

    @abc.abstractmethod
    def diagonal(self) -> np.ndarray:
        """The diagonal, `(size,)`."""

    @abc.abstractmethod
    def blocks(self, partition: np.ndarray) -> np.ndarray:
        """Square blocks `(parts, m, m)` on the index sets in the rows of `partition` `(parts, m)`."""

    def shifted(self, shift: np.ndarray) -> AbstractCurvature:
        """`A + diag(shift)`."""
        return MatrixFreeGram(lambda v: self.mv(v) + shift * v, self.diagonal() + shift)

    def galerkin(self) -> Coarsened | None:
        """The curvature on the next coarser space that the field offers; `None` where there is none."""
        return None

    def quadratic(self, vector: np.ndarray) -> float:
        """`v' A v`."""
        return float(vector @ self.mv(vector))


@dataclass(frozen=True, eq=False)
class DenseGram(AbstractCurvature):
    """The whole matrix; for few parameters, or fields without local support."""

    matrix: np.ndarray

    @property
    def size(self) -> int:
        return len(self.matrix)

    def mv(self, vector: np.ndarray) -> np.ndarray:
        return self.matrix @ vector

    def diagonal(self) -> np.ndarray:
        return np.diagonal(self.matrix).copy()

    def blocks(self, partition: np.ndarray) -> np.ndarray:
        return self.matrix[partition[:, :, None], partition[:, None, :]]


@dataclass(frozen=True, eq=False)
class Ordering:
    """An order of the parameters in which elements span few places.

    `place[i]` is the position of parameter `i` in the band, or `size + j` for the `j`-th dense one; `band` is the
    number of subdiagonals.
    """

    place: np.ndarray
    size: int
    dense: int
    band: int


@dataclass(frozen=True, eq=False)
class BandGram(AbstractCurvature):
    """A band in the order of `ordering` (LAPACK's lower storage), bordered by dense rows.

    Attributes
    ----------
    lower:
        `(band + 1, n)`: entry `(i, j)`, `i >= j`, stands at `[i - j, j]`.
    border:
        `(n, dense)`; `corner`: `(dense, dense)`.
    """

    ordering: Ordering
    lower: np.ndarray
    border: np.ndarray
    corner: np.ndarray

    @property
    def size(self) -> int:
        return len(self.ordering.place)

    def mv(self, vector: np.ndarray) -> np.ndarray:
        n = self.ordering.size
        x = np.empty(self.size)
        x[self.ordering.place] = vector
        y = np.empty(self.size)
        y[:n] = _band_product(self.ordering.band, 1.0, self.lower, x[:n], lower=1) + self.border @ x[n:]
        y[n:] = self.border.T @ x[:n] + self.corner @ x[n:]
        return y[self.ordering.place]

    def diagonal(self) -> np.ndarray:
        return np.r_[self.lower[0], np.diagonal(self.corner)][self.ordering.place]

    def blocks(self, partition: np.ndarray) -> np.ndarray:
        place = self.ordering.place[partition]
        i, j = np.broadcast_arrays(place[:, :, None], place[:, None, :])
        n, band = self.ordering.size, self.ordering.band
        high, low = np.maximum(i, j), np.minimum(i, j)
        inside = (high < n) & (high - low <= band)
        out = np.where(inside, self.lower[np.where(inside, high - low, 0), np.where(inside, low, 0)], 0.0)
        mixed, corner = (high >= n) & (low < n), low >= n
        out[mixed] = self.border[low[mixed], high[mixed] - n]
        out[corner] = self.corner[low[corner] - n, high[corner] - n]
        return out


@dataclass(frozen=True, eq=False)
class SparseGram(AbstractCurvature):
    """A sparse matrix that is known beforehand, such as that of a quadratic penalty."""

    matrix: csr_array

    @property
    def size(self) -> int:
        return int(self.matrix.shape[0])  # pyright: ignore

    def mv(self, vector: np.ndarray) -> np.ndarray:
        return self.matrix @ vector

    def diagonal(self) -> np.ndarray:
        return self.matrix.diagonal()

    def blocks(self, partition: np.ndarray) -> np.ndarray:
        return np.stack([self.matrix[index][:, index].toarray() for index in partition])

    def add_to(self, band: BandGram, scale: float) -> None:
        """Add `scale` times the matrix to a band, in place."""
        entries = self.matrix.tocoo()
        i, j = band.ordering.place[entries.row], band.ordering.place[entries.col]
        keep = i >= j
        band.lower[i[keep] - j[keep], j[keep]] += scale * entries.data[keep]


@dataclass(frozen=True, eq=False)
class MatrixFreeGram(AbstractCurvature):
    """Products only; `estimate` is an estimate of the diagonal from random probes."""

    product: Callable[[np.ndarray], np.ndarray]
    estimate: np.ndarray

    @property
    def size(self) -> int:
        return len(self.estimate)

    def mv(self, vector: np.ndarray) -> np.ndarray:
        return self.product(vector)

    def diagonal(self) -> np.ndarray:
        return self.estimate

    def blocks(self, partition: np.ndarray) -> np.ndarray:
        out = np.zeros((*partition.shape, partition.shape[1]))
        for part, index in enumerate(partition):
            for column, i in enumerate(index):
                unit = np.zeros(self.size)
                unit[i] = 1.0
                out[part, :, column] = self.product(unit)[index]
        return out


def combine(grams: Sequence[AbstractCurvature], scales: Sequence[float]) -> BandGram:
    """Weighted sum of band matrices with the same ordering, and of sparse ones that fit into that band."""
    pairs = list(zip(grams, scales, strict=True))
    bands = [(g, c) for g, c in pairs if isinstance(g, BandGram)]
    lower = sum(c * g.lower for g, c in bands)
    border = sum(c * g.border for g, c in bands)
    corner = sum(c * g.corner for g, c in bands)
    total = BandGram(bands[0][0].ordering, np.asfortranarray(lower), border, corner)  # pyright: ignore
    for gram, scale in pairs:
        if isinstance(gram, SparseGram):
            gram.add_to(total, scale)
    return total
