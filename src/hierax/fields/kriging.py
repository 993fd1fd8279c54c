"""Kernels about the points of a table, in warped and scaled inputs."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax.fields.base import AbstractField, AbstractFixed

LARGEST = 50.0
"""Largest exponent: values far outside stay numbers."""


class WarpedInputs(AbstractFixed):
    r"""Maps a point to :math:`w(t_a; \kappa_a) / \ell_a` and :math:`p_b \cdot t`, with :math:`t_a = (x_a - b_a) / h_a`.

    The warp :math:`w(t; \kappa) = \log(1 + t (e^\kappa - 1)) / \kappa` stretches one end of an axis and maps `[0, 1]`
    to itself; outside it goes on as its tangent.

    Parameters
    ----------
    corner, widths:
        :math:`b` and :math:`h`, `(dim,)`: the box of the inputs.
    warps, inverse_lengths:
        :math:`\kappa`, none of them zero, and :math:`1 / \ell`, `(dim,)`.
    directions:
        :math:`p`, `(k, dim)`.
    """

    corner: Float[Array, " dim"]
    widths: Float[Array, " dim"]
    warps: Float[Array, " dim"]
    inverse_lengths: Float[Array, " dim"]
    directions: Float[Array, "k dim"]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " places"]:
        t, grown = (x - self.corner) / self.widths, jnp.expm1(self.warps)
        # not `clip`, whose derivatives on the ends are means of both sides
        inside = jnp.where(t < 0.0, 0.0, jnp.where(t > 1.0, 1.0, t))
        slope = grown / (self.warps * (1.0 + inside * grown))
        # the logarithm ends a little outside of the box
        own = (jnp.log1p(inside * grown) / self.warps + slope * (t - inside)) * self.inverse_lengths
        return jnp.concatenate([own, self.directions @ t])


class Centres(AbstractFixed):
    r"""Centres `(n, places)` of kernels in warped inputs, and the exponent :math:`\alpha` of their tails, `()`."""

    positions: Float[Array, "n places"]
    tails: Float[Array, ""]


class Kriging(AbstractField):
    r"""The mean of a Gaussian process given values, :math:`c + \sum_i \beta_i (1 + |y - y_i|^2 / 2 \alpha)^{-\alpha}`.

    Here `y` is the warped point and :math:`y_i` are those of the table.

    Parameters
    ----------
    mean : array of shape ``()``
    weights : array of shape ``(n,)``
    inputs : WarpedInputs
    centres : Centres

    References
    ----------
    Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), chapter 2.
    """

    mean: Float[Array, ""]
    weights: Float[Array, " n"]
    inputs: WarpedInputs
    centres: Centres

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        squares = jnp.sum((self.inputs(x) - self.centres.positions) ** 2, axis=1)
        tails = self.centres.tails
        return self.mean + self.weights @ jnp.exp(-tails * jnp.log1p(squares / (2.0 * tails)))

    def scaled(self, size: float, shift: float) -> Kriging:
        """The field of the values `shift + size v`."""
        return Kriging(shift + size * self.mean, size * self.weights, self.inputs, self.centres)

    @property
    def linear_in_parameters(self) -> bool:
        return True


class Exponential(AbstractField):
    """The field `shift + size exp(power)` of another one.

    Parameters
    ----------
    power : Kriging
    size, shift : arrays of shape ``()``
    """

    power: Kriging
    size: Float[Array, ""]
    shift: Float[Array, ""]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return self.shift + self.size * jnp.exp(jnp.minimum(self.power(x), LARGEST))

    @property
    def linear_in_parameters(self) -> bool:
        return False


def on_scale(field: Kriging, scale: Any) -> Kriging | Exponential:
    """The field of values from that of their places on a `hierax.solvers.value_scale.ValueScale`."""
    if not scale.sign:
        return field.scaled(scale.spread, scale.level)
    size = scale.spread * scale.sign
    power = field.scaled(scale.size, scale.middle)
    return Exponential(power, jnp.asarray(size), jnp.asarray(scale.level + size * scale.offset))


def kriging(process: Any, corner: Any, widths: Any) -> Kriging:
    """The field of a `hierax.solvers.gaussian_process.Process` in the unit box of the inputs."""
    kernel = process.kernel
    shape = corner, widths, kernel.warps, kernel.inverse_lengths, kernel.directions
    inputs = WarpedInputs(*map(jnp.asarray, shape))
    centres = Centres(jnp.asarray(kernel.places(process.centres)), jnp.asarray(kernel.tails))
    return Kriging(jnp.asarray(process.mean), jnp.asarray(process.weights), inputs, centres)
