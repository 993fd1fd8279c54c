"""A trained basis with a linear readout: functions that move, coefficients that one linear solve finds."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import AbstractField, marked
from hierax.fields.initial import Key, generator_of
from hierax.fields.inputs import InputBox
from hierax.fields.mlp import MLP


class AdaptiveBasis(AbstractField):
    r"""The expansion :math:`u(x) = \sum_j c_j \varphi_j(x)` in trained functions, :math:`\varphi_0 = 1`.

    The functions are hidden values of a perceptron, :math:`\varphi = s(N(x))`. `linear_parameters` names the
    coefficients: for fixed basis a least-squares problem in them is linear, and the basis can be trained on what
    remains (variable projection).

    Parameters
    ----------
    widths : sequence of int
        Numbers of nodes, inputs first; the last but one is the size of the basis without the constant.
    key : key or int
        For the basis (Glorot, normal) and the coefficients, which start small.
    activation : callable
        Smooth enough for the derivatives of the problem; applied to the last hidden layer as well.
    domain : InputBox or pair of arrays, optional
        As for `MLP`.

    Raises
    ------
    ValueError
        For widths without a hidden layer.

    Examples
    --------
    >>> field = AdaptiveBasis([2, 16, 20, 1], key=0)
    >>> field.coefficients.shape, field.functions(jnp.zeros(2)).shape, field(jnp.zeros(2)).shape
    ((1, 21), (21,), ())

    References
    ----------
    Cyr, Gulian, Patel, Perego, Trask, Proc. Mach. Learn. Res. 107 (2020), arXiv 1912.04862 (adaptive basis);
    Golub, Pereyra, SIAM J. Numer. Anal. 10 (1973) (variable projection).
    """

    basis: MLP
    coefficients: Float[Array, "out functions"]

    def __init__(self, widths, *, key: Key, activation: Callable[[Array], Array] = jnp.tanh, domain=None):
        widths = tuple(int(width) for width in widths)
        if len(widths) < 3 or min(widths) < 1:
            raise ValueError(
                f"AdaptiveBasis: widths {list(widths)} need positive numbers for inputs, basis functions and outputs"
            )
        generator = generator_of(key)
        self.basis = MLP(widths[:-1], key=int(generator.integers(2**31)), activation=activation, domain=domain)
        values = generator.normal(size=(widths[-1], widths[-2] + 1))
        self.coefficients = jnp.asarray(values * (2.0 / sum(widths[-2:])) ** 0.5)

    @classmethod
    def boxed(cls, nodes: int, domain, *, key: Key, out: int = 1, slope: float = 8.0) -> "AdaptiveBasis":
        r"""One hidden layer of `tanh` whose transitions are spread over a box, each steep enough to end within it.

        Node :math:`j` is :math:`\tanh(k_j n_j \cdot (z - p_j))` in coordinates :math:`z` of the box scaled to
        :math:`[-1, 1]^d`: :math:`p_j` a Latin hypercube, :math:`n_j` random directions, and
        :math:`k_j = s / (\max_z n_j \cdot z - n_j \cdot p_j)` for the slope :math:`s`, at most :math:`s/8` times the
        number of nodes along a side. Coefficients are zero.

        Parameters
        ----------
        nodes : int
            Size of the basis without the constant.
        domain : InputBox or pair of arrays
            The box; along periodic coordinates nodes are spread over the circle.
        key : key or int
            For places and directions.
        out : int
            Number of outputs.
        slope : float
            With 8 the narrowest transitions are as wide as a few distances of nodes.

        References
        ----------
        Cyr, Gulian, Patel, Perego, Trask, arXiv 1912.04862, section 3 (box initialisation of ReLU nodes).
        """
        box = domain if isinstance(domain, InputBox) else InputBox(*domain)
        dim = box.dim
        field = cls([dim, nodes, out], key=key, domain=box)
        generator = generator_of(key)
        strata = np.stack([generator.permutation(nodes) for _ in range(dim)], axis=1)
        places = box.wrapped(2.0 * (strata + generator.uniform(size=(nodes, dim))) / nodes - 1.0)
        normals = generator.normal(size=places.shape)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        ahead = box.reach(normals) - np.sum(normals * places, axis=1)
        steep = slope / np.maximum(ahead, 8.0 / nodes ** (1.0 / dim))
        weights = steep[:, None] * normals
        layer = field.basis.layers[0]
        return eqx.tree_at(
            lambda net: (net.basis.layers[0].weight, net.basis.layers[0].bias, net.coefficients),
            field,
            (
                jnp.asarray(weights, layer.weight.dtype),
                jnp.asarray(-np.sum(weights * places, axis=1), layer.weight.dtype),
                jnp.zeros_like(field.coefficients),
            ),
        )

    @property
    def widths(self) -> tuple[int, ...]:
        return (*self.basis.widths, self.coefficients.shape[0])

    def functions(self, x: Float[Array, " dim"]) -> Float[Array, " functions"]:
        """Values of all basis functions, the constant first."""
        return jnp.append(1.0, self.basis.activation(jnp.atleast_1d(self.basis(x))))

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        value = self.coefficients @ self.functions(x)
        return value[0] if value.shape == (1,) else value

    def linear_parameters(self) -> PyTree[bool]:
        return marked(self, lambda field: field.coefficients)

    def placed(self, box: Any) -> "AdaptiveBasis":
        return eqx.tree_at(lambda net: net.basis, self, self.basis.placed(box))
