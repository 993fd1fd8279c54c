"""Surrogates on the command line: families in users' files, their run folders, and predictions as tables."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from hierax._errors import InputError
from hierax.clock import peak_memory_mib
from hierax.fields import parameter_count
from hierax.models.catalogue import families
from hierax.models.family import Family
from hierax.models.family_levels import on_levels
from hierax.models.inputs import AbstractInput, LogUniform, Uniform
from hierax.models.judging import predict
from hierax.models.leveled import AbstractLeveled
from hierax.models.operators import Operator
from hierax.models.surrogate import Surrogate
from hierax.problems.problem import Problem
from hierax.problems.registry import named_problem
from hierax.records.folder import SURROGATE
from hierax.records.recorded import same_file
from hierax.records.run import Run
from hierax.records.settings import call_with, complete, parse_settings
from hierax.records.sources import AbstractSource, checksum
from hierax.records.tables import Table
from hierax.records.user_file import NAMELESS, named_in, object_of_file, user_errors
from hierax.results.archive import pack
from hierax.results.arrays import named_arrays
from hierax.results.evaluation import box_of, check_points, columns
from hierax.results.solution import plain

RECORD = "surrogate.json"
GRID = {1: 65, 2: 21, 3: 9}
"""Points an axis at which members are written where no points are given."""
ERROR, BOUND, OUTSIDE, HOW = "error", "error_bound", "outside", "solved"
"""Columns of a prediction: estimate, what nearly all errors stay below, how far outside, and whether it was solved."""


@final
@dataclass(frozen=True)
class FamilySource(AbstractSource):
    """A family: `OBJECT` of a user's file, a family of the catalogue, or a problem of it and what varies.

    `vary` are texts `NAME=LOW:HIGH` or `NAME=LOW:HIGH:log`, and `settings` texts `KEY=VALUE` for other keywords.
    """

    text: str
    vary: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def varied(self) -> Family | AbstractLeveled:
        """Make the family, or what is on levels by itself.

        Raises
        ------
        InputError
            For an object that is neither, nor a function that returns one, or problems where it is said what varies.
        """
        path, name = named_in(self.text)
        if path is None:
            found: Any = families().get(self.text) or named_problem(self.text)
        else:
            found = object_of_file(path, name, path.resolve().parent)
        inputs = dict(map(varying, self.vary))
        settings, apart = self.settings, isinstance(found, Family | AbstractLeveled | Problem)
        if callable(found) and not apart and not inputs and complete(found, settings):
            with user_errors(path):
                found, settings = call_with(found, settings, f"function {name!r}"), ()
        if isinstance(found, AbstractLeveled):
            if settings:
                raise InputError("A simulator has no settings.", self.text, "Leave --set out.")
            found.inputs |= inputs
            found.name = path.stem if path is not None else found.name
            found.load = self.on_levels
            return found
        if isinstance(found, Family):
            make: Any = found.make
            inputs = {**found.inputs, **inputs}
        elif callable(found) or isinstance(found, Problem):
            make = found
        else:
            raise InputError(
                f"{name!r} is a {type(found).__name__}.",
                self.text,
                "Name a hx.Family, a hx.Simulation, or a function that returns one or, with --vary, problems.",
            )
        if not inputs:
            raise InputError("Nothing varies.", self.text, "Add --vary NAME=LOW:HIGH, or name a hx.Family in the file.")
        made = functools.partial(make, **parse_settings(settings)) if settings else make
        return Family(made, inputs, path.stem if path is not None else self.text)

    def family(self) -> Family:
        """The family; see `varied`."""
        found = self.varied()
        if not isinstance(found, Family):
            raise InputError("A simulator is no problem.", self.text, "Name a hx.Family.")
        return found

    def on_levels(self, quantity: str | None = None) -> AbstractLeveled:
        """What members on levels come from, here or in a process of its own; `quantity` of a family."""
        found = on_levels(self.varied(), quantity)
        found.load = functools.partial(self.on_levels, quantity)
        return found

    def load(self) -> Problem:
        family = self.family()
        problem = family.problem(family.middle())
        if problem.name == NAMELESS:
            problem.name = family.name or NAMELESS
        return problem

    def record(self) -> dict[str, Any]:
        record = {"kind": "family", "vary": list(self.vary), "settings": list(self.settings)}
        if self.file is None:
            return record | {"name": self.text}
        path, name = self.file, named_in(self.text)[1]
        return record | {"file": path.name, "object": name, "given": str(path), "sha256": checksum(path)}

    @property
    def file(self) -> Path | None:
        return named_in(self.text)[0]


def varying(text: str) -> tuple[str, AbstractInput]:
    """Read `NAME=LOW:HIGH` or `NAME=LOW:HIGH:log`.

    Raises
    ------
    InputError
        For a text that is no such range.
    """
    name, separator, values = text.partition("=")
    low, *rest = values.split(":")
    try:
        ends = float(low), float(rest[0])
        kind = {(): Uniform, ("log",): LogUniform}[tuple(rest[1:])]
    except (ValueError, IndexError, KeyError):
        ends, kind = (0.0, 0.0), Uniform
        separator = ""
    if not separator or not name.isidentifier():
        raise InputError(
            f"{text!r} is no range.", "--vary", "Write NAME=LOW:HIGH, or NAME=LOW:HIGH:log, without spaces."
        )
    return name, kind(*ends)


def recorded_family(record: Mapping[str, Any], given: str | None) -> FamilySource:
    """The source that a run folder noted; code that it names has to be given, and none that has changed is taken."""
    texts = tuple(map(str, record.get("vary", ()))), tuple(map(str, record.get("settings", ())))
    return FamilySource(str(record["name"]) if "name" in record else same_file(record, given), *texts)


def write_surrogate(run: Run, made: Surrogate, options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a surrogate in a run folder; its record for other programs."""
    known = made.calibration
    record = {
        "problem": made.problem.name,
        "inputs": {name: repr(one) for name, one in made.inputs.items()},
        "options": options,
        **dataclasses.asdict(made.record),
        "error_median": np.median(known.errors),
        "error_largest": np.max(known.errors),
        "true_over_estimated": known.errors / known.estimates,
        "true_over_estimated_by_equations": known.errors[: len(known.equations)] / known.equations,
        "mesh_error": known.floor,
        "peak_memory_mib": peak_memory_mib(),
        "run": str(run.path),
    }
    shown = plain(record)
    text = json.dumps(shown, indent=2, allow_nan=False).encode() + b"\n"
    run.write_result({SURROGATE: pack(made), RECORD: text})
    return shown


