"""The report of a run folder: whatever the run left, also one that was cut off, is told as far as it goes."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from hierax._errors import InputError
from hierax.events import LevelRecord, StepTaken
from hierax.problems.problem import Problem
from hierax.records.fields_io import load_field
from hierax.records.files import read_json
from hierax.records.measures import read_measures
from hierax.records.run import DIAGNOSIS, EVENTS, PLAN, SETTINGS, SOLUTION
from hierax.records.sources import AbstractSource, DataSource, FittedSource, kept_source
from hierax.records.user_file import user_errors
from hierax.results.report import Account, write_page

REPORT = "report.html"
REMEDY = "Give a folder that `hierax train` or `hierax fit` has made."


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the page about a run folder, `report.html` in it unless named otherwise; returns its path.

    Raises
    ------
    InputError
        If the folder is not that of a run, or the page cannot be written.
    """
    account, source = read_account(folder)
    path = out or folder / REPORT
    with user_errors(source.file if source else None):
        write_page(account, path)
    return path


def read_account(folder: Path) -> tuple[Account, AbstractSource | None]:
    """What a run folder tells, and where its problem comes from.

    Raises
    ------
    InputError
        If the folder is not that of a run.
    """
    settings = _settings(folder)
    told, notes = _Told.read(folder / EVENTS)
    record = _record(folder, settings, told, notes)
    source, problem, trained, data = _reloaded(folder, settings, notes)
    account = Account(
        record=record,
        levels=_levels(record, told),
        history=told.steps,
        decisions=told.decisions,
        problem=problem,
        trained=trained,
        data=data,
        measures=_measures(folder, notes),
        diagnosis=(folder / DIAGNOSIS).read_text(encoding="utf-8") if (folder / DIAGNOSIS).is_file() else "",
        environment=dict(settings.get("environment") or {}),
        command=_command(settings, folder),
        started=str(settings.get("started") or ""),
        notes=notes,
    )
    return account, source


@final
@dataclass
class _Told:
    """What the events of a run say."""

    steps: list[StepTaken] = field(default_factory=list)
    levels: dict[int, LevelRecord] = field(default_factory=dict)
    decisions: list[str] = field(default_factory=list)
    ending: dict[str, Any] = field(default_factory=dict)
    """Problem, plan and, where it was reached, the end."""

    @classmethod
    def read(cls, path: Path) -> tuple[_Told, list[str]]:
        told, notes = cls(), []
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for count, line in enumerate(lines, 1):
            try:
                told.see(json.loads(line))
            except (ValueError, TypeError, KeyError):
                notes.append(f"Line {count} of {len(lines)} in {EVENTS} cannot be read and is left out.")
        return told, notes

    def see(self, event: dict[str, Any]) -> None:
        """Note one event; `null` stands for what was not finite."""
        kind = event.pop("event")
        if kind == "StepTaken":
            known: dict[str, Any] = {name: np.nan if value is None else value for name, value in event.items()}
            self.steps.append(StepTaken(**known))
        elif kind == "LevelFinished":
            record = event["record"]
            unknown = {name: np.nan for name in ("loss", "seconds", "seconds_compile") if record[name] is None}
            self.levels[record["level"]] = LevelRecord(**record | unknown)
        elif kind == "Decision":
            self.decisions.append(event["sentence"])
        elif kind == "RunStarted":
            self.ending |= {"problem": event["problem"], "plan": event["plan"]}
        elif kind == "RunFinished":
            self.ending |= {"guards": event["guards"], "stopped_by": event["stopped_by"], "result": event["result"]}
            self.ending["seconds_total"] = event["seconds"]


