"""A field in other units of its values."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.base import AbstractField, AbstractFixed, linear_in_parameters
from hierax.fields.moving import MovingGrid
from hierax.fields.slabs import Slabs
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.stretched import StretchedGrid


class Factors(AbstractFixed):
    """Size and shift of values: `()`, or one of each component."""

    size: Float[Array, "..."]
    shift: Float[Array, "..."]


class Affine(AbstractField):
    """`shift + size f(x)` for a field `f`.

    Parameters
    ----------
    inner:
        The field `f`.
    size, shift:
        Numbers, or arrays with one number a component.
    """

    inner: Any
    factors: Factors

    def __init__(self, inner, size, shift):
        self.inner = inner
        self.factors = Factors(size, shift)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.factors.shift + self.factors.size * self.inner(x)

    @property
    def sides(self) -> tuple[Affine, Affine]:
        """From inside and from outside of an interface; see `hierax.problems.sides`."""
        inside, outside = getattr(self.inner, "sides", (self.inner, self.inner))
        return Affine(inside, self.factors.size, self.factors.shift), Affine(
            outside, self.factors.size, self.factors.shift
        )

    @property
    def linear_in_parameters(self) -> bool:
        return linear_in_parameters(self.inner)


def affine(field: Any, size: Any, shift: Any) -> Any:
    """`shift + size f`, of the same kind as `f` where that is closed under it: B-splines add up to one."""
    if isinstance(field, SplineGrid):
        # through NumPy: every level has a shape of its own, for which JAX would compile a program to run once
        moved = np.asarray(shift) + np.asarray(size) * np.asarray(field.coefficients)
        return SplineGrid(field.axes, jnp.asarray(moved, dtype=moved.dtype))
    if isinstance(field, StretchedGrid | MovingGrid):
        return eqx.tree_at(lambda f: f.grid, field, affine(field.grid, size, shift))
    if isinstance(field, Slabs):
        return Slabs(tuple(affine(part, size, shift) for part in field.parts), field.axis)
    return Affine(field, size, shift)
