"""Compiled programs: whose they are, those that run for milliseconds, and how many a process may hold."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Settings of the compiler that leave out what pays in programs that run for long."""
MOST_MAPPED = 0.5
"""Part of the mappings of memory that the system allows, above which compiled programs are forgotten."""


def compiled_quickly(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled in a fraction of the usual time into a program that is slower."""
    return jax.jit(function, compiler_options=QUICK)


def compiled_for_each(
    fixed: int, keeper: Callable[[Any], Any] = lambda first: first
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function once for all values of its first arguments, which are hashable and belong to the program.

    The programs live in an object, so that they go when it goes: JAX's own tables would keep all that was compiled for
    static arguments, and what these refer to, as long as the process.

    Parameters
    ----------
    fixed:
        Number of those arguments.
    keeper:
        The object, from the first argument; that argument itself by default.
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any) -> Any:
            constants = arguments[:fixed]
            programs, key = vars(keeper(constants[0])).setdefault("_programs", {}), (function, *constants)
            if key not in programs:
                programs[key] = jax.jit(functools.wraps(function)(functools.partial(function, *constants)))
            return programs[key](*arguments[fixed:])

        return run

    return decorated


def forget_if_many() -> None:
    """Forget all compiled programs where a few hundred more would end the process.

    Each holds mappings of memory, whose number Linux limits for a process (65,530 by default); beyond that the compiler
    crashes. What is used again is compiled again.
    """
    try:
        allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
        with Path("/proc/self/maps").open("rb") as maps:
            held = sum(1 for _ in maps)
    except (OSError, ValueError):
        return  # a system without such a limit
    if held > MOST_MAPPED * allowed:
        jax.clear_caches()
