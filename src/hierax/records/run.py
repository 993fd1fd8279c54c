"""The run folder: settings, plan, every event, the result, the trained field and a figure."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO, final

from hierax._errors import InputError
from hierax._results import RESULTS
from hierax.events import Event, RunStarted
from hierax.problems.problem import Problem
from hierax.records.fields_io import load_field, save_field
from hierax.records.files import read_json, write_json
from hierax.records.sources import AbstractSource, kept_source
from hierax.results.report.environment import environment
from hierax.results.solution import Solution, plain

SETTINGS, PLAN, EVENTS, SOLUTION, FIGURE = "settings.json", "plan.txt", "events.jsonl", "solution.json", "figure.png"
DIAGNOSIS = "diagnosis.txt"
"""What limited the run, with the evidence, in words; missing where it shows too little."""
RUNS = Path("runs")
"""Where run folders go unless they are named."""
NO_RUN = "Give the folder of a run of `hierax train` or `hierax fit` that has ended."


@final
class Run:
    """A run folder that is being written; as a subscriber of `train` it keeps the plan and every event.

    Parameters
    ----------
    path:
        A folder that this run alone writes to, see `create`.
    """

    path: Path

    def __init__(self, path: Path) -> None:
        self.path = path
        self._events: TextIO | None = None

    @classmethod
    def create(cls, name: str, path: Path | None = None) -> Run:
        """Make the folder `path`, or `runs/<name>-<number>` with the first number that is free.

        Raises
        ------
        InputError
            If `path` exists and is not empty, or the folder cannot be written.
        """
        try:
            folder = _numbered(RUNS, name) if path is None else _given(path)
        except OSError as error:
            raise InputError(
                f"The run folder cannot be made: {error.strerror}.",
                str(error.filename or path),
                "Give a folder that is writable by --run DIR.",
            ) from error
        if not os.access(folder, os.W_OK):
            raise InputError(
                "The run folder cannot be written.", str(folder), "Give a folder that is writable by --run DIR."
            )
        return cls(folder)

    def write_settings(self, source: AbstractSource, problem: Problem, options: Mapping[str, Any]) -> None:
        """Note what is going to be solved and how it was asked for."""
        record = {
            "problem": problem.name,
            "source": source.keep(self.path, problem),
            "options": options,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "environment": environment(),
        }
        write_json(self.path / SETTINGS, plain(record))

    def __call__(self, event: Event) -> None:
        """Append an event as one line, so that a run that is killed leaves all until then."""
        if isinstance(event, RunStarted):
            (self.path / PLAN).write_text(event.plan.rstrip() + "\n", encoding="utf-8")
        if self._events is None:
            self._events = (self.path / EVENTS).open("a", encoding="utf-8")
        self._events.write(json.dumps(event_record(event), allow_nan=False) + "\n")
        self._events.flush()

    def discard(self) -> None:
        """Remove the folder with all that this run has written into it."""
        self.close()
        shutil.rmtree(self.path)

    def close(self) -> None:
        """Close the file of events."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def write_solution(self, solution: Solution, record: Mapping[str, Any]) -> None:
        """Keep the field first, then the record that says that it is there."""
        save_field(self.path, solution.field)
        limited = solution.diagnose()
        if limited is not None:
            (self.path / DIAGNOSIS).write_text(f"{limited}\n", encoding="utf-8")
        write_json(self.path / SOLUTION, record)

    def write_figure(self, solution: Solution) -> None:
        """Draw the figure."""
        solution.plot(self.path / FIGURE)


def event_record(event: Event) -> dict[str, Any]:
    """An event as JSON knows it, its kind under `event`; without fields, of which the run folder keeps the last."""
    members = {f.name: getattr(event, f.name) for f in dataclasses.fields(event) if f.name not in ("field", "trained")}
    shown = {name: _record(value) for name, value in members.items()}
    return plain({"event": type(event).__name__} | shown)


def _record(value: Any) -> Any:
    if isinstance(value, RESULTS):
        return value.name
    if isinstance(value, Mapping):
        return {key: _record(item) for key, item in value.items()}
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def load_run(folder: Path) -> tuple[AbstractSource, Any]:
    """Source of the problem and trained field of a run folder.

    Raises
    ------
    InputError
        If it is no run folder, the run did not end, or a file is damaged.
    """
    if not folder.is_dir():
        raise InputError("There is no such run folder.", str(folder), NO_RUN)
    settings = read_json(folder / SETTINGS, NO_RUN)
    read_json(folder / SOLUTION, NO_RUN)
    source = settings.get("source") if isinstance(settings, dict) else None
    if not isinstance(source, dict):
        raise InputError("The run does not say what its problem was.", str(folder / SETTINGS), NO_RUN)
    return kept_source(source, folder), load_field(folder)


def _numbered(parent: Path, name: str) -> Path:
    """A new folder; making it is what reserves the number, so that two runs at a time get two folders."""
    parent.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
    taken = [re.fullmatch(rf"{re.escape(stem)}-(\d+)", entry.name) for entry in parent.iterdir()]
    number = 1 + max((int(match.group(1)) for match in taken if match is not None), default=0)
    while True:
        folder = parent / f"{stem}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _given(path: Path) -> Path:
    if path.is_file():
        raise InputError("This is a file, not a folder.", str(path), "Give a new or empty folder by --run DIR.")
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise InputError(
            "The run folder exists and is not empty.", str(path), "Give a new or empty folder; nothing is overwritten."
        )
    return path
