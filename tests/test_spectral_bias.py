"""The study `spectral-bias` in its short form, and its parts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierax.dynamics.spectrum import grid_amplitudes
from studies import spectral_bias
from studies.__main__ import main
from studies.modes import MODES, Sines, between


def test_the_amplitudes_of_the_sines_are_those_that_are_compared_with():
    sines = Sines(np.linspace(0.1, 1.0, 10), seed=3)
    values = np.asarray(jax.vmap(sines)(jnp.asarray(sines.grid)))
    np.testing.assert_allclose(grid_amplitudes(values)[MODES], sines.truth, atol=1e-13)
    np.testing.assert_allclose(between(sines, sines), 0.0, atol=1e-12)
    assert np.abs(between(sines, lambda x: 0.0 * x[0]) - 1.0).max() < 1e-12


def test_the_published_network_has_six_layers_and_the_published_initial_law():
    network = spectral_bias.relu_network(256, seed=0)
    assert len(network.layers) == 6
    assert np.abs(network.layers[2].weight).max() == pytest.approx(1 / 16, rel=1e-3)
    assert np.std(network.layers[2].bias) == pytest.approx(1 / 16 / np.sqrt(3), rel=0.15)
    x = jnp.array([0.3])
    layer = network.layers[0]
    inside = jax.nn.relu(layer.weight @ x + layer.bias)
    assert np.array_equal(network.box(x), x)
    assert inside.shape == (256,)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    assert main(["spectral-bias", "--quick", "--out", str(folder)]) == 0
    assert {file.suffix for file in folder.iterdir()} == {".json", ".png", ".csv", ".txt"}
    return json.loads((folder / "spectral-bias.json").read_text())


@pytest.mark.slow
def test_low_frequencies_come_first_for_adam(short):
    published = next(row for row in short["rows"] if row["way"] == spectral_bias.PUBLISHED)
    assert published["order"] > 0.3
    assert short["summary"]["seconds_all_modes"][spectral_bias.PUBLISHED] is None


@pytest.mark.slow
def test_gauss_newton_on_levels_learns_all_modes_to_1e_6_at_about_the_same_iteration(short):
    row = next(row for row in short["rows"] if row["way"] == spectral_bias.MULTILEVEL)
    assert row["iterations_all_modes_1e6"] <= 40
    assert row["mode_iteration_ratio"] < 2.0
    # and says that the function between the points is another matter
    assert 1e-4 < row["error_between"] < 0.3
