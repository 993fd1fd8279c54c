"""Several fields added up, such as partitions of unity with ever smaller subdomains."""

import functools
import operator
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from hierax.fields.base import (
    AbstractField,
    linear_in_parameters,
    linear_parameters,
    parameter_count,
    placed,
    supports_local,
)
from hierax.fields.initial import Key, generator_of
from hierax.fields.local_fields import AbstractLocals
from hierax.fields.partition_of_unity import PartitionOfUnity


class Sum(AbstractField):
    """The sum of fields, coarse ones first; local where one of them is.

    Parameters
    ----------
    parts : sequence of callable pytrees
        With values of the same shape. Parts without local support are seen as a whole from every point.

    Raises
    ------
    ValueError
        Without a part.

    References
    ----------
    Dolean, Heinlein, Mishra, Moseley, Comput. Methods Appl. Mech. Eng. 429 (2024), arXiv 2306.05486: levels of
    subdomains, there averaged.
    """

    parts: tuple[Any, ...]

    def __init__(self, parts):
        self.parts = tuple(parts)
        if not self.parts:
            raise ValueError("Sum: at least one part is needed")

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return functools.reduce(operator.add, [part(x) for part in self.parts])

    @property
    def linear_in_parameters(self) -> bool:
        return all(linear_in_parameters(part) for part in self.parts)

    def linear_parameters(self) -> PyTree[bool]:
        """Those of every part: readouts of several fields enter linearly together."""
        return eqx.tree_at(lambda field: field.parts, self, tuple(linear_parameters(part) for part in self.parts))

    def placed(self, box: Any) -> "Sum":
        return Sum(placed(part, box) for part in self.parts)

    def locate(self, x: Float[Array, " dim"]) -> tuple[PyTree, ...]:
        """Cells of all parts."""
        return tuple(part.locate(x) if supports_local(part) else () for part in self.parts)

    def at(self, cell: tuple[PyTree, ...]) -> tuple[Int[Array, " local"], "Sum"]:
        """Indices into the raveled parameters of the whole, and the sum of the local pieces."""
        offset, indices, pieces = 0, [], []
        for part, own in zip(self.parts, cell, strict=True):
            count = parameter_count(part)
            index, piece = part.at(own) if supports_local(part) else (jnp.arange(count, dtype=jnp.int32), part)
            indices.append(index + offset)
            pieces.append(piece)
            offset += count
        return jnp.concatenate(indices), Sum(pieces)


@supports_local.register
def _(field: Sum) -> bool:
    return any(supports_local(part) for part in field.parts)


def multilevel(lower, upper, counts, overlap=1.9, *, local: AbstractLocals, key: Key = 0, **settings) -> Sum:
    """Partitions of unity on one box, added up; the coarsest first.

    Parameters
    ----------
    lower, upper : sequence of float
    counts : sequence of (int or sequence of int)
        Subdomains along each axis, level by level, such as ``[1, 2, 4, 8]``.
    overlap : float or sequence of float
    local : AbstractLocals
        Recipe of the local fields.
    key : key or int
    **settings
        Further settings of `PartitionOfUnity.uniform`.

    Examples
    --------
    >>> from hierax.fields.local_fields import Polynomials
    >>> field = multilevel([0.0], [1.0], [1, 2, 4], local=Polynomials(3))
    >>> [part.cover.subdomains for part in field.parts], len(field.at(field.locate(jnp.array([0.3])))[0])
    ([1, 2, 4], 20)
    """
    generator = generator_of(key)
    levels = [
        PartitionOfUnity.uniform(
            lower, upper, count, overlap, local=local, key=int(generator.integers(2**31)), **settings
        )
        for count in counts
    ]
    return Sum(levels)
