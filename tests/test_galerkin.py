"""The last step by stabilised Galerkin equations: nearer to the best of the space where layers are, or not taken."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.events import Decision
from hierax.fields import SplineGrid
from hierax.hierarchy.regrid import collocation
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.galerkin import galerkin
from hierax.objective.pointwise import SquaredResidual

NU = 0.02


def layer(x):
    """`a u' - NU u'' = 0`, 0 and 1 at the ends: a layer of width NU at the right one."""
    return jnp.expm1(x[0] / NU) / jnp.expm1(1.0 / NU)


@functools.cache
def problem(sign=1.0):
    def inside(u, x):
        return sign * (hx.derivative(u, "x")(x) - NU * hx.derivative(u, "xx")(x))

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
    assert solved is not None
    reached, best = errors(solved)
    # least squares of the residual come to a hundred times the best here
    assert reached < 3.0 * best


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
