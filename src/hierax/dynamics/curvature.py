r"""The curvature of an objective: density and ratio of eigenvalues.

The density of the eigenvalues of a symmetric operator `A` of size `N`,
:math:`\phi(t) = \frac1N \sum_i \delta(t - \lambda_i)`, is estimated without them by Lanczos quadrature: the tridiagonal
matrix of `k` Lanczos steps from a random unit vector has eigenvalues (Ritz values) that are the nodes, and eigenvectors
whose squared first components are the weights, of a Gauss quadrature that is exact for polynomials of degree `2k - 1`;
several random vectors are averaged.

The operators of this library act on the host (bands, stencils, rows), so Lanczos is written here in NumPy: libraries in
JAX trace the product, which these cannot be.

References
----------
Golub, Meurant, Matrices, Moments and Quadrature (2010); Ghorbani, Krishnan, Xiao, ICML 2019, arXiv 1901.10159.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float

Apply = Callable[[np.ndarray], np.ndarray]


class Density(NamedTuple):
    """Nodes and weights of a quadrature for the density of eigenvalues; weights add up to one, nodes are sorted."""

    nodes: Float[np.ndarray, " k"]
    weights: Float[np.ndarray, " k"]

    def mean(self, function: Callable[[np.ndarray], np.ndarray]) -> float:
        """Mean of a function over the eigenvalues."""
        return float(self.weights @ function(self.nodes))

    def share(self, low: float, high: float) -> float:
        """Share of the eigenvalues between two bounds."""
        return float(self.weights[(self.nodes >= low) & (self.nodes <= high)].sum())


def density(product: Apply, size: int, steps: int = 60, probes: int = 4, seed: int = 0) -> Density:
    """Density of the eigenvalues of a symmetric operator by Lanczos quadrature.

    Parameters
    ----------
    product:
        With a vector `(size,)`.
    steps, probes:
        Lanczos steps from each of so many random vectors; `steps * probes` products.
    """
    rng = np.random.default_rng(seed)
    nodes, weights = [], []
    for _ in range(probes):
        diagonal, beside = lanczos(product, rng.normal(size=size), min(steps, size))
        values, vectors = scipy.linalg.eigh_tridiagonal(diagonal, beside)
        nodes.append(values)
        weights.append(vectors[0] ** 2 / probes)
    order = np.argsort(np.concatenate(nodes))
    return Density(np.concatenate(nodes)[order], np.concatenate(weights)[order])


def lanczos(product: Apply, start: Float[np.ndarray, " n"], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal and off-diagonal of the tridiagonal matrix; fewer where the vectors span an invariant space."""
    basis = [start / np.linalg.norm(start)]
    diagonal, beside = [], []
    for _ in range(steps):
        vector = product(basis[-1])
        diagonal.append(float(basis[-1] @ vector))
        for _ in range(2):  # orthogonal to all: rounding would make copies of eigenvalues
            known = np.array(basis)
            vector = vector - known.T @ (known @ vector)
        length = float(np.linalg.norm(vector))
        if len(diagonal) == steps or length < 1e-12 * max(np.abs(diagonal).max(), 1e-300):
            break
        beside.append(length)
        basis.append(vector / length)
    return np.array(diagonal), np.array(beside)


class Conditioning(NamedTuple):
    """Largest over smallest eigenvalue that iterations see, without and with a preconditioner."""

    plain: float
    preconditioned: float


def conditioning(
    product: Apply, preconditioner: Apply, size: int, steps: int = 80, smallest: float = 1e-14
) -> Conditioning:
    r"""Condition numbers of `A` and of `M^{-1} A` for a symmetric positive definite preconditioner.

    Lower bounds, from the extreme Ritz values: those of conjugate gradients after as many steps. The second is that of
    Lanczos in the energy inner product of `M^{-1}`.

    Parameters
    ----------
    preconditioner:
        Product with `M^{-1}`.
    smallest:
        Ritz values below this share of the largest are a null space and do not count.
    """
    start = np.random.default_rng(0).normal(size=size)
    plain = scipy.linalg.eigh_tridiagonal(*lanczos(product, start, min(steps, size)), eigvals_only=True)
    basis: list[np.ndarray] = []
    images: list[np.ndarray] = []
    diagonal, beside = [], []
    residual = start
    for _ in range(min(steps, size)):
        for _ in range(2):
            for vector, image in zip(basis, images, strict=True):
                residual = residual - (vector @ residual) * image
        vector = preconditioner(residual)
        length = float(np.sqrt(max(vector @ residual, 0.0)))
        if basis and length < 1e-12 * max(np.abs(diagonal).max(), 1e-300):
            break
        if basis:
            beside.append(length)
        basis.append(vector / length)
        images.append(residual / length)
        residual = product(basis[-1])
        diagonal.append(float(basis[-1] @ residual))
    better = scipy.linalg.eigh_tridiagonal(np.array(diagonal), np.array(beside), eigvals_only=True)

    def ratio(found: Any) -> float:
        values = np.asarray(found)
        seen = values[values > smallest * values.max()]
        return float(seen.max() / seen.min())

    return Conditioning(ratio(plain), ratio(better))
