"""Material networks on the command line: cells in users' files, run folders, and effective tensors from arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hierax._errors import InputError
from hierax.clock import peak_memory_mib
from hierax.materials.cells import Cell
from hierax.materials.learning import LearnedNetwork
from hierax.records.folder import SURROGATE
from hierax.records.run import Run
from hierax.records.settings import call_with
from hierax.records.surrogates import RECORD
from hierax.records.user_file import named_in, object_of_file, searched_first, user_errors
from hierax.results.archive import pack
from hierax.results.arrays import named_arrays
from hierax.results.record import plain

PHASES, EFFECTIVE = "phases", "effective"
"""Arrays that `predict` reads and writes."""


def cell_of_file(text: str, settings: Sequence[str]) -> tuple[Cell, Path]:
    """The cell that `FILE.py:OBJECT` names, or what the function of that name returns; and the file.

    Raises
    ------
    InputError
        For a text or an object of another kind, and errors inside of the file, with their line.
    """
    path, word = named_in(text)
    if path is None:
        raise InputError(f"{text!r} is no cell.", "hierax material", "Write FILE.py:OBJECT.")
    home = path.resolve().parent
    found = object_of_file(path, word, home)
    if callable(found):
        with searched_first(home), user_errors(path):
            found = call_with(found, settings, f"function {word!r}")
    if not isinstance(found, Cell):
        raise InputError(
            f"{word!r} gives a {type(found).__name__}.",
            text,
            "Name a hx.materials.Cell, or a function that returns one.",
        )
    return found, path


def write_network(run: Run, made: LearnedNetwork, options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a material network in a run folder; its record for other programs."""
    network = made.network
    record = {
        "depth": network.depth, "alive": int(np.sum(network.alive)), "leaves": len(network.phases),
        "error_mean": np.mean(made.errors), "errors": made.errors, "grid_error": made.grid_error,
        "volume": made.volume, "fractions": made.fractions, "path_error": made.path_error,
        "candidates": made.candidates, "guards": {name: guard._asdict() for name, guard in made.guards.items()},
        "result": "successful" if made.passed else "guard_validation", "options": options,
        "seconds_samples": made.seconds_samples, "seconds": made.seconds, "peak_memory_mib": peak_memory_mib(),
        "run": str(run.path),
    }  # fmt: skip
    shown = plain(record)
    run.write_result({SURROGATE: pack(made), RECORD: json.dumps(shown, indent=2).encode() + b"\n"})
    return shown


def predicted_tensors(made: LearnedNetwork, path: Path) -> dict[str, np.ndarray]:
    """Effective tensors of the phases `(samples, phases, size, size)` in an NPZ.

    Raises
    ------
    InputError
        For phases of another shape, or that are not positive definite.
    """
    phases = np.asarray(named_arrays(path, [PHASES])[PHASES], dtype=float)
    size, count = made.network.physics.size, len(made.fractions)
    if phases.ndim != 4 or phases.shape[1:] != (count, size, size) or not np.all(np.linalg.eigvalsh(phases) > 0.0):
        raise InputError(
            f"The array {PHASES!r} has the shape {phases.shape}, or tensors that are not positive definite.", str(path),
            f"Give symmetric positive tensors (samples, {count}, {size}, {size}), in Mandel's notation for elasticity.",
        )  # fmt: skip
    return {EFFECTIVE: made.effective(phases)}
