"""The manifest of a run folder: length and SHA-256 sum of every file in it, and of itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from hierax._errors import InputError
from hierax.results.files import DAMAGED, read_bytes, read_text, write_text

MANIFEST, FORMAT, SUM = "manifest.json", 2, "sha256"


@final
@dataclass(frozen=True)
class Entry:
    """Bytes and SHA-256 sum of a file; of one that still `grows` those of its beginning."""

    bytes: int
    sha256: str
    grows: bool = False

    @classmethod
    def of(cls, content: bytes, grows: bool = False) -> Entry:
        """The entry of a file with this content."""
        return cls(len(content), hashlib.sha256(content).hexdigest(), grows)

    def fault(self, content: bytes) -> str:
        """What is wrong with a file that should have had this entry; empty where nothing is."""
        if len(content) < self.bytes or (len(content) > self.bytes and not self.grows):
            return f"it has {len(content)} bytes, and had {self.bytes} when it was written"
        found = hashlib.sha256(content[: self.bytes]).hexdigest()
        return "" if found == self.sha256 else "its SHA-256 sum is not the one that was noted when it was written"


@final
@dataclass(frozen=True)
class Manifest:
    """The files of a run folder by their names; others in it are not of the run."""

    files: Mapping[str, Entry] = field(default_factory=dict)

    def changed(self, new: Mapping[str, Entry], gone: set[str] | frozenset[str] = frozenset()) -> Manifest:
        """With new entries, and without those of files that are gone."""
        return Manifest({name: entry for name, entry in {**self.files, **new}.items() if name not in gone})

    def write(self, folder: Path) -> None:
        """Write it into a folder, completely or not at all."""
        write_text(folder / MANIFEST, self._text())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder.

        Raises
        ------
        InputError
            If it is missing, damaged, or of another version.
        """
        path, text = folder / MANIFEST, read_text(folder / MANIFEST, DAMAGED)
        try:
            record = json.loads(text)
            if record["format"] != FORMAT:
                raise InputError(
                    f"The folder is of format {record['format']}, this version reads format {FORMAT}.",
                    str(path),
                    "Use the version of hierax that wrote it.",
                )
            manifest = cls({_name(name): Entry(**entry) for name, entry in record["files"].items()})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"The manifest is damaged ({type(error).__name__}).", str(path), DAMAGED) from error
        if manifest._text() != text:
            raise InputError("The manifest is damaged: it does not have its own sum.", str(path), DAMAGED)
        return manifest

    def faults(self, folder: Path) -> dict[str, str]:
        """What is wrong with files of a folder, by their names; nothing where all are as they were written."""
        found = {name: _fault(folder / name, entry) for name, entry in self.files.items()}
        return {name: fault for name, fault in found.items() if fault}

    def _text(self) -> str:
        files = {name: dataclasses.asdict(entry) for name, entry in sorted(self.files.items())}
        body: dict[str, Any] = {"format": FORMAT, "files": files}
        body[SUM] = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        return json.dumps(body, indent=2) + "\n"


def _fault(path: Path, entry: Entry) -> str:
    try:
        return entry.fault(read_bytes(path, DAMAGED))
    except InputError as error:
        return error.what[0].lower() + error.what[1:].rstrip(".")


def _name(name: str) -> str:
    """A name of a file, which leads nowhere else."""
    if name in ("", ".", "..") or Path(name).name != name or "\\" in name:
        raise ValueError(f"{name!r} is no name of a file")
    return name
