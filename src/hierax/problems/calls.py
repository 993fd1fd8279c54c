"""Functions that users write: whether they take what they are given, and return what can be used."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError


def check_arguments(function: Any, where: str, counts: tuple[int, ...], form: str) -> None:
    """Refuse what is no function, or cannot be called with one of these numbers of arguments.

    Parameters
    ----------
    counts, form:
        The numbers, and how it should be written, as in `function(u, x)`.

    Raises
    ------
    InputError
        With the line in which the function begins.
    """
    if not callable(function):
        raise InputError(f"{type(function).__name__} is no function", where, f"give a function: {form}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have no signature
        return
    if not any(_binds(signature, count) for count in counts):
        raise InputError(
            f"the function cannot be called with {' or '.join(map(str, counts))} arguments: it is "
            f"{getattr(function, '__name__', type(function).__name__)}{signature}",
            f"{where}{defined(function)}",
            f"write it as {form}",
        )


def usable(value: Any, what: str, function: Any) -> jax.Array:
    """The value that a user's function has returned, as an array of real numbers.

    Raises
    ------
    InputError
        For nothing, for a function, and for what is no array of real numbers.
    """
    where = f"{what}{defined(function)}"
    if value is None:
        raise InputError("the function returns nothing", where, "end it with `return` and the value")
    if callable(value) and not isinstance(value, jax.Array | np.ndarray):
        raise InputError(
            "the function returns a function, not its value at the point",
            where,
            "call the unknown: u(x) in place of u, hx.derivative(u, 'x')(x) in place of hx.derivative(u, 'x')",
        )
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the function returns a {type(value).__name__}, which is no array of numbers",
            where,
            "return a number or an array; several components as jnp.stack([...])",
        ) from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise InputError(
            "the function returns complex numbers",
            where,
            "return the real and the imaginary part as two components: jnp.stack([r.real, r.imag])",
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InputError(
            f"the function returns values of the kind {array.dtype}, which have no derivative",
            where,
            "return a real number that tells how far the equation is from being met, such as u(x) - 1.0",
        )
    return array


def defined(function: Any) -> str:
    """File and line in which a function begins, after a comma; nothing where that is not known."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else f", {code.co_filename}, line {code.co_firstlineno}"


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
