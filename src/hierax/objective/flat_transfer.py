"""Transfers between flat parameter vectors of two levels, and their matrices."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.core import Tracer

from hierax.fields.base import partition
from hierax.hierarchy.axis_transfer import AxisTransfer, LeafTransfer
from hierax.hierarchy.transfer import LINEAR, AbstractTransfer, Params


class Flattening:
    """The way between the parameters of a field and a flat vector, as in `flat_parameters`.

    Parameters
    ----------
    field:
        Only the structure and the shapes of its trained parameters are kept.
    """

    def __init__(self, field: Any) -> None:
        leaves, self.structure = jax.tree.flatten(partition(field)[0])
        self.shapes = tuple(np.shape(leaf) for leaf in leaves)
        self.types = tuple(leaf.dtype for leaf in leaves)
        self.ends = np.cumsum([int(np.prod(shape, dtype=int)) for shape in self.shapes])

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(self.ends[-1]) if self.shapes else 0

    def tree(self, vector: Any) -> Params:
        """Parameters with the entries of a vector, which may be traced."""
        whole = vector if isinstance(vector, Tracer) else np.asarray(vector)
        parts = [whole[start:stop] for start, stop in pairwise([0, *self.ends])]
        leaves = [jnp.asarray(p.reshape(s), t) for p, s, t in zip(parts, self.shapes, self.types, strict=True)]
        return jax.tree.unflatten(self.structure, leaves)

    @staticmethod
    def vector(params: Params) -> Any:
        """Entries of the parameters; NumPy's, or traced ones where the parameters are."""
        leaves = jax.tree.leaves(params)
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])
        return np.concatenate([np.ravel(leaf) for leaf in leaves]) if leaves else np.zeros(0)


class FlatTransfer:
    """A transfer that acts on flat vectors.

    Parameters
    ----------
    transfer:
        From the coarse to the fine level.
    coarse, fine:
        Fields of both levels; only their structure is kept.
    """

    def __init__(self, transfer: AbstractTransfer, coarse: Any, fine: Any) -> None:
        self.transfer = transfer
        self.coarse, self.fine = Flattening(coarse), Flattening(fine)

    def prolong(self, theta: np.ndarray) -> np.ndarray:
        """Parameters from coarse to fine."""
        return Flattening.vector(self.transfer.prolong(self.coarse.tree(theta)))

    def inject(self, theta: np.ndarray) -> np.ndarray:
        """Parameters from fine to coarse."""
        return Flattening.vector(self.transfer.inject(self.fine.tree(theta)))

    def restrict(self, cotangent: np.ndarray, at: np.ndarray) -> np.ndarray:
        """A cotangent from fine to coarse, by the transpose of the tangent of prolong at coarse parameters."""
        return Flattening.vector(self.transfer.restrict(self.fine.tree(cotangent), self.coarse.tree(at)))

    def change(self, theta: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """What a coarse change is on the fine level: `P(theta) - P(origin)`."""
        if LINEAR in self.transfer.tags:
            return self.prolong(theta - origin)
        return self.prolong(theta) - self.prolong(origin)

    def matrix(self, at: np.ndarray) -> sp.csr_array | np.ndarray:
        """Matrix `(fine, coarse)` of the tangent of prolong at coarse parameters; sparse for knot insertion."""
        if isinstance(self.transfer, AxisTransfer):
            blocks = [_leaf(leaf, s) for leaf, s in zip(self.transfer.leaves, self.coarse.shapes, strict=True)]
            return sp.csr_array(sp.block_diag(blocks, format="csr"))
        tangent = self.transfer.tangent(self.coarse.tree(at))
        columns = [Flattening.vector(tangent.mv(self.coarse.tree(unit))) for unit in np.eye(len(at))]
        return np.stack(columns, axis=1)


def _leaf(leaf: LeafTransfer, shape: Sequence[int]) -> sp.csr_array:
    """Matrix of what happens to one array of parameters."""
    factors: list[Any] = [sp.eye_array(count, format="csr") for count in shape]
    for part in leaf.maps:
        factors[part.axis] = part.sparse()
    product = functools.reduce(lambda a, b: sp.kron(a, b, format="csr"), factors, sp.eye_array(1, format="csr"))
    return sp.csr_array(product)


class FlatLaws:
    """The laws by which parts of a solver's state travel, for flat vectors; for `hierax.hierarchy.transport`.

    Steps travel by the tangent of prolong, which differs from it where that is affine. Vectors may be traced.

    Parameters
    ----------
    transfer, coarse, fine:
        As for `FlatTransfer`.
    """

    def __init__(self, transfer: AbstractTransfer, coarse: Any, fine: Any) -> None:
        self.transfer = transfer
        self._coarse, self._fine = Flattening(coarse), Flattening(fine)
        self._base = Flattening.vector(transfer.prolong(self._coarse.tree(np.zeros(self._coarse.size))))

    def prolong(self, step: jax.Array) -> jax.Array:
        """Steps from coarse to fine."""
        return Flattening.vector(self.transfer.prolong(self._coarse.tree(step))) - self._base

    def inject(self, step: jax.Array) -> jax.Array:
        """Parameters from fine to coarse."""
        return Flattening.vector(self.transfer.inject(self._fine.tree(step)))

    def lift(self, cotangent: jax.Array) -> jax.Array:
        """Cotangents from coarse to fine."""
        return Flattening.vector(self.transfer.lift(self._coarse.tree(cotangent)))
