"""From what a run folder notes of its problem back to where that comes from, if it is still the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hierax._errors import InputError
from hierax.records.sources import (
    AbstractSource,
    DataSource,
    checksum,
    continued_source,
    parametric_source,
)


def recorded_source(record: Mapping[str, Any], options: Mapping[str, Any], given: str | None) -> AbstractSource:
    """The source that a run folder noted; code that it names has to be given, and nothing that has changed is taken.

    Parameters
    ----------
    record, options:
        What `AbstractSource.record` returned, and how the run was asked for.
    given:
        `FILE.py`, with or without `:OBJECT`, where the problem was in a file; another path of the table for a fit.

    Raises
    ------
    InputError
        If a file has to be given, is another one, or the record cannot be read.
    """
    try:
        kind, through, settings = record["kind"], options.get("continue"), tuple(record.get("settings", ()))
        settings = tuple(options["set"]) if through is not None else settings
        if kind == "catalogue":
            text = str(record["name"])
        elif kind == "file":
            text = same_file(record, given)
        elif kind == "data":
            path = same_table(record, given)
            columns = {key: tuple(record[key]) for key in ("inputs", "outputs", "rename", "log", "domain", "periodic")}
            rest = {key: record[key] for key in ("level", "cost", "sigma", "drop_missing")}
            return DataSource(path, **columns, **rest, group=record.get("group"))
        else:
            raise InputError(
                "The problem of this run was made by a script.", "--problem", "Go on there: hx.resume(path, problem)."
            )
        ranges = tuple(map(str, record.get("over", ())))
        return (
            parametric_source(text, settings, ranges) if through is None else continued_source(text, settings, through)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The run does not say what its problem was ({type(error).__name__}: {error}).",
            "settings.json",
            "Give the folder of a run of `hierax train` or `hierax fit`.",
        ) from error


def same_file(record: Mapping[str, Any], given: str | None) -> str:
    """`FILE.py:OBJECT`, where it is the one of the record.

    Raises
    ------
    InputError
        If it has to be given, or is another one.
    """
    was = f"{record['file']}:{record['object']}"
    if given is None:
        raise InputError(
            f"The problem of this run is code, in {record['given']}, which is not run unless you name it.",
            "--problem",
            f"Add --problem {record['given']}:{record['object']}.",
        )
    file, separator, name = given.rpartition(":")
    path = Path(file if separator and file.endswith(".py") else given)
    if separator and file.endswith(".py") and name != record["object"]:
        raise InputError(f"The problem is {name!r}, that of the run {record['object']!r}.", given, f"Give {was}.")
    if not path.is_file():
        raise InputError("There is no such file.", str(path), "Check the path; relative ones start where you are.")
    if checksum(path) != record["sha256"]:
        raise InputError(
            f"The file is not the one that the run was started with, {record['file']}, or has changed since.",
            str(path),
            "Give the file as it was; the run folder has a copy of it. For another problem start another run.",
        )
    return f"{path}:{record['object']}"


def same_table(record: Mapping[str, Any], given: str | None) -> Path:
    """The table of the record, where it is the same; see `same_file`."""
    path = Path(given or record["file"])
    if not path.is_file():
        raise InputError("The table of this run is gone.", str(path), "Say where it is now by --problem FILE.")
    if checksum(path) != record["sha256"]:
        raise InputError(
            "The table is not the one that the run was started with, or has changed since.",
            str(path),
            "Give the table as it was; for other data start another run.",
        )
    return path
