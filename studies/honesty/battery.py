"""What a problem of the battery is, and how its run is judged: right, refused, a false alarm, or confidently wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.stats import qmc

import hierax as hx
from hierax.problems.unknowns import Constant
from hierax.records.sources import DataSource
from hierax.results.solution import Solution

Truth = Mapping[str, Callable[[Any], Any] | float]
"""One solution: for each unknown that is judged a JAX function of a point `(dim,)`, or a number."""

FUNCTION_TOLERANCE = 1e-2
CONSTANT_TOLERANCE = 5e-2
COUNT = 2000
RIGHT, REFUSED, FALSE_ALARM, CONFIDENT_WRONG = "right", "refused", "false_alarm", "confident_wrong"
VERDICTS = (RIGHT, REFUSED, FALSE_ALARM, CONFIDENT_WRONG)

LEFT, END, START = hx.Face("x", "lower"), hx.Face("x", "upper"), hx.Face("t", "lower")
WALLS = (LEFT, END)


@final
@dataclass(frozen=True)
class Posed:
    """A problem and its solutions.

    Attributes
    ----------
    problem:
        As a user would give it, without a reference.
    truths:
        Its solutions, any of which is right; none where nothing determines it, or where no solution exists: then only
        a refusal is right.
    tolerances:
        Of unknowns for which the usual ones (1 % of a function, 5 % of a constant) are not asked.
    centred:
        Whether errors count against the spread of a function about its mean, for those with a large offset.
    points:
        Where functions are compared, `(n, dim)`; for a box 2000 points of a Halton sequence of its own.
    satisfies:
        Whether the truth can be put into the equations: not for a fit, nor where it is a table in several dimensions.
    """

    problem: hx.Problem
    truths: tuple[Truth, ...]
    tolerances: Mapping[str, float] = field(default_factory=dict)
    centred: bool = False
    points: np.ndarray | None = None
    satisfies: bool = True

    def where(self) -> Float[np.ndarray, "n dim"]:
        """Points of comparison; the training does not use them."""
        if self.points is not None:
            return self.points
        lower, upper = self.problem.domain.bounds()
        return lower + (upper - lower) * qmc.Halton(len(lower), rng=20240).random(COUNT)

    def tolerance(self, name: str) -> float:
        """Relative error up to which the unknown `name` counts as right."""
        constant = isinstance(self.problem.unknowns[name], Constant)
        return self.tolerances.get(name, CONSTANT_TOLERANCE if constant else FUNCTION_TOLERANCE)


@final
@dataclass(frozen=True)
class Case:
    """A problem by its name.

    Attributes
    ----------
    name, kind:
        For tables; the kind is the name of the file that it stands in.
    pose:
        Makes it.
    control:
        An easy one, which must be right with exit code 0.
    quick:
        Whether it is in the short form.
    """

    name: str
    kind: str
    pose: Callable[[], Posed]
    control: bool = False
    quick: bool = False


_CASES: dict[str, Case] = {}


def enter(*, control: bool = False, quick: bool = False) -> Callable[[Callable[[], Posed]], Callable[[], Posed]]:
    """Enter a function into the battery under its own name; its kind is the file that it stands in."""

    def entered(pose: Callable[[], Posed]) -> Callable[[], Posed]:
        name = pose.__name__.replace("_", "-")
        kind = pose.__module__.rpartition(".")[2].replace("_", " ")
        _CASES[name] = Case(name, kind, pose, control, quick)
        return pose

    return entered


def entered_cases() -> dict[str, Case]:
    """All that were entered so far, by name, in their order."""
    return dict(_CASES)


def fixed(name: str, value: Any = 0.0, on: Any = "boundary", of: Callable[[Any], Any] = lambda u: u) -> hx.Residual:
    """The condition `u = value` (a number, or a function of the point) for the unknown `of(w)`."""
    given = value if callable(value) else lambda x: value
    return hx.Residual(name, lambda u, x, normal: of(u)(x) - given(x), on=on)


def sloped(name: str, value: float = 0.0, on: Any = "boundary", of: Callable[[Any], Any] = lambda u: u) -> hx.Residual:
    """The condition `du/dn = value` along the outward normal."""
    return hx.Residual(name, lambda u, x, normal: normal @ hx.gradient(of(u))(x) - value, on=on)


def line(upper: float, lower: float = 0.0, name: str = "x") -> hx.Box:
    """An interval."""
    return hx.Box([lower], [upper], names=(name,))


def table(columns: Mapping[str, np.ndarray], outputs: Sequence[str]) -> hx.Problem:
    """The problem of `hierax fit`, by way of a file with these columns."""
    inputs = tuple(name for name in columns if name not in outputs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        rows = np.stack(list(columns.values()), axis=1)
        np.savetxt(path, rows, fmt="%.17g", delimiter=",", header=",".join(columns), comments="")
        return DataSource(path, inputs, tuple(outputs)).load()


def at(function: Callable[[Any], Any], points: np.ndarray) -> np.ndarray:
    """Values of a function of one point at many."""
    return np.asarray(jax.vmap(function)(jnp.asarray(points)))


def errors(posed: Posed, truth: Truth, solution: Solution) -> dict[str, float]:
    """Relative error of each unknown that is judged: in L2 over the points of comparison, or of a number."""
    points, found = posed.where(), {}
    for name, value in truth.items():
        own = solution.evaluate(points, name)
        exact = at(value, points) if callable(value) else np.full(own.shape, value)
        size = exact - exact.mean(axis=0) if posed.centred and callable(value) else exact
        norm = np.sqrt(np.mean(size**2))
        error = np.sqrt(np.mean((own - exact) ** 2)) / (norm if norm > 0.0 else 1.0)
        found[name] = float(error) if np.isfinite(error) else float("inf")
    return found


def excess(posed: Posed, found: Mapping[str, float]) -> float:
    """The largest error over its tolerance."""
    return max(error / posed.tolerance(name) for name, error in found.items())


def verdict(exit_code: int, within: bool) -> str:
    """What exit code and truth are together; `within` is false where only a refusal is right."""
    if exit_code == 0:
        return RIGHT if within else CONFIDENT_WRONG
    return FALSE_ALARM if within else REFUSED
