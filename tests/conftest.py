"""Settings shared by all tests: 64 bits, figures without a display, the same examples on every run."""

import os
from pathlib import Path

# Before anything imports matplotlib.
os.environ.setdefault("MPLBACKEND", "Agg")
# Compilation is most of the time of these tests: what one test has compiled, others read from disk, also those of
# another worker or process, and of the next run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled"))
# What tests compile runs for milliseconds: a third of their time was the compiler's.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Processes that tests start read the library's bytecode in place of compiling it again, half of what importing takes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import gc
import time
from collections import Counter

import jax
import matplotlib
import pytest
from hypothesis import HealthCheck, settings

from hierax.objective import compiled

# The library's programs as well, which have settings of their own; those that run for long keep them.
compiled.LEAN.update(compiled.QUICK)
jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")
# Parsers of commands and what is traced are many small objects: looking for cycles among them took a third of the time.
gc.freeze()
gc.set_threshold(10_000, 20, 50)

# No deadline and no check of speed: the first example of a test pays for compilation.
settings.register_profile(
    "fixed",
    derandomize=True,
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fixed")


@pytest.fixture(autouse=True, scope="session")
def _own_seconds():
    """Budgets count the seconds that a test has the processor, so that other work on the machine changes nothing."""
    from hierax import clock

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "seconds_now", time.process_time)
        yield


_COMPILED: Counter[str] = Counter()


def _count(event: str, _: float, fun_name: str = "", **__) -> None:
    if event.endswith("backend_compile_duration"):
        _COMPILED[fun_name.removeprefix("jit(").removesuffix(")")] += 1


jax.monitoring.register_event_duration_secs_listener(_count)


@pytest.fixture
def compilations() -> Counter[str]:
    """How often a function of some name was compiled in this process so far; what tests before have is forgotten."""
    from hierax.objective.shared import program

    program.cache_clear()
    return _COMPILED


@pytest.fixture
def elapsed(monkeypatch):
    """Elapsed seconds, for tests about them."""
    from hierax import clock

    monkeypatch.setattr(clock, "seconds_now", time.perf_counter)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file is one worker's: what its tests share is trained and compiled once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, then those with many, so that no worker is left with a long one at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (-slow[item.path], -tests[item.path], item.path))
