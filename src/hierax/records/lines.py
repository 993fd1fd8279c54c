"""The file of events of a run folder: it grows by lines, and belongs to one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, final

from hierax._errors import InputError
from hierax.records.manifest import Entry


@final
class Lines:
    """A file that grows by lines, with the sum of what it holds; locked against other processes as long as it is open.

    After an error nothing is appended any more: a line may have been written in part.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.length = path, 0
        self._sum, self._file, self._failed = hashlib.sha256(), None, False
        self._file: BinaryIO | None

    def append(self, line: str) -> None:
        if self._failed:
            return
        content = line.encode() + b"\n"
        try:
            if self._file is None:
                self._file = self.path.open("ab")
                _lock(self._file, self.path)
            self._file.write(content)
            self._file.flush()
        except OSError:
            self._failed = True
            raise
        self.length += len(content)
        self._sum.update(content)

    def entry(self, grows: bool = True) -> Entry:
        """For the manifest."""
        return Entry(self.length, self._sum.hexdigest(), grows or self._failed)

    def cut(self, length: int) -> Entry:
        """Go on after the first bytes of what is there."""
        self._file = self.path.open("ab")
        _lock(self._file, self.path)
        beginning = self.path.read_bytes()[:length]
        self.length, self._sum = len(beginning), hashlib.sha256(beginning)
        return self.entry()

    def shorten(self) -> None:
        """Drop what follows them."""
        if self._file is not None:
            self._file.truncate(self.length)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _lock(file: BinaryIO, path: Path) -> None:
    """Refuse a file that another process writes; the lock ends with the process, however that ends."""
    if sys.platform == "win32":
        return
    fcntl = import_module("fcntl")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            "Another process is writing this run.", str(path.parent), "Wait until it has ended, or end it."
        ) from error
    except OSError:
        return  # some file systems know no locks
