"""What is refused before training, each with the term, and with the user's line where there is one."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax._errors import InputError
from hierax.objective.traced import traced
from hierax.planning.examine import examine

SQUARE = hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y"))


def laplace(function, on=None, unknowns=None):
    term = hx.Residual("suspect", function, on)
    other = hx.Residual("laplace", lambda w, x: hx.laplacian(w.v if unknowns else w)(x))
    return hx.Problem(SQUARE, (other, term), unknowns=unknowns)


OUT = {
    "x[2]": (lambda u, x: u(x) - x[2], 2),
    "x[..., 2]": (lambda u, x: u(x) - x[..., 2], 2),
    "x[-3]": (lambda u, x: u(x) - x[-3], -3),
    "several": (lambda u, x: u(x) - jnp.sum(x[jnp.array([0, 2])]), 2),
    "take": (lambda u, x: u(x) - jnp.take(x, 2), 2),
    "inside a derivative": (lambda u, x: u(x) - jax.grad(lambda z: z[2] ** 2)(x)[0], 2),
    "gradient": (lambda u, x: hx.gradient(u)(x)[2], 2),
    "in a branch": (lambda u, x: jax.lax.cond(x[0] > 0.5, lambda: u(x), lambda: x[2]), 2),
    "mapped": (lambda u, x: u(x) + jnp.sum(jax.vmap(lambda z: z[2])(x[None])), 2),
}


@pytest.mark.parametrize("name", OUT)
def test_an_index_out_of_range_is_refused_with_its_line(name):
    function, index = OUT[name]
    with pytest.raises(InputError) as caught:
        hx.train(laplace(function))
    assert f"index {index} of something that has 2 entries" in caught.value.what
    assert "'suspect'" in caught.value.where
    line = inspect.getsourcelines(function)[1]
    assert f"{__file__}, line {line}" in caught.value.where
    assert "from 0 to 1" in caught.value.remedy


def test_components_and_normals_are_looked_at_as_well():
    vector = {"v": hx.Function(2)}
    with pytest.raises(InputError, match="index 2"):
        examine(laplace(lambda w, x: w.v(x)[2], unknowns=vector))
    with pytest.raises(InputError, match="index -3"):
        examine(laplace(lambda w, x, normal: w.v(x) @ normal + normal[-3], "boundary", vector))
    energy = hx.Energy("store", lambda u, x: u(x) ** 2 + x[3])
    with pytest.raises(InputError, match="'store'"):
        examine(hx.Problem(SQUARE, (energy,)))


@pytest.mark.parametrize(
    "function",
    [
        lambda u, x: u(x) - x[-2] + x[1] + x[..., -1],
        lambda u, x: u(x) + jnp.sum(x[0:7]),
        lambda u, x: hx.gradient(u)(x)[-1] - x[jnp.array([1, 0])][1],
        lambda u, x: u(x) - jnp.array([1.0, 2.0, 3.0])[(3 * x[0]).astype(int)],
        lambda u, x: u(x) - jnp.interp(x[0], np.linspace(0, 1, 5), np.arange(5.0)),
        lambda u, x: jnp.linalg.det(hx.gradient(hx.gradient(u))(x)) - jnp.roll(x, 1)[0],
        lambda u, x: jax.lax.fori_loop(0, 3, lambda k, s: s + u(x) * k, 0.0),
    ],
)
def test_what_is_in_range_passes(function):
    examine(laplace(function))


INDEPENDENT = [
    lambda u, x: x[0] - 1.0,
    lambda u, x: 0.0 * u(x) + x[1],
    lambda u, x: jax.lax.stop_gradient(u(x)) - 1.0,
    lambda u, x: jnp.sign(u(x)) - 1.0,
    lambda u, x: jnp.where(u(x) > 0.5, x[0], 1.0),
    lambda u, x: np.zeros(2) @ hx.gradient(u)(x),
    lambda u, x: jnp.asarray(u is None, float),
]


@pytest.mark.parametrize("function", INDEPENDENT)
@pytest.mark.parametrize("on", [None, "boundary"])
def test_a_term_that_depends_on_no_unknown_is_refused(function, on):
    with pytest.raises(InputError) as caught:
        hx.train(laplace(function, on))
    assert "'suspect' depends on no unknown" in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize(
    "function",
    [
        lambda u, x: jnp.maximum(u(x), 0.0),
        lambda u, x: jnp.where(x[0] > 0.999999, u(x), 0.0),
        lambda u, x: jnp.exp(-8e5 / u(x)),
        lambda u, x: u(x) * jnp.sign(u(x)),
        lambda u, x: hx.derivative(u, "xx")(x),
    ],
)
def test_dependence_is_not_judged_by_trial(function):
    """The derivative may vanish nearly everywhere, or underflow: it is there."""
    problem = laplace(function)
    assert traced(problem, problem.terms[1]).depends


def test_a_constant_alone_is_an_unknown():
    unknowns = {"v": hx.Function(), "nu": hx.Constant(0.1)}
    examine(laplace(lambda w, x: w.nu - 0.1, unknowns=unknowns))


def test_an_unknown_that_no_term_uses_is_refused_by_name():
    unknowns = {"v": hx.Function(), "flow": hx.Function(2)}
    with pytest.raises(InputError, match="no term depends on the unknown 'flow'"):
        examine(laplace(lambda w, x: w.v(x) - 0.0 * w.flow(x)[1], unknowns=unknowns))
    unknowns["flow"] = hx.Function(2, prior=(0.0, 1.0))
    examine(laplace(lambda w, x: w.v(x), unknowns=unknowns))
