r"""B-splines on one axis: knots, local evaluation, exact knot insertion, change to truncated powers.

A space of degree :math:`p` with :math:`n` intervals is given by its full knot vector
:math:`t_0 \le \dots \le t_{n+2p}`. Its domain is :math:`[t_p, t_{n+p}]`; on interval :math:`i`, that is
:math:`[t_{i+p}, t_{i+p+1}]` with :math:`0 \le i < n`, exactly the basis functions :math:`i, \dots, i+p` of the
:math:`n+p` are alive. Outside the domain the end pieces continue as polynomials.

Set-up functions use NumPy and run once; `find_interval` and `local_basis` are traced by JAX.

Symbols: ``p`` degree, ``n`` number of intervals, ``t`` knots, ``b`` B-splines, ``psi`` truncated powers.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.sparse import csr_array


class NotNested(ValueError):
    """A coarse spline space is not contained in the fine one."""


def uniform_knots(lower: float, upper: float, intervals: int, degree: int) -> np.ndarray:
    """Equidistant knots, continued with the same spacing beyond both ends.

    Parameters
    ----------
    lower, upper : float
        Ends of the domain.
    intervals : int
        Number of intervals ``n >= 1``.
    degree : int
        Degree ``p >= 0``.

    Returns
    -------
    np.ndarray
        ``n + 2 p + 1`` knots. Halving the spacing keeps the shared knots to the last bit.

    Examples
    --------
    >>> uniform_knots(0.0, 1.0, 2, 1).tolist()
    [-0.5, 0.0, 0.5, 1.0, 1.5]
    """
    _check_space(intervals, degree)
    if not lower < upper:
        raise ValueError(f"uniform_knots: lower = {lower} must be below upper = {upper}")
    fractions = np.arange(-degree, intervals + degree + 1) / intervals
    # the two-sided form hits both ends exactly
    return lower * (1.0 - fractions) + upper * fractions


def clamped_knots(breakpoints, degree: int) -> np.ndarray:
    """Knots with both end breakpoints repeated ``p + 1`` times, so that the spline interpolates at its ends."""
    points = _check_breakpoints(breakpoints, degree)
    return np.concatenate([np.repeat(points[:1], degree), points, np.repeat(points[-1:], degree)])


def extended_knots(breakpoints, degree: int) -> np.ndarray:
    """Knots continued beyond each end with the length of the end interval."""
    points = _check_breakpoints(breakpoints, degree)
    steps = np.arange(1, degree + 1)
    left = points[0] - (points[1] - points[0]) * steps[::-1]
    right = points[-1] + (points[-1] - points[-2]) * steps
    return np.concatenate([left, points, right])


def periodic_knots(breakpoints, degree: int) -> np.ndarray:
    """Knots continued periodically; basis functions ``j`` and ``j + n`` then are translates of each other."""
    points = _check_breakpoints(breakpoints, degree)
    intervals, period = points.size - 1, points[-1] - points[0]
    index = np.arange(-degree, intervals + degree + 1)
    knots = points[index % intervals] + period * (index // intervals)
    knots[intervals + degree] = points[-1]
    return knots


def breakpoints_of(knots, degree: int) -> np.ndarray:
    """The ``n + 1`` breakpoints inside a full knot vector."""
    knots = np.asarray(knots)
    return knots[degree : knots.size - degree]


def greville(knots, degree: int) -> np.ndarray:
    """Greville abscissae: with them as coefficients the spline is the identity.

    Returns
    -------
    np.ndarray
        ``n + p`` numbers, the means of ``t_{j+1}, ..., t_{j+p}``; midpoints of the intervals for degree 0.
    """
    knots = np.asarray(knots, dtype=float)
    if degree == 0:
        return 0.5 * (knots[1:] + knots[:-1])
    return np.lib.stride_tricks.sliding_window_view(knots[1:-1], degree).mean(axis=1)


def find_interval(knots: Float[Array, " knots"], degree: int, x: Float[Array, "..."]) -> Int[Array, "..."]:
    """Index of the interval that holds ``x``, clipped to ``0 .. n-1``.

    Points outside the domain belong to the end intervals. The index is an integer and carries no derivative.
    """
    count = knots.shape[0] - 2 * degree - 1
    inner = jax.lax.stop_gradient(jnp.asarray(knots))[degree + 1 : degree + count]
    if count == 1:
        return jnp.zeros(jnp.shape(x), dtype=jnp.int32)
    return jnp.searchsorted(inner, jax.lax.stop_gradient(x), side="right", method="scan_unrolled").astype(jnp.int32)


def insertion_matrix(coarse_knots, fine_knots, degree: int) -> csr_array:
    r"""Coefficients of a coarse spline in a finer basis.

    Fine coefficient :math:`j` is the polar form (blossom) of a polynomial piece of the coarse spline at the fine
    knots :math:`t_{j+1}, \dots, t_{j+p}`. Only the breakpoints inside the domain have to be nested: the knots
    beyond the ends may differ, as they do when both vectors are continued uniformly.

    Parameters
    ----------
    coarse_knots, fine_knots : array-like
        Full knot vectors of ``n_c`` and ``n_f`` intervals on the same domain.
    degree : int
        Degree ``p`` of both.

    Returns
    -------
    csr_array
        Matrix ``(n_f + p, n_c + p)`` with at most ``p + 1`` entries a row, which sum to one.

    Raises
    ------
    NotNested
        Naming the first coarse breakpoint that the fine space lacks.

    References
    ----------
    L. Ramshaw, Blossoms are polar forms, Computer Aided Geometric Design 6 (1989) 323-358.
    """
    coarse, fine = np.asarray(coarse_knots, dtype=float), np.asarray(fine_knots, dtype=float)
    _check_nested(breakpoints_of(coarse, degree), breakpoints_of(fine, degree))
    piece = _coarse_pieces(coarse, degree, fine, degree)
    arguments = fine[np.arange(piece.size)[:, None] + 1 + np.arange(degree)]
    return _scattered(coarse, degree, piece, _polar(coarse, degree, piece, arguments))


def _polar(coarse: np.ndarray, degree: int, piece: np.ndarray, arguments: np.ndarray) -> np.ndarray:
    """Weights ``(rows, p + 1)`` of the coefficients alive on a piece in its polar form at ``p`` arguments a row."""
    weights = np.broadcast_to(np.eye(degree + 1), (piece.size, degree + 1, degree + 1))
    for order in range(1, degree + 1):
        # de Boor's pyramid with a different argument at each order evaluates the polar form
        steps = piece[:, None] + np.arange(order, degree + 1)
        low, high = coarse[steps], coarse[steps + degree + 1 - order]
        ratio = ((arguments[:, order - 1 : order] - low) / (high - low))[:, :, None]
        weights = (1.0 - ratio) * weights[:, :-1] + ratio * weights[:, 1:]
    return weights[:, 0]


def polar_weights(knots, degree: int, number: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """Weights ``(n, p + 1)`` of the coefficients alive on intervals ``piece`` in what continues their polynomial as the
    coefficients of B-splines ``number``, both ``(n,)``."""
    knots = np.asarray(knots, dtype=float)
    return _polar(knots, degree, piece, knots[number[:, None] + 1 + np.arange(degree)])


def _scattered(coarse: np.ndarray, degree: int, piece: np.ndarray, weights: np.ndarray) -> csr_array:
    columns = piece[:, None] + np.arange(degree + 1)
    starts = np.arange(piece.size + 1) * (degree + 1)
    matrix = csr_array((weights.ravel(), columns.ravel(), starts), shape=(piece.size, coarse.size - degree - 1))
    matrix.eliminate_zeros()
    return matrix


def power_relu_matrix(knots, degree: int) -> np.ndarray:
    r"""Matrix of the change from truncated powers to B-splines, :math:`b = A \psi` on the domain.

    With :math:`\psi_j(x) = \max(x - t_j, 0)^p`, :math:`j = 0, \dots, n+p-1`,

    .. math:: A_{j,j+k} = (-1)^{p+1} \, (t_{j+p+1} - t_j) \prod_{l \ne k,\, l \le p+1} (t_{j+k} - t_{j+l})^{-1},

    which for equidistant knots is the stencil :math:`(-1)^k \binom{p+1}{k} / (p!\, h^p)`. A spline with
    coefficients ``u`` has the weights ``w = A' u``. Powers that start at or beyond the upper end are dropped.

    Raises
    ------
    ValueError
        For repeated knots, for which truncated powers of one degree do not span the space.
    """
    knots = np.asarray(knots, dtype=float)
    size = knots.size - degree - 1
    if np.any(np.diff(knots) <= 0):
        raise ValueError("power_relu_matrix: the knots are repeated; use knots that increase strictly")
    windows = knots[np.arange(size)[:, None] + np.arange(degree + 2)]
    gaps = windows[:, :, None] - windows[:, None, :] + np.eye(degree + 2)
    stencil = (-1.0) ** (degree + 1) * (windows[:, -1:] - windows[:, :1]) / gaps.prod(axis=2)
    matrix = np.zeros((size, size + degree + 1))
    matrix[np.arange(size)[:, None], np.arange(size)[:, None] + np.arange(degree + 2)] = stencil
    return matrix[:, :size]


def _check_space(intervals: int, degree: int) -> None:
    if intervals < 1 or degree < 0:
        raise ValueError(f"a spline space needs intervals >= 1 and degree >= 0, got {intervals} and {degree}")


def _check_breakpoints(breakpoints, degree: int) -> np.ndarray:
    points = np.asarray(breakpoints, dtype=float)
    _check_space(points.size - 1, degree)
    if points.ndim != 1 or not np.all(np.isfinite(points)):
        raise ValueError("breakpoints must be a finite one-dimensional array")
    backwards = np.flatnonzero(np.diff(points) < 0)
    if backwards.size or points[0] == points[-1]:
        raise ValueError(f"breakpoints must increase; they do not at index {backwards[0] if backwards.size else 0}")
    return points


def _check_nested(coarse_points: np.ndarray, fine_points: np.ndarray) -> None:
    if min(coarse_points.size, fine_points.size) < 2:
        raise ValueError(f"{coarse_points.size} coarse and {fine_points.size} fine breakpoints hold no interval")
    tolerance = 1e-12 * (coarse_points[-1] - coarse_points[0])
    lacking = _copies(fine_points, coarse_points, tolerance) < _copies(coarse_points, coarse_points, tolerance)
    if lacking.any():
        raise NotNested(
            f"the coarse breakpoint {coarse_points[lacking][0]:.17g} is missing in the fine knots (or present with a "
            f"lower multiplicity): the fine space would not contain the coarse one. Refine by adding breakpoints only."
        )
    if abs(fine_points[0] - coarse_points[0]) > tolerance or abs(fine_points[-1] - coarse_points[-1]) > tolerance:
        raise NotNested(
            f"the fine domain [{fine_points[0]:.17g}, {fine_points[-1]:.17g}] differs from the coarse domain "
            f"[{coarse_points[0]:.17g}, {coarse_points[-1]:.17g}]"
        )


def _copies(points: np.ndarray, wanted: np.ndarray, tolerance: float) -> np.ndarray:
    """How often each of some positions is among increasing points."""
    return np.searchsorted(points, wanted + tolerance, "right") - np.searchsorted(points, wanted - tolerance, "left")


def _coarse_pieces(coarse: np.ndarray, coarse_degree: int, fine: np.ndarray, degree: int) -> np.ndarray:
    """For each fine basis function, the coarse interval below the nonempty fine interval nearest its middle."""
    points, coarse_points = breakpoints_of(fine, degree), breakpoints_of(coarse, coarse_degree)
    tolerance = 1e-12 * (points[-1] - points[0])
    solid = np.flatnonzero(np.diff(points) > tolerance)
    middles = np.arange(fine.size - degree - 1) - 0.5 * degree
    # any nonempty interval of the support gives the same number; the middle one extrapolates least
    after = np.clip(np.searchsorted(solid, middles), 1, max(1, solid.size - 1))
    lower, upper = solid[after - 1], solid[np.minimum(after, solid.size - 1)]
    nearest = np.where(np.abs(middles - lower) <= np.abs(upper - middles), lower, upper)
    centres = 0.5 * (points[nearest] + points[nearest + 1])
    return np.clip(np.searchsorted(coarse_points, centres, side="right") - 1, 0, coarse_points.size - 2)
