"""Files that are there completely or not at all, with errors that people can act on."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hierax._errors import InputError

MOST_ARRAYS = 2**31
"""Most bytes of all arrays of a file that is read."""
MOST_JSON = 2**28
"""Most bytes of a JSON file that is read."""
DAMAGED = "Take the file from a copy, or train again; a file of a run must not be edited."


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A draft beside `path` that replaces it when the block ends without an error, and is on the disk by then.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    check_writable(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask())  # temporary files are private, results need not be
        synced(draft)
        draft.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        draft.unlink(missing_ok=True)


def synced(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk; where it cannot, that is not tried."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return  # folders cannot be opened on Windows
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


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
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text, completely or not at all."""
    with written(path) as draft:
        draft.write_text(text, encoding="utf-8")


def read_bytes(path: Path, remedy: str, most: int | None = None) -> bytes:
    """Read a file that is no link, and no larger than `most` bytes.

    Raises
    ------
    InputError
        If it is missing, a link, no file, too large, or cannot be read, with the remedy given.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError("This is no ordinary file.", str(path), remedy)
            if most is not None and found.st_size > most:
                raise InputError(f"The file has {found.st_size} bytes; {most} are read at most.", str(path), remedy)
            return file.read()
    except FileNotFoundError as error:
        raise InputError(f"The file {path.name!r} is missing.", str(path), remedy) from error
    except OSError as error:
        linked = path.is_symlink()
        what = "The file is a link, which is not followed" if linked else f"The file cannot be read ({error.strerror})"
        raise InputError(f"{what}.", str(path), remedy) from error


def check_sizes(file: Any, where: Path, wanted: Iterable[str] | None = None) -> None:
    """Refuse a ZIP file, an NPZ for example, whose parts would take more memory than is meant to be used.

    Parameters
    ----------
    file:
        A path or a stream.
    where:
        The file for messages.
    wanted:
        Names of the arrays that will be read; all of them if not given.

    Raises
    ------
    InputError
        If they are larger than `MOST_ARRAYS` together.
    """
    names = None if wanted is None else {f"{name}.npy" for name in wanted}
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist() if names is None or entry.filename in names)
    if size > MOST_ARRAYS:
        raise InputError(
            f"The arrays in it take {size / 2**30:.1f} GiB, of which {MOST_ARRAYS / 2**30:g} are read at most.",
            str(where),
            "Give fewer rows, or columns of single precision.",
        )


def read_text(path: Path, remedy: str, most: int = MOST_JSON) -> str:
    """Read a text; see `read_bytes`."""
    try:
        return read_bytes(path, remedy, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"The file is no text ({error}).", str(path), remedy) from error


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If it is missing, a link, too large or damaged, with the remedy given.
    """
    text = read_text(path, remedy)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The file cannot be read ({error}).", str(path), remedy) from error


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"The file cannot be written: {error.strerror or error}.", str(path), "Check the space left and the path."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
