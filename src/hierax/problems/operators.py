"""Differential operators on callables, in forward mode: `derivative`, `gradient`, `laplacian`, `divergence`.

All are curried, `laplacian(u)(x)`, take any callable of a point `x` of shape `(dim,)`, and put the components of a
vector unknown on the leading axis.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax._errors import InputError
from hierax.problems.domain import TIME

Function = Callable[[Float[Array, " dim"]], Float[Array, "..."]]

# Names belong to the problem, not to each callable: a term's lambdas (fluxes, products) must understand them too.
_names: contextvars.ContextVar[tuple[str, ...] | None] = contextvars.ContextVar("coordinates", default=None)


@contextlib.contextmanager
def coordinates(names: Sequence[str]) -> Iterator[None]:
    """Give the coordinates their names inside the block; every term of a problem is evaluated in one."""
    token = _names.set(tuple(names))
    try:
        yield
    finally:
        _names.reset(token)


def parse_axes(spec: str | int | Sequence[int], names: Sequence[str] | None) -> tuple[int, ...]:
    """Axes of a derivative: `"xxy"` by names (longest name first), an axis, or a sequence of axes.

    Raises
    ------
    InputError
        If the text cannot be read with the coordinate names, or no names are known here.
    """
    if isinstance(spec, int):
        return (spec,)
    if not isinstance(spec, str):
        return tuple(int(axis) for axis in spec)
    if names is None:
        raise InputError(
            what=f"derivative {spec!r} is asked by name, but no coordinates are known here",
            where=f'derivative(u, "{spec}")',
            remedy="outside a problem's terms write derivative(u, axis) or use `with hx.coordinates(names):`",
        )
    axes: list[int] = []
    rest = spec.replace(" ", "").replace("_", "") if not any("_" in n for n in names) else spec
    while rest:
        match = max((n for n in names if rest.startswith(n)), key=len, default=None)
        if match is None:
            raise InputError(
                what=f"derivative {spec!r} has a part {rest!r} that is no coordinate",
                where=f'derivative(u, "{spec}")',
                remedy=f"the coordinates are {', '.join(names)}",
            )
        axes.append(list(names).index(match))
        rest = rest[len(match) :]
    return tuple(axes)


def derivative(u: Function, spec: str | int | Sequence[int], order: int = 1) -> Function:
    """Partial derivative: `derivative(u, "xxt")(x)`, or `derivative(u, axis, order)(x)`.

    Parameters
    ----------
    u:
        A callable of a point `(dim,)` to `()` or `(m,)`.
    spec:
        Coordinate names in the order of differentiation, one axis, or several axes.
    order:
        How often the derivative named by `spec` is taken.
    """
    axes = parse_axes(spec, _names.get()) * order
    for axis in axes:
        u = _along(u, axis)
    return u


def _along(u: Function, axis: int) -> Function:
    def first(x: Float[Array, " dim"]) -> Float[Array, "..."]:
        direction = jnp.zeros_like(x).at[axis].set(1.0)
        return jax.jvp(u, (x,), (direction,))[1]

    return first


def gradient(u: Function) -> Function:
    """All first derivatives: shape `(dim,)`, or `(m, dim)` for a vector unknown; time included."""
    return jax.jacfwd(u)


def _spatial(dim: int) -> tuple[int, ...]:
    names = _names.get()
    if names is None or len(names) != dim:
        return tuple(range(dim))
    return tuple(k for k in range(dim) if names[k] != TIME)


def laplacian(u: Function) -> Function:
    """Sum of the second derivatives over the coordinates of space (all except one named `t`)."""

    def apply(x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return sum(derivative(u, axis, 2)(x) for axis in _spatial(x.shape[0]))  # pyright: ignore

    return apply


def divergence(u: Function) -> Function:
    """`sum_k d u_k / d x_k`; a flux with one component a spatial coordinate is differentiated in space alone.

    A tensor `(m, dim)`-valued callable gives the divergence of each row, shape `(m,)`.
    """

    def apply(x: Float[Array, " dim"]) -> Float[Array, "..."]:
        shape = jax.eval_shape(u, x).shape
        count = shape[-1] if shape else 1
        axes = tuple(range(x.shape[0])) if count == x.shape[0] else _spatial(x.shape[0])
        if count != len(axes) or not shape:
            raise InputError(
                what=f"a flux of shape {shape} at points with {x.shape[0]} coordinates",
                where="divergence(u)",
                remedy=f"the last axis must have {x.shape[0]} components"
                + (f", or {len(_spatial(x.shape[0]))} in space" if len(_spatial(x.shape[0])) != x.shape[0] else ""),
            )
        parts = [_along(lambda z, k=k: u(z)[..., k], axis)(x) for k, axis in enumerate(axes)]
        return sum(parts[1:], start=parts[0])

    return apply