def write_operator(run: Run, made: Operator, options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep an operator in a run folder; its record for other programs."""
    network = made.network
    record = {
        "inputs": made.inputs, "outputs": made.outputs, "base": made.base, "grid": made.grid, "options": options,
        "parameters": 0 if network is None else parameter_count(network), "steps": made.steps, "samples": made.samples,
        "symmetries": [f"{kind} {axis}" for kind, axis in made.moves], "candidates": made.candidates,
        "error_mean": np.mean(made.errors), "error_h1": np.mean(made.h1), "errors": made.errors,
        "seconds": made.seconds, "seconds_compile": made.seconds_compile, "peak_memory_mib": peak_memory_mib(),
        "run": str(run.path),
    }  # fmt: skip
    shown = plain(record)
    run.write_result({SURROGATE: pack(made), RECORD: json.dumps(shown, indent=2, allow_nan=False).encode() + b"\n"})
    return shown


def predicted_samples(made: Operator, path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Outputs of an operator for the inputs of a file, with estimates of their errors, and sentences about them."""
    arrays = named_arrays(path, list(made.inputs))
    error, bound = made.error(arrays)
    far = int(np.sum(np.isinf(bound)))
    said = (
        [f"{far} of {len(bound)} samples are far from those that were learned; their error is unknown."] if far else []
    )
    return {**made(arrays), ERROR: error, BOUND: bound, OUTSIDE: made.outside(arrays)}, said


def predicted_members(
    made: Surrogate, table: Table, points: Table | None, values: Sequence[str], family: Family | None,
    tolerance: float | None,
) -> tuple[dict[str, np.ndarray], list[str]]:  # fmt: skip
    """Columns of a prediction, and sentences about it.

    A table with coordinates beside the inputs gives one value a row. Without them every member is written at the points
    of a second table, or of a grid over the domain: a row for each member and point.
    """
    names, coordinates = made.names, tuple(made.problem.domain.names or ())
    headings = set(table.names) | set(table.names.values())
    at_rows = points is None and all(name in headings for name in coordinates)
    asked = (*names, *coordinates) if at_rows else names
    read = table.numbers(asked)
    members, which = np.unique(np.stack([read[n] for n in names], axis=1), axis=0, return_inverse=True)
    which = which.ravel()
    found = predict(made, members, family=family, tolerance=tolerance)
    wanted = tuple(values) or tuple(made.problem.unknowns)
    if at_rows:
        places = [np.flatnonzero(which == k) for k in range(len(members))]
        where = check_points(made.problem, np.stack([read[n] for n in coordinates], axis=1), str(table.path))
        parts = [(np.full(len(p), k), where[p], p) for k, p in enumerate(places)]
    else:
        where = _grid(made.problem) if points is None else _points(made.problem, points)
        parts = [
            (np.full(len(where), k), where, row * len(where) + np.arange(len(where))) for row, k in enumerate(which)
        ]
    out = _columns(made, found, parts, wanted, coordinates)
    return out, _sentences(found, tolerance, family is not None)


def _columns(made: Surrogate, found: Any, parts: Any, wanted: Sequence[str], coordinates: Sequence[str]) -> Any:
    shown: dict[int, dict[str, np.ndarray]] = {}
    rows = []
    for member, where, place in parts:
        if not len(where):
            continue
        k = int(member[0])
        own = columns(made.problem, found.fields[k], where, wanted)
        shown[k] = own
        given = {name: np.full(len(where), found.inputs[k, j]) for j, name in enumerate(made.names)}
        given |= {name: where[:, j] for j, name in enumerate(coordinates)}
        told = {ERROR: found.errors[k], BOUND: found.bounds[k], OUTSIDE: found.outside[k],
                HOW: float(found.how[k].startswith("solved"))}  # fmt: skip
        rows.append((place, {**given, **own, **{n: np.full(len(where), v) for n, v in told.items()}}))
    order = np.argsort(np.concatenate([place for place, _ in rows]), kind="stable")
    return {name: np.concatenate([part[name] for _, part in rows])[order] for name in rows[0][1]}


def _grid(problem: Problem) -> np.ndarray:
    box = box_of(problem)
    axes = [np.linspace(a, b, GRID.get(box.dim, 5)) for a, b in zip(box.lower, box.upper, strict=True)]
    return np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)


def _points(problem: Problem, table: Table) -> np.ndarray:
    names = tuple(problem.domain.names or ())
    read = table.numbers(names, points=names)
    return check_points(problem, np.stack([read[name] for name in names], axis=1), str(table.path))


def _sentences(found: Any, tolerance: float | None, judged: bool) -> list[str]:
    count, outside = len(found.inputs), int(np.sum(found.outside > 0))
    said = []
    if outside:
        done = (
            "they were solved"
            if judged
            else "their error is unknown: give the problem by --problem to have them solved"
        )
        where = "outside of the ranges that were learned, or like members that failed"
        said.append(f"{outside} of {count} members are {where}; {done}.")
    if tolerance is not None:
        missed = int(np.sum(~(found.bounds <= tolerance)))
        solved = sum(how.startswith("solved") for how in found.how)
        said.append(f"Tolerance {tolerance:g}: {count - solved} members predicted, {solved} solved"
                    + (f"; {missed} miss it all the same, see {BOUND}." if missed else "."))  # fmt: skip
    failed = found.how.count("failed")
    return [*said, f"{failed} members could not be solved."] if failed else said
