"""A spline grid of several channels that a small network decodes: local coefficients, few shared parameters."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.base import AbstractField, AbstractLocalField, parameter_count
from hierax.fields.initial import Key, generator_of
from hierax.fields.inputs import InputBox
from hierax.fields.mlp import MLP
from hierax.fields.spline_grid import LocalSplineGrid, SplineGrid, with_coefficients


class Decoder(eqx.Module):
    r"""From channels :math:`f` to values: :math:`u = f_{1..m} + N(f, x)` with a network :math:`N`.

    The first channels are added as they are, so whatever a spline grid represents is represented.

    Parameters
    ----------
    box : InputBox, optional
        Present if the network gets the coordinates besides the channels; maps them to ``[-1, 1]``.
    network : MLP
    """

    box: InputBox | None
    network: MLP

    def __call__(self, channels: Float[Array, " channels"], x: Float[Array, " dim"]) -> Float[Array, " out"]:
        z = channels if self.box is None else jnp.concatenate([channels, self.box(x)])
        value = jnp.atleast_1d(self.network(z))
        return channels[: value.shape[0]] + value


class LocalDecodedGrid(AbstractField):
    """One cell of a `DecodedGrid`: one polynomial piece of every channel, and the whole decoder."""

    grid: LocalSplineGrid
    decoder: Decoder
    scalar: bool = eqx.field(static=True)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        value = self.decoder(self.grid(x), x)
        return value[0] if self.scalar else value


class DecodedGrid(AbstractLocalField):
    r"""Tensor-product B-splines of several channels, decoded by a small network.

    :math:`u(x) = f_{1..m}(x) + N(f(x))`. A front is one steep step of the network in a channel that is smooth, so it
    may be oblique, curved or moving where the grid is coarse. Only the grid is refined.

    Parameters
    ----------
    grid : SplineGrid
        With an axis of channels, at least as many as outputs.
    decoder : Decoder
    scalar : bool
        Values of shape ``()`` in place of ``(1,)``.

    References
    ----------
    Mueller, Evans, Schied, Keller, ACM Trans. Graph. 41 (2022) and Kang et al., arXiv 2205.08191 for trained grids
    with a small network behind; here with smooth B-splines, whose transfers are exact.
    """

    grid: SplineGrid
    decoder: Decoder
    scalar: bool = eqx.field(static=True)

    def __init__(self, grid: SplineGrid, decoder: Decoder, scalar: bool = True):
        self.grid, self.decoder, self.scalar = grid, decoder, scalar
        inputs, outputs = decoder.network.widths[0], decoder.network.widths[-1]
        expected = inputs - (0 if decoder.box is None else decoder.box.dim + decoder.box.added)
        if grid.channels != (expected,) or expected < outputs or (scalar and outputs != 1):
            raise ValueError(
                f"DecodedGrid: channels {grid.channels} do not fit a network of {inputs} inputs and {outputs} outputs; "
                f"expected ({expected},), at least as many channels as outputs, and one output for scalar values"
            )

    @classmethod
    def uniform(
        cls,
        lower,
        upper,
        intervals,
        degree,
        *,
        key: Key,
        channels: int = 4,
        hidden=(8,),
        out: int | None = None,
        periodic=None,
        coordinates: bool = False,
        activation: Callable[[Array], Array] = jnp.tanh,
    ) -> "DecodedGrid":
        """Equidistant knots; channels start as random affine functions (random waves along periodic axes).

        The field then is a perceptron whose first layer can bend.

        Parameters
        ----------
        lower, upper, intervals, degree, out, periodic
            As for `SplineGrid.uniform`.
        key : key or int
        channels : int
            Number of channels besides those that are added to the outputs.
        hidden : sequence of int
            Widths of the hidden layers of the network.
        coordinates : bool
            Whether the network gets the coordinates besides the channels.
        activation : callable
            Smooth.

        Examples
        --------
        >>> field = DecodedGrid.uniform([0.0, 0.0], [1.0, 1.0], 4, 3, key=0)
        >>> field.grid.coefficients.shape, field(jnp.array([0.3, 0.2])).shape
        ((7, 7, 5), ())
        """
        generator = generator_of(key)
        outputs = out or 1
        space = SplineGrid.uniform(lower, upper, intervals, degree, outputs + channels, periodic)
        box = InputBox(lower, upper, periodic)
        first = outputs + channels + (box.dim + box.added if coordinates else 0)
        network = MLP([first, *hidden, outputs], key=int(generator.integers(2**31)), activation=activation)
        grid = with_coefficients(space, _affine(space, box, outputs, generator))
        return cls(grid, Decoder(box if coordinates else None, network), out is None)

    def locate(self, x: Float[Array, " dim"]) -> tuple[Int[Array, ""], ...]:
        return self.grid.locate(x)

    def at(self, cell: tuple[Int[Array, ""], ...]) -> tuple[Int[Array, " local"], LocalDecodedGrid]:
        nodes, piece = self.grid.at(cell)
        shared = parameter_count(self.grid) + jnp.arange(parameter_count(self.decoder), dtype=nodes.dtype)
        return jnp.concatenate([nodes, shared]), LocalDecodedGrid(piece, self.decoder, self.scalar)

    def mesh(self) -> tuple[np.ndarray, ...]:
        return self.grid.mesh()

    def positions(self, dim: int) -> np.ndarray:
        return np.concatenate([self.grid.positions(dim), np.full((parameter_count(self.decoder), dim), np.nan)])

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, LocalDecodedGrid]:
        nodes, pieces = self.grid.gather(points)
        count = len(points)
        shared = parameter_count(self.grid) + np.arange(parameter_count(self.decoder))
        indices = np.concatenate([nodes, np.broadcast_to(shared, (count, len(shared)))], axis=1)
        decoder = jax.tree.map(lambda a: np.broadcast_to(np.asarray(a), (count, *a.shape)), self.decoder)
        return indices, LocalDecodedGrid(pieces, decoder, self.scalar)

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        return self.grid.cell_keys(points)


def felt_channels(field: DecodedGrid, points: int = 256) -> SplineGrid:
    """The grid with every channel in the units of the outputs: times the mean slope of the decoder in it.

    The mean (root of squares) is over random points of the box.
    """
    breaks = field.grid.breakpoints()
    generator = np.random.default_rng(0)
    x = np.stack([generator.uniform(b[0], b[-1], points) for b in breaks], axis=1)
    slopes = np.asarray(_slopes(field, jnp.asarray(x)))
    size = np.sqrt(np.mean(np.sum(slopes**2, axis=1), axis=0))
    return with_coefficients(field.grid, np.asarray(field.grid.coefficients) * size)


@eqx.filter_jit
def _slopes(field: DecodedGrid, x: Float[Array, "n dim"]) -> Float[Array, "n out channels"]:
    return jax.vmap(lambda y: jax.jacrev(field.decoder)(field.grid(y), y))(x)


def _affine(space: SplineGrid, box: InputBox, outputs: int, generator: np.random.Generator) -> np.ndarray:
    """Coefficients of random affine functions of the coordinates in ``[-1, 1]``; zero for the first channels."""
    positions = np.stack(np.meshgrid(*(axis.positions() for axis in space.axes), indexing="ij"), axis=-1)
    count, dim = space.channels[0] - outputs, len(space.axes)
    values = np.zeros((*positions.shape[:-1], outputs + count))
    z = (2.0 * positions - np.asarray(box.lower + box.upper)) / np.asarray(box.upper - box.lower)
    slopes, shifts = generator.normal(size=(dim, count)), generator.normal(size=count)
    phases = generator.uniform(-np.pi, np.pi, size=(dim, count))
    for k, axis in enumerate(space.axes):
        wraps = axis.size < axis.intervals + axis.degree
        part = np.sin(np.pi * z[..., k, None] + phases[k]) if wraps else z[..., k, None]
        values[..., outputs:] += slopes[k] * part
    values[..., outputs:] += shifts
    return values
