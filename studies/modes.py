"""Sums of sines as learning problems, and a watcher that records how far every sine is learned."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from hierax.clock import compile_seconds
from hierax.dynamics.spectrum import amplitudes, grid_amplitudes
from hierax.events import AbstractWatcher, Event, RunStarted, StepTaken, View
from hierax.problems import Box, Data, PointCloud, Problem, Reference, Residual

MODES = np.arange(5, 51, 5)
"""The published modes, in periods across the unit interval."""


@dataclass(frozen=True, eq=False)
class Sines:
    """The function `sum_i A_i sin(2 pi k_i x + phase_i)` on the unit interval.

    Attributes
    ----------
    sizes:
        The `A_i`, `(modes,)`.
    seed:
        Of the phases, which are uniform.
    modes:
        The `k_i`.
    points:
        Equispaced points `j / points` that are learned from.
    """

    sizes: np.ndarray
    seed: int
    modes: np.ndarray = field(default_factory=lambda: MODES)
    points: int = 200

    @property
    def phases(self) -> np.ndarray:
        """Of every sine, `(modes,)`."""
        return np.random.default_rng(self.seed).uniform(0.0, 2.0 * np.pi, len(self.modes))

    def __call__(self, x: Float[Array, " 1"]) -> Float[Array, ""]:
        return jnp.sum(self.sizes * jnp.sin(2.0 * jnp.pi * self.modes * x[0] + self.phases))

    @property
    def grid(self) -> Float[np.ndarray, "n 1"]:
        """The points."""
        return np.arange(self.points)[:, None] / self.points

    @property
    def truth(self) -> Complex[np.ndarray, " modes"]:
        """Complex amplitudes of the function, as `spectrum.grid_amplitudes` has them."""
        return -1j * self.sizes * np.exp(1j * self.phases)

    def everywhere(self) -> Problem:
        """The problem in which every point is trained on, as in the paper: mean squares of the misfits."""
        return Problem(
            PointCloud(self.grid),
            (Residual("misfit", lambda u, x: u(x) - self(x)),),
            reference=Reference(self, 1e-14),
            name="sines",
        )

    def measured(self) -> Problem:
        """The problem as a user has it: samples in a box; the library keeps some of them back."""
        values = np.asarray(jax.vmap(self)(jnp.asarray(self.grid)))
        return Problem(
            Box([0.0], [1.0]), (Data("u", self.grid, values),), reference=Reference(self, 1e-14), name="sines-data"
        )


@eqx.filter_jit
def _values(function: Any, points: Array) -> Array:
    return jax.vmap(function)(points)


def values_at(function: Any, points: np.ndarray) -> np.ndarray:
    """Values of a field at many points."""
    return np.asarray(_values(function, jnp.asarray(points)))


class ModeWatch(AbstractWatcher):
    """Records the amplitudes of all modes, on the points that are trained on, with what they cost until then.

    Seconds are those of the processor, without those of the records: on one idle core what the clock says, and on a
    busy machine still what the training took.

    Parameters
    ----------
    sines:
        What is learned.
    block:
        Iterations of the optimiser in one step that is reported.
    """

    def __init__(self, sines: Sines, block: int = 1) -> None:
        self.sines, self.block, self.steps = sines, block, 0
        self.iterations: list[int] = []
        self.seconds: list[float] = []
        self.compile: list[float] = []
        self.levels: list[int] = []
        self.amplitudes: list[np.ndarray] = []
        self._began, self._compiled = time.process_time(), compile_seconds()

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._began, self._compiled = time.process_time(), compile_seconds()

    def look(self, step: StepTaken, view: View) -> None:
        self.steps += self.block
        self._record(step.level, view.build(view.theta))

    def returned(self, function: Any) -> None:
        """The field that training returned: with data it need not be that of the last step, but a refit of a level."""
        self._record(self.levels[-1], function)

    def _record(self, level: int, function: Any) -> None:
        began, compiled = time.process_time(), compile_seconds()
        self.iterations.append(self.steps)
        self.seconds.append(began - self._began)
        self.compile.append(compiled - self._compiled)
        self.levels.append(level)
        self.amplitudes.append(self.measure(function))
        self._began += time.process_time() - began
        self._compiled += compile_seconds() - compiled

    def measure(self, function: Any) -> np.ndarray:
        """Complex amplitudes of a field on the points."""
        return grid_amplitudes(values_at(function, self.sines.grid))[self.sines.modes]

    @property
    def errors(self) -> Float[np.ndarray, "records modes"]:
        """Error of every mode over its size."""
        return np.abs(np.array(self.amplitudes) - self.sines.truth) / self.sines.sizes

    @property
    def shares(self) -> Float[np.ndarray, "records modes"]:
        """Amplitude of every mode over its size: the quantity of the published heat map."""
        return np.abs(np.array(self.amplitudes)) / self.sines.sizes


def between(sines: Sines, function: Any, refinement: int = 7) -> Float[np.ndarray, " modes"]:
    """Errors of the modes over their sizes on a grid that is finer than the points by an odd factor."""
    fine = (np.arange(refinement * sines.points)[:, None] + 0.5) / (refinement * sines.points)
    found = amplitudes(fine, values_at(function, fine), sines.modes[:, None].astype(float))
    return np.abs(found - sines.truth) / sines.sizes
