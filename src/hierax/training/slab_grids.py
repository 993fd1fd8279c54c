"""The grids of time slabs: how one follows from the one before, in time, in space, and in a frame that moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from hierax.fields import Frame, Slabs, Unknowns
from hierax.fields.moving import frame_of, in_frame
from hierax.hierarchy.drift import drift
from hierax.hierarchy.regrid import breakpoints_of, coarsened, held, jumps, refined, regrid
from hierax.objective import Samples
from hierax.problems.problem import Problem
from hierax.training.state import Slab

INTERVALS = 6
"""Intervals of a slab along time."""


@final
@dataclass(frozen=True, eq=False)
class SlabGrids:
    """Grids of slabs that all come from one coarsest field.

    Attributes
    ----------
    start:
        The coarsest field on the whole time, whose degrees, ends and longest intervals all slabs have; at rest in its
        frame.
    axis:
        Number of the coordinate that is time.
    """

    start: Any
    axis: int

    @classmethod
    def of(cls, problem: Problem, start: Any, axis: int) -> SlabGrids:
        """Grids from the coarsest field of a problem; with a frame where there are periodic coordinates."""
        domain = problem.domain
        periodic = [name in domain.periodic for name in domain.names or ()]
        if not any(periodic):
            return cls(start, axis)
        return cls(in_frame(start, Frame.resting(*domain.bounds(), periodic, axis)), axis)

    @property
    def ends(self) -> tuple[float, float]:
        """Begin and end of the whole time."""
        return times(self.start, self.axis)

    def first(self, begin: float, end: float, followed: Any = None) -> Any:
        """The coarsest grid on the first part of the time, in a frame that follows a field that was trained there."""
        slab = self.part(self.start, begin, end)
        return slab if followed is None else self._following(slab, followed, begin)

    def continued(self, before: Slab, begin: float, end: float, tolerance: float) -> Any:
        """First guess for a slab: the end of the one before, held, in a frame that follows it, on knots without those
        no longer needed."""
        breaks = [
            b if k == self.axis else coarsened(b, share, tolerance**2, self._longest(k))
            for k, (b, share) in enumerate(zip(breakpoints_of(before.field), before.shares, strict=True))
        ]
        guess = held(regrid(before.field, breaks), self.axis, np.linspace(begin, end, INTERVALS + 1))
        return self._following(guess, before.field, begin)

    def part(self, field: Any, begin: float, end: float) -> Any:
        """The field on a part of its time."""
        breaks = list(breakpoints_of(field))
        breaks[self.axis] = np.linspace(begin, end, INTERVALS + 1)
        return regrid(field, breaks)

    def refined(self, slab: Slab, tolerance: float, coarsen: bool = False) -> Any:
        """A slab refined in space where its residual is; also coarsened where there is hardly any."""
        errors = jumps(slab.field, self.axis, slab.shares)
        worst = np.delete(errors, self.axis).max(initial=0.0)
        out = []
        for k, (breaks, share) in enumerate(zip(breakpoints_of(slab.field), slab.shares, strict=True)):
            if k == self.axis or errors[k] < 0.1 * worst:
                out.append(breaks)
                continue
            finer = refined(breaks, share, tolerance**2)
            if coarsen:
                kept = coarsened(breaks, share, tolerance**2, self._longest(k))
                finer = np.union1d(kept, np.setdiff1d(finer, breaks))
            out.append(finer)
        return regrid(slab.field, out)

    def joined(self, slabs: Sequence[Slab]) -> Any:
        """All slabs as one field."""
        fields = [slab.field for slab in slabs]
        if not isinstance(fields[0], Unknowns):
            return Slabs(fields, self.axis)
        return Unknowns(**{name: Slabs([f.parts[name] for f in fields], self.axis) for name in fields[0].parts})

    def _longest(self, axis: int) -> float:
        return float(np.diff(breakpoints_of(self.start)[axis]).max())

    def _following(self, slab: Any, before: Any, time: float) -> Any:
        """A slab whose frame goes on with the velocity that the field before had in its last interval of time."""
        frame = frame_of(before)
        if frame is None:
            return slab
        return in_frame(slab, frame.turned(np.asarray(frame.velocity) + drift(before, self.axis), time))


def on_slabs(field: Any) -> bool:
    """Whether a field consists of time slabs."""
    parts = field.parts.values() if isinstance(field, Unknowns) else (field,)
    return all(isinstance(part, Slabs) for part in parts)


def slabs_of(field: Any) -> list[Any]:
    """The slabs of a field that consists of them, each with all unknowns."""
    if not isinstance(field, Unknowns):
        return list(field.parts)
    each = zip(*(part.parts for part in field.parts.values()), strict=True)
    return [Unknowns(**dict(zip(field.parts, grids, strict=True))) for grids in each]


def times(field: Any, axis: int) -> tuple[float, float]:
    """Begin and end of a slab."""
    breaks = breakpoints_of(field)[axis]
    return float(breaks[0]), float(breaks[-1])


def outside(field: Any, samples: Sequence[Samples]) -> list[Samples]:
    """Samples in the coordinates of the frame of a field, as points of the domain."""
    frame = frame_of(field)
    return list(samples) if frame is None else [replace(s, points=frame.outside(s.points)) for s in samples]
