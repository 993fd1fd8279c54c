r"""Wider networks with the same function: hidden units are copied, new ones come in pairs that cancel.

A hidden layer of ``n`` units that becomes one of ``m`` has two matrices, :math:`A` for what comes in and :math:`C` for
what goes out, both ``(m, n)``. All rows of weights and shifts that make the units are multiplied by :math:`A`, all
columns that read them by :math:`C`. The function is kept for every activation :math:`s` if

.. math:: C' s(A z) = s(z) \quad \text{for all } z ,

which holds when the rows of :math:`A` are unit vectors whose rows of :math:`C` add up to the same unit vector, or come
in pairs of equal rows with opposite rows of :math:`C`. Both matrices are fixed, so the transfer is linear.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, PyTree

from hierax.fields.adaptive_basis import AdaptiveBasis
from hierax.fields.base import parameter_count
from hierax.fields.fourier import FourierNetwork
from hierax.fields.initial import generator_of
from hierax.fields.kan import KAN
from hierax.fields.mlp import MLP, linear_layer
from hierax.fields.spline_layer import BoundedLinear, SplineLayer
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.axis_transfer import AxisMap, LeafTransfer
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, grown, unchanged
from hierax.hierarchy.transfer import AbstractTransfer


class UnitMap(NamedTuple):
    """Matrices of one hidden layer: `incoming` and `outgoing` `(m, n)`, `average` and `total` `(n, m)`.

    `average @ incoming` and `total @ outgoing` are identities: the mean of the copies, the sum of what they pass on.
    """

    incoming: np.ndarray
    outgoing: np.ndarray
    average: np.ndarray
    total: np.ndarray

    def made(self, axis: int) -> AxisMap:
        """For an axis that numbers the units as they are made."""
        return AxisMap(axis, jnp.asarray(self.incoming), jnp.asarray(self.average))

    def read(self, axis: int) -> AxisMap:
        """For an axis that numbers the units as they are read."""
        return AxisMap(axis, jnp.asarray(self.outgoing), jnp.asarray(self.total))


Widening = Callable[[int], UnitMap]
"""From the width of a hidden layer to its matrices."""


class WidthGrowth(AbstractRefinement):
    r"""Multiply the hidden widths of a network; its function stays.

    Every two new units are a pair with the same incoming weights :math:`w_k + \text{mixing} \cdot \sum_l g_l w_l`, a
    random mixture of those of all units, and outgoing weights :math:`\pm e\, v_k` with random sizes ``e``. Their
    difference cancels exactly, but the mixture is a new function of the inputs, so the gradient has a component that
    the narrow network lacks even where that is trained out. An odd new unit is a copy, and the outgoing weights are
    split unevenly. Inject adds up outgoing weights and averages the incoming ones of copies.

    The transfer is linear, keeps the function, and inject is a left inverse. With ``mixing=0`` all new units are
    copies; a stationary point of the narrow network then is one of the wide network, from which no gradient leads
    away (Fukumizu and Amari, Neural Networks 13 (2000)), which is why this is not the default.

    Parameters
    ----------
    factor : float
        Ratio of the widths, above one; at least one unit is added.
    mixing : float
        Size of the random part of the incoming weights of pairs relative to that of their parent.
    size : float
        Mean size of the outgoing weights of pairs relative to those of their parent.

    Raises
    ------
    ValueError
        For a factor that is not above one.

    References
    ----------
    Chen, Goodfellow, Shlens, Net2Net, ICLR 2016, arXiv 1511.05641 (copies with split outgoing weights); pairs of
    opposite sign in the manner of Wu, Liu, Stone, Liu, Firefly neural architecture descent, NeurIPS 2020.
    """

    factor: float = 2.0
    mixing: float = 1.0
    size: float = 0.5

    def __check_init__(self):
        if not self.factor > 1.0:
            raise ValueError(f"WidthGrowth: the factor must be above 1, got {self.factor}")

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        """See `AbstractRefinement.refine`; without a key random numbers depend on the number of parameters alone."""
        del evidence
        generator = generator_of(level.parameters if key is None else key)

        def widening(width: int) -> UnitMap:
            return unit_map(width, max(width + 1, round(self.factor * width)), generator, self.mixing, self.size)

        fine, leaves = widen(level.field, widening)
        if parameter_count(fine) == level.parameters:
            raise ValueError(f"WidthGrowth: {type(level.field).__name__} has no hidden units that could be multiplied")
        return grown(level, fine, leaves)


def unit_map(coarse: int, fine: int, generator: np.random.Generator, mixing: float, size: float) -> UnitMap:
    """Matrices from `coarse` to `fine` units: the old ones, at most one split, then pairs."""
    pairs, odd = divmod(fine - coarse, 2)
    order = np.concatenate([generator.permutation(coarse) for _ in range(pairs // coarse + 2)])
    parents, unit = order[:pairs], np.eye(coarse)
    mixture = unit[parents] + mixing * generator.normal(size=(pairs, coarse)) / np.sqrt(coarse)
    mixture /= np.sqrt(1.0 + mixing**2)
    passed = unit[parents] * (size * generator.uniform(0.5, 1.5, size=(pairs, 1)))
    split = unit[order[-1:]][:odd]
    share = generator.uniform(0.2, 0.4)
    old = unit - share * np.diag(split.sum(axis=0))
    incoming = np.concatenate([unit, split, np.repeat(mixture, 2, axis=0)])
    outgoing = np.concatenate([old, share * split, np.stack([passed, -passed], axis=1).reshape(-1, coarse)])
    copies = np.concatenate([unit, split, np.zeros((2 * pairs, coarse))])
    total = np.concatenate([unit, split, np.repeat(unit[parents], 2, axis=0)])
    return UnitMap(incoming, outgoing, (copies / copies.sum(axis=0)).T, total.T)


@functools.singledispatch
def widen(field: Any, widening: Widening) -> tuple[PyTree, tuple[LeafTransfer, ...]]:
    """Exchange the hidden layers of a field for wider ones.

    Returns
    -------
    fine : callable pytree
        The wider field with the same function.
    leaves : tuple of LeafTransfer
        One for each array of parameters. A field without hidden layers is returned as it is, with identities.
    """
    del widening
    return field, unchanged(field)


@widen.register
def _(field: MLP, widening: Widening) -> tuple[MLP, tuple[LeafTransfer, ...]]:
    layers, leaves = _dense(field.layers, [None, *map(widening, field.widths[1:-1]), None])
    return eqx.tree_at(lambda net: net.layers, field, layers), leaves


@widen.register
def _(field: FourierNetwork, widening: Widening) -> tuple[FourierNetwork, tuple[LeafTransfer, ...]]:
    network, leaves = widen(field.network, widening)
    return eqx.tree_at(lambda net: net.network, field, network), leaves


@widen.register
def _(field: AdaptiveBasis, widening: Widening) -> tuple[AdaptiveBasis, tuple[LeafTransfer, ...]]:
    maps = [None, *map(widening, field.widths[1:-1])]
    layers, leaves = _dense(field.basis.layers, maps)
    assert maps[-1] is not None
    readout = LeafTransfer((_with_constant(maps[-1]).read(1),))
    fine = eqx.tree_at(
        lambda net: (net.basis.layers, net.coefficients), field, (layers, readout.prolong(field.coefficients))
    )
    return fine, (*leaves, readout)


@widen.register
def _(field: KAN, widening: Widening) -> tuple[KAN, tuple[LeafTransfer, ...]]:
    maps = [None, *map(widening, field.widths[1:-1]), None]
    first, leaves = field.first, ()
    if first is not None:
        assert maps[1] is not None
        made = LeafTransfer((maps[1].made(0),))
        bias = None if first.bias is None else made.prolong(first.bias)
        first, leaves = BoundedLinear(made.prolong(first.weights), bias), (made,) * len(unchanged(first))
        maps = maps[1:]
    layers = []
    for layer, (inner, outer) in zip(field.layers, itertools.pairwise(maps), strict=True):
        leaf = _between(inner, outer)
        layers.append(SplineLayer(leaf.prolong(layer.weights), layer.axis, layer.geometry))
        leaves = (*leaves, leaf)
    if first is None:
        return eqx.tree_at(lambda kan: kan.layers, field, tuple(layers)), leaves
    return eqx.tree_at(lambda kan: (kan.first, kan.layers), field, (first, tuple(layers))), leaves


@widen.register
def _(field: Unknowns, widening: Widening) -> tuple[Unknowns, tuple[LeafTransfer, ...]]:
    found = {name: widen(part, widening) for name, part in sorted(field.parts.items())}
    leaves = tuple(leaf for _, more in found.values() for leaf in more)
    return Unknowns(**{name: part for name, (part, _) in found.items()}), leaves


def _dense(
    layers: Sequence[eqx.nn.Linear], maps: Sequence[UnitMap | None]
) -> tuple[tuple[eqx.nn.Linear, ...], tuple[LeafTransfer, ...]]:
    """Linear layers between units with these maps, `None` where units stay."""
    fine, leaves = [], []
    for layer, (inner, outer) in zip(layers, itertools.pairwise(maps), strict=True):
        weight = _between(inner, outer)
        bias = LeafTransfer(() if outer is None else (outer.made(0),))
        fine.append(linear_layer(weight.prolong(layer.weight), bias.prolong(jnp.asarray(layer.bias))))
        leaves += [weight, bias]
    return tuple(fine), tuple(leaves)


def _between(inner: UnitMap | None, outer: UnitMap | None) -> LeafTransfer:
    made = () if outer is None else (outer.made(0),)
    return LeafTransfer(made if inner is None else (*made, inner.read(1)))


def _with_constant(units: UnitMap) -> UnitMap:
    """The map of a basis with a constant in front, which stays."""
    return UnitMap(*(np.asarray(scipy.linalg.block_diag(1.0, matrix)) for matrix in units))
