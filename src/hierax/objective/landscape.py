"""The energy of a small level as a function of its parameters: whether a point is stationary, and how it curves there.

Steps use the positive semidefinite part of the second derivative, which sees neither a saddle nor an energy without a
lower bound. Here the true second derivative is formed; it is dense, so levels have to be small.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh

from hierax.objective.compiled import compiled_quickly
from hierax.objective.objective import flat_parameters
from hierax.objective.pointwise import PER_SAMPLE
from hierax.objective.samples import Samples

LARGEST = 300
"""Most parameters of a level whose second derivative is formed."""
DRAWS = 4
"""Random signs with which the parts of the gradient are added up to tell their size."""
REACH = np.concatenate([[0.0], np.geomspace(1e-6, 1e6, 121)])
"""Lengths of the step along a direction, in units in which the diagonal of the second derivative is one."""
FAR = 41
"""The last of these steps, over four decades, along which an energy without a lower bound falls."""


class Bend(NamedTuple):
    """The smallest eigenvalue of the second derivative, scaled to a unit diagonal, and its direction `(N,)`."""

    value: float
    direction: np.ndarray


@dataclass(frozen=True, eq=False)
class Landscape:
    """Energy, with conditions and their weights, about the parameters of a field.

    Parameters
    ----------
    field:
        The field; of at most `LARGEST` parameters.
    samples:
        Of every term, with its scale.
    """

    field: Any
    samples: Sequence[Samples]

    @functools.cached_property
    def theta(self) -> np.ndarray:
        """Parameters of the field `(N,)`."""
        return np.asarray(flat_parameters(self.field)[0])

    @functools.cached_property
    def _energy(self) -> Callable[[Any, list[Any]], Any]:
        build = flat_parameters(self.field)[1]

        def energy(theta: Any, weights: list[Any]) -> Any:
            total = 0.0
            for own, weight in zip(self.samples, weights, strict=True):
                places = own.places(np.arange(own.count))
                values = jax.vmap(lambda p, t=own.term: t.value(build, theta, p), in_axes=(PER_SAMPLE,))(places)
                total = total + own.scale * jnp.sum(weight * values)
            return total

        return energy

    @property
    def _weights(self) -> list[np.ndarray]:
        return [own.weights for own in self.samples]

    def unbalanced(self) -> float:
        """Size of the gradient over that of its parts added with random signs: far below one where it is stationary.

        One or more says that the parts all pull in one direction, as they do where there is no lowest energy. Where
        each of the parts vanishes for itself, the length of Newton's step over that of the parameters tells more.
        """
        slope, rng = compiled_quickly(jax.grad(self._energy)), np.random.default_rng(0)
        own = np.asarray(slope(self.theta, self._weights))
        signed = [[w * rng.choice([-1.0, 1.0], len(w)) for w in self._weights] for _ in range(DRAWS)]
        parts = np.sqrt(np.mean([np.sum(np.square(slope(self.theta, weights))) for weights in signed]))
        return min(float(np.linalg.norm(own) / parts), self._distance(own)) if parts > 0 else 0.0

    def _distance(self, slope: np.ndarray) -> float:
        """Length of Newton's step over that of the parameters; infinite where the energy does not curve upwards."""
        try:
            step = cho_solve(cho_factor(self._second), slope)
        except (LinAlgError, ValueError):
            return np.inf
        return float(np.linalg.norm(step) / max(np.linalg.norm(self.theta), 1e-300))

    @functools.cached_property
    def _second(self) -> np.ndarray:
        return np.asarray(compiled_quickly(jax.hessian(self._energy))(self.theta, self._weights))

    def bend(self) -> Bend:
        """The direction along which the energy curves most downwards, or least upwards, with a sign of its own."""
        second = self._second
        size = np.abs(np.diag(second))
        root = 1.0 / np.sqrt(np.maximum(size, 1e-14 * size.max(initial=0.0) + 1e-300))
        scaled = root[:, None] * second * root
        if not np.all(np.isfinite(scaled)) or not size.any():
            return Bend(0.0, np.zeros(len(size)))
        values, vectors = eigh(scaled, subset_by_index=[0, 0])
        lowest = vectors[:, 0]
        first = np.argmax(np.abs(lowest) > 0.5 * np.abs(lowest).max())
        return Bend(float(values[0]), root * lowest * np.sign(lowest[first]))

    def bottomless(self, direction: np.ndarray) -> bool:
        """Whether the energy falls along a direction, or against it, as far as one looks."""
        for way in (direction, -direction):
            own = self.energies(way)
            far = own[-FAR:]
            if np.all(np.isfinite(far)) and np.all(np.diff(far) < 0) and far[-1] < own[0] - abs(own[0]):
                return True
        return False

    def energies(self, direction: np.ndarray) -> np.ndarray:
        """Energies at the steps `REACH` along a direction."""
        return np.asarray(self._along(REACH, direction, self._weights))

    @functools.cached_property
    def _along(self) -> Callable[..., Any]:
        along = lambda t, direction, weights: self._energy(self.theta + t * direction, weights)  # noqa: E731
        return compiled_quickly(jax.vmap(along, in_axes=(0, None, None)))
