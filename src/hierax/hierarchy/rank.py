"""Refinement of low-rank tensors: finer knots along the axes that need them, and more products."""

from dataclasses import dataclass
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from scipy.sparse import csr_array

from hierax.fields.axis import SplineAxis
from hierax.fields.geometry import BSplineBasis
from hierax.fields.initial import as_key, generator_of
from hierax.fields.low_rank import LowRank, free, waves
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.axis_transfer import EXACT, AbstractAxisMap, Entries, KnotMap, LeafTransfer
from hierax.hierarchy.level import Level
from hierax.hierarchy.marking import Settling, axis_errors, graded, halved
from hierax.hierarchy.refinement import AbstractRefinement, grown, insert_breakpoints, spline_axes, unchanged
from hierax.hierarchy.transfer import LINEAR, AbstractTransfer


@final
class RankMap(AbstractAxisMap):
    """Further columns of a factor, with values of their own; affine.

    Parameters
    ----------
    rank : int
        Number of columns before.
    columns : array ``(n, more)``
        The values.
    """

    axis: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    columns: Float[Array, "n more"]

    def __init__(self, rank, columns):
        self.axis, self.rank = 1, int(rank)
        self.columns = jnp.asarray(columns, dtype=float)

    def prolong(self, value: Float[Array, "n rank"]) -> Float[Array, "n finer"]:
        return _beside(value, self.columns)

    def inject(self, value: Float[Array, "n finer"]) -> Float[Array, "n rank"]:
        return value[:, : self.rank]

    def restrict(self, value: Float[Array, "n finer"]) -> Float[Array, "n rank"]:
        return self.inject(value)

    def lift(self, value: Float[Array, "n rank"]) -> Float[Array, "n finer"]:
        return _beside(value, np.zeros(self.columns.shape))

    def sparse(self) -> csr_array:
        return csr_array(np.eye(self.rank + self.columns.shape[1], self.rank))


def _beside(value: Any, columns: Any) -> Float[Array, "n finer"]:
    if isinstance(value, Tracer) or isinstance(columns, Tracer):
        return jnp.concatenate([value, columns], axis=1)
    return jnp.asarray(np.concatenate([np.asarray(value), np.asarray(columns)], axis=1))


@final
@dataclass(frozen=True)
class _Finer:
    """What is done to one tensor: the axes it gets, and how many products more."""

    axes: tuple[SplineAxis, ...]
    more: int

    def __call__(self, field: LowRank, generator: np.random.Generator) -> tuple[LowRank, tuple[LeafTransfer, ...]]:
        """The finer tensor, equal everywhere, and what happens to each array of its parameters."""
        sizes = [axis.size - sum(ends) for axis, ends in zip(self.axes, field.zero, strict=True)]
        columns = waves(sizes, self.more, int(generator.integers(2**32)))
        # the last factor of a new product is zero: the function stays, and a gradient sees the product
        last = np.zeros((sizes[-1] if field.outputs is None else field.outputs.shape[0], self.more))
        leaves = []
        for k, (old, new) in enumerate(zip(field.axes, self.axes, strict=True)):
            maps: tuple[AbstractAxisMap, ...] = () if old is new else (_knot_map(old, new, field.zero[k]),)
            wider = last if field.outputs is None and k == len(sizes) - 1 else columns[k]
            leaves.append(LeafTransfer((*maps, RankMap(field.rank, wider)) if self.more else maps))
        factors = [leaf.prolong(factor) for leaf, factor in zip(leaves, field.factors, strict=True)]
        if field.outputs is None:
            return LowRank(self.axes, factors, None, field.zero), tuple(leaves)
        leaves.append(LeafTransfer((RankMap(field.rank, last),) if self.more else ()))
        return LowRank(self.axes, factors, leaves[-1].prolong(field.outputs), field.zero), tuple(leaves)


@spline_axes.register
def _(field: LowRank) -> tuple[SplineAxis, ...]:
    return field.axes


@insert_breakpoints.register
def _(field: LowRank, axes: tuple[SplineAxis, ...]) -> tuple[LowRank, tuple[LeafTransfer, ...]]:
    return _Finer(axes, 0)(field, np.random.default_rng(0))


