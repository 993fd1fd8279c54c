"""The law of units: what comes out of a training does not depend on the units that its problem was written in."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hierax.geometry import AbstractShape, Part
from hierax.problems.domain import Boundary, Box, PointCloud
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.sampling import points_in
from hierax.problems.terms import AbstractValues, Energy, Residual, Term
from hierax.problems.units import Units
from hierax.results.solution import Solution
from hierax.training.train import train

DECADES = 9.0
POINTS = 200
ROUNDING = 1e-20
"""Share of the largest loss below which a loss consists of rounding errors."""


@dataclass(frozen=True, eq=False)
class Written:
    """A problem as it is written in other units.

    Attributes
    ----------
    problem, units:
        The problem, and how its unknowns and terms are counted.
    coordinates:
        How many of the new units make up one of the old, `(dim,)`.
    """

    problem: Problem
    units: Units
    coordinates: np.ndarray

    @classmethod
    def at_random(cls, problem: Problem, seed: int, decades: float = DECADES) -> Written:
        """In units that are between `10^-decades` and `10^decades` of the old ones.

        Energies add up to one, and so have one unit; a cloud has one of length, or its normals would turn.
        """
        rng = np.random.default_rng(seed)
        draw: Callable[[Any], np.ndarray] = lambda shape: 10.0 ** rng.uniform(-decades, decades, shape)  # noqa: E731
        energy = draw(())
        lengths = draw(problem.domain.dim)
        lengths = lengths if isinstance(problem.domain, Box) else np.full_like(lengths, lengths[0])
        sizes = {name: draw(()) for name in problem.unknowns}
        terms = {
            t.name: energy if isinstance(t, Energy) else draw(())
            for t in problem.terms
            if isinstance(t, Energy | Residual)
        }
        none = {name: np.zeros(()) for name in sizes}
        units = Units(sizes, none, terms, none)
        return cls(_stretched(units.converted(problem), lengths), units, lengths)


def check_units(
    problem: Problem, *, seed: int = 0, decades: float = DECADES, tolerance: float = 1e-8, **settings: Any
) -> None:
    """Train a problem as it is and as it is written in random units, and compare.

    Parameters
    ----------
    problem:
        A problem on a box or a cloud.
    seed, decades:
        Of the units.
    tolerance:
        Largest relative difference of an unknown, root mean square over fixed points.
    **settings
        Arguments of `hierax.train`: levels rather than a budget in seconds, which ends where it happens to.

    Raises
    ------
    AssertionError
        Where levels, steps, verdict or answer differ, with both.
    """
    written = Written.at_random(problem, seed, decades)
    first, second = train(problem, **settings), train(written.problem, **settings)
    told = [course(solution) for solution in (first, second)]
    assert told[0] == told[1], f"verdict and levels are {told[0]}, in other units {told[1]}"
    for name, difference in differences(problem, written, first, second).items():
        assert difference < tolerance, f"{name} differs by {difference:.3g} of its size in other units"


def course(solution: Solution) -> tuple[str, list[tuple[int, int]]]:
    """Verdict, and for each level its parameters and its steps, without those that only move rounding errors about."""
    losses = [(step.level, step.loss) for step in solution.history]
    least = ROUNDING * max((loss for _, loss in losses), default=0.0)
    steps = [sum(level == at and loss > least for at, loss in losses) for level in range(len(solution.levels))]
    return solution.result.name, [(level.parameters, n) for level, n in zip(solution.levels, steps, strict=True)]


def differences(problem: Problem, written: Written, first: Solution, second: Solution) -> dict[str, float]:
    """Relative differences of the unknowns of two solutions of one problem, the second written in other units."""
    domain, rng = problem.domain, np.random.default_rng(0)
    low, high = domain.bounds()
    points = low + (high - low) * rng.random((POINTS, len(low)))
    if isinstance(domain, AbstractShape):
        points = points_in(domain, 0, POINTS)
    elif not isinstance(domain, Box):
        points = rng.permutation(domain.points)[:POINTS]
    out = {}
    for name in problem.unknowns:
        own = first.evaluate(points, name)
        other = second.evaluate(points * written.coordinates, name) * written.units.sizes[name]
        out[name] = float(np.linalg.norm(other - own) / max(np.linalg.norm(own), 1e-300))
    return out


def _stretched(problem: Problem, lengths: np.ndarray) -> Problem:
    """The problem in other units of its coordinates."""

    def term(old: Term) -> Term:
        if isinstance(old, AbstractValues):
            return replace(old, points=old.points * lengths)
        user = old.function if isinstance(old, Residual) else old.density

        def changed(w: Any, x: Any, *normal: Any) -> Any:
            return user(seen(w), x / lengths, *normal)

        changed.__signature__ = inspect.signature(user)  # pyright: ignore
        return replace(
            old, on=_places(old.on, lengths), **{"function" if isinstance(old, Residual) else "density": changed}
        )

    def function(u: Any) -> Any:
        return (lambda x: u(x * lengths)) if callable(u) else u

    def seen(w: Any) -> Any:
        if not problem.named:
            return function(w)
        parts = {name: getattr(w, name) for name in problem.unknowns}
        return type(w)(**{name: function(part) for name, part in parts.items()})

    def reference() -> Reference | None:
        known = problem.reference
        if not isinstance(known, Reference):
            return None
        values = {n: (lambda x, v=v: v(x / lengths)) if callable(v) else v for n, v in known.named().items()}
        return Reference(values, known.error_bound)

    return Problem(
        _domain(problem, lengths),
        [term(t) for t in problem.terms],
        unknowns=problem.unknowns if problem.named else None,
        constraint=None if problem.constraint is None else lambda w: _back(problem.constraint(seen(w)), lengths),  # pyright: ignore
        reference=reference(),
        name=problem.name,
    )


def _back(u: Any, lengths: np.ndarray) -> Any:
    return lambda x: u(x / lengths)


def _places(on: Any, lengths: np.ndarray) -> Any:
    if isinstance(on, tuple):
        return tuple(_places(place, lengths) for place in on)
    if not isinstance(on, Part) or on.where is None:
        return on
    return Part(on.name, lambda x: on.where(x / lengths))  # pyright: ignore


def _domain(problem: Problem, lengths: np.ndarray) -> Box | PointCloud | AbstractShape:
    domain = problem.domain
    if isinstance(domain, Box):
        return Box(domain.lower * lengths, domain.upper * lengths, domain.names, domain.periodic)
    if isinstance(domain, AbstractShape):
        return domain.mapped(np.diag(lengths), np.zeros(domain.dim))
    walls = {
        n: Boundary(b.points * lengths, b.normals, np.asarray(b.weights) * lengths[0] ** (domain.dim - 1))
        for n, b in domain.boundaries.items()
    }
    return PointCloud(
        domain.points * lengths, np.asarray(domain.weights) * lengths[0] ** domain.dim, walls, domain.names
    )
