"""Nonlinear Schwarz and quasi-Newton steps in layers: laws, what their parts do, and the study in its quick form."""

import numpy as np
import pytest

import hierax as hx
from hierax.objective import flat_parameters, make_samples
from hierax.objective.least_squares import weighted_residual
from hierax.objective.rows import RowObjective
from hierax.solvers import LayerBlocks, LayersInTurn, LayersTogether, NonlinearSchwarz, Schwarz
from hierax.solvers.layer_blocks import layer_masks
from hierax.solvers.nonlinear_schwarz import _colours
from hierax.testing import check_solver
from hierax.testing.solvers import CUBIC
from studies import named_study
from studies.nonlinear_preconditioning import _divided, steady_layer


@pytest.fixture(scope="module")
def layer():
    return _divided("layer", steady_layer(0.02), 20, 6, 1e4).objective


@pytest.mark.parametrize("solver", [NonlinearSchwarz(), LayerBlocks(LayersTogether(), sweeps=20)])
def test_the_laws_of_solvers(solver):
    check_solver(solver, key=0)


@pytest.mark.parametrize("layers", [0, 1])
def test_groups_of_one_colour_share_no_row_and_all_are_treated(layer, layers):
    theta = flat_parameters(layer.field)[0]
    rows, seen = layer.sparse_rows(theta), []
    for groups in _colours(layer, theta, layers):
        touched = np.stack([np.diff(rows[:, group].tocsr().indptr) > 0 for group in groups])
        assert touched.sum(axis=0).max() == 1
        seen += [number for group in groups for number in group]
    assert sorted(seen) == list(range(len(theta)))


def test_a_sweep_lowers_the_objective_by_what_it_says(layer):
    theta = flat_parameters(layer.field)[0]
    after, share = NonlinearSchwarz().swept(layer, theta)
    values = [0.5 * float(np.sum(weighted_residual(layer, t) ** 2)) for t in (theta, after)]
    assert share == pytest.approx(1.0 - values[1] / values[0], rel=1e-8)
    assert share > 0.5


def test_sweeps_before_schwarz_never_raise_the_objective_and_end(layer):
    solver, theta = NonlinearSchwarz(), flat_parameters(layer.field)[0]
    state, values = solver.init(layer, theta), [np.inf]
    for _ in range(30):
        step = solver.step(layer, theta, state)
        theta, state = step.theta, step.state
        assert step.value <= values[-1] * (1.0 + 1e-10)
        values.append(step.value)
        if step.done:
            break
    assert step.done
    assert not state.sweeping
    plain = Schwarz().step(layer, flat_parameters(layer.field)[0], Schwarz().init(layer, theta))
    assert values[1] < plain.value


def test_blocks_are_layers_and_their_steps_stay_in_them():
    field = hx.MLP([1, 5, 4, 1], key=0)
    masks = layer_masks(field)
    assert masks.sum(axis=1).tolist() == [10, 24, 5]
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    seen = []

    def local(theta, mask):
        seen.append((theta.copy(), mask))
        return -0.5 * np.where(mask, theta, 0.0)

    start = np.ones(39)
    for combination in (LayersTogether(), LayersInTurn()):
        found = combination.swept(start, 39.0, masks, local, lambda theta: float(theta @ theta))
        np.testing.assert_allclose(found, 0.5)
    together, in_turn = seen[:3], seen[3:]
    assert all(np.array_equal(theta, start) for theta, _ in together)
    assert [float(theta.sum()) for theta, _ in in_turn] == [39.0, 36.5, 24.5]


def test_layer_blocks_never_raise_the_objective():
    field, points = hx.MLP([1, 6, 6, 1], key=0), np.linspace(0.0, 1.0, 64)[:, None]
    targets = np.sin(5.0 * points[:, 0])
    objective = RowObjective(field, [make_samples(CUBIC, points, np.full(64, 1 / 64), None, targets)])
    theta, solver = flat_parameters(field)[0], LayerBlocks()
    state, values = solver.init(objective, theta), [objective.value(flat_parameters(field)[0])]
    for _ in range(8):
        step = solver.step(objective, theta, state)
        theta, state = step.theta, step.state
        values.append(step.value)
        assert step.value == pytest.approx(objective.value(theta), rel=1e-12)
    assert np.all(np.diff(values) <= 0.0)
    assert values[-1] < 1e-2 * values[0]


@pytest.mark.slow
def test_the_study_leaves_its_files_and_says_what_is_gained(tmp_path):
    found = named_study("nonlinear-preconditioning")(tmp_path, True)
    assert set(found["summary"]["gain"]) == {"sinh", "steady layer", "burgers", "poisson-2d, scales=2"}
    steps = {(row["problem"], row["arm"]): row["steps"] for row in found["rows"]}
    assert steps["sinh", "nonlinear Schwarz"] <= steps["sinh", "Schwarz"]
    assert {path.suffix for path in tmp_path.iterdir()} == {".txt", ".csv", ".png"}
