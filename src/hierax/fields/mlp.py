"""Multilayer perceptrons: Equinox's linear layers with a normalised input."""

import itertools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.base import AbstractField
from hierax.fields.initial import Key, generator_of
from hierax.fields.inputs import InputBox, input_box, place


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
    domain : pair of arrays, optional
        Corners of the box that is mapped to ``[-1, 1]`` in each coordinate. Without it inputs are taken as they are.

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
        self.layers = tuple(_glorot(*pair, generator) for pair in itertools.pairwise(widths))
        self.activation = activation

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in self.layers))

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        z = x if self.box is None else self.box(x)
        for layer in self.layers[:-1]:
            z = self.activation(layer(z))
        z = self.layers[-1](z)
        return z[0] if z.shape == (1,) else z


@place.register
def _(field: MLP, lower, upper) -> MLP:
    if field.box is not None:
        return field
    return eqx.tree_at(
        lambda net: net.box, field, input_box((lower, upper), field.widths[0]), is_leaf=lambda node: node is None
    )


def _glorot(inputs: int, outputs: int, generator: np.random.Generator) -> eqx.nn.Linear:
    # only the structure of the layer is made by Equinox, which would compile its own initial law for every shape
    layer = eqx.filter_eval_shape(eqx.nn.Linear, inputs, outputs, key=jax.random.key(0))
    weights = generator.normal(size=(outputs, inputs)) * np.sqrt(2.0 / (inputs + outputs))
    arrays = jnp.asarray(weights), jnp.zeros(outputs, dtype=float)
    return eqx.tree_at(lambda part: (part.weight, part.bias), layer, arrays)
