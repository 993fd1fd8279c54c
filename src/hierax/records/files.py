"""Files that are there completely or not at all, with errors that people can act on."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hierax._errors import InputError


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A draft beside `path` that replaces it when the block ends without an error.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    check_writable(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask())  # temporary files are private, results need not be
        draft.replace(path)
    except OSError as error:
        raise InputError(
            f"The file cannot be written: {error.strerror or error}.", str(path), "Check the space left and the path."
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Refuse a path whose folder is missing or cannot be written, or that is a folder itself; before any work."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir():
        what = "This is a folder, not a file." if path.is_dir() else f"There is no folder {str(folder)!r}."
        raise InputError(what, str(path), "Give the path of a file in a folder that exists.")
    if not os.access(folder, os.W_OK):
        raise InputError(
            f"The folder {str(folder)!r} cannot be written.", str(path), "Give a path in a folder that is writable."
        )


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON; NaN and infinity are refused, because other readers refuse them."""
    with written(path) as draft:
        draft.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If it is missing or damaged, with the remedy given.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"The file {path.name!r} is missing.", str(path), remedy) from error
    except (OSError, ValueError) as error:
        raise InputError(f"The file cannot be read ({error}).", str(path), remedy) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
