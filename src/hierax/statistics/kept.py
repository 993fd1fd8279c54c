"""Values of models as they come, in files that a later estimation reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, final

import numpy as np

from hierax import clock

SUFFIX = ".values"
"""Of the files: a line that says the shape of a value, then rows of a number, a cost and the value."""
FLUSHED = 1.0
"""Seconds after which rows are written through."""


@final
@dataclass(eq=False)
class Stream:
    """The values of one model along one stream of samples; what comes is written to a file, if there is one.

    Attributes
    ----------
    numbers, costs, values:
        Numbers of samples, in rising order, their costs and values `(n, *shape)`, as the file had them at first.
    """

    path: Path | None = None
    numbers: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    costs: np.ndarray = field(default_factory=lambda: np.zeros(0))
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    _file: BinaryIO | None = None
    _flushed: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Stream:
        """With the whole rows that a file has; what a kill has left of a further one is cut off."""
        if not path.exists():
            return cls(path)
        head, _, body = path.read_bytes().partition(b"\n")
        try:
            shape = tuple(json.loads(head))
        except ValueError:
            # not even the first line was written
            path.unlink()
            return cls(path)
        kind = _row(shape)
        whole = len(body) // kind.itemsize * kind.itemsize
        if whole < len(body):
            with path.open("r+b") as file:
                file.truncate(len(head) + 1 + whole)
        numbers, first = np.unique(np.frombuffer(body[:whole], kind)["number"], return_index=True)
        rows = np.frombuffer(body[:whole], kind)[first]
        return cls(path, numbers, rows["cost"], rows["value"])

    def known(self, numbers: np.ndarray) -> np.ndarray:
        """Rows of samples `(n,)`, -1 where there is none."""
        if not len(self.numbers):
            return np.full(len(numbers), -1)
        place = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where(self.numbers[place] == numbers, place, -1)

    def add(self, numbers: np.ndarray, values: np.ndarray, costs: np.ndarray) -> None:
        """Write what has come."""
        if self.path is None:
            return
        rows = np.empty(len(numbers), _row(values.shape[1:]))
        rows["number"], rows["cost"], rows["value"] = numbers, costs, values
        if self._file is None:
            self._file = self.path.open("ab")
            if not self._file.tell():
                self._file.write(json.dumps(values.shape[1:]).encode() + b"\n")
        self._file.write(rows.tobytes())
        if clock.seconds_now() > self._flushed + FLUSHED:
            self._file.flush()
            self._flushed = clock.seconds_now()

    def close(self) -> None:
        """Write all of it through."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _row(shape: tuple[int, ...]) -> np.dtype:
    return np.dtype([("number", np.int64), ("cost", float), ("value", float, shape)])


@final
@dataclass(eq=False)
class KeptValues:
    """Streams of values in a folder; nothing is kept without one."""

    folder: Path | None = None
    _streams: dict[str, Stream] = field(default_factory=dict)

    def stream(self, name: str) -> Stream:
        """The stream of a name."""
        if self.folder is None:
            return Stream()
        if name not in self._streams:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._streams[name] = Stream.read(self.folder / f"{name}{SUFFIX}")
        return self._streams[name]

    @property
    def spent(self) -> float:
        """What all values cost that were there before."""
        found = [] if self.folder is None else self.folder.glob(f"*{SUFFIX}")
        return float(sum(np.sum(self.stream(path.name.removesuffix(SUFFIX)).costs) for path in found))

    def close(self) -> None:
        """Write all of it through."""
        for stream in self._streams.values():
            stream.close()
