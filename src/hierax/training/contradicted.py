"""Outliers among values that were measured beside equations: single ones that these and all others contradict.

They are told by the median of the misfits, which a tenth of wrong values hardly moves (Huber, Ronchetti, Robust
Statistics, 2009). What a field cannot follow, such as a layer between its knots, is missed by values side by side, and
is no outlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from hierax.objective.data_rows import measured, spread
from hierax.problems.terms import Data
from hierax.solvers.outliers import FAR, TYPICAL, few_and_alone
from hierax.training.discrete import DiscreteProblem

Masks = Mapping[str, np.ndarray]
"""For data by name which of their values `(n,)`."""
LEAST = 20
"""Fewest values from which outliers are told."""
SMALL = 1e-3
"""Least typical misfit over the spread of the values: a field may miss values without noise by as much."""
NAMED = 10
"""Most values of which a sentence names the numbers; all are in the result."""
LIKE = 3
"""Values around one that is right which are like it."""


def outliers(discrete: DiscreteProblem, terms: Sequence[Data], field: Any) -> Masks:
    """Which values of some data are outliers for a field."""
    return {term.name: _outliers(term, _far(discrete, term, field)) for term in terms}


def lonely(term: Data) -> np.ndarray:
    """Which values of a term `(n,)` are like hardly any around them: beside a step half of those are like them."""
    count = 2 * term.points.shape[1] + 2 + LIKE
    if term.given is not None or len(term.points) < max(LEAST, count + 1):
        return np.zeros(len(term.points), dtype=bool)
    near = np.asarray(KDTree(_places(term)).query(_places(term), k=count + 1)[1])[:, 1:]
    values = term.values.reshape(len(term.points), -1)
    apart = np.sort(np.abs(values[near] - values[:, None]), axis=1)[:, LIKE - 1]
    typical = np.maximum(np.median(apart, axis=0) / TYPICAL, SMALL * spread(term))
    return _outliers(term, np.max(apart / typical, axis=1))


def share_of_outliers(discrete: DiscreteProblem, field: Any) -> float | None:
    """Part of the squared misfit of the data that outliers make; `None` without equations beside noisy data."""
    if not discrete.weighs_data:
        return None
    total, outlying = 0.0, 0.0
    for term in discrete.rows.terms:
        far = _far(discrete, term, field)
        total += float(np.sum(far**2))
        outlying += float(np.sum(far[_outliers(term, far)] ** 2))
    return outlying / max(total, 1e-300)


def counted(found: Masks) -> str:
    """How many values of which data, and which, in words."""
    return ", ".join(_named(name, which) for name, which in found.items() if which.any())


def _named(name: str, which: np.ndarray) -> str:
    rows = [str(row) for row in np.flatnonzero(which)]
    more = ["..."] if len(rows) > NAMED else []
    return f"{len(rows)} of {len(which)} values of {name!r} (numbers {', '.join(rows[:NAMED] + more)}, counted from 0)"


def _far(discrete: DiscreteProblem, term: Data, field: Any) -> np.ndarray:
    """Misfit of every value of a term `(n,)` over what is typical, the largest over its components."""
    misses = np.abs(discrete.misses(field, term, measured(term))) / np.sqrt(term.unevenness)[:, None]
    least = max(term.typical_noise or 0.0, SMALL * spread(term))
    return np.max(misses / np.maximum(np.median(misses, axis=0) / TYPICAL, least), axis=1)


def _outliers(term: Data, far: np.ndarray) -> np.ndarray:
    """Which values of a term `(n,)` are outliers, by their misfits over what is typical."""
    found = far > FAR
    return found if len(found) >= LEAST and few_and_alone(found, _places(term)) else np.zeros_like(found)


def _places(term: Data) -> np.ndarray:
    return term.points / np.maximum(np.std(term.points, axis=0), 1e-300)
