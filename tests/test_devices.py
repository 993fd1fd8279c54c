"""Trainings divided between devices and processes: the same as on one device, and an honest end where one is gone."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax import cli
from hierax.devices import THREADS, added, gathered
from hierax.objective.reduction import concatenated
from hierax.records.placement import Placement

TRAINED = """
import json, os, sys, time, types
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
import hierax as hx
from hierax import clock
from hierax._errors import ProcessesError
from hierax.devices import agree_on, dividing, each
from hierax.fields import SplineGrid
from hierax.models import operator_training
from hierax.objective import assembly
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.objective import flat_parameters
from hierax.objective.rows import RowObjective
from hierax.objective.stencil import StencilGram, mesh_of
from hierax.records import run as records
from hierax.solvers import Multigrid
from hierax.solvers.linear import smoothers
from hierax.solvers.linear.solve import NotPositive

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
# data choose among solutions: no second start looks for another one
seen = np.linspace(0.1, 0.9, 9)[:, None]
measured = problem.changed(terms=(*problem.terms, hx.Data("u", seen, jnp.sin(3.0 * seen[:, 0]))))
field = hx.MLP([1, 5, 1], key=0)
network = RowObjective(field, SampledProblem(problem).sample(field, Sampling(least=200), 0))
theta, told, found = flat_parameters(field)[0], [], {}

# a map between functions, with a small network and a clock that counts how often it is read
operator_training.WIDTHS = {1: ((8,), (1,))}
grid, rng = (np.arange(32) + 0.5) / 32, np.random.default_rng(0)
waves = np.sin(2 * np.pi * (grid + rng.uniform(size=(40, 1)))) + rng.normal(size=(40, 1))
samples = hx.Samples({"a": waves}, {"u": waves**2 + np.roll(waves, 3, 1)}, periodic=True)

def counted():
    counted.reads += 1
    return counted.reads / 64

def learned(devices):
    counted.reads, clock.time = 0, types.SimpleNamespace(perf_counter=counted)
    operator = hx.surrogate(samples, budget=0.6, devices=devices)
    clock.time = time
    return operator

straight = problem.changed(
    terms=(hx.Residual("interior", lambda u, x: hx.derivative(u, "xx")(x) + jnp.sin(3.0 * x[0])), problem.terms[1])
)

def parts(devices):
    return hx.train(straight, field="pou", solver="schwarz", levels=2, budget=1e3, devices=devices)

def five_point(first):
    # the Laplacian, its first line with another diagonal
    mesh = mesh_of(SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 40, 1))
    values = np.zeros(mesh.shape)
    values[:, :, 0, 1, 1] = 4.0
    values[0, :, 0, 1, 1] = first
    values[1:, :, 0, 0, 1] = values[:-1, :, 0, 2, 1] = values[:, 1:, 0, 1, 0] = values[:, :-1, 0, 1, 2] = -1.0
    return StencilGram(mesh, values)

smoothers.DIVIDED = 500

def strips():
    gram = five_point(4.0)
    solve = Multigrid(tolerance=1e-16, coarsest=50).prepare(gram, np.zeros(gram.size))
    solution = solve(np.sin(np.arange(gram.size)))
    try:
        smoothers.smoothing(five_point(-4.0), 1)
    except NotPositive:
        return [solve.iterations, *solution]

folder, records.SHARE = records.Path(out).parent / "run", 10.0
if process == 0:
    run = records.Run.create("divided", folder)
    asked = {"levels": 2, "solver": "gauss-newton", "budget_seconds": 1e3}
    run.write_settings(types.SimpleNamespace(record=dict, file=None), measured, asked)

