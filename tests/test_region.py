"""Clouds of points: what lies between them is found, equations are imposed there, and arrays say all that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.planning.knots import bends, with_knots
from hierax.problems.region import Region

CELLS = [np.linspace(-1.0, 1.0, 41)] * 2


def square(count, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (count, 2))


def ring(radius, count):
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius


@pytest.mark.parametrize("known", [True, False])
def test_a_hole_is_no_part_of_the_region(known):
    points = square(3000)
    points = points[np.hypot(*points.T) > 0.3]
    walls = {"hole": hx.Boundary(ring(0.3, 80), -ring(1.0, 80))} if known else {}
    region = Region.of(hx.PointCloud(points, boundaries=walls))
    batch = region.sample(3, CELLS)
    assert np.hypot(*batch.points.T).min() > (0.299 if known else 0.27)
    assert batch.weights.sum() == pytest.approx(4.0 - np.pi * 0.09, rel=0.04)


def test_a_notch_that_points_of_the_boundary_show_is_no_part_of_the_region():
    points = square(1200)
    points = points[(points[:, 0] < 0.0) | (points[:, 1] < 0.0)]
    along = (np.arange(60) + 0.5) / 60
    legs = np.concatenate([np.stack([along, 0 * along], 1), np.stack([0 * along, along], 1)])
    normals = np.repeat([[0.0, 1.0], [1.0, 0.0]], 60, axis=0)
    region = Region.of(hx.PointCloud(points, boundaries={"legs": hx.Boundary(legs, normals)}))
    inside = region.sample(3, CELLS).points
    assert np.min(inside, axis=1).max() < 0.01
    assert np.mean(region.holds(points)) > 0.99


def test_a_ball_of_points():
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(4000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = direction * rng.random((4000, 1)) ** (1 / 3)
    batch = Region.of(hx.PointCloud(points)).sample(2, [np.linspace(-1.0, 1.0, 13)] * 3)
    assert batch.weights.sum() == pytest.approx(4 / 3 * np.pi, rel=0.15)


@pytest.mark.parametrize("points", [square(30), np.stack([np.linspace(0, 1, 80)] * 2, axis=1)])
def test_few_points_and_points_in_a_line_show_no_region(points):
    assert Region.of(hx.PointCloud(points)) is None


def on(domain):
    return hx.Problem(domain, (hx.Residual("equation", lambda u, x: u(x)),))


def test_knots_are_close_near_a_hole_and_nowhere_else():
    part = hx.SplineGrid.uniform([-1.0, -1.0], [1.0, 1.0], 6, 5)
    hole = hx.PointCloud(square(100), boundaries={"hole": hx.Boundary(ring(0.1, 60), -ring(1.0, 60))})
    finer = with_knots(part, (), (), bends(on(hole))).breakpoints()[0]
    assert np.diff(finer)[np.abs(finer[1:]) < 0.1].max() <= 0.05
    assert np.diff(finer).max() > 0.3
    disc = hx.PointCloud(square(100), boundaries={"rim": hx.Boundary(ring(1.0, 60), ring(1.0, 60))})
    assert with_knots(part, (), (), bends(on(disc))) is part


def kirsch(x, xp=np):
    """Displacement in a plate of modulus 1 and Poisson's ratio 0.3 with a hole of radius 0.2, pulled along x by 1."""
    radius, shear, kappa = 0.2, 1.0 / 2.6, 2.7 / 1.3
    r, angle = xp.hypot(x[..., 0], x[..., 1]) / radius, xp.arctan2(x[..., 1], x[..., 0])
    cos, cos3, sin, sin3 = xp.cos(angle), xp.cos(3 * angle), xp.sin(angle), xp.sin(3 * angle)
    u = r * (kappa + 1) * cos + 2 / r * ((1 + kappa) * cos + cos3) - 2 / r**3 * cos3
    v = r * (kappa - 3) * sin + 2 / r * ((1 - kappa) * sin + sin3) - 2 / r**3 * sin3
    return radius / (8 * shear) * xp.stack([u, v], axis=-1)


