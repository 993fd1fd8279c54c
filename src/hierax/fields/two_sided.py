"""A field with local pieces as it is seen on an interface: both of the cells that meet there."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from hierax.fields.base import AbstractField, AbstractLocalField, linear_in_parameters, parameter_count
from hierax.fields.broken_grid import BrokenGrid
from hierax.fields.unknowns import Unknowns
from hierax.geometry import AbstractShape
from hierax.geometry.regions import Regions, is_above, seen_from


class LocalTwoSided(AbstractField):
    """The pieces below and above an interface, each on its own side."""

    below: Any
    above: Any

    def __call__(self, x: Float[Array, " dim"]) -> PyTree[Float[Array, "..."]]:
        return (self.above if is_above() else self.below)(x)

    @property
    def linear_in_parameters(self) -> bool:
        return linear_in_parameters(self.below) and linear_in_parameters(self.above)


class TwoSided(AbstractLocalField):
    """A field whose piece at a point holds the cells on both sides of an interface, so that terms may compare them.

    Parameters
    ----------
    field : AbstractLocalField
        With the interface between its cells, or broken by the shape.
    near, axis, value
        The interface `x[axis] = value`, and the distance at which the cells are looked for.
    shape, regions
        The shape whose boundary it is instead, and the parts of the domain.
    """

    field: AbstractLocalField
    near: float = eqx.field(static=True)
    axis: int = eqx.field(static=True)
    value: float = eqx.field(static=True)
    shape: AbstractShape | None = eqx.field(static=True, default=None)
    regions: Regions | None = eqx.field(static=True, default=None)

    @property
    def linear_in_parameters(self) -> bool:
        return linear_in_parameters(self.field)

    def mesh(self) -> tuple[np.ndarray, ...] | None:
        return self.field.mesh()

    def positions(self, dim: int) -> np.ndarray:
        return self.field.positions(dim)

    def locate(self, x: Float[Array, " dim"]) -> tuple[PyTree, PyTree]:
        def cell(above: bool) -> PyTree:
            if self.shape is not None:
                with seen_from(above, self.shape):
                    return self.field.locate(x)
            return self.field.locate(jnp.asarray(x).at[self.axis].set(self._side(above)))

        return cell(False), cell(True)

    def at(self, cell: tuple[PyTree, PyTree]) -> tuple[Int[Array, " local"], LocalTwoSided]:
        (first, below), (second, above) = (self.field.at(own) for own in cell)
        return jnp.concatenate([first, second]), LocalTwoSided(below, above)

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, LocalTwoSided]:
        (first, below), (second, above) = (self._gathered(points, side) for side in (False, True))
        return np.concatenate([first, second], axis=1), LocalTwoSided(below, above)

    def _gathered(self, points: np.ndarray, above: bool) -> tuple[np.ndarray, Any]:
        if self.shape is None:
            return self.field.gather(self._moved(points, above))
        if self.regions is None or not isinstance(self.field, BrokenGrid):
            return self.field.gather(points)
        return self.field.gather_in(points, self.regions.beside(self.shape, points, above))

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        if self.shape is None:
            # cells meet in pairs across a plane: one of a pair tells which
            return self.field.cell_keys(self._moved(points, True))
        if self.regions is None or not isinstance(self.field, BrokenGrid):
            return self.field.cell_keys(points)
        below, above = (self.regions.beside(self.shape, points, side) for side in (False, True))
        return self.field.keys_in(points, below) * len(self.regions.table) + above

    def _side(self, above: bool) -> float:
        return self.value + (self.near if above else -self.near)

    def _moved(self, points: np.ndarray, above: bool) -> np.ndarray:
        moved = np.array(points, dtype=float)
        moved[:, self.axis] = self._side(above)
        return moved


class UpperSide(AbstractField):
    """A field on the upper side of an interface, and zero on the lower one."""

    field: Any

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        values = self.field(x)
        return values if is_above() else jnp.zeros_like(values)


def two_sided(field: Any, cut: tuple[Any, ...]) -> Any:
    """A field seen from both sides; of several unknowns those that are more than one number."""
    return _each(field, lambda part: TwoSided(part, *cut))


def upper_side(field: Any) -> Any:
    """A field that is zero below an interface; of several unknowns those that are more than one number."""
    return _each(field, UpperSide)


def _each(field: Any, change: Callable[[Any], Any]) -> Any:
    if not isinstance(field, Unknowns):
        return change(field)
    return Unknowns(**{n: part if parameter_count(part) == 1 else change(part) for n, part in field.parts.items()})
