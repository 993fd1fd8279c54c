"""A field made of coarser fields: a trend in them and in the coordinates, and a correction."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax.fields.base import AbstractField, AbstractFixed, linear_in_parameters


class InputScale(AbstractFixed):
    """Maps inputs `z` to `(z - centre) / width`, each about in `[-1, 1]`; never trained."""

    centre: Float[Array, " inputs"]
    width: Float[Array, " inputs"]

    def __call__(self, z: Float[Array, " inputs"]) -> Float[Array, " inputs"]:
        return (z - self.centre) / self.width


class Trend(AbstractField):
    r"""A sum of monomials, :math:`\sum_m c_m \prod_a z_a^{e_{ma}}`.

    Parameters
    ----------
    coefficients : array of shape ``(terms,)``
    exponents : tuple of tuples of int
        One row of exponents a term.
    """

    coefficients: Float[Array, " terms"]
    exponents: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, ""]:
        terms = [_monomial(x, row) for row in self.exponents]
        return self.coefficients @ jnp.stack(terms)

    @property
    def linear_in_parameters(self) -> bool:
        return True


class KernelCentres(AbstractFixed):
    """Centres of a kernel expansion ``(n, inputs)`` in units of the kernel's lengths, and one over these lengths."""

    positions: Float[Array, "n inputs"]
    inverse_lengths: Float[Array, " inputs"]


class KernelSum(AbstractField):
    r"""A sum of kernels about fixed centres, :math:`\sum_i \alpha_i k(|S (z - z_i)|^2)`.

    The kernel is a Gaussian, :math:`k(s) = e^{-s/2}`, or, with `heavy` tails, the inverse multiquadric
    :math:`k(s) = (1 + s)^{-1/2}`. An input whose inverse length is zero is not seen.

    Parameters
    ----------
    weights : array of shape ``(n,)``
    centres : KernelCentres
    heavy : bool
    """

    weights: Float[Array, " n"]
    centres: KernelCentres
    heavy: bool = eqx.field(static=True)

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, ""]:
        distance = jnp.sum((x * self.centres.inverse_lengths - self.centres.positions) ** 2, axis=1)
        return self.weights @ (1 / jnp.sqrt(1 + distance) if self.heavy else jnp.exp(-0.5 * distance))

    @property
    def linear_in_parameters(self) -> bool:
        return True


class Coupled(AbstractField):
    r"""A fine field out of coarser ones, :math:`u(x) = T(z) + \delta(z)` with :math:`z = (x, v_1(x), v_2(x), ...)`.

    The coarser fields :math:`v_j` are not trained any more. With a trend such as
    :math:`\rho_0 v_1 + \rho_1 x v_1` this is the autoregressive model of Kennedy and O'Hagan (2000); with a correction
    that sees :math:`v_1` the nonlinear one of Perdikaris et al. (2017). Without coarser fields it is a kernel fit.

    Parameters
    ----------
    coarser : sequence of callable pytrees
        From a point to a value of shape ``()``.
    scale : InputScale
        Applied to all inputs `z` of trend and kernels.
    trend : Trend
    kernels : KernelSum
        Of the scaled inputs.
    grid : callable pytree, optional
        A further correction that sees the point `x` as it is.
    """

    coarser: tuple[Any, ...]
    scale: InputScale
    trend: Trend
    kernels: KernelSum | None
    grid: Any

    def __init__(self, coarser, scale: InputScale, trend: Trend, kernels: KernelSum | None = None, grid: Any = None):
        self.coarser, self.scale, self.trend = tuple(coarser), scale, trend
        self.kernels, self.grid = kernels, grid

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        values = [jnp.reshape(field(x), (1,)) for field in self.coarser]
        z = self.scale(jnp.concatenate([x, *values]))
        value = self.trend(z)
        if self.kernels is not None:
            value = value + self.kernels(z)
        return value if self.grid is None else value + jnp.reshape(self.grid(x), ())

    def trainable(self):
        own = AbstractField.trainable(self)
        frozen = jax.tree.map(lambda leaf: False, self.coarser)
        return eqx.tree_at(lambda field: field.coarser, own, frozen) if self.coarser else own

    @property
    def linear_in_parameters(self) -> bool:
        return self.grid is None or linear_in_parameters(self.grid)


def _monomial(z: Float[Array, " inputs"], exponents: tuple[int, ...]) -> Float[Array, ""]:
    value = jnp.ones(())
    for axis, power in enumerate(exponents):
        if power:
            value = value * z[axis] ** power
    return value
