"""Where a problem comes from, so that it can be made again: the catalogue, a user's file, or a table of data."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from hierax._errors import InputError
from hierax.fields.unknowns import Unknowns
from hierax.problems.continuation import Continuation
from hierax.problems.fidelities import Fidelities, Fidelity
from hierax.problems.parametric import Parameter, over
from hierax.problems.problem import Problem
from hierax.problems.registry import named_problem
from hierax.problems.terms import Data
from hierax.problems.unknowns import Function
from hierax.records.columns import Reading
from hierax.records.fidelity_columns import fidelity_groups
from hierax.records.settings import call_with, parse_settings
from hierax.records.table_domain import box_of_table
from hierax.records.tables import LOGARITHM, Table
from hierax.records.user_file import NAMELESS, named_in, object_of_file, problem_from_file, searched_first, user_errors


@dataclass(frozen=True)
class AbstractSource(abc.ABC):
    """Where a problem comes from."""

    @abc.abstractmethod
    def load(self) -> Problem:
        """Make the problem."""

    def read(self) -> tuple[Problem, list[str]]:
        """The problem, and what was passed over where it comes from, in words."""
        return self.load(), []

    @abc.abstractmethod
    def record(self) -> dict[str, Any]:
        """What a run folder notes of it, so that it can be told from another one."""

    @property
    def file(self) -> Path | None:
        """The user's own source text, whose errors are the user's to repair."""
        return None

    @property
    def inputs_read(self) -> list[Path]:
        """Files that the problem is made of."""
        return [] if self.file is None else [self.file]


@final
@dataclass(frozen=True)
class CatalogueSource(AbstractSource):
    """A problem of the catalogue; `settings` are texts `KEY=VALUE`."""

    name: str
    settings: tuple[str, ...] = ()

    def load(self) -> Problem:
        return call_with(named_problem(self.name), self.settings, f"problem {self.name!r}")

    def record(self) -> dict[str, Any]:
        return {"kind": "catalogue", "name": self.name, "settings": list(self.settings)}


@final
@dataclass(frozen=True)
class FileSource(AbstractSource):
    """`OBJECT` of a user's file, which may import modules that lie beside it."""

    path: Path
    object: str
    settings: tuple[str, ...] = ()

    def load(self) -> Problem:
        return problem_from_file(self.path, self.object, self.settings, self.path.resolve().parent)

    def record(self) -> dict[str, Any]:
        record = {"kind": "file", "file": self.path.name, "object": self.object, "given": str(self.path)}
        return record | {"settings": list(self.settings), "sha256": checksum(self.path)}

    @property
    def file(self) -> Path:
        return self.path


@final
@dataclass(frozen=True)
class ParametricSource(AbstractSource):
    """A problem with some of its settings as coordinates; `ranges` are texts `NAME=LOW:HIGH` or `NAME=LOW:HIGH:log`."""

    whole: CatalogueSource | FileSource
    ranges: tuple[str, ...]

    def load(self) -> Problem:
        whole = self.whole
        if isinstance(whole, CatalogueSource):
            return over(named_problem(whole.name), *map(parameter_of, self.ranges), **parse_settings(whole.settings))
        home = whole.path.resolve().parent
        make = object_of_file(whole.path, whole.object, home)
        if not isinstance(make, Callable):
            raise InputError(f"{whole.object!r} is no function of what varies.", "--over", "Name one that returns it.")
        with searched_first(home), user_errors(whole.path):
            problem = over(make, *map(parameter_of, self.ranges), **parse_settings(whole.settings))
        if problem.name == NAMELESS:
            problem.name = whole.path.stem
        return problem

    def record(self) -> dict[str, Any]:
        return {**self.whole.record(), "over": list(self.ranges)}

    @property
    def file(self) -> Path | None:
        return self.whole.file


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

    def record(self) -> dict[str, Any]:
        # what was learned is a solution of the last problem
        return self.sources[-1].record()

    @property
    def file(self) -> Path | None:
        return self.sources[-1].file


