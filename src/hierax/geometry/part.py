"""Parts of boundaries: by the names that shapes give them, by a predicate, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np


@final
@dataclass(frozen=True)
class Part:
    """The boundary points that carry a name and fulfil a predicate.

    Parameters
    ----------
    name:
        A name of a shape or of one of its sides; `None` for the whole boundary.
    where:
        `where(x)` with `x` of shape `(dim,)` is true on the part; everywhere by default.
    """

    name: str | None = None
    where: Callable[[Any], Any] | None = None

    def __repr__(self) -> str:
        name = "the boundary" if self.name is None else repr(self.name)
        return name if self.where is None else f"a part of {name}"

    def named(self, names: tuple[str, ...]) -> bool:
        """Whether a piece of boundary with these names may belong to it."""
        return self.name is None or self.name in names

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Which points `(n, dim)` fulfil the predicate."""
        if self.where is None:
            return np.ones(len(points), bool)
        return np.array([bool(self.where(x)) for x in points], bool)
