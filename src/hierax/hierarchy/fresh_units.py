r"""Wider networks with the same function: new units see the inputs at random and are not read yet.

Each hidden layer becomes :math:`(z, \zeta)` with the old units :math:`z` unchanged. The weights by which old units and
outputs read new ones are zero, so the function stays; the first linear solve for what is read finds the best
combination of new random features.
"""

import functools
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import partition
from hierax.fields.initial import generator_of
from hierax.fields.mlp import MLP, linear_layer
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.axis_transfer import AxisMap, AxisTransfer, LeafTransfer
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, grown
from hierax.hierarchy.transfer import FUNCTION_PRESERVING, INJECTIVE, AbstractTransfer, Params, Tag


class ShiftedTransfer(AbstractTransfer):
    """A linear transfer followed by the addition of fixed numbers, which its injection does not see: affine.

    Parameters
    ----------
    linear : AxisTransfer
        Tangent of the whole everywhere.
    shift : pytree
        Fine parameters whose injection is zero.
    """

    linear: AxisTransfer
    shift: Params

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset({FUNCTION_PRESERVING, INJECTIVE})

    def prolong(self, coarse: Params) -> Params:
        return jax.tree.map(jnp.add, self.linear.prolong(coarse), self.shift)

    def inject(self, fine: Params) -> Params:
        return self.linear.inject(fine)

    def tangent(self, at: Params) -> lx.AbstractLinearOperator:
        return self.linear.tangent(at)

    def restrict(self, cotangent: Params, at: Params | None = None) -> Params:
        return self.linear.restrict(cotangent, at)

    def lift(self, cotangent: Params) -> Params:
        return self.linear.lift(cotangent)

    def element(self, child: PyTree) -> Float[Array, "fine coarse"] | None:
        return self.linear.element(child)


class FreshUnits(AbstractRefinement):
    r"""Multiply the hidden widths of perceptrons by units with random weights that nothing reads yet.

    A new unit has a random direction, the length of the weights of a trained unit of its layer, and a shift that puts
    the middle of its transition at a random place of what it sees: in the box of the inputs in the first layer, so
    that new steps are as steep as trained ones and lie anywhere. `hierax.hierarchy.WidthGrowth` keeps new units near
    the old ones.

    Parameters
    ----------
    factor : float
        Ratio of the widths, above one; at least one unit is added.

    Raises
    ------
    ValueError
        For a factor that is not above one; for fields that are no perceptrons with hidden layers.
    """

    factor: float = 2.0

    def __check_init__(self):
        if not self.factor > 1.0:
            raise ValueError(f"FreshUnits: the factor must be above 1, got {self.factor}")

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        """See `AbstractRefinement.refine`; without a key random numbers depend on the number of parameters alone."""
        del evidence
        fine, leaves = with_fresh_units(
            level.field, self.factor, generator_of(level.parameters if key is None else key)
        )
        finer, linear = grown(level, fine, leaves)
        embedded = linear.prolong(linear.inject(partition(fine)[0]))
        shift = jax.tree.map(jnp.subtract, partition(fine)[0], embedded)
        return finer, ShiftedTransfer(linear, shift)


@functools.singledispatch
def with_fresh_units(
    field: Any, factor: float, generator: np.random.Generator
) -> tuple[PyTree, tuple[LeafTransfer, ...]]:
    """The wider field, and for each array of parameters where the old numbers stand in the new one."""
    raise ValueError(f"FreshUnits: {type(field).__name__} is no perceptron; use WidthGrowth")


@with_fresh_units.register
def _(field: MLP, factor: float, generator: np.random.Generator) -> tuple[MLP, tuple[LeafTransfer, ...]]:
    if len(field.widths) < 3:
        raise ValueError("FreshUnits: the perceptron has no hidden layer")
    inner = [max(width + 1, round(factor * width)) for width in field.widths[1:-1]]
    widths = [field.layers[0].weight.shape[1], *inner, field.widths[-1]]
    layers, leaves = [], []
    for number, (layer, (inputs, outputs)) in enumerate(zip(field.layers, itertools.pairwise(widths), strict=True)):
        old, bias = np.asarray(layer.weight), np.asarray(layer.bias)
        weights, shift = _random_units(old, inputs, outputs, number == 0 and field.box is None, generator)
        weights[: len(old)], shift[: len(old)] = 0.0, bias
        weights[: len(old), : old.shape[1]] = old
        layers.append(linear_layer(weights, shift))
        rows, columns = _embedding(0, len(old), outputs), _embedding(1, old.shape[1], inputs)
        leaves += [LeafTransfer((rows, columns)), LeafTransfer((rows,))]
    return eqx.tree_at(lambda net: net.layers, field, tuple(layers)), tuple(leaves)


@with_fresh_units.register
def _(field: Unknowns, factor: float, generator: np.random.Generator) -> tuple[Unknowns, tuple[LeafTransfer, ...]]:
    found = {name: with_fresh_units(part, factor, generator) for name, part in sorted(field.parts.items())}
    leaves = tuple(leaf for _, more in found.values() for leaf in more)
    return Unknowns(**{name: part for name, (part, _) in found.items()}), leaves


def _random_units(
    old: np.ndarray, inputs: int, outputs: int, unplaced: bool, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Weights `(outputs, inputs)` and shifts of units like the old ones, whose transitions lie where values occur."""
    directions = generator.normal(size=(outputs, inputs))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weights = directions * generator.choice(np.linalg.norm(old, axis=1), size=(outputs, 1))
    # inputs without a box may be anywhere: their transitions stay at the origin
    middle = generator.uniform(-1.0, 1.0, size=(outputs, inputs)) * (0.0 if unplaced else 1.0)
    return weights, -np.sum(weights * middle, axis=1)


def _embedding(axis: int, coarse: int, fine: int) -> AxisMap:
    matrix = np.eye(fine, coarse)
    return AxisMap(axis, jnp.asarray(matrix), jnp.asarray(matrix.T))
