r"""Overlapping Schwarz preconditioners with a coarse space, for least squares on subdomains.

The matrix `A = M^T M` of a problem whose blocks are orthonormal on every subdomain has the identity on its diagonal
blocks; what is left of its condition comes from how subdomains meet, and grows like a power of their number. Patches of
neighbouring subdomains remove what is local, a coarse space what reaches across.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl

from hierax.devices import added, beside, own_share, shares
from hierax.solvers.linear.orthogonal import OrthogonalBlocks

ENTRIES = 4_000_000
"""Most numbers of patches that are gathered at once."""

ROUNDING = 1e-13
"""A gradient below this share of the residual's norm is rounding: columns have norm one."""


@dataclass(frozen=True, eq=False)
class System:
    """Gram matrix of orthonormal blocks, with the graph of blocks that meet.

    Attributes
    ----------
    basis:
        The blocks, one a subdomain.
    """

    basis: OrthogonalBlocks

    @cached_property
    def gram(self) -> sp.bsr_array:
        """`A`, `(J K, J K)`, with one on the diagonal of columns that are filled in."""
        k = self.basis.width
        product = sp.csr_array(self.basis.matrix.T @ self.basis.matrix)
        empty = np.arange(self.basis.blocks * k) % k >= np.repeat(self.basis.kept, k)
        gram = sp.bsr_array(product + sp.diags_array(empty.astype(float)), blocksize=(k, k))
        gram.sort_indices()
        return gram

    @cached_property
    def meets(self) -> sp.csr_array:
        """`(J, J)`: the number, from one, of each block of `gram`."""
        gram, count = self.gram, self.basis.blocks
        return sp.csr_array((np.arange(1, len(gram.indices) + 1), gram.indices, gram.indptr), (count, count))

    def neighbours(self, layers: int) -> list[np.ndarray]:
        """For each subdomain itself and those around it, up to so many layers."""
        graph = _ones(self.meets)
        reached = sp.csr_array(sp.eye_array(self.basis.blocks, dtype=np.int32, format="csr"))  # pyright: ignore
        for _ in range(layers):
            reached = _ones(reached @ graph)
        reached.sort_indices()
        return np.split(reached.indices, reached.indptr[1:-1])


def _ones(matrix: sp.csr_array) -> sp.csr_array:
    """The pattern of a matrix without negative entries."""
    return sp.csr_array((np.ones(matrix.nnz, dtype=np.int32), matrix.indices, matrix.indptr), matrix.shape)


class Patches(NamedTuple):
    """Patches of the same number of subdomains: unknowns `(n, s)` and inverse matrices `(n, s, s)`."""

    unknowns: np.ndarray
    inverse: np.ndarray


