"""Objectives of fields whose cells move with the parameters, or that have none: networks of any kind.

Rows of the Jacobian are computed in blocks, through the local pieces where the field has them. With fewer rows than
parameters they are kept (kernel); otherwise they are added into a dense Gram matrix and thrown away. Above
`DENSE_LIMIT` parameters or rows those of spline networks are kept as sparse rows; otherwise only products are formed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

import jax
import numpy as np
from jaxtyping import Array
from scipy.linalg.blas import dsyrk  # pyright: ignore
from scipy.sparse import csr_array

from hierax.devices import added
from hierax.fields.base import partition, supports_local
from hierax.hierarchy.variables import spline_leaves
from hierax.objective.assembly import Layout, local_expansions, local_residuals
from hierax.objective.compiled import LONG, QUICK, compiled_for_each
from hierax.objective.curvature import AbstractCurvature, DenseGram, MatrixFreeGram
from hierax.objective.kernel import KernelGram
from hierax.objective.objective import AbstractLeastSquares, AbstractProgrammed, Linearisation, flat_parameters
from hierax.objective.pointwise import PER_SAMPLE, AbstractPointTerm, Place
from hierax.objective.program import Program, pointwise
from hierax.objective.reduction import CHUNK, concatenated, evaluated, fitting
from hierax.objective.row_block import RowBlock
from hierax.objective.samples import Samples
from hierax.objective.sparse_rows import SparseRowGram, stacked

DENSE_LIMIT = 4000
"""Most parameters for which the Gram matrix is stored, most rows whose kernel is."""

KERNEL_ENTRIES = 50_000_000
"""Most numbers in rows that are kept, dense or sparse."""

ROW_ENTRIES = 4_000_000
"""Most numbers in one block of Jacobian rows."""


def whole_layout(field: Any) -> tuple[Layout, Any]:
    """Layout of a whole field, as for one local piece."""
    params, rest = partition(field)
    leaves, structure = jax.tree.flatten(params)
    return Layout(structure, tuple(leaf.shape for leaf in leaves)), rest


@compiled_for_each(2, samples=(None, None, PER_SAMPLE))
def _rows(
    term: AbstractPointTerm, layout: Layout, theta: Array, rest: Any, places: Place
) -> tuple[Array, Array, Array]:
    """Values `(n,)`, gradients `(n, N)` and rows `(n, m, N)` of a block, with respect to all parameters."""

    def point(place: Place) -> tuple[Array, Array, Array]:
        e = term.expand(lambda z: layout.build(z, rest), theta, place)
        return e.value, e.gradient, e.rows

    return jax.vmap(point, in_axes=(PER_SAMPLE,))(places)


@compiled_for_each(1, attrgetter("keeper"), LONG)
def _value_and_gradient(program: Program, theta: Array, data: Any) -> tuple[Array, Array]:
    return program.value_and_gradient(theta, data)


@compiled_for_each(1, attrgetter("keeper"), LONG)
def _value(program: Program, theta: Array, data: Any) -> Array:
    return program(theta, data)


@compiled_for_each(1, attrgetter("keeper"), LONG)
def _product(program: Program, theta: Array, data: Any, v: Array) -> Array:
    return program.product(theta, data, v)


@compiled_for_each(2, settings=QUICK, samples=(None, None, PER_SAMPLE))
def _residuals(term: AbstractPointTerm, layout: Layout, theta: Array, rest: Any, places: Place) -> Array:
    field = layout.build(theta, rest)
    return jax.vmap(lambda place: term.residual(field, place), in_axes=(PER_SAMPLE,))(places)


class RowObjective(AbstractLeastSquares, AbstractProgrammed):
    """For any callable pytree; see the head of the file.

    Parameters
    ----------
    field, samples:
        The field; one entry a term.
    local:
        Whether all terms look only at their own point, so that rows may be computed through the field's local pieces.
    quadratic:
        Whether all residuals are affine in the parameters.
    """

    def __init__(self, field: Any, samples: Sequence[Samples], local: bool = True, quadratic: bool = False) -> None:
        self.field = field
        self.samples = tuple(samples)
        self.layout, self.rest = whole_layout(field)
        self.local, self.quadratic = local and supports_local(field), quadratic

    @property
    def size(self) -> int:
        return sum(int(np.prod(s, dtype=int)) for s in self.layout.shapes)

    def rescaled(self, scales: Sequence[float]) -> RowObjective:
        """The same objective with other factors of the terms."""
        samples = [s.scaled(c) for s, c in zip(self.samples, scales, strict=True)]
        return RowObjective(self.field, samples, self.local, self.quadratic)

    def with_samples(self, samples: Sequence[Samples]) -> RowObjective:
        return RowObjective(self.field, samples, self.local, self.quadratic)

    def program(self) -> tuple[Program, Any]:
        """The objective as a pure function with its data, see `Program`."""
        return self._programmed

    @cached_property
    def _programmed(self) -> tuple[Program, Any]:
        return pointwise(self.samples, self.layout, self.rest)

    def values(self, theta: np.ndarray) -> np.ndarray:
        out = []
        for s in self.samples:
            program, data = pointwise([s.scaled(1.0)], self.layout, self.rest)
            out.append(float(_value(program, theta, data)))
        return np.array(out)

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        program, data = self.program()
        value, gradient = _value_and_gradient(program, theta, data)
        return float(value), np.array(gradient)

    def linearise(self, theta: np.ndarray) -> Linearisation:
        if self.by_rows:
            return self._kept(theta, RowBlock.weighted, lambda rows: KernelGram(np.concatenate(rows)))
        if self.size > DENSE_LIMIT and self.sparse:
            leaves = spline_leaves(self.field)
            return self._kept(theta, RowBlock.sparse, lambda rows: SparseRowGram(stacked(rows), leaves))
        if self.size > DENSE_LIMIT:
            value, gradient = self.value_and_gradient(theta)
            return Linearisation(value, gradient, self._matrix_free(theta))
        value, gradient = 0.0, np.zeros(self.size)
        gram = np.zeros((self.size, self.size), order="F")
        for s in self.samples:
            value += self._accumulate(s, theta, gradient, gram)
        value, gradient, gram = added((value, gradient, gram))
        return Linearisation(value, gradient, DenseGram(gram + np.tril(gram, -1).T))

    @cached_property
    def by_rows(self) -> bool:
        """Whether there are so few rows that they are kept: fewer multiplications than the Gram matrix takes."""
        if sum(s.count for s in self.samples) >= self.size:
            return False
        rows = sum(s.count * self._rows_a_point(s) for s in self.samples)
        return rows < self.size and rows <= DENSE_LIMIT and rows * self.size <= KERNEL_ENTRIES

    def _rows_a_point(self, s: Samples) -> int:
        place = s.places(np.array(0))
        build = lambda z: self.layout.build(z, self.rest)  # noqa: E731
        theta = jax.ShapeDtypeStruct((self.size,), np.float64)
        return int(jax.eval_shape(lambda z: s.term.expand(build, z, place).rows, theta).shape[0])

    @cached_property
    def sparse(self) -> bool:
        """Whether there are coarser spaces and the rows, kept through the local pieces, stay within memory."""
        if not self.local or spline_leaves(self.field).below is None:
            return False
        local = self.field.gather(self.samples[0].points[:1])[0].shape[1]
        return sum(s.count * self._rows_a_point(s) for s in self.samples) * local <= KERNEL_ENTRIES

    def _kept(self, theta: np.ndarray, part: Any, join: Any) -> Linearisation:
        """Linearisation with the rows kept."""
        value, gradient, rows = 0.0, np.zeros(self.size), []
        for s in self.samples:
            for block in self.row_blocks(s, theta):
                value += self._slope(s, block, gradient)
                rows.append(part(block, s.scale, self.size))
        return Linearisation(value, gradient, join(rows))

    def least_squares(self) -> RowObjective | None:
        return self if self.has_residuals else None

    def weighted_rows(self, theta: np.ndarray) -> list[np.ndarray]:
        return [
            np.concatenate([b.weighted(s.scale, self.size) for b in self.row_blocks(s, theta)]) for s in self.samples
        ]

    def sparse_rows(self, theta: np.ndarray) -> csr_array:
        return stacked([b.sparse(s.scale, self.size) for s in self.samples for b in self.row_blocks(s, theta)])

    def diagonals(self, theta: np.ndarray, equations: np.ndarray | None = None) -> np.ndarray:
        """Diagonal of each term's unscaled curvature, `(terms, N)`; see `LocalObjective.diagonals`."""
        del equations
        out = np.zeros((len(self.samples), self.size))
        for row, s in zip(out, self.samples, strict=True):
            for block in self.row_blocks(s, theta, shared=True):
                row += self._scattered(np.einsum("nmk,n->nk", block.rows**2, block.weights), block.index)
        return added(out)

    def residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        if self.local:
            field = flat_parameters(self.field)[1](theta)
            return [local_residuals(field, s) for s in self.samples]
        return [concatenated(partial(self._residuals, s, theta), s.count, fitting(s.count)) for s in self.samples]

    def _residuals(self, s: Samples, theta: np.ndarray, pick: np.ndarray) -> Array:
        return _residuals(s.term, self.layout, theta, self.rest, s.places(pick))

    @property
    def work(self) -> float:
        points = sum(s.count for s in self.samples)
        return points * float(self.size) * min(points, self.size)

    def _accumulate(self, s: Samples, theta: np.ndarray, gradient: np.ndarray, gram: np.ndarray) -> float:
        """Add the own share of a term to gradient and lower Gram matrix, times its scale; return its scaled value."""
        total = 0.0
        for block in self.row_blocks(s, theta, shared=True):
            total += self._slope(s, block, gradient)
            # the lower half only, added in place
            dsyrk(1.0, block.weighted(s.scale, self.size).T, beta=1.0, c=gram, lower=1, overwrite_c=1)
        return total

    def _slope(self, s: Samples, block: RowBlock, gradient: np.ndarray) -> float:
        """Add a block's part of the gradient, times the term's scale; return its scaled value."""
        weights = block.weights * s.scale
        gradient += self._scattered(block.slopes * weights[:, None], block.index)
        return float(weights @ block.values)

    def _scattered(self, values: np.ndarray, index: np.ndarray | None) -> np.ndarray:
        """Sum of rows `(n, k)` at their places among all parameters; `(N,)`."""
        if index is None:
            return values.sum(axis=0)
        return np.bincount(index.ravel(), values.ravel(), minlength=self.size)

    def row_blocks(self, s: Samples, theta: np.ndarray, shared: bool = False) -> Iterator[RowBlock]:
        """Rows of a term, block by block; for `shared` see `evaluated`."""
        if self.local:
            block = lambda pick, e, index: RowBlock(e.rows, e.value, e.gradient, s.weights[pick], index)  # noqa: E731
            return local_expansions(flat_parameters(self.field)[1](theta), s, block, shared)
        most = max(64, min(CHUNK, ROW_ENTRIES // max(self.size, 1)))
        size = fitting(s.count, 1 << (most.bit_length() - 1))

        def kernel(pick: np.ndarray) -> RowBlock:
            values, slopes, rows = _rows(s.term, self.layout, theta, self.rest, s.places(pick))
            return RowBlock(rows, values, slopes, s.weights[pick], None)

        return evaluated(kernel, s.count, size, shared)

    def _matrix_free(self, theta: np.ndarray) -> AbstractCurvature:
        program, data = self.program()

        def product(v: np.ndarray) -> np.ndarray:
            return np.asarray(_product(program, theta, data, v))

        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(8, self.size))
        estimate = np.mean([z * product(z) for z in signs], axis=0)
        return MatrixFreeGram(product, np.maximum(estimate, 1e-3 * np.abs(estimate).mean()))
