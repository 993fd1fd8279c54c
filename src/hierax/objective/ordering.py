"""Orders of the parameters that make the band of a spline Gram matrix narrow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from hierax.objective.curvature import Ordering


def narrow_order(positions: np.ndarray, elements: Sequence[np.ndarray], periodic: Sequence[bool]) -> Ordering:
    """Lexicographic order of the parameters by position, with the axes in the order that gives the narrowest band.

    Parameters
    ----------
    positions:
        `(parameters, dim)`; rows of NaN mark parameters that act everywhere (constants) and become dense rows.
    elements:
        Index arrays `(elements, k)` of parameters that meet.
    periodic:
        Which axes wrap around; their positions are folded (`0, n-1, 1, n-2, ...`) so that neighbours stay near.
    """
    everywhere = np.isnan(positions).any(axis=1)
    keys = [_ranks(positions[~everywhere, k], wraps) for k, wraps in enumerate(periodic)]
    best: Ordering | None = None
    for axes in permutations(range(len(periodic))):
        # the last key of lexsort is the slowest
        order = np.lexsort([keys[k] for k in axes])
        place = np.empty(len(positions), dtype=np.int64)
        place[np.flatnonzero(~everywhere)[order]] = np.arange(len(order))
        place[everywhere] = len(order) + np.arange(everywhere.sum())
        band = 0
        for index in elements:
            band = max(band, _width(place, index, len(order)))
            if best is not None and band >= best.band:
                break
        else:
            best = Ordering(place, len(order), int(everywhere.sum()), band)
    assert best is not None
    return best


def _ranks(values: np.ndarray, wraps: bool) -> np.ndarray:
    distinct, rank = np.unique(np.round(values, 12), return_inverse=True)
    if not wraps:
        return rank
    mirrored = len(distinct) - 1 - rank
    return np.where(rank <= mirrored, 2 * rank, 2 * mirrored + 1)


def _width(place: np.ndarray, index: np.ndarray, size: int) -> int:
    at = place[index]
    high = np.where(at < size, at, -1).max(axis=1)
    low = np.where(at < size, at, size).min(axis=1)
    return int(max(np.max(high - low, initial=0), 0))
