"""Networks of waves and adaptive bases: values, trained parts, initial laws."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import hierax as hx
from hierax.fields import Unknowns, linear_parameters, parameter_count, partition, place

DOMAIN = ([0.0, 0.0], [2.0, 4.0])
POINTS = jnp.asarray(np.random.default_rng(0).uniform([0.0, 0.0], [2.0, 4.0], (30, 2)))

NETWORKS = {
    "fourier": lambda out=1, domain=None: hx.FourierNetwork([2, 6, out], modes=4, key=0, domain=domain),
    "siren": lambda out=1, domain=None: hx.siren([2, 5, 5, out], key=0, domain=domain, frequency=5.0),
    "adaptive basis": lambda out=1, domain=None: hx.AdaptiveBasis([2, 5, 6, out], key=0, domain=domain),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_outputs_domains_and_widths(name):
    make = NETWORKS[name]
    assert jax.eval_shape(make(), POINTS[0]).shape == ()
    assert jax.eval_shape(make(out=3), POINTS[0]).shape == (3,)
    assert (make(out=3).widths[0], make(out=3).widths[-1]) == (2, 3)
    placed, given = place(make(), *DOMAIN), make(domain=DOMAIN)
    assert bool(eqx.tree_equal(placed, given))
    assert bool(eqx.tree_equal(place(placed, [0.0, 0.0], [1.0, 1.0]), placed))
    assert not bool(eqx.tree_equal(make(), given))


@pytest.mark.parametrize("name", NETWORKS)
def test_linear_parameters_enter_linearly_and_are_all_that_do(name):
    field = NETWORKS[name](out=2, domain=DOMAIN)
    linear, _ = eqx.partition(field, linear_parameters(field))
    flat, unravel = ravel_pytree(linear)
    assert 0 < flat.size < parameter_count(field)
    values = eqx.filter_jit(lambda c: jax.vmap(eqx.combine(unravel(c), field))(POINTS))
    u, v = np.random.default_rng(1).normal(size=(2, flat.size))
    mixed = values(0.3 * u + 0.7 * v)
    np.testing.assert_allclose(mixed, 0.3 * values(u) + 0.7 * values(v), rtol=0, atol=1e-12)
    # one step in everything else bends
    params, rest = eqx.partition(partition(field)[0], jax.tree.map(lambda flag: not flag, linear_parameters(field)))
    other, build = ravel_pytree(params)
    bent = eqx.filter_jit(lambda c: jax.vmap(eqx.combine(build(c), rest, field))(POINTS))
    middle = 0.5 * (bent(other) + bent(2 * other))
    assert np.abs(bent(1.5 * other) - middle).max() > 1e-4


def test_linear_parameters_of_other_fields():
    grid = hx.SplineGrid.uniform([0, 0], [1, 1], 3, 2)
    network = hx.MLP([2, 3, 1], key=0)
    kan = hx.KAN([2, 3, 1], intervals=3, key=0)

    def count(field):
        return sum(int(leaf.size) for leaf in jax.tree.leaves(eqx.filter(field, linear_parameters(field))))

    assert [count(f) for f in (grid, network, kan, hx.Scalar(1.0), jnp.sin)] == [25, 4, 18, 1, 0]
    assert count(Unknowns(u=grid, v=network)) == 29


def test_modes_are_not_trained():
    field = hx.FourierNetwork([2, 6, 1], modes=4, scale=3.0, key=0)
    assert parameter_count(field) == (8 * 6 + 6) + 7
    assert partition(field)[0].features.frequencies is None
    waves = field.features(jnp.array([0.2, -0.4]))
    phase = np.pi * np.asarray(field.features.frequencies) @ [0.2, -0.4]
    np.testing.assert_allclose(waves, np.stack([np.cos(phase), np.sin(phase)], axis=1).ravel(), atol=1e-14)


def test_sines_keep_the_distribution_of_values_from_layer_to_layer():
    # the published law: values before each sine (after the first) are close to normal with variance one
    field = hx.siren([2, 256, 256, 256, 1], key=0)
    z = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (400, 2))).T
    spreads = []
    for layer in field.layers[:-1]:
        z = layer.weight @ z + layer.bias[:, None]
        spreads.append(float(jnp.std(z - layer.bias[:, None])))
        z = jnp.sin(z)
    assert spreads[0] > 5.0
    np.testing.assert_allclose(spreads[1:], 1.0, atol=0.1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: hx.FourierNetwork([2, 4, 1], modes=0, key=0), "at least one mode"),
        (lambda: hx.AdaptiveBasis([2, 1], key=0), "basis functions"),
    ],
)
def test_bad_networks_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
