"""Where a problem comes from, so that it can be made again: the catalogue, a user's file, or a table of data."""

from __future__ import annotations

import abc
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from hierax._errors import InputError
from hierax.fields.unknowns import Unknowns
from hierax.problems.continuation import Continuation
from hierax.problems.domain import Box
from hierax.problems.fidelities import Fidelities, Fidelity
from hierax.problems.problem import Problem
from hierax.problems.registry import named_problem
from hierax.problems.terms import Data
from hierax.problems.unknowns import Function
from hierax.records.fidelity_columns import fidelity_groups
from hierax.records.settings import call_with
from hierax.records.tables import read_columns
from hierax.records.user_file import problem_from_file


@dataclass(frozen=True)
class AbstractSource(abc.ABC):
    """Where a problem comes from."""

    @abc.abstractmethod
    def load(self) -> Problem:
        """Make the problem."""

    @abc.abstractmethod
    def keep(self, folder: Path, problem: Problem) -> dict[str, Any]:
        """Put into a run folder what is needed to make the problem again, and return the rest for its JSON."""

    @property
    def file(self) -> Path | None:
        """The user's own source text, whose errors are the user's to repair."""
        return None


@final
@dataclass(frozen=True)
class CatalogueSource(AbstractSource):
    """A problem of the catalogue; `settings` are texts `KEY=VALUE`."""

    name: str
    settings: tuple[str, ...] = ()

    def load(self) -> Problem:
        return call_with(named_problem(self.name), self.settings, f"problem {self.name!r}")

    def keep(self, folder: Path, problem: Problem) -> dict[str, Any]:
        del folder, problem
        return {"kind": "catalogue", "name": self.name, "settings": list(self.settings)}


@final
@dataclass(frozen=True)
class FileSource(AbstractSource):
    """`OBJECT` of a user's file; `home` is the folder whose neighbouring modules the file may import."""

    path: Path
    object: str
    settings: tuple[str, ...] = ()
    home: Path | None = None

    def load(self) -> Problem:
        return problem_from_file(self.path, self.object, self.settings, self.home or self.path.resolve().parent)

    def keep(self, folder: Path, problem: Problem) -> dict[str, Any]:
        del problem
        shutil.copyfile(self.path, folder / self.path.name)
        home = str(self.home or self.path.resolve().parent)
        record = {"kind": "file", "file": self.path.name, "object": self.object, "home": home}
        return record | {"settings": list(self.settings)}

    @property
    def file(self) -> Path:
        return self.path


@final
@dataclass(frozen=True)
class ContinuedSource(AbstractSource):
    """The last of several settings of one problem, by way of the others; `values` are the texts of `setting`."""

    sources: tuple[AbstractSource, ...]
    setting: str
    values: tuple[str, ...]

    def load(self) -> Problem:
        made = dict(zip(self.values, self.sources, strict=True))
        return Continuation(lambda value: made[value].load(), self.values, parameter=self.setting)

    def keep(self, folder: Path, problem: Problem) -> dict[str, Any]:
        # what was learned is a solution of the last problem
        return self.sources[-1].keep(folder, problem)

    @property
    def file(self) -> Path | None:
        return self.sources[-1].file


@final
@dataclass(frozen=True)
class DataSource(AbstractSource):
    """A table of measurements: `outputs` as functions of `inputs` on the bounding box of the points.

    With a column `level` that says which fidelity a row is of, the dearest fidelity is to be predicted: by the column
    `cost`, or else that of the largest number.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    level: str | None = None
    cost: str | None = None

    def load(self) -> Problem:
        _check_names(self.inputs, self.outputs)
        table = read_columns(self.path, (*self.inputs, *self.outputs), points=self.inputs)
        for name in self.inputs:
            if np.ptp(table[name]) == 0:
                raise InputError(
                    f"All {len(table[name])} values of this input are {table[name][0]:g}.",
                    f"{self.path}, column {name!r}",
                    "Leave a constant column out of --inputs.",
                )
        points = np.stack([table[name] for name in self.inputs], axis=1)
        values = {name: table[name] for name in self.outputs}
        groups = fidelity_groups(self.path, self.level, self.cost)
        if groups is not None:
            box = Box(points.min(axis=0), points.max(axis=0), names=self.inputs)
            parts = [
                Fidelity(points[g.rows], {name: v[g.rows] for name, v in values.items()}, g.cost, g.name)
                for g in groups
            ]
            return Fidelities(box, parts, name=self.path.stem)
        return fitted(self.path.stem, self.inputs, points.min(axis=0), points.max(axis=0), points, values)

    def keep(self, folder: Path, problem: Problem) -> dict[str, Any]:
        del folder
        lower, upper = problem.domain.bounds()
        return {
            "kind": "data",
            "file": str(self.path),
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "lower": lower.tolist(),
            "upper": upper.tolist(),
        }


@final
@dataclass(frozen=True)
class FittedSource(AbstractSource):
    """What a run folder keeps of a fit: enough to evaluate it, not the data themselves."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def load(self) -> Problem:
        lower, upper = np.array(self.lower), np.array(self.upper)
        # A problem has terms; one point in the middle stands for the data, which prediction does not need.
        middle = 0.5 * (lower + upper)[None, :]
        return fitted(self.name, self.inputs, lower, upper, middle, {name: np.zeros(1) for name in self.outputs})

    def keep(self, folder: Path, problem: Problem) -> dict[str, Any]:
        del folder, problem
        parts = {"inputs": self.inputs, "outputs": self.outputs, "lower": self.lower, "upper": self.upper}
        return {"kind": "data", "file": self.name} | {key: list(value) for key, value in parts.items()}


