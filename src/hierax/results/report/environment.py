"""Where a training ran: versions, machine, device, precision."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import jax
import jax.numpy as jnp

PACKAGES = ("jax", "jaxlib", "equinox", "optax", "lineax", "jaxtyping", "numpy", "scipy", "rich", "tyro", "matplotlib")
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
        "device": ", ".join(f"{device.platform} ({device.device_kind})" for device in devices),
        "numbers": str(jnp.zeros(()).dtype),
    }


def _own_version() -> str:
    try:
        return importlib.metadata.version("hierax")
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"
