"""Rows of a long study, kept as they come: a study that is broken off goes on from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import final

from hierax.results.files import read_json, write_json
from hierax.results.record import plain
from studies.common import Row
from studies.pages import commit


@final
class SoFar:
    """What a study has measured, in the file `NAME-so-far.json` of its folder.

    The same command with the same `--out` measures what is missing there; rows taken out of the file are measured
    again. Every row has the commit that it was measured with.

    Parameters
    ----------
    out:
        Folder of the study.
    name:
        Its name.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._path, self._commit = out / f"{name}-so-far.json", commit()
        there = self._path.exists()
        self.rows: list[Row] = read_json(self._path, "Give another folder by --out DIR.")["rows"] if there else []

    def add(self, key: Row, measure: Callable[[], Iterable[Row]]) -> None:
        """Measure the rows of `key`, the entries by which they are known, unless they are there."""
        if not any(key.items() <= row.items() for row in self.rows):
            self.rows += [plain(key | row | {"commit": self._commit}) for row in measure()]
            write_json(self._path, {"rows": self.rows})

    def reading(self) -> str:
        """A sentence for the page on the code that the rows are from."""
        counts = {own: sum(row["commit"] == own for row in self.rows) for own in {row["commit"] for row in self.rows}}
        parts = [f"{count} from `{own}`" for own, count in sorted(counts.items(), key=lambda entry: -entry[1])]
        return f"Rows by the code that they were measured with: {', '.join(parts)}."
