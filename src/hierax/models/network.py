"""A multigrid network for functions on grids: patches, a U of coarser and coarser grids, and patches again.

Values of a patch become channels, so that all convolutions work on a grid that is coarser by the size of a patch; the U
goes down to coarser ones, where a block costs a quarter each time. Any number of cells fits that is a multiple of the
patch on the coarsest grid; what was learned is a map between cells of one size.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.models.grids import mean_of_images

LETTERS = "DHW"
"""Names of the axes of grids for convolutions."""
PATCHED = 16
"""Cells along an axis that the finest grid of a network keeps at least."""


class Convolution(eqx.Module):
    """A convolution that keeps the grid, with zeros beyond its ends, or periodic."""

    kernel: Float[Array, "..."]
    bias: Float[Array, " out"]
    periodic: bool = eqx.field(static=True)

    @classmethod
    def drawn(cls, rng: np.random.Generator, dim: int, into: int, out: int, gain: float, periodic: bool) -> Convolution:
        """Three cells along each axis, normal weights."""
        shape = (3,) * dim + (into, out)
        weights = rng.standard_normal(shape) * gain / np.sqrt(3**dim * into)
        return cls(jnp.asarray(weights, jnp.float32), jnp.zeros(out, jnp.float32), periodic)

    def __call__(self, x: Float[Array, "batch *grid channels"]) -> Float[Array, "batch *grid out"]:
        axes = LETTERS[: x.ndim - 2]
        if self.periodic:
            x = jnp.pad(x, [(0, 0), *[(1, 1)] * len(axes), (0, 0)], mode="wrap")
        return (
            jax.lax.conv_general_dilated(
                x, self.kernel, (1,) * len(axes), "VALID" if self.periodic else "SAME",
                dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
            )
            + self.bias
        )  # fmt: skip


class Mixing(eqx.Module):
    """A linear map of the channels of every cell."""

    kernel: Float[Array, "into out"]
    bias: Float[Array, " out"]

    @classmethod
    def drawn(cls, rng: np.random.Generator, into: int, out: int, gain: float) -> Mixing:
        """Normal weights."""
        weights = rng.standard_normal((into, out)) * gain / np.sqrt(into)
        return cls(jnp.asarray(weights, jnp.float32), jnp.zeros(out, jnp.float32))

    def __call__(self, x: Float[Array, "... into"]) -> Float[Array, "... out"]:
        return x @ self.kernel + self.bias


class ResidualBlock(eqx.Module):
    """`x + conv(act(conv(act(x))))`."""

    first: Convolution
    second: Convolution

    @classmethod
    def drawn(cls, rng: np.random.Generator, dim: int, width: int, periodic: bool) -> ResidualBlock:
        """A block that changes little at first."""
        return cls(
            Convolution.drawn(rng, dim, width, width, 1.4, periodic),
            Convolution.drawn(rng, dim, width, width, 0.3, periodic),
        )

    def __call__(self, x: Float[Array, "batch *grid width"]) -> Float[Array, "batch *grid width"]:
        return x + self.second(jax.nn.gelu(self.first(jax.nn.gelu(x))))


class MultigridNetwork(eqx.Module):
    """See the head of the file.

    Attributes
    ----------
    stem, down, up, before, after, head:
        From patches to the first grid, between grids, the blocks on each on the way down and up, and to patches.
    patch:
        Cells of a patch along each axis.
    """

    stem: Convolution
    down: tuple[Mixing, ...]
    up: tuple[Mixing, ...]
    before: tuple[tuple[ResidualBlock, ...], ...]
    after: tuple[tuple[ResidualBlock, ...], ...]
    head: Mixing
    patch: int = eqx.field(static=True)

    @classmethod
    def drawn(
        cls, key: int, dim: int, into: int, out: int, *, patch: int = 4, widths: Sequence[int] = (48, 64, 64),
        blocks: Sequence[int] = (2, 1, 2), gain: float = 0.1, periodic: bool = False,
    ) -> MultigridNetwork:  # fmt: skip
        """A network with random weights.

        Parameters
        ----------
        key, dim, into, out:
            Seed, axes of the grid, channels of inputs and outputs.
        widths, blocks:
            Channels and blocks on each grid, the finest first.
        gain:
            Size of the outputs at first.
        """
        rng = np.random.default_rng(key)
        pairs = list(itertools.pairwise(widths))
        some = lambda k: tuple(ResidualBlock.drawn(rng, dim, widths[k], periodic) for _ in range(blocks[k]))  # noqa: E731
        return cls(
            Convolution.drawn(rng, dim, into * patch**dim, widths[0], 1.0, periodic),
            tuple(Mixing.drawn(rng, a * 2**dim, b, 1.0) for a, b in pairs),
            tuple(Mixing.drawn(rng, b, a * 2**dim, 0.5) for a, b in pairs),
            tuple(some(k) for k in range(len(widths))),
            tuple(some(k) for k in range(len(widths) - 1)),
            Mixing.drawn(rng, widths[0], out * patch**dim, gain),
            patch,
        )

    def __call__(self, x: Float[Array, "batch *grid into"]) -> Float[Array, "batch *grid out"]:
        x = self.stem(to_channels(x, self.patch))
        skipped = []
        for level, blocks in enumerate(self.before):
            for block in blocks:
                x = block(x)
            if level < len(self.down):
                skipped.append(x)
                x = self.down[level](to_channels(x, 2))
        for level in reversed(range(len(self.down))):
            x = skipped[level] + to_cells(self.up[level](jax.nn.gelu(x)), 2)
            for block in self.after[level]:
                x = block(x)
        return to_cells(self.head(jax.nn.gelu(x)), self.patch)


def fitting(grid: tuple[int, ...], largest: int, levels: int) -> tuple[int, int]:
    """Cells along an axis of the largest patches, and the number of grids, up to limits, that fit a grid of cells."""
    patch = largest
    while patch > 1 and (min(grid) // patch < PATCHED or any(n % patch for n in grid)):
        patch //= 2
    while levels > 1 and any(n % (patch * 2 ** (levels - 1)) or n < patch * 2 ** (levels + 1) for n in grid):
        levels -= 1
    return patch, levels


def predicted(network: Any, seen: Any, base: Any, size: Any, scale: Any) -> Float[Array, "batch *grid c"]:
    """What a network makes of a batch: values, each with a factor that it chooses; with a base what this lacks.

    Of what a base lacks a part is its slopes, each with a factor that the network chooses, as in expansions of
    homogenisation: the first outputs are values and logarithms of factors, and the others, if any, factors of slopes.
    """
    out, count = network(seen), len(scale)
    values = out[..., :count] * jnp.exp(jnp.clip(out[..., count : 2 * count], -4.0, 4.0))
    if out.shape[-1] > 2 * count:
        values = values + jnp.sum(out[..., 2 * count :] * slopes(base), axis=-1, keepdims=True)
    return size * scale * values if base is None else base + size * scale * values


def mean_predicted(
    network: Any, seen: Any, base: Any, size: Any, scale: Any, moves: tuple[tuple[str, int], ...]
) -> Float[Array, "batch *grid c"]:
    """`predicted` as the mean over flips and swaps of what it is given, see `hierax.models.grids.mean_of_images`."""
    parts = (seen, size) if base is None else (seen, size, base)
    own: Callable[..., Any] = lambda x, size, base=None: predicted(network, x, base, size, scale)  # noqa: E731
    return mean_of_images(own, parts, moves)


def slopes(base: Float[Array, "batch *grid 1"]) -> Float[Array, "batch *grid dim"]:
    """Differences of a function along each axis, of mean square one over a sample."""
    parts = [jnp.asarray(jnp.gradient(base[..., 0], axis=axis)) for axis in range(1, base.ndim - 1)]
    found = jnp.stack(parts, axis=-1)
    square = jnp.mean(jnp.sum(found**2, axis=-1, keepdims=True), axis=tuple(range(1, base.ndim)), keepdims=True)
    return found / jnp.maximum(jnp.sqrt(square), 1e-30)


def to_channels(x: Any, size: int) -> Any:
    """Patches `(size, ..., size)` as channels: `(batch, *grid, c)` to `(batch, *grid / size, c size^d)`."""
    batch, *grid, channels = x.shape
    dim = len(grid)
    split = [part for n in grid for part in (n // size, size)]
    x = x.reshape(batch, *split, channels)
    order = (0, *range(1, 2 * dim, 2), *range(2, 2 * dim + 1, 2), 2 * dim + 1)
    return x.transpose(order).reshape(batch, *(n // size for n in grid), size**dim * channels)


def to_cells(x: Any, size: int) -> Any:
    """The inverse of `to_channels`."""
    batch, *grid, channels = x.shape
    dim = len(grid)
    x = x.reshape(batch, *grid, *(size,) * dim, channels // size**dim)
    order = [0, *(axis for k in range(dim) for axis in (1 + k, 1 + dim + k)), 1 + 2 * dim]
    return x.transpose(order).reshape(batch, *(n * size for n in grid), channels // size**dim)
