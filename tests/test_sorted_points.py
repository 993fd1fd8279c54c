"""Points sorted by subdomain: the same derivatives, values and gradients as point by point."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields import Cover, PartitionOfUnity, Perceptrons, RandomWaves
from hierax.fields.sorted_points import BLOCK, derivatives, jets, sorted_points
from hierax.objective import flat_parameters
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.program import Program, SortedProgram, felt, pointwise
from hierax.objective.rows import RowObjective
from hierax.objective.samples import make_samples

POINTS = np.random.default_rng(0).uniform(0.0, 1.0, (300, 2))
UNIT = ([0.0, 0.0], [1.0, 1.0])


def filled(field):
    theta, build = flat_parameters(field)
    return build(np.random.default_rng(1).normal(size=len(theta)))


def patches():
    """Boxes of two sizes."""
    cover = Cover.uniform(*UNIT, 2, 1.9)
    centres, half = np.asarray(cover.centres), np.asarray(cover.half_widths)
    return Cover(np.r_[centres, centres[:1]], np.r_[half, 0.5 * half[:1]])


FIELDS = {
    "networks": PartitionOfUnity.uniform(*UNIT, (4, 3), 1.9, local=Perceptrons((3,)), key=0),
    "two outputs, periodic": PartitionOfUnity.uniform(
        *UNIT, 3, 1.5, local=RandomWaves(2), out=2, periodic=[True, False]
    ),
    "boxes of two sizes": PartitionOfUnity.on(patches(), Perceptrons((3,)), key=0),
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_derivatives_are_those_of_the_field(field):
    field, wanted = filled(field), tuple(derivatives(2))
    found = eqx.filter_jit(jets)(field.locals, sorted_points(field.cover, POINTS), wanted)

    def point(x):
        first, second = jax.jacfwd(field)(x), jax.jacfwd(jax.jacfwd(field))(x)
        return [field(x), *(first[..., a] for a in range(2)), *(second[..., a, b] for a, b in wanted[3:])]

    for axes, exact in zip(wanted, eqx.filter_jit(jax.vmap(point))(jnp.asarray(POINTS)), strict=True):
        assert found[axes].shape == exact.shape
        np.testing.assert_allclose(found[axes], exact, rtol=0, atol=1e-12 * float(jnp.abs(exact).max()))


def bent(u, place):
    return hx.laplacian(u)(place.x) + u(place.x) ** 2 * hx.derivative(u, 0)(place.x) - place.x[1]


def test_values_and_gradients_are_those_of_the_plain_program():
    # more slots than one block holds
    field = filled(PartitionOfUnity.uniform(*UNIT, 30, 1.9, local=Perceptrons((2,)), key=0))
    points = np.stack([a.ravel() for a in np.meshgrid(*[np.linspace(0.005, 0.995, 70)] * 2)], axis=1)
    samples = [
        make_samples(SquaredResidual("law", bent), points, np.full(4900, 1e-3)),
        make_samples(SquaredResidual("value", lambda u, p: u(p.x)), points[:2000], np.ones(2000), scale=3.0),
    ]
    objective = RowObjective(field, samples)
    (fast, data), theta = objective.program(), jnp.asarray(flat_parameters(field)[0])
    assert isinstance(fast, SortedProgram)
    assert data[0][0][0].slots.size > BLOCK
    assert fast.wanted == (((), (0,), (0, 0), (1, 1)), ((),))
    plain, rest = pointwise(field, samples, objective.layout, objective.rest)
    assert isinstance(plain, Program)
    a, b = (jax.jit(jax.value_and_grad(p))(theta, d) for p, d in ((fast, data), (plain, rest)))
    np.testing.assert_allclose(a[0], b[0], rtol=1e-12)
    np.testing.assert_allclose(a[1], b[1], rtol=0, atol=1e-12 * float(jnp.abs(b[1]).max()))
    key = jax.random.key(0)
    drawn = [p(theta, p.drawn(d, key, 50)) for p, d in ((fast, data), (plain, rest))]
    assert float(drawn[0]) == float(drawn[1])


@pytest.mark.parametrize(
    ("term", "wanted"),
    [
        (lambda u, p: hx.derivative(u, (0, 1))(p.x), ((0, 1),)),
        (lambda u, p: hx.derivative(u, 0, 3)(p.x) + u(p.x), None),
        (lambda u, p: hx.laplacian(hx.laplacian(u))(p.x), None),
        (lambda u, p: u(p.x) - u(1.0 - p.x), None),
    ],
    ids=["mixed", "third", "fourth", "elsewhere"],
)
def test_terms_that_a_quadratic_cannot_stand_for_are_found(term, wanted):
    samples = make_samples(SquaredResidual("law", term), POINTS, np.ones(300))
    assert felt(FIELDS["networks"], samples) == wanted


def test_crowded_points_and_splines_are_evaluated_point_by_point():
    crowd = np.concatenate([0.05 * POINTS, POINTS[:40]])
    samples = [make_samples(SquaredResidual("value", lambda u, p: u(p.x)), crowd, np.ones(340))]
    assert isinstance(RowObjective(FIELDS["networks"], samples).program()[0], Program)
    local = hx.fields.Copies(hx.SplineGrid.uniform([-1, -1], [1, 1], 2, 2))
    field = PartitionOfUnity.uniform(*UNIT, 2, local=local)
    assert isinstance(RowObjective(field, samples).program()[0], Program)
