"""The run folder: what was asked, every event, the states from which training goes on, and what came out of it.

| file | what |
|---|---|
| `settings.json` | what was asked, of which problem, by which versions |
| `problem.npz` | domain, unknowns, names and data of the problem, without its code |
| `plan.txt`, `events.jsonl` | the plan in words; every event, one a line |
| `state-NNNN.npz` | the last two states of the training, each with the solution so far, or of a learning |
| `solution.npz`, `solution.json` | the field with the evidence for it; the record for other programs |
| `diagnosis.txt`, `figure.png`, `measures.npz` | what limited the run; a picture; what `--watch` has measured |
| `surrogate.npz`, `surrogate.json` | in place of the solution, what was learned of a family |
| `estimate.json`, `values/` | likewise what was estimated; values of its models as they came, which no manifest lists |
| `manifest.json` | length and SHA-256 sum of all of these |

A file is written beside its place and renamed, and the manifest after it: what is not in the manifest is not there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

from hierax._errors import InputError
from hierax._results import RESULTS
from hierax.events import Decision, Event, LearningReached, Reached, RunStarted
from hierax.problems.kept import described
from hierax.problems.problem import Problem
from hierax.records.fingerprint import fingerprint, plan_print
from hierax.records.lines import Lines
from hierax.records.manifest import Entry, Manifest
from hierax.records.sources import AbstractSource
from hierax.results.archive import pack
from hierax.results.codec import Codec
from hierax.results.environment import environment
from hierax.results.files import synced, written
from hierax.results.record import plain
from hierax.results.solution import Solution

SETTINGS, PROBLEM, PLAN, EVENTS = "settings.json", "problem.npz", "plan.txt", "events.jsonl"
FIELD, SOLUTION, FIGURE, DIAGNOSIS = "solution.npz", "solution.json", "figure.png", "diagnosis.txt"
STATE = re.compile(r"state-(\d+)\.npz")
RUNS = Path("runs")
"""Where run folders go unless they are named."""
SHARE = 0.04
"""Of the seconds of a training that saving its states may take."""
LEAST_SPACE = 2**20
"""Bytes that must be free where a run folder is made."""
UNTOLD = ("field", "trained", "plans")
"""Members of events that are no words."""
PERIOD = 10.0
"""Seconds after which the steps of a long visit are kept."""
KEPT = 2
"""States that are kept: the last one, and one in case that is damaged."""
STATES = Codec(extra=("hierax.cycles", "hierax.models", "hierax.solvers", "hierax.training"))
"""What states of a training may hold."""


@final
class Run:
    """A run folder that is being written; as a subscriber of `train` it keeps plan, events and states.

    What cannot be written while training goes on costs the training nothing: it is told in `troubles`.

    Parameters
    ----------
    path:
        A folder that this run alone writes to, see `create`.
    manifest:
        What is in it, for a run that goes on.
    """

    path: Path

    def __init__(self, path: Path, manifest: Manifest | None = None) -> None:
        self.path, self.manifest, self.fresh = path, manifest or Manifest(), manifest is None
        self.troubles: list[str] = []
        self.seconds, self.whole, self._plan = 0.0, True, ""
        self._began, self._last, self._kept = time.perf_counter(), 0.0, 0.0
        self._events = Lines(path / EVENTS)
        numbers = [int(found.group(1)) for found in map(STATE.fullmatch, self.manifest.files) if found]
        self._states = sorted(numbers)

    @classmethod
    def create(cls, name: str, path: Path | None = None) -> Run:
        """Make the folder `path`, or `runs/<name>-<number>` with the first number that is free.

        Raises
        ------
        InputError
            If `path` exists and is not empty, or the folder cannot be written.
        """
        _check_space(path or RUNS)
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

    @property
    def reached(self) -> bool:
        """Whether there is a state from which training can go on."""
        return bool(self._states)

    def write_settings(self, source: AbstractSource, problem: Problem, options: Mapping[str, Any]) -> None:
        """Note what is going to be solved and how it was asked for.

        Raises
        ------
        InputError
            If something cannot be written.
        """
        record = {"problem": problem.name, "prints": fingerprint(problem), **_asked(source.record(), options)}
        copied = {} if source.file is None else {source.file.name: source.file.read_bytes()}
        self._put({SETTINGS: _json(plain(record)), PROBLEM: pack(described(problem)), **copied})

    def write_request(self, source: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Note what is going to be learned without a problem, and how it was asked for."""
        self._put({SETTINGS: _json(plain(_asked(source, options)))})

    def goes_on(self, state: int, events: int) -> None:
        """Be the run of a folder again, from a state on: what came after it is no longer of the run."""
        later = {name for name in self.manifest.files if (found := STATE.fullmatch(name)) and int(found[1]) > state}
        self._states = [number for number in self._states if number <= state]
        beginning = self._events.cut(events)
        self._put({}, {EVENTS: beginning}, later | {FIELD, SOLUTION, FIGURE, DIAGNOSIS})
        self._events.shorten()

    def __call__(self, event: Event) -> None:
        """Append an event as one line, so that a run that is killed leaves all until then."""
        if isinstance(event, LearningReached):
            self._keep(event.state, None, within=True)
            return
        if isinstance(event, Reached):
            self._keep(event.state, event.solution, event.within)
            return
        with self.tried("events", needed=False):
            self._events.append(json.dumps(event_record(event), allow_nan=False))
        if isinstance(event, RunStarted):
            self._plan = "" if event.plans is None else plan_print(event.plans)
            self._began = time.perf_counter()
            with self.tried("the plan", needed=False):
                self._put({PLAN: event.plan.rstrip().encode() + b"\n"}, {EVENTS: self._events.entry()})

    def decided(self, event: Event) -> None:
        """Append an event if it tells a decision, or keep what was reached: of a run that consists of many others."""
        if isinstance(event, Decision | LearningReached):
            self(event)

    def note(self, sentence: str) -> None:
        """Append a sentence as an event."""
        self(Decision(sentence))

    def _keep(self, state: Any, so_far: Callable[[], Any] | None, within: bool) -> None:
        """Write a state, unless saving has taken its share of the seconds by then."""
        began = time.perf_counter()
        if self.seconds + self._last > SHARE * (began - self._began) and self._states:
            return
        if within and began - max(self._kept, self._began) < PERIOD:
            return
        solution = None if so_far is None else dataclasses.replace(so_far(), problem=None)
        record = {"state": state, "solution": solution, "plan": self._plan, "events": self._events.length}
        number = 1 + max(self._states, default=0)
        with self.tried("a state", needed=False):
            gone = {state_name(old) for old in self._states[: -KEPT + 1]}
            self._put_or_make_room({state_name(number): pack(record, STATES)}, {EVENTS: self._events.entry()}, gone)
            self._states = [*self._states[-KEPT + 1 :], number]
        self._kept = time.perf_counter()
        self._last = self._kept - began
        self.seconds += self._last

    @contextlib.contextmanager
    def tried(self, what: str, needed: bool = True) -> Iterator[None]:
        """Note what cannot be written, once, and go on; without what is `needed` the run is not `whole`."""
        try:
            yield
        except (OSError, InputError) as error:
            reason = error.what if isinstance(error, InputError) else f"{error.strerror or error}."
            sentence = f"In the run folder {what} could not be written: {reason}"
            if sentence not in self.troubles:
                self.troubles.append(sentence)
            self.whole = self.whole and not needed

    def _put(
        self, contents: Mapping[str, bytes], entries: Mapping[str, Entry] | None = None, gone: set[str] | None = None
    ) -> None:
        """Write files, then the manifest with them and without those that are gone, and only then remove these."""
        gone, kept = gone or set(), self.manifest
        new = {**{name: Entry.of(content) for name, content in contents.items()}, **(entries or {})}
        if replaced := contents.keys() & kept.files.keys():
            kept = kept.changed({}, set(replaced))
            kept.write(self.path)
        for name, content in contents.items():
            with written(self.path / name) as draft:
                draft.write_bytes(content)
        self.manifest = kept.changed(new, gone)
        self.manifest.write(self.path)
        synced(self.path)
        for name in gone:
            (self.path / name).unlink(missing_ok=True)

    def _put_or_make_room(
        self, contents: Mapping[str, bytes], entries: Mapping[str, Entry], gone: set[str] | None = None
    ) -> None:
        """The same; where there is no space, the older one of two states makes room."""
        try:
            self._put(contents, entries, gone)
        except (OSError, InputError):
            if len(self._states) < KEPT:
                raise
            older, self._states = self._states[0], self._states[1:]
            self._put({}, {}, {state_name(older)})
            self._put(contents, entries, gone)

    def discard(self) -> None:
        """Remove the folder with all that this run has written into it, unless it was there before."""
        self.close()
        if self.fresh:
            shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Close the file of events."""
        self._events.close()

    def write_solution(self, solution: Solution, record: Mapping[str, Any]) -> None:
        """Keep field and record."""
        with self.tried("the solution"):
            content = {FIELD: pack(dataclasses.replace(solution, problem=None)), SOLUTION: _json(record)}
            self._put_or_make_room(content, {EVENTS: self._events.entry(False)} if self._events.length else {})
        with self.tried("the diagnosis", needed=False):
            limited = solution.diagnose()
            if limited is not None:
                self._put({DIAGNOSIS: f"{limited}\n".encode()})

    def write_result(self, contents: Mapping[str, bytes]) -> None:
        """Keep the files of a result that is no solution."""
        with self.tried("the result"):
            self._put(contents, {EVENTS: self._events.entry()} if self._events.length else {})

    def write_figure(self, solution: Solution) -> None:
        """Draw the figure; what goes wrong with it is a trouble, and costs nothing else."""
        self.add(FIGURE, solution.plot)

    def add(self, name: str, write: Callable[[Path], Any]) -> None:
        """Have a file written into the folder that the result does not depend on."""
        with self.tried(name, needed=False):
            try:
                write(self.path / name)
                self._put({}, {name: Entry.of((self.path / name).read_bytes())})
            except (InputError, OSError):
                raise
            except Exception as error:  # whatever it is: the result must not be lost with it
                raise InputError(f"{type(error).__name__}: {error}.", name, "Nothing else is lost.") from error
            finally:
                if name not in self.manifest.files:
                    (self.path / name).unlink(missing_ok=True)


def event_record(event: Event) -> dict[str, Any]:
    """An event as JSON knows it, its kind under `event`; without fields, of which the run folder keeps the last."""
    members = {f.name: getattr(event, f.name) for f in dataclasses.fields(event) if f.name not in UNTOLD}
    shown = {name: _record(value) for name, value in members.items()}
    return plain({"event": type(event).__name__} | shown)


def _record(value: Any) -> Any:
    if isinstance(value, RESULTS):
        return value.name
    if isinstance(value, Mapping):
        return {key: _record(item) for key, item in value.items()}
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _asked(source: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"source": source, "options": options, "started": started, "environment": environment()}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, allow_nan=False).encode() + b"\n"


def state_name(number: int) -> str:
    return f"state-{number:04d}.npz"


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


def _check_space(path: Path) -> None:
    """Refuse to begin where the results would hardly fit."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < LEAST_SPACE:
        raise InputError(
            f"There are {free / 1024:.0f} KiB left for the run folder; {LEAST_SPACE / 1024:.0f} are needed.",
            str(path),
            "Make room, or give a folder elsewhere by --run DIR.",
        )


def _given(path: Path) -> Path:
    if path.is_file():
        raise InputError("This is a file, not a folder.", str(path), "Give a new or empty folder by --run DIR.")
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise InputError(
            "The run folder exists and is not empty.", str(path), "Give a new or empty folder; nothing is overwritten."
        )
    return path
