"""One level of a hierarchy: a field, which of its arrays are trained, and how many points it is trained on."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from hierax.fields.base import mesh, trainable


class Level(eqx.Module):
    """A field with what training on it needs to know.

    Parameters
    ----------
    field : callable pytree
        See `hierax.fields`.
    points : int, optional
        Number of sample points; refinement lets it grow with the parameters.
    cells : tuple of arrays, optional
        Breakpoints of each coordinate for samplers that follow cells; those of a spline grid by default.
    trained : pytree of bools, optional
        What is trained on this level; the field's own answer by default.
    """

    field: PyTree
    points: int | None = eqx.field(static=True)
    cells: tuple[np.ndarray, ...] | None
    trained: PyTree[bool] | None

    def __init__(self, field: PyTree, points: int | None = None, cells=None, trained: PyTree[bool] | None = None):
        self.field = field
        self.points = points
        self.cells = mesh(field) if cells is None else tuple(np.asarray(part, dtype=float) for part in cells)
        self.trained = trained

    def partition(self) -> tuple[PyTree, PyTree]:
        """Trained parameters and the rest; `equinox.combine` joins them."""
        return eqx.partition(self.field, trainable(self.field) if self.trained is None else self.trained)

    @property
    def parameters(self) -> int:
        """Number of trained scalars."""
        return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(self.partition()[0]))
