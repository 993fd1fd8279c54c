"""Finer partitions of unity: halving keeps the function and obeys the laws of transfers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields import Cover, PartitionOfUnity, Polynomials, Scalar, Unknowns
from hierax.fields.base import mesh
from hierax.hierarchy import Level, SubdomainHalving
from hierax.hierarchy.transfer import LINEAR
from hierax.objective import flat_parameters
from hierax.testing import check_transfer

POINTS = np.random.default_rng(0).uniform(0.0, 1.0, (20, 2))
LINE = POINTS[:, :1]


evaluate = eqx.filter_jit(lambda field, points: jax.vmap(field)(points))


def filled(field):
    theta, build = flat_parameters(field)
    return build(np.random.default_rng(1).normal(size=len(theta)))


def splines(degree, dim=1, order=2, out=None, periodic=None):
    cover = Cover.splines([0.0] * dim, [1.0] * dim, 3, degree, periodic)
    return filled(PartitionOfUnity.on(cover, Polynomials(order), out=out))


@pytest.mark.parametrize(
    "field", [splines(2, out=2), splines(3), Unknowns(u=splines(2), nu=Scalar(0.3))], ids=["quadratic", "cubic", "two"]
)
def test_halving_obeys_all_laws(field):
    fine, transfer = SubdomainHalving().refine(Level(field, 100))
    assert fine.points > 100
    assert LINEAR in transfer.tags
    check_transfer(transfer, field, fine.field, key=0, points=jnp.asarray(LINE))


def test_halving_in_two_dimensions_keeps_the_function():
    field = splines(2, dim=2, order=1, periodic=(False, True))
    fine, _ = SubdomainHalving().refine(Level(field))
    assert fine.field.cover.finder.counts == (8, 6)
    values = [np.asarray(evaluate(f, POINTS)) for f in (field, fine.field)]
    np.testing.assert_allclose(values[1], values[0], atol=1e-12 * np.abs(values[0]).max())


def test_splines_add_up_to_one_by_themselves_and_their_cells_are_those_of_the_domain():
    field = splines(3)
    cells = mesh(field)
    assert cells is not None
    np.testing.assert_allclose(cells[0], np.linspace(0, 1, 4), atol=1e-15)
    near = field.gather(LINE)[1].subdomains
    z = (LINE[:, None] - near.centres) / near.half_widths
    np.testing.assert_allclose(np.asarray(field.cover.window(jnp.asarray(z))).sum(axis=1), 1.0, atol=1e-14)


def test_what_cannot_be_refined_is_refused():
    with pytest.raises(ValueError, match="MLP has no"):
        SubdomainHalving().refine(Level(hx.MLP([1, 2, 1], key=0)))
