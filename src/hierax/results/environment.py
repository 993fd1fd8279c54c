"""Where a training ran: versions, machine, device, precision."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

import jax
import jax.numpy as jnp

PACKAGES = ("jax", "jaxlib", "equinox", "optax", "lineax", "jaxtyping", "numpy", "scipy", "rich", "tyro", "matplotlib")
EXACT = ("jax", "jaxlib", "equinox", "optax", "lineax", "numpy", "scipy")
"""Those that bits depend on."""
WITHOUT_BITS = ("records", "results", "sklearn", "testing", "cli", "__main__.py", "__pycache__", "py.typed")
"""Parts of this package that bits do not depend on."""
EXTRAS = ("h5py", "optimistix", "tensorboard")


def versions() -> tuple[list[str], list[str]]:
    """The packages that are installed, `name version`, and the names of those that are not."""
    found, missing = [], []
    for name in (*PACKAGES, *EXTRAS):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return found, missing


def environment() -> dict[str, str]:
    """What of this process and machine a result may depend on, by name; nothing that identifies its owner."""
    devices = jax.devices()
    return {
        "hierax": _own_version(),
        "Python": platform.python_version(),
        "packages": ", ".join(versions()[0]),
        "system": f"{platform.system()} {platform.machine()}",
        "processor cores": str(os.cpu_count()),
        # how many there are changes results by rounding alone
        "device": ", ".join(dict.fromkeys(f"{device.platform} ({device.device_kind})" for device in devices)),
        "numbers": str(jnp.zeros(()).dtype),
    }


def _own_version() -> str:
    try:
        version = importlib.metadata.version("hierax")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed as a package"
    return f"{version} (sources {_sources()})"


@functools.cache
def _sources() -> str:
    """A sum over the source texts that bits depend on: one version has several while it is worked on."""
    package, total = Path(__file__).parent.parent, hashlib.sha256()
    for room in sorted(entry for entry in package.iterdir() if entry.name not in WITHOUT_BITS):
        for file in sorted(room.rglob("*.py")) if room.is_dir() else [room]:
            total.update(file.read_bytes())
    return total.hexdigest()[:12]
