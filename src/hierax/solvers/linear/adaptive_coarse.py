"""A coarse space that is found by applying the preconditioner: whatever it is slow at, smooth or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hierax.solvers.linear.coarse_spaces import AbstractCoarseSpace, Nicolaides, Part
from hierax.solvers.linear.orthogonal import OrthogonalBlocks
from hierax.solvers.linear.schwarz import TwoLevel


@dataclass(frozen=True)
class AdaptiveCoarseSpace(AbstractCoarseSpace):
    r"""A coarse space, and beside it what its two-level method `P` is slow at, found from random vectors.

    Wide overlaps and local fields of low degree make bases that depend on each other nearly, across all subdomains: for
    polynomials of degree 3 and an overlap of 1.9, a sum of windows times one odd polynomial, the same on all
    subdomains, has coefficients of order one and values of order 1e-5. Such vectors with a smooth envelope are small
    under `A` and no polynomial is near them, so that iterations grow with the number of subdomains. They look alike
    everywhere: a Chebyshev polynomial in `P A` damps all but them in random vectors, `x -> T_d((c - P A)/h) x /
    T_d(c/h)` with `[c - h, c + h]` from `share` of the largest eigenvalue up to it, and the leading left singular
    vectors of what is left on each subdomain, `(K, vectors)`, become columns of `Z`.

    It costs as much as `degree` iterations with `count` right-hand sides at once. With the overlap above iterations for
    16, 64, 256 and 1024 subdomains in the plane were 25, 52, 89, 153 without and 27, 37, 38, 39 with it, at equal
    seconds for 1024; where nothing is slow nothing is added (the study `schwarz-scaling`). What is added is orthogonal,
    on every subdomain, to what was known.

    Parameters
    ----------
    first:
        The coarse space to begin with.
    count:
        Random vectors, and most directions that a subdomain gets.
    degree:
        Of the Chebyshev polynomial.
    share:
        Lower end of the eigenvalues that are damped, as a share of the largest.
    threshold:
        A direction is taken where it keeps so much of its size, in the root mean square over the vectors.
    seed:
        Of the random vectors.

    References
    ----------
    Brezina, Falgout, MacLachlan, Manteuffel, McCormick, Ruge, SIAM Review 47 (2005), for the idea in multigrid;
    Spillane, Dolean, Hauret, Nataf, Pechstein, Scheichl, Numer. Math. 126 (2014), for coarse spaces of local modes.
    """

    first: AbstractCoarseSpace = Nicolaides()
    count: int = 8
    degree: int = 20
    share: float = 0.065
    threshold: float = 2e-3
    seed: int = 0

    def vectors(self, part: Part, basis: OrthogonalBlocks) -> sp.csc_array | None:
        return self.first.vectors(part, basis)

    def improved(self, two_level: TwoLevel) -> TwoLevel:
        basis = two_level.system.basis
        start = np.random.default_rng(self.seed).normal(size=(basis.blocks, basis.width, self.count))
        start *= (np.arange(basis.width) < basis.kept[:, None])[:, :, None]
        slow = self._filtered(two_level, start.reshape(-1, self.count)).reshape(start.shape)
        if two_level.coarse is not None:
            slow = np.stack([_without(known, part) for known, part in zip(_blocks(two_level), slow, strict=True)])
        directions, sizes, _ = np.linalg.svd(slow / np.sqrt(self.count), full_matrices=False)
        block, column = np.nonzero(sizes > self.threshold)
        if not len(block):
            return two_level
        rows = block[:, None] * basis.width + np.arange(basis.width)
        numbers = np.broadcast_to(np.arange(len(block))[:, None], rows.shape)
        shape = (basis.blocks * basis.width, len(block))
        found = sp.csc_array((directions[block, :, column].ravel(), (rows.ravel(), numbers.ravel())), shape)
        known = [] if two_level.coarse is None else [two_level.coarse]
        return dataclasses.replace(two_level, coarse=sp.csc_array(sp.hstack([*known, found], format="csc")))

    def _filtered(self, two_level: TwoLevel, x: np.ndarray) -> np.ndarray:
        """The Chebyshev polynomial applied to `x`, `(n, count)`."""
        gram = two_level.system.gram
        upper = 1.1 * _largest(two_level, x[:, 0])
        middle, half = 0.5 * upper * (1.0 + self.share), 0.5 * upper * (1.0 - self.share)
        factor = half / middle
        before, now = x, x - two_level(gram @ x) / middle
        for _ in range(self.degree - 1):
            after = 1.0 / (2.0 * middle / half - factor)
            step = middle * now - two_level(gram @ now)
            before, now = now, 2.0 * after / half * step - after * factor * before
            factor = after
        return now


def _blocks(two_level: TwoLevel) -> Iterator[np.ndarray]:
    """What the coarse space holds on each block, `(K, columns)`."""
    k = two_level.system.basis.width
    rows = sp.csr_array(two_level.coarse)
    for j in range(two_level.system.basis.blocks):
        part = rows[j * k : (j + 1) * k]
        used = np.unique(part.indices)
        yield part[:, used].toarray()


def _without(known: np.ndarray, part: np.ndarray) -> np.ndarray:
    """What is orthogonal to the columns known: twice the same direction would leave `Z^T A Z` singular to rounding."""
    directions, sizes, _ = np.linalg.svd(known, full_matrices=False)
    directions = directions[:, sizes > 1e-10 * sizes.max(initial=0.0)]
    return part - directions @ (directions.T @ part)


def _largest(two_level: TwoLevel, x: np.ndarray, steps: int = 12) -> float:
    """Estimate from below of the largest eigenvalue of `P A`, by power iteration."""
    largest = 1.0
    for _ in range(steps):
        after = two_level(two_level.system.gram @ x)
        largest = float(np.linalg.norm(after)) / max(float(np.linalg.norm(x)), 1e-300)
        x = after / max(float(np.linalg.norm(after)), 1e-300)
    return largest
