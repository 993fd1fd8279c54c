"""What guards look at: a finished training, and the means to evaluate its terms anywhere."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax.fields import partition
from hierax.objective.build import SampledProblem, is_equation
from hierax.objective.flatness import Flatness
from hierax.objective.landscape import Landscape
from hierax.objective.missed import Feature
from hierax.objective.samples import Samples
from hierax.problems.keys import Key
from hierax.problems.problem import Problem
from hierax.problems.terms import Data, Residual, Values

SHAKEN = 1e-8
"""Part of the parameters by which they are changed to tell what terms feel of rounding."""
NOISE = 1.5
"""An error at values that a fit has not seen, up to so many times their noise, is explained by it."""
OCCURRING = "At the values of {} that occur"
"""What a claim begins with that is none elsewhere."""
Residuals = Callable[[int, Any, np.ndarray, np.ndarray], np.ndarray]
"""`residuals(term, field, points, normals)`: a term, by its number, at any points; shape `(n, r)`."""


class Known(NamedTuple):
    """What a Gaussian process knows at points `(n, dim)`, over the spread of the values.

    Attributes
    ----------
    places:
        The points.
    doubt, apart:
        The error `(n,)` to be expected of it, by its standard deviation, values left out nearby, and other processes,
        in proportion to how well they predict rows; and what the returned field differs from its mean.
    """

    places: np.ndarray
    doubt: np.ndarray
    apart: np.ndarray

    @property
    def unknown(self) -> np.ndarray:
        """What is not known at the places."""
        return np.hypot(self.doubt, self.apart)


@final
@dataclass(frozen=True, eq=False)
class Witness:
    """What a Gaussian process says of an output of a table, in units of its spread, beside whatever fits it.

    Attributes
    ----------
    output:
        Name of the unknown.
    left_out, kept, noise:
        Relative error of the rows when they are left out, and of those alone that the fit was not given, by which both
        are compared; what the process and neighbours agree to be noise.
    between, everywhere:
        What is known at points between any two rows, and at points that are evenly spread over the box.
    gaps, far:
        Which of the former and of the latter `(n,)` are much further from the rows than these are from each other.
    inputs:
        Numbers of the inputs that have values of the table at all points that were asked.
    occurring:
        The same of those that take a few values alone; `None` where there are none.
    """

    output: str
    left_out: float
    kept: float
    noise: float
    between: Known
    everywhere: Known
    gaps: np.ndarray
    far: np.ndarray
    inputs: tuple[int, ...] = ()
    occurring: Witness | None = None

    def share(self, evidence: Evidence) -> float:
        """Part of what the process does not know that the fit is taken not to know: that of its error at rows not seen.

        Both are compared at the same rows: few of them may have no place at the edge, where most errors are made.
        """
        if evidence.left_out is not None:
            own, other = max(evidence.left_out, evidence.validation_error or 0.0), self.left_out
        else:
            own, other = evidence.validation_error or self.kept, self.kept
        return min(1.0, own / max(other, 1e-300))

    def within(self, evidence: Evidence) -> np.ndarray:
        """What the fit is taken not to know between rows `(n,)`: of gaps no row that is left out tells anything."""
        return np.where(self.gaps, 1.0, self.share(evidence)) * self.between.unknown

    def left(self, error: float) -> float:
        """Share of the variance that an error leaves and noise does not explain."""
        return max(error**2 - (NOISE * self.noise) ** 2, 0.0)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What the guards look at.

    Attributes
    ----------
    sampled, residuals, misses, key:
        The problem, its terms at any points and at samples, and the random key of points that training did not use.
    field, untrained:
        The returned field and the one before any training.
    coarsest:
        The field after training on the first level, whose residual tells the size of the equation's parts.
    samples:
        Training samples of the returned level, one entry a term.
    changes:
        Relative changes of the solution from level to level, coarsest first.
    partial:
        How many refinements just before the last one gave a tensor more products alone, or finer knots alone.
    losses, mesh_widths:
        Losses of the levels; shortest intervals along each axis, where the equations admit kinks.
    ahead:
        Relative change of the solution by the next full step, where the last level was left before its solver had
        ended; `None` elsewhere.
    cut_short:
        Whether the budget ended after the first of several levels.
    weak:
        Whether the losses are energies, of equations that were solved in the weak sense.
    untrained_loss:
        Loss of the untrained field, which tells what size a loss can have.
    kept:
        Number of the values that were kept back.
    validation_errors, validation_error:
        Relative errors at data kept back: of all levels, and of the returned one; empty and `None` without such data.
    left_out:
        Relative error at all data, each predicted by a fit that has not seen it; `None` where that was not found.
    witnesses:
        The Gaussian processes of the outputs of a table; empty where there are none.
    misfit, noise:
        Misfit at data, those kept back where there are any, and the noise of the data, both in units of their spread;
        `None` without data.
    stated_noise:
        The noise that the data terms state, in the same units; 0 where none does.
    outlying:
        Part of the squared misfit at data beside equations that single values make which are far from the field; `None`
        without such data.
    landscape:
        The energy about the finest level that is small enough for its second derivative; `None` without energies.
    missed:
        Peaks and jumps of the terms that points may not see, found before training.
    flatness:
        The changes of the unknowns that violate the terms of the coarse levels least; `None` where that is not known.
    constants, widths:
        The unknown constants by name; half the widths of their intervals, in their sizes, or in powers of e where they
        have a bound.
    faces:
        By the function that is inferred, the face where it is known least, and half the width of its intervals there.
    """

    sampled: SampledProblem
    residuals: Residuals
    misses: Callable[[Any, Samples], np.ndarray]
    key: Key
    field: Any
    untrained: Any
    coarsest: Any
    samples: Sequence[Samples]
    changes: Sequence[float]
    losses: Sequence[float]
    partial: int = 0
    mesh_widths: Sequence[np.ndarray] = ()
    ahead: float | None = None
    cut_short: bool = False
    weak: bool = False
    untrained_loss: float
    validation_errors: Sequence[float] = ()
    validation_error: float | None = None
    kept: int = 0
    left_out: float | None = None
    witnesses: Sequence[Witness] = ()
    misfit: float | None = None
    noise: float | None = None
    stated_noise: float = 0.0
    outlying: float | None = None
    landscape: Landscape | None = None
    missed: Sequence[Feature] = ()
    flatness: Flatness | None = None
    constants: Mapping[str, float] = dataclasses.field(default_factory=dict)
    widths: Mapping[str, float] = dataclasses.field(default_factory=dict)
    faces: Mapping[str, tuple[str, float]] = dataclasses.field(default_factory=dict)

    @property
    def problem(self) -> Problem:
        """What was to be learned."""
        return self.sampled.problem

    @property
    def nothing(self) -> Any:
        """The field with all parameters zero."""
        params, rest = partition(self.field)
        return eqx.combine(jax.tree.map(lambda p: jnp.asarray(np.zeros(p.shape, p.dtype), p.dtype), params), rest)

    @functools.cached_property
    def shaken(self) -> Any:
        """The field with parameters that were changed at random by up to `SHAKEN` of the largest of their array."""
        params, rest = partition(self.field)
        rng = np.random.default_rng(0)

        def moved(leaf: Any) -> Any:
            own = np.asarray(leaf)
            return jnp.asarray(own + SHAKEN * np.max(np.abs(own)) * rng.uniform(-1.0, 1.0, own.shape), own.dtype)

        return eqx.combine(jax.tree.map(moved, params), rest)

    @functools.cached_property
    def _left(self) -> dict[int, np.ndarray]:
        return {}

    def left(self, term: int) -> np.ndarray:
        """Residuals `(n, r)` of the returned field at its training points, which several guards look at."""
        if term not in self._left:
            own = self.samples[term]
            self._left[term] = self.residuals(term, self.field, own.points, own.normals)
        return self._left[term]

    @property
    def equations(self) -> list[int]:
        """Numbers of the residuals inside the domain."""
        return [k for k, t in enumerate(self.sampled.terms) if isinstance(t, Residual) and is_equation(t, self.problem)]

    @property
    def conditions(self) -> list[int]:
        """Numbers of the residuals on boundaries and at the start."""
        terms = enumerate(self.sampled.terms)
        return [k for k, t in terms if isinstance(t, Residual | Values) and not is_equation(t, self.problem)]

    @property
    def governed(self) -> bool:
        """Whether an equation or an energy holds inside the domain."""
        return any(is_equation(t, self.problem) for t in self.sampled.terms)

    @property
    def measured(self) -> bool:
        """Whether there are measured values."""
        return any(isinstance(t, Data) for t in self.sampled.terms)

    def rms(self, term: int, field: Any, points: np.ndarray, normals: np.ndarray | None = None) -> float:
        """Root mean square of a term at points; zero without any. Prescribed values are known at their points alone."""
        if isinstance(self.sampled.terms[term], Values):
            values = self.misses(field, self.samples[term])
            return float(np.sqrt(np.mean(values**2)))
        values = self.residuals(term, field, points, np.zeros_like(points) if normals is None else normals)
        return float(np.sqrt(np.mean(values**2))) if values.size else 0.0
