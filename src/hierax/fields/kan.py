"""Kolmogorov-Arnold networks of splines: every edge of a layer is a spline of one variable."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from hierax.fields.axis import Extended, SplineAxis
from hierax.fields.base import AbstractField, AbstractLocalField, marked, parameter_count
from hierax.fields.geometry import AbstractGeometry, BSplineBasis, PowerReLUBasis
from hierax.fields.initial import Key, generator_of
from hierax.fields.inputs import InputBox, coordinates, input_box
from hierax.fields.spline_layer import BoundedLinear, SplineLayer, SplinePieces, squash

# of the slopes of hidden layers: values then have variance near one, which `squash` spreads almost evenly
HIDDEN_VARIANCE = 3.5


class LocalKAN(AbstractField):
    """A `KAN` reduced to one interval of every edge."""

    box: InputBox | None
    first: BoundedLinear | None
    layers: tuple[SplinePieces, ...]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        z = _enter(self, x)
        for number, layer in enumerate(self.layers):
            z = layer(squash(z) if number else z)
        return z[0] if z.shape == (1,) else z


class FixedCell(AbstractField):
    """A field without small support on one of its cells: all parameters, the polynomial pieces of the cell."""

    field: "KAN"
    cell: PyTree[Int[Array, "..."]]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.field.pieces(self.cell)(x)


class KAN(AbstractLocalField):
    r"""Kolmogorov-Arnold network with spline edges.

    Each layer computes :math:`z_q = \sum_i s_{qi}(z_i)` with splines :math:`s_{qi}` on ``[-1, 1]``; between layers a
    fixed `squash` returns the values to ``(-1, 1)``. The cells of deeper layers depend on the parameters.

    Parameters
    ----------
    widths : sequence of int
        Numbers of nodes, inputs first. One output gives values of shape ``()``.
    intervals : int
        Intervals of every edge; ``edges * (intervals + degree)`` parameters for the spline layers.
    degree : int
        Degree of the splines; a residual with ``k`` derivatives wants at least ``k + 1``.
    key : key or int
        For the initial functions: smooth random cubics that spread hidden values over ``(-1, 1)`` and do not depend
        on the number of intervals.
    domain : InputBox or pair of arrays, optional
        The box that is mapped to ``[-1, 1]`` in each coordinate, which may be periodic. Without it inputs are taken to
        be in ``[-1, 1]``; see `hierax.fields.inputs.place`.
    linear_first : bool
        Make the first layer a `BoundedLinear` map.
    first_bias : bool
        Give this map a bias, one parameter a node.
    geometry : AbstractGeometry
        Coordinates in which splines are trained.

    Raises
    ------
    ValueError
        For widths that leave no spline layer.

    Examples
    --------
    >>> field = KAN([2, 5, 1], intervals=5, degree=4, key=0, linear_first=True)
    >>> parameter_count(field), field(jnp.array([0.1, -0.3])).shape
    (55, ())
    """

    box: InputBox | None
    first: BoundedLinear | None
    layers: tuple[SplineLayer, ...]

    def __init__(
        self,
        widths,
        *,
        intervals: int,
        degree: int = 3,
        key: Key,
        domain=None,
        linear_first: bool = False,
        first_bias: bool = False,
        geometry: AbstractGeometry = BSplineBasis(),
    ):
        widths = _check_widths(widths, linear_first)
        generator = generator_of(key)
        self.box = None
        start = int(linear_first)
        self.first = _random_map(widths[0], widths[1], generator, first_bias) if linear_first else None
        axis = SplineAxis(np.linspace(-1.0, 1.0, intervals + 1), degree, Extended())
        layers = []
        for number in range(start, len(widths) - 1):
            variance = HIDDEN_VARIANCE if number < len(widths) - 2 else 1.0
            splines = _random_splines(axis, widths[number], widths[number + 1], generator, variance)
            layers.append(SplineLayer(geometry.weights(jnp.asarray(splines), axis), axis, geometry))
        self.layers = tuple(layers)
        if domain is not None:
            self.box, self.first, self.layers = _boxed(self, domain)

    @property
    def widths(self) -> tuple[int, ...]:
        shapes = [] if self.first is None else [self.first.weights.shape]
        shapes += [layer.weights.shape[:2] for layer in self.layers]
        return (coordinates(self.box, shapes[0][1]), *(shape[0] for shape in shapes))

    @property
    def intervals(self) -> int:
        """Intervals of the finest layer."""
        return max(layer.axis.intervals for layer in self.layers)

    @property
    def degree(self) -> int:
        return self.layers[0].axis.degree

    @property
    def geometry(self) -> AbstractGeometry:
        return self.layers[0].geometry

    def linear_parameters(self) -> PyTree[bool]:
        return marked(self, lambda kan: kan.layers[-1].weights)

    def placed(self, box: Any) -> "KAN":
        if self.box is not None:
            return self
        parts = _boxed(self, box)
        return eqx.tree_at(lambda kan: (kan.box, kan.first, kan.layers), self, parts, is_leaf=lambda x: x is None)

    def locate(self, x: Float[Array, " dim"]) -> tuple[Int[Array, " in"], ...]:
        z, cells = _enter(self, x), []
        for number, layer in enumerate(self.layers):
            z = squash(z) if number else z
            cells.append(layer.axis.locate(z))
            z = layer.pieces(cells[-1])(z) if number < len(self.layers) - 1 else z
        return tuple(cells)

    def pieces(self, cell: tuple[Int[Array, " in"], ...]) -> LocalKAN:
        """The network with every edge reduced to its polynomial piece."""
        layers = tuple(layer.pieces(part) for layer, part in zip(self.layers, cell, strict=True))
        return LocalKAN(self.box, self.first, layers)

    def at(self, cell: tuple[Int[Array, " in"], ...]) -> tuple[Int[Array, " local"], AbstractField]:
        if not self.geometry.local:
            return jnp.arange(parameter_count(self), dtype=jnp.int32), FixedCell(self, cell)
        offset = 0 if self.first is None else parameter_count(self.first)
        indices = [jnp.arange(offset, dtype=jnp.int32)]
        for layer, part in zip(self.layers, cell, strict=True):
            indices.append(offset + layer.indices(part).ravel())
            offset += layer.weights.size
        return jnp.concatenate(indices), self.pieces(cell)

    @property
    def is_local(self) -> bool:
        return self.geometry.local

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, AbstractField]:
        if not self.geometry.local:
            return super().gather(points)
        z, count, offset, indices, layers = np.asarray(points), len(points), 0, [], []
        box, first = (jax.tree.map(np.asarray, part) for part in (self.box, self.first))
        z = z if box is None else box.on_rows(z)
        if first is not None:
            z, offset = first.on_rows(z), parameter_count(self.first)
            indices.append(np.broadcast_to(np.arange(offset), (count, offset)))
        for number, layer in enumerate(self.layers):
            z = z / np.sqrt(1.0 + z * z) if number else z
            index, part = layer.gather(z)
            indices.append(offset + index.reshape(count, -1))
            offset += layer.weights.size
            layers.append(part)
            z = part.on_rows(z) if number < len(self.layers) - 1 else z
        box, first = jax.tree.map(lambda a: np.broadcast_to(a, (count, *a.shape)), (box, first))
        return np.concatenate(indices, axis=1), LocalKAN(box, first, tuple(layers))


def to_power_relu(field: KAN) -> KAN:
    """The same function with weights of truncated powers as parameters, as far as conditioning allows."""
    return _with_geometry(field, PowerReLUBasis())


def to_bspline(field: KAN) -> KAN:
    """The same function with B-spline coefficients as parameters."""
    return _with_geometry(field, BSplineBasis())


def _boxed(field: KAN, domain: Any) -> tuple[InputBox | None, BoundedLinear | None, tuple[SplineLayer, ...]]:
    """The box, the first map and the layers of a network that had no box."""
    box, (layer, *others) = input_box(domain, field.widths[0]), field.layers
    if box is None or not box.added:
        return box, field.first, field.layers
    if field.first is not None:
        return box, BoundedLinear(box.weights(field.first.weights), field.first.bias), field.layers
    return box, None, (SplineLayer(box.weights(layer.weights), layer.axis, layer.geometry), *others)


def _enter(field: KAN | LocalKAN, x: Float[Array, " dim"]) -> Float[Array, " width"]:
    y = x if field.box is None else field.box(x)
    return y if field.first is None else field.first(y)


def _with_geometry(field: KAN, geometry: AbstractGeometry) -> KAN:
    def convert(layer: SplineLayer) -> SplineLayer:
        splines = layer.geometry.splines(layer.weights, layer.axis)
        return SplineLayer(geometry.weights(splines, layer.axis), layer.axis, geometry)

    return eqx.tree_at(lambda kan: kan.layers, field, tuple(convert(layer) for layer in field.layers))


def _check_widths(widths, linear_first: bool) -> tuple[int, ...]:
    widths = tuple(int(width) for width in widths)
    if len(widths) < 2 + int(linear_first) or min(widths) < 1:
        raise ValueError(
            f"KAN: widths {list(widths)} leave no spline layer; give positive widths for the inputs, "
            f"{'the linear layer, ' if linear_first else ''}and at least one spline layer"
        )
    return widths


def _random_map(inputs: int, outputs: int, generator: np.random.Generator, bias: bool) -> BoundedLinear:
    weights = jnp.asarray(generator.normal(size=(outputs, inputs)))
    return BoundedLinear(weights, jnp.asarray(0.3 * generator.normal(size=outputs)) if bias else None)


def _random_splines(
    axis: SplineAxis, inputs: int, outputs: int, generator: np.random.Generator, variance: float
) -> np.ndarray:
    """Coefficients ``(outputs, inputs, size)`` of random cubics in the Chebyshev basis, the linear part dominating."""
    position = np.clip(axis.positions(), -1.0, 1.0)
    modes = np.cos(np.arange(4)[:, None] * np.arccos(position))
    scales = np.array([0.2, 1.0, 0.2, 0.1]) * np.sqrt(variance / inputs)
    return generator.normal(size=(outputs, inputs, 4)) * scales @ modes
