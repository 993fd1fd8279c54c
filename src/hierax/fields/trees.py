"""Sums of regression trees: fields with steps."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hierax.fields.base import AbstractField, AbstractFixed


class Splits(AbstractFixed):
    """Where trees split: all nodes of one depth of a tree ask whether the same input exceeds the same number.

    Parameters
    ----------
    inputs : int array of shape ``(trees, depth)``
    thresholds : array of shape ``(trees, depth)``
    """

    inputs: Int[Array, "trees depth"]
    thresholds: Float[Array, "trees depth"]

    def __call__(self, x: Float[Array, " dim"]) -> Int[Array, " trees"]:
        """The leaf of every tree in which a point lies."""
        beyond: Bool[Array, "trees depth"] = x[self.inputs] > self.thresholds
        return beyond @ (2 ** jnp.arange(beyond.shape[1]))


class Trees(AbstractField):
    r"""A sum of trees, :math:`c + \sum_t v_{t, l_t(x)}` with the leaf :math:`l_t(x)` of a point in each.

    It is constant between its splits, so that its derivatives are zero.

    Parameters
    ----------
    mean : array of shape ``()``
    values : array of shape ``(trees, leaves)``
    splits : Splits

    References
    ----------
    Friedman, Annals of Statistics 29 (2001); Prokhorenkova et al., NeurIPS (2018), on trees whose splits are shared.
    """

    mean: Float[Array, ""]
    values: Float[Array, "trees leaves"]
    splits: Splits

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return self.mean + jnp.sum(jnp.take_along_axis(self.values, self.splits(x)[:, None], axis=1))

    @property
    def linear_in_parameters(self) -> bool:
        return True