def _knot_map(coarse: SplineAxis, fine: SplineAxis, ends: tuple[bool, bool]) -> KnotMap:
    """The map of the coefficients that are not zero; the end values of a spline depend on none but themselves."""
    basis = BSplineBasis()
    matrices = basis.prolongation(coarse, fine), basis.left_inverse(coarse, fine)
    inner = [csr_array(free(free(matrix, ends).T.tocsr(), ends).T) for matrix in matrices]  # pyright: ignore
    return KnotMap(0, *map(Entries.of, inner))


class RankGrowth(AbstractRefinement):
    """More products, and finer knots along the axes where the jumps of the highest derivative say so.

    What the last refinement changed is compared with what the jumps tell of the error of the splines: where that is
    the smaller part by far, products alone are added; where it is the larger one by far, knots alone. Where nothing is
    known of the last change, both are.

    Parameters
    ----------
    factor : float
        Growth of the rank, by at least one product.
    share, axis_share : float
        Intervals with at least this share of the largest error of their axis are halved, of axes with at least this
        share of the largest error of all.
    part : float
        Errors of the splines below this part of the last change are small; changes below this part of the errors are.
    """

    factor: float = 1.5
    share: float = 0.1
    axis_share: float = 0.1
    part: float = 0.2

    @property
    def wants(self) -> type:
        return Settling

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        generator = generator_of(as_key(0) if key is None else key)
        change = np.inf if evidence is None else evidence.change
        fine, leaves = self._finer(level.field, change, generator)
        linear = not any(isinstance(part, RankMap) for leaf in leaves for part in leaf.maps)
        return grown(level, fine, leaves, EXACT if linear else EXACT - {LINEAR})

    def _finer(self, field: Any, change: float, generator: np.random.Generator) -> tuple[Any, tuple[LeafTransfer, ...]]:
        if isinstance(field, Unknowns):
            found = {name: self._finer(part, change, generator) for name, part in sorted(field.parts.items())}
            leaves = tuple(leaf for _, more in found.values() for leaf in more)
            return Unknowns(**{name: part for name, (part, _) in found.items()}), leaves
        if not isinstance(field, LowRank):
            return field, unchanged(field)
        errors = spline_errors(field)
        largest = max(float(e.max()) for e in errors)
        knots = not np.isfinite(change) or largest > self.part * change
        more = max(1, round((self.factor - 1.0) * field.rank)) if change > self.part * largest else 0
        axes = tuple(
            axis.with_breakpoints(self._halved(axis, e)) if knots and e.max() >= self.axis_share * largest else axis
            for axis, e in zip(field.axes, errors, strict=True)
        )
        return _Finer(axes, more)(field, generator)

    def _halved(self, axis: SplineAxis, errors: Float[np.ndarray, " intervals"]) -> Float[np.ndarray, " finer"]:
        marked = errors >= self.share * errors.max()
        return graded(halved(axis.breakpoints(), marked | np.r_[marked[1:], False] | np.r_[False, marked[:-1]]))


def spline_errors(field: LowRank) -> list[Float[np.ndarray, " intervals"]]:
    """Estimated error of every interval of every axis, in the mean over the other axes, beside the mean square.

    See `hierax.hierarchy.marking.axis_errors`: jumps of the highest derivative along an axis, of all products together.
    """
    grams = field.grams()
    outputs = np.ones((1, field.rank)) if field.outputs is None else np.asarray(field.outputs)
    rest = outputs.T @ outputs
    size = np.sqrt(max(float(np.prod([rest, *grams], axis=0).sum()), 1e-300))
    out = []
    for k, (axis, ends) in enumerate(zip(field.axes, field.zero, strict=True)):
        others = np.prod([rest, *grams[:k], *grams[k + 1 :]], axis=0)
        values, vectors = np.linalg.eigh(others)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        whole = np.pad(np.asarray(field.factors[k]), [(int(ends[0]), int(ends[1])), (0, 0)])
        # the sum of squares of the columns is the mean square over the other axes
        errors = axis_errors(axis, whole @ root)
        out.append(errors * np.sqrt(field.rank) / size)
    return out
