"""One problem of the battery in a process of its own: fresh memory, and a crash or a hang is a row, not the end."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

import jax

import hierax as hx
from hierax import clock
from hierax._errors import InputError
from studies.common import Row
from studies.honesty.battery import Case, Posed, errors, excess, verdict
from studies.honesty.cases import case_of

BUDGET = 20.0
"""Seconds of training, all other settings as they are by default. In processes of their own all seconds are those of
the processor, so that other work on the machine changes no verdict."""
PATIENCE = 90
"""Seconds of the processor after which a process that has not answered is ended, its start and the budget included."""
ASLEEP = 1200.0
"""Seconds after which one is ended that waits and computes nothing."""
BAD_INPUT, CRASHED = 1, 2
"""Exit codes for what `train` refuses, and for what is raised within it."""


def measured(name: str, budget: float = BUDGET) -> Row:
    """Train on one problem here, and judge the outcome."""
    jax.config.update("jax_enable_x64", True)
    case = case_of(name)
    began = clock.seconds_now()
    try:
        posed = case.pose()
        began = clock.seconds_now()
        solution = hx.train(posed.problem, key=0, budget=budget)
    except InputError as refusal:
        return unsolved(case, "refused_input", BAD_INPUT, str(refusal), clock.seconds_now() - began)
    except Exception as crash:
        return unsolved(case, "crashed", CRASHED, f"{type(crash).__name__}: {crash}", clock.seconds_now() - began)
    return judged(case, posed, solution, clock.seconds_now() - began)


def judged(case: Case, posed: Posed, solution: hx.Solution, seconds: float) -> Row:
    """The row of a training that came to an end."""
    found = min((errors(posed, t, solution) for t in posed.truths), key=lambda e: excess(posed, e), default={})
    over = excess(posed, found) if found else None
    code = solution.result.exit_code
    failed = {name: g.value for name, g in solution.guards.items() if not g.passed}
    return _row(case, verdict(code, over is not None and over <= 1.0)) | {
        "error": max(found.values()) if found else None,
        "errors": found,
        "over_tolerance": over,
        "result": solution.result.name,
        "exit_code": code,
        "stopped_by": solution.stopped_by,
        "levels": len(solution.levels),
        "failed_guards": failed,
        "says": "",
        "seconds": seconds,
    }


def unsolved(case: Case, result: str, code: int, says: str, seconds: float) -> Row:
    """The row of a run that left no solution."""
    return _row(case, verdict(code, False)) | {
        "error": None,
        "errors": {},
        "over_tolerance": None,
        "result": result,
        "exit_code": code,
        "stopped_by": "",
        "levels": 0,
        "failed_guards": {},
        "says": says,
        "seconds": seconds,
    }


def _row(case: Case, outcome: str) -> dict[str, Any]:
    return {"case": case.name, "kind": case.kind, "control": case.control, "verdict": outcome}


def _answer(name: str, budget: float, pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE + 10))
    clock.seconds_now = time.process_time
    pipe.send(measured(name, budget))
    pipe.close()


def apart(name: str, budget: float = BUDGET) -> Row:
    """The same in a process of its own; one that dies or does not answer in time is `crashed` or `timed_out`."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(name, budget, theirs), daemon=True)
    began = clock.seconds_now()
    process.start()
    theirs.close()
    try:
        answered = mine.poll(ASLEEP)
        row = mine.recv() if answered else None
    except EOFError:
        answered, row = True, None
    finally:
        process.terminate()
        process.join()
    if row is not None:
        return row
    late = not answered or process.exitcode == -signal.SIGXCPU
    result = "timed_out" if late else "crashed"
    says = f"The process ended with code {process.exitcode} and left no row."
    return unsolved(case_of(name), result, CRASHED, says, clock.seconds_now() - began)
