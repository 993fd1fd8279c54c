"""Numbers of a problem as further coordinates."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.cli import main
from hierax.problems.parametric import Parameter, over

FILE = """
import jax.numpy as jnp
import hierax as hx


def problem(rate=1.0, size=1.0, length=1.0):
    def decay(w, x, normal=None):
        return hx.derivative(w.u, "x")(x) + rate * w.u(x)

    def start(w, x, normal):
        return w.u(x) - size * normal[0] * -1.0

    return hx.Problem(
        hx.Box([0.0], [length], names=("x",)),
        (hx.Residual("decay", decay), hx.Residual("start", start, on=hx.Face("x", "lower"))),
        unknowns={"u": hx.Function()},
        reference={"u": lambda x: size * jnp.exp(-rate * x[0])},
    )
"""


@pytest.fixture
def make():
    found = {}
    exec(FILE, found)
    return found["problem"]


def test_one_training_serves_all_values_of_a_number(make):
    problem = over(make, Parameter("rate", 0.5, 5.0, log=True), size=2.0)
    assert problem.domain.names == ("x", "log_rate")
    solution = hx.train(problem)
    assert solution.result is hx.RESULTS.successful
    assert solution.accuracy.relative_l2 < 1e-6
    points = np.array([[0.3, np.log(2.0)], [0.9, np.log(4.0)]])
    np.testing.assert_allclose(solution.evaluate(points), 2.0 * np.exp([-0.6, -3.6]), rtol=1e-5)


def test_what_cannot_be_a_coordinate_is_refused(make):
    with pytest.raises(hx.InputError, match="no number 'speed'"):
        over(make, Parameter("speed", 0.0, 1.0))
    with pytest.raises(hx.InputError, match="not known yet"):
        over(make, Parameter("length", 1.0, 2.0))
    with pytest.raises(hx.InputError, match="twice"):
        over(make, Parameter("rate", 1.0, 2.0), rate=1.0)
    with pytest.raises(hx.InputError, match="range"):
        Parameter("rate", 0.0, 2.0, log=True)
    data = lambda k=1.0: hx.Problem(hx.Box([0.0], [1.0]), hx.Data("u", np.zeros((3, 1)), jnp.full(3, k)))  # noqa: E731
    with pytest.raises(hx.InputError, match="values at points"):
        over(data, Parameter("k", 0.0, 1.0))


def test_over_on_the_command_line(tmp_path, capsys):
    file, points = tmp_path / "decay.py", tmp_path / "points.csv"
    file.write_text(FILE)
    points.write_text("x,rate\n0.3,2.0\n")
    run = str(tmp_path / "run")
    assert main(["train", f"{file}:problem", "--over", "rate=0.5:5:log", "--run", run]) == 0
    assert main(["predict", run, str(points), "--out", str(tmp_path / "out.csv")]) == 0
    assert float((tmp_path / "out.csv").read_text().split()[-1].split(",")[-1]) == pytest.approx(np.exp(-0.6), rel=1e-5)
    assert main(["train", f"{file}:problem", "--over", "rate=5"]) == 1
    assert "is no range" in capsys.readouterr().err
