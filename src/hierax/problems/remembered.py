"""What is found out about a problem once: kept by the problem itself, so that it goes when the problem goes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
Found = TypeVar("Found")


def once_for_each(function: Callable[Concatenate[Any, P], Found]) -> Callable[Concatenate[Any, P], Found]:
    """The function, computed once for each first argument and hashable others.

    The results live in the first argument. A table of the process would keep every problem alive, and with it the
    programs that were compiled for it.
    """

    @functools.wraps(function)
    def remembered(owner: Any, *arguments: P.args, **named: P.kwargs) -> Found:
        known, key = vars(owner).setdefault("_remembered", {}), (function, arguments, tuple(named.items()))
        if key not in known:
            known[key] = function(owner, *arguments, **named)
        return known[key]

    return remembered
