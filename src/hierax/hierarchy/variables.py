"""Parameters of spline networks as functions of one variable each, and the coarser spaces below them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp

from hierax.fields.axis import SplineAxis, insertion
from hierax.fields.base import partition
from hierax.fields.kan import KAN
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.coarsening import coarser_axes


@dataclass(frozen=True, eq=False)
class SplineLeaves:
    """The arrays of a field's parameters, in the order of the flat vector.

    Attributes
    ----------
    shapes:
        `(out, in, coefficients)` for a layer of splines; anything for other arrays.
    axes:
        The spline axis of each array; `None` for arrays that no refinement changes.
    """

    shapes: tuple[tuple[int, ...], ...]
    axes: tuple[SplineAxis | None, ...]

    @functools.cached_property
    def groups(self) -> tuple[np.ndarray, ...]:
        """Parameters of all splines of one variable, neighbouring knots together; other arrays as they are.

        The splines that leave one node of a network act at the same values, so they are dependent on each other as
        neighbouring coefficients of one spline are.
        """
        out, start = [], 0
        for shape, axis in zip(self.shapes, self.axes, strict=True):
            index = start + np.arange(math.prod(shape)).reshape(shape)
            start += index.size
            out += [index.ravel()] if axis is None else [index[:, i].T.ravel() for i in range(shape[1])]
        return tuple(out)

    @functools.cached_property
    def below(self) -> tuple[SplineLeaves, sp.csr_array] | None:
        """The leaves with every second knot dropped, and the exact map from them; `None` where no axis is fine."""
        thinned = [axis and (coarser_axes([axis]) or (axis,))[0] for axis in self.axes]
        if all(new is old for new, old in zip(thinned, self.axes, strict=True)):
            return None
        shapes, blocks = [], []
        for shape, new, old in zip(self.shapes, thinned, self.axes, strict=True):
            if new is None or old is None or new is old:
                shapes.append(shape)
                blocks.append(sp.eye_array(math.prod(shape)))
            else:
                shapes.append((*shape[:-1], new.size))
                blocks.append(sp.kron(sp.eye_array(math.prod(shape[:-1])), sp.csr_array(insertion(new, old))))
        return SplineLeaves(tuple(shapes), tuple(thinned)), sp.csr_array(sp.block_diag(blocks, format="csr"))


@functools.singledispatch
def spline_leaves(field: Any) -> SplineLeaves:
    """The arrays of a field's parameters with their axes; new kinds of networks register theirs."""
    shapes = tuple(leaf.shape for leaf in jax.tree.leaves(partition(field)[0]))
    return SplineLeaves(shapes, (None,) * len(shapes))


@spline_leaves.register
def _(field: KAN) -> SplineLeaves:
    first = spline_leaves.dispatch(object)(field.first)
    layers = field.layers
    return SplineLeaves(
        (*first.shapes, *(layer.weights.shape for layer in layers)), (*first.axes, *(layer.axis for layer in layers))
    )


@spline_leaves.register
def _(field: Unknowns) -> SplineLeaves:
    parts = [spline_leaves(part) for part in field.parts.values()]
    return SplineLeaves(
        tuple(shape for part in parts for shape in part.shapes), tuple(axis for part in parts for axis in part.axes)
    )
