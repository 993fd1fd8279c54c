"""Which publications a training rests on, found from what it says that it used."""

from __future__ import annotations

import functools
import importlib.resources
import re
from dataclasses import dataclass
from typing import final

from hierax.results.report.account import Account


@final
@dataclass(frozen=True)
class Method:
    """A method with its publications, and where a record shows that it was used.

    `where` are members of the record (or `terms`, `iterations`, `measured`), `says` a pattern that one of them holds.
    """

    what: str
    keys: tuple[str, ...]
    where: tuple[str, ...]
    says: str


METHODS = (
    Method("tensor-product splines", ("deboor2001",), ("field",), "spline|decoded"),
    Method("spline networks", ("liu2025kan",), ("field",), "KAN"),
    Method("trained grids behind a small network", ("muller2022",), ("field",), "(?i)decoded"),
    Method("networks of sines", ("sitzmann2020",), ("field",), "(?i)siren"),
    Method("networks behind fixed random waves", ("tancik2020",), ("field",), "FourierNetwork"),
    Method("residuals of equations as the loss of a network", ("raissi2019",), ("network and equations",), "yes"),
    Method("levels from coarse to fine", ("bornemann1996",), ("cycle", "plan"), "NestedIteration|FullMultigrid"),
    Method("cycles that go down and up again", ("brandt1977", "nash2000"), ("cycle",), "[VWF]Cycle|FullMultigrid"),
    Method("damped Gauss-Newton steps", ("levenberg1944", "marquardt1963"), ("solver", "plan"), "GaussNewton"),
    Method(
        "conjugate gradients, multigrid as preconditioner where levels allow",
        ("hestenes1952", "brandt1977"),
        ("iterations",),
        "yes",
    ),
    Method(
        "smoothing by generalised cross-validation", ("craven1978",), ("solver", "plan"), "Smoothing|(?i:cross-val)"
    ),
    Method("variable projection", ("golub1973", "kaufman1975"), ("solver",), "VariableProjection"),
    Method("continuation in a parameter", ("allgower1990",), ("continued",), "yes"),
    Method("Adam", ("kingma2015",), ("solver",), "(?i)adam"),
    Method("L-BFGS", ("liu1989",), ("solver",), "(?i)lbfgs|l-bfgs"),
    Method("data of several fidelities", ("kennedy2000", "perdikaris2017"), ("plan",), "fidelities"),
    Method("low-discrepancy points of the guards", ("sobol1967",), ("guards",), "fresh_residual"),
    Method("errors by frequency", ("rahaman2019",), ("measured",), "spectrum"),
    Method("the tangent kernel", ("jacot2018",), ("measured",), "kernel"),
    Method("automatic differentiation and compilation", ("jax2018",), (), ""),
    Method("modules that are pytrees", ("kidger2021",), (), ""),
)


def cited(account: Account) -> list[tuple[str, list[str]]]:
    """The methods that a training used, each with its BibTeX entries; an entry comes only once."""
    found, given = [], set()
    for method in METHODS:
        texts = [_text(account, where) for where in method.where]
        if method.where and not any(re.search(method.says, text) for text in texts):
            continue
        entries = [_entries()[key] for key in method.keys if key not in given]
        given.update(method.keys)
        if entries:
            found.append((method.what, entries))
    return found


def _text(account: Account, where: str) -> str:
    record = account.record
    if where == "network and equations":
        network = record.get("linear_in_parameters") is False and "equation" in account.text("plan")
        return "yes" if network else ""
    if where == "iterations":
        return "yes" if any(step.iterations for step in account.history) else ""
    if where == "continued":
        return "yes" if (record.get("options") or {}).get("continue") else ""
    if where == "measured":
        return " ".join(account.measured)
    if where == "guards":
        return " ".join(record.get("guards") or {})
    return account.text(where)


@functools.cache
def _entries() -> dict[str, str]:
    text = importlib.resources.files("hierax.results.report").joinpath("methods.bib").read_text(encoding="utf-8")
    return {
        match.group(1): entry.strip() for entry in text.split("\n\n") if (match := re.search(r"@\w+\{(\w+)", entry))
    }
