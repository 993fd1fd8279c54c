"""Programs that differ in numbers alone are compiled once.

A study trains the same equations with other constants, loads and tables. JAX makes a list of operations of a function;
numbers and arrays that the function brought along are taken out of it, and functions whose lists are equal share one
compiled program, whosever they are. Every function is traced, so that none passes for another. A list refers to no
problem: problems go when nobody needs them.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

PROGRAMS = 256
"""Most programs that are kept for who needs them next."""
CALLS = {"jit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
"""Operations that are lists of others, which take their place, and where these are."""
ARITHMETIC = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg}
"""Of numbers alone, done once."""
PLAIN = (0.0, 1.0, -1.0)
"""Numbers that stay in the list: the compiler leaves out what is done with them."""
OWN = tuple(str(Path(__file__).parents[1] / room) + "/" for room in ("fields", "objective"))
"""Where numbers stay as well: those of a spline's code are the same in all trainings, and programs faster with them."""
LIBRARY = (str(Path(jax.__file__).parent),)


class Shared:
    """A function of arrays, compiled; the program serves all functions that do the same with other numbers.

    Parameters
    ----------
    function, settings:
        The function, and settings of the compiler.
    """

    def __init__(self, function: Callable[..., Any], settings: dict[str, Any] | None) -> None:
        self._alone = jax.jit(function, compiler_options=settings)
        self._function, self._settings = function, settings
        self._prepared: dict[Any, Callable[[Sequence[Any]], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            return self._alone(*arguments)
        key = (tree, *map(jax.typeof, leaves))
        if key not in self._prepared:
            self._prepared[key] = self._prepare(arguments, tree)
        return self._prepared[key](leaves)

    def _prepare(self, arguments: tuple[Any, ...], tree: Any) -> Callable[[Sequence[Any]], Any]:
        closed, out = jax.make_jaxpr(self._function, return_shape=True)(*arguments)
        apart = None if closed.effects else taken_apart(closed, getattr(self._function, "__name__", "program"))
        if apart is None:
            return lambda leaves: self._alone(*jax.tree.unflatten(tree, leaves))
        (operations, numbers, arrays), whole = apart, jax.tree.structure(out)
        run = program(operations, tuple((self._settings or {}).items()))
        return lambda leaves: jax.tree.unflatten(whole, run(numbers, arrays, leaves))


class Place(NamedTuple):
    """Where an operation finds an input: among the `values`, `numbers` or `arrays`."""

    kind: str
    number: int


@dataclass(frozen=True)
class Operations:
    """A list of operations without its numbers; equal ones do the same.

    Attributes
    ----------
    name, key:
        Name of the function, and what else tells lists apart.
    steps:
        Operations, each with its inputs, places or literals.
    out:
        What comes out, as inputs, with its kind of numbers.
    """

    name: str
    key: Any
    steps: tuple[tuple[JaxprEqn, tuple[Place | Literal, ...]], ...] = field(compare=False)
    out: tuple[tuple[Place | Literal, Any], ...] = field(compare=False)

    def __call__(self, numbers: jax.Array, arrays: Sequence[jax.Array], values: Sequence[jax.Array]) -> list[Any]:
        """What comes out of the function for its arguments."""
        known = {"numbers": numbers, "arrays": arrays, "values": list(values)}

        def read(place: Place | Literal, dtype: Any) -> Any:
            if isinstance(place, Literal):
                return np.asarray(place.val, dtype)
            value = known[place.kind][place.number]
            return value if value.dtype == dtype else value.astype(dtype)

        for step, inputs in self.steps:
            given = [read(i, v.aval.dtype) for i, v in zip(inputs, step.invars, strict=True)]  # pyright: ignore
            found = step.primitive.bind(*given, **step.params)
            known["values"].extend(found if step.primitive.multiple_results else [found])
        return [read(place, dtype) for place, dtype in self.out]


@functools.lru_cache(maxsize=PROGRAMS)
def program(operations: Operations, settings: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """The program of some operations, of their numbers, arrays and arguments."""

    def run(*given: Any) -> list[Any]:
        return operations(*given)

    run.__name__ = operations.name
    return jax.jit(run, compiler_options=dict(settings) or None)


def taken_apart(closed: ClosedJaxpr, name: str) -> tuple[Operations, jax.Array, list[jax.Array]] | None:
    """The operations of a traced function, its numbers, and its arrays; `None` if they refer to functions."""
    apart = _Apart(len(closed.jaxpr.invars))
    inputs = [Place("values", k) for k in range(apart.count)]
    try:
        out = apart.entered(closed.jaxpr, closed.consts, inputs)
        key = tuple(v.aval for v in closed.jaxpr.invars), tuple(apart.keys), tuple(map(_named, out))
        hash(key)
    except _Refers:
        return None
    kinds = [v.aval.dtype for v in closed.jaxpr.outvars]
    operations = Operations(name, key, tuple(apart.steps), tuple(zip(out, kinds, strict=True)))
    return operations, jax.device_put(np.array(apart.numbers)), apart.arrays


class _Refers(TypeError):
    """Operations refer to a function, or to what cannot be compared."""


class _Apart:
    """Goes through a traced function and through what it calls."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.steps: list[Any] = []
        self.keys: list[Any] = []
        self.numbers: list[float] = []
        self.arrays: list[jax.Array] = []

    def entered(self, jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """Places of what comes out of a list of operations."""
        seen = dict(zip(jaxpr.invars, inputs, strict=True))
        seen |= {var: self._array(value) for var, value in zip(jaxpr.constvars, constants, strict=True)}
        read = lambda v: v if isinstance(v, Literal) else seen[v]  # noqa: E731
        for step in jaxpr.eqns:
            given, name = [read(v) for v in step.invars], step.primitive.name
            if name in CALLS:
                inner = step.params[CALLS[name]]
                out = self.entered(inner.jaxpr, inner.consts, given)
            elif name in ARITHMETIC and all(_is_number(i) for i in given):
                made = ARITHMETIC[name](*(np.asarray(i.val, i.aval.dtype) for i in given))  # pyright: ignore
                out = [Literal(made, step.outvars[0].aval)]
            else:
                out = self._done(step, given)
            seen.update(zip(step.outvars, out, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _done(self, step: JaxprEqn, given: list[Any]) -> list[Place]:
        changing = [_is_number(i) and i.val not in PLAIN for i in given]
        # the compiler knows better ways to some powers
        if any(changing) and step.primitive.name != "pow" and not origin(step, LIBRARY)[0].startswith(OWN):
            given = [self._number(i) if changes else i for i, changes in zip(given, changing, strict=True)]
        self.steps.append((step, tuple(given)))
        self.keys.append((step.primitive, _comparable(step.params), tuple(map(_named, given))))
        self.count += len(step.outvars)
        return [Place("values", k) for k in range(self.count - len(step.outvars), self.count)]

    def _number(self, literal: Literal) -> Place:
        self.numbers.append(float(literal.val))
        return Place("numbers", len(self.numbers) - 1)

    def _array(self, value: Any) -> Place:
        self.arrays.append(jax.device_put(value))
        return Place("arrays", len(self.arrays) - 1)


def origin(step: JaxprEqn, libraries: tuple[str, ...]) -> tuple[str, int]:
    """File and line where an operation comes from, the innermost outside of libraries; no name where there is none."""
    traceback = step.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        if not frame.file_name.startswith((*libraries, "<")):
            return frame.file_name, frame.line_num
    return "", 0


def _is_number(place: Any) -> bool:
    return isinstance(place, Literal) and jnp.issubdtype(place.aval.dtype, jnp.floating)  # pyright: ignore


def _named(place: Place | Literal) -> Any:
    """A place, or number, so that it can be compared."""
    return (repr(np.asarray(place.val)), place.aval) if isinstance(place, Literal) else place


def _comparable(value: Any) -> Any:
    """Parameters of an operation, so that equal ones are equal.

    Raises
    ------
    _Refers
        For functions, which may refer to anything, and for what has no hash.
    """
    if isinstance(value, ClosedJaxpr):
        return _comparable(value.jaxpr), tuple(id(constant) for constant in value.consts)
    if isinstance(value, Jaxpr):
        numbers = {var: k for k, var in enumerate((*value.constvars, *value.invars))}
        steps = []
        for step in value.eqns:
            given = [_named(v) if isinstance(v, Literal) else numbers[v] for v in step.invars]
            steps.append((step.primitive, _comparable(step.params), *given))
            numbers |= {var: len(numbers) + k for k, var in enumerate(step.outvars)}
        out = [_named(v) if isinstance(v, Literal) else numbers[v] for v in value.outvars]
        return tuple(v.aval for v in (*value.constvars, *value.invars)), tuple(steps), tuple(out)
    if isinstance(value, dict):
        return tuple((name, _comparable(part)) for name, part in sorted(value.items()))
    if isinstance(value, tuple | list):
        return tuple(map(_comparable, value))
    if callable(value) and not isinstance(value, type):
        raise _Refers(value)
    try:
        hash(value)
    except TypeError as error:
        raise _Refers(value) from error
    return value
