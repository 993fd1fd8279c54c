"""Windows: smooth functions of the local coordinates of a subdomain that vanish outside of it."""

import abc
import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax.fields.base import AbstractFixed


class AbstractWindow(AbstractFixed):
    """A function on ``[-1, 1]^dim``, positive inside, zero outside; before it is made a partition of unity."""

    @abc.abstractmethod
    def __call__(self, z: Float[Array, "... dim"]) -> Float[Array, "..."]:
        """Values at local coordinates, over the last axis."""

    @property
    def margin(self) -> float:
        """Subdomains of a uniform cover beyond each end of the domain."""
        return 0.0


class PowerWindow(AbstractWindow):
    r"""The window :math:`\prod_a (1 - z_a^2)_+^p`, with :math:`p - 1` continuous derivatives.

    A polynomial: three times cheaper to differentiate twice than a window of cosines.
    """

    power: int = eqx.field(static=True, default=4)

    def __check_init__(self):
        if self.power < 1:
            raise ValueError(f"PowerWindow: the power must be at least 1, got {self.power}")

    def __call__(self, z: Float[Array, "... dim"]) -> Float[Array, "..."]:
        return jnp.prod(jnp.maximum(1.0 - z * z, 0.0) ** self.power, axis=-1)


class SplineWindow(AbstractWindow):
    r"""A tensor-product B-spline whose breakpoints are equidistant.

    Windows of this kind add up to one by themselves on the covers of `hierax.fields.Cover.splines`, and they refine:

    .. math:: B(t) = 2^{-p} \sum_k \binom{p+1}{k} B(2 t - k)

    for the spline on ``[0, p + 1]``. So polynomials on subdomains keep their function when all of these are halved.
    """

    degree: int = eqx.field(static=True, default=3)

    def __check_init__(self):
        if self.degree < 1:
            raise ValueError(f"SplineWindow: the degree must be at least 1, got {self.degree}")

    def __call__(self, z: Float[Array, "... dim"]) -> Float[Array, "..."]:
        p = self.degree
        # from the nearer end: fewer powers to take, and no cancellation where the window is small
        t = 0.5 * (p + 1) * (1.0 - jnp.abs(z))
        signs = [(-1) ** k * math.comb(p + 1, k) for k in range((p + 1) // 2 + 1)]
        values = sum(sign * jnp.maximum(t - k, 0.0) ** p for k, sign in enumerate(signs))
        return jnp.prod(values / math.factorial(p), axis=-1)

    @property
    def margin(self) -> float:
        return 0.5 * self.degree
