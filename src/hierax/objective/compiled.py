"""Compiled programs: those that run for milliseconds, and how many a process may hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Settings of the compiler that leave out what pays in programs that run for long."""
MOST_MAPPED = 0.5
"""Part of the mappings of memory that the system allows, above which compiled programs are forgotten."""


def compiled_quickly(function: Callable[..., Any], static_argnums: Sequence[int] = ()) -> Callable[..., Any]:
    """The function, compiled in a fraction of the usual time into a program that is slower."""
    return jax.jit(function, static_argnums=static_argnums, compiler_options=QUICK)


def forget_if_many() -> None:
    """Forget all compiled programs where a few hundred more would end the process.

    Each holds mappings of memory, whose number Linux limits for a process (65,530 by default); beyond that the compiler
    crashes. A training makes some 300. What is used again is compiled again.
    """
    try:
        allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
        with Path("/proc/self/maps").open("rb") as maps:
            held = sum(1 for _ in maps)
    except (OSError, ValueError):
        return  # a system without such a limit
    if held > MOST_MAPPED * allowed:
        jax.clear_caches()
