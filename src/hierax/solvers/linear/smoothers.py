"""Smoothers of spline grids and networks: blocks that are solved exactly, robust in the degree of the splines.

B-splines of degree `p` overlap with `p` neighbours on either side, so relaxation point by point needs more and more
sweeps as the degree grows. Blocks of `p + 1` neighbours contain the near dependence. In two dimensions the blocks are
strips as long as the domain, along one axis after the other, so that strong coupling along an axis (parabolic
equations, stretched meshes) is solved too; in three dimensions they are cubes. In networks a block is all splines of
one variable.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded, get_lapack_funcs
from scipy.sparse import csr_array

from hierax.devices import added, alone, division, own_share
from hierax.objective.curvature import AbstractCurvature
from hierax.objective.sparse_rows import SparseRowGram
from hierax.objective.stencil import Mesh, StencilGram
from hierax.solvers.linear.solve import Apply, ErrorEstimate, NotPositive, iterated

_factor: Any
_solve: Any
(_factor,) = get_lapack_funcs(("pbtrf",), dtype=np.float64)
KEPT = np.float32
"""Kind of numbers of factors of strips: half of what was the largest part of the memory of large grids."""
(_solve,) = get_lapack_funcs(("pbtrs",), dtype=KEPT)

FEWEST_LINES = 8
"""Fewest lines of a strip: narrower ones lose what is oblique to both axes."""
BLOCK_LIMIT = 160
"""Largest dense block."""
AT_ONCE = 16
"""Strips that are factored at once: their matrices are held in 64 bits."""
DIVIDED = 10_000
"""Fewest parameters of a grid whose strips are divided between processes: below, telling takes as long as solving."""

DAMPING = 1.4
"""Over the largest eigenvalue as far as it is seen, what a relaxation is multiplied by: from 2 on errors would grow."""


@functools.singledispatch
def smoothing(curvature: AbstractCurvature, sweeps: int) -> tuple[Apply, Apply]:
    """Corrections for a residual before and after the coarse one, each map the adjoint of the other.

    Of so many relaxations: by default with the inverse of the diagonal.
    """
    diagonal = curvature.diagonal()
    inverse = 1.0 / np.maximum(diagonal, 1e-12 * max(float(diagonal.max(initial=0.0)), 1e-300))
    smooth = Chebyshev(curvature, lambda residual: inverse * residual, sweeps)
    return smooth, smooth


@smoothing.register
def _(curvature: SparseRowGram, sweeps: int) -> tuple[Apply, Apply]:
    blocks = [VariableBlock(curvature, group) for group in curvature.leaves.groups]
    return VariableSweeps(curvature, blocks * sweeps), VariableSweeps(curvature, blocks[::-1] * sweeps)


@smoothing.register
def _(curvature: StencilGram, sweeps: int) -> tuple[Apply, Apply]:
    order = curvature.mesh.order
    if len(curvature.mesh.axes) != 2:
        smooth = Chebyshev(curvature, order.around(Cubes(curvature)), sweeps)
        return smooth, smooth
    axes = [order.around(_strips(curvature, axis)) for axis in range(2)]
    damped = [(DAMPING / _largest(curvature, relax), relax) for relax in axes]
    turns = [damped[k % 2] for k in range(sweeps)]
    return Successive(curvature, turns), Successive(curvature, turns[::-1])


def _strips(gram: StencilGram, along: int) -> Apply:
    """Strips along an axis; of large grids every process sees to some of them, and corrections are added up."""
    with contextlib.nullcontext() if gram.mesh.size >= DIVIDED else alone():
        own, strips = division(), Strips(gram, along)

    def relax(residual: np.ndarray) -> np.ndarray:
        assert own in (None, division())
        correction = strips(residual)
        return correction if own is None else added(correction)

    return relax


def windows(count: int, width: int, stride: int, periodic: bool) -> np.ndarray:
    """Overlapping windows `(windows, width)` of positions that cover `0 .. count - 1`."""
    width = min(width, count)
    if periodic:
        starts = np.arange(0, count, stride)
        return (starts[:, None] + np.arange(width)) % count
    starts = np.unique(np.append(np.arange(0, count - width, stride), count - width))
    return starts[:, None] + np.arange(width)


def _shares(blocks: np.ndarray, count: int) -> np.ndarray:
    """Square root of the share of each block in each of its members: the corrections are averaged, symmetrically."""
    return 1.0 / np.sqrt(np.bincount(blocks.ravel(), minlength=count)[blocks])


class Strips:
    """Strips of at least `p + 1` lines along one axis of a plane grid, overlapping by half, factored as bands: this
    process' share of them.

    Factors are kept in 32 bits: a relaxation may be inexact as long as it is symmetric and positive definite, as the
    product of a factor and its transpose is. Matrices are scaled to a diagonal of ones and residuals to a largest value
    of one, so that no number leaves the range of 32 bits.

    Acts on vectors in the order (nodes, channel).

    Parameters
    ----------
    gram:
        Curvature on a grid with two axes.
    along:
        The axis that the lines follow.

    Raises
    ------
    NotPositive
        When a strip has no factorisation.
    """

    def __init__(self, gram: StencilGram, along: int) -> None:
        mesh, across = gram.mesh, 1 - along
        self.gram, self.along = gram, along
        width = max(mesh.reach[across] + 1, FEWEST_LINES)
        cross = windows(mesh.nodes[across], width, max(1, width // 2), mesh.periodic[across])
        own = np.array(own_share(range(len(cross))), int)
        self.cross, self.shares = cross[own], _shares(cross, mesh.nodes[across])[own]
        values = gram.values if along == 0 else np.moveaxis(gram.values, (1, 4), (0, 3))
        diagonal = np.diagonal(values[:, :, :, mesh.reach[along], mesh.reach[across]], axis1=2, axis2=3)
        self.scale = 1.0 / np.sqrt(np.maximum(diagonal, 1e-300))
        self.factors = self._factored(values)

    def _factored(self, values: np.ndarray) -> list[np.ndarray]:
        """Factors of all strips; `values` has the axes (line, cross, channel, offset along, offset across, channel)."""
        parts = [self.cross[k : k + AT_ONCE] for k in range(0, len(self.cross), AT_ONCE)]
        found = [pair for part in parts for pair in self._factored_at_once(values, part)]
        if added(float(any(info != 0 for _, info in found))):  # in any process
            raise NotPositive("a strip of the smoother is not positive definite")
        return [factor for factor, _ in found]

    def _factored_at_once(self, values: np.ndarray, cross: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Factors of some strips, and what is wrong with them (0: nothing)."""
        reach_along, reach_across = (values.shape[3] - 1) // 2, (values.shape[4] - 1) // 2
        lines, channels, width = values.shape[0], values.shape[2], cross.shape[1]
        strip = width * channels
        band = np.zeros((len(cross), lines, width, channels, (reach_along + 1) * strip))
        for o in range(reach_along + 1):
            # an axis that wraps around is cut open: what couples its ends is left to the other strips
            stop = lines - o
            for b in range(width):
                first, last = max(0, b - reach_across), min(width, b + reach_across + 1)
                met = self.scale[o:, cross[:, first:last]]
                near = slice(reach_across + first - b, reach_across + last - b)
                for d in range(channels):
                    column = values[:stop, cross[:, b], d, reach_along + o, near]
                    column = column * self.scale[:stop, cross[:, b], d][..., None, None] * met
                    column = np.moveaxis(column.reshape(stop, len(cross), -1), 0, 1)
                    start = o * strip + (first - b) * channels - d
                    above = max(0, -start)  # the other half of a symmetric matrix
                    band[:, :stop, b, d, start + above : start + column.shape[2]] = column[:, :, above:]
        band[..., 0] *= 1.0 + 1e-12
        found = [_factor(part.reshape(lines * strip, -1).T, lower=1, overwrite_ab=1) for part in band]
        return [(factor if info else np.asarray(factor, KEPT, order="F"), info) for factor, info in found]

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        mesh = self.gram.mesh
        grid = self.scale * np.moveaxis(residual.reshape(*mesh.nodes, mesh.channels), self.along, 0)
        size = max(float(np.abs(grid).max()), 1e-300)
        grid, out = grid / size, np.zeros_like(grid)
        for cross, share, factor in zip(self.cross, self.shares, self.factors, strict=True):
            right = (grid[:, cross] * share[:, None]).astype(KEPT)
            solution, _ = _solve(factor, right.reshape(-1, 1), lower=1, overwrite_b=1)
            out[:, cross] += solution.reshape(right.shape) * share[:, None]
        return size * np.moveaxis(self.scale * out, 0, self.along).ravel()


