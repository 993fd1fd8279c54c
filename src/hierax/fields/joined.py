"""Fields made of other fields whose parameters stand one after another."""

import abc
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from hierax.fields.base import (
    AbstractLocalField,
    has_fixed_cells,
    linear_in_parameters,
    linear_parameters,
    parameter_count,
    placed,
    positions,
    supports_local,
)


class AbstractJoined(AbstractLocalField):
    """Several fields as one: what is asked of it is asked of its members, once and in one order.

    A member without local support is seen as a whole from every point.
    """

    @property
    @abc.abstractmethod
    def members(self) -> tuple[Any, ...]:
        """The fields in the order of their parameters."""

    @abc.abstractmethod
    def joined(self, members: Sequence[Any]) -> Any:
        """The same of other members."""

    def pieces(self, members: Sequence[Any]) -> Any:
        """The local field of the local fields of all members."""
        return self.joined(members)

    @property
    def linear_in_parameters(self) -> bool:
        return all(linear_in_parameters(member) for member in self.members)

    def linear_parameters(self) -> PyTree[bool]:
        """Those of every member: right for terms that are linear in each and couple none of them."""
        return self.joined([linear_parameters(member) for member in self.members])

    def placed(self, box: Any) -> Any:
        return self.joined([placed(member, box) for member in self.members])

    @property
    def is_local(self) -> bool:
        return all(supports_local(member) for member in self.members)

    @property
    def has_fixed_cells(self) -> bool:
        return self.is_local and all(not supports_local(m) or has_fixed_cells(m) for m in self.members)

    def locate(self, x: Float[Array, " dim"]) -> tuple[PyTree, ...]:
        """Cells of all members."""
        return tuple(member.locate(x) if supports_local(member) else () for member in self.members)

    def at(self, cell: tuple[PyTree, ...]) -> tuple[Int[Array, " local"], Any]:
        """Indices into the raveled parameters of the whole, and the local field of the local pieces."""
        offset, indices, pieces = 0, [], []
        for member, own in zip(self.members, cell, strict=True):
            count = parameter_count(member)
            whole = jnp.arange(count, dtype=jnp.int32), member
            index, piece = member.at(own) if supports_local(member) else whole
            indices.append(index + offset)
            pieces.append(piece)
            offset += count
        return jnp.concatenate(indices), self.pieces(pieces)

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, Any]:
        offset, indices, pieces, count = 0, [], [], len(points)
        for member in self.members:
            size = parameter_count(member)
            if supports_local(member):
                index, piece = member.gather(points)
            else:
                index = np.broadcast_to(np.arange(size), (count, size))
                piece = jax.tree.map(lambda a: np.broadcast_to(np.asarray(a), (count, *np.shape(a))), member)
            indices.append(index + offset)
            pieces.append(piece)
            offset += size
        return np.concatenate(indices, axis=1), self.pieces(pieces)

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        keys = np.zeros(len(points), dtype=np.int64)
        for member in (member for member in self.members if supports_local(member)):
            own = member.cell_keys(points)
            # numbering the pairs anew keeps the numbers small whatever the number of members
            pairs = keys * (int(own.max()) + 1) + own
            keys = pairs if pairs.max() < 2**31 else np.unique(pairs, return_inverse=True)[1]
        return keys

    def positions(self, dim: int) -> np.ndarray:
        return np.concatenate([positions(member, dim) for member in self.members])
