"""Curvature in diagonals: element matrices added up in a band, or on the diagonals that elements meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
from scipy.sparse import block_array, csr_array, dia_array, tril

from hierax.devices import added
from hierax.objective.assembly import LARGE, AbstractGramSum, Scattered, by_pattern
from hierax.objective.curvature import BandGram, Ordering, SparseGram


class AbstractDiagonals(AbstractGramSum):
    """Accumulates element matrices into diagonals below the main one and, of what acts everywhere, dense rows.

    Parameters
    ----------
    ordering:
        Places of the parameters.
    row:
        `(band + 1,)`: in which row of the storage the diagonal that is so far below the main one is kept.
    """

    def __init__(self, ordering: Ordering, row: np.ndarray) -> None:
        self.ordering, self.row = ordering, row
        n = ordering.size
        self.lower = np.zeros((int(row.max(initial=0)) + 1, n), order="F")
        self.border = np.zeros((n, ordering.dense))
        self.corner = np.zeros((ordering.dense, ordering.dense))
        self._scattered = Scattered(self.lower.reshape(-1, order="F"))

    def add(self, indices: np.ndarray, matrices: np.ndarray, scale: float = 1.0) -> None:
        o = self.ordering
        place = o.place[indices]
        k = place.shape[1]
        banded = self._add_border(place, scale * matrices) if o.dense else np.arange(k)
        rows = matrices.reshape(len(matrices), -1)
        if len(banded) >= LARGE:
            for kind, alike, first in by_pattern(place[:, banded]):
                self._add_alike(kind, first, rows, alike, banded, scale)
        else:
            self._add_together(place, rows, banded, scale)

    def _shared(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Diagonals, dense rows and their corner, of the shares of all processes."""
        self._scattered.flush()
        return added((self.lower, self.border, self.corner))

    def _add_alike(
        self, kind: np.ndarray, first: np.ndarray, rows: np.ndarray, alike: np.ndarray, banded: np.ndarray, scale: float
    ) -> None:
        """Add the matrices of elements whose parameters lie alike, see `by_pattern`."""
        width, k = len(self.lower), math.isqrt(rows.shape[1])
        order = np.argsort(kind, kind="stable")
        if np.any(np.diff(kind[order]) == 0):
            place = np.zeros((len(alike), k), dtype=np.int64)
            place[:, banded] = first[:, None] + kind
            self._add_together(place, rows[alike], banded, scale)
            return
        high, low = (order[t] for t in np.tril_indices(len(order)))
        to, pick = self.row[kind[high] - kind[low]] + kind[low] * width, banded[high] * k + banded[low]
        self._scattered.add_each(first * width, to, (scale * rows[e] for e in alike), pick)

    def _add_together(self, place: np.ndarray, rows: np.ndarray, banded: np.ndarray, scale: float) -> None:
        """Add matrices with a few entries each; a parameter may be there twice."""
        a, b = (banded[t] for t in np.tril_indices(len(banded)))
        i, j = place.take(a, axis=1), place.take(b, axis=1)
        values = scale * rows.take(a * place.shape[1] + b, axis=1)
        flat = self.row[np.abs(i - j)] + np.minimum(i, j) * len(self.lower)
        # on short periodic axes and from both sides of an interface a parameter meets itself: both orders count
        twice = (i == j) & (a != b)
        if twice.any():
            values[twice] *= 2.0
        self._scattered.add(flat, values)

    def _add_border(self, place: np.ndarray, matrices: np.ndarray) -> np.ndarray:
        """Add what dense rows get; returns the local places of the other parameters.

        Parameters that act everywhere are in all elements, at the same local places.
        """
        n = self.ordering.size
        dense, banded = np.flatnonzero(place[0] >= n), np.flatnonzero(place[0] < n)
        to, rows = place[0, dense] - n, place[:, banded].ravel()
        columns = matrices[:, :, dense]
        self.corner[np.ix_(to, to)] += columns[:, dense].sum(axis=0)
        for column, values in zip(to, np.moveaxis(columns[:, banded], 2, 0), strict=True):
            self.border[:, column] += np.bincount(rows, weights=values.ravel(), minlength=n)
        return banded


@final
class BandSum(AbstractDiagonals):
    """All diagonals of a bordered band."""

    def __init__(self, ordering: Ordering) -> None:
        super().__init__(ordering, np.arange(ordering.band + 1))

    def result(self) -> BandGram:
        return BandGram(self.ordering, *self._shared())


@final
class SparseSum(AbstractDiagonals):
    """Only the diagonals on which elements have entries: on tensor grids these are few, however wide the band.

    Parameters
    ----------
    places:
        Positions of the parameters, NaN for those that act everywhere.
    elements:
        Numbers `(elements, k)` of the parameters of all elements, term by term.
    """

    def __init__(self, places: np.ndarray, elements: Sequence[np.ndarray]) -> None:
        everywhere = np.isnan(places).any(axis=1)
        place = np.empty(len(places), dtype=np.int64)
        place[np.argsort(everywhere, kind="stable")] = np.arange(len(places))
        size = int(np.sum(~everywhere))
        met = np.zeros(size, bool)
        met[:1] = True
        for index in elements:
            own = place[index]
            for kind, _, _ in by_pattern(own[:, own[0] < size]):
                met[np.abs(kind[:, None] - kind).ravel()] = True
        band = int(np.flatnonzero(met)[-1]) if size else 0
        super().__init__(Ordering(place, size, len(places) - size, band), np.cumsum(met[: band + 1]) - 1)
        self.below = np.flatnonzero(met)

    def result(self) -> SparseGram:
        o, (diagonals, border, corner) = self.ordering, self._shared()
        lower = csr_array(dia_array((diagonals, -self.below), shape=(o.size, o.size)))
        lower.eliminate_zeros()
        whole = lower + csr_array(tril(lower, -1)).T
        if o.dense:
            whole = block_array([[whole, border], [border.T, corner]], format="csr")
            whole = whole[o.place][:, o.place]  # pyright: ignore
        return SparseGram(csr_array(whole))
