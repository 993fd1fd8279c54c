"""Trained fields in files: a description in JSON, arrays in NPZ, and no pickle, which could run code when it is read.

A description names classes of `hierax.fields` only, so a file cannot reach for anything else.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import pkgutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hierax.fields
from hierax._errors import InputError
from hierax.fields.axis import SplineAxis
from hierax.records.files import read_json, write_json, written

FORMAT = 1
ARRAYS, DESCRIPTION = "field.npz", "field.json"
REMEDY = "Train again, or take the folder from a copy; a file of a run must not be edited."

# Functions that a field may hold, by the name they are written under.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    f"jax.numpy.{name}": getattr(jnp, name) for name in ("tanh", "sin", "cos", "exp", "arctan")
} | {
    f"jax.nn.{name}": getattr(jax.nn, name)
    for name in ("relu", "gelu", "silu", "softplus", "sigmoid", "elu", "selu", "soft_sign")
}


@functools.singledispatch
def describe(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    """What JSON needs to build a field again; arrays are put into `arrays` and named in the description.

    Known are modules of `hierax.fields`, dictionaries, tuples, lists, arrays, numbers, texts and the common
    activations. Other kinds register their own answer, and their builder in `BUILDERS`.

    Raises
    ------
    InputError
        For something that cannot be kept, such as a function of one's own.
    """
    name = next((key for key, function in FUNCTIONS.items() if function is node), None)
    if name is not None:
        return {"kind": "function", "name": name}
    raise InputError(
        f"A {type(node).__name__} ({node!r}) in the field cannot be kept in a file.",
        "saving the trained field",
        "Use the kinds of hierax.fields, or register hierax.records.describe for this type.",
    )


@describe.register(bool)
@describe.register(int)
@describe.register(float)
@describe.register(str)
@describe.register(type(None))
def _(node: bool | int | float | str | None, arrays: dict[str, np.ndarray]) -> Any:
    del arrays
    return node


@describe.register(jax.Array)
@describe.register(np.ndarray)
@describe.register(np.generic)
def _(node: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    name = f"a{len(arrays)}"
    arrays[name] = np.asarray(node)
    return {"kind": "array", "name": name, "numpy": not isinstance(node, jax.Array)}


@describe.register(tuple)
@describe.register(list)
def _(node: tuple[Any, ...] | list[Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"kind": type(node).__name__, "items": [describe(item, arrays) for item in node]}


@describe.register(dict)
def _(node: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"kind": "dict", "items": {key: describe(item, arrays) for key, item in node.items()}}


@describe.register(eqx.Module)
def _(node: eqx.Module, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    kind = type(node).__name__
    if _modules().get(kind) is not type(node):
        raise InputError(
            f"The field has a part of the class {kind}, which is not of hierax.fields.",
            "saving the trained field",
            "Register hierax.records.describe for this class, and its builder in BUILDERS.",
        )
    members = {f.name: describe(getattr(node, f.name), arrays) for f in dataclasses.fields(node)}  # pyright: ignore
    return {"kind": "module", "class": kind, "members": members}


@describe.register(SplineAxis)
def _(node: SplineAxis, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if np.ndim(node.knots) > 1:
        # the axes of many subdomains, stacked
        return describe.dispatch(eqx.Module)(node, arrays)
    # The tables of polynomial pieces follow from the knots, bit by bit.
    return {
        "kind": "axis",
        "breakpoints": describe(node.breakpoints(), arrays),
        "degree": node.degree,
        "ends": describe(node.ends, arrays),
    }


def rebuild(description: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of `describe`.

    Raises
    ------
    InputError
        For a description that no version of this library wrote, or one of a later version.
    """
    if not isinstance(description, dict):
        return description
    try:
        return BUILDERS[description["kind"]](description, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The description of the field cannot be read ({type(error).__name__}: {error}).", DESCRIPTION, REMEDY
        ) from error


def _build_array(description: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    array = arrays[description["name"]]
    return array if description["numpy"] else jnp.asarray(array)


def _build_module(description: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> eqx.Module:
    cls = _modules()[description["class"]]
    members = description["members"]
    expected = {field.name: field.default for field in dataclasses.fields(cls)}  # pyright: ignore
    # a member that came later has the default that says what was so before
    members = {name: default for name, default in expected.items() if default is not dataclasses.MISSING} | members
    if members.keys() != expected.keys():
        raise KeyError(f"{description['class']} has the members {sorted(expected)}, not {sorted(members)}")
    # As JAX does when it unflattens a tree: the parts are given, so there is nothing to initialise.
    module = object.__new__(cls)
    for name, member in members.items():
        object.__setattr__(module, name, rebuild(member, arrays))
    return module


def _build_axis(description: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> SplineAxis:
    parts = {name: rebuild(description[name], arrays) for name in ("breakpoints", "degree", "ends")}
    return SplineAxis(**parts)


BUILDERS: dict[str, Callable[[dict[str, Any], Mapping[str, np.ndarray]], Any]] = {
    "array": _build_array,
    "module": _build_module,
    "axis": _build_axis,
    "function": lambda description, arrays: FUNCTIONS[description["name"]],
    "tuple": lambda description, arrays: tuple(rebuild(item, arrays) for item in description["items"]),
    "list": lambda description, arrays: [rebuild(item, arrays) for item in description["items"]],
    "dict": lambda description, arrays: {key: rebuild(item, arrays) for key, item in description["items"].items()},
}


@functools.cache
def _modules() -> dict[str, type[eqx.Module]]:
    """All module classes of `hierax.fields` by name, and the layers of Equinox that they are made of."""
    found: dict[str, type[eqx.Module]] = {"Linear": eqx.nn.Linear}
    for entry in pkgutil.iter_modules(hierax.fields.__path__):
        module = importlib.import_module(f"{hierax.fields.__name__}.{entry.name}")
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, eqx.Module) and value.__module__ == module.__name__:
                found[name] = value
    return found


def save_field(folder: Path, field: Any) -> None:
    """Write `field.npz`, then `field.json` with its checksum."""
    arrays: dict[str, np.ndarray] = {}
    description = describe(field, arrays)
    with written(folder / ARRAYS) as draft, draft.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore
    checksum = _checksum(folder / ARRAYS)
    write_json(folder / DESCRIPTION, {"format": FORMAT, "sha256": checksum, "field": description})


def load_field(folder: Path) -> Any:
    """Read what `save_field` wrote.

    Raises
    ------
    InputError
        If a file is missing or damaged, or was written by a later version.
    """
    record = read_json(folder / DESCRIPTION, REMEDY)
    if not isinstance(record, dict) or not {"format", "sha256", "field"} <= record.keys():
        raise InputError("The file does not describe a field.", str(folder / DESCRIPTION), REMEDY)
    if record["format"] != FORMAT:
        raise InputError(
            f"The field was written in format {record['format']}, this version reads format {FORMAT}.",
            str(folder / DESCRIPTION),
            "Use the version of hierax that wrote it.",
        )
    path = folder / ARRAYS
    if not path.is_file():
        raise InputError(f"The file {ARRAYS!r} is missing.", str(path), REMEDY)
    if _checksum(path) != record["sha256"]:
        raise InputError(
            "The file is damaged: its SHA-256 sum is not the one that was noted when it was written.", str(path), REMEDY
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"The file cannot be read ({error}).", str(path), REMEDY) from error
    return rebuild(record["field"], arrays)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
