"""`Solution`: its table, its JSON, values by name, and the figure."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import EXACT, solution_of

import hierax as hx
from hierax._errors import InputError
from hierax.events import Guard
from hierax.results.record import plain

KEYS = [
    "problem",
    "field",
    "solver",
    "cycle",
    "seed",
    "precision",
    "device",
    "options",
    "plan",
    "parameters",
    "linear_in_parameters",
    "levels",
    "loss",
    "relative_l2",
    "max_error",
    "reference_floor",
    "validation_error",
    "left_out_error",
    "box_error",
    "candidates",
    "result",
    "stopped_by",
    "outliers",
    "remarks",
    "unknowns",
    "guards",
    "fresh_residual_ratio",
    "seconds_total",
    "seconds_compile",
    "seconds_import",
    "peak_memory_mib",
    "work_units",
    "run",
]


@pytest.fixture(scope="module")
def solution():
    return solution_of()


def test_the_json_has_exactly_the_keys_that_were_agreed(solution):
    record = solution.to_json(run="runs/x-1", seconds_import=1.5)
    assert list(record) == KEYS
    assert list(record["levels"][0]) == [
        "level",
        "parameters",
        "points",
        "steps",
        "loss",
        "error",
        "seconds",
        "seconds_compile",
    ]
    assert list(record["guards"]["boundary"]) == ["value", "limit", "passed", "sentence"]
    assert (record["run"], record["seconds_import"], record["precision"]) == ("runs/x-1", 1.5, "float64")
    assert record["result"] == "successful"


def test_validation_errors_take_the_place_of_errors(solution):
    levels = [dataclasses.replace(level, error=None, validation_error=0.1) for level in solution.levels]
    validated = dataclasses.replace(solution, levels=levels)
    record = validated.to_json()["levels"][0]
    assert "error" not in record
    assert record["validation_error"] == 0.1
    assert "validation" in str(validated)


def test_numbers_that_json_does_not_know_become_null(solution):
    odd = dataclasses.replace(
        solution,
        loss=float("nan"),
        options={"rates": np.array([1.0, np.inf]), "count": np.int64(3), "flag": np.bool_(True)},
        guards={"boundary": Guard(float("inf"), 1.0, False, "missed")},
    )
    record = odd.to_json()
    json.dumps(record, allow_nan=False)
    assert record["loss"] is None
    assert record["guards"]["boundary"]["value"] is None
    assert record["options"] == {"rates": [1.0, None], "count": 3, "flag": True}
    assert plain(jnp.array(2.5)) == 2.5


def test_the_text_is_a_table_then_guards_then_the_result(solution):
    lines = str(solution).splitlines()
    assert repr(solution) == str(solution)
    assert lines[2].split() == ["level", "parameters", "points", "steps", "loss", "error", "seconds"]
    assert len([line for line in lines if line.split()[:1] in (["0"], ["1"])]) == 2
    order = [
        next(k for k, line in enumerate(lines) if start in line) for start in ("level", "pass  boundary", "successful")
    ]
    assert order == sorted(order)
    assert "linear in its parameters" in lines[0]


def test_values_and_derivatives_are_those_of_the_field(solution):
    points = np.random.default_rng(0).uniform(size=(70, 2))
    for value in ("u", "u_t", "u_xx", "u_tx"):
        np.testing.assert_allclose(solution.evaluate(points, value), EXACT[value](*points.T), atol=1e-10)
    np.testing.assert_array_equal(solution.evaluate(points), solution.evaluate(points, "u"))


def test_components_are_named_by_brackets():
    problem = hx.problems.elasticity()
    grid = hx.SplineGrid.uniform([0, 0], [1, 1], 2, 3, out=2)
    weights = jnp.arange(grid.coefficients.size, dtype=float).reshape(grid.coefficients.shape)
    field = hx.Unknowns(u=hx.SplineGrid(grid.axes, weights))
    solution = dataclasses.replace(solution_of(), problem=problem, field=field)
    points = np.array([[0.2, 0.7], [0.5, 0.5]])
    whole = solution.evaluate(points, "u_y")
    assert whole.shape == (2, 2)
    np.testing.assert_allclose(solution.evaluate(points, "u[1]_y"), whole[:, 1])
    np.testing.assert_allclose(solution.evaluate(points, "u[0]"), jax.jit(jax.vmap(field.u))(jnp.asarray(points))[:, 0])
    with pytest.raises(InputError, match="components 0 to 1"):
        solution.evaluate(points, "u[2]")


def test_constants_and_bounded_functions_are_physical():
    problem = hx.problems.inverse_constant(points=5)
    field = hx.Unknowns(u=hx.SplineGrid.uniform([0, 0], [1, 1], 2, 3), nu=hx.Scalar(np.log(0.3)))
    solution = dataclasses.replace(solution_of(), problem=problem, field=field)
    np.testing.assert_allclose(solution.evaluate([[0.5, 0.5]], "nu"), [0.3])
    with pytest.raises(InputError, match="is a number"):
        solution.evaluate([[0.5, 0.5]], "nu_x")


@pytest.mark.parametrize(
    ("points", "value", "says"),
    [
        ([[0.5, 0.5]], "v", "none of the unknowns"),
        ([[0.5, 0.5]], "u_q", "cannot be read"),
        ([[0.5, 0.5]], "u[0]", "is scalar"),
        ([[0.5]], "u", "coordinates"),
        ([[0.5, np.nan]], "u", "nan"),
        ([[0.5, 0.5], [0.5, 1.5]], "u", "row 2: t = 0.5, x = 1.5"),
    ],
)
def test_bad_requests_are_refused(solution, points, value, says):
    with pytest.raises(InputError, match=says):
        solution.evaluate(points, value)


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_the_figure_is_written(solution, tmp_path, suffix):
    solution.plot(tmp_path / f"figure.{suffix}")
    assert (tmp_path / f"figure.{suffix}").stat().st_size > 5000


def test_a_figure_of_an_unknown_format_is_refused(solution, tmp_path):
    with pytest.raises(InputError, match="no format"):
        solution.plot(tmp_path / "figure.xyz")


@pytest.mark.parametrize("dim", [1, 3])
def test_figures_of_other_dimensions(dim, tmp_path):
    problem = hx.Problem(
        hx.Box([0.0] * dim, [1.0] * dim), (hx.Data("u", np.full((3, dim), 0.5), np.ones(3)),), name="data"
    )
    field = hx.SplineGrid.uniform([0.0] * dim, [1.0] * dim, 1, 1)
    solution = dataclasses.replace(solution_of(), problem=problem, field=field, levels=[], history=[])
    solution.plot(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").exists()


def test_a_cloud_is_drawn_as_points(tmp_path):
    points = np.random.default_rng(0).uniform(size=(30, 2))
    problem = hx.Problem(hx.PointCloud(points), (hx.Residual("r", lambda u, x: u(x)),))
    field = hx.SplineGrid.uniform([0, 0], [1, 1], 1, 1)
    dataclasses.replace(solution_of(), problem=problem, field=field).plot(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").exists()
