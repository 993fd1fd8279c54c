"""A trained field that stays as it is, and a new network that learns what it leaves."""

import itertools
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import AbstractField, AbstractFixed, linear_parameters, placed
from hierax.fields.mlp import MLP, linear_layer


class Earlier(AbstractFixed):
    """A field that is not trained any more, and the size of what is to be learned beside it."""

    field: Any
    amplitude: Float[Array, ""]


class Staged(AbstractField):
    r"""The value :math:`u(x) + a\, v(x)` of an earlier field `u`, which stays, and a network `v`, which is trained.

    With `a` the size of the error of `u`, the network has values of the order one, however small the error is: digits
    are not limited by the one network that has to learn everything.

    Parameters
    ----------
    field : callable pytree
        The earlier field.
    network : callable pytree
        With values of the same shape.
    amplitude : float

    References
    ----------
    Wang and Lai, Multi-stage neural networks, J. Comput. Phys. 2024, arXiv 2307.08934.
    """

    earlier: Earlier
    network: Any

    def __init__(self, field, network, amplitude: float):
        self.earlier = Earlier(field, jnp.asarray(float(amplitude)))
        self.network = network

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.earlier.field(x) + self.earlier.amplitude * self.network(x)

    def linear_parameters(self) -> PyTree[bool]:
        return eqx.tree_at(lambda f: f.network, super().linear_parameters(), linear_parameters(self.network))

    def placed(self, box: Any) -> "Staged":
        return eqx.tree_at(lambda f: f.network, self, placed(self.network, box))


def waves(widths, frequency: float, bounds, generator: np.random.Generator) -> MLP:
    r"""A perceptron of sines that begins with waves of about a given frequency, and with the value zero.

    The weights of the first layer are normal with the standard deviation :math:`\pi f` for inputs in `[-1, 1]`: waves
    of up to about `f` periods across the box, with uniform phases. Weights behind them follow `siren`, the last layer
    is zero.

    Parameters
    ----------
    widths : sequence of int
        Numbers of nodes, inputs first.
    frequency : float
        `f`, in periods across the box.
    bounds : pair of arrays
        Corners of the box.
    """
    network, layers = MLP(widths, key=0, activation=jnp.sin, domain=bounds), []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(network.widths)):
        limit = np.sqrt(6.0 / inputs)
        first = np.pi * frequency * generator.normal(size=(outputs, inputs))
        weights = first if number == 0 else generator.uniform(-limit, limit, size=(outputs, inputs))
        shift = generator.uniform(-np.pi, np.pi, size=outputs)
        last = float(number < len(network.layers) - 1)
        layers.append(linear_layer(last * weights, last * shift))
    return eqx.tree_at(lambda net: net.layers, network, tuple(layers))
