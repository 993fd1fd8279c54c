"""Coarse data: scattered samples replaced by their means over cells that hold equal numbers of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Measurements(NamedTuple):
    """Points `(n, dim)`, values `(n, ...)` and weights `(n,)` that add up to one."""

    points: np.ndarray
    values: np.ndarray
    weights: np.ndarray

    @classmethod
    def equal(cls, points: np.ndarray, values: np.ndarray) -> Measurements:
        """Samples of equal weight."""
        return cls(points, values, np.full(len(points), 1.0 / len(points)))


def local_means(samples: Measurements, count: int) -> Measurements:
    r"""Means over at least `count` cells, or the samples themselves where cells would hold fewer than two of them.

    The box of the points is halved at the median of its longest side, the halves again, and so on: fewer cells are
    unions of more. A cell with weight :math:`W_c` and means :math:`\bar x_c, \bar v_c` stands for its samples:

    .. math:: \sum_i w_i |u(x_i) - v_i|^2 = \sum_c W_c |u(\bar x_c) - \bar v_c|^2 + \sum_i w_i |v_i - \bar v_c|^2

    holds where ``u`` is constant on each cell, so objectives of different levels differ by the scatter within cells,
    which does not depend on ``u``, and by terms of the order of the square of the cells' size. Means of noise have a
    variance that is smaller by the number of samples of a cell.

    Parameters
    ----------
    samples : Measurements
    count : int
        Fewest cells.

    References
    ----------
    Friedman, Bentley, Finkel, ACM Trans. Math. Softw. 3 (1977) (cells by medians).
    """
    depth = max(0, int(np.ceil(np.log2(max(count, 1)))))
    if 2 ** (depth + 1) > len(samples.points):
        return samples
    # sides are compared in units of the whole, whatever the coordinates are measured in
    cell = _cells(samples.points / np.maximum(np.ptp(samples.points, axis=0), 1e-300), depth)
    weights = np.bincount(cell, samples.weights)

    def mean(columns: np.ndarray) -> np.ndarray:
        flat = columns.reshape(len(columns), -1)
        sums = [np.bincount(cell, samples.weights * column) for column in flat.T]
        return (np.stack(sums, axis=1) / weights[:, None]).reshape(-1, *columns.shape[1:])

    return Measurements(mean(samples.points), mean(samples.values), weights)


def _cells(points: np.ndarray, depth: int) -> np.ndarray:
    """Number of the cell of each point after `depth` rounds of halving."""
    groups = [np.arange(len(points))]
    for _ in range(depth):
        groups = [half for group in groups for half in _halves(points, group)]
    cell = np.empty(len(points), dtype=int)
    for number, group in enumerate(groups):
        cell[group] = number
    return cell


def _halves(points: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own = points[group]
    column = own[:, np.argmax(np.ptp(own, axis=0))]
    middle = len(group) // 2
    order = np.argpartition(column, middle)
    return group[order[:middle]], group[order[middle:]]
