"""The last step by stabilised Galerkin equations: nearer to the best of the space where layers are, or not taken."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import hierax as hx
from hierax.events import Decision
from hierax.fields import SplineGrid
from hierax.fields.axis import collocation
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.galerkin import _solution, galerkin
from hierax.objective.pointwise import SquaredResidual
from hierax.planning.features import ProblemFeatures

NU = 0.02


@functools.cache
def problem(sign=1.0, nu=NU):
    """`u' - nu u'' = 0`, 0 and 1 at the ends: a layer of width `nu` at the right one."""

    def layer(x):
        return jnp.expm1(x[0] / nu) / jnp.expm1(1.0 / nu)

    def inside(u, x):
        return sign * (hx.derivative(u, "x")(x) - nu * hx.derivative(u, "xx")(x))

    def ends(u, x, normal):
        return u(x) - jnp.where(x[0] > 0.5, 1.0, 0.0)

    terms = (hx.Residual("inside", inside), hx.Residual("ends", ends, on="boundary"))
    return hx.Problem(hx.Box([0.0], [1.0], names=("x",)), terms, reference=layer)


def errors(field):
    """Mean square errors of a field, and of the nearest spline."""
    x = np.linspace(0.0, 1.0, 2001)
    matrix = collocation(field.axes[0], x)
    exact = np.expm1(x / NU) / np.expm1(1.0 / NU)
    best = np.linalg.lstsq(matrix, exact)[0]
    return [float(np.sqrt(np.mean((matrix @ c - exact) ** 2))) for c in (np.asarray(field.coefficients), best)]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_error_is_near_the_best_of_the_space(sign):
    field = SplineGrid.uniform([0.0], [1.0], 24, 4)
    inside, ends = SampledProblem(problem(sign)).sample(field, Sampling(3, 4, 4), 0)
    values = SquaredResidual("values", lambda u, place: jnp.ravel(u(place.x)))
    solved = galerkin(field, inside, [ends], values)
    at_once = galerkin(field, inside, [ends], values, linear=True)
    assert solved is not None
    assert at_once is not None
    # one step is the solution; the others remove rounding
    np.testing.assert_allclose(at_once.coefficients, solved.coefficients, atol=1e-6)
    reached, best = errors(solved)
    # least squares of the residual come to a hundred times the best here
    assert reached < 3.0 * best


def test_convection_is_seen_against_diffusion():
    box = hx.Box([0.0, 0.0], [1.0, 2.0], names=("t", "x"))

    def seen(inside, domain=box):
        return ProblemFeatures.of(hx.Problem(domain, (hx.Residual("inside", inside),))).convection

    # along the oblique direction (0.7, 1.3) in units of the box
    expected = (0.7 + 1.3 * 3.0 / 2.0) / (0.01 * (1.3 / 2.0) ** 2)
    moving = seen(
        lambda u, x: hx.derivative(u, "t")(x) + 3 * hx.derivative(u, "x")(x) - 0.01 * hx.derivative(u, "xx")(x)
    )
    assert moving == pytest.approx(expected)
    assert seen(lambda u, x: hx.derivative(u, "tt")(x) - 4 * hx.derivative(u, "xx")(x)) == 0.0
    # of third order this is another question
    assert seen(lambda u, x: hx.derivative(u, "t")(x) + hx.derivative(u, "xxx")(x)) == 0.0


def test_a_factorisation_without_pivots_is_checked():
    swap, ones = sp.csr_array(np.array([[0.0, 1.0], [1.0, 0.0]])), np.array([1.0, 2.0])
    np.testing.assert_allclose(_solution(swap, ones), [-2.0, -1.0])
    assert not np.isfinite(_solution(sp.csr_array(np.ones((2, 2))), ones)).any()


def test_training_takes_the_step_where_a_steady_linear_equation_has_a_layer():
    solution = hx.train(problem(nu=0.01), levels=3, budget=600.0)
    assert solution.levels[-1].error is not None
    assert solution.accuracy.relative_l2 is not None
    assert solution.accuracy.relative_l2 < 0.2 * solution.levels[-1].error


@pytest.mark.slow
def test_training_takes_the_step_where_it_helps():
    said = []
    solution = hx.train(
        hx.problems.burgers(viscosity=0.05),
        levels=3,
        budget=600.0,
        subscribers=[lambda event: said.append(event.sentence) if isinstance(event, Decision) else None],
    )
    assert any(text.startswith("Last step") for text in said)
    assert solution.accuracy.relative_l2 is not None
    assert solution.levels[-1].error is not None
    assert solution.accuracy.relative_l2 < 0.5 * solution.levels[-1].error
