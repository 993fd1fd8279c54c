"""Partitions of unity: many local fields, each on a subdomain of its own, blended by smooth windows."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from hierax.fields.base import (
    AbstractField,
    AbstractLocalField,
    has_fixed_cells,
    linear_in_parameters,
    linear_parameters,
    partition,
    supports_local,
)
from hierax.fields.cover import Cover, Subdomains
from hierax.fields.finders import UniformFinder
from hierax.fields.initial import Key, generator_of
from hierax.fields.local_fields import AbstractLocals, RandomFeatures
from hierax.fields.windows import AbstractWindow


class LocalPartition(AbstractField):
    """What a `PartitionOfUnity` is near a point: a few subdomains with their fields."""

    subdomains: Subdomains
    locals: Any

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        z = self.subdomains.coordinates(x)
        values = jax.vmap(lambda field, z: field(z))(self.locals, z)
        return jnp.tensordot(self.subdomains.weights(z), values, axes=1)

    @property
    def linear_in_parameters(self) -> bool:
        return linear_in_parameters(self.locals)

    def linear_parameters(self) -> PyTree[bool]:
        return _of_locals(self, linear_parameters(self.locals))


class PartitionOfUnity(AbstractLocalField):
    r"""Local fields on overlapping subdomains, :math:`u(x) = \sum_j w_j(x)\, u_j((x - c_j)/h_j)`.

    Parameters
    ----------
    cover : Cover
        Subdomains with centres :math:`c_j`, half widths :math:`h_j` and windows :math:`w_j` that add up to one.
    locals : callable pytree
        One field whose arrays carry the subdomains on their first axis, see `hierax.fields.local_fields`.

    Raises
    ------
    ValueError
        If an array of `locals` has not one entry for each subdomain.

    Examples
    --------
    >>> field = PartitionOfUnity.uniform([0.0, 0.0], [1.0, 1.0], 4, 1.9, local=RandomFeatures(8), key=0)
    >>> field.cover.subdomains, field.locals.coefficients.shape, field(jnp.array([0.3, 0.2])).shape
    (16, (16, 8), ())

    References
    ----------
    Moseley, Markham, Nissen-Meyer, Adv. Comput. Math. 49 (2023), arXiv 2107.07871.
    """

    cover: Cover
    locals: Any

    def __init__(self, cover: Cover, locals: Any):
        self.cover, self.locals = cover, locals
        shapes, count = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(locals)}, cover.subdomains
        if shapes != {(count,)}:
            raise ValueError(
                f"PartitionOfUnity: the arrays of the local fields begin with axes of length "
                f"{sorted(shape[0] if shape else 0 for shape in shapes)}, the cover has {count} subdomains"
            )

    @classmethod
    def uniform(
        cls,
        lower,
        upper,
        counts,
        overlap: Any = 1.9,
        *,
        local: AbstractLocals | None = None,
        key: Key = 0,
        out: int | None = None,
        periodic=None,
        window: AbstractWindow | None = None,
    ) -> "PartitionOfUnity":
        """A uniform cover with fields drawn by a recipe.

        Parameters
        ----------
        lower, upper, counts, overlap, periodic, window
            As for `Cover.uniform`.
        local : AbstractLocals
            Recipe of the local fields; random features by default.
        key : key or int
        out : int, optional
            Number of outputs; none for values of shape ``()``.
        """
        cover = Cover.uniform(lower, upper, counts, overlap, window=window, periodic=periodic)
        return cls.on(cover, local or RandomFeatures(), key=key, out=out)

    @classmethod
    def on(cls, cover: Cover, local: AbstractLocals, *, key: Key = 0, out: int | None = None) -> "PartitionOfUnity":
        """Fields drawn by a recipe on any cover."""
        return cls(cover, local.draw(cover.dim, out, cover.subdomains, generator_of(key)))

    def locate(self, x: Float[Array, " dim"]) -> tuple[Int[Array, " members"], PyTree]:
        """Numbers of the subdomains around `x`, and the cells in their local fields where these have such."""
        ids = self.cover.locate(x)
        if not supports_local(self.locals):
            return ids, ()
        z = jax.lax.stop_gradient(self.cover.at(ids).coordinates(x))
        return ids, jax.vmap(lambda field, z: field.locate(z))(taken(self.locals, ids), z)

    def at(self, cell: tuple[Int[Array, " members"], PyTree]) -> tuple[Int[Array, " local"], LocalPartition]:
        ids, inner = cell
        fields = taken(self.locals, ids)
        if supports_local(fields):
            own, fields = jax.vmap(lambda field, cell: field.at(cell))(fields, inner)
        else:
            count = sum(own_sizes(self.locals))
            own = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32), (*ids.shape, count))
        base, stride = (jnp.asarray(part, dtype=jnp.int32) for part in numbering(self.locals))
        numbers = base[own] + ids[:, None].astype(jnp.int32) * stride[own]
        # local fields ravel array by array, each with all members: so do the indices
        ends = np.cumsum([0, *own_sizes(fields)])
        indices = [numbers[:, start:stop].ravel() for start, stop in itertools.pairwise(ends)]
        return jnp.concatenate(indices), LocalPartition(self.cover.at(ids), fields)

    @property
    def has_fixed_cells(self) -> bool:
        return not supports_local(self.locals) or has_fixed_cells(self.locals)

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, Any]:
        if supports_local(self.locals):
            return super().gather(points)
        ids = np.asarray(self.cover.locate(np.asarray(points)))
        cover, locals_ = (jax.tree.map(np.asarray, part) for part in (self.cover, self.locals))
        base, stride = numbering(self.locals)
        numbers = base + ids[:, :, None] * stride
        ends = np.cumsum([0, *own_sizes(self.locals)])
        parts = [numbers[:, :, start:stop].reshape(len(points), -1) for start, stop in itertools.pairwise(ends)]
        near = Subdomains(cover.centres[ids], cover.half_widths[ids], cover.window, cover.periods)
        return np.concatenate(parts, axis=1), LocalPartition(near, taken(locals_, ids))

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        if supports_local(self.locals):
            return super().cell_keys(points)
        rows = np.asarray(self.cover.locate(np.asarray(points)))
        if isinstance(self.cover.finder, UniformFinder):
            return rows[:, 0].astype(np.int64)  # the first of a full grid's members names the others
        return np.unique(rows, axis=0, return_inverse=True)[1].ravel()

    def mesh(self) -> tuple[np.ndarray, ...] | None:
        """Lines between the middles of a uniform cover; none for other covers."""
        finder = self.cover.finder
        if not isinstance(finder, UniformFinder):
            return None
        margin = self.cover.window.margin
        cells = [n if wraps else n - round(2 * margin) for n, wraps in zip(finder.counts, finder.wraps, strict=True)]
        ends = zip(np.asarray(finder.lower), np.asarray(finder.spacing), cells, strict=True)
        return tuple(lower + h * (margin + np.arange(n + 1)) for lower, h, n in ends)

    def crowd(self, cells: int) -> float:
        # that of a subdomain on every level, so that blocks of points keep their shape
        return max(1.0, self.cover.subdomains / cells / 2**self.cover.dim) * sum(own_sizes(self.locals))

    def positions(self, dim: int) -> np.ndarray:
        del dim
        centres = np.asarray(self.cover.centres)
        return np.concatenate([np.repeat(centres, size, axis=0) for size in own_sizes(self.locals)])

    @property
    def linear_in_parameters(self) -> bool:
        return linear_in_parameters(self.locals)

    def linear_parameters(self) -> PyTree[bool]:
        return _of_locals(self, linear_parameters(self.locals))


def taken(locals: PyTree, ids: Any) -> PyTree:
    """The local fields of some subdomains, stacked."""
    return jax.tree.map(lambda leaf: leaf[ids], locals)


def own_sizes(locals: PyTree) -> tuple[int, ...]:
    """Trained scalars of one subdomain, array by array."""
    return tuple(int(np.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(partition(locals)[0]))


def numbering(locals: PyTree) -> tuple[np.ndarray, np.ndarray]:
    """Where the parameters ``(own,)`` of subdomain ``j`` stand among all: ``base + j * stride`` (NumPy)."""
    leaves = jax.tree.leaves(partition(locals)[0])
    sizes = own_sizes(locals)
    starts = np.cumsum([0, *(int(np.prod(leaf.shape)) for leaf in leaves)])[:-1]
    base = [start + np.arange(size) for start, size in zip(starts, sizes, strict=True)]
    return np.concatenate([*base, np.zeros(0, dtype=int)]), np.repeat(sizes, sizes)


def subdomain_parameters(locals: PyTree) -> np.ndarray:
    """Numbers ``(fields, own)`` of the parameters of every local field among the raveled ones (NumPy)."""
    base, stride = numbering(locals)
    return base + np.arange(jax.tree.leaves(locals)[0].shape[0])[:, None] * stride


def _of_locals(field: Any, answer: PyTree[bool]) -> PyTree[bool]:
    nothing = jax.tree.map(lambda leaf: False, field)
    return eqx.tree_at(lambda f: f.locals, nothing, answer)
