"""Problems in users' own files, and errors in them told with the user's line instead of a traceback of this library."""

from __future__ import annotations

import contextlib
import difflib
import linecache
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from hierax._errors import InputError
from hierax.problems.problem import Problem
from hierax.records.settings import call_with

NAMELESS = "problem"
"""The name that a `Problem` has when its author gives none."""


def problem_from_file(path: Path, name: str, settings: Sequence[str], home: Path) -> Problem:
    """The problem `name` of a file: a `Problem`, or a function that returns one.

    Parameters
    ----------
    path, name:
        The file, and what in it.
    settings:
        Texts `KEY=VALUE` for the keywords of the function.
    home:
        Folder that is searched for modules while the file runs.

    Raises
    ------
    InputError
        For a missing file or object, an object of another kind, and every error inside of the file, with its line.
    """
    with searched_first(home), user_errors(path):
        found = object_of_file(path, name, home)
        if callable(found) and not isinstance(found, type):
            found = call_with(found, settings, f"function {name!r}")
        elif settings:
            raise InputError(
                f"{name!r} is no function, so there is nothing to set.", f"{path}:{name}", "Leave --set out."
            )
    if not isinstance(found, Problem):
        raise InputError(
            f"{name!r} gives a {type(found).__name__}, not a Problem.",
            f"{path}:{name}",
            "Name a hierax.Problem, or a function that returns one.",
        )
    if found.name == NAMELESS:
        found.name = path.stem
    return found


def named_in(text: str) -> tuple[Path | None, str]:
    """File and object of `FILE.py:OBJECT`, or of `FILE.py`, which is short for `FILE.py:problem`; of another text no
    file, and the text."""
    file, _, name = f"{text}:problem".rpartition(":") if text.endswith(".py") else text.rpartition(":")
    return (Path(file), name) if file.endswith(".py") else (None, text)


def object_of_file(path: Path, name: str, home: Path) -> Any:
    """What a file calls `name`; modules are searched for in `home` first while the file runs.

    Raises
    ------
    InputError
        For a missing file or object, and every error inside of the file, with its line.
    """
    if not path.is_file():
        raise InputError("There is no such file.", str(path), "Check the path; relative ones start where you are.")
    with searched_first(home), user_errors(path):
        return _named(path, run_file(path), name)


def run_file(path: Path) -> types.ModuleType:
    """Run a Python file as a module of its own, leaving no compiled copy beside it."""
    module = types.ModuleType(f"_hierax_file_{path.stem}")
    module.__file__ = str(path)
    # Dataclasses and others look their module up by name.
    sys.modules[module.__name__] = module
    linecache.checkcache(str(path))
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def _named(path: Path, module: types.ModuleType, name: str) -> Any:
    if name not in vars(module):
        known = [key for key, value in vars(module).items() if not key.startswith("_") and _may_be_problem(value, path)]
        near = difflib.get_close_matches(name, known, n=3)
        raise InputError(
            f"The file has no {name!r}." if name else "The object in the file is not named.",
            f"{path}:{name}",
            (f"Did you mean {', '.join(near)}? " if near else "")
            + (f"It has {', '.join(known)}." if known else "Define a Problem in it, or a function that returns one."),
        )
    return vars(module)[name]


def _may_be_problem(value: Any, path: Path) -> bool:
    if isinstance(value, types.FunctionType):
        return value.__code__.co_filename == str(path)
    return isinstance(value, Problem)


@contextlib.contextmanager
def searched_first(folder: Path) -> Iterator[None]:
    """Let imports look into a folder first."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the file may have changed the list itself
            sys.path.remove(str(folder))


@contextlib.contextmanager
def user_errors(path: Path | None) -> Iterator[None]:
    """Turn errors that arise inside of a user's file into an `InputError` with the line of that file.

    Errors of which no line of the file is part pass unchanged: they are not the user's.
    """
    if path is None:
        yield
        return
    try:
        yield
    except BaseException as error:
        place = None if isinstance(error, KeyboardInterrupt) else _place(error, path)
        if place is None:
            raise
        if isinstance(error, InputError):
            raise InputError(error.what, f"{error.where} ({place})", error.remedy) from error
        text = f"{error}".strip().splitlines()
        what = f"{type(error).__name__}: {text[0] if text else 'no message'}"
        raise InputError(what, place, _remedy(error)) from error


REMEDIES: tuple[tuple[type[BaseException], str, str], ...] = (
    (
        jax.errors.TracerBoolConversionError,
        "",
        "Write jnp.where(condition, a, b) in place of `if`, `and`, `or`, `not`.",
    ),
    (jax.errors.TracerArrayConversionError, "", "Use jax.numpy in terms: jnp.sin in place of np.sin."),
    (jax.errors.ConcretizationTypeError, "", "Use jax.numpy in terms, and no float(), int() or loops over values."),
    (TypeError, "SimpleNamespace", "With unknowns= a term gets w: write w.u(x), with the name of the unknown."),
    (AttributeError, "SimpleNamespace", "With unknowns= a term gets w: w.u, with the name of an unknown."),
    (AttributeError, "'function' object", "Without unknowns= a term gets u itself: write u(x), not w.u(x)."),
    (TypeError, "unsupported operand type(s) for", "Call the unknown at the point: u(x) in place of u."),
    (TypeError, "does not accept", "Call the unknown at the point: u(x) in place of u."),
)
"""Of errors that JAX or Python raise in a user's line, what most often is meant."""


def _remedy(error: BaseException) -> str:
    """What to do about an error, by its kind and message."""
    known = (text for kind, part, text in REMEDIES if isinstance(error, kind) and part in str(error))
    return next(known, "Repair this line of the file.")


def _place(error: BaseException, path: Path) -> str | None:
    """File, line, function and source of the innermost place of an error that lies in a file."""
    if isinstance(error, SyntaxError) and error.filename in (str(path), None):
        return f"{path}, line {error.lineno}: {(error.text or '').strip()}" if error.lineno else str(path)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if not frames:
        return None
    last = frames[-1]
    inside = "" if last.name == "<module>" else f", in {last.name}"
    return f"{path}, line {last.lineno}{inside}: {(last.line or '').strip()}"
