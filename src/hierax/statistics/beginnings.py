"""From which level an estimation begins, and whether above a surrogate: what each choice costs for a unit of error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hierax.statistics.models import SURROGATE
from hierax.statistics.moments import PartMoment
from hierax.statistics.quantities import Transform
from hierax.statistics.samples import Part


def costs_of_beginnings(
    parts: Sequence[Part], moments: Sequence[PartMoment], transform: Transform
) -> dict[tuple[bool, int], float]:
    """Cost times variance for each choice: whether a surrogate stands below, and the first level.

    A surrogate is a level below all others, where the first part has one; its cost is not counted in samples.
    """
    ratios = common_factors(parts, transform)
    steps = [
        np.sqrt(ratio * moment.design(part).product) for ratio, moment, part in zip(ratios, moments, parts, strict=True)
    ]
    costs = {(False, 0): np.sum(steps) ** 2}
    for first, (part, ratio) in enumerate(zip(parts, ratios, strict=True)):
        price, rest = part.unit_costs(), np.sum(steps[first + 1 :])
        if 0 < first < len(steps) - 1:
            costs[False, first] = (np.sqrt(ratio * _spread(part, transform, part.level) * price[0]) + rest) ** 2
        if SURROGATE in part.models:
            own, lacking = _spread(part, transform, SURROGATE), _spread(part, transform, part.level, SURROGATE)
            roots = np.sqrt(own * price[-1]) + np.sqrt(lacking * np.sum(price[[0, -1]]))
            costs[True, first] = (np.sqrt(ratio) * roots + rest) ** 2
    return costs


def common_factors(parts: Sequence[Part], transform: Transform) -> list[float]:
    """What variances that each part has seen are multiplied by, so that levels compare as if all had seen the same.

    Few samples of a heavy tail show a small variance of a model and of its difference alike: a part counts by what it
    says beside the level below, whose variance the part before has told.
    """
    out, known = [], None
    for part in parts:
        below = None if known is None else _spread(part, transform, part.level - 1)
        out.append(known / below if known and below else 1.0)
        known = out[-1] * _spread(part, transform, part.level)
    return out


def _spread(part: Part, transform: Transform, model: int, other: int | None = None) -> float:
    """Variance of a model of a part, or of its difference to another one."""
    values = transform(part.groups[part.everything].values)
    own = values[:, :, part.models.index(model)]
    if other is not None:
        own = own - values[:, :, part.models.index(other)]
    return float(np.sum(np.var(own.reshape(-1, own.shape[-1]), axis=0)))
