r"""Factorisation of sparse matrices on grids: parts of the domain first, then what separates them.

A band as wide as a layer of a grid costs `n b^2` for `n` unknowns in layers of `b`. Where the grid is cut in two, the
unknowns at the cut couple the halves, and each half is cut again: the work is that of dense matrices of the cuts, some
`b^3`, which in space is less by the number of layers.

References
----------
George, SIAM J. Numer. Anal. 10 (1973) 345-363 (nested dissection); Duff, Reid, ACM Trans. Math. Softw. 9 (1983)
302-325 (multifrontal elimination).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg as sl
from scipy.sparse import csr_array

LEAF = 200
"""Unknowns that are eliminated together without a further cut."""
SHARE = 0.5
"""Largest share of a part in the cut through it."""


class Front(NamedTuple):
    """Unknowns that are eliminated together, as places in the order of elimination.

    Attributes
    ----------
    start, stop:
        They are `start .. stop - 1`.
    later:
        Those `(m,)` which they are coupled to when all before them are gone.
    diagonal, below:
        Their Cholesky factor, `(stop - start, stop - start)` and `(m, stop - start)`.
    """

    start: int
    stop: int
    later: np.ndarray
    diagonal: np.ndarray
    below: np.ndarray


@dataclass(frozen=True, eq=False)
class Dissected:
    """The Cholesky factor of a sparse positive definite matrix.

    Attributes
    ----------
    order:
        Unknowns `(n,)` in the order of elimination.
    fronts:
        In that order.
    """

    order: np.ndarray
    fronts: tuple[Front, ...]

    @classmethod
    def of(cls, matrix: csr_array, places: np.ndarray) -> Dissected:
        """Factor a matrix.

        Parameters
        ----------
        matrix:
            `(n, n)`, symmetric.
        places:
            Where its unknowns are, `(n, dim)`; NaN for those that act everywhere.

        Raises
        ------
        scipy.linalg.LinAlgError
            If the matrix is not positive definite in floating point.
        """
        tree = _Cuts(matrix, places).tree()
        order = np.concatenate([own for own, _ in tree])
        moved = csr_array(matrix[order][:, order])
        moved.sort_indices()
        fronts: list[Front] = []
        waiting: list[tuple[np.ndarray, np.ndarray]] = []
        start = 0
        for own, parts in tree:
            stop = start + len(own)
            children = [waiting.pop() for _ in range(parts)]
            front, rest = _eliminated(moved, start, stop, children)
            fronts.append(front)
            waiting.append((front.later, rest))
            start = stop
        return cls(order, tuple(fronts))

    @property
    def entries(self) -> int:
        """Numbers in the factor."""
        return sum(f.diagonal.size + f.below.size for f in self.fronts)

    def solve(self, b: np.ndarray) -> np.ndarray:
        """The solution for one right-hand side `(n,)`, or several `(n, m)`."""
        x = b[self.order]
        for f in self.fronts:
            own = sl.solve_triangular(f.diagonal, x[f.start : f.stop], lower=True, check_finite=False)
            x[f.start : f.stop] = own
            x[f.later] -= f.below @ own
        for f in reversed(self.fronts):
            own = x[f.start : f.stop] - f.below.T @ x[f.later]
            x[f.start : f.stop] = sl.solve_triangular(f.diagonal, own, lower=True, trans=1, check_finite=False)
        out = np.empty_like(x)
        out[self.order] = x
        return out


def _eliminated(
    matrix: csr_array, start: int, stop: int, children: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[Front, np.ndarray]:
    """A front, and what its elimination leaves to those after it."""
    rows = matrix[start:stop].tocoo()
    row, column = rows.coords
    keep = column >= start
    row, column, data = row[keep], column[keep].astype(np.int64), rows.data[keep]
    later = np.unique(np.concatenate([column[column >= stop], *(after[after >= stop] for after, _ in children)]))
    count = stop - start
    members = np.r_[np.arange(start, stop), later]
    whole = np.zeros((len(members), len(members)))
    whole[np.searchsorted(members, column), row] = data
    for after, rest in children:
        to = np.searchsorted(members, after)
        whole[to[:, None], to] += rest
    diagonal = sl.cholesky(whole[:count, :count], lower=True, check_finite=False)
    below = sl.solve_triangular(diagonal, whole[count:, :count].T, lower=True, check_finite=False).T
    return Front(start, stop, later, diagonal, below), whole[count:, count:] - below @ below.T


class _Cuts:
    """The parts of a matrix' unknowns, from the innermost to the last cut."""

    def __init__(self, matrix: csr_array, places: np.ndarray) -> None:
        self.matrix, self.places = matrix, places
        self.side = np.zeros(len(places), dtype=np.int8)

    def tree(self) -> list[tuple[np.ndarray, int]]:
        """Unknowns that are eliminated together, children before parents, each with the number of its children."""
        everywhere = np.isnan(self.places).any(axis=1)
        return self._parts(np.flatnonzero(~everywhere), np.flatnonzero(everywhere))

    def _parts(self, own: np.ndarray, more: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Those of some unknowns; `more` are eliminated with the last."""
        cut = self._cut(own) if len(own) > LEAF else None
        if cut is None:
            return [(np.r_[own, more], 0)]
        first, second, between = cut
        nothing = more[:0]
        return [*self._parts(first, nothing), *self._parts(second, nothing), (np.r_[between, more], 2)]

    def _cut(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Two halves that are not coupled, and what is between them; `None` where that is too much."""
        best = None
        for x in self.places[own].T:
            low = x <= np.median(x)
            if low.all():
                continue
            self.side[own] = np.where(low, 1, 2)
            halves = own[low], own[~low]
            for number, half in enumerate(halves):
                met = self._meets(half, 2 - number)
                if best is None or met.sum() < len(best[2]):
                    best = half[~met], halves[1 - number], half[met]
            self.side[own] = 0
        return None if best is None or len(best[2]) > SHARE * len(own) or not len(best[0]) else best

    def _meets(self, some: np.ndarray, side: int) -> np.ndarray:
        """Which of some unknowns are coupled to one on a side."""
        rows = self.matrix[some]
        hit = np.flatnonzero(self.side[rows.indices] == side)
        out = np.zeros(len(some), bool)
        out[np.searchsorted(rows.indptr, hit, "right") - 1] = True
        return out
