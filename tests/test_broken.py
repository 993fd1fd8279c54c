"""Partitions of unity that are broken along an interface: local pieces, and a problem with jumps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields import BrokenPartition, PartitionOfUnity, Polynomials
from hierax.objective import flat_parameters
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.least_squares import weighted_residual
from hierax.objective.rows import RowObjective
from hierax.problems import Boundary, PointCloud, sides

LOWER, UPPER, RADIUS = [0.0, 0.0], [1.0, 1.0], 0.31
MIDDLE = jnp.array([0.48, 0.52])
INSIDE, OUTSIDE, SIDE = 1.0, 10.0, 90
POINTS = np.random.default_rng(0).uniform(0.0, 1.0, (60, 2))
evaluate = eqx.filter_jit(lambda field, points: jax.vmap(field)(points))


def distance(x):
    return jnp.linalg.norm(x - MIDDLE) - RADIUS


def broken(count, degree=3):
    return BrokenPartition.uniform(LOWER, UPPER, count, 1.5, distance=distance, local=Polynomials(degree))


def filled(field):
    theta, build = flat_parameters(field)
    return build(np.random.default_rng(1).normal(size=len(theta)))


def test_only_cells_that_the_interface_crosses_are_doubled():
    field = broken(8)
    both = field.inside.cover.subdomains + field.outside.cover.subdomains
    assert 64 < both < 64 + 40
    apart = [np.asarray(jax.vmap(distance)(side.cover.centres)) for side in field.sides]
    # half a diagonal of a cell
    assert apart[0].max() < 0.5 * np.sqrt(2) / 8
    assert apart[1].min() > -0.5 * np.sqrt(2) / 8


def test_local_pieces_are_the_field_with_finite_derivatives():
    field = filled(broken(6))
    theta = flat_parameters(field)[0]
    index, pieces = field.gather(POINTS)
    local, _ = jax.vmap(lambda x: field.at(field.locate(x)))(jnp.asarray(POINTS))
    np.testing.assert_array_equal(index, local)
    assert index.max() < len(theta)

    values, slopes = eqx.filter_jit(jax.vmap(lambda piece, x: (piece(x), jax.grad(piece)(x))))(
        pieces, jnp.asarray(POINTS)
    )
    assert np.all(np.isfinite(slopes))
    within = np.asarray(jax.vmap(distance)(jnp.asarray(POINTS))) < 0
    for side, own in zip(field.sides, (within, ~within), strict=True):
        np.testing.assert_allclose(values[own], evaluate(side, jnp.asarray(POINTS[own])), rtol=1e-12)
    keys = field.cell_keys(POINTS)
    same = (keys[:, None] == keys) == (index[:, None] == index).all(axis=2)
    assert same.all()


def test_a_field_without_interface_is_its_own_on_both_sides():
    u = PartitionOfUnity.uniform(LOWER, UPPER, 2, local=Polynomials(1))
    assert sides(u) == (u, u)
    with pytest.raises(ValueError, match="no interface"):
        BrokenPartition.uniform(LOWER, UPPER, 2, distance=lambda x: 1.0 + x[0], local=Polynomials(1))


def inner(x):
    return jnp.sin(7.0 * x[0] + 4.0 * x[1])


def outer(x):
    return 2.0 + jnp.cos(6.0 * x[0] - 5.0 * x[1])


def exact(x):
    return jnp.where(distance(x) < 0, inner(x), outer(x))


def jumping():
    """`div(k grad u) = f` with coefficients 1 and 10; value and flux jump on the circle by what the solution does."""

    def law(u, x):
        f = jnp.where(distance(x) < 0, INSIDE * hx.laplacian(inner)(x), OUTSIDE * hx.laplacian(outer)(x))
        return jnp.where(distance(x) < 0, INSIDE, OUTSIDE) * hx.laplacian(u)(x) - f

    def value(u, x):
        inside, outside = sides(u)
        return outside(x) - inside(x) - (outer(x) - inner(x))

    def flux(u, x, normal):
        def across(inside, outside):
            return normal @ (OUTSIDE * hx.gradient(outside)(x) - INSIDE * hx.gradient(inside)(x))

        return across(*sides(u)) - across(inner, outer)

    ticks = (np.arange(SIDE) + 0.5) / SIDE
    x, y = (a.ravel() for a in np.meshgrid(ticks, ticks))
    angle = 2 * np.pi * np.arange(120) / 120
    normals = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    walls = [np.stack([np.full(SIDE, end), ticks][::step], axis=1) for end in (0.0, 1.0) for step in (1, -1)]
    cloud = PointCloud(
        np.stack([x, y], axis=1),
        boundaries={
            "interface": Boundary(np.asarray(MIDDLE) + RADIUS * normals, normals),
            "wall": Boundary(np.concatenate(walls), np.tile([1.0, 0.0], (4 * SIDE, 1))),  # no term asks for them
        },
    )
    terms = (
        hx.Residual("law", law),
        hx.Residual("value", lambda u, x, normal: value(u, x), on="interface"),
        hx.Residual("flux", flux, on="interface"),
        hx.Residual("wall", lambda u, x, normal: u(x) - exact(x), on="wall"),
    )
    return hx.Problem(cloud, terms, reference=hx.Reference(exact, 1e-14), name="jump-on-a-circle")


def error(problem, field, count):
    """After one solve in which conditions weigh more the smaller the boxes are, as their derivatives ask for."""
    samples = SampledProblem(problem).sample(field, Sampling(), 0)
    samples = [
        s.scaled(w) for s, w in zip(samples, (1.0, 200.0 * count**3, 10.0 * count, 200.0 * count**3), strict=True)
    ]
    objective, theta = RowObjective(field, samples), flat_parameters(field)[0]
    rows, residual = objective.sparse_rows(theta).toarray(), weighted_residual(objective, theta)
    found = flat_parameters(field)[1](theta - np.linalg.lstsq(rows, residual, rcond=1e-12)[0])
    points = jnp.asarray(np.random.default_rng(5).uniform(0.01, 0.99, (1000, 2)))
    known = evaluate(exact, points)
    return float(jnp.linalg.norm(evaluate(found, points) - known) / jnp.linalg.norm(known))


@pytest.mark.slow
def test_broken_spaces_converge_with_full_order_where_smooth_ones_do_not():
    problem = jumping()
    whole = [PartitionOfUnity.uniform(LOWER, UPPER, n, 1.5, local=Polynomials(3)) for n in (4, 8)]
    own = [error(problem, broken(n), n) for n in (4, 8)]
    plain = [error(problem, field, n) for n, field in zip((4, 8), whole, strict=True)]
    assert own[1] < 4e-4
    # the order of cubic polynomials
    assert np.log2(own[0] / own[1]) > 4.0
    assert min(plain) > 0.3
