"""The study `parameter-noise`: known answers for a field whose modes are its parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from studies import parameter_noise as pn
from studies.modes import Sines

SINES, WEIGHTS = Sines(np.ones(10), 0), np.linspace(1.0, 10.0, 10)


class Waves(eqx.Module):
    """Sines whose amplitudes are the parameters times the weights."""

    sizes: jax.Array

    def __call__(self, x):
        phase = 2.0 * jnp.pi * SINES.modes * x[0] + SINES.phases
        return jnp.sum(WEIGHTS * self.sizes * jnp.sin(phase))


def test_modes_that_move_more_are_lost_earlier():
    field = Waves(jnp.asarray(1.0 / WEIGHTS))
    errors = pn.noisy_errors(SINES, field, np.append(0.0, pn.STRENGTHS), 200, 0)
    assert errors[0].max() < 1e-12
    # noise moves all parameters alike, and the mode in proportion to its weight
    np.testing.assert_allclose(errors[5] / errors[5][0], WEIGHTS, rtol=0.3)
    lost = pn.lost_at(errors)
    assert lost[0] > 4.0 * lost[-1]
    assert np.all(np.diff(lost) <= 0.0)
    unknown = errors.copy()
    unknown[0, 3] = 0.5
    assert np.isnan(pn.lost_at(unknown)[3])
    assert pn.lost_at(np.zeros((22, 1)))[0] == pytest.approx(1.0)
