"""The one clock of a training, seconds spent compiling as JAX itself reports them, and the peak memory."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from jax import monitoring

_STAGES = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")
_total = [0.0]


def _listen(event: str, duration_secs: float, **_: Any) -> None:
    if event.endswith(_STAGES):
        _total[0] += duration_secs


monitoring.register_event_duration_secs_listener(_listen)  # pyright: ignore


_TOLD: ContextVar[Callable[[float], float] | None] = ContextVar("_TOLD", default=None)


def seconds_now() -> float:
    """Seconds of a clock that only goes forward; take differences."""
    own, told = time.perf_counter(), _TOLD.get()
    return own if told is None else told(own)


@contextlib.contextmanager
def told(by: Callable[[float], float] | None) -> Iterator[None]:
    """Read another clock inside of the block, which `by` makes of the seconds of this one: several processes that come
    to the same decisions need the same clock."""
    token = _TOLD.set(by)
    try:
        yield
    finally:
        _TOLD.reset(token)


def compile_seconds() -> float:
    """Seconds of tracing, lowering and compilation in this process so far; take differences."""
    return _total[0]


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far, in MiB; `None` where the system does not tell (Windows)."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB
