"""What the JSON of a training holds, in the kinds that JSON knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from hierax.events import LevelRecord
from hierax.fields.base import partition


def plain(value: Any) -> Any:
    """The value as JSON knows it: NumPy and JAX numbers and arrays as Python's, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | jax.Array | np.generic):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def level_record(level: LevelRecord) -> dict[str, Any]:
    """A row of the table of levels."""
    record: dict[str, Any] = {
        "level": level.level,
        "parameters": level.parameters,
        "points": level.points,
        "steps": level.steps,
        "loss": level.loss,
    }
    if level.error is not None or level.validation_error is None:
        record["error"] = level.error
    if level.validation_error is not None:
        record["validation_error"] = level.validation_error
    return record | {"seconds": level.seconds, "seconds_compile": level.seconds_compile}


def precision(trained: Any) -> str:
    """Precisions of the trained arrays, `float64` as a rule."""
    leaves = jax.tree.leaves(partition(trained)[0])
    return ", ".join(sorted({str(leaf.dtype) for leaf in leaves})) or "none"


def device() -> str:
    """The device in words."""
    first = jax.devices()[0]
    return first.platform if first.device_kind == first.platform else f"{first.platform} ({first.device_kind})"