def patches(system: System, layers: int) -> list[Patches]:
    """The unknowns of each subdomain with its neighbours, and the inverse of their part of the Gram matrix; of several
    processes each has some of them, in parts that devices divide."""
    members = system.neighbours(layers)
    sizes = np.array([len(m) for m in members])
    k, parts = system.basis.width, []
    for size in np.unique(sizes):
        chosen = np.stack([members[j] for j in np.flatnonzero(sizes == size)])
        many = max(len(chosen) * (size * k) ** 2 // ENTRIES, shares())
        parts += np.array_split(chosen, min(many, len(chosen)))

    def inverted(part: np.ndarray) -> Patches:
        size = part.shape[1]
        number = system.meets[part[:, :, None].repeat(size, 2).ravel(), part[:, None, :].repeat(size, 1).ravel()]
        blocks = np.concatenate([np.zeros((1, k, k)), system.gram.data])[np.asarray(number).ravel()]
        matrix = blocks.reshape(-1, size, size, k, k).transpose(0, 1, 3, 2, 4).reshape(-1, size * k, size * k)
        # bases that depend on each other across subdomains make the matrix singular to rounding
        matrix += 1e-10 * size * np.eye(size * k)
        index = (part[:, :, None] * k + np.arange(k)).reshape(-1, size * k)
        return Patches(index, np.linalg.inv(matrix))

    return beside(inverted, own_share(parts))


def corrected(found: list[Patches], r: np.ndarray) -> np.ndarray:
    """The sum of the corrections of all patches for a right-hand side `(n,)`, or several `(n, m)`."""
    columns = r.reshape(len(r), -1)

    def correction(p: Patches) -> np.ndarray:
        return (p.inverse @ columns[p.unknowns]).reshape(p.unknowns.size, -1)

    out = np.zeros_like(columns)
    for p, values in zip(found, beside(correction, found), strict=True):
        for column, own in zip(out.T, values.T, strict=True):
            column += np.bincount(p.unknowns.ravel(), own, minlength=len(r))
    return added(out).reshape(r.shape)


@dataclass(frozen=True, eq=False)
class TwoLevel:
    r"""The preconditioner `Q + (I - Q A) S (I - A Q)` with `Q = Z (Z^T A Z)^{-1} Z^T`; `S` adds all patches.

    Without a coarse space it is `S` alone.

    Parameters
    ----------
    system:
        The problem.
    found:
        Its patches.
    coarse:
        `Z`, `(J K, coarse unknowns)`; nothing for one level.

    References
    ----------
    Nicolaides, SIAM J. Numer. Anal. 24 (1987) (coarse space); Mandel, Comm. Numer. Methods Eng. 9 (1993) (this form);
    Toselli, Widlund, Domain Decomposition Methods (2005).
    """

    system: System
    found: list[Patches]
    coarse: sp.csc_array | None

    @cached_property
    def _projected(self) -> tuple[sp.csr_array, spl.SuperLU]:
        """`A Z`, and a factorisation of `Z^T A Z`."""
        assert self.coarse is not None
        image = sp.csr_array(self.system.gram @ self.coarse)
        matrix = sp.csc_array(self.coarse.T @ image)
        shift = 1e-13 * matrix.diagonal().max(initial=0.0) * sp.eye_array(matrix.shape[0], format="csc")  # pyright: ignore
        options = {"SymmetricMode": True}
        return image, spl.splu(matrix + shift, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)

    def __call__(self, r: np.ndarray) -> np.ndarray:
        if self.coarse is None:
            return corrected(self.found, r)
        image, factor = self._projected
        first = factor.solve(self.coarse.T @ r)
        smooth = corrected(self.found, r - image @ first)
        return smooth + self.coarse @ (first - factor.solve(image.T @ smooth))


class Solved(NamedTuple):
    """Coefficients, iterations, and the preconditioned norm of the gradient over that at the start, step by step."""

    x: np.ndarray
    iterations: int
    norms: np.ndarray


def least_squares(matrix: sp.csc_array, b: np.ndarray, precondition, tolerance: float, most: int) -> Solved:
    r"""Minimise `|M x - b|` by preconditioned conjugate gradients on the normal equations, in the form of CGLS.

    Products are with `M` and `M^T`: with the Gram matrix the attainable error would be that of its square condition.
    Stops where the gradient, measured by the preconditioner, has fallen by `tolerance` or is rounding of the residual.

    References
    ----------
    Björck, Numerical Methods for Least Squares Problems (1996), section 7.4.
    """
    transposed = sp.csr_array(matrix.T)
    rows = sp.csr_array(matrix)
    x, r = np.zeros(matrix.shape[1]), b.copy()  # pyright: ignore
    slope = transposed @ r
    z = precondition(slope)
    direction, size = z, float(slope @ z)
    first, norms = max(size, 1e-300), [1.0]
    while len(norms) <= most and norms[-1] > tolerance:
        image = rows @ direction
        length = size / float(image @ image)
        x += length * direction
        r -= length * image
        slope = transposed @ r
        z = precondition(slope)
        after = float(slope @ z)
        norms.append(float(np.sqrt(max(after, 0.0) / first)))
        direction, size = z + after / size * direction, after
        if not after > (ROUNDING * float(np.linalg.norm(r))) ** 2:
            break
    return Solved(x, len(norms) - 1, np.array(norms))