class Cubes:
    """Dense blocks of up to `p + 1` nodes along every axis, overlapping by half.

    Acts on vectors in the order (nodes, channel).

    Parameters
    ----------
    gram:
        Curvature on a grid with any number of axes.

    Raises
    ------
    NotPositive
        When a block has no inverse.
    """

    def __init__(self, gram: StencilGram) -> None:
        mesh = gram.mesh
        most = int((BLOCK_LIMIT / mesh.channels) ** (1 / len(mesh.axes)))
        spans = [
            windows(n, min(p + 1, most), max(1, (min(p + 1, most) + 1) // 2), wraps)
            for n, p, wraps in zip(mesh.nodes, mesh.reach, mesh.periodic, strict=True)
        ]
        self.blocks = _products(spans, mesh)
        self.shares = _shares(self.blocks, mesh.size)
        self.inverses = _inverses(gram, self.blocks, [span.shape[1] for span in spans])

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        right = (self.shares * residual[self.blocks])[:, :, None]
        parts = self.shares * np.matmul(self.inverses, right)[:, :, 0]
        return np.bincount(self.blocks.ravel(), weights=parts.ravel(), minlength=len(residual))


def _products(spans: list[np.ndarray], mesh: Mesh) -> np.ndarray:
    """Unknowns `(blocks, members)` of all products of windows."""
    blocks = np.zeros((1, 1), dtype=np.int64)
    for span, count in zip(spans, mesh.nodes, strict=True):
        blocks = blocks[:, None, :, None] * count + span[None, :, None, :]
        blocks = blocks.reshape(blocks.shape[0] * blocks.shape[1], -1)
    return (blocks[:, :, None] * mesh.channels + np.arange(mesh.channels)).reshape(len(blocks), -1)


def _inverses(gram: StencilGram, blocks: np.ndarray, widths: list[int]) -> np.ndarray:
    """Inverse matrices of the blocks."""
    mesh, members = gram.mesh, blocks.shape[1]
    node = np.array(np.unravel_index(np.arange(members) // mesh.channels, widths))
    slot = np.zeros((members, members), dtype=np.int64)
    for a, p in enumerate(mesh.reach):
        slot = slot * (2 * p + 1) + node[a][None, :] - node[a][:, None] + p
    slot = slot * mesh.channels + np.arange(members) % mesh.channels
    flat, per_row = gram.values.reshape(-1), math.prod(mesh.shape[len(mesh.axes) + 1 :])
    out = np.empty((len(blocks), members, members))
    for start in range(0, len(blocks), 256):
        part = blocks[start : start + 256]
        matrices = flat[part[:, :, None] * per_row + slot]
        scale = 1.0 / np.sqrt(np.maximum(np.diagonal(matrices, axis1=1, axis2=2), 1e-300))
        matrices *= scale[:, :, None] * scale[:, None, :]
        matrices[:, np.arange(members), np.arange(members)] = 1.0 + 1e-12
        try:
            inverse = np.linalg.inv(matrices)
        except np.linalg.LinAlgError as error:
            raise NotPositive("a block of the smoother is singular") from error
        out[start : start + 256] = 0.5 * (inverse + np.swapaxes(inverse, 1, 2)) * scale[:, :, None] * scale[:, None, :]
    return out


class VariableBlock:
    """All splines of one variable: their rows, and their block of the matrix, factored as a band.

    Parameters
    ----------
    gram:
        Curvature of a spline network.
    index:
        The parameters, neighbouring knots together.

    Raises
    ------
    NotPositive
        When the block has no factorisation.
    """

    def __init__(self, gram: SparseRowGram, index: np.ndarray) -> None:
        self.index, self.rows = index, csr_array(gram.rows[:, index])
        block = (self.rows.T @ self.rows).tocoo()
        self.scale = 1.0 / np.sqrt(np.maximum(block.diagonal(), 1e-300))
        keep = block.row >= block.col
        row, column = block.row[keep], block.col[keep]
        band = np.zeros((int(np.max(row - column, initial=0)) + 1, len(index)))
        band[row - column, column] = block.data[keep] * self.scale[row] * self.scale[column]
        band[0] = 1.0 + 1e-12
        try:
            self.factor = cholesky_banded(band, overwrite_ab=True, lower=True)
        except (LinAlgError, ValueError) as error:
            raise NotPositive("a block of the smoother is not positive definite") from error

    def solve(self, residual: np.ndarray) -> np.ndarray:
        """Correction of the block for its residual."""
        return self.scale * cho_solve_banded((self.factor, True), self.scale * residual, check_finite=False)


class VariableSweeps:
    """One block after another solved exactly (Gauss and Seidel); the residual is kept in the space of the rows.

    Parameters
    ----------
    gram, blocks:
        Curvature, and its blocks in the order of the sweep.
    """

    def __init__(self, gram: SparseRowGram, blocks: list[VariableBlock]) -> None:
        self.gram, self.blocks = gram, blocks

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        total, image = np.zeros_like(residual), np.zeros(self.gram.rows.shape[0])  # pyright: ignore
        for block in self.blocks:
            change = block.solve(residual[block.index] - block.rows.T @ image)
            total[block.index] += change
            image += block.rows @ change
        return total


class Successive:
    """Relaxations one after another, each of the residual that those before have left.

    Parameters
    ----------
    curvature, turns:
        Operator, and the relaxations in their order, each with what its correction is multiplied by.
    """

    def __init__(self, curvature: AbstractCurvature, turns: Sequence[tuple[float, Apply]]) -> None:
        self.curvature, self.turns = curvature, turns

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        (length, relax), *others = self.turns
        total = length * relax(residual)
        for length, relax in others:
            total += length * relax(residual - self.curvature.mv(total))
        return total


class Chebyshev:
    r"""Polynomial acceleration of a relaxation: the error is damped evenly over the upper part of the spectrum.

    The polynomial is the scaled Chebyshev polynomial on `[share b, b]`, with `b` slightly above the largest eigenvalue
    of the relaxed operator, as few iterations of Lanczos' see it.

    Parameters
    ----------
    curvature, relax:
        Operator and relaxation.
    degree:
        Relaxations a sweep.
    share:
        Lower end of the damped part of the spectrum, as a share of its upper end.

    References
    ----------
    Adams, Brezina, Hu, Tuminaro, J. Comput. Phys. 188 (2003) 593-610.
    """

    def __init__(self, curvature: AbstractCurvature, relax: Apply, degree: int = 2, share: float = 0.15) -> None:
        self.curvature, self.relax, self.degree = curvature, relax, degree
        upper = 1.15 * _largest(curvature, relax)
        self.middle, self.half = 0.5 * (1.0 + share) * upper, 0.5 * (1.0 - share) * upper

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        sigma = self.middle / self.half
        rho, change = 1.0 / sigma, self.relax(residual) / self.middle
        total = change
        for _ in range(self.degree - 1):
            residual = residual - self.curvature.mv(change)
            following = 1.0 / (2.0 * sigma - rho)
            change = following * rho * change + 2.0 * following / self.half * self.relax(residual)
            total, rho = total + change, following
        return total


def _largest(curvature: AbstractCurvature, relax: Apply) -> float:
    """Largest eigenvalue of the relaxed operator, as few iterations see it."""
    b = np.random.default_rng(0).normal(size=curvature.size)
    found = iterated(curvature.mv, b, relax, ErrorEstimate(0.0), 6).largest
    if not found > 0.0:
        raise NotPositive("the relaxed matrix is not positive definite")
    return found
