"""What was to be solved: domain, unknowns and terms, and the equations as they were written."""

from __future__ import annotations

import inspect
import textwrap

from hierax.problems.problem import Problem
from hierax.problems.terms import Energy, Residual, Term
from hierax.problems.unknowns import Constant
from hierax.results.report.account import Account
from hierax.results.report.markup import Child, Markup, element, table

MOST_CODE = 100_000
"""Most characters of source text that are shown."""


def stated(account: Account) -> Markup | None:
    """The problem as a table, and its source text; nothing where neither is known."""
    problem, code = account.problem, account.code
    rows = [] if problem is None else _rows(problem)
    if problem is not None and not code:
        code = "\n\n".join(dict.fromkeys(filter(None, map(_source, problem.terms))))
    text = code[:MOST_CODE] + ("\n..." if len(code) > MOST_CODE else "")
    shown = element("details", element("summary", "As it was written"), element("pre", text), open="") if code else None
    return element("div", table(["", ""], rows) if rows else None, shown) if rows or code else None


def _rows(problem: Problem) -> list[list[Child]]:
    unknowns = [f"{name} ({'number' if isinstance(u, Constant) else _function(u.components)})"
                for name, u in problem.unknowns.items()]  # fmt: skip
    terms: list[list[Child]] = [
        [f"{type(term).__name__.lower()} {term.name}", problem.where(term)] for term in problem.terms
    ]
    return [["domain", repr(problem.domain)], ["unknowns", ", ".join(unknowns)], *terms]


def _function(components: int | None) -> str:
    return "function" if components is None else f"function of {components} components"


def _source(term: Term) -> str:
    """The text of a function, where Python can still find it."""
    function = term.function if isinstance(term, Residual) else term.density if isinstance(term, Energy) else None
    try:
        return "" if function is None else textwrap.dedent(inspect.getsource(function)).rstrip()
    except (OSError, TypeError):
        return ""
