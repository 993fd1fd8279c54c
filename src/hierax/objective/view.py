"""From the trained field to what a term sees: bounds, the hard constraint, one callable or a named collection."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from hierax._errors import InputError
from hierax.problems.calls import defined
from hierax.problems.problem import Problem
from hierax.problems.unknowns import Constant, Function

Bounds = tuple[float | None, float | None] | None


def bounded(bounds: Bounds) -> Callable[[Any], Any]:
    """Smooth increasing map of the real line onto the interval of the bounds; the identity without bounds."""
    low, high = bounds or (None, None)
    if low is not None and high is not None:
        return lambda z: low + (high - low) * jax.nn.sigmoid(z)
    if low is not None:
        return lambda z: low + jnp.exp(z)
    if high is not None:
        return lambda z: high - jnp.exp(-z)
    return lambda z: z


def unbounded(bounds: Bounds) -> Callable[[Any], Any]:
    """Inverse of `bounded`."""
    low, high = bounds or (None, None)
    if low is not None and high is not None:
        return lambda v: jnp.log((v - low) / (high - v))
    if low is not None:
        return lambda v: jnp.log(v - low)
    if high is not None:
        return lambda v: -jnp.log(high - v)
    return lambda v: v


def physical(problem: Problem, field: Any) -> Any:
    """What the terms of a problem get for a trained field.

    Parameters
    ----------
    problem:
        Gives bounds and constraint.
    field:
        A callable for one unnamed unknown; otherwise an object with one attribute for each unknown.

    Returns
    -------
    A callable `x -> u(x)`, or a collection `w` with one attribute for each unknown.
    """
    if problem.named:
        parts = {name: _part(field, name, unknown) for name, unknown in problem.unknowns.items()}
        return _constrained(problem, SimpleNamespace(**parts))
    (unknown,) = problem.unknowns.values()
    return _constrained(problem, _mapped(field, unknown.bounds))


def _constrained(problem: Problem, seen: Any) -> Any:
    """What the constraint makes of the unknowns, refused where it is not of their kind."""
    if problem.constraint is None:
        return seen
    out = problem.constraint(seen)
    missing = [name for name in problem.unknowns if not hasattr(out, name)] if problem.named else []
    if missing or not (problem.named or callable(out)):
        raise InputError(
            f"the constraint returns a {type(out).__name__}" + f" without {', '.join(missing)}" * bool(missing),
            f"Problem(constraint=...){defined(problem.constraint)}",
            "return a function of the point: lambda u: lambda x: x[0] * u(x); of several unknowns an object with all "
            "of them as attributes",
        )
    return out


def component(problem: Problem, field: Any, name: str) -> Any:
    """The physical unknown `name`: a callable, or a number for a constant."""
    seen = physical(problem, field)
    return getattr(seen, name) if problem.named else seen


def _part(field: Any, name: str, unknown: Function | Constant) -> Any:
    value = getattr(field, name)
    if isinstance(unknown, Constant):
        return bounded(unknown.bounds)(value)
    return _mapped(value, unknown.bounds)


def _mapped(function: Callable[..., Any], bounds: Bounds) -> Callable[..., Any]:
    if bounds is None:
        return function
    to_bounds = bounded(bounds)
    return lambda x: to_bounds(function(x))
