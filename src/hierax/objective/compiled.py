"""Functions that run for milliseconds, compiled for that: what counts is how long they take to compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Settings of the compiler that leave out what pays in programs that run for long."""


def compiled_quickly(function: Callable[..., Any], static_argnums: Sequence[int] = ()) -> Callable[..., Any]:
    """The function, compiled in a fraction of the usual time into a program that is slower."""
    return jax.jit(function, static_argnums=static_argnums, compiler_options=QUICK)
