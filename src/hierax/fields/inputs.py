"""Input coordinates of networks: an affine map of a box to ``[-1, 1]`` in each coordinate."""

import functools
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.base import AbstractFixed
from hierax.fields.unknowns import Unknowns


class InputBox(AbstractFixed):
    """The box that is mapped to ``[-1, 1]`` in each coordinate; never trained."""

    lower: Float[Array, " dim"]
    upper: Float[Array, " dim"]

    def __init__(self, lower, upper):
        self.lower, self.upper = (jnp.atleast_1d(jnp.asarray(end, dtype=float)) for end in (lower, upper))
        if self.lower.shape != self.upper.shape or self.lower.ndim != 1:
            raise ValueError(f"InputBox: corners of shape {self.lower.shape} and {self.upper.shape} do not match")
        flat = np.flatnonzero(~(np.asarray(self.lower) < np.asarray(self.upper)))
        if flat.size:
            raise ValueError(f"InputBox: lower must be below upper; it is not in coordinate {flat[0]}")

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " dim"]:
        return (2.0 * x - (self.lower + self.upper)) / (self.upper - self.lower)


def input_box(domain, dim: int) -> InputBox | None:
    """A box from a pair ``(lower, upper)``, checked against the number of inputs; nothing for no domain."""
    if domain is None:
        return None
    box = InputBox(*domain)
    if box.lower.shape != (dim,):
        raise ValueError(f"the domain has {box.lower.shape[0]} coordinates, the field has {dim} inputs")
    return box


@functools.singledispatch
def place(field: Any, lower, upper) -> Any:
    """Give a network without a domain this one; every other field is returned as it is.

    Parameters
    ----------
    field : callable pytree
        A network built with ``domain=None`` takes inputs in ``[-1, 1]`` until it is placed.
    lower, upper : arrays of shape ``(dim,)``
    """
    del lower, upper
    return field


@place.register
def _(field: Unknowns, lower, upper) -> Unknowns:
    parts = {name: place(part, lower, upper) for name, part in field.parts.items()}
    return eqx.tree_at(lambda w: w.parts, field, parts, is_leaf=lambda node: node is None)
