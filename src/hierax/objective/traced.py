"""What the traced form of a term shows before any training: whether it sees an unknown, and indices out of range.

JAX moves a static index that is out of range to the nearest entry, in silence. In the traced form the index is a known
number beside a known shape, and the line that it comes from is known as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from hierax.objective.pointwise import Place, examples, point_term
from hierax.objective.shared import origin
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.terms import Data, Term

FLAT = frozenset({"stop_gradient", "sign", "floor", "ceil", "round"})
"""Operations whose derivative is zero; comparisons and whatever else gives no real number count as well."""
LIBRARIES = (*(str(Path(str(module.__file__)).parent) for module in (jax, equinox, np)), str(Path(__file__).parents[1]))


class OutOfRange(NamedTuple):
    """A place that is out of range: along an axis of so many entries, and where in the user's code, if known."""

    place: int
    entries: int
    line: str


@dataclass(frozen=True)
class Traced:
    """What was found: names of the unknowns that the term depends on, and the first index out of range."""

    depends: frozenset[str]
    out_of_range: OutOfRange | None


@once_for_each
def traced(problem: Problem, term: Term) -> Traced:
    """Trace a term at one point with unknowns that have one parameter each.

    Dependence is that of the derivative: through comparisons, signs, roundings and factors that are zero nothing is
    learned.

    Raises
    ------
    Exception
        Whatever the user's function raises.
    """
    dim, point = problem.domain.dim, point_term(problem, term)

    none = Place(np.zeros((1, dim)), np.zeros((1, dim)), np.zeros((1, 0)))
    tried = examples(problem, term, none, 1)

    def values(x: jax.Array, normal: jax.Array, *c: jax.Array) -> jax.Array:
        return point.residual(trial(problem, c), Place(x, normal, jnp.asarray(tried.target[0])))

    closed = jax.make_jaxpr(values)(np.asarray(tried.x[0]), np.zeros(dim), *np.ones(len(problem.unknowns)))
    walk = _Walk([])
    out = walk(closed, [_Seen(), _Seen(), *(_Seen(frozenset({name})) for name in problem.unknowns)])
    return Traced(_together(out), next(iter(walk.missed), None))


@once_for_each
def measured(problem: Problem) -> frozenset[str]:
    """Names of the functions that data tell: those whose values they give, or that an observation looks at alone."""
    found: set[str] = set()
    for term in (t for t in problem.terms if isinstance(t, Data)):
        name = problem.data_unknown(term)
        found |= {name} if name is not None else _looked_at(problem, term)
    return frozenset(found)


def _looked_at(problem: Problem, term: Data) -> set[str]:
    """The one function of an observation; nothing where it has several."""
    point, none = point_term(problem, term), np.zeros((0, problem.domain.dim))
    places = examples(problem, term, Place(none, none, none), 3)
    ones = jnp.ones(len(problem.unknowns))
    slopes = jax.vmap(lambda place: jax.jacfwd(lambda c: point.residual(trial(problem, c), place))(ones))(places)
    felt = np.any(np.nan_to_num(np.asarray(slopes)) != 0.0, axis=(0, 1))
    names = {name for name, seen in zip(problem.unknowns, felt, strict=True) if seen and name in problem.functions}
    return names if len(names) == 1 else set()


def trial(problem: Problem, c: jax.Array | Sequence[jax.Array]) -> Any:
    """Unknowns `c_k` times a fixed function without symmetries, or number."""

    def function(number: int, components: int | None) -> Any:
        lead = () if components is None else (components,)
        phase = jnp.arange(float(np.prod(lead, dtype=int))).reshape(lead) + number
        return lambda z: c[number] * sum(jnp.exp(0.3 * z[k] + 0.1 * phase) * (1.0 + 0.1 * k) for k in range(len(z)))

    unknowns = enumerate(problem.unknowns.items())
    parts = {
        name: c[k] if name in problem.constants else function(k, problem.functions[name].components)
        for k, (name, _) in unknowns
    }
    return SimpleNamespace(**parts) if problem.named else next(iter(parts.values()))


class _Seen(NamedTuple):
    """Of a value in the traced form: the unknowns that it depends on, and what it is where that is known."""

    depends: frozenset[str] = frozenset()
    known: Any = None


def _together(values: Sequence[_Seen]) -> frozenset[str]:
    return frozenset().union(*(value.depends for value in values))


