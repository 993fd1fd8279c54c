"""Known solutions with a stated error bound, and how an error is measured against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax.problems.checked import UNTRACEABLE
from hierax.problems.remembered import once_for_each

MEASURED = 8192
"""Points at which errors are measured."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A solution given point by point.

    Parameters
    ----------
    value:
        A callable of a point `(dim,)` to `()` or `(m,)`, written with `jax.numpy`; with several unknowns a mapping
        from their names to such callables (or numbers, for constants).
    error_bound:
        Bound of its relative L2 error: the floor, below which no error is reported.
    """

    value: Callable[..., Any] | Mapping[str, Any]
    error_bound: float = 0.0

    def named(self) -> dict[str, Any]:
        """What is known, by the name of the unknown; empty for a bare callable outside a `Problem`."""
        return dict(self.value) if isinstance(self.value, Mapping) else {}

    def evaluate(self, points: np.ndarray, name: str) -> np.ndarray | None:
        """Values of the unknown `name` at the points `(n, dim)`, or `None` when it is not known."""
        value = _pick(self.value, name)
        if value is None or not callable(value):
            return None if value is None else np.full(len(points), float(value))
        given = jnp.asarray(points)
        try:
            return np.asarray(self._compiled(name)(given))
        except UNTRACEABLE:  # it asks for values of what it computes, such as whether a series has ended
            return np.asarray(jax.vmap(value)(given))

    @once_for_each
    def _compiled(self, name: str) -> Callable[[jax.Array], jax.Array]:
        """What is known of an unknown, for many points, as one program: its operations one by one are dozens."""
        return jax.jit(jax.vmap(_pick(self.value, name)))


@dataclass(frozen=True, eq=False)
class TabulatedReference:
    """A solution computed for many points at once by a classical method.

    Parameters
    ----------
    value:
        Maps points `(n, dim)` to `(n,)` or `(n, m)`, in NumPy; with several unknowns a mapping from their names.
    error_bound:
        Bound of its relative L2 error: the floor, below which no error is reported.
    """

    value: Callable[[np.ndarray], np.ndarray] | Mapping[str, Any]
    error_bound: float

    def named(self) -> dict[str, Any]:
        """What is known, by the name of the unknown; empty for a bare callable outside a `Problem`."""
        return dict(self.value) if isinstance(self.value, Mapping) else {}

    def evaluate(self, points: np.ndarray, name: str) -> np.ndarray | None:
        """Values of the unknown `name` at the points `(n, dim)`, or `None` when it is not known."""
        value = _pick(self.value, name)
        if value is None or not callable(value):
            return None if value is None else np.full(len(points), float(value))
        return np.asarray(value(points))


AnyReference = Reference | TabulatedReference


def _pick(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else value
