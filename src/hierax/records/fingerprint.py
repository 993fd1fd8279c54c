"""What a problem is, in short: a sum of its domain, of its unknowns and of every term, to tell it from another one."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from hierax.geometry import AbstractShape
from hierax.objective.build import SampledProblem
from hierax.objective.pointwise import AbstractPointTerm, Place, examples
from hierax.planning.plan import Plan
from hierax.problems.continuation import Continuation
from hierax.problems.domain import PointCloud
from hierax.problems.problem import Problem
from hierax.problems.terms import AbstractValues, Data, Term
from hierax.problems.unknowns import Constant, Unknown

PROBES = 64
"""Points in the box around a shape at which its level tells it from others."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+|0x[0-9a-f]+")


def fingerprint(problem: Problem) -> dict[str, str]:
    """Sums by what they are of: `domain`, `unknowns`, `term NAME`; of equations that of the program that JAX makes.

    The easier problems of a `Continuation` are part of it.
    """
    found = _alone(problem)
    for number, easier in enumerate(problem.easier if isinstance(problem, Continuation) else ()):
        found |= {f"{name} (easier problem {number})": own for name, own in _alone(easier).items()}
    return found


def plan_print(plan: Plan) -> str:
    """The sum of a plan: of its words, parts and numbers."""
    parts = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan) if f.name not in ("hierarchy", "units")}
    levels = [(level.parameters, level.points) for level in plan.hierarchy.levels]
    return _sum(ADDRESS.sub("", repr(parts)), levels)


def _alone(problem: Problem) -> dict[str, str]:
    domain = problem.domain
    parts = [domain.points, domain.weights] if isinstance(domain, PointCloud) else list(domain.bounds())
    if isinstance(domain, AbstractShape):
        probes = np.random.default_rng(0).random((PROBES, domain.dim))
        parts.append(domain.level(parts[0] + probes * (parts[1] - parts[0])))
    for place in problem.interfaces:
        probes = np.random.default_rng(1).random((PROBES, domain.dim))
        low, high = domain.bounds()
        parts += [str(place.at), place.continuity]
        parts += [] if place.shape is None else [place.shape.level(low + probes * (high - low))]
    boundaries = domain.boundaries.values() if isinstance(domain, PointCloud) else ()
    parts += [part for b in boundaries for part in (b.points, b.normals, b.weights)]
    words = [] if isinstance(domain, PointCloud) else [domain.names, domain.periodic]
    unknowns = [(name, ADDRESS.sub("", repr(unknown))) for name, unknown in problem.unknowns.items()]
    found = {"domain": _sum(*words, *parts), "unknowns": _sum(problem.named, *unknowns)}
    sampled = SampledProblem(problem)
    for term, point in zip(sampled.terms, sampled.point_terms, strict=True):
        if isinstance(term, AbstractValues):
            known = (term.noise, term.groups) if isinstance(term, Data) else (None,)
            observed = () if term.observe is None else _program(point, _stand_in(problem), problem, term)
            found[f"term {term.name}"] = _sum(term.points, term.targets, *known, *observed)
        else:
            found[f"term {term.name}"] = _sum(problem.places(term), *_program(point, _stand_in(problem), problem, term))
    return found


def _program(point: AbstractPointTerm, field: Any, problem: Problem, term: Term) -> list[Any]:
    """The program of a term as a text, and all constants in it."""
    none = np.zeros((1, problem.domain.dim))
    places = examples(problem, term, Place(none, none, none[:, :0]), 1)
    at, to = (jax.ShapeDtypeStruct(part.shape[1:], jnp.zeros(0).dtype) for part in (places.x, places.target))
    made = jax.make_jaxpr(lambda x, normal, target: point.residual(field, Place(x, normal, target)))(at, at, to)
    return [ADDRESS.sub("", str(made.jaxpr)), *_constants(made)]


def _constants(program: Any) -> Iterator[Any]:
    """Constants of a program and of those that it calls, which its text does not have."""
    if isinstance(program, ClosedJaxpr):
        yield from program.consts
    if isinstance(program, ClosedJaxpr | Jaxpr):
        for equation in program.eqns:
            yield from _constants(tuple(equation.params.values()))
    elif isinstance(program, tuple | list):
        for part in program:
            yield from _constants(part)


def _stand_in(problem: Problem) -> Any:
    """Unknowns with all derivatives, quick to trace."""
    parts = {name: _value(unknown) for name, unknown in problem.unknowns.items()}
    return SimpleNamespace(**parts) if problem.named else next(iter(parts.values()))


def _value(unknown: Unknown) -> Any:
    if isinstance(unknown, Constant):
        return jnp.asarray(0.5)
    factors = jnp.ones(()) if unknown.components is None else 1.0 + jnp.arange(unknown.components)
    return lambda x: factors * jnp.exp(jnp.sum(x))


def _sum(*parts: Any) -> str:
    total = hashlib.sha256()
    for part in parts:
        array = np.asarray(part) if isinstance(part, np.ndarray | jax.Array) else None
        text = repr(part) if array is None else f"{array.shape} {array.dtype}"
        total.update(text.encode())
        total.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
