"""Left inverses of knot insertion that are as local as it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

NOTHING = 1e-14
"""Weights below are rounding: a row of knot insertion has them where it is zero."""
EXACT = 1e-13
"""Most that the product with the matrix may differ from the identity after normal equations."""
WINDOWS = 1024
"""Windows that are solved together."""


def local_left_inverse(matrix: csr_array, reach: int, wraps: bool) -> csr_array:
    r"""A matrix `L` with `L M = 1` whose row `j` uses the rows of `M` within `reach` columns of `j` only.

    Row `j` is that of the least-squares inverse of what a window of columns determines: of all rows that vanish outside
    the window. The inverse of a Gram matrix of splines decays exponentially, so this is near the least-squares inverse
    of the whole, which has no zeros.

    Parameters
    ----------
    matrix:
        `M` `(fine, coarse)`, of full column rank, with few neighbouring entries a row.
    reach:
        Columns on either side; at least the width of a row.
    wraps:
        Whether the first column is a neighbour of the last one.
    """
    fine, size = (int(count) for count in matrix.shape)  # pyright: ignore
    if size <= 2 * reach + 1:
        return csr_array(np.linalg.pinv(matrix.toarray()))
    row, column, weight = _unwrapped(matrix, wraps)
    first, last = np.full(fine, size), np.full(fine, -size)
    np.minimum.at(first, row, column)
    np.maximum.at(last, row, column)
    middle = first[:, None] + np.arange(-reach, reach + 1)
    whole = middle >= last[:, None] - reach
    if not wraps:
        whole &= (middle >= 0) & (middle < size)
    dense = np.zeros((fine, int((last - first).max()) + 1))
    dense[row, column - first[row]] = weight
    source, _ = np.nonzero(whole)
    owner, shift = middle[whole] % size, (first[:, None] - middle + reach)[whole]
    order = np.argsort(owner, kind="stable")
    source, owner, shift = source[order], owner[order], shift[order]
    values = np.empty(len(owner))
    bounds = np.searchsorted(owner, np.arange(0, size + WINDOWS, WINDOWS))
    for start, stop in pairwise(bounds):
        part = slice(start, stop)
        values[part] = _centre_rows(dense[source[part]], owner[part], shift[part], reach)
    return csr_array((values, (owner, source)), shape=(size, fine))


def _unwrapped(matrix: csr_array, wraps: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and weights; of rows across the seam the columns at the end are counted from below zero."""
    entries = matrix.tocoo()
    keep = np.abs(entries.data) > NOTHING
    row, column, weight = entries.row[keep], entries.col[keep].astype(np.int64), entries.data[keep]
    if wraps:
        size = int(matrix.shape[1])  # pyright: ignore
        early = np.zeros(int(matrix.shape[0]), dtype=bool)  # pyright: ignore
        early[row[column < size // 3]] = True
        column = np.where(early[row] & (column > 2 * size // 3), column - size, column)
    return row, column, weight


def _centre_rows(weights: np.ndarray, owner: np.ndarray, shift: np.ndarray, reach: int) -> np.ndarray:
    """Weights of the rows of each window, sorted by window, in the row of its inverse that belongs to the middle.

    `weights` `(n, width)` are those of each row from its first column on, which stands at `shift` in the window.
    """
    window = owner - owner[0]
    counts = np.bincount(window)
    slot = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    parts = np.zeros((len(counts), counts.max(), 2 * reach + 1 + weights.shape[1]))
    parts[window[:, None], slot[:, None], shift[:, None] + np.arange(weights.shape[1])] = weights
    parts = parts[:, :, : 2 * reach + 1]
    unit = np.eye(1, 2 * reach + 1, reach)[0]
    found, turned = np.zeros(parts.shape[:2]), np.swapaxes(parts, 1, 2)
    gram = turned @ parts
    unused = np.diagonal(gram, axis1=1, axis2=2) == 0.0
    gram[:, np.arange(len(unit)), np.arange(len(unit))] += unused
    try:
        # once more, since the normal equations square the condition number
        for _ in range(2):
            left = unit - (turned @ found[:, :, None])[:, :, 0]
            found += (parts @ np.linalg.solve(gram, left[:, :, None]))[:, :, 0]
        wrong = np.abs(unit - (turned @ found[:, :, None])[:, :, 0]).max(axis=1) > EXACT
    except np.linalg.LinAlgError:
        wrong = np.ones(len(found), dtype=bool)
    if wrong.any():
        found[wrong] = np.linalg.pinv(parts[wrong])[:, reach]
    return found[window, slot]
