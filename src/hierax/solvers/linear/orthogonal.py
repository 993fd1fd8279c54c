"""Least squares in a basis whose functions are orthonormal, in the sense of the residual, on every subdomain."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hierax.devices import each, shares


@dataclass(frozen=True, eq=False)
class OrthogonalBlocks:
    r"""The matrix `M` of a least-squares problem with every block of columns replaced by an orthonormal basis of it.

    For the columns of block `j`, `M_j = U_j S_j V_j^T`; singular values below `rank` times the largest are left out
    and `U_j` stands for `M_j`. Blocks are filled up with zero columns to the same width `K`, so that unknown `k` of
    block `j` has the number `j K + k`.

    Attributes
    ----------
    matrix:
        `(R, J K)`, the blocks `U_j`.
    back:
        `(N, J K)`: coefficients of `M` from those of `matrix`.
    forth:
        `(J K, N)`: the other way.
    kept:
        Number of columns of each block that are not filled in, `(J,)`.

    References
    ----------
    Van Beek, Dolean, Moseley, arXiv 2506.17626 (filtering and preconditioning of local features).
    """

    matrix: sp.csc_array
    back: sp.csc_array
    forth: sp.csr_array
    kept: np.ndarray

    @property
    def blocks(self) -> int:
        """`J`."""
        return len(self.kept)

    @property
    def width(self) -> int:
        """`K`."""
        return self.matrix.shape[1] // self.blocks  # pyright: ignore


def orthogonalised(matrix: sp.csr_array, blocks: list[np.ndarray], rank: float = 1e-10) -> OrthogonalBlocks:
    """Orthonormal bases of blocks of columns.

    Parameters
    ----------
    matrix:
        `(R, N)`.
    blocks:
        Numbers of the columns of each block; together all columns, each once.
    rank:
        Singular values below this share of a block's largest are left out.
    """
    order = np.concatenate(blocks)
    columns = sp.csc_array(matrix[:, order])
    columns.sum_duplicates()
    ends = np.cumsum([0, *(len(block) for block in blocks)])
    width, kept = int(np.diff(ends).max()), np.zeros(len(blocks), dtype=int)
    places, bases = [], []
    back = np.zeros((len(order), width))
    forth = np.zeros((len(order), width))
    spans = list(itertools.pairwise(ends))

    def decomposed(some: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        found = [_dense(columns, *spans[j]) for j in some]
        return [(rows, *np.linalg.svd(dense, full_matrices=False)) for rows, dense in found]

    found = each(decomposed, np.array_split(np.arange(len(spans)), min(shares(), len(spans))))
    for j, (rows, left, values, right) in enumerate(itertools.chain.from_iterable(found)):
        start, stop = spans[j]
        count = kept[j] = int(np.sum(values > rank * values[0])) if values.size and values[0] > 0 else 0
        basis = np.zeros((len(rows), width))
        basis[:, :count] = left[:, :count]
        back[start:stop, :count] = right[:count].T / values[:count]
        forth[start:stop, :count] = right[:count].T * values[:count]
        places.append(rows)
        bases.append(basis.T.ravel())
    heights = np.repeat([len(rows) for rows in places], width)
    index = np.concatenate([np.tile(rows, width) for rows in places])
    whole = sp.csc_array((np.concatenate(bases), index, np.r_[0, np.cumsum(heights)]), (matrix.shape[0], len(heights)))  # pyright: ignore
    owner = np.repeat(np.arange(len(blocks)), np.diff(ends))
    where = np.repeat(order, width), (owner[:, None] * width + np.arange(width)).ravel()
    shape = (matrix.shape[1], len(heights))  # pyright: ignore
    return OrthogonalBlocks(
        whole,
        sp.csc_array((back.ravel(), where), shape),
        sp.csr_array((forth.ravel(), where[::-1]), shape[::-1]),
        kept,
    )


def _dense(columns: sp.csc_array, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in which some columns are not zero, and the columns there."""
    first, last = columns.indptr[start], columns.indptr[stop]
    index, data = columns.indices[first:last], columns.data[first:last]
    rows = np.unique(index[data != 0.0])
    place = np.minimum(np.searchsorted(rows, index), max(len(rows) - 1, 0))
    dense = np.zeros((len(rows), stop - start))
    own = np.repeat(np.arange(stop - start), np.diff(columns.indptr[start : stop + 1]))
    used = data != 0.0
    dense[place[used], own[used]] = data[used]
    return rows, dense
