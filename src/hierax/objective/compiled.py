"""Compiled programs: whose they are, those that run for milliseconds, and how many a process may hold."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.sharding import PartitionSpec

from hierax.devices import DEVICES, division
from hierax.objective.shared import Shared, program

LEAN: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
"""Settings of the compiler of processors: programs as fast in six tenths of the time to compile them, measured."""
LONG: dict[str, Any] = {"xla_backend_optimization_level": 1}
"""Settings for programs that run for long, as loops of optimisers: the others take a quarter to a half longer there."""
QUICK: dict[str, Any] = {**LEAN, "xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Settings that leave out what pays in programs that run for long: a quarter of the time, programs half as fast."""
MOST_MAPPED = 0.5
"""Part of the mappings of memory that the system allows, above which compiled programs are forgotten."""


def compiled(function: Callable[..., Any], settings: dict[str, Any] = LEAN) -> Callable[..., Any]:
    """The function, compiled with settings of the compiler where it knows them."""
    return Shared(function, settings if _knows_settings() else None)


def compiled_quickly(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled in a fraction of the usual time into a program that is slower."""
    return compiled(function, QUICK)


@functools.cache
def _knows_settings() -> bool:
    """Whether programs are for processors, and the compiler is one that has the settings for these."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options=QUICK).lower().compile()
    except Exception:  # what is raised for settings that are not known is no class of its own
        return False
    return True


def compiled_for_each(
    fixed: int,
    keeper: Callable[[Any], Any] = lambda first: first,
    settings: dict[str, Any] = LEAN,
    samples: tuple[Any, ...] | None = None,
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
    settings:
        Those of the compiler.
    samples:
        Of a function whose results are those of samples, one by one along the leading axis, which of the other
        arguments have them along theirs, as `in_axes` of `jax.vmap` say it: the devices of this process divide them.
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any) -> Any:
            constants, given, devices = arguments[:fixed], arguments[fixed:], division()
            if devices is not None and samples is not None:
                count = max(_counts(samples, given), default=1)
                devices = None if devices.own.size == 1 or count % devices.own.size else devices
            programs, key = vars(keeper(constants[0])).setdefault("_programs", {}), (function, devices, *constants)
            if key not in programs:
                own = functools.wraps(function)(functools.partial(function, *constants))
                if devices is not None and samples is not None:
                    specs = jax.tree.map(_spec, samples, is_leaf=lambda axis: axis is None)
                    own = jax.shard_map(
                        own, mesh=devices.own, in_specs=specs, out_specs=PartitionSpec(DEVICES), check_vma=False
                    )
                programs[key] = compiled(own, settings)
            return programs[key](*given)

        return run

    return decorated


def _counts(samples: Any, given: Any) -> list[int]:
    """Lengths of the leading axes of what belongs to samples."""
    own = jax.tree.map(
        lambda axis, part: () if axis is None else part, samples, given, is_leaf=lambda axis: axis is None
    )
    return [len(leaf) for leaf in jax.tree.leaves(own)]


def _spec(axis: int | None) -> PartitionSpec:
    return PartitionSpec() if axis is None else PartitionSpec(DEVICES)


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
        program.cache_clear()
        jax.clear_caches()
