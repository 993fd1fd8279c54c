"""Distillation: a network with the jet of a trained field, constants that are taken over, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax._errors import InputError
from hierax.solvers import GaussNewton, Tolerances
from studies import distillation, studies

BOX = hx.Box([0.0], [1.0], names=("x",))


def bump() -> hx.Problem:
    """`-u'' = pi^2 sin(pi x)` with zero ends."""
    terms = (
        hx.Residual("inside", lambda u, x: hx.derivative(u, "xx")(x) + jnp.pi**2 * jnp.sin(jnp.pi * x[0])),
        hx.Residual("ends", lambda u, x, normal: u(x), on="boundary"),
    )
    return hx.Problem(BOX, terms, reference=lambda x: jnp.sin(jnp.pi * x[0]))


SOURCE = hx.train(bump(), key=0, levels=3, budget=60)


def test_the_network_has_values_and_derivatives_of_the_grid():
    network = hx.distil(SOURCE, hx.MLP([1, 8, 1], key=0), key=0)
    problem = SOURCE.problem
    x = np.linspace(0.0, 1.0, 101)[:, None]
    found = hx.train(problem, network, solver=GaussNewton(tolerances=Tolerances(1e-3, 1)), budget=60, levels=1)
    for name, exact in (("u", np.sin(np.pi * x)), ("u_x", np.pi * np.cos(np.pi * x))):
        own = found.evaluate(x, name)
        assert np.linalg.norm(own - exact[:, 0]) < 1e-3 * np.linalg.norm(exact)
    # the start is far below what the same network takes many steps for
    assert found.history[0].loss < 1e-2


def test_a_family_gives_its_first_field():
    few = GaussNewton(tolerances=Tolerances(1e-3, 2))
    found = hx.distil(SOURCE, hx.families.Perceptron(), solver=few, derivatives=0)
    assert isinstance(found, hx.MLP)
    assert found.widths == (1, 24, 24, 1)


def test_without_derivatives_only_the_values_are_matched():
    few = {"solver": GaussNewton(tolerances=Tolerances(1e-3, 6))}
    with_, without = (hx.distil(SOURCE, hx.MLP([1, 8, 1], key=0), derivatives=k, **few) for k in (2, 0))
    x = np.linspace(0.05, 0.95, 50)[:, None]

    def bend(field):
        return np.linalg.norm(second(field, x) + np.pi**2 * np.sin(np.pi * x[:, 0]))

    assert bend(with_) < bend(without)


def second(field, x: np.ndarray) -> np.ndarray:
    h = 1e-3
    values = [np.array([float(field(jnp.asarray(point + shift))) for point in x]) for shift in (-h, 0.0, h)]
    return (values[0] - 2 * values[1] + values[2]) / h**2


def test_constants_are_taken_over_and_several_unknowns_are_fitted_by_name():
    problem = hx.Problem(
        BOX,
        (
            hx.Residual("decay", lambda w, x: hx.derivative(w.u, "x")(x) + w.rate * w.u(x)),
            hx.Data("u", np.linspace(0, 1, 20)[:, None], np.exp(-2.0 * np.linspace(0, 1, 20))),
        ),
        unknowns={"u": hx.Function(), "rate": hx.Constant(1.0)},
    )
    source = hx.train(problem, key=0, levels=2, budget=60)
    start = hx.Unknowns(u=hx.MLP([1, 6, 1], key=0), rate=hx.Scalar(0.3))
    found = hx.distil(source, start)
    assert float(found.rate) == float(source.field.rate)
    assert float(found.u(jnp.array([0.5]))) == pytest.approx(np.exp(-1.0), rel=1e-2)
    with pytest.raises(InputError, match="named unknowns"):
        hx.distil(source, hx.MLP([1, 6, 1], key=0))
    with pytest.raises(InputError, match="one field for each unknown"):
        hx.distil(source, hx.Unknowns(v=hx.MLP([1, 6, 1], key=0)))
    with pytest.raises(InputError, match="one unknown"):
        hx.distil(SOURCE, start)


def test_a_guide_leads_to_the_solution_and_leaves():
    # a layer off the middle: the residual hardly knows its place
    size = 0.1

    def inside(u, x):
        return size**2 * hx.derivative(u, "xx")(x) - u(x) ** 3 + u(x)

    def ends(u, x, normal):
        return u(x) - jnp.tanh((x[0] - 0.3) / (jnp.sqrt(2.0) * size))

    exact = lambda x: jnp.tanh((x[0] - 0.3) / (jnp.sqrt(2.0) * size))  # noqa: E731
    problem = hx.Problem(
        BOX, (hx.Residual("inside", inside), hx.Residual("ends", ends, on="boundary")), reference=exact
    )
    grid = hx.SplineGrid.uniform([0.0], [1.0], 64, 4)
    data = hx.Problem(BOX, (hx.Residual("known", lambda u, x: u(x) - exact(x)),))
    source, network = hx.train(data, grid, budget=20), hx.MLP([1, 6, 1], key=0, domain=BOX.bounds())
    solver = hx.guided(source, network)
    found = hx.train(problem, network, solver=solver, cycle=hx.SingleLevel(), budget=20)
    assert found.accuracy.relative_l2 < 1e-3
    assert any(step.decrease < np.inf for step in found.history)  # the guide had left before the end
    # with the weight gone the value is that of the equation alone, to which the guide brings nothing
    assert found.history[-1].loss < 1e-8


def test_the_study_compares_equal_solvers():
    errors = {"grid": 1e-6, "distilled": 0.3, "direct, Adam": 0.4, "distilled, Adam": 0.2}
    errors |= {"direct, Gauss-Newton": 0.1, "distilled, Gauss-Newton": 0.05}
    errors |= {"guided, Gauss-Newton": 0.025}
    main = distillation.summary([{"problem": "p", "arm": arm, "relative_l2": value} for arm, value in errors.items()])
    assert main["gain"]["p"] == pytest.approx({"Adam": 2.0, "Gauss-Newton": 2.0, "guided": 4.0})
    assert main["gain_of_the_best"]["p"] == pytest.approx(4.0)
    assert studies()["distillation"] is distillation.run
