r"""B-splines as polynomial pieces, so that evaluation is one Horner scheme.

On interval :math:`i` with middle :math:`m` and length :math:`h` the :math:`p+1` functions alive are polynomials in
:math:`s = (x - m)/h`, with :math:`|s| \le 1/2` inside. Their coefficients are tabulated once for an axis. Against the
triangular scheme of Cox and de Boor a second derivative compiles five times faster and runs a little faster.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.base import AbstractFixed


class Pieces(AbstractFixed):
    """Polynomial pieces of all intervals of an axis (leading axis `n`), or of one (no leading axis).

    Parameters
    ----------
    middle, inverse_length : arrays of shape ``(n,)``
        Middle and inverse length of the intervals.
    coefficients : array of shape ``(n, p + 1, p + 1)``
        ``[i, k, j]`` multiplies ``s**k`` in function ``i + j``.
    """

    middle: Float[Array, "*n"]
    inverse_length: Float[Array, "*n"]
    coefficients: Float[Array, "*n power alive"]

    def take(self, interval: Int[Array, ""]) -> "Pieces":
        """The pieces of one interval (or of an array of intervals)."""
        return Pieces(self.middle[interval], self.inverse_length[interval], self.coefficients[interval])

    def __call__(self, x: Float[Array, ""]) -> Float[Array, " alive"]:
        """Values at ``x`` of the functions alive on one interval; they sum to one."""
        s = (x - self.middle) * self.inverse_length
        value = self.coefficients[-1]
        for row in self.coefficients[-2::-1]:
            value = value * s + row
        return value


def polynomial_pieces(knots, degree: int) -> Pieces:
    """Tabulate the pieces of a full knot vector of ``n + 2 p + 1`` knots; intervals of length zero give zeros."""
    knots = np.asarray(knots, dtype=float)
    count = knots.size - 2 * degree - 1
    start = np.arange(count) + degree
    length = knots[start + 1] - knots[start]
    safe = np.where(length > 0, length, 1.0)
    middle = 0.5 * (knots[start + 1] + knots[start])
    values = np.zeros((count, degree + 1, 1))
    values[:, 0, 0] = 1.0
    for order in range(1, degree + 1):
        above = knots[start[:, None] + 1 + np.arange(order)] - middle[:, None]
        below = knots[start[:, None] + 1 - order + np.arange(order)] - middle[:, None]
        gap = above - below
        scaled = values / np.where(gap > 0, gap, 1.0)[:, None, :]
        # multiply by (above - h s) and by (h s - below): the shift along the powers is multiplication by s
        shifted = np.concatenate([np.zeros_like(scaled[:, :1]), scaled[:, :-1]], axis=1) * safe[:, None, None]
        falling = above[:, None, :] * scaled - shifted
        rising = shifted - below[:, None, :] * scaled
        values = np.pad(falling, ((0, 0), (0, 0), (0, 1))) + np.pad(rising, ((0, 0), (0, 0), (1, 0)))
    values = np.where((length > 0)[:, None, None], values, 0.0)
    return Pieces(*(jnp.asarray(part, dtype=float) for part in (middle, 1.0 / safe, values)))
