"""Functions on grids: norms of their errors, other resolutions, and which flips and turns leave a family as it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import make_interp_spline

SIGMAS = 4.0
"""Standard deviations that a mean over the samples may differ from its mirror image."""


def relative_errors(
    found: Float[Array, "batch *grid c"], exact: Float[Array, "batch *grid c"], periodic: bool
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """Relative errors in L2, and in the norm of the differences between neighbours (H1), of each sample."""
    axes = tuple(range(1, exact.ndim))
    l2 = _ratio(jnp.sum((found - exact) ** 2, axes), jnp.sum(exact**2, axes))
    error, size = jnp.zeros(()), jnp.zeros(())
    for axis in axes[:-1]:
        error = error + jnp.sum(differences(found - exact, axis, periodic) ** 2, axes)
        size = size + jnp.sum(differences(exact, axis, periodic) ** 2, axes)
    return l2, _ratio(error, size)


def _ratio(error: Any, size: Any) -> Any:
    """Root of a quotient, whose derivative is finite where there is no error."""
    return jnp.sqrt(error / jnp.maximum(size, 1e-30) + 1e-16)


def differences(values: Any, axis: int, periodic: bool) -> Any:
    """Differences between neighbours along an axis."""
    if periodic:
        return jnp.roll(values, -1, axis) - values
    return jnp.diff(values, axis=axis)


def resampled(values: np.ndarray, cells: tuple[int, ...], periodic: bool) -> np.ndarray:
    """Cell values `(n, *grid, c)` on a grid with other cells, by cubic splines along each; one serves all."""
    for axis, count in enumerate(cells, 1):
        own = values.shape[axis]
        if own == count:
            continue
        if own == 1:
            values = np.repeat(values, count, axis)
            continue
        x, at = (np.arange(own) + 0.5) / own, (np.arange(count) + 0.5) / count
        if periodic:
            x, values = np.append(x, x[0] + 1.0), np.concatenate([values, values.take([0], axis)], axis)
            at = x[0] + np.mod(at - x[0], 1.0)
        kind = "periodic" if periodic else None
        values = make_interp_spline(x, values, k=min(3, own - 1), axis=axis, bc_type=kind)(at)
    return values


def between(own: tuple[int, ...], cells: tuple[int, ...], periodic: bool) -> Callable[[Any], Any]:
    """`resampled` of functions `(n, *own)`, or of numbers `(n,)` as constants, for arrays that are traced."""
    if not own:
        return lambda numbers: jnp.broadcast_to(numbers.reshape(-1, *(1,) * len(cells)), (numbers.shape[0], *cells))
    matrices = [resampled(np.eye(a)[..., None], (b,), periodic)[..., 0] for a, b in zip(own, cells, strict=True)]

    def moved(values: Any) -> Any:
        for matrix in matrices:
            # every axis goes to the end in its turn
            values = jnp.tensordot(values, matrix, (1, 0))
        return values

    return moved


def symmetries(inputs: np.ndarray, outputs: np.ndarray) -> list[tuple[str, int]]:
    """Flips of axes (`("flip", axis)`) and whether the first two may be swapped (`("swap", 0)`), as far as data tell.

    A symmetry leaves the law of pairs of inputs and outputs as it is: then means, mean squares, and means of products
    of inputs and their squares, also of shifted ones, with outputs are those of mirrored samples, within what so few
    samples tell. Arrays are `(n, *grid, c)`, axes counted from the first of the grid.
    """
    dim = inputs.ndim - 2
    found = [("flip", k) for k in range(dim) if _same(inputs, outputs, lambda a, k=k: np.flip(a, k + 1))]
    square = dim >= 2 and inputs.shape[1] == inputs.shape[2]
    if square and _same(inputs, outputs, lambda a: np.swapaxes(a, 1, 2)):
        found.append(("swap", 0))
    return found


def _same(inputs: np.ndarray, outputs: np.ndarray, moved: Any) -> bool:
    """Whether moments of samples and of moved samples agree, cell by cell on a coarse grid."""
    a, u = (_coarse(part) for part in (inputs, outputs))
    b, v = moved(a), moved(u)
    shifts = [np.roll(_coarse(inputs), 1, axis=axis) for axis in range(1, inputs.ndim - 1)]
    moved_shifts = [np.roll(b, 1, axis=axis) for axis in range(1, inputs.ndim - 1)]
    own, other = _moments(u, a, shifts), _moments(v, b, moved_shifts)
    for one, two in zip(own, other, strict=True):
        apart = one - two
        spread = apart.std(axis=0) / np.sqrt(len(apart))
        if np.any(np.abs(apart.mean(axis=0)) > SIGMAS * spread + 1e-6 * np.abs(one).max()):
            return False
    return True


def _moments(u: np.ndarray, a: np.ndarray, shifts: list[np.ndarray]) -> list[np.ndarray]:
    """What means are compared of; products of third order tell a mirror from one that changes all signs as well."""
    mean = u.mean(-1, keepdims=True)
    return [u, u**2, a, a**2, *(x**k * mean for x in (a, *shifts) for k in (1, 2))]


def _coarse(values: np.ndarray, cells: int = 8) -> np.ndarray:
    """Means over blocks: at most `cells` along each axis."""
    for axis in range(1, values.ndim - 1):
        count = values.shape[axis]
        block = max(1, count // cells)
        kept = values.take(np.arange(count // block * block), axis)
        shape = (*values.shape[:axis], count // block, block, *values.shape[axis + 1 :])
        values = kept.reshape(shape).mean(axis + 1)
    return values


def moved_batch(values: Any, moves: Float[Array, " moves"], kinds: tuple[tuple[str, int], ...]) -> Any:
    """A batch with the moves that are switched on by `moves` above 0.5 (traced); all samples alike."""
    for on, (kind, axis) in zip(moves, kinds, strict=True):
        values = jnp.where(on > 0.5, _moved(values, ((kind, axis),)), values)
    return values


def mean_of_images(function: Callable[..., Any], values: tuple[Any, ...], kinds: tuple[tuple[str, int], ...]) -> Any:
    """The mean of a function of batches over all combinations of moves, each undone on its result.

    It changes with the functions as these are moved. The function is called once, with all images as one batch.
    """
    images = [tuple(itertools.compress(kinds, on)) for on in itertools.product((0, 1), repeat=len(kinds))]
    found = function(*(jnp.concatenate([_moved(part, own) for own in images]) for part in values))
    found = found.reshape(len(images), values[0].shape[0], *found.shape[1:])
    return sum(_moved(found[k], own[::-1]) for k, own in enumerate(images)) / len(images)


def _moved(values: Any, kinds: tuple[tuple[str, int], ...]) -> Any:
    """A batch after moves, one after the other."""
    for kind, axis in kinds:
        values = jnp.flip(values, axis + 1) if kind == "flip" else jnp.swapaxes(values, 1, 2)
    return values
