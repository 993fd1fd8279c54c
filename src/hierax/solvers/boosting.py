"""Boosting: trees one after the other, each for a part of what those before have left of the values.

All nodes of one depth share their split, which lowers the sum of squares most; a leaf has a shrunken mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

DEPTH, RATE, MOST = 5, 0.1, 800
"""Splits of a tree; part of what is left that a tree takes; most trees."""
BINS, SHRINK = 255, 2.0
"""Intervals of an input between which trees split, with about as many rows each; rows that are added to every leaf."""
PATIENCE, ROWS = 50, 10_000
"""Trees that may help nothing before boosting ends; most rows that one tree is fitted to."""


class Boosted(NamedTuple):
    """Trees: inputs and thresholds `(trees, depth)`, values of leaves `(trees, leaves)`, and what they add to."""

    mean: float
    inputs: Int[np.ndarray, "trees depth"]
    thresholds: Float[np.ndarray, "trees depth"]
    values: Float[np.ndarray, "trees leaves"]

    def at(self, points: np.ndarray) -> np.ndarray:
        """Their sum at points `(n, dim)`."""
        out = np.full(len(points), self.mean)
        for inputs, thresholds, own in zip(self.inputs, self.thresholds, self.values, strict=True):
            out += own[(points[:, inputs] > thresholds) @ (2 ** np.arange(DEPTH))]
        return out


class _Binned:
    """Inputs as numbers of intervals."""

    def __init__(self, points: np.ndarray) -> None:
        ends = [np.unique(np.quantile(own, np.linspace(0.0, 1.0, BINS + 1)[1:-1])) for own in points.T]
        # halfway to the next value, which changes with no unit
        self.ends = [_between(own, end) for own, end in zip(points.T, ends, strict=True)]
        self.numbers = self.of(points)

    def of(self, points: np.ndarray) -> np.ndarray:
        """Numbers of intervals `(dim, n)`."""
        return np.stack([np.searchsorted(end, own, side="left") for own, end in zip(points.T, self.ends, strict=True)])


def _between(own: np.ndarray, ends: np.ndarray) -> np.ndarray:
    values = np.unique(own)
    place = np.unique(np.minimum(np.searchsorted(values, ends, side="right"), len(values) - 1))
    place = place[place > 0]
    return 0.5 * (values[place - 1] + values[place])


def boosted(
    points: Float[np.ndarray, "n dim"], values: Float[np.ndarray, " n"], count: int, over: Callable[[], bool]
) -> Boosted:
    """So many trees of values, fewer where the time is `over`."""
    return _grown(points, values, count, over, None)[0]


def validated(
    points: Float[np.ndarray, "n dim"],
    values: Float[np.ndarray, " n"],
    folds: Sequence[Int[np.ndarray, " m"]],
    over: Callable[[], bool],
) -> tuple[int, float]:
    """How many trees predict rows best that are left out, fold by fold, and the mean square of what these miss.

    Where values jump, few rows show it: a single fold may have none of them.
    """
    courses = []
    for fold in folds:
        others = np.delete(np.arange(len(points)), fold)
        courses.append(_grown(points[others], values[others], MOST, over, (points[fold], values[fold]))[1])
    most = max(map(len, courses))
    whole = [np.pad(own, (0, most - len(own)), mode="edge") for own in courses]
    squares = np.average(whole, axis=0, weights=[len(fold) for fold in folds])
    best = int(np.argmin(squares))
    return best, float(squares[best])


def _grown(
    points: np.ndarray,
    values: np.ndarray,
    count: int,
    over: Callable[[], bool],
    fresh: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[Boosted, list[float]]:
    """Trees, and the mean squares that none, one, two, ... of them leave of fresh values."""
    binned, rng, mean = _Binned(points), np.random.default_rng(0), float(np.mean(values))
    left, trees, squares = values - mean, [], []
    unseen, numbers = (None, None) if fresh is None else (fresh[1] - mean, binned.of(fresh[0]))
    while True:
        if unseen is not None:
            squares.append(float(np.mean(unseen**2)))
            if len(squares) - 1 - int(np.argmin(squares)) >= PATIENCE:
                break
        if len(trees) == count or not any(map(len, binned.ends)) or (trees and over()):
            break
        few = rng.permutation(len(left))[:ROWS] if len(left) > ROWS else slice(None)
        inputs, places = _splits(binned, binned.numbers[:, few], left[few])
        leaves = _leaves(binned.numbers, inputs, places)
        sums, sizes = (np.bincount(leaves, w, 2 ** len(inputs)) for w in (left, None))
        own = RATE * sums / (sizes + SHRINK)
        left = left - own[leaves]
        if unseen is not None and numbers is not None:
            unseen = unseen - own[_leaves(numbers, inputs, places)]
        trees.append((inputs, [binned.ends[k][place] for k, place in zip(inputs, places, strict=True)], own))
    inputs, ends, own = (np.array([tree[k] for tree in trees]) for k in range(3))
    shape = (len(trees), DEPTH)
    return Boosted(mean, inputs.astype(int).reshape(shape), ends.reshape(shape), own.reshape(-1, 2**DEPTH)), squares


def _splits(binned: _Binned, numbers: np.ndarray, left: np.ndarray) -> tuple[list[int], list[int]]:
    """Inputs and numbers of their ends at which a tree splits, from the root on."""
    leaves, inputs, places = np.zeros(len(left), dtype=int), [], []
    for depth in range(DEPTH):
        nodes, best = 2**depth, (-np.inf, 0, 0)
        for k, ends in enumerate(binned.ends):
            if not len(ends):
                continue
            bins = len(ends) + 1
            where = leaves * bins + numbers[k]
            sums, sizes = (np.bincount(where, w, nodes * bins).reshape(nodes, bins) for w in (left, None))
            below, fewer = np.cumsum(sums, axis=1), np.cumsum(sizes, axis=1)
            above, more = below[:, -1:] - below, fewer[:, -1:] - fewer
            gain = np.sum(below**2 / (fewer + SHRINK) + above**2 / (more + SHRINK), axis=0)[:-1]
            place = int(np.argmax(gain))
            best = max(best, (float(gain[place]), k, place))
        inputs.append(best[1])
        places.append(best[2])
        leaves = 2 * leaves + (numbers[best[1]] > best[2])
    # of a leaf the first split is the last digit
    return inputs, places


def _leaves(numbers: np.ndarray, inputs: list[int], places: list[int]) -> np.ndarray:
    """The leaf of every row."""
    beyond = [numbers[k] > place for k, place in zip(inputs, places, strict=True)]
    return np.sum([own * 2**depth for depth, own in enumerate(beyond)], axis=0)
