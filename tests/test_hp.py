"""Refinement subdomain by subdomain: what the rule chooses, exact transfers, and what it gains."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import legendre

import hierax as hx
from hierax.fields import PartitionOfUnity, Polynomials, RandomFeatures, Sum
from hierax.fields.expansion import Legendre, Shell
from hierax.hierarchy import AdaptSubdomains, Level, LocalResiduals
from hierax.hierarchy.hp import degrees, pieces_of, spectrum
from hierax.objective import flat_parameters
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.gather import gather
from hierax.objective.least_squares import weighted_residual
from hierax.objective.rows import RowObjective
from hierax.planning.choose import choose
from hierax.records.fields_io import load_field, save_field
from hierax.testing import check_transfer
from hierax.training.discrete import Bench

NODES = legendre.leggauss(32)[0]
LINE = np.random.default_rng(0).uniform(0.0, 1.0, (30, 1))
evaluate = eqx.filter_jit(lambda field, points: jax.vmap(field)(points))


def filled(field):
    theta, build = flat_parameters(field)
    return build(np.random.default_rng(1).normal(size=len(theta)))


def pou(count, degree, dim=1):
    return PartitionOfUnity.uniform([0.0] * dim, [1.0] * dim, count, 1.9, local=Polynomials(degree))


def judged(values, residual, order=0, dim=1):
    worth = np.ones(32) if order == 0 else (0.1 / np.maximum(np.arange(32), 1)) ** order
    return AdaptSubdomains().judged(values, residual[:, None], 4, dim, worth).action


def test_local_spectra_choose_between_order_band_and_splitting():
    smooth, kink = np.exp(NODES), np.abs(NODES - 0.2)
    assert judged(smooth, legendre.legval(NODES, [0] * 5 + [1e-3])) == "order"
    assert judged(kink, kink - legendre.legval(NODES, legendre.legfit(NODES, kink, 4))) == "split"
    assert judged(smooth, np.sin(12 * NODES)) == "band"
    # a small residual of high degree is what windows leave of a smooth function
    assert judged(smooth, 1e-4 * np.sin(12 * NODES)) == "order"
    # for an equation of second order the same residual is worth less the higher its degree
    assert judged(smooth, np.sin(12 * NODES), order=2) == "order"
    assert AdaptSubdomains(highest=4).judged(smooth, 0.0 * NODES[:, None], 4, 1, np.ones(32)).action == "split"


def test_spectra_are_those_of_legendre_polynomials():
    x, y = np.meshgrid(*[legendre.leggauss(16)[0]] * 2, indexing="ij")
    sizes = spectrum((x * legendre.legval(y, [0, 0, 0, 2.0])).ravel(), 2)
    assert np.unravel_index(np.argmax(sizes), sizes.shape) == (1, 3)
    np.testing.assert_allclose(sizes[1, 3], 2.0 * np.sqrt(2 / 3 * 2 / 7), rtol=1e-12)
    np.testing.assert_allclose(degrees(sizes)[[1, 3]], [0.0, sizes[1, 3]], atol=1e-14)
    low, high, rest = (
        basis(jnp.array([0.3, -0.6])) for basis in (Legendre((1, 2)), Legendre((2, 3)), Shell((1, 2), (2, 3)))
    )
    np.testing.assert_allclose(np.sort(np.r_[low, rest]), np.sort(high))


def seen(values):
    return LocalResiduals(values, np.zeros(1), np.ones(1), 0)


def left(field, exact):
    return seen(lambda points: np.asarray(evaluate(field, jnp.asarray(points)) - exact(points[:, 0]))[:, None])


def test_every_refinement_keeps_the_function_and_obeys_all_laws():
    rule, level, actions = AdaptSubdomains(), Level(filled(pou(4, 2)), 100), set()
    for step in range(4):
        # in turn a wave, a kink and smooth remainders at different places
        kind = [lambda x: 30.0 * np.sin(60 * x), lambda x: np.abs(x - 0.31), np.exp, lambda x: np.abs(x - 0.7)][step]
        evidence = seen(lambda p, kind=kind: kind(p))
        actions |= {v.action for v in rule.verdicts(_all(level), pieces_of(_all(level)), evidence).values()}
        fine, transfer = rule.refine(level, evidence=evidence)
        assert fine.points > level.points
        check_transfer(transfer, level.field, fine.field, key=0, points=jnp.asarray(LINE))
        theta, build = flat_parameters(fine.field)
        field = build(np.random.default_rng(step).normal(size=len(theta)))
        index, pieces = gather(field, LINE)
        own = jax.vmap(lambda piece, x: piece(x))(pieces, jnp.asarray(LINE))
        np.testing.assert_allclose(
            own, evaluate(field, jnp.asarray(LINE)), rtol=0, atol=1e-12 * float(jnp.abs(own).max())
        )
        assert index.max() < len(theta)
        level = Level(field, fine.points)
    assert actions >= {"band", "split"}


def _all(level):
    return level.field.parts if isinstance(level.field, Sum) else (level.field,)


def test_parts_become_longer_instead_of_more():
    rule, level, widths = AdaptSubdomains(share=0.3), Level(pou(8, 2)), []
    for middle in (0.1, 0.5, 0.9):
        bump = lambda p, middle=middle: np.exp(-0.5 * ((p - middle) / 0.1) ** 2) * legendre.legval(p, [0, 0, 0, 1])  # noqa: E731
        # a constant field: smooth everywhere
        level, _ = rule.refine(level, evidence=seen(bump))
        widths.append(gather(level.field, LINE)[0].shape[1])
    orders, owners = [part.locals.basis for part in level.field.parts], level.field.parts[1].owners
    assert orders == [Legendre((2,)), Shell((2,), (4,))]
    assert len(owners) == len(set(owners)) >= 3
    assert widths == [widths[0]] * 3


def test_fields_of_mixed_orders_are_saved(tmp_path):
    fine, _ = AdaptSubdomains().refine(Level(pou(4, 2)), evidence=seen(lambda p: p**3))
    field = filled(fine.field)
    save_field(tmp_path, field)
    np.testing.assert_array_equal(evaluate(load_field(tmp_path), LINE), evaluate(field, LINE))


def solved(problem, field):
    samples = SampledProblem(problem).sample(field, Sampling(), 0)
    objective, theta = RowObjective(field, samples), flat_parameters(field)[0]
    rows, residual = objective.sparse_rows(theta).toarray(), weighted_residual(objective, theta)
    return flat_parameters(field)[1](theta - np.linalg.lstsq(rows, residual, rcond=1e-13)[0])


def error(field, exact):
    points = np.random.default_rng(5).uniform(0.0, 1.0, (2000, 1))
    known = exact(points[:, 0])
    return np.linalg.norm(evaluate(field, jnp.asarray(points)) - known) / np.linalg.norm(known)


def fitting(exact):
    return hx.Problem(hx.Box([0.0], [1.0]), (hx.Residual("fit", lambda u, x: u(x) - exact(x[0])),))


CASES = {
    "kink": (lambda x: jnp.abs(x - 0.3) + 0.1 * x**2, 4, 3, 6, 5.0),
    "layer": (lambda x: jnp.tanh((x - 0.5) / 0.02), 6, 4, 3, 5.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_fewer_parameters_than_uniform_refinement_for_the_same_error(name):
    exact, count, degree, steps, gain = CASES[name]
    problem, level, rule = fitting(exact), Level(pou(count, degree)), AdaptSubdomains()
    for _ in range(steps):
        level = Level(solved(problem, level.field))
        level, _ = rule.refine(level, evidence=left(level.field, exact))
    own = solved(problem, level.field)
    uniform = solved(problem, pou(-(-level.parameters // (degree + 1)), degree))
    assert error(own, exact) < error(uniform, exact) / gain


def test_what_it_cannot_refine_is_refused():
    with pytest.raises(ValueError, match="no residual to look at"):
        AdaptSubdomains().refine(Level(pou(2, 1)))
    field = PartitionOfUnity.uniform([0.0], [1.0], 2, local=RandomFeatures(3))
    with pytest.raises(ValueError, match="no partition of unity with polynomials"):
        AdaptSubdomains().refine(Level(field), evidence=seen(lambda p: p))
    with pytest.raises(ValueError, match="2 of them with a field"):
        PartitionOfUnity(pou(3, 1).cover, pou(3, 1).locals, [0, 2])


def test_training_tells_the_rule_what_its_equation_leaves():
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Residual("law", lambda u, x: hx.derivative(u, 0, 2)(x) - x[0]),))
    bench = Bench(problem, choose(problem, key=0), 0)
    found = bench.evidence(Level(pou(3, 2)), AdaptSubdomains())
    assert found.order == 2
    np.testing.assert_allclose(found.values(LINE), -LINE, atol=1e-12)