@dataclass(frozen=True)
class _Walk:
    """Follows dependence and known numbers through a traced function.

    `missed` collects what is out of range; `line` is where the function was called, for those in it without a line.
    """

    missed: list[OutOfRange]
    line: str = ""

    def __call__(self, closed: ClosedJaxpr | Jaxpr, arguments: Sequence[_Seen]) -> list[_Seen]:
        inner, consts = (closed.jaxpr, closed.consts) if isinstance(closed, ClosedJaxpr) else (closed, [])
        seen: dict[Any, _Seen] = dict(zip(inner.invars, arguments, strict=True))
        seen |= {var: _Seen(known=const) for var, const in zip(inner.constvars, consts, strict=False)}
        read = lambda v: _Seen(known=v.val) if isinstance(v, Literal) else seen.get(v, _Seen())  # noqa: E731
        for equation in inner.eqns:
            out = self._equation(equation, [read(v) for v in equation.invars])
            seen.update(zip(equation.outvars, out, strict=True))
        return [read(v) for v in inner.outvars]

    def _equation(self, equation: Any, inputs: list[_Seen]) -> list[_Seen]:
        depends = _together(inputs)
        inner = list(_functions(equation.params))
        if len(inner) == 1 and "scan" not in equation.primitive.name and _arity(inner[0]) == len(inputs):
            return self._inside(equation)(inner[0], inputs)
        for function in inner:
            # a loop or a branch: what goes round is not known
            self._inside(equation)(function, [_Seen(depends)] * _arity(function))
        self._check(equation, inputs)
        known = self._folded(equation, inputs) if not (inner or depends) else None
        depends = frozenset() if _is_flat(equation, inputs) else depends
        felt = [depends if jnp.issubdtype(v.aval.dtype, jnp.inexact) else frozenset() for v in equation.outvars]
        return [_Seen(names, value) for names, value in zip(felt, known or [None] * len(felt), strict=True)]

    def _inside(self, equation: Any) -> _Walk:
        return _Walk(self.missed, _line(equation) or self.line)

    def _folded(self, equation: Any, inputs: list[_Seen]) -> list[Any] | None:
        """The numbers that come out, where integers go in: arithmetic of indices."""
        if any(value.known is None for value in inputs) or not all(_is_index(v.aval) for v in equation.outvars):
            return None
        found = equation.primitive.bind(*(value.known for value in inputs), **equation.params)
        return list(found) if equation.primitive.multiple_results else [found]

    def _check(self, equation: Any, inputs: list[_Seen]) -> None:
        for index, entries, size in _indices(equation, inputs):
            if not 0 <= index <= entries - size:
                # negative ones were shifted by the number of entries
                self.missed.append(OutOfRange(index - entries * (index < 0), entries, _line(equation) or self.line))


def _functions(params: dict[str, Any]) -> Iterator[ClosedJaxpr | Jaxpr]:
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr | Jaxpr):
                yield one


def _arity(function: ClosedJaxpr | Jaxpr) -> int:
    return len(function.jaxpr.invars if isinstance(function, ClosedJaxpr) else function.invars)


def _is_index(aval: Any) -> bool:
    return not jnp.issubdtype(aval.dtype, jnp.inexact) and aval.size <= 64


def _is_flat(equation: Any, inputs: list[_Seen]) -> bool:
    """Whether no derivative comes through: by the operation, or by a factor that is zero."""
    name = equation.primitive.name
    zero = any(value.known is not None and not np.any(np.asarray(value.known)) for value in inputs)
    return name in FLAT or (name in {"mul", "dot_general"} and zero)


def _indices(equation: Any, inputs: list[_Seen]) -> Iterator[tuple[int, int, int]]:
    """Known starts of what is taken from or put into an array: start, entries along that axis, entries taken."""
    name, params = equation.primitive.name, equation.params
    if name not in {"dynamic_slice", "dynamic_update_slice", "gather"}:
        return
    shape = equation.invars[0].aval.shape
    if name == "gather":
        starts = inputs[1].known
        if starts is not None:
            for column, axis in enumerate(params["dimension_numbers"].start_index_map):
                for start in np.asarray(starts)[..., column].ravel():
                    yield int(start), shape[axis], params["slice_sizes"][axis]
        return
    sizes = params["slice_sizes"] if name == "dynamic_slice" else equation.invars[1].aval.shape
    starts = inputs[-len(shape) :] if shape else []
    for start, entries, size in zip(starts, shape, sizes, strict=True):
        if start.known is not None:
            yield int(start.known), entries, size


def _line(equation: Any) -> str:
    """The innermost line of the equation's origin that is no library's; empty where there is none."""
    file, line = origin(equation, LIBRARIES)
    return f"{file}, line {line}" if file else ""
