"""What was learned as an artefact of `jax.export`: a file that JAX calls without this library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax import export

from hierax.results.arrays import extra_module
from hierax.results.files import written

PLATFORMS = ("cpu", "cuda", "tpu")


def write_export(path: Path, function: Callable[..., Any], *shapes: Any) -> None:
    """Write a function for arguments of these shapes, which may have sizes that are left open.

    Raises
    ------
    InputError
        Where the package that writes it is missing, or the file cannot be written.
    """
    extra_module(path, "jax.export", "flatbuffers", "flatbuffers", "export")
    content = export.export(jax.jit(function), platforms=PLATFORMS)(*shapes).serialize()
    with written(path) as draft:
        draft.write_bytes(content)


def open_sizes(text: str) -> tuple[Any, ...]:
    """Sizes that the caller of an artefact chooses, `"n, p"`: symbols of one scope."""
    return tuple(export.symbolic_shape(text))
