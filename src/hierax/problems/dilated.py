"""A problem on a part of its domain, stretched over all of it: there the highest derivatives weigh more."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from jaxtyping import Array, Float

from hierax.problems.problem import Problem
from hierax.problems.terms import Residual


def dilated(problem: Problem, factors: Float[Array, " dim"]) -> Problem:
    """The terms of a problem of residuals on the box that is `factors` times as long about the same centre.

    The fields live on the whole domain: one of them, `v`, stands for `u(x) = v(c + (x - c) / factors)`. Conditions hold
    on the faces of the smaller box as they do on those of the domain. With smaller factors derivatives outweigh what is
    without: `k` of them by `factors^-k`.
    """
    low, high = problem.domain.bounds()
    centre = 0.5 * (low + high)

    def seen(w: Any) -> Any:
        if not problem.named:
            return _Stretched(w, centre, factors)
        parts = {n: getattr(w, n) for n in problem.unknowns}
        return SimpleNamespace(
            **{n: u if n in problem.constants else _Stretched(u, centre, factors) for n, u in parts.items()}
        )

    def within(function: Callable[..., Any]) -> Callable[..., Any]:
        def changed(w: Any, x: Any, *normal: Any) -> Any:
            return function(seen(w), centre + factors * (x - centre), *normal)

        changed.__signature__ = inspect.signature(function)  # pyright: ignore
        return changed

    terms = [replace(t, function=within(t.function)) if isinstance(t, Residual) else t for t in problem.terms]
    return problem.changed(terms=terms, reference=None)


@dataclass(frozen=True, eq=False)
class _Stretched:
    inner: Callable[..., Any]
    centre: Any
    factors: Any

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.inner(self.centre + (x - self.centre) / self.factors)
