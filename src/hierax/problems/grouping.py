"""Which rows of a table belong together: those of a group that is named, of one specimen, copies of a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hierax.problems.terms import Data

GROUPS, ROWS = 6, 3
"""Fewest specimens, and fewest rows of each in the mean, of a table that is taken for one of specimens."""


def together(term: Data) -> np.ndarray:
    """What rows that belong together share, `(n, k)`: their group; else the inputs of their specimen; else all inputs.

    A model that has seen some rows of a specimen tells the others by what the specimen is like, not by its inputs: rows
    left out one by one would call that knowledge.
    """
    if term.groups is not None:
        return term.groups[:, None]
    axes = specimen_axes(term.points)
    return term.points[:, list(axes)] if axes else term.points


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