for where in ("four", "one") if process == 0 else ("four",):
    asked = (lambda axis: None) if where == "one" else lambda axis: hx.Devices(**{axis: 4})
    devices, subscribers = asked("points"), [] if where == "one" else [told.append, *([run] if process == 0 else [])]
    operator, pou = learned(asked("samples")), parts(asked("parts"))
    with dividing(asked("seeds"), ("seeds",)):
        seeds = each(lambda seed: float(jnp.sin(seed)), range(7))
    s = hx.train(
        measured, levels=2, solver="gauss-newton", budget=1e3, devices=devices, subscribers=subscribers
    )
    with dividing(devices):
        value, gradient = network.value_and_gradient(theta)
        model = network.linearise(theta)
        relaxed = strips()
    found[where] = dict(
        values=s.evaluate([[0.1], [0.5], [0.7]]).tolist(), loss=s.loss,
        levels=[[level.parameters, level.points, level.steps] for level in s.levels],
        operator=[operator.candidates["network"], *operator.errors.tolist()], steps=operator.steps,
        parts=pou.evaluate([[0.1], [0.5], [0.7]]).tolist(),
        iterations=[[level.parameters, level.steps] for level in pou.levels],
        seeds=seeds, strips=relaxed,
        network=[value, *gradient, model.value, *model.gradient, model.curvature.quadratic(theta)],
    )
if process == 0:
    run.close()
    resumed = hx.resume(folder, measured, state=1)
    found["resumed"] = dict(
        values=resumed.evaluate([[0.1], [0.5], [0.7]]).tolist(),
        levels=[[level.parameters, level.points, level.steps] for level in resumed.levels],
    )
with dividing(hx.Devices(seeds=4), ("seeds",)):
    try:
        each(lambda seed: 1 // (seed - 1), range(2))
    except (ProcessesError, ZeroDivisionError) as error:
        found["failed"] = type(error).__name__
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


@pytest.mark.slow
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
    assert (four["steps"], four["iterations"]) == (one["steps"], one["iterations"])
    assert one["steps"] > 20
    np.testing.assert_allclose(four["parts"], one["parts"], rtol=1e-10)
    assert four["seeds"] == one["seeds"]
    assert four["strips"][0] == one["strips"][0] > 2
    np.testing.assert_allclose(four["strips"], one["strips"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(four["operator"], one["operator"], rtol=1e-5, atol=1e-5)  # in 32 bits
    assert first["resumed"]["levels"] == four["levels"]
    np.testing.assert_allclose(first["resumed"]["values"], four["values"], rtol=1e-10)
    assert "have come to different numbers" in first["apart"]
    assert second["apart"] == first["apart"]
    assert (first["failed"], second["failed"]) == ("ProcessesError", "ZeroDivisionError")
    assert "process of the training is gone" in first["gone"]
    assert first["told"] > 0
    assert second["told"] == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are not told here")
def test_programs_have_threads_enough_that_none_waits_for_itself():
    jax.block_until_ready(jax.jit(jnp.linalg.inv)(jnp.eye(3)))
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    assert names.count("tf_XLAEigen") >= min(THREADS, int(os.environ["PJRT_NPROC"])) - 1


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"samples": 1}, "nothing here that devices could divide like that .samples: the samples of a step"),
        ({"parts": 1}, "nothing here that devices could divide like that .parts: overlapping subdomains"),
        ({"points": 1, "parts": 1}, "2 axes are given"),
    ],
)
def test_devices_that_have_nothing_to_divide_are_refused(axes, sentence):
    with pytest.raises(hx.InputError, match=sentence):
        hx.train(hx.problems.poisson_1d(), devices=hx.Devices(**axes))
    family = hx.Family(lambda k: hx.problems.poisson_1d(), {"k": hx.Uniform(0.5, 1.0)})
    with pytest.raises(hx.InputError, match="axes are given" if len(axes) > 1 else "nothing here"):
        hx.surrogate(family, devices=hx.Devices(**axes))


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


@pytest.mark.parametrize(
    "words", [["surrogate", "none.npz", "--inputs", "a", "--outputs", "u"], ["material", "none.py:c"]]
)
def test_other_commands_take_devices(words, capsys):
    assert cli.main([*words, "--devices", "points=none"]) == 1
    assert "names no devices" in capsys.readouterr().err


def test_a_process_alone_gets_back_what_it_gives():
    tree = {"a": np.arange(3), "b": np.ones((2, 2))}
    assert added(tree) is tree
    assert gathered(tree) == [tree]
    np.testing.assert_array_equal(concatenated(lambda pick: pick**2, 5, 2), np.arange(5) ** 2)
