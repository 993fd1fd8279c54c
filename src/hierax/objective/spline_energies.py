r"""Energies of splines, element by element, through the jets of the unknowns.

An energy at a point sees of a spline its value and derivatives there, :math:`j_\alpha = \sum_a \varphi_{a\alpha} c_a`,
the same sums for all channels. So what is compiled is the density as a function of these few numbers, and the matrix of
an element is a sum over its points :math:`q` of products of small matrices, block by block for two channels,

.. math:: K_{ab} = \sum_q w_q \, \varphi_{a\alpha}(x_q) \, H_{\alpha\beta}(x_q) \, \varphi_{b\beta}(x_q) ,

with :math:`H` the positive semidefinite part of the second derivative of the density in the jets.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from hierax.fields.pieces import Pieces
from hierax.fields.spline_grid import LocalSplineGrid
from hierax.fields.unknowns import ScalarValue
from hierax.objective.assembly import AbstractSums, LocalTerm
from hierax.objective.compiled import compiled_for_each
from hierax.objective.pointwise import PER_SAMPLE, JetEnergy, Place, orders_up_to

INDEFINITE = 1e-12
"""Part of the trace of a second derivative up to which negative curvature is rounding."""

Functions = Float[np.ndarray, "elements width orders functions"]
"""Derivatives of the scalar functions that are alive on elements, at their points."""


@dataclass(frozen=True, eq=False)
class EnergyTerm(LocalTerm):
    """An energy of splines and numbers; `exact` keeps the whole second derivative, which need not be positive."""

    exact: bool = False

    def _summed(self, c: np.ndarray, rest: Any, places: Place, weights: np.ndarray) -> AbstractSums:
        term, count = self.samples.term, weights.size
        assert isinstance(term, JetEnergy)
        parts, points = parts_of(term, rest), places.x[:count].reshape(*weights.shape, -1)
        tables = [_table(part, points, term.order) for part in parts.values()]
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in self.layout.shapes])[:-1]
        local = [own.reshape(len(c), t.shape[3], -1) for own, t in zip(np.split(c, ends, axis=1), tables, strict=True)]
        jets = [np.matmul(_flat(t), own).reshape(*t.shape[:3], -1) for t, own in zip(tables, local, strict=True)]
        jets = [own.swapaxes(2, 3) for own in jets]
        filled = np.minimum(np.arange(self.together), count - 1)
        given = {
            name: own.reshape(count, *shape[points.shape[2] :], *own.shape[3 : 3 + len(shape)])[filled]
            for name, shape, own in zip(parts, self.layout.shapes, jets, strict=True)
        }
        value, slope, second = (np.asarray(a)[:count] for a in expansions_in_jets(term, given, places))
        units = term.units_of_jets({name: own.shape[1:] for name, own in given.items()})
        second = (second if self.exact else _positive(second, units)) * weights.reshape(-1, 1, 1)
        sizes = [own.shape[2:] for own in jets]
        cuts = [int(end) for end in np.cumsum([0, *(a * b for a, b in sizes)])]
        spans = list(zip(itertools.pairwise(cuts), sizes, strict=True))
        gradient = [
            np.einsum("ew,ewia,ewaf->efi", weights, slope[:, i:j].reshape(*weights.shape, *size), t)
            for ((i, j), size), t in zip(spans, tables, strict=True)
        ]
        curvature = tuple(
            tuple(second[:, i:j, k:m].reshape(*weights.shape, *one, *other) for (k, m), other in spans)
            for (i, j), one in spans
        )
        value = np.einsum("ew,ew->e", weights, value.reshape(weights.shape))
        gradient = np.concatenate([g.reshape(len(c), -1) for g in gradient], axis=1)
        return EnergySums(value, gradient, tuple(tables), curvature)


class EnergySums(NamedTuple):
    """Weighted sums over the points of each element; see `AbstractSums`.

    Attributes
    ----------
    tables:
        For every unknown its functions.
    curvature:
        For every two unknowns the weighted second derivative `(elements, width, channels, orders, channels, orders)`.
    """

    value: np.ndarray
    gradient: np.ndarray
    tables: tuple[Functions, ...]
    curvature: tuple[tuple[np.ndarray, ...], ...]

    @property
    def gram(self) -> np.ndarray:
        """Matrices `(elements, k, k)`."""
        elements, k = self.gradient.shape
        sizes = [t.shape[3] * own[f].shape[2] for f, (t, own) in enumerate(self._pairs)]
        starts, out = np.cumsum([0, *sizes]), np.empty((elements, k, k))
        for f, g in itertools.combinations_with_replacement(range(len(sizes)), 2):
            block = _block(self.tables[f], self.curvature[f][g], self.tables[g], f == g)
            own = block.reshape(elements, sizes[f], sizes[g])
            out[:, starts[f] : starts[f + 1], starts[g] : starts[g + 1]] = own
            out[:, starts[g] : starts[g + 1], starts[f] : starts[f + 1]] = own.swapaxes(1, 2)
        return out

    @property
    def diagonal(self) -> np.ndarray:
        """Diagonals `(elements, k)` of the matrices."""
        own = [np.einsum("ewaf,ewiaib,ewbf->efi", t, s[f], t, optimize=True) for f, (t, s) in enumerate(self._pairs)]
        return np.concatenate([d.reshape(len(d), -1) for d in own], axis=1)

    @property
    def _pairs(self) -> zip:
        return zip(self.tables, self.curvature, strict=True)


def _block(first: Functions, second: np.ndarray, other: Functions, symmetric: bool) -> np.ndarray:
    """The part of two unknowns in the matrices, `(elements, functions, channels, functions, channels)`."""
    out = np.empty((len(first), first.shape[3], second.shape[2], other.shape[3], second.shape[4]))
    across = _flat(first).swapaxes(1, 2)
    for i, j in np.ndindex(second.shape[2], second.shape[4]):
        if symmetric and j < i:
            out[:, :, i, :, j] = out[:, :, j, :, i].swapaxes(1, 2)
        else:
            out[:, :, i, :, j] = np.matmul(across, _flat(np.matmul(second[:, :, i, :, j], other)))
    return out


@compiled_for_each(1)
def expansions_in_jets(
    term: JetEnergy, jets: dict[str, Float[Array, "n channels orders"]], places: Place
) -> tuple[Array, Array, Array]:
    """Densities `(n,)`, slopes `(n, J)` and second derivatives `(n, J, J)` in the jets, one unknown after another."""

    def point(own: dict[str, Array], place: Place) -> tuple[Array, Array, Array]:
        flat, unravel = ravel_pytree(own)
        density = lambda j: term.of_jets(unravel(j), place)  # noqa: E731
        return density(flat), jax.grad(density)(flat), jax.hessian(density)(flat)

    return jax.vmap(point, in_axes=(0, PER_SAMPLE))(jets, places)


def parts_of(term: JetEnergy, field: Any) -> dict[str, Any]:
    """The unknowns of a local field by name, in the order of their coefficients."""
    return dict(field.parts) if term.named else {term.names[0]: field}


def suits(term: Any, local: Any) -> bool:
    """Whether a term is an energy, and a local field made of splines and numbers."""
    if not isinstance(term, JetEnergy) or (term.named and not hasattr(local, "parts")):
        return False
    return all(isinstance(part, LocalSplineGrid | ScalarValue) for part in parts_of(term, local).values())


def _table(part: Any, points: Float[np.ndarray, "elements width dim"], order: int) -> Functions:
    """Derivatives up to an order of the functions that are alive, in the order of their coefficients."""
    if isinstance(part, ScalarValue):
        return np.ones((*points.shape[:2], 1, 1))
    axes = [_along(piece, x, order) for piece, x in zip(part.pieces, np.moveaxis(points, 2, 0), strict=True)]
    out = []
    for orders in orders_up_to(points.shape[2], order):
        product = axes[0][orders[0]]
        for own, power in zip(axes[1:], orders[1:], strict=True):
            product = (product[..., :, None] * own[power][..., None, :]).reshape(*points.shape[:2], -1)
        out.append(product)
    return np.stack(out, axis=2)


def _along(piece: Pieces, x: Float[np.ndarray, "elements width"], order: int) -> list[np.ndarray]:
    """Derivatives `(elements, width, alive)` of the polynomials of one axis, from the values on."""
    inverse, table = np.asarray(piece.inverse_length)[:, None], np.asarray(piece.coefficients)
    s, out = (x - np.asarray(piece.middle)[:, None]) * inverse, []
    for _ in range(order + 1):
        value = np.zeros((*x.shape, table.shape[2]))
        for power in range(table.shape[1] - 1, -1, -1):
            value = value * s[..., None] + table[:, None, power]
        out.append(value)
        table = table[:, 1:] * np.arange(1, table.shape[1])[:, None] * inverse[..., None]
    return out


def _flat(table: Functions) -> np.ndarray:
    """Functions with the points and orders of an element one after another."""
    return table.reshape(len(table), -1, table.shape[3])


def _positive(second: Float[np.ndarray, "n j j"], units: Float[np.ndarray, " j"]) -> np.ndarray:
    """The positive semidefinite parts of symmetric matrices in these units of rows and columns."""
    scaled = units[:, None] * second * units
    trace = np.trace(scaled, axis1=1, axis2=2)
    if not np.all(np.isfinite(trace)):
        return second
    small = INDEFINITE * np.maximum(np.abs(trace), np.finfo(float).tiny)
    try:
        np.linalg.cholesky(scaled + small[:, None, None] * np.eye(second.shape[1]))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(scaled)
        vectors = vectors / units[:, None]
        return np.matmul(vectors * np.maximum(values, 0.0)[:, None], vectors.swapaxes(1, 2))
    return second
