"""Finer partitions of unity: all subdomains halved."""

import itertools
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from numpy.polynomial import legendre

from hierax.fields.base import parameter_count
from hierax.fields.cover import Cover
from hierax.fields.expansion import Expansion, Legendre
from hierax.fields.finders import UniformFinder
from hierax.fields.partition_of_unity import PartitionOfUnity
from hierax.fields.unknowns import Unknowns
from hierax.fields.windows import SplineWindow
from hierax.hierarchy.axis_transfer import LeafTransfer
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, grown, unchanged
from hierax.hierarchy.transfer import AbstractTransfer


class SubdomainHalving(AbstractRefinement):
    """Halve all subdomains of partitions of unity that are made of B-splines and polynomials; the function stays.

    Every window is a sum of windows half as wide (see `SplineWindow`), and a polynomial is one on any subdomain. The
    spaces are nested, which is what coarse corrections want.
    """

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        del key, evidence
        fine, leaves = _halved_field(level.field)
        if parameter_count(fine) == level.parameters:
            raise ValueError(
                f"SubdomainHalving: {type(level.field).__name__} has no polynomials on a cover by B-splines; make one "
                f"with Cover.splines"
            )
        return grown(level, fine, leaves)


class TensorLeaf(LeafTransfer):
    """One array of coefficients ``(subdomains, [out,] functions)`` of tensor products, by a matrix for each axis.

    Parameters
    ----------
    matrices, inverses : tuple of arrays
        From `(subdomain, degree)` along an axis to the same on the finer cover, ``(fine, coarse)``, and back.
    coarse, fine : tuple of int
        Subdomains along each axis.
    degrees : tuple of int
    """

    matrices: tuple[Float[Array, "fine coarse"], ...] = ()
    inverses: tuple[Float[Array, "coarse fine"], ...] = ()
    coarse: tuple[int, ...] = eqx.field(static=True, default=())
    fine: tuple[int, ...] = eqx.field(static=True, default=())
    degrees: tuple[int, ...] = eqx.field(static=True, default=())

    def prolong(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return self._apply(self.matrices, leaf, self.coarse, self.fine)

    def inject(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return self._apply(self.inverses, leaf, self.fine, self.coarse)

    def restrict(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return self._apply(tuple(m.T for m in self.matrices), leaf, self.fine, self.coarse)

    def lift(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return self._apply(tuple(m.T for m in self.inverses), leaf, self.coarse, self.fine)

    def _apply(self, matrices, leaf, given: tuple[int, ...], wanted: tuple[int, ...]) -> Float[Array, "..."]:
        dim, out = len(given), leaf.shape[1:-1]
        orders = tuple(degree + 1 for degree in self.degrees)
        value = jnp.reshape(leaf, (*given, math.prod(out), *orders))
        for axis, (matrix, count, order) in enumerate(zip(matrices, wanted, orders, strict=True)):
            # subdomain and function along this axis side by side, in front
            moved = jnp.moveaxis(value, (axis, dim + 1 + axis), (0, 1))
            rest = moved.shape[2:]
            new = (matrix @ moved.reshape(-1, math.prod(rest))).reshape(count, order, *rest)
            value = jnp.moveaxis(new, (0, 1), (axis, dim + 1 + axis))
        return value.reshape(math.prod(wanted), *out, math.prod(orders))


def _halved_field(field: Any) -> tuple[PyTree, tuple[LeafTransfer, ...]]:
    if isinstance(field, Unknowns):
        found = {name: _halved_field(part) for name, part in sorted(field.parts.items())}
        leaves = tuple(leaf for _, more in found.values() for leaf in more)
        return Unknowns(**{name: part for name, (part, _) in found.items()}), leaves
    known = isinstance(field, PartitionOfUnity) and isinstance(field.locals, Expansion)
    if not known or not isinstance(field.locals.basis, Legendre) or not isinstance(field.cover.window, SplineWindow):
        return field, unchanged(field)
    finder, degrees, p = field.cover.finder, field.locals.basis.degrees, field.cover.window.degree
    assert isinstance(finder, UniformFinder)
    cells = [n if wraps else n - p for n, wraps in zip(finder.counts, finder.wraps, strict=True)]
    lower = np.asarray(finder.lower) + 0.5 * p * np.asarray(finder.spacing)
    upper = lower + np.asarray(finder.spacing) * cells
    cover = Cover.splines(lower, upper, [2 * n for n in cells], p, finder.wraps)
    axes = zip(cells, finder.wraps, degrees, strict=True)
    matrices = [_two_scale(n, wraps, p, degree) for n, wraps, degree in axes]
    arrays = tuple(jnp.asarray(matrix) for matrix in matrices)
    inverses = tuple(jnp.asarray(np.linalg.pinv(matrix)) for matrix in matrices)
    assert isinstance(cover.finder, UniformFinder)
    leaf = TensorLeaf((), arrays, inverses, finder.counts, cover.finder.counts, degrees)
    return PartitionOfUnity(cover, Expansion(field.locals.basis, leaf.prolong(field.locals.coefficients))), (leaf,)


def _two_scale(cells: int, wraps: bool, p: int, degree: int) -> np.ndarray:
    """From `(spline, polynomial)` on `cells` cells of an axis to twice as many, ``(fine, coarse)``."""
    order, coarse_count, fine_count = degree + 1, cells + p * (not wraps), 2 * cells + p * (not wraps)
    matrix = np.zeros((fine_count, order, coarse_count, order))
    nodes, weights = legendre.leggauss(order)
    values = legendre.legvander(nodes, degree)
    for coarse, k in itertools.product(range(coarse_count), range(p + 2)):
        fine = (2 * coarse - p + k) % fine_count if wraps else 2 * coarse - p + k
        if 0 <= fine < fine_count:
            # middles in units of the coarse half width (p + 1) / 2, measured from the left end of the coarse support
            shift = (0.5 * k - 0.25 * (p + 1)) / (0.5 * (p + 1))
            there = legendre.legvander(shift + 0.5 * nodes, degree)
            change = (values * weights[:, None]).T @ there * (np.arange(order) + 0.5)[:, None]
            matrix[fine, :, coarse] += math.comb(p + 1, k) / 2**p * change
    return matrix.reshape(fine_count * order, -1)
