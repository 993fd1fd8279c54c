"""Where results may be written: never over what they were made from, nor over files of a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hierax._errors import InputError
from hierax.records.manifest import MANIFEST
from hierax.results.files import check_writable


def check_output(path: Path, inputs: Iterable[Path] = (), force: bool = False) -> None:
    """Refuse a path that cannot be written, is one of the inputs, or lies in a run folder, before any work.

    Parameters
    ----------
    inputs:
        Files that are read.
    force:
        Whether inputs and files of runs may be overwritten all the same.

    Raises
    ------
    InputError
        With what would be lost.
    """
    check_writable(path)
    if force:
        return
    if any(own.exists() and path.exists() and path.samefile(own) for own in inputs):
        raise InputError("This file is an input; it would be overwritten.", str(path), "Give another, or add --force.")
    if (path.parent / MANIFEST).exists():
        raise InputError(
            "This folder is that of a run, whose files are not to be mixed with others.",
            str(path),
            "Give a path outside of it, or add --force.",
        )
