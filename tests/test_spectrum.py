"""Spectra: known amplitudes on grids and scattered points, energy is kept, when errors settle."""

import numpy as np
import pytest

from hierax.dynamics import spectrum


def wave(x, k, amplitude, phase):
    return amplitude * np.sin(2 * np.pi * k * x + phase)


def test_amplitudes_on_a_grid_with_the_constant_and_the_highest_mode_counted_once():
    x = np.arange(200) / 200
    values = 3.0 + wave(x, 5, 1.0, 0.4) + wave(x, 50, 0.25, 1.0) + 0.5 * np.cos(2 * np.pi * 100 * x)
    found = np.abs(spectrum.grid_amplitudes(values))
    expected = np.zeros(101)
    expected[[0, 5, 50, 100]] = [3.0, 1.0, 0.25, 0.5]
    np.testing.assert_allclose(found, expected, atol=1e-13)
    same = spectrum.amplitudes(x[:, None], values, np.array([[0.0], [5.0], [50.0]]))
    np.testing.assert_allclose(same, spectrum.grid_amplitudes(values)[[0, 5, 50]], atol=1e-12)


def test_bands_keep_the_mean_square_and_find_the_wave_number():
    edges = np.arange(0.0, 17.0)
    t = (np.arange(32) + 0.5) / 32
    x, y = np.meshgrid(t, t, indexing="ij")
    values = np.cos(np.pi * 6 * x) * np.cos(np.pi * 8 * y) + 0.1 * x  # 3 and 4 periods: wave number 5
    bands = spectrum.grid_bands(values, edges)
    assert bands.sum() == pytest.approx(np.mean(values**2), rel=1e-12)
    assert bands[5] == pytest.approx(0.25, rel=1e-2)
    # a ramp is not periodic: cosines see it at low frequencies, exponentials everywhere
    ramp, wrapped = spectrum.grid_bands(x, edges), spectrum.grid_bands(x, edges, (True, True))
    assert ramp[8:].sum() < 1e-2 * wrapped[8:].sum()
    mixed = spectrum.grid_bands(np.cos(np.pi * 6 * x) * np.sin(2 * np.pi * 4 * y), edges, (False, True))
    assert mixed[5] == pytest.approx(0.25, rel=1e-10)


def test_bands_of_scattered_points_agree_with_those_of_a_grid():
    points = np.random.default_rng(1).uniform(0, 1, (600, 2))

    def function(x, y):
        return np.cos(np.pi * 6 * x) * np.cos(np.pi * 8 * y) + 0.2 * np.cos(np.pi * 2 * x)

    edges = np.arange(0.0, 8.0)
    bands = spectrum.scattered_bands(points, function(*points.T), edges)
    np.testing.assert_allclose(bands[[1, 5]], [0.02, 0.25], rtol=1e-8)
    assert bands.sum() == pytest.approx(0.27, rel=1e-8)


def test_edges_of_bands_grow_where_there_are_many():
    np.testing.assert_array_equal(spectrum.band_edges(3.0), [0, 1, 2, 3])
    edges = spectrum.band_edges(512.0, 20)
    assert len(edges) == 21
    assert edges[-1] == pytest.approx(512.0)
    assert np.all(np.diff(edges) > 0)


def test_when_errors_settle():
    steps = np.arange(0, 2000, 10)
    rates = np.array([0.02, 0.004, 1e-6])
    errors = np.exp(-np.outer(steps, rates)) + 1e-5
    reached = spectrum.settled(steps, errors, 1e-2)
    assert reached[:2] == pytest.approx(np.log(100) / rates[:2], abs=12)
    assert np.isnan(reached[2])
    # an error that rises again has not settled
    again = np.array([[1.0], [1e-3], [1.0], [1e-3], [1e-3]])
    assert spectrum.settled(np.arange(5.0), again, 1e-2)[0] == 3.0
    assert spectrum.settled(np.arange(5.0), 0 * again, 1e-2)[0] == 0.0
