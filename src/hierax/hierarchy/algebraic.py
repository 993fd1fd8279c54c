r"""Coarser perceptrons where no geometry says which units belong together: from the graph of the Gauss-Newton matrix.

The Gauss-Newton matrix :math:`A` of a training is gathered to one number for each pair of units of a hidden layer,

.. math::
    a_{ij} = \sum_{g} \frac{1}{\|A_g\|_\infty} \sum_{k} (A_g)_{ik, jk},

over the groups ``g`` of parameters that a unit has: weights of its inputs, its shift, and the weights by which its
value is read. Units are split as in algebraic multigrid: coarse ones (C) stay, every other one (F) depends strongly on
some of them, and a change that relaxation hardly lowers, :math:`a_{ii} e_i + \sum_j a_{ij} e_j \approx 0`, is carried
from C to F. One prolongation serves all groups of a layer, so that the coarse model is a perceptron again.

Prolongation keeps changes and not functions: the coarse problem has to be made consistent with the fine one, as cycles
do (`hierax.objective.corrected`); nested iteration has no use for such levels.
"""

import itertools
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hierax.fields.mlp import MLP, linear_layer
from hierax.hierarchy.axis_transfer import AxisMap, AxisTransfer, LeafTransfer
from hierax.hierarchy.level import Level
from hierax.hierarchy.transfer import INJECTIVE, LINEAR

STRONG = 0.9
"""Couplings of at least this share of a unit's largest one are strong."""


