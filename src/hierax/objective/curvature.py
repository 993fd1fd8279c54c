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
        """`v' A v`; no finite number for vectors so long that it overflows, which whoever asks refuses."""
        with np.errstate(over="ignore", invalid="ignore"):
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
    """A sparse matrix that is known beforehand: that of a quadratic penalty on the distance from a `center`."""

    matrix: csr_array
    center: np.ndarray | float = 0.0

    def penalty(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """`(v - c)' A (v - c) / 2` and its gradient."""
        slope = self.matrix @ (vector - self.center)
        return 0.5 * float((vector - self.center) @ slope), slope

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
        rows, columns, values = self.entries(band.ordering)
        band.lower[rows, columns] += scale * values
        band.corner[:] += scale * self.corner(band.ordering)

    def entries(self, ordering: Ordering) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns in a band's storage, and values, of what is not zero in the lower triangle."""
        entries = self.matrix.tocoo()
        i, j = ordering.place[entries.row], ordering.place[entries.col]
        keep = (i >= j) & (entries.data != 0.0) & (i < ordering.size)
        return i[keep] - j[keep], j[keep], entries.data[keep]

    def corner(self, ordering: Ordering) -> np.ndarray:
        """The block `(dense, dense)` of the dense rows, which nothing couples to the others."""
        dense = np.flatnonzero(ordering.place >= ordering.size)
        dense = dense[np.argsort(ordering.place[dense])]
        return self.matrix[dense][:, dense].toarray()


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


class BandCombination:
    """Weighted sums of the same band matrices, with one ordering, and of sparse ones that fit into that band.

    Where the entries of the sparse ones stand is found once: a search for weights forms hundreds of sums.
    """

    def __init__(self, grams: Sequence[AbstractCurvature]) -> None:
        self.bands = [(k, g) for k, g in enumerate(grams) if isinstance(g, BandGram)]
        sparse = [(k, g) for k, g in enumerate(grams) if isinstance(g, SparseGram)]
        self.sparse = [k for k, _ in sparse]
        ordering, shape = self.bands[0][1].ordering, self.bands[0][1].lower.shape
        entries = [g.entries(ordering) for _, g in sparse]
        # places in memory of a band that is stored by columns, as LAPACK wants it
        places = [rows + shape[0] * columns for rows, columns, _ in entries]
        self.places, where = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *places]), return_inverse=True)
        self.corners = [g.corner(ordering) for _, g in sparse]
        self.values = np.zeros((len(sparse), len(self.places)))
        start = 0
        for own, (_, _, values) in zip(self.values, entries, strict=True):
            own[where[start : start + len(values)]] = values
            start += len(values)

    def __call__(self, scales: Sequence[float] | np.ndarray) -> BandGram:
        first = self.bands[0][1]
        chosen = [(scales[k], g) for k, g in self.bands if scales[k] != 0.0] or [(0.0, first)]
        lower = np.asfortranarray(sum(c * g.lower for c, g in chosen))
        border, corner = sum(c * g.border for c, g in chosen), sum(c * g.corner for c, g in chosen)
        if self.sparse:
            own = np.asarray(scales)[self.sparse]
            lower.reshape(-1, order="F")[self.places] += own @ self.values
            corner = corner + np.tensordot(own, self.corners, axes=1)
        return BandGram(first.ordering, lower, border, corner)  # pyright: ignore
