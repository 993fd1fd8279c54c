"""A field with local pieces as it is seen on an interface: both of the cells that meet there."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from hierax.fields.base import AbstractField, AbstractLocalField, linear_in_parameters, parameter_count
from hierax.fields.unknowns import Unknowns


class LocalTwoSided(AbstractField):
    """The pieces below and above `x[axis] = value`, each on its own side."""

    below: Any
    above: Any
    axis: int = eqx.field(static=True)
    value: float = eqx.field(static=True)

    def __call__(self, x: Float[Array, " dim"]) -> PyTree[Float[Array, "..."]]:
        lower = x[self.axis] < self.value
        return jax.tree.map(lambda a, b: jnp.where(lower, a, b), self.below(x), self.above(x))

    @property
    def linear_in_parameters(self) -> bool:
        return linear_in_parameters(self.below) and linear_in_parameters(self.above)


class TwoSided(AbstractLocalField):
    """A field whose piece at a point holds the cells on both sides of an interface, so that terms may compare them.

    Parameters
    ----------
    field : AbstractLocalField
        With the interface between its cells.
    axis, value, near
        The interface `x[axis] = value`, and the distance at which the cells are looked for.
    """

    field: AbstractLocalField
    axis: int = eqx.field(static=True)
    value: float = eqx.field(static=True)
    near: float = eqx.field(static=True)

    @property
    def linear_in_parameters(self) -> bool:
        return linear_in_parameters(self.field)

    def mesh(self) -> tuple[np.ndarray, ...] | None:
        return self.field.mesh()

    def positions(self, dim: int) -> np.ndarray:
        return self.field.positions(dim)

    def locate(self, x: Float[Array, " dim"]) -> tuple[PyTree, PyTree]:
        below, above = (self.field.locate(jnp.asarray(x).at[self.axis].set(side)) for side in self._sides)
        return below, above

    def at(self, cell: tuple[PyTree, PyTree]) -> tuple[Int[Array, " local"], LocalTwoSided]:
        (first, below), (second, above) = (self.field.at(own) for own in cell)
        return jnp.concatenate([first, second]), LocalTwoSided(below, above, self.axis, self.value)

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, LocalTwoSided]:
        (first, below), (second, above) = (self.field.gather(self._moved(points, side)) for side in self._sides)
        return np.concatenate([first, second], axis=1), LocalTwoSided(below, above, self.axis, self.value)

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        # cells meet in pairs across a plane: one of a pair tells which
        return self.field.cell_keys(self._moved(points, self._sides[1]))

    @property
    def _sides(self) -> tuple[float, float]:
        return self.value - self.near, self.value + self.near

    def _moved(self, points: np.ndarray, side: float) -> np.ndarray:
        moved = np.array(points, dtype=float)
        moved[:, self.axis] = side
        return moved


class UpperSide(AbstractField):
    """A field above `x[axis] = value`, and zero below."""

    field: Any
    axis: int = eqx.field(static=True)
    value: float = eqx.field(static=True)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return jnp.where(x[self.axis] < self.value, 0.0, self.field(x))


def two_sided(field: Any, axis: int, value: float, near: float) -> Any:
    """A field seen from both sides; of several unknowns those that are more than one number."""
    return _each(field, lambda part: TwoSided(part, axis, value, near))


def upper_side(field: Any, axis: int, value: float) -> Any:
    """A field that is zero below; of several unknowns those that are more than one number."""
    return _each(field, lambda part: UpperSide(part, axis, value))


def _each(field: Any, change: Callable[[Any], Any]) -> Any:
    if not isinstance(field, Unknowns):
        return change(field)
    return Unknowns(**{n: part if parameter_count(part) == 1 else change(part) for n, part in field.parts.items()})
