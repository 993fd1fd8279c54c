"""What a field is, which of its arrays are trained, and how local support is declared.

A *field* is a callable pytree from a point ``x`` of shape ``(dim,)`` to a value of shape ``(out,)``, or ``()`` for one
output. The functions of this module accept any callable pytree; the classes are for fields that have more to say.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree


class AbstractFixed(eqx.Module):
    """Marks a part of a field whose arrays are never trained, such as knots or the box of the inputs."""


class AbstractField(eqx.Module):
    """A callable pytree from a point to a value."""

    @abc.abstractmethod
    def __call__(self, x: Float[Array, " dim"]) -> PyTree[Float[Array, "..."]]:
        """Value at one point: shape ``()`` for one output, ``(out,)`` otherwise."""

    def trainable(self) -> PyTree[bool]:
        """Filter specification: true for every inexact array outside of `AbstractFixed` parts.

        A field may replace this, for instance to freeze earlier stages; parts that are fields answer for themselves.
        """
        return _specification(self, owner=self)

    @property
    def linear_in_parameters(self) -> bool:
        """Whether values are linear in the trained numbers; results are labelled with it."""
        return False

    def linear_parameters(self) -> PyTree[bool]:
        """Filter specification: true for trained arrays that enter linearly (affinely) while all others are fixed.

        Such a part is found by one linear least-squares solve. A field says so only where it is true for all of them
        together; without an answer of its own it is all of `trainable` or nothing.
        """
        spec = self.trainable()
        return spec if self.linear_in_parameters else jax.tree.map(lambda leaf: False, spec)

    @property
    def is_local(self) -> bool:
        """Whether `AbstractLocalField.locate` and `at` are offered and worth using."""
        return False

    @property
    def has_fixed_cells(self) -> bool:
        """Whether the cell of a point does not depend on the parameters, so that gathered pieces can be kept."""
        return False

    def mesh(self) -> tuple[Float[np.ndarray, " lines"], ...] | None:
        """Break points of the cells, one increasing array a coordinate, where these are boxes that stay; else none."""
        return None

    def crowd(self, cells: int) -> float:
        """Parameters a cell of the mesh, by which points are counted; 0 where a fixed number of points is enough."""
        return 0.0 if self.linear_in_parameters else parameter_count(self) / cells

    def positions(self, dim: int) -> Float[np.ndarray, "parameters dim"]:
        """Where in the domain each parameter acts; NaN for those that act everywhere."""
        return np.full((parameter_count(self), dim), np.nan)

    def placed(self, box: Any) -> Any:
        """The field with this `hierax.fields.InputBox` around its inputs; as it is where it needs none or has one."""
        del box
        return self


class AbstractLocalField(AbstractField):
    """A field whose value at a point depends on few of its parameters.

    The field is *defined* by its local pieces, so the two views cannot disagree:
    ``field(x) = field.at(field.locate(x))[1](x)``. A new kind says `locate` and `at`, and `mesh` where its cells are
    boxes; `gather` and `cell_keys` follow from these, and are there to be replaced by arithmetic in NumPy, for which
    no program has to be compiled on every level.
    """

    @abc.abstractmethod
    def locate(self, x: Float[Array, " dim"]) -> PyTree[Int[Array, "..."]]:
        """The cell of ``x``: a pytree of integers that carries no derivative. It may depend on the parameters."""

    @abc.abstractmethod
    def at(self, cell: PyTree[Int[Array, "..."]]) -> tuple[Int[Array, " local"], PyTree]:
        """Indices and local field of one cell.

        Returns
        -------
        indices : int array of shape ``(local,)``
            Positions in ``ravel_pytree(partition(field)[0])`` of the gathered parameters. An index can occur twice
            (periodic axes with fewer intervals than ``degree + 1``): add, do not set, when scattering.
        local : callable pytree
            Equal to the field on the cell; its own raveled parameters are those at `indices`, in that order.
        """

    def __call__(self, x: Float[Array, " dim"]) -> PyTree[Float[Array, "..."]]:
        return self.at(self.locate(x))[1](x)

    @property
    def is_local(self) -> bool:
        return True

    @property
    def has_fixed_cells(self) -> bool:
        """See `AbstractField.has_fixed_cells`; true where there is a mesh."""
        return self.mesh() is not None

    def gather(self, points: Float[np.ndarray, "n dim"]) -> tuple[Int[np.ndarray, "n local"], PyTree]:
        """Indices of the local parameters of every point, and the local fields stacked along the first axis.

        It is ``vmap(at . locate)``.
        """
        indices, local = _gathered(self, jnp.asarray(points))
        return np.asarray(indices), local

    def cell_keys(self, points: Float[np.ndarray, "n dim"]) -> Int[np.ndarray, " n"]:
        """One integer a point, equal for points in the same cell; for fields with fixed cells."""
        cells = jax.tree.leaves(_located(self, jnp.asarray(points)))
        rows = np.concatenate([np.asarray(cell).reshape(len(points), -1) for cell in cells], axis=1)
        return np.unique(rows, axis=0, return_inverse=True)[1].ravel()


def trainable(field: PyTree) -> PyTree[bool]:
    """Filter specification of any callable pytree: its own `AbstractField.trainable`, else all inexact arrays."""
    return _specification(field, owner=None)


def partition(field: PyTree) -> tuple[PyTree, PyTree]:
    """Split a field into its trained parameters and the rest; `equinox.combine` puts them together again.

    Examples
    --------
    >>> params, rest = partition(lambda x: x)
    >>> params is None
    True
    """
    return eqx.partition(field, trainable(field))


def parameter_count(field: PyTree) -> int:
    """Number of trained scalars."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(partition(field)[0]))


