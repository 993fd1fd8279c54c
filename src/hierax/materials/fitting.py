"""Material networks from samples: Levenberg-Marquardt with fractions on their bounds, and growth by nucleation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array

from hierax.materials.network import MaterialNetwork, nucleated, transposed

VOLUME = 0.1
"""Weight of the phases' volume fractions beside the relative errors of tensors."""
FLAT, WINDOW = 1e-3, 5
"""Training ends where the loss falls by less than this part a step, over so many steps."""


@final
@dataclass(frozen=True, eq=False)
class TensorSamples:
    """What a network learns from.

    Attributes
    ----------
    phases:
        `(samples, phases, size, size)`.
    effective:
        `(samples, size, size)`.
    fractions:
        `(phases,)` of the cell.
    """

    phases: np.ndarray
    effective: np.ndarray
    fractions: np.ndarray

    def __getitem__(self, pick: slice) -> TensorSamples:
        return TensorSamples(self.phases[pick], self.effective[pick], self.fractions)

    def __len__(self) -> int:
        return len(self.phases)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For compiled functions."""
        return self.phases, self.effective, self.fractions


class NormalEquations(NamedTuple):
    """The loss, half its gradient, and the Gauss-Newton matrix."""

    loss: Array
    gradient: Array
    matrix: Array


def relative_errors(network: MaterialNetwork, samples: TensorSamples) -> np.ndarray:
    """Relative Frobenius errors `(samples,)` of effective tensors."""
    return np.sqrt(np.asarray(_misfit(network, *samples.arrays)[0]))


def _apart(network: MaterialNetwork, fractions: Array) -> Array:
    return VOLUME * (network.volume(len(fractions)) - fractions)


@jax.jit
def _misfit(network: MaterialNetwork, phases: Any, effective: Any, fractions: Any) -> tuple[Array, Array]:
    """Squares of the relative errors `(samples,)`, and of those of volume fractions."""
    found = jax.vmap(network)(phases)
    squares = jnp.sum((found - effective) ** 2, axis=(1, 2)) / jnp.sum(effective**2, axis=(1, 2))
    return squares, jnp.sum(_apart(network, fractions) ** 2)


@jax.jit
def _normal(network: MaterialNetwork, phases: Any, effective: Any, fractions: Any, shares: Any) -> NormalEquations:
    """Sums over samples with these shares."""
    size = network.fractions.size + network.angles.size
    found, slopes = jax.vmap(network.jacobian)(phases)
    scale = jnp.sqrt(shares / jnp.sum(effective**2, axis=(1, 2)))[:, None, None]
    residuals = (scale * (found - effective)).reshape(-1)
    slopes = jnp.moveaxis(scale[:, None] * slopes, 1, 0).reshape(size, -1)

    def volume(own: Array) -> Array:
        return _apart(MaterialNetwork(own, network.angles, network.phases, network.physics), fractions)

    apart, rows = volume(network.fractions), jax.jacrev(volume)(network.fractions)
    rows = jnp.pad(rows.T, ((0, network.angles.size), (0, 0)))
    return NormalEquations(
        residuals @ residuals + apart @ apart, slopes @ residuals + rows @ apart, slopes @ slopes.T + rows @ rows.T
    )


@jax.jit
def _adjoints(network: MaterialNetwork, phases: Any, effective: Any, shares: Any) -> Array:
    """Derivatives of each sample's part of the loss by the tensors of all nodes `(samples, all, size, size)`."""

    def one(phases: Array, effective: Array, share: Array) -> Array:
        nodes = network.nodes(phases)
        weights, strains = network.localised(nodes)
        force = 2.0 * share * (nodes[0] - effective) / jnp.sum(effective**2)
        return weights * (strains @ force @ transposed(strains))

    return jax.vmap(one)(phases, effective, shares)


def fitted(
    network: MaterialNetwork, samples: TensorSamples, shares: np.ndarray, grown: int | None = None, steps: int = 60
) -> tuple[MaterialNetwork, float, int]:
    """Train fractions and angles of the levels above `grown` by Levenberg-Marquardt; network, loss and steps.

    A fraction that is at 0 or 1 and would leave `[0, 1]` is held there in the step (active set); others are cut off at
    the bounds.
    """
    nodes = network.fractions.size
    live = np.arange(nodes) < 2 ** (network.depth if grown is None else grown) - 1
    # angles of a node are side by side
    live = np.concatenate([live, np.repeat(live, network.angles.shape[1])])
    arrays, damping, losses = samples.arrays, 1e-2, []
    for _ in range(steps):
        loss, gradient, matrix = map(np.asarray, _normal(network, *arrays, shares))
        losses = losses or [float(loss)]
        values = np.concatenate([network.fractions, np.ravel(network.angles)])
        held = np.zeros(values.size, dtype=bool)
        held[:nodes] = ((values[:nodes] <= 0.0) & (gradient[:nodes] > 0.0)) | (
            (values[:nodes] >= 1.0) & (gradient[:nodes] < 0.0)
        )
        free = live & ~held
        own, scale = matrix[np.ix_(free, free)], np.diag(matrix)[free]
        scale = scale + 1e-6 * scale.max(initial=1e-300)
        for _ in range(10):
            step = np.zeros(values.size)
            step[free] = -scipy.linalg.solve(own + np.diag(damping * scale), gradient[free], assume_a="pos")
            moved = values + step
            moved[:nodes] = np.clip(moved[:nodes], 0.0, 1.0)
            step = moved - values
            trial = MaterialNetwork(
                jnp.asarray(moved[:nodes]), jnp.asarray(moved[nodes:].reshape(nodes, -1)), network.phases,
                network.physics,
            )  # fmt: skip
            squares, apart = map(np.asarray, _misfit(trial, *arrays))
            new = float(shares @ squares + apart)
            predicted = -(2.0 * gradient @ step + step @ matrix @ step)
            if new < loss and predicted > 0.0:
                break
            damping *= 4.0
        else:
            break
        ratio = (loss - new) / predicted
        damping = max(damping * (0.3 if ratio > 0.75 else 1.0 if ratio > 0.25 else 3.0), 1e-10)
        network = trial
        losses.append(new)
        if len(losses) > WINDOW and losses[-WINDOW - 1] - new < WINDOW * FLAT * new:
            break
    return network, losses[-1], len(losses) - 1


def grow(
    network: MaterialNetwork, samples: TensorSamples, shares: np.ndarray, start: int, steps: int = 20, last: int = 60
) -> MaterialNetwork:
    """Train the first `start` levels, then let each further one nucleate and train all above it; see `nucleated`.

    All sizes are trees of one depth in which levels do nothing yet, so that one program serves them all.
    """
    network, _, _ = fitted(network, samples, shares, start, steps)
    for level in range(start, network.depth):
        adjoints = _adjoints(network, samples.phases, samples.effective, shares)[:, network.levels[level]]
        network = nucleated(network, level, adjoints, samples.phases)
        network, _, _ = fitted(network, samples, shares, level + 1, last if level + 1 == network.depth else steps)
    return network
