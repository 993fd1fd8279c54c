"""A run folder that is read: its files are compared with the manifest first, and nothing in it is run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, final

from hierax._errors import InputError
from hierax.fields import Unknowns
from hierax.materials.learning import LearnedNetwork
from hierax.models.operators import Operator
from hierax.models.surrogate import Surrogate
from hierax.problems.outputs import of_outputs
from hierax.problems.problem import Problem
from hierax.records.manifest import MANIFEST, Manifest
from hierax.records.run import FIELD, PROBLEM, SETTINGS, STATE, STATES, state_name
from hierax.results.archive import load as read
from hierax.results.archive import save as write
from hierax.results.codec import Codec
from hierax.results.files import DAMAGED, read_json
from hierax.results.solution import Solution

SURROGATE, ESTIMATE = "surrogate.npz", "estimate.json"
NO_RUN = "Give the folder of a run of `hierax train` or `hierax fit`."


ODD = (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, AssertionError)
"""What goes wrong where a file, though undamaged, holds something else than it should."""


@contextlib.contextmanager
def as_written(path: Path) -> Iterator[None]:
    """Refuse a folder whose files, though undamaged, hold what no run has written."""
    try:
        yield
    except InputError:
        raise
    except ODD as error:
        raise InputError(
            f"The folder holds something that no run has written ({type(error).__name__}: {str(error)[:200]}).",
            str(path),
            DAMAGED,
        ) from error


@final
@dataclass(frozen=True, eq=False)
class Folder:
    """A run folder.

    Attributes
    ----------
    path:
        Where it is.
    manifest:
        What is in it; where the manifest itself is damaged, the files that are there.
    faults:
        What is wrong with files, by their names.
    """

    path: Path
    manifest: Manifest
    faults: Mapping[str, str]

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Look at a folder, and at every byte in it that is of the run.

        Raises
        ------
        InputError
            If it is no run folder, or one of another version.
        """
        if not path.is_dir():
            raise InputError("There is no such run folder.", str(path), NO_RUN)
        if not (path / SETTINGS).exists() and not (path / MANIFEST).exists():
            inside = sorted(found.parent.name for found in path.glob(f"*/{SETTINGS}"))
            raise InputError(
                f"This is not the folder of a run: it has no {SETTINGS}.",
                str(path),
                f"Give one of those in it: {', '.join(inside[:8])}." if inside else NO_RUN,
            )
        try:
            manifest = Manifest.read(path)
        except InputError as error:
            if "format" in error.what:
                raise
            return cls(path, Manifest(), {MANIFEST: error.what.rstrip(".")})
        return cls(path, manifest, manifest.faults(path))

    def has(self, name: str) -> bool:
        """Whether a file is there and whole; without a manifest, whether it is there."""
        listed = name in self.manifest.files or MANIFEST in self.faults
        return listed and name not in self.faults and (self.path / name).is_file()

    @property
    def warnings(self) -> list[str]:
        """A sentence for every file that is damaged."""
        return [f"{self.path / name} is damaged: {fault}." for name, fault in sorted(self.faults.items())]

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked."""
        self.refuse_damaged(SETTINGS)
        settings = read_json(self.path / SETTINGS, NO_RUN)
        if not isinstance(settings, dict) or not isinstance(settings.get("source"), dict):
            raise InputError("The file does not describe a run.", str(self.path / SETTINGS), NO_RUN)
        return settings

    @property
    def inputs(self) -> list[Path]:
        """The file that the run was made from, as it was named then: a table, or a problem file."""
        if SETTINGS in self.faults or not self.has(SETTINGS):
            return []
        source = self.settings["source"]
        named = source.get("given") or source.get("file")
        return [Path(named)] if isinstance(named, str) else []

    @property
    def states(self) -> list[int]:
        """Numbers of the states that are whole, the newest first."""
        names = self.manifest.files if MANIFEST not in self.faults else [entry.name for entry in self.path.iterdir()]
        found = [int(match.group(1)) for match in map(STATE.fullmatch, names) if match and self.has(match.group(0))]
        return sorted(found, reverse=True)

    @property
    def keeps_states(self) -> bool:
        """Whether there are states, be they whole or damaged."""
        return bool(self.states) or any(STATE.fullmatch(name) for name in self.faults)

    def state(self, number: int | None = None) -> tuple[int, dict[str, Any]]:
        """A state with its number: the newest one, or the one that is asked for.

        Raises
        ------
        InputError
            If there is none, it is damaged, or it is no state.
        """
        if number is None:
            newest = max((int(found[1]) for found in map(STATE.fullmatch, self.faults) if found), default=-1)
            if not self.keeps_states:
                whole = FIELD in self.manifest.files
                what = "The run has come to its end, and nothing is kept to go on from" if whole else None
                what = what or "The run was ended before a level was trained"
                raise InputError(f"{what}.", str(self.path), "Start it again, in a new folder.")
            number = max([newest, *self.states])
        self.refuse_damaged(state_name(number))
        if number not in self.states:
            kept = ", ".join(map(str, self.states)) or "none"
            raise InputError(f"There is no state {number}.", str(self.path), f"The states that are whole: {kept}.")
        record = read(self.path / state_name(number), STATES)
        if not isinstance(record, dict) or not {"state", "solution", "plan", "events"} <= record.keys():
            raise InputError("The file does not hold a state.", str(self.path / state_name(number)), DAMAGED)
        return number, record

    def problem(self) -> Problem:
        """The problem without its code."""
        self.refuse_damaged(PROBLEM)
        return checked(read(self.path / PROBLEM), Problem, self.path / PROBLEM)

    def solution(self, state: int | None = None) -> Solution:
        """What the run has come to; of one that was cut off, or by a number of its states, what it had then.

        Raises
        ------
        InputError
            If the file that holds it is damaged, with the states that are whole.
        """
        if state is None and (FIELD in self.manifest.files or (MANIFEST in self.faults and self.has(FIELD))):
            self.refuse_damaged(FIELD)
            found, name = read(self.path / FIELD), FIELD
        else:
            number, record = self.state(state)
            found, name = record["solution"], state_name(number)
            if found is None:
                raise InputError(
                    "The learning was cut off, and has come to nothing that predicts yet.", str(self.path),
                    f"Go on by: hierax resume {self.path}.",
                )  # fmt: skip
        solution, problem = checked(found, Solution, self.path / name), self.problem()
        if isinstance(solution.field, Unknowns):
            # of a table that was cut off there may be some outputs only
            problem = of_outputs(problem, solution.field.parts.keys())
        return dataclasses.replace(solution, problem=problem)

    def surrogate(self) -> Surrogate | Operator | LearnedNetwork:
        """What `hierax surrogate` has learned, of a family or of samples, or `hierax material`, of a cell."""
        self.refuse_damaged(SURROGATE)
        found = read(self.path / SURROGATE)
        return (
            found if isinstance(found, Operator | LearnedNetwork) else checked(found, Surrogate, self.path / SURROGATE)
        )

    def result(self, state: int | None = None) -> Solution | Surrogate | Operator | LearnedNetwork:
        """The surrogate, where the run has one; the solution otherwise."""
        return self.surrogate() if SURROGATE in self.manifest.files else self.solution(state)

    def refuse_damaged(self, name: str) -> None:
        """Refuse a file that is damaged, with the states that are whole."""
        if name not in self.faults:
            return
        whole = [number for number in self.states if state_name(number) != name]
        offered = DAMAGED
        if whole and (name == FIELD or STATE.fullmatch(name)):
            offered = f"State {whole[0]}, kept before, is whole: add --state {whole[0]} (in Python state={whole[0]})."
        raise InputError(f"The file is damaged: {self.faults[name]}.", str(self.path / name), offered)


def checked(found: Any, kind: type, path: Path) -> Any:
    if not isinstance(found, kind):
        raise InputError(f"The file holds a {type(found).__name__}, not a {kind.__name__}.", str(path), DAMAGED)
    return found


def load(
    path: str | PathLike[str],
    *,
    problem: Problem | None = None,
    classes: Sequence[type] = (),
    state: int | None = None,
) -> Any:
    """Read what `solution.save` or `hierax.save` has written, or the solution of a run folder.

    Nothing in a file is run, and its sum is compared first.

    Parameters
    ----------
    path:
        A file, or a run folder, also of a run that was cut off.
    problem:
        The problem of the solution with its code, which files do not keep; residuals and constraints need it.
    classes:
        The user's own classes that the field is made of, Equinox modules.
    state:
        Of a run folder, the number of a state in place of what the run has come to.

    Returns
    -------
    Solution
        Or whatever was saved: a field, a problem.

    Raises
    ------
    InputError
        For what is missing, damaged, or no such file; for a problem with another domain or other unknowns.
    """
    place = Path(path)
    if not place.exists():
        raise InputError("There is no such file or run folder.", str(place), "Check the path.")
    found = Folder.open(place).result(state) if place.is_dir() else read(place, Codec(tuple(classes)))
    if problem is None:
        return found
    if not isinstance(found, Solution) or not _fits(problem, found.problem):
        raise InputError("The problem is not that of the file.", str(path), "Give the problem that was solved.")
    return dataclasses.replace(found, problem=problem)


def save(obj: Any, path: str | PathLike[str]) -> None:
    """Write a solution, a field, or a problem without its code into a file, an NPZ that `hierax.load` reads.

    Raises
    ------
    InputError
        For something in it that cannot be kept, and a place that cannot be written.
    """
    write(obj, Path(path))


def _fits(problem: Problem, kept: Problem) -> bool:
    return repr(problem.domain) == repr(kept.domain) and list(problem.unknowns) == list(kept.unknowns)
