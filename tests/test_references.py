"""Certified references against computations that share no code with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from hierax.problems import (
    Gauss,
    Reference,
    TabulatedReference,
    allen_cahn,
    burgers,
    helmholtz,
    inverse_constant,
    poisson_jump,
    rotated_regression,
    wave_2d,
)
from hierax.problems.allen_cahn import STARTS
from hierax.problems.burgers import cole_hopf
from hierax.problems.helmholtz import l_shape
from hierax.problems.regression import ANGLE
from hierax.problems.shocks import merging, start_values
from hierax.problems.spectral import Etdrk4

# weights of the eighth-order central differences for the first and second derivative
FIRST = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
SECOND = np.array([-1 / 560, 8 / 315, -1 / 5, 8 / 5, -205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560])


def test_a_reference_is_one_program_and_may_ask_for_values_of_what_it_computes():
    asked = []

    def series(x):
        asked.append(None)
        total, term = 0.0, jnp.asarray(1.0)
        while term > 1e-17:  # unknown while compiled
            total, term = total + term, term / 2.0
        return total * x[0]

    known, points = Reference({"u": lambda x: asked.append(None) or jnp.sin(x[0]), "v": series}), np.array([[0.3]])
    for _ in range(2):
        assert known.evaluate(points, "u") == pytest.approx(np.sin(0.3), rel=1e-15)
    assert len(asked) == 1
    assert known.evaluate(points, "v") == pytest.approx(0.6, rel=1e-15)


def differences(value, points, axis, step):
    """First and second derivative along an axis, by eighth-order central differences."""
    shifted = np.repeat(points[:, None, :], 9, axis=1)
    shifted[:, :, axis] += step * np.arange(-4, 5)
    table = value(shifted.reshape(-1, points.shape[1])).reshape(len(points), 9)
    return table @ FIRST / step, table @ SECOND / step**2


def interior(count=300, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(0.05, 0.95, count), rng.uniform(-0.95, 0.95, count)], axis=1)


@pytest.mark.parametrize(("viscosity", "step"), [(0.1, 1e-2), (0.01, 1e-3), (0.01 / np.pi, 4e-4)])
def test_cole_hopf_satisfies_the_equation(viscosity, step):
    points = np.concatenate([interior(), [[0.9, 0.0], [0.6, 1e-3], [0.9, -2e-3]]])

    def value(p):
        return cole_hopf(p, viscosity)

    u = value(points)
    u_t, _ = differences(value, points, 0, 1e-3)
    u_x, u_xx = differences(value, points, 1, step)
    residual = u_t + u * u_x - viscosity * u_xx
    assert np.abs(residual).max() <= 1e-8 * max(1.0, np.abs(u * u_x).max())


@pytest.mark.parametrize(("viscosity", "step"), [(0.1, 1e-2), (0.01, 1e-3)])
def test_merging_shocks_satisfy_the_equation_and_the_start(viscosity, step):
    points = interior()

    def value(p):
        return merging(p, viscosity)

    u = value(points)
    u_t, _ = differences(value, points, 0, 5e-4)
    u_x, u_xx = differences(value, points, 1, step)
    assert np.abs(u_t + u * u_x - viscosity * u_xx).max() <= 1e-7 * np.abs(u * u_x).max()
    first = np.stack([np.zeros(9), np.linspace(-1, 1, 9)], axis=1)
    assert np.abs(value(first) - start_values(first[:, 1])).max() < 1e-12
    shifted = points + np.array([0.0, 2.0])
    assert np.abs(value(shifted) - u).max() < 1e-11


def test_the_shocks_merge():
    x = np.linspace(-1, 1, 801)[:-1]

    def fronts(t):
        u = merging(np.stack([np.full_like(x, t), x], axis=1), 0.01 / np.pi)
        slope = np.roll(u, -1) - np.roll(u, 1)
        return np.sum((slope < np.roll(slope, 1)) & (slope < np.roll(slope, -1)) & (slope < -0.1))

    assert (fronts(0.3), fronts(0.9)) == (2, 1)


def test_cole_hopf_agrees_with_a_spectral_solution():
    modes, steps, nu = 512, 1000, 0.01
    k = np.pi * np.arange(modes // 2 + 1)
    kept = np.arange(modes // 2 + 1) < modes // 3

    def nonlinear(v):
        return kept * (-0.5j * k) * np.fft.rfft(np.fft.irfft(v, n=modes) ** 2)

    x = -1.0 + 2.0 * np.arange(modes) / modes
    v, step = np.fft.rfft(-np.sin(np.pi * x)), Etdrk4(-nu * k**2, nonlinear, 1.0 / steps)
    for _ in range(steps):
        v = step(v)
    exact = cole_hopf(np.stack([np.ones(modes), x], axis=1), nu)
    assert np.linalg.norm(np.fft.irfft(v, n=modes) - exact) <= 1e-8 * np.linalg.norm(exact)


@pytest.mark.parametrize("viscosity", [1.0, 0.01, 0.01 / np.pi, 0.001 / np.pi, 0.0005 / np.pi])
def test_cole_hopf_is_robust(viscosity):
    rng = np.random.default_rng(1)
    points = np.stack([rng.uniform(0, 1, 500), rng.uniform(-1, 1, 500)], axis=1)
    u = cole_hopf(points, viscosity)
    assert np.isfinite(u).all()
    assert np.abs(u).max() <= 1.0 + 1e-12
    mirrored = cole_hopf(points * [1, -1], viscosity)
    np.testing.assert_allclose(mirrored, -u, atol=1e-11)
    walls = np.array([[t, x] for t in (0.0, 0.3, 1.0) for x in (-1.0, 0.0, 1.0)])
    np.testing.assert_allclose(cole_hopf(walls, viscosity), 0.0, atol=1e-13)
    start = np.stack([np.zeros(50), np.linspace(-1, 1, 50)], axis=1)
    np.testing.assert_allclose(cole_hopf(start, viscosity), -np.sin(np.pi * start[:, 1]), atol=1e-12)
    finer = cole_hopf(points, viscosity, resolution=3.0)
    bound = burgers(viscosity).reference.error_bound
    assert np.linalg.norm(u - finer) <= bound * np.linalg.norm(finer)
    assert bound <= 1e-12


def test_allen_cahn_agrees_with_an_independent_integrator():
    """Fourier collocation advanced by SciPy's eighth-order Runge-Kutta method."""
    modes = 1536
    k = np.pi * np.arange(modes // 2 + 1)
    x = -1.0 + 2.0 * np.arange(modes) / modes

    def rate(t, u):
        return np.fft.irfft(-1e-4 * k**2 * np.fft.rfft(u), n=modes) + 5 * u - 5 * u**3

    times = np.array([0.1237, 0.5, 1.0])
    # steps clear of the stability limit, where dense output would show the highest modes
    solved = solve_ivp(rate, (0, 1), STARTS["smooth"](x, np), "DOP853", times, rtol=1e-11, atol=1e-12, max_step=0.01)
    reference = allen_cahn().reference
    for t, u in zip(times, solved.y.T, strict=True):
        found = reference.evaluate(np.stack([np.full(modes, t), x], axis=1), "u")
        assert np.linalg.norm(found - u) <= 1e-11 * np.linalg.norm(u)


def test_allen_cahn_satisfies_the_equation_between_its_levels():
    reference = allen_cahn().reference
    points = interior(200, seed=2)

    def value(p):
        return reference.evaluate(p, "u")

    u = value(points)
    u_t, _ = differences(value, points, 0, 1e-3)
    _, u_xx = differences(value, points, 1, 5e-4)
    assert np.abs(u_t - 1e-4 * u_xx - 5 * u + 5 * u**3).max() <= 1e-7
    assert reference.error_bound <= 1e-11


@pytest.mark.parametrize(("start", "floor"), [("smooth", 1e-11), ("published", 1e-7)])
def test_allen_cahn_states_its_floor_and_starts_exactly(start, floor):
    reference = allen_cahn(start=start).reference
    assert 0 < reference.error_bound <= floor
    x = np.linspace(-1, 1, 41)
    begin = reference.evaluate(np.stack([0 * x, x], axis=1), "u")
    np.testing.assert_allclose(begin, STARTS[start](x, np), atol=1e-12)
    for t in (0.01, 0.4, 1.0):
        row = reference.evaluate(np.stack([0 * x + t, x], axis=1), "u")
        np.testing.assert_allclose(row, row[::-1], atol=1e-9)  # even
    soon = reference.evaluate(np.stack([0 * x[5:-5] + 1e-6, x[5:-5]], axis=1), "u")
    np.testing.assert_allclose(soon, begin[5:-5], atol=1e-5)


def test_poisson_jump_makes_its_energy_stationary_and_smallest():
    """With Gauss points in cells that follow the interface, energy and first variation are exact to many digits."""
    problem = poisson_jump()
    cells = [np.linspace(-1, 1, 13), np.linspace(-1, 1, 13)]
    batch = Gauss(8).sample(jax.random.key(0), 0, 0, cells)
    points, weights = jnp.asarray(batch.points), jnp.asarray(batch.weights)
    exact = problem.reference.value["u"]
    direction = problem.constraint(lambda x: jnp.sin(2.0 * x[0] + 0.4) * jnp.cos(3.0 * x[1] - 0.2))

    def energy(step):
        def u(x):
            return exact(x) + step * direction(x)

        return jnp.sum(weights * jax.vmap(lambda x: problem.terms[0].density(u, x))(points))

    # the energy is quadratic along a line: three values give its slope and curvature
    below, level, above = (float(jax.jit(energy)(step)) for step in (-1.0, 0.0, 1.0))
    slope, curvature = (above - below) / 2, above - 2 * level + below
    assert abs(slope) <= 1e-10 * abs(level)
    assert curvature > 0.1


def test_poisson_jump_is_continuous_with_its_flux():
    exact = poisson_jump().reference.value["u"]
    y = jnp.linspace(-1, 1, 17)

    def side(x):
        coefficient = 1.0 if x < 0 else 0.5
        points = jnp.stack([jnp.full_like(y, x), y], axis=1)
        return jax.vmap(exact)(points), coefficient * jax.vmap(jax.grad(exact))(points)[:, 0]

    (left, left_flux), (right, right_flux) = side(-1e-12), side(1e-12)
    np.testing.assert_allclose(left, right, atol=1e-10)
    np.testing.assert_allclose(left_flux, right_flux, atol=1e-10)
    np.testing.assert_allclose(right_flux, np.pi * np.sin(3 * np.pi * y), atol=1e-10)


def test_rotated_regression_fills_the_unit_interval():
    problem = rotated_regression(points=500)
    grid = np.linspace(1e-4, 0.9999, 301)
    points = np.stack([g.ravel() for g in np.meshgrid(grid, grid)], axis=1)
    values = problem.reference.evaluate(points, "u")
    assert values.min() >= -1e-12
    assert values.max() <= 1 + 1e-12
    assert values.min() <= 2e-3
    assert values.max() >= 1 - 1e-3
    x, y = 0.3, 0.8
    a, b = np.cos(ANGLE) * x - np.sin(ANGLE) * y, np.sin(ANGLE) * x + np.cos(ANGLE) * y
    raw = np.cos(4 * np.pi * a) + np.sin(np.pi * b) + np.sin(2 * np.pi * b) + abs(np.sin(3 * np.pi * b**2))
    slope = problem.reference.evaluate(np.array([[x, y], [0.5, 0.5]]), "u")
    a, b = (np.cos(ANGLE) - np.sin(ANGLE)) / 2, (np.sin(ANGLE) + np.cos(ANGLE)) / 2
    other = np.cos(4 * np.pi * a) + np.sin(np.pi * b) + np.sin(2 * np.pi * b) + abs(np.sin(3 * np.pi * b**2))
    assert (slope[0] - slope[1]) == pytest.approx((raw - other) / 4.984614611496256, rel=1e-8)


def test_evaluate_gives_constants_vectors_and_none():
    points = np.zeros((4, 2))
    assert inverse_constant(diffusion=0.07).reference.evaluate(points, "nu") == pytest.approx(np.full(4, 0.07))
    pointwise = Reference({"u": lambda x: jnp.stack([x[0], x[1], x[0]])})
    assert pointwise.evaluate(points, "u").shape == (4, 3)
    assert pointwise.evaluate(points, "kappa") is None
    assert TabulatedReference({"u": lambda p: p[:, 0]}, 1e-3).evaluate(points, "v") is None


def test_helmholtz_agrees_with_its_sine_series():
    """For a source that is zero at the walls the sine coefficients of a whole Gaussian are exact."""
    octave, reference = 3, helmholtz(3).reference
    mode, width = np.arange(1, 400), 0.2 / 2**octave
    profile = 2.0 * width * np.sqrt(2.0 * np.pi) * np.exp(-0.5 * (mode * np.pi * width) ** 2) * np.sin(mode * np.pi / 2)
    square = 25.0 * 4.0 ** (octave - 1) + 0.5
    table = np.outer(profile, profile) / np.pi**2 / (square - mode[:, None] ** 2 - mode**2)
    points = np.random.default_rng(0).uniform(size=(200, 2))
    x, y = (np.sin(np.pi * points[:, k, None] * mode) for k in range(2))
    expected = np.einsum("pi,ij,pj->p", x, table, y, optimize=True)
    away = np.linalg.norm(reference.evaluate(points, "u") - expected) / np.linalg.norm(expected)
    assert away <= 1e-9
    assert reference.error_bound <= 1e-9
    assert np.abs(reference.evaluate(np.array([[0.0, 0.3], [0.4, 1.0], [1.0, 1.0]]), "u")).max() <= 1e-12


def test_no_octave_of_helmholtz_is_near_a_resonance():
    numbers = np.arange(1, 90) ** 2
    sums = numbers[:, None] + numbers
    for octave in range(6):
        assert np.abs(sums - (25.0 * 4.0 ** (octave - 1) + 0.5)).min() >= 0.49


def test_the_pulse_satisfies_the_wave_equation_and_the_start():
    problem = wave_2d(0.15)

    def value(p):
        return problem.reference.evaluate(p, "u")

    rng = np.random.default_rng(1)
    points = np.stack([rng.uniform(0.05, 0.45, 60), *rng.uniform(-0.9, 0.9, (2, 60))], axis=1)
    parts = [differences(value, points, axis, 0.01)[1] for axis in range(3)]
    assert np.abs(parts[0] - parts[1] - parts[2]).max() <= 1e-7 * np.abs(parts[0]).max()
    points[:, 0] = 0.0
    pulse = np.exp(-0.5 * np.sum(points[:, 1:] ** 2, axis=1) / 0.15**2)
    assert np.abs(value(points) - pulse).max() <= 1e-9
    assert np.abs(value(np.array([[0.4, 1.0, 0.2], [0.5, 0.1, -1.0]]))).max() <= 1e-13


def test_the_l_shape_has_its_area_perimeter_and_normals():
    domain = l_shape(8)
    edge = domain.boundaries["edge"]
    assert domain.measure == pytest.approx(0.75)
    assert np.sum(edge.weights) == pytest.approx(4.0)
    # the divergence theorem for the field (x, y)
    assert np.sum(edge.weights * np.sum(edge.points * edge.normals, axis=1)) == pytest.approx(1.5)
    assert not np.any(np.all(domain.points > 0.5, axis=1))
