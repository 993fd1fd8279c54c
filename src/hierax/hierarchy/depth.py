"""Deeper residual networks: the equation on a finer grid in depth."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from hierax.fields.residual import ResidualBlocks, ResidualNetwork
from hierax.hierarchy.axis_transfer import AxisMap, LeafTransfer
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, grown, unchanged
from hierax.hierarchy.transfer import INJECTIVE, LINEAR, AbstractTransfer, Tag


class DepthGrowth(AbstractRefinement):
    r"""Twice the blocks of a `ResidualNetwork` with half the step: the same equation on a finer grid in depth.

    Parameters of blocks are values at the middles :math:`(l + 1/2)/L` of their steps; new ones are interpolated
    linearly or taken over. Two half steps are not one whole step: the function changes by :math:`O(1/L)`, with either
    way, so the transfer is linear and inject is its left inverse, but it is not tagged as keeping the function.

    Parameters
    ----------
    interpolate : bool
        Whether parameters are linear between the middles of the old steps; else they are constant on each old step.

    References
    ----------
    Haber, Ruthotto, Holtham, Jun, AAAI 2018, arXiv 1703.02009 (multilevel in depth); Gunther, Ruthotto, Schroder, Cyr,
    Gauger, SIAM J. Math. Data Sci. 2 (2020), arXiv 1812.04352.
    """

    interpolate: bool = True

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        del key, evidence
        field = _residual(level.field, "DepthGrowth")
        matrix = _twice(field.blocks.weights.shape[0], self.interpolate)
        inverse = np.linalg.pinv(matrix)
        return _deepened(level, field, [(matrix, inverse)] * 3, frozenset({LINEAR, INJECTIVE}))


def _residual(field: Any, rule: str) -> ResidualNetwork:
    if not isinstance(field, ResidualNetwork):
        raise ValueError(f"{rule}: {type(field).__name__} has no depth that could be refined; use a ResidualNetwork")
    return field


def _twice(blocks: int, interpolate: bool) -> np.ndarray:
    """Matrix ``(2 L, L)`` of values at the middles of halved steps."""
    unit = np.eye(blocks)
    if not interpolate or blocks == 1:
        return np.repeat(unit, 2, axis=0)
    fine, coarse = (np.arange(2 * blocks) + 0.5) / 2.0, np.arange(blocks) + 0.5
    left = np.clip(np.floor(fine - 0.5).astype(int), 0, blocks - 2)
    # beyond the outermost middles the line is continued, so that linear functions of depth are kept
    weight = (fine - coarse[left])[:, None]
    return (1.0 - weight) * unit[left] + weight * unit[left + 1]


def _deepened(
    level: Level, field: ResidualNetwork, maps: list[tuple[np.ndarray, np.ndarray]], tags: frozenset[Tag]
) -> tuple[Level, AbstractTransfer]:
    """With matrices and left inverses along depth for weights, shifts and factors."""
    leaves = tuple(LeafTransfer((AxisMap(0, jnp.asarray(m), jnp.asarray(inverse)),)) for m, inverse in maps)
    old = (field.blocks.weights, field.blocks.shifts, field.blocks.scales)
    blocks = ResidualBlocks(*(leaf.prolong(value) for leaf, value in zip(leaves, old, strict=True)))
    fine = eqx.tree_at(lambda net: net.blocks, field, blocks)
    return grown(level, fine, (*unchanged(field.lift), *leaves, *unchanged(field.readout)), tags)
