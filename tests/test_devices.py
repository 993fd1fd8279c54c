"""Trainings divided between devices and processes: the same as on one device, and an honest end where one is gone."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hierax as hx
from hierax.devices import added, gathered
from hierax.objective.reduction import concatenated
from hierax.records.placement import Placement

TRAINED = """
import json, os, sys
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
import hierax as hx
from hierax._errors import ProcessesError
from hierax.devices import agree_on, dividing
from hierax.objective import assembly
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.objective import flat_parameters
from hierax.objective.rows import RowObjective

out, address, process = json.loads(sys.argv[1])
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(address, 2, process, initialization_timeout=120)
# few points for each call, so that there is something to divide
assembly.LINE, assembly.FEW = 64, 64

def interior(u, x):
    return hx.derivative(u, "xx")(x) - u(x) ** 3 + 9.0 * jnp.sin(3.0 * x[0])

problem = hx.Problem(
    hx.Box([0.0], [1.0], names=("x",)),
    (hx.Residual("interior", interior), hx.Residual("ends", lambda u, x, normal: u(x), on="boundary")),
)
field = hx.MLP([1, 5, 1], key=0)
network = RowObjective(field, SampledProblem(problem).sample(field, Sampling(least=200), 0))
theta, told, found = flat_parameters(field)[0], [], {}
for where in ("four", "one") if process == 0 else ("four",):
    devices, subscribers = (None, []) if where == "one" else (hx.Devices(points=4), [told.append])
    s = hx.train(problem, levels=2, budget=1e3, devices=devices, subscribers=subscribers)
    with dividing(devices):
        value, gradient = network.value_and_gradient(theta)
        model = network.linearise(theta)
    found[where] = dict(
        values=s.evaluate([[0.1], [0.5], [0.7]]).tolist(), loss=s.loss,
        levels=[[level.parameters, level.points, level.steps] for level in s.levels],
        network=[value, *gradient, model.value, *model.gradient, model.curvature.quadratic(theta)],
    )
for numbers in ([1.0, 2.0], [1.0, 2.0 + process]):
    with dividing(hx.Devices(points=4)):
        try:
            agree_on({"theta": np.array(numbers)})
        except ProcessesError as error:
            found["apart"] = str(error)
if process == 0:
    try:
        hx.train(problem, levels=1, devices=hx.Devices(points=4))
    except ProcessesError as error:
        found["gone"] = str(error)
with open(out, "w") as file:
    json.dump({**found, "told": len(told)}, file)
# neither waits for the other
os._exit(0)
"""


def started(*arguments):
    """The script above as a process that ends by itself."""
    words = [sys.executable, "-c", TRAINED, json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(next(iter(hx.__path__))).parent)}
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def ended(process):
    try:
        _, errors = process.communicate(timeout=500)
    finally:
        process.kill()
    assert process.returncode == 0, errors


def free_address():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def test_two_processes_of_two_devices_train_as_one_device_and_one_that_is_gone_is_told(tmp_path):
    address, outs = free_address(), [tmp_path / f"{k}.json" for k in range(2)]
    both = [started(str(out), address, k) for k, out in enumerate(outs)]
    for process in both:
        ended(process)
    first, second = (json.loads(out.read_text()) for out in outs)
    assert first["four"] == second["four"]
    one, four = first["one"], first["four"]
    assert one["levels"] == four["levels"]
    np.testing.assert_allclose(four["values"], one["values"], rtol=1e-10)
    np.testing.assert_allclose(four["network"], one["network"], rtol=1e-10, atol=1e-10)
    assert "have come to different numbers" in first["apart"]
    assert second["apart"] == first["apart"]
    assert "process of the training is gone" in first["gone"]
    assert first["told"] > 0
    assert second["told"] == 0


def test_more_devices_than_there_are_are_refused():
    with pytest.raises(hx.InputError, match="64 devices are asked for"):
        hx.train(hx.problems.poisson_1d(), devices=hx.Devices(points=64))


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ({"devices": "points=none"}, "--devices"),
        ({"devices": "points=0"}, "--devices"),
        ({"process": 1}, "--process"),
        ({"distributed": "here:1"}, "--distributed"),
        ({"distributed": "auto", "processes": 2}, "--distributed"),
    ],
)
def test_words_that_name_no_devices_are_refused(words, where):
    with pytest.raises(hx.InputError) as refused:
        Placement(**words).start()
    assert refused.value.where == where


def test_a_process_alone_gets_back_what_it_gives():
    tree = {"a": np.arange(3), "b": np.ones((2, 2))}
    assert added(tree) is tree
    assert gathered(tree) == [tree]
    np.testing.assert_array_equal(concatenated(lambda pick: pick**2, 5, 2), np.arange(5) ** 2)
