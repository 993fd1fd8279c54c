"""The report of a run folder: whatever the run left, also one that was cut off, is told as far as it goes."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from hierax._errors import InputError
from hierax.events import LevelRecord, StepTaken
from hierax.models.operators import Operator
from hierax.models.surrogate import Surrogate
from hierax.problems.kept import is_kept
from hierax.problems.problem import Problem
from hierax.problems.registry import named_problem
from hierax.records.folder import ESTIMATE, ODD, SURROGATE, Folder, as_written
from hierax.records.learned_report import worth_of
from hierax.records.manifest import Entry
from hierax.records.measures import MEASURES, read_measures
from hierax.records.recorded import recorded_source
from hierax.records.run import DIAGNOSIS, EVENTS, PLAN, SOLUTION
from hierax.records.sources import AbstractSource, CatalogueSource
from hierax.records.user_file import user_errors
from hierax.results.files import read_bytes, read_json, read_text, written
from hierax.results.report import Account, estimation, learned, page, write_page

REPORT = "report.html"
REMEDY = "Remove the file, and the report shows what the events tell."


def write_report(
    folder: Path, out: Path | None = None, *, problem: str | None = None, state: int | None = None
) -> Path:
    """Write the page about a run folder, `report.html` in it unless named otherwise; returns its path.

    Parameters
    ----------
    folder, out:
        The run folder, and the file to write.
    problem:
        `FILE.py:OBJECT` where the problem was in a file, for pictures of its residuals and errors; it is run only then.
    state:
        Number of a state, in place of what the run has come to.

    Raises
    ------
    InputError
        If the folder is not that of a run, the page cannot be written, or the problem is another one.
    """
    opened = Folder.open(folder)
    path = out or folder / REPORT
    with as_written(folder):
        text, source = _page(opened, problem, state)
        with user_errors(source.file if source else None), written(path) as draft:
            write_page(text(), draft)
    if out is None and not opened.faults:
        opened.manifest.changed({REPORT: Entry.of(read_bytes(path, REMEDY))}).write(folder)
    return path


def _page(folder: Folder, problem: str | None, state: int | None) -> tuple[Callable[[], str], AbstractSource | None]:
    """What makes the text of the page, of whatever the run was, and whose code it may run."""
    if "statistic" in (folder.settings.get("options") or {}):
        account = _estimated(folder)
        return lambda: estimation(account), None
    if folder.has(SURROGATE) and isinstance(made := folder.surrogate(), Surrogate | Operator):
        told = _beside(folder, {"options": folder.settings.get("options") or {}})
        worth, examples = worth_of(made, told.record["options"].get("tolerance"))
        return lambda: learned(told, worth, examples), None
    account, source = read_account(folder, problem, state)
    return lambda: page(account), source


def _estimated(folder: Folder) -> Account:
    """What the folder of an estimation tells."""
    if not folder.has(ESTIMATE):
        raise InputError("The estimation has not come to its end.", str(folder.path), "Go on by: hierax resume RUN.")
    return _beside(folder, read_json(folder.path / ESTIMATE, REMEDY))


def _beside(folder: Folder, record: Mapping[str, Any]) -> Account:
    """A record with what a folder tells beside it."""
    settings, (told, notes) = folder.settings, _Told.read(_text(folder, EVENTS))
    options = {name: value for name, value in record["options"].items() if value not in (None, False)}
    return Account(
        record={**record, "options": options}, levels=[], history=[], decisions=told.decisions,
        environment=dict(settings.get("environment") or {}), started=str(settings.get("started") or ""),
        notes=[*folder.warnings, *notes],
    )  # fmt: skip


def read_account(
    folder: Folder, given: str | None = None, state: int | None = None
) -> tuple[Account, AbstractSource | None]:
    """What a run folder tells, and where its problem comes from.

    Raises
    ------
    InputError
        If the folder does not say what was asked, or the problem that is given is another one.
    """
    settings, notes = folder.settings, folder.warnings
    told, more = _Told.read(_text(folder, EVENTS))
    notes += more
    record = _record(folder, settings, told, notes)
    source, problem, trained = _solved(folder, settings, notes, given, state)
    account = Account(
        record=record,
        levels=_levels(record, told),
        history=told.steps,
        decisions=told.decisions,
        problem=problem,
        trained=trained,
        measures=_measures(folder, notes),
        diagnosis=_text(folder, DIAGNOSIS),
        environment=dict(settings.get("environment") or {}),
        command=_command(settings),
        code=_code(folder, settings["source"], source),
        started=str(settings.get("started") or ""),
        notes=notes,
    )
    return account, source


def _code(folder: Folder, record: Mapping[str, Any], source: AbstractSource | None) -> str:
    """The source text of the problem: the copy of the user's file, or that of the catalogue."""
    if record.get("kind") == "file":
        return _text(folder, str(record.get("file")))
    return inspect.getsource(inspect.unwrap(named_problem(source.name))) if isinstance(source, CatalogueSource) else ""


