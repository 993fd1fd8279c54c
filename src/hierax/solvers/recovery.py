r"""Changes that a factor of normal equations has lost to rounding, found from the rows of linear least squares.

With rows `J` the matrix `A = J'J` has the square of their condition number. Directions `v` with `|Jv|` below `1e-8` of
what the largest ones have are noise in `A` and in its factor `M`, though the rows still tell them: as a shift that only
conditions at the far side of a layer feel. Whatever a start has of them stays. They are found as what is left of random
changes by `1 - M^{-1} A`, and the least squares among these few are solved by an orthogonal factorisation of `J` times
them, whose columns are differences of residuals. A deflation by an approximate null space (Morgan, SIAM J. Matrix Anal.
Appl. 16, 1995; Frank, Vuik, SIAM J. Sci. Comput. 23, 2001), without the squares.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hierax.objective import AbstractObjective

COUNT, WORK = 32, 1e8
"""Directions that are looked for, and most work of one linearisation: about a hundred passes over the points follow."""
SWEEPS, ROUNDS = 2, 4
"""Times that what a factor solves is taken from the directions, and that is looked what they still tell."""
CONFIRMED = 0.1
"""A correction of which so little is left stands though values rise by less than this part: what soft directions lower
drowns in the rounding of a sum of squares."""
LARGEST = 1e8
"""Size of a correction, over that of the parameters, from which on it goes where no row tells anything: of narrow loads
it may be 1e5, of functions outside of a cloud it is 1e12."""

Apply = Callable[[np.ndarray], np.ndarray]


def recovered(
    objective: AbstractObjective, solve: Apply, theta: np.ndarray, diagonal: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """Parameters with no more of a quadratic objective, and its value.

    `None` without rows, where they are dear, and where they do not tell the directions.

    Parameters
    ----------
    objective:
        Half a sum of squares, quadratic.
    solve:
        From a gradient to the change that a factor of the curvature gives.
    theta, diagonal:
        Where to begin `(N,)`, and the diagonal of the curvature.
    """
    if objective.work > WORK or objective.least_squares() is None:
        return None
    rows = _rows(objective, theta)
    value, gradient = objective.value_and_gradient(theta)
    found = _lost(objective, solve, theta, gradient, diagonal)
    ahead = np.stack([_rows(objective, theta + change) - rows for change in found.T], axis=1)
    if not np.all(np.isfinite(ahead)):
        return None
    best, least, before = theta, value, np.inf
    for _ in range(ROUNDS):
        change = np.linalg.lstsq(ahead, _rows(objective, theta))[0]
        size, now = float(np.linalg.norm(change)), objective.value(theta)
        if size > LARGEST:
            return None
        if now < least or (size < CONFIRMED * before < np.inf and now < (1.0 + CONFIRMED) * least):
            best, least = theta, now
        elif before < np.inf:
            break
        theta, before = theta - found @ change, size
        theta = theta - solve(objective.value_and_gradient(theta)[1])
    return best, least


def _lost(
    objective: AbstractObjective, solve: Apply, theta: np.ndarray, gradient: np.ndarray, diagonal: np.ndarray
) -> np.ndarray:
    """Changes `(N, m)` of the size of the parameters of which next to nothing comes back from the factor."""
    root = np.sqrt(np.maximum(diagonal, 1e-10 * diagonal.max()))
    size = float(np.linalg.norm(root * theta))
    found = np.random.default_rng(0).normal(size=(len(theta), min(COUNT, len(theta))))
    found = _orthogonal(solve(found * root[:, None]), root, size)
    for _ in range(SWEEPS):
        bent = [objective.value_and_gradient(theta + change)[1] - gradient for change in found.T]
        found = _orthogonal(found - solve(np.stack(bent, axis=1)), root, size)
    return found


def _orthogonal(changes: np.ndarray, root: np.ndarray, size: float) -> np.ndarray:
    """The same span, in parameters times the roots of the diagonal orthogonal and of one size."""
    return size * np.linalg.qr(root[:, None] * changes)[0] / root[:, None]


def _rows(objective: AbstractObjective, theta: np.ndarray) -> np.ndarray:
    """Residuals `(R,)` of all terms, times the roots of weights and scales."""
    pairs = zip(objective.samples, objective.residuals(theta), strict=True)
    return np.concatenate([np.ravel(r * np.sqrt(s.scale * s.weights)[:, None]) for s, r in pairs])
