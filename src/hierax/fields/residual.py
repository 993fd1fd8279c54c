"""Residual networks: explicit Euler steps of an ordinary differential equation with trained right-hand side."""

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
from hierax.fields.mlp import behind_box, glorot


class ResidualBlocks(eqx.Module):
    r"""The steps :math:`y \leftarrow y + h\, a_l \circ s(W_l y + b_l)` with :math:`h = 1/L`, stacked along depth."""

    weights: Float[Array, "blocks width width"]
    shifts: Float[Array, "blocks width"]
    scales: Float[Array, "blocks width"]

    def __call__(self, y: Float[Array, " width"], activation: Callable[[Array], Array]) -> Float[Array, " width"]:
        step = 1.0 / self.weights.shape[0]

        def block(state: Array, layer: tuple[Array, Array, Array]) -> tuple[Array, None]:
            weights, shift, scale = layer
            return state + step * scale * activation(weights @ state + shift), None

        return jax.lax.scan(block, y, (self.weights, self.shifts, self.scales))[0]


class ResidualNetwork(AbstractField):
    r"""Residual network: linear lift, blocks :math:`y_{l+1} = y_l + h\, a_l \circ s(W_l y_l + b_l)`, linear readout.

    The ``L`` blocks are steps of length :math:`h = 1/L` on the unit interval of depth, so a network with twice the
    blocks is the same equation on a finer grid in time. The factors :math:`a_l`, one a channel, start at one; a block
    with :math:`a_l = 0` is the identity and has a gradient all the same.

    Parameters
    ----------
    widths : sequence of int
        Numbers of nodes, inputs first; all hidden ones equal. ``[dim, width, width, width, out]`` has the lift, two
        blocks and the readout.
    key : key or int
        For the initial weights (Glorot, normal).
    activation : callable
        Smooth enough for the derivatives of the problem.
    domain : pair of arrays, optional
        Corners of the box that is mapped to ``[-1, 1]`` in each coordinate. Without it inputs are taken as they are.

    Raises
    ------
    ValueError
        For widths without a block, or with hidden widths that differ.

    Examples
    --------
    >>> field = ResidualNetwork([2, 8, 8, 8, 1], key=0)
    >>> field.blocks.weights.shape, field(jnp.zeros(2)).shape
    ((2, 8, 8), ())

    References
    ----------
    He, Zhang, Ren, Sun, CVPR 2016; Haber, Ruthotto, Inverse Problems 34 (2018), arXiv 1705.03341, for depth as time;
    the factors are those of Touvron et al., ICCV 2021, arXiv 2103.17239.
    """

    box: InputBox | None
    lift: eqx.nn.Linear
    blocks: ResidualBlocks
    readout: eqx.nn.Linear
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, widths, *, key: Key, activation: Callable[[Array], Array] = jnp.tanh, domain=None):
        widths = tuple(int(width) for width in widths)
        if len(widths) < 4 or min(widths) < 1 or len(set(widths[1:-1])) > 1:
            raise ValueError(
                f"ResidualNetwork: widths {list(widths)} need positive numbers for the inputs, at least two equal "
                f"hidden widths (one more than blocks), and the outputs"
            )
        generator, width, count = generator_of(key), widths[1], len(widths) - 3
        self.box = input_box(domain, widths[0])
        self.lift = behind_box(self.box, glorot(widths[0], width, generator))
        weights = generator.normal(size=(count, width, width)) / np.sqrt(width)
        shape = (count, width)
        self.blocks = ResidualBlocks(jnp.asarray(weights), jnp.zeros(shape, float), jnp.ones(shape, float))
        self.readout = glorot(width, widths[-1], generator)
        self.activation = activation

    @property
    def widths(self) -> tuple[int, ...]:
        outputs, width = self.readout.weight.shape
        inputs = coordinates(self.box, self.lift.weight.shape[1])
        return (inputs, *itertools.repeat(width, self.blocks.weights.shape[0] + 1), outputs)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        y = self.lift(x if self.box is None else self.box(x))
        z = self.readout(self.blocks(y, self.activation))
        return z[0] if z.shape == (1,) else z

    def linear_parameters(self) -> PyTree[bool]:
        return marked(self, lambda net: net.readout)

    def placed(self, box: Any) -> "ResidualNetwork":
        if self.box is not None:
            return self
        box = input_box(box, self.widths[0])
        parts = box, behind_box(box, self.lift)
        return eqx.tree_at(lambda net: (net.box, net.lift), self, parts, is_leaf=lambda x: x is None)