def _text(folder: Folder, name: str) -> str:
    return read_text(folder.path / name, REMEDY) if folder.has(name) else ""


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
    def read(cls, text: str) -> tuple[_Told, list[str]]:
        told, notes = cls(), []
        lines = text.splitlines()
        for count, line in enumerate(lines, 1):
            try:
                told.see(json.loads(line))
            except ODD:
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


def _record(folder: Folder, settings: Mapping[str, Any], told: _Told, notes: list[str]) -> dict[str, Any]:
    """The JSON of the run; what the events told where the run did not come to write it."""
    if folder.has(SOLUTION):
        record = read_json(folder.path / SOLUTION, REMEDY)
        if isinstance(record, dict):
            return record
        notes.append(f"{SOLUTION} does not hold the record of a run; shown is what the events tell.")
    elif SOLUTION in folder.faults:
        notes.append("Without its record, shown is what the events tell.")
    else:
        notes.append("The run did not come to its end; shown is what its events tell.")
    last = told.levels[max(told.levels)] if told.levels else None
    seconds = {"seconds_total": told.steps[-1].seconds} if told.steps else {}
    size = {"parameters": last.parameters, "loss": last.loss} if last else {}
    known = {"problem": settings.get("problem"), "plan": _text(folder, PLAN), "options": settings.get("options")}
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


def _solved(
    folder: Folder, settings: Mapping[str, Any], notes: list[str], given: str | None, state: int | None
) -> tuple[AbstractSource | None, Problem | None, Any]:
    """Source, problem and field as far as they can be had."""
    try:
        solution = folder.solution(state)
    except InputError as error:
        notes.append(f"Pictures of the solution are left out. {error.what} ({error.where})")
        return None, None, None
    problem, kind = solution.problem, settings["source"].get("kind")
    source = None
    if given is not None or kind == "catalogue":
        source = recorded_source(settings["source"], settings.get("options") or {}, given)
        problem = source.load()
    elif not all(map(is_kept, problem.terms)):
        notes.append(
            "Pictures of residuals and errors are left out: the equations are code, which is run only where it is "
            "given, by --problem FILE.py:OBJECT."
        )
    return source, problem, solution.field


def _measures(folder: Folder, notes: list[str]) -> dict[str, np.ndarray]:
    try:
        found = read_measures(folder.path) if folder.has(MEASURES) else None
    except InputError as error:
        notes.append(error.what)
        return {}
    return {} if found is None else {f.name: np.asarray(getattr(found, f.name)) for f in dataclasses.fields(found)}


def _command(settings: Mapping[str, Any]) -> str:
    """The command that does the same again."""
    source, options = settings["source"], dict(settings.get("options") or {})
    words = _subject(source)
    asked = options.get("set", source.get("settings")) or ()
    words += ["--set", *asked] if asked else []
    for name in ("rename", "log", "domain", "periodic"):
        words += [f"--{name}", *options[name]] if options.get(name) else []
    words += ["--drop-missing"] if options.get("drop_missing") else []
    for name in (
        "continue",
        "level",
        "cost",
        "sigma",
        "group",
        "field",
        "levels",
        "cycle",
        "solver",
        "seed",
        "budget_seconds",
    ):
        value = options.get(name)
        if value is not None and value != "auto":
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def _subject(source: Mapping[str, Any]) -> list[str]:
    if source.get("kind") == "data":
        columns: Sequence[str] = ["--inputs", *source.get("inputs", ()), "--outputs", *source.get("outputs", ())]
        return ["hierax", "fit", str(source.get("file")), *columns]
    own = f"{source.get('given')}:{source.get('object')}"
    return ["hierax", "train", own if source.get("kind") == "file" else str(source.get("name"))]
