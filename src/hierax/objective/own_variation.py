"""What a term does by itself along the coordinates: its source and its coefficients, with the unknowns held fixed.

A term is traced with unknowns that are opaque functions of the point. What depends on the point in another way than
through them is the user's own: a source, a coefficient, a comparison. Differences and comparisons in it change sign
at places, and there narrow peaks have their middle and jumps their place, however small they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

from hierax.objective.compiled import compiled_quickly
from hierax.objective.order import SAME
from hierax.objective.pointwise import AbstractPointTerm, Place, point_term
from hierax.problems.problem import Problem
from hierax.problems.terms import Term

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
BREAKS = COMPARISONS | {
    "floor", "ceil", "round", "sign", "rem", "argmax", "argmin", "gather", "dynamic_slice", "cond", "scan", "while",
}  # fmt: skip
"""Operations of smooth arguments whose result, or what is chosen by it, can jump."""
GENTLE = frozenset({
    "add", "add_any", "sub", "mul", "neg", "sin", "cos", "square", "sqrt", "abs", "max", "min", "reshape", "squeeze",
    "expand_dims", "slice", "split", "broadcast_in_dim", "concatenate", "transpose", "reduce_sum", "dot_general",
    "convert_element_type", "copy", "stop_gradient", "scatter", "scatter-add", "iota", "integer_pow", "and", "or",
    "not", "select_n",
})  # fmt: skip
"""Operations out of which neither peaks nor jumps come; with breaks to choose by, `select_n` jumps as well."""
WIDEST = 8
"""Most entries of a difference whose changes of sign are looked at."""
CHUNK = 256
"""Points in one call of the compiled term."""


class _Followed(NamedTuple):
    """A value in a traced term: what it is, whether the point and whether an unknown went into it."""

    value: Any
    own: bool = False
    unknown: bool = False


@dataclass
class _Record:
    """Differences of the user's own that were met, which of them were compared inside a derivative, and breaks."""

    differences: list[jax.Array] = field(default_factory=list)
    derived: list[bool] = field(default_factory=list)
    breaks: bool = False
    inner: bool = False
    sharp: bool = False

    def add(self, difference: jax.Array, derived: bool) -> None:
        flat = jnp.ravel(difference).astype(float)
        if flat.size <= WIDEST:
            self.differences.append(flat)
            self.derived += [derived] * flat.size


