"""Fields with fixed basis functions and a trained linear readout: random ridges, waves, polynomials."""

import abc
import functools
import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax.fields.base import AbstractField, AbstractFixed


class AbstractBasis(AbstractFixed):
    """Functions of a point that are not trained."""

    @abc.abstractmethod
    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " functions"]:
        """Values of all functions."""


class Ridges(AbstractBasis):
    r"""The functions :math:`s(w_j \cdot x + b_j)`.

    Parameters
    ----------
    weights : array ``(functions, dim)``
    shifts : array ``(functions,)``
    activation : callable
    """

    weights: Float[Array, "functions dim"]
    shifts: Float[Array, " functions"]
    activation: Callable[[Array], Array] = eqx.field(static=True, default=jnp.tanh)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " functions"]:
        return self.activation(self.weights @ x + self.shifts)


class Waves(AbstractBasis):
    r"""The functions :math:`\cos(\pi k_j \cdot x)` and :math:`\sin(\pi k_j \cdot x)`.

    Parameters
    ----------
    frequencies : array ``(modes, dim)``
    """

    frequencies: Float[Array, "modes dim"]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " functions"]:
        phase = jnp.pi * self.frequencies @ x
        return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)])


class Legendre(AbstractBasis):
    """Tensor products of Legendre polynomials on ``[-1, 1]``.

    Parameters
    ----------
    degrees : tuple of int
        For each coordinate.
    """

    degrees: tuple[int, ...] = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Number of functions."""
        return math.prod(degree + 1 for degree in self.degrees)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " functions"]:
        parts = [_legendre(x[axis], degree) for axis, degree in enumerate(self.degrees)]
        return functools.reduce(lambda a, b: (a[:, None] * b).ravel(), parts)


class Expansion(AbstractField):
    r"""The sum :math:`u(x) = \sum_j c_j \varphi_j(x)` of fixed functions; linear in its parameters.

    Parameters
    ----------
    basis : AbstractBasis
    coefficients : array ``(functions,)`` or ``(out, functions)``
        Without the axis of outputs values have shape ``()``.

    Examples
    --------
    >>> float(Expansion(Legendre((2,)), jnp.array([1.0, 0.0, 2.0]))(jnp.array([1.0])))
    3.0

    References
    ----------
    Huang, Zhu, Siew, Neurocomputing 70 (2006) (random ridges); Rahimi, Recht, NeurIPS 2007 (random waves);
    Anderson, Dolean, Moseley, Pestana, arXiv 2409.01949 (both with windows on subdomains).
    """

    basis: AbstractBasis
    coefficients: Float[Array, "..."]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.coefficients @ self.basis(x)

    @property
    def linear_in_parameters(self) -> bool:
        return True


def _legendre(x: Float[Array, ""], degree: int) -> Float[Array, " degree_plus_one"]:
    values = [jnp.ones_like(x), x]
    for n in range(1, degree):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    return jnp.stack(values[: degree + 1])
