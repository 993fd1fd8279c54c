"""Finer partitions of unity: every rule keeps the function and obeys the laws of transfers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields import Cover, PartitionOfUnity, Perceptrons, Polynomials, RandomWaves, Scalar, Unknowns
from hierax.hierarchy import AddFunctions, AddSubdomainLevel, Level, SubdomainHalving
from hierax.hierarchy.subdomains import halved, indicators, worst
from hierax.hierarchy.transfer import LINEAR
from hierax.objective import flat_parameters
from hierax.objective.build import mesh
from hierax.objective.gather import gather
from hierax.testing import check_transfer

POINTS = np.random.default_rng(0).uniform(0.0, 1.0, (20, 2))
LINE = POINTS[:, :1]


evaluate = eqx.filter_jit(lambda field, points: jax.vmap(field)(points))


def filled(field):
    theta, build = flat_parameters(field)
    return build(np.random.default_rng(1).normal(size=len(theta)))


def line(local, count=4):
    return filled(PartitionOfUnity.uniform([0.0], [1.0], count, 1.9, local=local, key=0))


def splines(degree, dim=1, order=2, out=None, periodic=None):
    cover = Cover.splines([0.0] * dim, [1.0] * dim, 3, degree, periodic)
    return filled(PartitionOfUnity.on(cover, Polynomials(order), out=out))


@pytest.mark.parametrize(
    ("rule", "field", "linear"),
    [
        (AddSubdomainLevel(Polynomials(2)), line(Polynomials(1)), True),
        (AddSubdomainLevel(Perceptrons((3,))), line(Perceptrons((2,))), False),
        (AddFunctions(Polynomials(3)), line(Polynomials(1)), True),
        (AddFunctions(RandomWaves(2, scale=4.0)), line(Polynomials(1)), True),
        (SubdomainHalving(), splines(2, out=2), True),
        (SubdomainHalving(), splines(3), True),
    ],
    ids=["level", "level of networks", "order", "band", "halving quadratic", "halving cubic"],
)
def test_rules_obey_all_laws(rule, field, linear):
    fine, transfer = rule.refine(Level(field, 100))
    assert fine.points > 100
    assert (LINEAR in transfer.tags) == linear
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
    near = gather(field, LINE)[1].subdomains
    z = (LINE[:, None] - near.centres) / near.half_widths
    np.testing.assert_allclose(np.asarray(field.cover.window(jnp.asarray(z))).sum(axis=1), 1.0, atol=1e-14)


def test_unknowns_are_refined_together():
    field = Unknowns(u=line(Polynomials(1)), nu=Scalar(0.3), v=line(Polynomials(2), 2))
    fine, transfer = AddSubdomainLevel(Polynomials(1)).refine(Level(field))
    prolonged = transfer.prolong(Level(field).partition()[0])
    back = jax.tree.leaves(transfer.inject(prolonged))
    for a, b in zip(back, jax.tree.leaves(Level(field).partition()[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [len(part.parts) for part in (fine.field.u, fine.field.v)] == [2, 2]


def test_indicators_choose_what_is_split_and_patches_end_smoothly():
    field = filled(PartitionOfUnity.uniform([0.0, 0.0], [1.0, 1.0], 4, 1.9, local=Polynomials(1)))
    residuals = np.where(np.linalg.norm(POINTS - 0.9, axis=1) < 0.3, 5.0, 0.1)
    found = indicators(field.cover, POINTS, np.full(20, 0.05), residuals)
    marked = worst(found, 0.5)
    assert 0 < len(marked) < 8
    assert np.linalg.norm(np.asarray(field.cover.centres)[marked] - 0.9, axis=1).max() < 0.6
    fine, _ = AddSubdomainLevel(Polynomials(1)).refine(Level(field), evidence=found)
    patches = filled(fine.field.parts[1])
    assert patches.cover.subdomains == 4 * len(marked)
    # as many members as before: what is compiled point by point serves every later choice of patches
    assert patches.cover.members == field.cover.members
    low, high = patches.cover.bounds()
    outside = POINTS[~((POINTS[:, None] > low) & (POINTS[:, None] < high)).all(axis=2).any(axis=1)]
    assert len(outside) > 3
    np.testing.assert_array_equal(np.asarray(evaluate(patches, outside)), 0.0)


def test_halves_of_a_uniform_cover_are_a_uniform_cover_and_so_are_patches_on_all_of_it():
    cover = Cover.uniform([0.0], [2.0], 3, 1.9)
    np.testing.assert_allclose(halved(cover).centres, Cover.uniform([0.0], [2.0], 6, 1.9).centres)
    np.testing.assert_allclose(np.sort(halved(cover, np.arange(3)).centres, axis=0), halved(cover).centres)


def test_what_cannot_be_refined_is_refused():
    for rule in (AddSubdomainLevel(), AddFunctions(), SubdomainHalving()):
        with pytest.raises(ValueError, match="MLP has no"):
            rule.refine(Level(hx.MLP([1, 2, 1], key=0)))
    with pytest.raises(ValueError, match="not above"):
        AddFunctions(Polynomials(0)).refine(Level(line(Polynomials(1))))