def marked(field: PyTree, part: Callable[[PyTree], PyTree]) -> PyTree[bool]:
    """Filter specification that is true for the inexact arrays of one part of a field and false elsewhere."""
    nothing = jax.tree.map(lambda leaf: False, field)
    return eqx.tree_at(part, nothing, jax.tree.map(eqx.is_inexact_array, part(field)))


def supports_local(field: PyTree) -> bool:
    """See `AbstractField.is_local`; false for a callable that does not say."""
    return isinstance(field, AbstractField) and field.is_local


def has_fixed_cells(field: PyTree) -> bool:
    """See `AbstractField.has_fixed_cells`; false for a callable that does not say."""
    return isinstance(field, AbstractField) and field.has_fixed_cells


def mesh(field: PyTree) -> tuple[Float[np.ndarray, " lines"], ...] | None:
    """See `AbstractField.mesh`; nothing for a callable that does not say."""
    return field.mesh() if isinstance(field, AbstractField) else None


def crowd(field: PyTree, cells: int) -> float:
    """See `AbstractField.crowd`; all parameters of a callable that does not say."""
    return field.crowd(cells) if isinstance(field, AbstractField) else parameter_count(field) / cells


def positions(field: PyTree, dim: int) -> Float[np.ndarray, "parameters dim"]:
    """See `AbstractField.positions`; everywhere for a callable that does not say."""
    if isinstance(field, AbstractField):
        return field.positions(dim)
    return np.full((parameter_count(field), dim), np.nan)


def linear_in_parameters(field: PyTree) -> bool:
    """Whether values are linear in the trained numbers; false where a callable does not say."""
    return isinstance(field, AbstractField) and field.linear_in_parameters


def linear_parameters(field: PyTree) -> PyTree[bool]:
    """Which trained arrays enter linearly, by the field's own answer; none where a callable does not say."""
    if isinstance(field, AbstractField):
        return field.linear_parameters()
    return jax.tree.map(lambda leaf: False, field)


def placed(field: PyTree, box: Any) -> PyTree:
    """The field with a box around its inputs, see `AbstractField.placed`; a callable that does not say, as it is."""
    return field.placed(box) if isinstance(field, AbstractField) else field


@eqx.filter_jit
def _gathered(field: AbstractLocalField, points: Float[Array, "n dim"]) -> tuple[Int[Array, "n local"], PyTree]:
    return jax.vmap(lambda x: field.at(field.locate(x)))(points)


@eqx.filter_jit
def _located(field: AbstractLocalField, points: Float[Array, "n dim"]) -> PyTree:
    return jax.vmap(field.locate)(points)


def _specification(tree: PyTree, owner: PyTree) -> PyTree[bool]:
    def answers_itself(node) -> bool:
        return node is not owner and isinstance(node, AbstractField | AbstractFixed)

    def answer(node):
        if isinstance(node, AbstractField):
            return node.trainable()
        if isinstance(node, AbstractFixed):
            return jax.tree.map(lambda leaf: False, node)
        return eqx.is_inexact_array(node)

    return jax.tree.map(answer, tree, is_leaf=answers_itself)
