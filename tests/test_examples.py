"""The files of `examples/` run as they stand, and give the numbers they promise."""

import importlib.util
import json
import re
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

import hierax as hx
from hierax import cli
from hierax.records import read_columns
from hierax.testing import check_problem

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def loaded(name):
    """A file of the examples as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_shows_the_first_script():
    script = (EXAMPLES / "first_script.py").read_text()
    assert len(script.splitlines()) <= 20
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert script in blocks


def test_readme_shows_the_problem_file():
    heat = (EXAMPLES / "heat.py").read_text()
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert heat in blocks


def test_first_script_on_three_levels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = hx.train
    monkeypatch.setattr(hx, "train", lambda problem: train(problem, levels=3))
    solution = runpy.run_path(str(EXAMPLES / "first_script.py"))["solution"]
    assert solution.accuracy.relative_l2 < 0.25
    assert (tmp_path / "burgers.png").stat().st_size > 10_000


def test_heat_from_the_command_line_to_predictions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", f"{EXAMPLES / 'heat.py'}:problem", "--set", "conductivity=0.2", "--levels", "3"]
    assert cli.main([*words, "--json", "heat.json"]) == 0
    run = json.loads(Path("heat.json").read_text())["run"]
    Path("points.csv").write_text("t,x\n0.5,0.25\n1.0,0.5\n")
    assert cli.main(["predict", run, "points.csv", "--out", "values.csv", "--values", "u", "u_x"]) == 0
    found = read_columns(Path("values.csv"), ("t", "x", "u", "u_x"), points=())
    decay = np.exp(-0.2 * np.pi**2 * found["t"])
    np.testing.assert_allclose(found["u"], decay * np.sin(np.pi * found["x"]), atol=1e-5)
    np.testing.assert_allclose(found["u_x"], np.pi * decay * np.cos(np.pi * found["x"]), atol=1e-4)


def test_own_data_is_smoothed():
    # the noise is 0.05 in each of 2000 values
    assert loaded("own_data").main() < 0.015


def test_inverse_finds_rate_and_capacity():
    solution = loaded("inverse").main()
    assert solution.result is hx.RESULTS.successful
    assert solution.evaluate([[0.0]], "rate")[0] == pytest.approx(0.8, rel=0.1)
    assert solution.evaluate([[0.0]], "capacity")[0] == pytest.approx(3.0, rel=0.03)


def test_settings_of_a_rod_are_found_through_a_surrogate():
    example = loaded("invert_surrogate")
    found, deviation, surrogate = example.main()
    truth = np.array(list(example.TRUTH.values()))
    assert np.all(np.abs(found - truth) < 3.0 * deviation)
    assert np.all(deviation < [1.0, 0.01, 0.1])
    # what the surrogate adds is far below the noise
    assert surrogate.calibration.errors.max() < 1e-3


def test_fidelities_help_each_other():
    with_help, alone = loaded("fidelities").main()
    assert with_help < 1e-2
    assert alone > 50 * with_help


@pytest.mark.parametrize("dim", [2, 4])
def test_poisson_4d_is_a_sound_problem(dim):
    check_problem(loaded("poisson_4d").problem(dim), key=jax.random.key(0))


def test_a_flow_around_a_cylinder_is_a_sound_problem_and_its_drag_is_that_of_the_stress():
    flow = loaded("flow_around_cylinder")
    problem = flow.problem()
    check_problem(problem, key=jax.random.key(0))

    class Stokes:  # a pressure that grows along both coordinates pushes as its gradient times the area
        def __init__(self):
            self.problem = problem

        def evaluate(self, points, value):
            return np.asarray(points) @ [3.0, 5.0] if value == "p" else np.full(len(points), 0.7)

    drag, lift, drop = flow.coefficients(Stokes())
    share = np.pi * 0.05**2 / (0.5 * 0.2**2 * 0.1)
    assert drag == pytest.approx(-3.0 * share, rel=1e-9)
    assert lift == pytest.approx(-5.0 * share, rel=1e-9)
    assert drop == pytest.approx(-0.3, rel=1e-12)


def test_windows_and_grids_of_a_random_composite_know_much_of_it():
    """Half the grid leaves a fiftieth of the variance, and the mean lies between the bounds of Reuss and Voigt."""
    made = loaded("random_microstructure")
    found = hx.estimate(made.stiffness(), budget=6.0)
    coarse = found.rows[2]
    assert coarse.variance_of_difference < 0.02 * coarse.variance
    stiff = 1.0 / (1.0 - 0.3**2)
    assert stiff < found.low < found.high < 10.0 * stiff
