"""The words for fields, solvers and cycles, as the command line and `train` take them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import optax

from hierax import cycles
from hierax._errors import InputError
from hierax.cycles import AbstractCycle
from hierax.hierarchy import Hierarchy, Level
from hierax.planning import families
from hierax.solvers import AbstractSolver, GaussNewton, Optax, Schwarz, VariableProjection, adam, lbfgs

AUTO = "auto"
"""The word for what is left to the strategy."""

FIELDS: dict[str, Callable[[], families.AbstractFamily | None]] = {
    AUTO: lambda: None,
    "grid": families.Grid,
    "decoded": families.DecodedFeatures,
    "kan": families.SplineNetwork,
    "mlp": families.Perceptron,
    "tanh": families.HiddenLayer,
    "pou": families.Subdomains,
    "tensor": families.Tensor,
}
SOLVERS: dict[str, Callable[[], AbstractSolver | None]] = {
    AUTO: lambda: None,
    "gauss-newton": GaussNewton,
    "variable-projection": VariableProjection,
    "schwarz": Schwarz,
    "lbfgs": lbfgs,
    "adam": adam,
}
CYCLES: dict[str, Callable[[], AbstractCycle | None]] = {
    AUTO: lambda: None,
    "nested": cycles.NestedIteration,
    "single": cycles.SingleLevel,
    "v": cycles.VCycle,
    "w": cycles.WCycle,
    "f": cycles.FCycle,
    "fmg": cycles.FullMultigrid,
    "additive": cycles.AdditiveCycle,
}


def chosen(field: Any = None, solver: Any = None, cycle: Any = None) -> dict[str, Any]:
    """What words stand for, as the arguments `hierarchy`, `solver` and `cycle` of `train`; objects are passed on.

    An Optax optimiser becomes a solver with its default number of steps. The solver `schwarz` works on overlapping
    subdomains, which it stands for where no field is named.

    Raises
    ------
    InputError
        For words that stand for nothing, and for objects that are no solver or no cycle.
    """
    if field in (None, AUTO) and solver == "schwarz":
        field = "pou"
    solver = _object(solver, SOLVERS, "solver")
    if isinstance(solver, optax.GradientTransformation):
        solver = Optax(solver)
    cycle = _object(cycle, CYCLES, "cycle")
    _check(solver, AbstractSolver, "solver", "a word such as 'gauss-newton', hx.GaussNewton(), or optax.adam(1e-3)")
    _check(cycle, AbstractCycle, "cycle", "a word such as 'nested' or 'v', or hx.VCycle()")
    hierarchy = _object(field, FIELDS, "field")
    if isinstance(hierarchy, type) or not callable(hierarchy):
        kinds = (families.AbstractFamily, Hierarchy, Level)
        _check(hierarchy, kinds, "field", "a word such as 'grid', a callable module, a family, or hx.refine(...)")
    return {"hierarchy": hierarchy, "solver": solver, "cycle": cycle}


def _object(given: Any, words: Mapping[str, Callable[[], Any]], what: str) -> Any:
    if not isinstance(given, str):
        return given
    if given not in words:
        near = difflib.get_close_matches(given, words, n=1)
        raise InputError(
            f"The {what} {given!r} is unknown.",
            f"train(..., {what}=...)",
            (f"Did you mean {near[0]}? " if near else "") + f"The words are {', '.join(words)}.",
        )
    return words[given]()


def _check(given: Any, kind: Any, what: str, remedy: str) -> None:
    if given is None or isinstance(given, kind):
        return
    shown = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
    raise InputError(f"The {what} is {shown}.", f"train(..., {what}=...)", f"Give {remedy}.")
