"""Fields from elsewhere: Equinox modules that hold functions, such as activations, beside their arrays."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import AbstractField
from hierax.fields.unknowns import Unknowns


class Foreign(AbstractField):
    """A callable module, its arrays apart from everything else, which is part of the program and no argument of it.

    Parameters
    ----------
    field : callable pytree
        For example an `equinox.nn.MLP`, whose activation is a leaf of the tree.
    """

    arrays: PyTree
    rest: PyTree = eqx.field(static=True)

    def __init__(self, field):
        self.arrays, self.rest = eqx.partition(field, eqx.is_array)

    def __call__(self, x: Float[Array, " dim"]) -> PyTree[Float[Array, "..."]]:
        return self.field(x)

    @property
    def field(self) -> Any:
        """The module as it was given, with the present arrays."""
        return eqx.combine(self.arrays, self.rest)


def enclosed(field: Any) -> Any:
    """A field that can be traced: those with leaves that are no arrays as `Foreign`, others as they are."""
    if isinstance(field, Unknowns):
        parts = {name: enclosed(part) for name, part in field.parts.items()}
        return field if all(parts[name] is part for name, part in field.parts.items()) else Unknowns(**parts)
    return field if all(map(eqx.is_array, jax.tree.leaves(field))) else Foreign(field)


def released(field: Any) -> Any:
    """The inverse of `enclosed`."""
    if isinstance(field, Unknowns) and any(isinstance(part, Foreign) for part in field.parts.values()):
        return Unknowns(**{name: released(part) for name, part in field.parts.items()})
    return field.field if isinstance(field, Foreign) else field
