"""Parts of `scaling-out` that need a fresh process: a step of a large grid, and trainings one after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import jax
import numpy as np

from hierax.clock import peak_memory_mib
from hierax.fields import SplineGrid
from hierax.objective import flat_parameters
from hierax.planning.choose import plan
from hierax.problems import burgers, poisson_2d
from hierax.solvers import Multigrid
from hierax.training.discrete import DiscreteProblem
from hierax.training.train import train
from studies.common import Row, aligned

PARTS = ("prepare", "linearise", "factors", "solve")
TRAININGS = {"first": 0.05, "equal, made anew": 0.05, "another number": 0.06}
"""Trainings of Burgers' equation, by their viscosity."""
_compiled = [0]


def _listen(event: str, *_: Any, **__: Any) -> None:
    _compiled[0] += event.endswith("backend_compile_duration")


jax.monitoring.register_event_duration_secs_listener(_listen)


def gauss_newton_step(intervals: int, degree: int) -> Row:
    """A Gauss-Newton step of a spline grid by multigrid: processor seconds of its parts, and GiB of the process."""
    problem = poisson_2d()
    plans = plan(problem)
    discrete = DiscreteProblem.of(plans.in_its_units(problem), plans, 0)
    field = SplineGrid.uniform(*discrete.problem.domain.bounds(), intervals, degree)
    theta = flat_parameters(field)[0]
    prepared, first = _timed(lambda: discrete.prepare(field))
    found, second = _timed(lambda: prepared.objective.linearise(theta))
    solve, third = _timed(lambda: Multigrid().prepare(found.curvature, np.zeros(len(theta))))
    _, fourth = _timed(lambda: solve(-np.asarray(found.gradient)))
    spent = dict(zip(PARTS, (first, second, third, fourth), strict=True))
    return {"parameters": len(theta), **spent, "peak": (peak_memory_mib() or float("nan")) / 2**10}


def trainings(levels: int) -> list[Row]:
    """Trainings one after another: processor seconds and programs compiled."""
    rows = []
    for name, viscosity in TRAININGS.items():
        before = _compiled[0]
        _, spent = _timed(lambda viscosity=viscosity: train(burgers(viscosity=viscosity), levels=levels))
        rows.append({"training": name, "seconds": spent, "programs": _compiled[0] - before})
    return rows


def in_fresh_process(run: Callable[..., Any], *given: Any) -> Any:
    """What a function gives where nothing has been compiled or held before, and nothing compiled is on the disk."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin) as pool:
        return pool.submit(run, *given).result()


def _begin() -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_enable_compilation_cache", False)


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    return run(), time.process_time() - began


def tables(steps: list[Row], trained: list[Row]) -> str:
    """Both as text."""
    head = ["parameters", *(f"{part} s" for part in PARTS), "peak GiB"]
    lines = [[f"{r['parameters']}", *(f"{r[part]:.2f}" for part in PARTS), f"{r['peak']:.2f}"] for r in steps]
    other = [[r["training"], f"{r['seconds']:.2f}", f"{r['programs']}"] for r in trained]
    return "\n".join([*aligned([head, *lines]), "", *aligned([["training", "seconds", "programs"], *other])])
