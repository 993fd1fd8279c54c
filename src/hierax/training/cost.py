"""What a level costs: memory, counted work, and seconds at a nominal speed.

Decisions use counted work, so that one seed gives the same bits on any machine; only the end of the budget looks at a
clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hierax.fields import parameter_count
from hierax.fields.base import mesh, positions
from hierax.hierarchy import Level
from hierax.objective.local import ROW_WORK, STENCIL_WORK, factoring
from hierax.objective.ordering import narrow_order
from hierax.objective.rows import DENSE_LIMIT

if TYPE_CHECKING:
    from hierax.training.discrete import DiscreteProblem

BAND_ENTRIES = 2.0e8
"""Most numbers in a band matrix: 1.6 GB, and as much again for its factor."""
COUPLINGS = 1.5e8
"""Most numbers in a stencil: 1.2 GB, and about three times as much for its pattern and smoothers."""
SPEED = 4e9
"""Work units a second of a nominal machine: between three and eight times 10^9 were measured on one core."""
VISIT_SECONDS = 0.5
"""Seconds of a visit on a nominal machine besides its work, most of them compilation."""


def fits(discrete: DiscreteProblem, field: Any) -> bool:
    """Whether the matrices of a level stay within memory."""
    size = parameter_count(field)
    if discrete.local(field):
        stencil = discrete.stencil(field)
        if stencil is not None:
            return stencil.couplings <= COUPLINGS
        if discrete.bound:
            # the factor, and the diagonals that the cells meet
            k = field.gather(discrete.probes[:1])[0].shape[1]
            return max(2.5 * band_width(discrete, field) ** 2, 4.0 * k * size) <= BAND_ENTRIES
        return size * band_width(discrete, field) <= BAND_ENTRIES / (3 if discrete.plan.penalties else 1)
    return size <= DENSE_LIMIT


def band_width(discrete: DiscreteProblem, field: Any) -> int:
    """Width of the band with its dense rows, from the cells of a few points."""
    indices, _ = field.gather(discrete.probes[::8])
    order = narrow_order(positions(field, discrete.problem.domain.dim), [indices], discrete.periodic)
    return order.band + order.dense


def work(discrete: DiscreteProblem, level: Level, coarser: Level | None = None) -> float:
    """Work of one step on a level, in units that are the same for all levels of a field.

    The points of a level that may not come to be are estimated from those of a `coarser` one, where they would have to
    be looked for in the cells that a boundary cuts.
    """
    field = level.field
    size = parameter_count(field)
    if not discrete.local(field):
        return float(size) ** 2 * (1 if level.points is None else min(level.points, discrete.rows.total))
    k = field.gather(discrete.probes[:1])[0].shape[1]
    like = coarser if discrete.bound else None
    stencil = discrete.stencil(field)
    points = float(sum(s.count for s in discrete.samples(field if like is None else like.field)))
    if like is not None:
        points *= _cells(field) / _cells(like.field)
    dissected = discrete.problem.domain.dim if discrete.bound else None
    solving = STENCIL_WORK * stencil.couplings if stencil else factoring(size, band_width(discrete, field), dissected)
    return ROW_WORK * points * k**2 + discrete.plan.solver.solves * solving


def _cells(field: Any) -> int:
    return int(np.prod([len(lines) - 1 for lines in mesh(field) or ()]))


def growth_of_work(discrete: DiscreteProblem, finer: Level, coarse: Level, steps: int) -> float:
    """Work of training a finer level over that of the last one, which took so many steps.

    A level that was chosen by values kept back is fitted once more to all of them, which takes about a step.
    """
    # a level that sees a part of the data is a means: whatever time is left, its steps are of use
    worth = 1 if finer.points is not None else min(max(steps, 1), 6)
    worth += bool(discrete.rows.held) and discrete.refits(finer.field)
    # coarse levels of nonlinear problems take many steps, finer ones few
    return worth / max(steps, 1) * work(discrete, finer, coarse) / work(discrete, coarse)


def nominal_seconds(work_units: float, visits: int = 1) -> float:
    """Seconds of a nominal machine for so much work in so many visits."""
    return work_units / SPEED + VISIT_SECONDS * visits
