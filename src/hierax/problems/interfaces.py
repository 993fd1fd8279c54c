r"""What holds on an interface: unknowns seen from both sides, and the part of an equation that is concentrated there.

Across a plane an unknown may have kinks and a coefficient may jump. In the sense of distributions the derivative along
the normal of a function that jumps is its derivative on either side plus its jump on the plane,

.. math:: \partial_n f = \{\partial_n f\} + [f] \, \delta,

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

from hierax.problems.domain import Box, Interface

NEAR = 1e-11
"""Distance from an interface, in sizes of the box, at which either side is looked at."""

Function = Callable[[Float[Array, " dim"]], Float[Array, "..."]]


class Cut(NamedTuple):
    """An interface as functions of the point see it: `x[axis] = at`, with points of either side at a distance."""

    axis: int
    at: float
    near: float

    @classmethod
    def of(cls, box: Box, place: Interface) -> Cut:
        """That of an interface of a box; the distance is at least some units in the last place."""
        axis, at, _ = box.plane(place)
        return cls(axis, at, max(NEAR * float((box.upper - box.lower)[axis]), 16.0 * float(np.spacing(abs(at)))))

    def below(self, x: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """A point of the interface, moved to the lower side."""
        return x.at[self.axis].add(-self.near)

    def above(self, x: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """A point of the interface, moved to the upper side."""
        return x.at[self.axis].add(self.near)


@dataclass(frozen=True, eq=False)
class _Seen:
    """An unknown on an interface, with its sides; see `hierax.problems.sides`."""

    inner: Function
    cut: Cut

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.inner(x)

    @property
    def sides(self) -> tuple[Function, Function]:
        """From below and from above along the coordinate of the interface."""
        return lambda x: self.inner(self.cut.below(x)), lambda x: self.inner(self.cut.above(x))


def on_interface(seen: Any, functions: tuple[str, ...] | None, cut: Cut) -> Any:
    """Unknowns with their sides: one callable, or of a collection those that are functions."""
    if functions is None:
        return _Seen(seen, cut)
    parts = {name: _Seen(part, cut) if name in functions else part for name, part in vars(seen).items()}
    return SimpleNamespace(**parts)


class _Crossing(NamedTuple):
    cut: Cut
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
    return now is not None and axis in (None, now.cut.axis)


def jump(u: Function, x: Float[Array, " dim"]) -> Float[Array, "..."]:
    """What is concentrated of the derivative of a function across the interface, times the size asked for."""
    now = _crossing.get()
    assert now is not None
    if now.level:
        with _set(now._replace(level=now.level - 1)):
            return u(x)
    with _set(None):
        return now.size * (u(now.cut.above(x)) - u(now.cut.below(x)))


def concentrated(
    equation: Callable[..., Any], cut: Cut, level: int = 0
) -> Callable[[Any, Float[Array, " dim"]], Array]:
    """What an equation says on an interface: the factor of its delta function there, `(rows,)`.

    The outermost derivatives along the normal count as jumps of what they are taken of; for the derivative of order
    `level` of the delta function those that are so many further inside. Products of such a jump with what jumps itself
    have no meaning, and the value from above is taken.
    """

    def residual(u: Any, x: Float[Array, " dim"]) -> Array:
        def sized(size: Array) -> Array:
            with _set(_Crossing(cut, size, level)):
                return jnp.ravel(jnp.asarray(equation(u, x)))

        return jax.jvp(sized, (jnp.zeros(()),), (jnp.ones(()),))[1]

    return residual
