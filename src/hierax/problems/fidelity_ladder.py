"""Four fidelities of one smooth function, with data at unrelated points: few of the dear ones, many of the cheap."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box
from hierax.problems.fidelities import Fidelities, Fidelity
from hierax.problems.reference import Reference
from hierax.problems.registry import catalogued

NAMES = ("coarse", "medium", "fine", "finest")
COSTS = (1.0, 8.0, 64.0, 512.0)
"""As for a mesh in three dimensions (two and time) whose width is halved."""


@catalogued("four-fidelities")
def four_fidelities(
    coarse: int = 3000, medium: int = 400, fine: int = 120, finest: int = 40, noise: float = 0.0, seed: int = 0
) -> Fidelities:
    r"""Predict the finest of four fidelities on the unit square, :math:`u_k = \rho_k(x) u_{k-1} + \delta_k(x)`.

    :math:`u_0` is a sum of eight random waves with up to about three periods across the square; the factors
    :math:`\rho_k` are linear with mean between 0.8 and 1.3, and :math:`\delta_k` are sums of five random waves with
    less than one period, 0.3 times as large as :math:`u_0`.

    Parameters
    ----------
    coarse, medium, fine, finest:
        Numbers of samples, uniformly random and drawn anew for each fidelity.
    noise:
        Standard deviation of the normal noise in all samples.
    seed:
        Of functions, samples and noise.
    """
    counts = (coarse, medium, fine, finest)
    if min(counts) < 1 or not (np.isfinite(noise) and noise >= 0):
        raise InputError(
            what=f"counts {counts}, noise {noise}",
            where="problem 'four-fidelities'",
            remedy="give counts from 1 on and a standard deviation, 0 for none",
        )
    rng = np.random.default_rng(seed)
    functions = [_waves(rng, 8, 6 * np.pi, 1.0)]
    for _ in COSTS[1:]:
        functions.append(_step(rng, functions[-1]))
    fidelities = []
    for name, cost, function, count in zip(NAMES, COSTS, functions, counts, strict=True):
        x = rng.random((count, 2))
        values = np.asarray(jax.vmap(function)(jnp.asarray(x))) + noise * rng.standard_normal(count)
        fidelities.append(Fidelity(x, values, cost, name, noise or None))
    box = Box([0.0, 0.0], [1.0, 1.0])
    return Fidelities(box, fidelities, reference=Reference(functions[-1], 1e-14), name="four-fidelities")


def _waves(rng: np.random.Generator, count: int, largest: float, size: float):
    """A sum of random waves of wave numbers up to `largest`, with standard deviation about `size`."""
    angle, length = rng.uniform(0, 2 * np.pi, count), largest * np.sqrt(rng.uniform(0, 1, count))
    wave = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    phase, amplitude = rng.uniform(0, 2 * np.pi, count), rng.standard_normal(count) * size * np.sqrt(2 / count)
    return lambda x: amplitude @ jnp.sin(wave @ x + phase)


def _step(rng: np.random.Generator, coarser):
    """The next fidelity: a linear factor and a smooth correction."""
    mean, slope, correction = rng.uniform(0.8, 1.3), rng.uniform(-0.3, 0.3, 2), _waves(rng, 5, 1.6 * np.pi, 0.3)
    return lambda x: (mean + slope @ (x - 0.5)) * coarser(x) + correction(x)