def fitted(
    name: str,
    inputs: Sequence[str],
    lower: np.ndarray,
    upper: np.ndarray,
    points: np.ndarray,
    values: dict[str, np.ndarray],
) -> Problem:
    """The problem of a fit: one scalar unknown for each output, called as its column."""
    return Problem(
        Box(lower, upper, names=tuple(inputs)),
        tuple(Data(output, points, column) for output, column in values.items()),
        unknowns={output: Function() for output in values},
        name=name,
    )


def source_of(text: str, settings: Sequence[str]) -> AbstractSource:
    """Read `NAME` or `FILE.py:OBJECT`.

    Raises
    ------
    InputError
        For a file without an object.
    """
    file, separator, name = text.rpartition(":")
    if separator and file.endswith(".py"):
        return FileSource(Path(file), name, tuple(settings))
    if text.endswith(".py"):
        raise InputError(
            "The file is named, but not what in it is the problem.",
            text,
            f"Write {text}:OBJECT, where OBJECT is a Problem or a function that returns one.",
        )
    return CatalogueSource(text, tuple(settings))


def continued_source(text: str, settings: Sequence[str], through: str) -> AbstractSource:
    """Read `NAME` or `FILE.py:OBJECT` with one setting given as `KEY=VALUE,VALUE,...`, the easiest value first.

    Raises
    ------
    InputError
        For a text that is no such setting, and for a value that is given twice.
    """
    key, separator, values = through.partition("=")
    parts = tuple(value.strip() for value in values.split(","))
    if not separator or not key.isidentifier() or not all(parts) or len(set(parts)) < len(parts):
        raise InputError(
            f"{through!r} is no list of different values of a setting.",
            "--continue",
            "Write KEY=VALUE,VALUE,... without spaces, the easiest value first.",
        )
    sources = tuple(source_of(text, (*settings, f"{key}={value}")) for value in parts)
    return ContinuedSource(sources, key, parts)


def kept_source(record: dict[str, Any], folder: Path) -> AbstractSource:
    """The source of a run folder, from what `keep` returned."""
    try:
        settings = tuple(record.get("settings", ()))
        if record["kind"] == "catalogue":
            return CatalogueSource(record["name"], settings)
        if record["kind"] == "file":
            return FileSource(folder / record["file"], record["object"], settings, Path(record["home"]))
        corners = (tuple(record["lower"]), tuple(record["upper"]))
        return FittedSource(Path(record["file"]).stem, tuple(record["inputs"]), tuple(record["outputs"]), *corners)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"The run does not say what its problem was ({error} is missing).",
            str(folder),
            "Give the folder of a run of `hierax train` or `hierax fit`.",
        ) from error


def _check_names(inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    for option, names in (("--inputs", inputs), ("--outputs", outputs)):
        if not names:
            raise InputError("No column is named.", option, "Name at least one column.")
        for name in names:
            if (inputs + outputs).count(name) > 1:
                raise InputError(f"The column {name!r} is named twice.", option, "Name each column once.")
            if not name.isidentifier() or (option == "--outputs" and name in {*dir(Unknowns), "parts"}):
                raise InputError(
                    f"The column {name!r} cannot be the name of a coordinate or unknown.",
                    option,
                    "Rename it in the file: letters, digits and underscores, not beginning with a digit"
                    + ("" if not name.isidentifier() else f"; {name!r} itself is taken by the library")
                    + ".",
                )