def _settings(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError("There is no such run folder.", str(folder), REMEDY)
    if not (folder / SETTINGS).is_file():
        inside = sorted(path.parent.name for path in folder.glob(f"*/{SETTINGS}"))
        raise InputError(
            f"This is not the folder of a run: it has no {SETTINGS}.",
            str(folder),
            f"Give one of those in it: {', '.join(inside[:8])}." if inside else REMEDY,
        )
    settings = read_json(folder / SETTINGS, REMEDY)
    if not isinstance(settings, dict) or not isinstance(settings.get("source"), dict):
        raise InputError("The file does not describe a run.", str(folder / SETTINGS), REMEDY)
    return settings


def _record(folder: Path, settings: Mapping[str, Any], told: _Told, notes: list[str]) -> dict[str, Any]:
    """The JSON of the run; what the events told where the run did not come to write it."""
    if (folder / SOLUTION).is_file():
        record = read_json(folder / SOLUTION, "Remove the file, and the report shows what the events tell.")
        if isinstance(record, dict):
            return record
        notes.append(f"{SOLUTION} does not hold the record of a run; shown is what the events tell.")
    else:
        notes.append("The run did not come to its end; shown is what its events tell.")
    plan = (folder / PLAN).read_text(encoding="utf-8") if (folder / PLAN).is_file() else ""
    last = told.levels[max(told.levels)] if told.levels else None
    seconds = {"seconds_total": told.steps[-1].seconds} if told.steps else {}
    size = {"parameters": last.parameters, "loss": last.loss} if last else {}
    known = {"problem": settings.get("problem"), "plan": plan, "options": settings.get("options")}
    return known | seconds | size | told.ending


def _levels(record: Mapping[str, Any], told: _Told) -> list[LevelRecord]:
    """Levels with their errors from the record and their notes from the events."""
    rows = record.get("levels")
    if not rows:
        return [told.levels[level] for level in sorted(told.levels)]
    levels = []
    for row in rows:
        note = told.levels[row["level"]].note if row["level"] in told.levels else ""
        missing = {name: np.nan for name in ("loss", "seconds", "seconds_compile") if row.get(name) is None}
        levels.append(LevelRecord(**row | missing, note=note))
    return levels


def _reloaded(
    folder: Path, settings: Mapping[str, Any], notes: list[str]
) -> tuple[AbstractSource | None, Problem | None, Any, bool]:
    """Source, problem and field as far as they can be had, and whether the problem holds the data that were fitted."""
    source, problem = None, None
    try:
        source = kept_source(settings["source"], folder)
        problem, data = _problem(source, settings, notes)
        with user_errors(source.file):
            return source, problem, load_field(folder), data
    except InputError as error:
        notes.append(f"Pictures of the solution are left out. {error.what} ({error.where})")
        return source, problem, None, False


def _problem(source: AbstractSource, settings: Mapping[str, Any], notes: list[str]) -> tuple[Problem, bool]:
    """The problem; of a fit with its data, if the table is still there and covers the same box."""
    problem = source.load()
    if not isinstance(source, FittedSource):
        return problem, True
    kept, options = settings["source"], dict(settings.get("options") or {})
    path, names = Path(kept["file"]), (tuple(kept["inputs"]), tuple(kept["outputs"]))
    try:
        again = DataSource(path, *names, options.get("level"), options.get("cost")).load()
    except InputError:
        again = problem
    if again is not problem and np.array_equal(again.domain.bounds(), problem.domain.bounds()):
        return again, True
    notes.append(f"The data are not shown: {path} is gone or has changed.")
    return problem, False


def _measures(folder: Path, notes: list[str]) -> dict[str, np.ndarray]:
    try:
        found = read_measures(folder)
    except InputError as error:
        notes.append(error.what)
        return {}
    return {} if found is None else {f.name: np.asarray(getattr(found, f.name)) for f in dataclasses.fields(found)}


def _command(settings: Mapping[str, Any], folder: Path) -> str:
    """The command that does the same again."""
    source, options = settings["source"], dict(settings.get("options") or {})
    words = _subject(source, folder)
    asked = options.get("set", source.get("settings")) or ()
    words += ["--set", *asked] if asked else []
    for name in ("continue", "level", "cost", "field", "levels", "cycle", "solver", "seed", "budget_seconds"):
        value = options.get(name)
        if value is not None and value != "auto":
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def _subject(source: Mapping[str, Any], folder: Path) -> list[str]:
    if source.get("kind") == "data":
        columns: Sequence[str] = ["--inputs", *source.get("inputs", ()), "--outputs", *source.get("outputs", ())]
        return ["hierax", "fit", str(source.get("file")), *columns]
    own = f"{folder / str(source.get('file'))}:{source.get('object')}"
    return ["hierax", "train", own if source.get("kind") == "file" else str(source.get("name"))]
