"""Partitions of unity that are learned: a network divides the domain, polynomials act on its parts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import AbstractField, marked
from hierax.fields.expansion import Legendre
from hierax.fields.initial import Key
from hierax.fields.inputs import InputBox
from hierax.fields.mlp import MLP


class LearnedPartition(AbstractField):
    r"""Polynomials blended by a network, :math:`u(x) = \sum_k \sigma_k(N(x))\, p_k(x)` with the softmax :math:`\sigma`.

    The parts follow the solution: where it is smooth few are wide, at a kink two of them meet. For a fixed network the
    coefficients of the polynomials are found by one linear solve (variable projection).

    Parameters
    ----------
    lower, upper : sequence of float
        Corners of the domain.
    parts, degree : int
        Number of polynomials, and their degree in each coordinate.
    hidden : sequence of int
        Widths of the hidden layers of the network.
    key : key or int
    out : int, optional
        Number of outputs; none for values of shape ``()``.
    activation : callable

    Raises
    ------
    ValueError
        For fewer than two parts.

    Examples
    --------
    >>> field = LearnedPartition([0.0], [1.0], parts=3, degree=2, key=0)
    >>> field.coefficients.shape, field(jnp.array([0.3])).shape
    ((3, 3), ())

    References
    ----------
    Lee, Trask, Patel, Gulian, Cyr, AAAI-MLPS 2021, arXiv 2101.11256.
    """

    box: InputBox
    gate: MLP
    basis: Legendre
    coefficients: Float[Array, "..."]

    def __init__(
        self,
        lower,
        upper,
        *,
        parts: int = 8,
        degree: int = 3,
        hidden=(16,),
        key: Key,
        out: int | None = None,
        activation: Callable[[Array], Array] = jnp.tanh,
    ):
        if parts < 2:
            raise ValueError(f"LearnedPartition: at least two parts are needed, got {parts}")
        self.box = InputBox(lower, upper)
        dim = self.box.lower.shape[0]
        self.gate = MLP([dim, *hidden, parts], key=key, activation=activation)
        self.basis = Legendre((degree,) * dim)
        functions = (degree + 1) ** dim
        self.coefficients = jnp.zeros((parts, functions) if out is None else (parts, out, functions))

    def weights(self, x: Float[Array, " dim"]) -> Float[Array, " parts"]:
        """What each part counts at a point; positive, and one together."""
        return jax.nn.softmax(self.gate(self.box(x)))

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return jnp.tensordot(self.weights(x), self.coefficients @ self.basis(self.box(x)), axes=1)

    def linear_parameters(self) -> PyTree[bool]:
        return marked(self, lambda field: field.coefficients)
