"""What the folder of a surrogate tells for its page: examples as they were solved and as they are predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hierax.fields import parameter_count
from hierax.models.operators import Operator
from hierax.models.surrogate import Surrogate, ranked
from hierax.objective.objective import flat_parameters
from hierax.problems.problem import Problem
from hierax.results.evaluation import columns
from hierax.results.figures import Plane, axis_names, line_points
from hierax.results.report import Example, Worth

TITLES = "the worst", "a typical one", "the best"


def worth_of(made: Surrogate | Operator, tolerance: float | None) -> tuple[Worth, list[Example]]:
    """What is known of a surrogate, and three of the samples that it was not learned from."""
    return _operator(made) if isinstance(made, Operator) else _surrogate(made, tolerance)


def _surrogate(made: Surrogate, tolerance: float | None) -> tuple[Worth, list[Example]]:
    known, record = made.calibration, made.record
    members = dict(zip(made.names, known.inputs.T, strict=True)) if len(known.inputs) else {}
    costs = [(f"level of {size} parameters", seconds, error) for size, seconds, error in record.levels]
    worth = Worth(
        f"{', '.join(made.names)} to {', '.join(made.problem.functions)} of {made.problem.name}", record.samples,
        known.errors, known.estimates, known.bound * known.estimates, members, tolerance,
        [*costs, ("the surrogate", record.seconds_prediction, float(np.median(known.errors)))],
        [(count, median, largest) for count, _, median, largest in record.history],
        [
            *(("members", str(count), f"on a mesh of {size} parameters") for size, count in record.meshes),
            ("modes", str(record.modes), "of all meshes in use"),
            ("failed", str(record.failed), "left out"),
            ("seconds", f"{record.seconds:.3g}", f"mesh {record.seconds_mesh:.3g}, stopped by: {record.stopped_by}"),
            ("a member solved", f"{record.seconds_member:.3g} s", f"predicted: {record.seconds_prediction:.2g} s"),
        ],
        record.candidates,
        f"The truth is solved on the mesh of the surrogate; what that leaves, {known.floor:.1g}, is in all errors, and "
        "not in these pictures.",
    )  # fmt: skip
    examples, build = [], flat_parameters(made.field)[1]
    for title, number, solved in zip(TITLES, ranked(known.errors), known.solved, strict=False):
        inputs = known.inputs[number]
        said = ", ".join(f"{n} = {v:.3g}" for n, v in zip(made.names, inputs, strict=True))
        truth, found = (_shown(made.problem, one) for one in (build(solved), made.solutions(inputs)[0]))
        examples += [Example(title, said, name, axes, values, found[name][1]) for name, (axes, values) in truth.items()]
    return worth, examples


def _shown(problem: Problem, field: Any) -> dict[str, tuple[tuple[tuple[str, np.ndarray], ...], np.ndarray]]:
    """Axes and values of every unknown function by name: on a line, or in a plane through the middle."""
    names = axis_names(problem)
    if problem.domain.dim == 1:
        points = line_points(problem)
        axes = ((names[0], points[:, 0]),)
        return {name: (axes, v) for name, v in columns(problem, field, points, tuple(problem.functions)).items()}
    plane = Plane.through(problem, (0, 1))
    axes = tuple(zip(names, plane.ticks, strict=False))
    found = columns(problem, field, plane.points, tuple(problem.functions))
    return {name: (axes, plane.image(values)) for name, values in found.items()}


def _operator(made: Operator) -> tuple[Worth, list[Example]]:
    size = 0 if made.network is None else parameter_count(made.network)
    count = len(made.errors)
    costs = [(f"level {k}", seconds, error) for k, (seconds, error) in enumerate(made.levels)]
    worth = Worth(
        f"{', '.join(made.inputs)} to {', '.join(made.outputs)}", made.samples - count, made.errors,
        made.doubt.left_out, made.doubt.factor * made.doubt.left_out, {}, None,
        [*costs, ("the surrogate", made.seconds_prediction, float(np.median(made.errors)))], [],
        [
            ("H1 error", f"{np.mean(made.h1):.2g}", "the mean"),
            ("parameters", str(size), f"{made.steps} steps"),
            ("seconds", f"{made.seconds:.3g}", f"compilation {made.seconds_compile:.2g}"),
        ],
        made.candidates,
    )  # fmt: skip
    return worth, _on_grids(made, *made.examples)


def _on_grids(made: Operator, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[Example]:
    """Three samples; of those on three axes the slice in the middle."""
    axes = tuple((f"axis {k}", (np.arange(n) + 0.5) / n) for k, n in enumerate(made.grid[:2]))
    middle = (..., *(n // 2 for n in made.grid[2:]))
    found: Mapping[str, Any] = made(inputs)
    pairs: Sequence[tuple[int, str]] = [(k, name) for k in range(len(TITLES)) for name in outputs]
    return [Example(TITLES[k], "", name, axes, outputs[name][k][middle], found[name][k][middle]) for k, name in pairs]