class NodeCoarsening(eqx.Module):
    """Keep the units of a perceptron that the others depend on.

    Parameters
    ----------
    strong : float
        Couplings of at least this share of a unit's largest one are strong, between 0 and 1.

    Raises
    ------
    ValueError
        For a share outside of (0, 1].

    References
    ----------
    Calandra, Gratton, Riccietti, Vasseur, Optim. Methods Softw. 37 (2022), arXiv 1904.04685, section 4 (aggregated
    matrix, one prolongation for all groups); Ruge, Stueben, Algebraic Multigrid, in: Multigrid Methods, SIAM (1987);
    Trottenberg, Oosterlee, Schueller, Multigrid (2001), appendix A.7 (splitting and direct interpolation).
    """

    strong: float = STRONG

    def __check_init__(self):
        if not 0.0 < self.strong <= 1.0:
            raise ValueError(f"NodeCoarsening: strong must be in (0, 1], got {self.strong}")

    def coarsen(self, level: Level, matrix: Float[np.ndarray, "N N"]) -> tuple[Level, AxisTransfer]:
        """The coarser level, and the transfer from it to the given one.

        Parameters
        ----------
        level : Level
            With a perceptron, whose parameters are those of the kept units on the coarser level.
        matrix : array ``(N, N)``
            Its Gauss-Newton matrix, parameters in the order of ``jax.tree.leaves``.

        Raises
        ------
        ValueError
            For fields that are no perceptrons with hidden layers; for a matrix of another size; where no unit can be
            left out.
        """
        field = level.field
        if not isinstance(field, MLP) or len(field.widths) < 3:
            raise ValueError(f"NodeCoarsening: {type(field).__name__} is no perceptron with hidden layers")
        if matrix.shape != (level.parameters,) * 2:
            wanted = (level.parameters,) * 2
            raise ValueError(f"NodeCoarsening: a matrix {wanted} is expected, one row a parameter, got {matrix.shape}")
        maps = [None, *(self._map(graph) for graph in node_graphs(field, np.asarray(matrix))), None]
        layers, leaves = [], []
        for layer, (inner, outer) in zip(field.layers, itertools.pairwise(maps), strict=True):
            made = () if outer is None else (_axis(0, outer),)
            weight, bias = LeafTransfer((*made, *(() if inner is None else (_axis(1, inner),)))), LeafTransfer(made)
            layers.append(linear_layer(weight.inject(layer.weight), bias.inject(jnp.asarray(layer.bias))))
            leaves += [weight, bias]
        coarse = eqx.tree_at(lambda net: net.layers, field, tuple(layers))
        if coarse.widths == field.widths:
            raise ValueError("NodeCoarsening: no unit depends on another one strongly; there is no coarser level")
        return Level(coarse, level.points), AxisTransfer(coarse, field, leaves, tags=frozenset({LINEAR, INJECTIVE}))

    def _map(self, graph: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        coarse = splitting(graph, self.strong)
        return interpolation(graph, coarse, self.strong), coarse


def node_graphs(field: MLP, matrix: Float[np.ndarray, "N N"]) -> list[Float[np.ndarray, "units units"]]:
    """The matrix of the head of this file for every hidden layer."""
    shapes = [shape for layer in field.layers for shape in (layer.weight.shape, (layer.weight.shape[0],))]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    places = [np.arange(a, b).reshape(shape) for (a, b), shape in zip(itertools.pairwise(ends), shapes, strict=True)]
    graphs = []
    for number in range(len(field.layers) - 1):
        incoming, shift, outgoing = places[2 * number], places[2 * number + 1], places[2 * number + 2]
        groups = [*incoming.T], [shift], [*outgoing]
        graphs.append(sum(_gathered(matrix, group) for group in groups))
    return graphs


def _gathered(matrix: np.ndarray, group: Sequence[np.ndarray]) -> np.ndarray:
    total = np.sum([matrix[np.ix_(index, index)] for index in group], axis=0)
    return total / max(float(np.abs(total).sum(axis=1).max()), 1e-300)


def strength(graph: np.ndarray, strong: float) -> np.ndarray:
    """Which units `j` a unit `i` depends on strongly, `(units, units)`."""
    size = np.abs(graph - np.diag(np.diag(graph)))
    return (size >= strong * size.max(axis=1, keepdims=True)) & (size > 0.0)


def splitting(graph: Float[np.ndarray, "units units"], strong: float) -> np.ndarray:
    """Coarse units in increasing order: every other one depends strongly on at least one of them.

    Of the undecided units the one with the largest measure is taken, the number of units that depend on it, those that
    are fine already counted twice; units that depend on it become fine. Among equals the first one is taken.
    """
    depends = strength(graph, strong)
    # rounding decides between couplings that are equal but for it: measures are integers
    open_, coarse = np.ones(len(graph), dtype=bool), []
    fine = np.zeros(len(graph), dtype=bool)
    while open_.any():
        measure = np.where(open_, depends[open_].sum(axis=0) + 2 * depends[fine].sum(axis=0), -1)
        pick = int(np.argmax(measure))
        followers = open_ & depends[:, pick]
        followers[pick] = False
        coarse.append(pick)
        fine |= followers
        open_[pick] = False
        open_ &= ~followers
    return np.sort(np.asarray(coarse))


def interpolation(
    graph: Float[np.ndarray, "units units"], coarse: np.ndarray, strong: float
) -> Float[np.ndarray, "units coarse"]:
    """Prolongation of changes: the identity on coarse units, direct interpolation on the others.

    With `a+` and `a-` the positive and negative couplings, `N` all units and `C` the strong coarse ones of unit `i`,

        e_i = -sum over j in C of  w+ a+_ij / a_ii e_j + w- a-_ij / a_ii e_j ,   w = sum over N of a / sum over C of a ,

    and couplings of a sign that has no coarse unit are added to the diagonal.
    """
    depends = strength(graph, strong)
    out = np.zeros((len(graph), len(coarse)))
    place = {int(unit): k for k, unit in enumerate(coarse)}
    for i in range(len(graph)):
        if i in place:
            out[i, place[i]] = 1.0
            continue
        row, near = graph[i].copy(), [j for j in coarse if depends[i, j]]
        diagonal, row[i] = row[i], 0.0
        for part in (np.maximum(row, 0.0), np.minimum(row, 0.0)):
            total = part[near].sum()
            if total == 0.0:
                diagonal += part.sum()
        for part in (np.maximum(row, 0.0), np.minimum(row, 0.0)):
            total = part[near].sum()
            if total != 0.0:
                for j in near:
                    out[i, place[int(j)]] -= part.sum() / total * part[j] / diagonal
    return out


def _axis(number: int, found: tuple[np.ndarray, np.ndarray]) -> AxisMap:
    matrix, coarse = found
    chosen = np.zeros(matrix.shape[::-1])
    chosen[np.arange(len(coarse)), coarse] = 1.0
    return AxisMap(number, jnp.asarray(matrix), jnp.asarray(chosen))
