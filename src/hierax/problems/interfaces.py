r"""What holds on an interface: unknowns seen from both sides, and the part of an equation that is concentrated there.

Across a plane or the boundary of a shape an unknown may have kinks and a coefficient may jump. In the sense of
distributions the derivative of a function that jumps is its derivative on either side plus its jump, times the normal,

.. math:: \nabla f = \{\nabla f\} + [f] \, n \, \delta,

so an equation :math:`\nabla \cdot q + \ldots = 0` says two things: it holds on either side, and :math:`[q_n] = 0`.
Automatic differentiation gives the first alone. `concentrated` gives the second. Equations of higher order say more,

.. math:: \partial_n \partial_n m = \{\partial_n \partial_n m\} + [\partial_n m] \, \delta + [m] \, \delta',

and it gives the factors of the derivatives of the delta function as well.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.geometry import AbstractShape
from hierax.geometry.regions import Regions, seen_from
from hierax.problems.domain import Box, Domain, Interface

NEAR = 1e-11
"""Distance from an interface, in sizes of the box, at which either side is looked at."""

Function = Callable[[Float[Array, " dim"]], Float[Array, "..."]]


class Cut(NamedTuple):
    """An interface as functions of the point see it, with points of either side at a distance `near` along the normal.

    It is a plane `x[axis] = at`, or the boundary of a shape between parts of the domain.
    """

    near: float
    axis: int = 0
    at: float = 0.0
    shape: AbstractShape | None = None
    regions: Regions | None = None

    @classmethod
    def of(cls, domain: Domain, place: Interface, regions: Regions | None = None) -> Cut:
        """That of an interface in a domain; the distance is at least some units in the last place."""
        if place.shape is not None:
            return cls(
                max(NEAR * place.shape.size, 16.0 * _spacing(place.shape.bounds())), 0, 0.0, place.shape, regions
            )
        assert isinstance(domain, Box)
        axis, at, _ = domain.plane(place)
        return cls(max(NEAR * float((domain.upper - domain.lower)[axis]), 16.0 * _spacing(at)), axis, at)

    def from_side(self, f: Function, above: bool, normal: Float[Array, " dim"]) -> Function:
        """A function at points of the interface, as it is for who comes from one of its sides."""
        step = self.near if above else -self.near

        def seen(x: Float[Array, " dim"]) -> Float[Array, "..."]:
            with seen_from(above, self.shape):
                return f(x + step * normal)

        return seen


def _spacing(values: Any) -> float:
    return float(np.spacing(np.max(np.abs(values))))


@dataclass(frozen=True, eq=False)
class _Seen:
    """An unknown on an interface, with its sides; see `hierax.problems.sides`."""

    inner: Function
    cut: Cut
    normal: Float[Array, " dim"]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.inner(x)

    @property
    def sides(self) -> tuple[Function, Function]:
        """From below and from above along the normal."""
        below, above = (self.cut.from_side(self.inner, side, self.normal) for side in (False, True))
        return below, above


def on_interface(seen: Any, functions: tuple[str, ...] | None, cut: Cut, normal: Float[Array, " dim"]) -> Any:
    """Unknowns with their sides: one callable, or of a collection those that are functions."""
    if functions is None:
        return _Seen(seen, cut, normal)
    parts = {name: _Seen(part, cut, normal) if name in functions else part for name, part in vars(seen).items()}
    return SimpleNamespace(**parts)


class _Crossing(NamedTuple):
    cut: Cut
    normal: Any
    size: Any
    level: int


_crossing: contextvars.ContextVar[_Crossing | None] = contextvars.ContextVar("crossing", default=None)


@contextlib.contextmanager
def _set(crossing: _Crossing | None) -> Iterator[None]:
    token = _crossing.set(crossing)
    try:
        yield
    finally:
        _crossing.reset(token)


def crossed(axis: int | None = None) -> bool:
    """Whether derivatives along an axis (along any, without one) are taken across an interface now."""
    now = _crossing.get()
    return now is not None and (now.cut.shape is not None or axis in (None, now.cut.axis))


def jump(u: Function, x: Float[Array, " dim"], axis: int) -> Float[Array, "..."]:
    """What is concentrated of the derivative of a function along an axis, times the size asked for."""
    now = _crossing.get()
    assert now is not None
    part = 1.0 if now.cut.shape is None else now.normal[axis]
    if now.level:
        with _set(now._replace(level=now.level - 1)):
            return part * u(x)
    with _set(None):
        below, above = (now.cut.from_side(u, side, now.normal)(x) for side in (False, True))
        return now.size * part * (above - below)


def concentrated(
    equation: Callable[..., Any], cut: Cut, level: int = 0
) -> Callable[[Any, Float[Array, " dim"], Float[Array, " dim"]], Array]:
    """What an equation says on an interface: the factor of its delta function there, `(rows,)`.

    The outermost derivatives along the normal count as jumps of what they are taken of; for the derivative of order
    `level` of the delta function those that are so many further inside. Products of such a jump with what jumps itself
    have no meaning, and the value from above is taken.
    """

    def residual(u: Any, x: Float[Array, " dim"], normal: Float[Array, " dim"]) -> Array:
        def sized(size: Array) -> Array:
            with _set(_Crossing(cut, normal, size, level)):
                return jnp.ravel(jnp.asarray(equation(u, x)))

        return jax.jvp(sized, (jnp.zeros(()),), (jnp.ones(()),))[1]

    return residual
