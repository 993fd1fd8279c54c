"""Spline grids that are broken along curved interfaces: on one mesh a spline for every part of the domain."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from hierax.fields.axis import SplineAxis
from hierax.fields.base import AbstractLocalField
from hierax.fields.spline_grid import LocalSplineGrid, SplineGrid
from hierax.geometry.regions import Regions


class BrokenGrid(AbstractLocalField):
    r"""Splines on a common mesh, one for each part :math:`\Omega_r` of a domain.

    .. math:: u(x) = \sum_j c_{rj} \prod_a b_{j_a}(x_a) \quad \text{for}\ x \in \Omega_r

    Values and derivatives may jump from part to part and nowhere else; what holds between the parts is said by
    conditions. Splines whose support does not meet their part mean nothing.

    Parameters
    ----------
    axes : sequence of SplineAxis
        One for each coordinate.
    coefficients : array of shape ``(regions, axes[0].size, ..., axes[d-1].size)`` or with one more axis of channels
    regions : Regions
        The parts.

    Raises
    ------
    ValueError
        If the shape of the coefficients does not fit.

    References
    ----------
    Hansbo, Hansbo, Comput. Methods Appl. Mech. Engrg. 191 (2002) 5537-5552 (a function for either side on cut cells).
    """

    axes: tuple[SplineAxis, ...]
    coefficients: Float[Array, "..."]
    regions: Regions = eqx.field(static=True)

    def __init__(self, axes, coefficients, regions: Regions):
        self.axes = tuple(axes)
        self.coefficients = jnp.asarray(coefficients, dtype=float)
        self.regions = regions
        if len(self.coefficients) != len(regions.table):
            raise ValueError(f"BrokenGrid: {len(self.coefficients)} splines for {len(regions.table)} parts")
        _ = self.grids  # which refuse what does not fit the axes

    @classmethod
    def of(cls, grid: SplineGrid, regions: Regions) -> "BrokenGrid":
        """The same function in every part."""
        return cls(grid.axes, jnp.stack([grid.coefficients] * len(regions.table)), regions)

    @property
    def grids(self) -> tuple[SplineGrid, ...]:
        """The spline of every part."""
        return tuple(SplineGrid(self.axes, own) for own in self._parts)

    @property
    def _first(self) -> SplineGrid:
        return SplineGrid(self.axes, self._parts[0])

    @property
    def _parts(self) -> Any:
        """The coefficients; NumPy's where nothing is traced, since JAX would compile a program to take one part."""
        known = isinstance(self.coefficients, jax.Array) and not isinstance(self.coefficients, Tracer)
        return np.asarray(self.coefficients) if known else self.coefficients

    @property
    def channels(self) -> tuple[int, ...]:
        """``()`` for a scalar field, ``(out,)`` otherwise."""
        return self.coefficients.shape[1 + len(self.axes) :]

    @property
    def linear_in_parameters(self) -> bool:
        return True

    def mesh(self) -> tuple[np.ndarray, ...]:
        return self._first.mesh()

    def positions(self, dim: int) -> np.ndarray:
        return np.tile(self._first.positions(dim), (len(self.coefficients), 1))

    def locate(self, x: Float[Array, " dim"]) -> tuple[Int[Array, ""], tuple[Int[Array, ""], ...]]:
        return self.regions.traced(x), self._first.locate(x)

    def at(
        self, cell: tuple[Int[Array, ""], tuple[Int[Array, ""], ...]]
    ) -> tuple[Int[Array, " local"], LocalSplineGrid]:
        region, inner = cell
        indices, piece = SplineGrid(self.axes, self.coefficients[region]).at(inner)
        return indices + region * self._size, piece

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, LocalSplineGrid]:
        return self.gather_in(points, self.regions.number(points))

    def gather_in(self, points: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, LocalSplineGrid]:
        """As `gather`, of the splines of given parts `(n,)`, also at points beside these."""
        indices, piece = self._first.gather(points)
        indices = indices + region[:, None] * self._size
        own = np.asarray(self.coefficients).ravel()[indices].reshape(piece.coefficients.shape)
        return indices, LocalSplineGrid(own, piece.pieces)  # pyright: ignore

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        return self.keys_in(points, self.regions.number(points))

    def keys_in(self, points: np.ndarray, region: np.ndarray) -> np.ndarray:
        """As `cell_keys`, of the splines of given parts `(n,)`."""
        return self._first.cell_keys(points) * len(self.coefficients) + region

    @property
    def _size(self) -> int:
        return math.prod(self.coefficients.shape[1:])
