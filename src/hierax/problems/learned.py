"""A trained function as a part of other terms, which remembers where it was learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax.problems.watched import SeenInputs, watched


@final
@dataclass(frozen=True, eq=False)
class Learned:
    """A value of a solution as a JAX function of one point, for use inside of `jit`, `grad`, `vmap` and other terms.

    Attributes
    ----------
    value:
        The function, after bounds and constraint.
    seen:
        Where it was learned; its inputs are marked, so that guards of a problem that uses it can ask.
    """

    value: Callable[[Float[Array, " dim"]], Float[Array, " *m"]]
    seen: SeenInputs

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " *m"]:
        return self.value(watched(jnp.asarray(x), self.seen))
