"""Every problem of the catalogue, what a Problem refuses, and that `check_problem` finds what is wrong."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierax import problems as hp
from hierax._errors import InputError
from hierax.problems.conditions import dirichlet, robin
from hierax.testing.problems import check_problem

KEY = jax.random.key(11)
BOX = hp.Box([0.0, 0.0], [1.0, 2.0], names=("t", "x"))
INSIDE = np.array([[0.5, 0.5], [0.2, 1.9]])

OTHER_SETTINGS = {
    "burgers": {"viscosity": 0.01 / np.pi},
    "burgers-merging": {"viscosity": 0.05},
    "elasticity": {"lame": 20.0, "shear": 2.0},
    "anisotropic-diffusion": {"contrast": 10.0},
    "rotated-wind": {"diffusion": 0.1, "angle": 1.0},
    "regression-1d": {"points": 50, "noise": 0.1, "seed": 3},
    "regression-2d": {"points": 50, "noise": 0.1},
    "rotated-regression": {"points": 300, "seed": 5},
    "inverse-diffusion": {"points": 20, "noise": 0.0},
    "inverse-constant": {"diffusion": 0.1, "noise": 0.01},
    "inverse-diffusion-2d": {"points": 50, "noise": 0.0},
    "poisson-2d": {"scales": 2},
    "oscillator": {"frequency": 320.0, "damping": 0.0},
    "wave-2d": {"width": 0.1},
    "helmholtz-l-shape": {"frequency": 4, "cells": 8},
    "four-fidelities": {"coarse": 60, "medium": 40, "fine": 30, "finest": 20, "noise": 0.1},
}


def residual(u, x):
    return u(x)


def boundary(u, x, normal):
    return u(x)


def simple(*terms, domain=BOX, **settings):
    return hp.Problem(domain, terms or (hp.Residual("inside", residual),), **settings)


# the catalogue


def test_the_catalogue_is_complete_and_exported():
    names = set(hp.catalogue())
    assert names >= {
        "rotated-regression",
        "poisson-jump",
        "burgers",
        "burgers-merging",
        "allen-cahn",
        "regression-1d",
        "regression-2d",
        "poisson-1d",
        "poisson-2d",
        "elasticity",
    }
    for name, make in hp.catalogue().items():
        assert getattr(hp, name.replace("-", "_")) is make
        assert hp.named_problem(name) is make


@pytest.mark.parametrize("name", sorted(hp.catalogue()))
def test_problems_of_the_catalogue_keep_the_laws(name):
    make = hp.named_problem(name)
    assert all(p.default is not inspect.Parameter.empty for p in inspect.signature(make).parameters.values())
    problem = make()
    assert problem.name == name
    assert problem.reference is not None
    check_problem(problem, key=KEY, points=32)


@pytest.mark.parametrize("name", sorted(OTHER_SETTINGS))
def test_settings_of_the_catalogue(name):
    problem = hp.named_problem(name)(**OTHER_SETTINGS[name])
    for term in problem.terms:
        if isinstance(term, hp.Data):
            known = problem.reference.evaluate(term.points, "u")
            misfit = np.sqrt(np.mean((known - term.values) ** 2))
            assert misfit <= 1e-12 if term.noise is None else 0.4 * term.noise <= misfit <= 2 * term.noise


def test_data_depend_on_the_seed_alone():
    a, b, c = (hp.regression_1d(points=20, noise=0.1, seed=s).terms[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(a.points, b.points)
    np.testing.assert_array_equal(a.values, b.values)
    assert not np.array_equal(a.points, c.points)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("burgers", {"viscosity": -1.0}),
        ("burgers", {"viscosity": float("nan")}),
        ("allen-cahn", {"start": "rough"}),
        ("allen-cahn", {"diffusion": 0.0}),
        ("elasticity", {"shear": 0.0}),
        ("poisson-2d", {"scales": 0}),
        ("regression-1d", {"points": 0}),
        ("regression-2d", {"noise": -0.1}),
        ("anisotropic-diffusion", {"contrast": 0.0}),
        ("rotated-wind", {"diffusion": 0.0}),
        ("rotated-wind", {"angle": 0.0}),
        ("inverse-constant", {"diffusion": -0.1}),
        ("four-fidelities", {"finest": 0}),
        ("oscillator", {"damping": 60.0}),
        ("wave-2d", {"width": 0.01}),
        ("helmholtz", {"octave": 6}),
        ("helmholtz-l-shape", {"cells": 7}),
    ],
)
def test_settings_out_of_range_are_refused(name, settings):
    refused(lambda: hp.named_problem(name)(**settings))


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError) as caught:
        hp.named_problem("burgerz")
    assert "burgers" in caught.value.remedy


# what a problem is


def test_attributes():
    problem = hp.Problem(
        BOX,
        (hp.Residual("a", boundary, on="boundary"), hp.Residual("b", boundary, on=hp.Face("t", "lower"))),
        unknowns={"v": hp.Function(2), "nu": hp.Constant(0.1)},
        reference={"v": lambda x: x, "nu": 0.2},
    )
    assert list(problem.functions) == ["v"]
    assert list(problem.constants) == ["nu"]
    assert (problem.named, problem.time_axis, problem.name) == (True, 0, "problem")
    assert len(problem.places(problem.terms[0])) == 4
    assert problem.places(problem.terms[1]) == (hp.Face("t", "lower"),)
    assert problem.reference.evaluate(INSIDE, "v").shape == (2, 2)
    assert "nu" in repr(problem)


def test_a_bare_callable_is_an_exact_reference():
    problem = simple(reference=lambda x: x[0])
    assert isinstance(problem.reference, hp.Reference)
    assert problem.reference.error_bound == 0.0
    assert not problem.named
    np.testing.assert_array_equal(problem.reference.evaluate(INSIDE, "u"), INSIDE[:, 0])


def test_periodic_coordinates_have_no_faces():
    ring = hp.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"), periodic="x")
    assert {f.name for f in ring.faces()} == {"t"}
    caught = refused(lambda: simple(hp.Residual("w", boundary, on=hp.Face("x", "lower")), domain=ring))
    assert "periodic" in caught.what
    circle = hp.Box([0.0], [1.0], periodic=("x",))
    caught = refused(lambda: simple(hp.Residual("w", boundary, on="boundary"), domain=circle))
    assert "no boundary" in caught.what


def test_point_clouds():
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    disc = np.concatenate([0.3 * circle, 0.8 * circle])
    rim = hp.Boundary(circle, circle, np.full(40, 2 * np.pi / 40))
    cloud = hp.PointCloud(disc, np.full(80, np.pi / 80), {"rim": rim})
    problem = hp.Problem(
        cloud,
        (
            hp.Residual("inside", lambda u, x: hp.laplacian(u)(x) - 4.0),
            hp.Residual("rim", lambda u, x, n: hp.gradient(u)(x) @ n - 2.0, on="rim"),
            hp.Residual("all", lambda u, x: u(x) - 1.0, on="boundary"),
        ),
        reference=lambda x: jnp.sum(x**2),
    )
    assert problem.places(problem.terms[2]) == ("rim",)
    assert cloud.measure == pytest.approx(np.pi)
    check_problem(problem, key=KEY, points=16)
    caught = refused(lambda: simple(hp.Residual("a", boundary, on="hole"), domain=cloud))
    assert "rim" in caught.remedy


# what is refused


def refused(make):
    with pytest.raises(InputError) as caught:
        make()
    error = caught.value
    assert error.what
    assert error.where
    assert error.remedy
    return error


NAN_AT_3 = np.where(np.arange(6).reshape(3, 2) == 3, np.nan, 0.5)


@pytest.mark.parametrize(
    ("make", "what", "where"),
    [
        (lambda: hp.Data("u", NAN_AT_3, np.zeros(3)), "nan at index (1, 1)", "points"),
        (lambda: hp.Data("u", INSIDE, [1.0, np.inf]), "inf at index (1,)", "values"),
        (lambda: hp.Data("u", INSIDE, np.zeros(3)), "2 points, but 3 values", "Data('u'"),
        (lambda: hp.Data("u", INSIDE, 1.0), "2 points, but 1 values", "Data('u'"),
        (lambda: hp.Data("u", np.zeros((0, 2)), []), "shape (0, 2)", "points"),
        (lambda: hp.Data("u", INSIDE, ["a", "b"]), "no array of real numbers", "values"),
        (lambda: hp.Data("u", [[0.0, 1.0], [1.0]], [0.0, 1.0]), "no array of real numbers", "points"),
        (lambda: hp.Data("u", INSIDE, [1.0, 2.0], noise=-1.0), "noise is -1.0", "noise"),
        (lambda: simple(hp.Data("u", [[0.5, 0.5], [0.5, 3.0]], [0.0, 0.0])), "point 1, [0.5, 3.0]", "points"),
        (lambda: simple(hp.Data("u", np.zeros((2, 3)), [0.0, 0.0])), "3 coordinates, the domain 2", "points"),
        (lambda: simple(hp.Data("u", INSIDE, np.zeros((2, 2)))), "values have shape (2, 2)", "values"),
        (
            lambda: simple(hp.Data("w", INSIDE, [0, 0]), unknowns={"u": hp.Function(), "v": hp.Function()}),
            "measures none",
            "Data('w'",
        ),
        (lambda: hp.Face("x", "left"), "side 'left'", "Face('x'"),
        (lambda: simple(hp.Residual("w", boundary, on=hp.Face("y", "lower"))), "coordinate 'y'", "term 'w'"),
        (lambda: simple(hp.Residual("w", boundary, on="hole")), "boundary 'hole'", "term 'w'"),
        (lambda: simple(hp.Residual("a", residual), hp.Residual("a", residual)), "two terms", "terms"),
        (lambda: simple(residual), "no term", "terms"),
        (lambda: hp.Problem(BOX, ()), "no terms", "terms"),
        (lambda: hp.Residual("a", 3.0), "float is no function", "Residual('a'"),
        (lambda: hp.Energy("a", None), "NoneType is no function", "Energy('a'"),
        (lambda: simple(constraint=2.0), "float is no function", "constraint"),
        (lambda: simple(reference={"v": lambda x: x}), "'v', which is no unknown", "reference"),
        (lambda: simple(unknowns={"a b": hp.Function()}), "'a b'", "unknowns"),
        (lambda: simple(unknowns={"nu": hp.Constant(1.0)}), "no unknown function", "unknowns"),
        (lambda: hp.Function(0), "0 components", "Function"),
        (lambda: hp.Function(bounds=(1.0, 0.0)), "bounds", "Function(bounds"),
        (lambda: hp.Constant(np.nan), "initial is nan", "Constant"),
        (lambda: hp.Constant(0.0, bounds=(0.0, None)), "not strictly inside", "Constant"),
        (lambda: hp.Constant(1.0, prior=(0.0, 0.0)), "prior", "Constant(prior"),
        (lambda: hp.Box([0.0, 0.0], [1.0]), "shape (2,)", "Box"),
        (lambda: hp.Box([0.0, 1.0], [1.0, 1.0]), "coordinate 1", "Box"),
        (lambda: hp.Box([0.0], [np.inf]), "coordinate 0", "Box"),
        (lambda: hp.Box([0.0], ["far"]), "no array of real numbers", "Box(upper)"),
        (lambda: hp.Box([0.0, 0.0], [1.0, 1.0], names=("x", "x")), "names ('x', 'x')", "names"),
        (lambda: hp.Box([0.0], [1.0], periodic=("y",)), "'y'", "periodic"),
        (lambda: hp.Box([0.0], [1.0], units={"y": "m"}), "'y'", "units"),
        (lambda: jax.make_jaxpr(lambda k: len(hp.Box([0.0], [k]).names))(1.0), "is traced", "Box(upper)"),
        (lambda: dirichlet("hole", "zero"), "'zero' is no number", "value of a condition on hole"),
        (lambda: dirichlet("hole", exact=True), "not built in by the distance", "exact of a condition on hole"),
        (lambda: robin("hole", 1.0, ambient=[[1.0], [1.0, 2.0]]), "is no number", "ambient of a condition"),
        (lambda: hp.PointCloud(INSIDE, [1.0]), "weights have shape (1,)", "weights"),
        (lambda: hp.PointCloud(INSIDE, [1.0, -1.0]), "negative", "weights"),
        (lambda: hp.Boundary(INSIDE, INSIDE[:1]), "normals have shape (1, 2)", "Boundary"),
        (lambda: hp.Boundary(INSIDE, [[1.0, 0.0], [0.0, 2.0]]), "normal 1 has length 2", "normals"),
        (
            lambda: hp.PointCloud(INSIDE, boundaries={"b": hp.Boundary([[1.0]], [[1.0]])}),
            "boundary 'b' have 1 coordinates",
            "boundaries",
        ),
    ],
)
def test_bad_input_is_refused_with_what_and_where(make, what, where):
    error = refused(make)
    assert what in error.what
    assert where in error.where


# the checker


def checked(problem):
    with pytest.raises(AssertionError) as caught:
        check_problem(problem, key=KEY, points=8)
    return str(caught.value)


def test_the_checker_finds_a_wrong_reference():
    text = checked(simple(hp.Residual("inside", lambda u, x: u(x) - x[0]), reference=lambda x: x[1]))
    assert "reference does not satisfy term 'inside'" in text


def test_the_checker_finds_wrong_shapes():
    assert "returns shape (1, 2)" in checked(simple(hp.Residual("m", lambda u, x: u(x) * x[None])))
    assert "expected ()" in checked(simple(hp.Energy("e", lambda u, x: u(x) * x)))
    assert "has shape (8, 1)" in checked(simple(reference=lambda x: x[:1]))


def test_a_reference_of_the_wrong_shape_is_refused_before_training():
    with pytest.raises(InputError, match=r"the reference of 'u' has shape \(2,\) at a point"):
        simple(reference=lambda x: x)


def test_a_reference_may_name_coordinates():
    with pytest.raises(InputError, match="cannot be read as coordinates"):
        simple(reference=lambda x: hp.derivative(lambda z: z[0] ** 2, "q")(x))
    problem = simple(reference=lambda x: hp.derivative(lambda z: z[0] ** 2 * z[1], "x")(x))
    points = np.array([[0.5, 0.25]])
    assert problem.reference.evaluate(points, "u") == pytest.approx(0.25)


def test_the_checker_finds_terms_without_the_unknown():
    assert "does not depend" in checked(simple(hp.Residual("r", lambda u, x: x[0])))


def test_the_checker_finds_numbers_that_are_not_finite():
    assert "not finite at point" in checked(simple(hp.Residual("r", lambda u, x: u(x) / 0.0)))
    root = checked(simple(hp.Residual("r", lambda u, x: jnp.sqrt(jnp.abs(u(x) - u(x))))))
    assert "derivative" in root


def test_the_checker_names_the_term_that_raises():
    text = checked(simple(hp.Residual("r", lambda u, x: hp.derivative(u, "q")(x))))
    assert text.startswith("term 'r' could not be evaluated")
    assert "'q'" in text


def test_the_checker_compares_data_with_the_reference():
    data = hp.Data("u", INSIDE, [0.0, 1.0])
    assert "state no noise" in checked(simple(data, reference=lambda x: x[0]))