@final
@dataclass(frozen=True)
class DataSource(AbstractSource):
    """A table of measurements: `outputs` as functions of `inputs` on the bounding box of the points.

    With a column `level` that says which fidelity a row is of, the dearest fidelity is to be predicted: by the column
    `cost`, or else that of the largest number. Columns of `log` are replaced by their logarithms, which are called
    `log_NAME`; `sigma` is a column with the standard deviation of the outputs, `group` one with what a row belongs to,
    such as a specimen; `domain` and `periodic` say how far inputs reach, see `box_of_table`.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    level: str | None = None
    cost: str | None = None
    rename: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    sigma: str | None = None
    group: str | None = None
    drop_missing: bool = False
    domain: tuple[str, ...] = ()
    periodic: tuple[str, ...] = ()

    def load(self) -> Problem:
        return self.read()[0]

    def read(self) -> tuple[Problem, list[str]]:
        table = Table(self.path, Reading.of(self.rename, self.drop_missing))
        inputs, outputs = (self._named(table, words) for words in (self.inputs, self.outputs))
        _check_names(inputs, outputs)
        others = tuple(name for name in (self.cost, self.sigma) if name is not None)
        columns = table.numbers((*inputs, *outputs, *others), points=inputs)
        for name in inputs:
            if np.ptp(columns[name]) == 0:
                raise InputError(
                    f"All {len(columns[name])} values of this input are {columns[name][0]:g}.",
                    f"{self.path}, column {name!r}",
                    "Leave a constant column out of --inputs.",
                )
        points = np.stack([columns[name] for name in inputs], axis=1)
        box, points, notes = box_of_table(
            points, inputs, self.domain, self.periodic, lambda word: self._named(table, (word,))[0], self.path
        )
        values = {name: columns[name] for name in outputs}
        groups = fidelity_groups(table, self.level, None if self.cost is None else columns[self.cost])
        noise = None if self.sigma is None else _noise(columns[self.sigma], self.path, self.sigma)
        if groups is not None:
            if self.group is not None:
                raise InputError(
                    "Groups of rows are not known to fits of several fidelities.",
                    f"{self.path}, column {self.group!r}",
                    "Leave --group or --level out.",
                )
            if isinstance(noise, np.ndarray):
                raise InputError(
                    "Fits of several fidelities know one standard deviation for all rows.",
                    f"{self.path}, column {self.sigma!r}",
                    "Leave --sigma or --level out.",
                )
            parts = [
                Fidelity(points[g.rows], {name: v[g.rows] for name, v in values.items()}, g.cost, g.name, noise)
                for g in groups
            ]
            return Fidelities(box, parts, name=self.path.stem), [*table.notes, *notes]
        own = None if self.group is None else table.labels(self.group)
        terms = tuple(Data(output, points, column, noise, groups=own) for output, column in values.items())
        unknowns = {output: Function() for output in values}
        return Problem(box, terms, unknowns=unknowns, name=self.path.stem), [*table.notes, *notes]

    @property
    def inputs_read(self) -> list[Path]:
        return [self.path]

    def _named(self, table: Table, words: tuple[str, ...]) -> tuple[str, ...]:
        """The names of columns that were asked for in words."""
        headings = [table.heading(word) for word in table.listed(words)]
        logs = {table.heading(word) for word in table.listed(self.log)}
        return tuple((LOGARITHM if heading in logs else "") + table.names[heading] for heading in headings)

    def record(self) -> dict[str, Any]:
        columns = {"inputs": list(self.inputs), "outputs": list(self.outputs), "level": self.level, "cost": self.cost}
        how = {"rename": list(self.rename), "log": list(self.log), "sigma": self.sigma, "group": self.group}
        how |= {"domain": list(self.domain), "periodic": list(self.periodic)}
        record = {"kind": "data", "file": str(self.path), "sha256": checksum(self.path), **columns, **how}
        return record | {"drop_missing": self.drop_missing}


def _noise(column: np.ndarray, path: Path, name: str) -> float | np.ndarray:
    """The standard deviation that a column states, of every row where they differ."""
    even = np.ptp(column) <= 1e-9 * np.max(column)
    if np.any(column < 0) or not (even or np.all(column > 0)):
        raise InputError(
            f"The standard deviations lie between {column.min():g} and {column.max():g}.",
            f"{path}, column {name!r}",
            "Give numbers above 0 in every row, or leave --sigma out (the noise is estimated).",
        )
    return float(column[0]) if even else column


def source_of(text: str, settings: Sequence[str]) -> AbstractSource:
    """Read `NAME`, `FILE.py:OBJECT`, or `FILE.py`, which is short for `FILE.py:problem`."""
    path, name = named_in(text)
    return CatalogueSource(text, tuple(settings)) if path is None else FileSource(path, name, tuple(settings))


def parameter_of(text: str) -> Parameter:
    """Read `NAME=LOW:HIGH` or `NAME=LOW:HIGH:log`.

    Raises
    ------
    InputError
        For a text that is no such range.
    """
    name, _, values = text.partition("=")
    try:
        low, high, *rest = values.split(":")
        return Parameter(name, float(low), float(high), {(): False, ("log",): True}[tuple(rest)])
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{text!r} is no range.", "--over", "Write NAME=LOW:HIGH, or NAME=LOW:HIGH:log, without spaces."
        ) from error


def parametric_source(text: str, settings: Sequence[str], ranges: Sequence[str]) -> AbstractSource:
    """Read `NAME` or `FILE.py:OBJECT`, with ranges of settings that become coordinates where there are any."""
    source = source_of(text, settings)
    if not ranges:
        return source
    assert isinstance(source, CatalogueSource | FileSource)
    return ParametricSource(source, tuple(ranges))


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


def checksum(path: Path) -> str:
    """SHA-256 sum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
                    "Rename it by --rename HEADING=NAME: letters, digits and underscores, no digit first"
                    + ("" if not name.isidentifier() else f"; {name!r} itself is taken by the library")
                    + ".",
                )