class OwnTerm:
    """A term of a problem by itself: its own values at any points.

    Parameters
    ----------
    problem, term:
        An equation, energy or condition.
    order:
        Highest order of derivatives whose coefficients are looked at; -1 for the source alone.
    slope:
        Size of the derivatives of the unknowns at which coefficients are looked at: energies and nonlinear terms may
        not feel those of unknowns that are constant.

    Attributes
    ----------
    sharp, breaks:
        Whether operations on the point alone can make peaks, and jumps.
    derived, inner:
        For each difference, whether it is compared inside of a derivative, which then does not see the jump; whether
        any operation that can jump is.
    """

    def __init__(self, problem: Problem, term: Term, order: int, slope: float = 0.0):
        self.problem, self.term, self.order = problem, term, order
        self._point: AbstractPointTerm = point_term(problem, term)
        shape = np.zeros(problem.domain.dim)
        self._none: Any = np.zeros(order + 1)
        self._slope = slope
        self._closed = jax.make_jaxpr(self._residual)(self._none, shape, shape)
        record = _Record()
        jax.eval_shape(lambda x, n: self._followed(x, n, record), shape, shape)
        self.sharp, self.breaks, self.inner = record.sharp or record.breaks, record.breaks, record.inner
        self.derived = np.array(record.derived, bool)
        self._compiled = compiled_quickly(jax.vmap(self._everything, in_axes=(0, None)))

    def __call__(self, points: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sources and coefficients `(n, rows, 2 + order)`, and differences `(n, m)`, at points with one normal.

        The first column is the residual of constant unknowns, column `1 + m` its slope in their derivative of order
        `m` along an oblique direction.
        """
        found = []
        for start in range(0, len(points), CHUNK):
            part = points[start : start + CHUNK]
            padded = np.concatenate([part, np.repeat(part[-1:], CHUNK - len(part), axis=0)])
            found.append([np.asarray(a)[: len(part)] for a in self._compiled(padded, normal)])
        values, differences = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return values, differences

    def _everything(self, x: jax.Array, normal: jax.Array) -> tuple[jax.Array, jax.Array]:
        def both(c: jax.Array) -> tuple[jax.Array, jax.Array]:
            (residual,) = jaxpr_as_fun(self._closed)(c, x, normal)
            return residual, residual

        slopes, alone = jax.jacfwd(both, has_aux=True)(self._none + self._slope)
        alone = alone if self._slope == 0.0 else both(self._none)[0]
        record = _Record()
        self._followed(x, normal, record)
        differences = jnp.concatenate([*record.differences, jnp.zeros(0)])
        return jnp.concatenate([alone[:, None], slopes], axis=1), differences

    def _residual(self, c: jax.Array, x: jax.Array, normal: jax.Array) -> jax.Array:
        return self._point.residual(_state(self.problem, c, x), Place(x, normal, jnp.zeros(0)))

    def _followed(self, x: jax.Array, normal: jax.Array, record: _Record) -> list[jax.Array]:
        inputs = [_Followed(self._none), _Followed(x, True), _Followed(normal)]
        return [v.value for v in _follow(self._closed, inputs, "", record)]


def _state(problem: Problem, c: jax.Array, x: jax.Array) -> Any:
    """Unknowns of a fixed smooth state, plus `c_m (a . (z - x))^m` at `z = x` itself."""
    low, high = problem.domain.bounds()
    direction = jnp.linspace(0.7, 1.3, len(low)) / jnp.asarray(high - low)

    def function(number: int, components: int | None) -> Any:
        lead = () if components is None else (components,)
        phase = jnp.arange(float(np.prod(lead, dtype=int))).reshape(lead) + number

        @jax.jit
        def opaque_unknown(z: jax.Array) -> jax.Array:
            # a term may convert its coordinates to other units and back, which rounds
            here = jnp.all(jnp.abs(jax.lax.stop_gradient(z - x) * direction) < SAME)
            t = direction @ (z - x)
            t = t - jax.lax.stop_gradient(t)
            probes = sum((c[m] * (t**m if m else 1.0) for m in range(len(c))), start=jnp.zeros(()))
            return 0.7 + 0.1 * phase + jnp.where(here, probes, 0.0)

        return opaque_unknown

    parts = {
        name: constant_apart(problem, name)
        if name in problem.constants
        else function(k, problem.functions[name].components)
        for k, name in enumerate(problem.unknowns)
    }
    return SimpleNamespace(**parts) if problem.named else next(iter(parts.values()))


def constant_apart(problem: Problem, name: str) -> jax.Array:
    """A value of a constant near its start, other than that of any other: what begins alike differs in the end."""
    number = list(problem.unknowns).index(name)
    return jnp.asarray(problem.constants[name].initial * (1.0 + 0.1 * number) + 0.01 * number, float)


def _follow(closed: ClosedJaxpr, inputs: Sequence[_Followed], stack: str, record: _Record) -> list[_Followed]:
    """Evaluate a traced function, and note what it does with the point by itself."""
    jaxpr = closed.jaxpr
    seen: dict[Any, _Followed] = dict(zip(jaxpr.invars, inputs, strict=True))
    seen |= {var: _Followed(const) for var, const in zip(jaxpr.constvars, closed.consts, strict=True)}
    read = lambda v: _Followed(v.val) if isinstance(v, Literal) else seen[v]  # noqa: E731
    for equation in jaxpr.eqns:
        out = _equation(equation, [read(v) for v in equation.invars], stack, record)
        seen.update(zip(equation.outvars, out, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _equation(equation: Any, inputs: list[_Followed], stack: str, record: _Record) -> list[_Followed]:
    name, params = equation.primitive.name, equation.params
    stack = f"{stack}/{equation.source_info.name_stack}"
    own, unknown = any(v.own for v in inputs), any(v.unknown for v in inputs)
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    opaque = params.get("name") == "opaque_unknown"
    if isinstance(inner, ClosedJaxpr) and len(inner.jaxpr.invars) == len(inputs) and name != "scan" and not opaque:
        return _follow(inner, inputs, stack, record)
    found = equation.primitive.bind(*(v.value for v in inputs), **equation.primitive.get_bind_params(params))
    found = list(found) if equation.primitive.multiple_results else [found]
    if own and not unknown and not opaque:
        _note(name, inputs, found, "jvp" in stack, record)
    return [_Followed(value, own and not opaque, unknown or opaque) for value in found]


def _note(name: str, inputs: list[_Followed], found: list[Any], derived: bool, record: _Record) -> None:
    record.breaks, record.sharp = record.breaks or name in BREAKS, record.sharp or name not in GENTLE
    record.inner = record.inner or (derived and name in BREAKS)
    if name in COMPARISONS and all(jnp.issubdtype(jnp.result_type(v.value), jnp.floating) for v in inputs):
        record.add(inputs[0].value - inputs[1].value, derived)
    elif name in {"sub", "add"} and jnp.issubdtype(found[0].dtype, jnp.floating):
        record.add(found[0], False)
