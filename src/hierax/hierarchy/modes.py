"""More waves for networks on Fourier features: new modes that are not read yet."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from hierax.fields.fourier import FourierNetwork, with_modes
from hierax.fields.initial import generator_of
from hierax.fields.mlp import linear_layer
from hierax.hierarchy.axis_transfer import AxisMap, LeafTransfer
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, grown, unchanged
from hierax.hierarchy.transfer import AbstractTransfer


class ModeGrowth(AbstractRefinement):
    """Add random modes of higher frequency to a `FourierNetwork`; their weights start at zero.

    The transfer is linear and keeps the function; inject drops the new weights. The new modes are fixed numbers of the
    fine field and no parameters.

    Parameters
    ----------
    factor : float
        Ratio of the numbers of modes, above one; at least one is added.
    stretch : float
        Size of the new frequencies relative to the largest (root mean square over coordinates) that are there.

    Raises
    ------
    ValueError
        For a factor that is not above one, or a field without modes.
    """

    factor: float = 2.0
    stretch: float = 1.0

    def __check_init__(self):
        if not self.factor > 1.0:
            raise ValueError(f"ModeGrowth: the factor must be above 1, got {self.factor}")

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        """See `AbstractRefinement.refine`; without a key random numbers depend on the number of parameters alone."""
        del evidence
        field = level.field
        if not isinstance(field, FourierNetwork):
            raise ValueError(f"ModeGrowth: {type(field).__name__} has no modes; use a FourierNetwork")
        old = np.asarray(field.features.frequencies)
        count = max(1, round((self.factor - 1.0) * len(old)))
        generator = generator_of(level.parameters if key is None else key)
        size = self.stretch * np.sqrt(np.mean(old**2, axis=1).max())
        modes = np.concatenate([old, size * generator.normal(size=(count, old.shape[1]))])
        matrix = jnp.eye(2 * len(modes), 2 * len(old))
        leaf, layer = LeafTransfer((AxisMap(1, matrix, matrix.T),)), field.network.layers[0]
        first = linear_layer(leaf.prolong(layer.weight), layer.bias)
        network = eqx.tree_at(lambda net: net.layers[0], field.network, first)
        return grown(level, with_modes(field, modes, network), (leaf, *unchanged(field)[1:]))
