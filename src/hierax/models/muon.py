"""Muon: steps of equal size for every direction of a kernel, and Adam for what is no matrix.

The momentum `M` of a kernel, as a matrix `(r, c)` from all that it reads to channels, is replaced by nearly the
orthogonal factor of its polar decomposition. The odd polynomials that lead there are `M` times polynomials of the Gram
matrix `M'M`: all products but two are of matrices `(c, c)`, and kernels of one width are treated together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

QUINTIC, ROUNDS = (3.4445, -4.7750, 2.0315), 5
"""Coefficients of the odd polynomial that lifts small singular values fastest; how often it is applied."""
MOMENTUM, SIZE = 0.95, 0.2
"""Of the gradients; root mean square of the entries of a step of rate one."""
LEAST = 8
"""Fewest channels of a matrix."""


class MuonState(NamedTuple):
    """Momenta of all matrices, in the order of the leaves."""

    momenta: tuple[Array, ...]


def muon(rate: float, own: float, decay: float = 0.0) -> optax.GradientTransformation:
    """Muon with a rate for matrices, of which a step takes the part `rate * decay`, and Adam with one for other leaves.

    References
    ----------
    Liu et al., arXiv 2502.16982 (Muon, and sizes of steps that suit Adam's).
    """

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: "matrix" if _is_matrix(leaf) else "other", params)

    matrix = optax.chain(_orthogonal(), optax.add_decayed_weights(decay), optax.scale(-rate))
    return optax.multi_transform({"matrix": matrix, "other": optax.nadam(own, b2=0.99)}, labels)


def _is_matrix(leaf: Any) -> bool:
    return leaf.ndim >= 2 and leaf.shape[-1] >= LEAST


def _orthogonal() -> optax.GradientTransformation:
    """Momenta, with that of the step to come, as orthogonal matrices."""

    def init(params: Any) -> MuonState:
        return MuonState(tuple(jnp.zeros_like(leaf) for leaf in jax.tree.leaves(params)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, MuonState]:
        del params
        leaves, tree = jax.tree.flatten(updates)
        momenta = tuple(MOMENTUM * m + (1.0 - MOMENTUM) * g for m, g in zip(state.momenta, leaves, strict=True))
        ahead = [MOMENTUM * m + (1.0 - MOMENTUM) * g for m, g in zip(momenta, leaves, strict=True)]
        return tree.unflatten(_polar(ahead)), MuonState(momenta)

    return optax.GradientTransformation(init, update)


def _polar(kernels: list[Array]) -> list[Array]:
    """Nearly the polar factor of each, in the size of a step."""
    matrices = [kernel.reshape(-1, kernel.shape[-1]) for kernel in kernels]
    wide = [matrix.shape[0] < matrix.shape[1] for matrix in matrices]
    tall = [matrix.T if across else matrix for matrix, across in zip(matrices, wide, strict=True)]
    tall = [matrix / (jnp.linalg.norm(matrix) + 1e-30) for matrix in tall]
    found = list(tall)
    for width in {matrix.shape[1] for matrix in tall}:
        own = [k for k, matrix in enumerate(tall) if matrix.shape[1] == width]
        for k, factor in zip(own, lifting(jnp.stack([tall[k].T @ tall[k] for k in own])), strict=True):
            made = SIZE * tall[k].shape[0] ** 0.5 * (tall[k] @ factor)
            found[k] = made.T if wide[k] else made
    return [one.reshape(kernel.shape) for one, kernel in zip(found, kernels, strict=True)]


def lifting(gram: Float[Array, "n c c"]) -> Float[Array, "n c c"]:
    """Matrices `Q` that make `M Q` nearly orthogonal, from the Gram matrices `M'M` of matrices of norm one."""
    one, three, five = QUINTIC
    unit = jnp.eye(gram.shape[-1], dtype=gram.dtype)
    found = jnp.broadcast_to(unit, gram.shape)
    for _ in range(ROUNDS):
        factor = one * unit + three * gram + five * gram @ gram
        found, gram = found @ factor, gram @ factor @ factor
    return found
