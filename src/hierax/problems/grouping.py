"""Which rows of a table belong together: those of a group that is named, a specimen, a cluster, copies of a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial import KDTree

from hierax.problems.terms import Data

GROUPS, ROWS = 6, 3
"""Fewest specimens or clusters, and fewest rows of each in the mean, of a table that is taken for one of these."""
FAR, CLEAR, ALMOST = 2.0, 4.0, 0.95
"""A place is far from all rows, and clusters are far from each other, where the distance is so many times that within
which almost every row, a share of so many, has another one."""
VALUES, EVEN = 12, 1e-6
"""Most values of an input that counts or names something, and how evenly they are spaced, over their range."""
EMPTY, MOST, PLACES = 0.5, 2000, 500
"""Least part of the box that is far from all rows in clusters; most rows, and places, by which that is told."""


def together(term: Data) -> np.ndarray:
    """What rows that belong together share, `(n, k)`: their group; else the inputs of their specimen; else all inputs.

    A model that has seen some rows of a specimen tells the others by what the specimen is like, not by its inputs: rows
    left out one by one would call that knowledge. So would rows left out of a cluster whose others stay.
    """
    if term.groups is not None:
        return term.groups[:, None]
    axes = specimen_axes(term.points)
    if axes:
        return term.points[:, list(axes)]
    number = clusters(term.points)
    return term.points if number is None else number[:, None]


def belonging(terms: Sequence[Data]) -> np.ndarray:
    """A number for every row of some terms, `(n, 1)`, equal where rows belong together."""
    out, count = [], 0
    for term in terms:
        own = np.unique(together(term), axis=0, return_inverse=True)[1].ravel() + count
        out.append(own)
        count = int(own.max()) + 1
    return np.concatenate(out)[:, None]


def specimen_axes(points: Float[np.ndarray, "n dim"]) -> tuple[int, ...]:
    """Inputs that tell which specimen a row is of; none where there are no specimens.

    Two inputs or more that only change together, to one of far fewer values than there are rows, are properties of
    specimens of which each was measured at several values of the other inputs. In a design where inputs change one by
    one, such as a grid, they do not.
    """
    n, dim = points.shape
    labels = [np.unique(column, return_inverse=True)[1].ravel() for column in points.T]
    counts = [int(label.max()) + 1 for label in labels]
    suits = [k for k in range(dim) if GROUPS <= counts[k] <= n / ROWS]
    if not suits:
        return ()
    first = max(suits, key=lambda k: counts[k])
    axes = tuple(k for k in range(dim) if len(np.unique(labels[first] * counts[k] + labels[k])) == counts[first])
    return axes if 1 < len(axes) < dim else ()


def few_values(points: Float[np.ndarray, "n dim"]) -> dict[int, np.ndarray]:
    """The values, in order, of every input that takes a few on many rows, spaced evenly or with some left out.

    Such an input may be a count, or the number of something that has a name: between its values nothing need be.
    """
    found = {axis: np.unique(column) for axis, column in enumerate(points.T)}
    return {axis: values for axis, values in found.items() if _counting(values) and ROWS * len(values) <= len(points)}


def _counting(values: np.ndarray) -> bool:
    if not 1 < len(values) <= VALUES:
        return False
    steps = (values - values[0]) / np.diff(values).min()
    return bool(np.max(np.abs(steps - np.round(steps))) <= EVEN * steps[-1])


def at_values(points: Float[np.ndarray, "n dim"], values: dict[int, np.ndarray]) -> Float[np.ndarray, "n dim"]:
    """Points whose inputs of a few values are moved to the nearest of these."""
    out = points.copy()
    for axis, own in values.items():
        out[:, axis] = own[np.argmin(np.abs(points[:, axis, None] - own), axis=1)]
    return out


def clusters(points: Float[np.ndarray, "n dim"]) -> Int[np.ndarray, " n"] | None:
    """The cluster of every row; `None` where rows do not lie in several that are far from each other.

    Clusters are those of single linkage: a row belongs to that of every row nearby.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    unit = (points - low) / np.where(high > low, high - low, 1.0)
    rng = np.random.default_rng(0)
    few = np.unique(unit if len(unit) <= MOST else rng.choice(unit, MOST, replace=False), axis=0)
    if len(few) < GROUPS * ROWS:
        return None
    places = np.random.default_rng(1).uniform(size=(PLACES, unit.shape[1]))
    if np.mean(far_from(few, places)) < EMPTY:
        return None
    number = fcluster(linkage(few, "single"), CLEAR * _gap(KDTree(few)), "distance")
    many = GROUPS <= number.max() <= len(few) / ROWS
    return number[np.asarray(KDTree(few).query(unit)[1])] if many else None


def far_from(points: Float[np.ndarray, "n dim"], places: Float[np.ndarray, "m dim"]) -> Bool[np.ndarray, " m"]:
    """Which places are much further from all of some different points than these are from each other.

    Between the lines of a grid, and between the few levels of an input, a place is as near as the nearest of these:
    rows are closer along one input than along another.
    """
    tree, moved = KDTree(points), places.copy()
    for axis, own in enumerate(map(np.unique, points.T)):
        away, nearest = KDTree(own[:, None]).query(places[:, [axis]])
        near = away <= 0.5 * FAR * np.quantile(np.diff(own, prepend=own[0]), ALMOST)
        moved[:, axis] = np.where(near, own[np.asarray(nearest)], places[:, axis])
    return np.asarray(tree.query(moved)[0]) > FAR * _gap(tree)


def _gap(tree: KDTree) -> float:
    """Distance within which almost every point has another one."""
    return float(np.quantile(np.asarray(tree.query(tree.data, k=2)[0])[:, 1], ALMOST))
