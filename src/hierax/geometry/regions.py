"""Parts of a domain that shapes cut out of it, and from which side of their boundaries functions are looked at.

Coefficients that differ from part to part ask where a point lies. While a term is evaluated this is known beforehand,
on an interface for one side after the other, and is said by `known`; elsewhere the shape itself is asked.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hierax._errors import InputError
from hierax.geometry.body import interior_rule, surface_rule
from hierax.geometry.cut_cells import Cells, Quadrature
from hierax.geometry.level_set import LevelSet
from hierax.geometry.part import Part
from hierax.geometry.shape import AbstractCombination, AbstractShape, Difference, Union

SCATTERED = 1 << 14
"""Points of the box around a domain at which it is looked for parts."""
BESIDE = 1e-7
"""Distance from a boundary, in sizes of its shape, at which there may be a part beside it."""
CELLS = {2: 64, 3: 12}
"""Cells along an axis in which boundaries have points for this."""

_known: contextvars.ContextVar[Mapping[AbstractShape, Any] | None] = contextvars.ContextVar("known", default=None)
_above: contextvars.ContextVar[bool] = contextvars.ContextVar("above", default=True)


@contextlib.contextmanager
def known(inside: Mapping[AbstractShape, Any]) -> Iterator[None]:
    """Say whether the point lies inside of shapes, while functions are evaluated there."""
    token = _known.set({**(_known.get() or {}), **inside})
    try:
        yield
    finally:
        _known.reset(token)


@contextlib.contextmanager
def seen_from(above: bool, shape: AbstractShape | None) -> Iterator[None]:
    """Look at an interface from above or below, from outside or inside of its shape."""
    token = _above.set(above)
    try:
        with known({} if shape is None else {shape: not above}):
            yield
    finally:
        _above.reset(token)


def is_above() -> bool:
    """From which side an interface is looked at; from above unless it is said."""
    return _above.get()


def inside(shape: AbstractShape, x: Float[Array, " dim"]) -> Bool[Array, ""]:
    """Whether a point lies inside of a shape or on its boundary; also while JAX traces. It has no derivative."""
    said = _known.get() or {}
    if shape in said:
        return jnp.asarray(said[shape])
    if isinstance(shape, AbstractCombination):
        first, second = inside(shape.first, x), inside(shape.second, x)
        return first | second if isinstance(shape, Union) else first & (second ^ isinstance(shape, Difference))
    x = jax.lax.stop_gradient(jnp.asarray(x))
    if isinstance(shape, LevelSet):
        return shape.traced(x)
    return jax.pure_callback(
        lambda z: _inside(shape, np.asarray(z)), jax.ShapeDtypeStruct((), bool), x, vmap_method="expand_dims"
    )


def _inside(shape: AbstractShape, z: np.ndarray) -> np.ndarray:
    return (shape.level(z.reshape(-1, shape.dim)) <= 0.0).reshape(z.shape[:-1])


@final
@dataclass(frozen=True, eq=False)
class Regions:
    """The parts into which shapes divide a domain: in each of them a point lies inside of the same shapes.

    Attributes
    ----------
    domain:
        The whole.
    shapes:
        Those whose boundaries divide it; they may lie beside, in and across each other.
    """

    domain: AbstractShape
    shapes: tuple[AbstractShape, ...]

    @functools.cached_property
    def table(self) -> Bool[np.ndarray, "regions shapes"]:
        """For every part whether it lies inside of every shape.

        Raises
        ------
        InputError
            For a shape whose boundary does not divide the domain.
        """
        low, high = self.domain.bounds()
        points = [low + (high - low) * np.random.default_rng(0).random((SCATTERED, len(low)))]
        for shape in self.shapes:
            wall = self.wall(shape, [np.linspace(a, b, CELLS[len(low)] + 1) for a, b in self._box(shape)], 1)
            if not len(wall.points):
                raise InputError(
                    f"the boundary of {shape!r:.80} is not inside of the domain", "hx.Interface(shape)",
                    "give a shape that has a part of the domain on either side",
                )  # fmt: skip
            assert wall.normals is not None
            points += [wall.points + sign * BESIDE * shape.size * wall.normals for sign in (-1.0, 1.0)]
        every = np.concatenate(points)
        return np.unique(self.flags(every[self.domain.level(every) < 0.0]), axis=0)

    def _box(self, shape: AbstractShape) -> Iterator[tuple[float, float]]:
        return zip(*shape.bounds(), strict=True)

    @functools.cached_property
    def bodies(self) -> tuple[AbstractShape, ...]:
        """The parts as shapes."""
        made = []
        for row in self.table:
            body = self.domain
            for shape, within in zip(self.shapes, row, strict=True):
                body = body & shape if within else body - shape
            made.append(body)
        return tuple(made)

    def flags(self, points: Float[np.ndarray, "n dim"]) -> Bool[np.ndarray, "n shapes"]:
        """Whether points lie inside of the shapes."""
        return np.stack([shape.level(points) <= 0.0 for shape in self.shapes], axis=1)

    def number(self, points: Float[np.ndarray, "n dim"]) -> np.ndarray:
        """The part in which every point lies, `(n,)`."""
        return self._row(self.flags(points))

    def beside(self, shape: AbstractShape, points: Float[np.ndarray, "n dim"], above: bool) -> np.ndarray:
        """The part in which points on the boundary of a shape lie for who comes from outside, or from inside."""
        slack = BESIDE * self.domain.size * (1.0 if above else -1.0)
        flags = [np.full(len(points), not above) if other is shape else other.level(points) <= slack
                 for other in self.shapes]  # fmt: skip
        return self._row(np.stack(flags, axis=1))

    def _row(self, flags: Bool[np.ndarray, "n shapes"]) -> np.ndarray:
        different = np.sum(flags[:, None] != self.table, axis=2)
        return np.argmin(different, axis=1)

    def traced(self, x: Float[Array, " dim"]) -> Array:
        """The part in which a point lies, also while JAX traces."""
        flags = jnp.stack([inside(shape, x) for shape in self.shapes])
        return jnp.argmin(jnp.sum(flags != self.table, axis=1))

    def interior(self, cells: Cells, order: int) -> Quadrature:
        """Points inside, those of each part after another; see `AbstractBody.interior`."""
        rules = [interior_rule(body, cells, order) for body in self.bodies]
        return Quadrature(*(np.concatenate([getattr(r, name) for r in rules]) for name in ("points", "weights")))

    def wall(self, shape: AbstractShape, cells: Cells | None, order: int) -> Quadrature:
        """Points on the boundary of a shape, inside of the domain, with normals out of the shape."""
        rule = surface_rule(shape, Part(), cells, order)
        keep = self.domain.level(rule.points) < -BESIDE * self.domain.size
        return Quadrature(*(part[keep] for part in rule))  # pyright: ignore
