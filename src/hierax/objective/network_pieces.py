"""The local pieces of spline networks around many points, in NumPy: no kernel has to be compiled for a new level."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from hierax.fields.axis import SplineAxis
from hierax.fields.kan import KAN, LocalKAN, SplineLayer, SplinePieces
from hierax.fields.pieces import Pieces
from hierax.objective.gather import gather


@gather.register
def network_pieces(field: KAN, points: np.ndarray) -> tuple[np.ndarray, Any]:
    """Indices `(n, k)` and local fields, as `vmap(at . locate)` gives them."""
    if not field.geometry.local:
        return gather.dispatch(object)(field, points)
    count = len(points)
    z, offset, indices, layers = np.asarray(points), 0, [], []
    box, first = (jax.tree.map(np.asarray, part) for part in (field.box, field.first))
    z = z if box is None else box.on_rows(z)
    if first is not None:
        z, offset = first.on_rows(z), sum(leaf.size for leaf in jax.tree.leaves(first))
        indices.append(np.broadcast_to(np.arange(offset), (count, offset)))
    for number, layer in enumerate(field.layers):
        z = z / np.sqrt(1.0 + z * z) if number else z
        index, part = _layer_pieces(layer, z)
        indices.append(offset + index.reshape(count, -1))
        offset += layer.weights.size
        layers.append(part)
        if number < len(field.layers) - 1:
            z = _values(part, z)
    box, first = jax.tree.map(lambda a: np.broadcast_to(a, (count, *a.shape)), (box, first))
    return np.concatenate(indices, axis=1), LocalKAN(box, first, tuple(layers))


def _layer_pieces(layer: SplineLayer, z: np.ndarray) -> tuple[np.ndarray, SplinePieces]:
    """Positions `(n, q, i, p+1)` in the layer's weights, and its pieces, at hidden values `(n, i)`."""
    axis = layer.axis
    outputs, inputs, size = layer.weights.shape
    cell, pieces = _axis_pieces(axis, z)
    alive = (cell[:, :, None] + np.arange(axis.degree + 1)) % size
    index = np.arange(outputs * inputs).reshape(outputs, inputs, 1) * size + alive[:, None]
    return index, SplinePieces(np.asarray(layer.weights).ravel()[index], pieces)  # pyright: ignore


def _axis_pieces(axis: SplineAxis, z: np.ndarray) -> tuple[np.ndarray, Pieces]:
    knots, degree, n = np.asarray(axis.knots), axis.degree, axis.intervals
    if not axis.equidistant:
        cell = np.searchsorted(knots[degree + 1 : degree + n], z, side="right")
        return cell, jax.tree.map(lambda a: np.asarray(a)[cell], axis.pieces)
    lower = knots[degree]
    spacing = (knots[degree + n] - lower) / n
    # values that are not finite go to some cell; the residual there is not finite either
    cell = np.clip(np.nan_to_num(np.floor((z - lower) / spacing), nan=0.0), 0, n - 1).astype(np.int64)
    table = np.asarray(axis.pieces.coefficients)[0]
    shared = np.broadcast_to(table, (*z.shape, *table.shape))
    return cell, Pieces(lower + (cell + 0.5) * spacing, np.full(z.shape, 1.0 / spacing), shared)  # pyright: ignore


def _values(layer: SplinePieces, z: np.ndarray) -> np.ndarray:
    """Outputs `(n, q)` of a layer's pieces."""
    s = ((z - layer.pieces.middle) * layer.pieces.inverse_length)[..., None]
    rows = np.moveaxis(np.asarray(layer.pieces.coefficients), -2, 0)
    basis = rows[-1]
    for row in rows[-2::-1]:
        basis = basis * s + row
    return np.einsum("nqis,nis->nq", layer.coefficients, basis)
