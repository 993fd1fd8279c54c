"""Signed distances of simple regions, negative inside, and what can be made of them.

Functions of points ``(n, dim)`` in NumPy, for covers of domains that are not boxes. Unions and differences give lower
bounds of the distance near corners, which is what `hierax.fields.Cover.meeting` needs.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Distance = Callable[[Float[np.ndarray, "n dim"]], Float[np.ndarray, " n"]]


def box(lower, upper) -> Distance:
    """The box between two corners.

    Examples
    --------
    >>> box([0.0, 0.0], [2.0, 1.0])(np.array([[1.0, 0.5], [5.0, 5.0]])).tolist()
    [-0.5, 5.0]
    """
    lower, upper = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)

    def distance(points: np.ndarray) -> np.ndarray:
        beyond = np.abs(points - 0.5 * (lower + upper)) - 0.5 * (upper - lower)
        return np.linalg.norm(np.maximum(beyond, 0.0), axis=1) + np.minimum(beyond.max(axis=1), 0.0)

    return distance


def ball(centre, radius: float) -> Distance:
    """The ball around a point: a disc in two dimensions."""
    middle = np.asarray(centre, dtype=float)
    return lambda points: np.linalg.norm(points - middle, axis=1) - radius


def union(*parts: Distance) -> Distance:
    """What lies in any of the parts."""
    return lambda points: np.min([part(points) for part in parts], axis=0)


def difference(whole: Distance, *holes: Distance) -> Distance:
    """What lies in the whole and in none of the holes."""
    return lambda points: np.max([whole(points), *(-hole(points) for hole in holes)], axis=0)
