"""A further stage: the trained field stays, and a new network learns what it leaves."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import partition
from hierax.fields.initial import generator_of
from hierax.fields.stages import Staged, waves
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement
from hierax.hierarchy.transfer import FUNCTION_PRESERVING, AbstractTransfer, Params, Tag, tangent_of


class Remainder(NamedTuple):
    """What a level leaves, as seen in the spectrum of its residual.

    Attributes
    ----------
    frequency:
        Of the strongest part, in periods across the box.
    amplitude:
        Estimated size of the error of the field.
    bounds:
        Corners of the box.
    """

    frequency: float
    amplitude: float
    bounds: tuple[np.ndarray, np.ndarray]


class Launch(AbstractTransfer):
    """From a trained field to a new stage on top of it: the function stays, the new parameters begin at fixed values.

    The parameters of the coarse level have gone into the fixed part of the fine field, so nothing is carried: `prolong`
    is constant, `inject` gives back the parameters that stayed.

    Parameters
    ----------
    coarse, fine : callable pytrees
    """

    below: Params
    start: Params

    def __init__(self, coarse: PyTree, fine: PyTree):
        self.below, self.start = partition(coarse)[0], partition(fine)[0]

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset({FUNCTION_PRESERVING})

    def prolong(self, coarse: Params) -> Params:
        del coarse
        return self.start

    def inject(self, fine: Params) -> Params:
        del fine
        return self.below

    def tangent(self, at: Params) -> lx.AbstractLinearOperator:
        return tangent_of(self.prolong, at)

    def restrict(self, cotangent: Params, at: Params | None = None) -> Params:
        del cotangent, at
        return jax.tree.map(jnp.zeros_like, self.below)

    def lift(self, cotangent: Params) -> Params:
        del cotangent
        return jax.tree.map(jnp.zeros_like, self.start)

    def element(self, child: PyTree) -> Float[Array, "fine coarse"] | None:
        del child


class AddStage(AbstractRefinement):
    """Keep what was learned, and add a network whose frequency and size come from the residual's spectrum.

    Every stage is trained alone, so a level costs as much as the first one, and each removes what the one before left.
    For one unknown function, and for growth during training: it needs `Remainder` as evidence.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers of a stage.
    widen : float
        Frequency of the new waves over that of the strongest part of the residual.

    References
    ----------
    Wang and Lai, Multi-stage neural networks, J. Comput. Phys. 2024, arXiv 2307.08934.
    """

    hidden: tuple[int, ...] = eqx.field(static=True, default=(20, 20))
    widen: float = eqx.field(static=True, default=1.0)

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        """See `AbstractRefinement.refine`.

        Raises
        ------
        ValueError
            Without the evidence, or for a field with several unknown functions.
        """
        if not isinstance(evidence, Remainder):
            raise ValueError(
                "AddStage: the frequency of a stage follows from the residual of the trained level before; use it as a "
                "rule that grows levels during training, not with refine(..., levels=n)"
            )
        dim = len(evidence.bounds[0])
        shape = jax.eval_shape(level.field, jax.ShapeDtypeStruct((dim,), float))
        if not isinstance(shape, jax.ShapeDtypeStruct):
            raise ValueError(f"AddStage: {type(level.field).__name__} has several unknown functions, a stage has one")
        outputs = shape.shape[0] if shape.shape else 1
        generator = generator_of(level.parameters if key is None else key)
        network = waves((dim, *self.hidden, outputs), self.widen * evidence.frequency, evidence.bounds, generator)
        fine = Staged(level.field, network, evidence.amplitude)
        return Level(fine, level.points), Launch(level.field, fine)