def stress(u, x):
    slope = hx.gradient(u)(x)
    strain = (slope + slope.T) / 2
    return (0.7 * strain + 0.3 * jnp.trace(strain) * jnp.eye(2)) / 0.91


def test_a_plate_with_a_hole_whose_displacement_is_measured():
    points = square(4000)
    points = points[np.hypot(*points.T) > 0.2]
    s, one = (np.arange(100) + 0.5) / 50 - 1, np.ones(100)
    rim = np.concatenate([np.stack(side, 1) for side in [(s, -one), (one, s), (s, one), (-one, s)]])
    cloud = hx.PointCloud(points, boundaries={"hole": hx.Boundary(ring(0.2, 200), -ring(1.0, 200))})
    terms = (
        hx.Residual("equilibrium", lambda w, x: hx.divergence(lambda z: stress(w.u, z))(x)),
        hx.Residual("free", lambda w, x, normal: stress(w.u, x) @ normal, on="hole"),
        hx.Values("u", rim, kirsch(rim)),
    )
    exact = hx.Reference({"u": lambda x: kirsch(x, jnp)}, 1e-12)
    solution = hx.train(hx.Problem(cloud, terms, unknowns={"u": hx.Function(2)}, reference=exact), levels=2)
    assert solution.accuracy.relative_l2 < 1e-3
    with hx.coordinates(("x", "y")):
        tops = [stress(solution.field.u, jnp.array([0.0, y]))[0, 0] for y in (0.2, -0.2)]
    np.testing.assert_allclose(jax.device_get(tops), 3.0, rtol=0.01)


ANGLE = [[0, 0], [2, 0], [2, 1], [1, 1], [1, 3], [0, 3]]


def bracket(strong):
    """An angle that is held at its foot and pulled at its top."""
    material = hx.Elastic(young=2e11, poisson=0.3, plane_stress=True)
    body = hx.Polygon(ANGLE)
    foot, top = (body.boundary(None, where=lambda x, y=y: abs(x[1] - y) < 1e-9) for y in (0.0, 3.0))
    pulled = hx.Energy("pull", lambda w, x, n: -1e6 * w.u(x)[0], on=top)
    stored = hx.Energy("stored", lambda w, x: material.energy(w.u)(x))
    terms = (hx.Residual("balance", lambda w, x: material.balance(w.u)(x)),) if strong else (stored, pulled)
    return hx.Problem(body, (*terms, hx.dirichlet(foot, unknown="u")), unknowns={"u": hx.Function(2)})


@pytest.mark.parametrize("strong", [True, False])
def test_splines_of_energies_bend_at_corners_into_the_body(strong):
    """A strong form has no sense across a knot where slopes jump."""
    grid = hx.plan(bracket(strong)).hierarchy.levels[0].field.u
    for axis in grid.axes:
        assert np.sum(np.abs(axis.breakpoints() - 1.0) < 1e-9) == (1 if strong else axis.degree)


def test_linear_elasticity_by_its_energy_takes_one_step_a_level():
    solution = hx.train(bracket(False), levels=2, budget=60.0)
    assert [level.steps for level in solution.levels] == [1, 1]
    assert all(guard.passed for guard in solution.guards.values())
    # the work of the load is twice the stored energy
    top = solution.problem.domain.quadrature(solution.problem.terms[1].on)
    work = 1e6 * top.weights @ solution.evaluate(top.points, "u")[:, 0]
    inside = solution.problem.domain.quadrature(cells=16, order=4)
    slopes = [solution.evaluate(inside.points, f"u[{i}]_{x}") for i in range(2) for x in "xy"]
    a, b, c, d = slopes
    lame, shear = 2e11 * 0.3 / 0.91, 2e11 / 2.6
    stored = 0.5 * lame * (a + d) ** 2 + shear * (a**2 + d**2 + 0.5 * (b + c) ** 2)
    assert inside.weights @ stored == pytest.approx(0.5 * work, rel=1e-2)
