"""One level of a hierarchy: a field, which of its arrays are trained, and how many points it is trained on."""

import functools
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from hierax.fields.base import trainable
from hierax.fields.decoded_grid import DecodedGrid
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.stretched import StretchedGrid
from hierax.fields.unknowns import Unknowns


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
        self.cells = cells_of(field) if cells is None else tuple(np.asarray(part, dtype=float) for part in cells)
        self.trained = trained

    def partition(self) -> tuple[PyTree, PyTree]:
        """Trained parameters and the rest; `equinox.combine` joins them."""
        return eqx.partition(self.field, trainable(self.field) if self.trained is None else self.trained)

    @property
    def parameters(self) -> int:
        """Number of trained scalars."""
        return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(self.partition()[0]))


@functools.singledispatch
def cells_of(field: Any) -> tuple[np.ndarray, ...] | None:
    """Breakpoints of each coordinate if the cells of the field are boxes that do not depend on its parameters."""
    del field
    return None


@cells_of.register(SplineGrid)
@cells_of.register(StretchedGrid)
def _(field: SplineGrid | StretchedGrid) -> tuple[np.ndarray, ...]:
    return field.breakpoints()


@cells_of.register
def _(field: DecodedGrid) -> tuple[np.ndarray, ...]:
    return field.grid.breakpoints()


@cells_of.register
def _(field: Unknowns) -> tuple[np.ndarray, ...] | None:
    cells = [part for part in map(cells_of, field.parts.values()) if part is not None]
    if not cells or len({len(part) for part in cells}) > 1:
        return None
    return tuple(functools.reduce(np.union1d, axes) for axes in zip(*cells, strict=True))
