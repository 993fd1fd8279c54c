"""Multilayer perceptrons: Equinox's linear layers with a normalised input."""

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import AbstractField, marked
from hierax.fields.initial import Key, generator_of
from hierax.fields.inputs import InputBox, coordinates, input_box


class MLP(AbstractField):
    """Multilayer perceptron.

    Parameters
    ----------
    widths : sequence of int
        Numbers of nodes, inputs first. One output gives values of shape ``()``.
    key : key or int
        For the initial weights (Glorot, normal); biases start at zero.
    activation : callable
        Smooth enough for the derivatives of the problem.
    domain : InputBox or pair of arrays, optional
        The box that is mapped to ``[-1, 1]`` in each coordinate, which may be periodic. Without it inputs are taken as
        they are.

    Raises
    ------
    ValueError
        For fewer than two widths, or one that is not positive.

    Examples
    --------
    >>> MLP([2, 16, 16, 1], key=0, domain=([0.0, 0.0], [1.0, 2.0]))(jnp.zeros(2)).shape
    ()
    """

    box: InputBox | None
    layers: tuple[eqx.nn.Linear, ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, widths, *, key: Key, activation: Callable[[Array], Array] = jnp.tanh, domain=None):
        widths = tuple(int(width) for width in widths)
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(
                f"MLP: widths {list(widths)} need positive numbers for at least the inputs and the outputs"
            )
        generator = generator_of(key)
        self.box = input_box(domain, widths[0])
        first, *others = (glorot(*pair, generator) for pair in itertools.pairwise(widths))
        self.layers = (behind_box(self.box, first), *others)
        self.activation = activation

    @property
    def widths(self) -> tuple[int, ...]:
        inputs = coordinates(self.box, self.layers[0].weight.shape[1])
        return (inputs, *(layer.weight.shape[0] for layer in self.layers))

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        z = x if self.box is None else self.box(x)
        for layer in self.layers[:-1]:
            z = self.activation(layer(z))
        z = self.layers[-1](z)
        return z[0] if z.shape == (1,) else z

    def linear_parameters(self) -> PyTree[bool]:
        return marked(self, lambda net: net.layers[-1])

    def placed(self, box: Any) -> "MLP":
        if self.box is not None:
            return self
        box = input_box(box, self.widths[0])
        parts = box, behind_box(box, self.layers[0])
        return eqx.tree_at(lambda net: (net.box, net.layers[0]), self, parts, is_leaf=lambda x: x is None)


def siren(widths, *, key: Key, domain=None, frequency: float = 30.0) -> MLP:
    r"""A perceptron of sines with the initial law that keeps the distribution of values from layer to layer.

    Layers are :math:`\sin(\omega (W z + b))` with :math:`W` uniform in :math:`\pm 1/n` in the first layer and in
    :math:`\pm\sqrt{6/n}/\omega` in the others, for ``n`` inputs of the layer, and :math:`b` uniform in
    :math:`\pm 1/\sqrt{n}`. The parameters of the result are :math:`\omega W` and :math:`\omega b`, which makes steps
    of a first-order solver smaller by :math:`\omega^2` and leaves Gauss-Newton with its own scaling unchanged.

    Parameters
    ----------
    widths : sequence of int
        Numbers of nodes, inputs first.
    key : key or int
    domain : InputBox or pair of arrays, optional
        As for `MLP`; the law is meant for inputs in ``[-1, 1]``.
    frequency : float
        :math:`\omega`: the first layer has about ``frequency / pi`` half waves across the box. The published 30 is for
        images; smooth functions want less.

    References
    ----------
    Sitzmann, Martel, Bergman, Lindell, Wetzstein, NeurIPS 2020, arXiv 2006.09661, section 3.2.
    """
    network = MLP(widths, key=key, activation=jnp.sin)
    generator, layers = generator_of(key), []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(network.widths)):
        limit = frequency / inputs if number == 0 else np.sqrt(6.0 / inputs)
        last = number == len(network.layers) - 1
        weights = generator.uniform(-limit, limit, size=(outputs, inputs)) / (frequency if last else 1.0)
        shift = generator.uniform(-1.0, 1.0, size=outputs) / np.sqrt(inputs)
        layers.append(linear_layer(weights, shift if last else frequency * shift))
    network = eqx.tree_at(lambda net: net.layers, network, tuple(layers))
    return network if domain is None else network.placed(domain)


def linear_layer(weights: Any, bias: Any) -> eqx.nn.Linear:
    """A layer with weights ``(out, in)`` and shifts ``(out,)``."""
    # only the structure of the layer is made by Equinox, which would compile its own initial law for every shape
    outputs, inputs = weights.shape
    layer = eqx.filter_eval_shape(eqx.nn.Linear, inputs, outputs, key=jax.random.key(0))
    arrays = jnp.asarray(weights, dtype=float), jnp.asarray(bias, dtype=float)
    return eqx.tree_at(lambda part: (part.weight, part.bias), layer, arrays)


def behind_box(box: InputBox | None, layer: eqx.nn.Linear) -> eqx.nn.Linear:
    """The layer behind a box, from one that sees plain coordinates."""
    return layer if box is None or not box.added else linear_layer(box.weights(layer.weight), layer.bias)


def glorot(inputs: int, outputs: int, generator: np.random.Generator) -> eqx.nn.Linear:
    """A layer with normal weights of variance ``2 / (inputs + outputs)`` and no shift."""
    weights = generator.normal(size=(outputs, inputs)) * np.sqrt(2.0 / (inputs + outputs))
    return linear_layer(weights, np.zeros(outputs))
