"""Differential operators on callables, in forward mode: `derivative`, `gradient`, `laplacian`, `divergence`.

All are curried, `laplacian(u)(x)`, take any callable of a point `x` of shape `(dim,)`, and put the components of a
vector unknown on the leading axis.
"""

from __future__ import annotations

import contextlib
import contextvars
import operator
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax._errors import InputError
from hierax.problems.domain import TIME
from hierax.problems.interfaces import Function, crossed, jump

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
    """Axes of a derivative: `"xxy"` by names, an axis, or a sequence of axes.

    Names of several letters are read too (`"x10x2"`), the longest that leaves a readable rest first; spaces, commas
    and underscores between names are skipped.

    Raises
    ------
    InputError
        If the text cannot be read with the coordinate names, no names are known here, or an axis does not exist.
    """
    if isinstance(spec, str):
        return _axes_by_name(spec, names)
    try:
        axes = (operator.index(spec),)  # pyright: ignore  (any integer type, also NumPy's)
    except TypeError:
        axes = tuple(operator.index(axis) for axis in spec)  # pyright: ignore
    bad = next((a for a in axes if a < 0 or (names is not None and a >= len(names))), None)
    if bad is not None:
        raise InputError(
            what=f"axis {bad} does not exist",
            where=f"derivative(u, {spec!r})",
            remedy="axes count from 0" + (f" to {len(names) - 1}" if names is not None else ""),
        )
    return axes


def _axes_by_name(spec: str, names: Sequence[str] | None) -> tuple[int, ...]:
    where = f"derivative(u, {spec!r})"
    if names is None:
        raise InputError(
            what=f"derivative {spec!r} is asked by name, but no coordinates are known here",
            where=where,
            remedy="outside a problem's terms write derivative(u, axis) or use `with hx.coordinates(names):`",
        )
    axes = _split(spec, sorted(names, key=len, reverse=True), list(names))
    if not axes:
        raise InputError(
            what=f"derivative {spec!r} cannot be read as coordinates",
            where=where,
            remedy=f"write names one after the other; the coordinates are {', '.join(names)}",
        )
    return axes


def _split(rest: str, longest_first: Sequence[str], names: list[str]) -> tuple[int, ...] | None:
    """Axes of a text, or `None` when no division into names exists; tries longer names first and steps back."""
    if not rest:
        return ()
    for name in longest_first:
        if rest.startswith(name):
            tail = _split(rest[len(name) :], longest_first, names)
            if tail is not None:
                return (names.index(name), *tail)
    return _split(rest[1:], longest_first, names) if rest[0] in " ,_" else None


def derivative(u: Function, spec: str | int | Sequence[int], order: int = 1) -> Function:
    """Partial derivative: `derivative(u, "xxt")(x)`, or `derivative(u, axis, order)(x)`.

    Parameters
    ----------
    u:
        A callable of a point `(dim,)` to `()` or `(m,)`.
    spec:
        Coordinate names in the order of differentiation, one axis, or several axes.
    order:
        How often the derivative named by `spec` is taken, from 1 on.

    Raises
    ------
    InputError
        For names or axes that do not exist, or an order that is no integer from 1 on.
    """
    if isinstance(order, str):
        raise InputError(
            what=f"the order is {order!r}",
            where="derivative(order=...)",
            remedy=f'write derivative(u, "{spec}{order}")',
        )
    if order < 1:
        raise InputError(what=f"order {order}", where="derivative(order=...)", remedy="give an order from 1 on")
    for axis in parse_axes(spec, _names.get()) * order:
        u = _along(u, axis)
    return u


def _along(u: Function, axis: int) -> Function:
    def first(x: Float[Array, " dim"]) -> Float[Array, "..."]:
        if axis >= x.shape[0]:  # JAX would drop the update and return zero
            raise InputError(
                what=f"axis {axis} does not exist: the point has {x.shape[0]} coordinates",
                where="derivative(u, axis)",
                remedy=f"axes count from 0 to {x.shape[0] - 1}",
            )
        if crossed(axis):
            return jump(u, x, axis)
        direction = jnp.zeros_like(x).at[axis].set(1.0)
        return jax.jvp(u, (x,), (direction,))[1]

    return first


def gradient(u: Function) -> Function:
    """All first derivatives: shape `(dim,)`, or `(m, dim)` for a vector unknown; time included.

    A flux in space alone is its part over the coordinates of space, for example `gradient(u)(x)[1:]` with time first.
    """

    def apply(x: Float[Array, " dim"]) -> Float[Array, "..."]:
        if crossed():
            return jnp.stack([_along(u, axis)(x) for axis in range(x.shape[0])], axis=-1)
        return jax.jacfwd(u)(x)

    return apply


def _spatial(dim: int) -> tuple[int, ...]:
    names = _names.get()
    if names is None or len(names) != dim:
        return tuple(range(dim))
    return tuple(k for k in range(dim) if names[k] != TIME) or tuple(range(dim))


def laplacian(u: Function) -> Function:
    """Sum of the second derivatives over the coordinates of space (all except one named `t`)."""

    def apply(x: Float[Array, " dim"]) -> Float[Array, "..."]:
        parts = [_along(_along(u, axis), axis)(x) for axis in _spatial(x.shape[0])]
        return sum(parts[1:], start=parts[0])

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


def sides(u: Function) -> tuple[Function, Function]:
    """The unknown from inside and from outside of an interface, or from below and above a plane, for terms on it.

    A field that is not broken is its own on both sides.

    Examples
    --------
    The flux jumps by 3 from inside, where it is `2 u_n`, to outside, where it is `u_n`::

        rod = hx.Interface(hx.Disk((0.5, 0.5), 0.3))

        def flux(u, x, normal):
            inside, outside = hx.sides(u)
            return normal @ (2.0 * hx.gradient(inside)(x) - hx.gradient(outside)(x)) - 3.0

        hx.Residual("flux", flux, on=rod)

    Across the plane `x = 0.3` of a box a heat source of 50 lies, and the conductivity jumps from 2 to 1::

        def heated(u, x, normal):
            below, above = hx.sides(u)
            return hx.derivative(above, "x")(x) - 2.0 * hx.derivative(below, "x")(x) + 50.0

        hx.Residual("heated", heated, on=hx.Interface("x", 0.3))
    """
    return getattr(u, "sides", (u, u))
