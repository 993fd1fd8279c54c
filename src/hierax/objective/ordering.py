"""Orders of the parameters: flat, node by node, and that which makes the band of a spline Gram matrix narrow."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import final

import numpy as np

from hierax.objective.curvature import Ordering


@final
@dataclass(frozen=True, eq=False)
class NodeOrder:
    """The way between flat parameters, function after function, and the order (nodes, channel) of a shared grid.

    What works on nodes (couplings, smoothers, coarse grids) sees vectors through this class and no other way.

    Attributes
    ----------
    place:
        `(N,)` position of each flat parameter in the order (nodes, channel).
    """

    place: np.ndarray

    @functools.cached_property
    def trivial(self) -> bool:
        """Whether both orders are the same, as they are for one function."""
        return bool(np.array_equal(self.place, np.arange(len(self.place))))

    def nodal(self, flat: np.ndarray) -> np.ndarray:
        """A vector `(N,)` of flat parameters, node by node."""
        if self.trivial:
            return flat
        out = np.empty_like(flat)
        out[self.place] = flat
        return out

    def flat(self, nodal: np.ndarray) -> np.ndarray:
        """A vector `(N,)` in the order of the nodes, as flat parameters."""
        return nodal if self.trivial else nodal[self.place]

    def around(self, apply: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        """A map of nodal vectors as one of flat vectors."""
        return apply if self.trivial else lambda flat: self.flat(apply(self.nodal(flat)))


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
