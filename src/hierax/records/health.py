"""Checks of the installation: what a training needs, each with what was found."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import jax
import jax.numpy as jnp
import numpy as np

from hierax.problems.operators import derivative
from hierax.results.environment import PACKAGES, versions


@final
@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it passed, and what was found."""

    name: str
    passed: bool
    found: str


def examine(runs: Path) -> list[Finding]:
    """Run all checks; `runs` is where run folders go."""
    checks: dict[str, Callable[[], tuple[bool, str]]] = {
        "python": _python,
        "packages": _packages,
        "64 bits": _precision,
        "device": _device,
        "solve": _solve,
        "derivative": _derivative,
        "run folder": lambda: _writable(runs),
    }
    return [Finding(name, *check()) for name, check in checks.items()]


def _python() -> tuple[bool, str]:
    return sys.version_info >= (3, 11), f"{sys.version.split()[0]} (3.11 or newer is needed)"


def _packages() -> tuple[bool, str]:
    found, missing = versions()
    needed = [name for name in missing if name in PACKAGES]
    text = ", ".join(found) + (f"; not installed: {', '.join(missing)}" if missing else "")
    return not needed, text + (" (extras)" if missing and not needed else "")


def _precision() -> tuple[bool, str]:
    kind = jnp.zeros(()).dtype
    return kind == jnp.float64, f"numbers are {kind}"


def _device() -> tuple[bool, str]:
    devices = jax.devices()
    return bool(devices), f"{', '.join(str(device) for device in devices)}; {os.cpu_count()} processor cores"


def _solve() -> tuple[bool, str]:
    """A small linear system with a known solution, compiled and run on the device."""
    began = time.perf_counter()
    nodes = jnp.arange(1.0, 33.0)
    matrix = 2.0 * jnp.eye(32) - jnp.eye(32, k=1) - jnp.eye(32, k=-1)
    solution = jax.jit(jnp.linalg.solve)(matrix, jnp.ones(32))
    error = float(jnp.max(jnp.abs(solution / (nodes * (33.0 - nodes) / 2.0) - 1.0)))
    return error < 1e-10, f"a system of 32 unknowns, relative error {error:.1e}, {time.perf_counter() - began:.2f} s"


def _derivative() -> tuple[bool, str]:
    x = jnp.array([0.3])
    error = abs(float(jax.jit(derivative(lambda z: jnp.sin(z[0]), 0, 2))(x)) + np.sin(0.3))
    return error < 1e-12, f"second derivative of a sine, error {error:.1e}"


def _writable(runs: Path) -> tuple[bool, str]:
    """The nearest folder above that exists decides; nothing is created."""
    place = runs.resolve()
    while not place.exists():
        place = place.parent
    fits = place.is_dir() and os.access(place, os.W_OK)
    return fits, f"{runs.resolve()} {'can' if fits else 'cannot'} be written"
