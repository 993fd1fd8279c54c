"""What training points would miss: narrow peaks of sources and coefficients, and jumps, found before training.

Every term is evaluated along lines through the box with the unknowns held fixed (`OwnTerm`). Where a difference of the
user's own changes sign, and around the largest values, it is looked at on all scales.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hierax.objective.build import is_equation
from hierax.objective.own_variation import OwnTerm
from hierax.problems.domain import Box, Face, Interface
from hierax.problems.keys import seed_of
from hierax.problems.problem import Problem
from hierax.problems.sampling import Sobol
from hierax.problems.terms import Data, Energy

LINES = {1: (1, 1 << 14), 2: (5, 1 << 10), 3: (4, 1 << 9)}
"""Lines along every axis, and points on each, by the number of axes."""
SPACING = 1.0 / 24.0
"""Distance of the points of the coarsest grid, in sizes of the box."""
NARROW = 1.0 / 3.0
"""Peaks narrower than this part of the spacing are missed by most of its points."""
SHARE = 1e-3
"""Smallest share of the integral that makes a peak count."""
SEEN = 0.1
"""Values that are half as far from most as a peak at more than this part of all points are an oscillation."""
DEEP = 44
"""Halvings of the box down to the smallest scale that is looked at."""
SMOOTH = 5
"""Smallest of these scales at which everything that counts is smooth: what differs there is rounding."""
ROUNDING = 10.0
"""Multiple of what rounding changes that a peak or jump exceeds."""
CROSSINGS = 12
"""More changes of sign than these of one difference on a line are an oscillation."""
MOST = 96
"""Most places that are looked at on all scales."""


@dataclass(frozen=True, eq=False)
class Peak:
    """A narrow peak: of which term, where, and its half-width along each axis (infinite where it is not narrow)."""

    term: int
    place: np.ndarray
    widths: np.ndarray


@dataclass(frozen=True, eq=False)
class Jump:
    """A jump across a plane `x[axis] = place[axis]`, or across a curved surface through `place`.

    Attributes
    ----------
    flat:
        Whether the same on all lines along the axis.
    lost:
        Whether the coefficient of a derivative jumps inside of another, so that the equation at points does not see
        what the jump does.
    """

    term: int
    axis: int
    place: np.ndarray
    flat: bool
    lost: bool


Feature = Peak | Jump


def missed(problem: Problem, order: int, linear: bool = True) -> list[Feature]:
    """Peaks and jumps of the terms of a problem on a box of one to three coordinates; none for others.

    `linear` says that coefficients do not depend on the unknowns.
    """
    if not isinstance(problem.domain, Box) or problem.domain.dim not in LINES:
        return []
    found: list[Feature] = []
    for k, term in enumerate(problem.terms):
        if isinstance(term, Data):
            continue
        try:
            slope = 0.0 if linear and not isinstance(term, Energy) else 1.0
            own = OwnTerm(problem, term, order if is_equation(term, problem) else -1, slope)
            if own.sharp:
                for place in (p for p in problem.places(term) if not isinstance(p, Interface)):
                    found += _Look(problem.domain, own, k, place).features()  # pyright: ignore
        except (TypeError, ValueError, ZeroDivisionError, FloatingPointError):
            continue  # a term that cannot be evaluated with fixed unknowns is judged by training
    return found


class _Places(NamedTuple):
    """Places on lines: points, the axis of the line, the number of the line, and whether inside a derivative."""

    points: np.ndarray
    axis: np.ndarray
    line: np.ndarray
    derived: np.ndarray


class _Look:
    """One term on one of its places, looked at."""

    def __init__(self, box: Box, own: OwnTerm, number: int, face: Face | None):
        self.own, self.number = own, number
        self.low, self.size = box.lower, box.upper - box.lower
        self.normal, self.fixed, self.at = np.zeros(box.dim), None, None
        if face is not None:
            self.fixed, self.at, sign = box.plane(face)
            self.normal[self.fixed] = sign
        self.axes = [a for a in range(box.dim) if a != self.fixed]
        self.box = box

    def features(self) -> list[Feature]:
        if not self.axes:
            return []
        lines = list(self._lines())
        values = [self._values(points) for _, points in lines]
        crossed = self._crossings(lines, [d for _, d in values])
        dense = np.concatenate([v for v, _ in values])
        peaks = self._peaks(self._candidates(crossed, lines, [v for v, _ in values]), dense)
        if not self.own.breaks or self.fixed is not None:
            return [*peaks]
        steps = self._steps(lines, [v for v, _ in values])
        return [*peaks, *self._jumps(_joined(crossed, steps), dense)]

    def _values(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, differences = self.own(points, self.normal)
        return np.nan_to_num(values.reshape(len(points), -1), posinf=0.0, neginf=0.0), differences

    def _lines(self) -> Iterator[tuple[int, np.ndarray]]:
        count, points = LINES[len(self.axes)]
        bases = Sobol(self.box).sample(seed_of(0, 7), 0, 8).points[:count]
        along = (np.arange(points) + 0.5) / points
        for axis in self.axes:
            for base in bases:
                line = np.repeat(base[None], points, axis=0)
                if self.fixed is not None:
                    line[:, self.fixed] = self.at
                line[:, axis] = self.low[axis] + self.size[axis] * along
                yield axis, line

    def _crossings(self, lines: list[tuple[int, np.ndarray]], differences: list[np.ndarray]) -> _Places:
        """Where differences change sign along the lines, to the last bits."""
        starts, ends, axes, numbers, columns = [], [], [], [], []
        for number, ((axis, line), values) in enumerate(zip(lines, differences, strict=True)):
            for column in range(values.shape[1]):
                side = values[:, column] > 0
                (at,) = np.nonzero(side[1:] != side[:-1])
                if 0 < at.size <= CROSSINGS:
                    starts.append(line[at])
                    ends.append(line[at + 1])
                    axes += [axis] * at.size
                    numbers += [number] * at.size
                    columns += [column] * at.size
        if not axes:
            return _none(len(self.low))
        low, high, rows, cols = np.concatenate(starts), np.concatenate(ends), np.arange(len(axes)), np.array(columns)
        first = self._values(low)[1][rows, cols] > 0
        for _ in range(52):
            middle = 0.5 * (low + high)
            same = (self._values(middle)[1][rows, cols] > 0) == first
            low, high = np.where(same[:, None], middle, low), np.where(same[:, None], high, middle)
        return _Places(high, np.array(axes), np.array(numbers), self.own.derived[cols])

    def _steps(self, lines: list[tuple[int, np.ndarray]], values: list[np.ndarray]) -> _Places:
        """Neighbours on lines that differ by far more than others, halved as long as the larger part stays."""
        starts, ends, axes, numbers = [], [], [], []
        for number, ((axis, line), own) in enumerate(zip(lines, values, strict=True)):
            step = np.abs(np.diff(own, axis=0)) / np.maximum(np.abs(own).max(axis=0), 1e-300)
            unusual = np.max(np.where(step > np.maximum(20.0 * np.median(step, axis=0), 1e-3), step, 0.0), axis=1)
            at = np.argsort(-unusual)[:CROSSINGS]
            at = at[unusual[at] > 0]
            starts.append(line[at])
            ends.append(line[at + 1])
            axes += [axis] * at.size
            numbers += [number] * at.size
        if not axes:
            return _none(len(self.low))
        low, high = np.concatenate(starts), np.concatenate(ends)
        below, above = self._values(low)[0], self._values(high)[0]
        scale = np.maximum(np.max(np.abs(np.concatenate([below, above])), axis=0), 1e-300)
        for _ in range(52):
            middle = 0.5 * (low + high)
            between = self._values(middle)[0]
            first = np.max(np.abs(between - below) / scale, axis=1) > np.max(np.abs(above - between) / scale, axis=1)
            low, high = np.where(first[:, None], low, middle), np.where(first[:, None], middle, high)
            below, above = np.where(first[:, None], below, between), np.where(first[:, None], between, above)
        derived = np.full(len(axes), self.own.inner)
        return _Places(high, np.array(axes), np.array(numbers), derived)

    def _candidates(
        self, crossed: _Places, lines: list[tuple[int, np.ndarray]], values: list[np.ndarray]
    ) -> np.ndarray:
        """Where a peak may be: crossings, where those of all axes meet, and the largest values on lines."""
        found = [crossed.points]
        shared = [self._shared(crossed, axis) for axis in self.axes]
        if len(self.axes) > 1 and all(len(s) for s in shared):
            meeting = np.array(list(itertools.islice(itertools.product(*shared), MOST)))
            points = np.repeat(crossed.points[:1], len(meeting), axis=0)
            points[:, self.axes] = meeting
            found.insert(0, points)
        for (_, line), own in zip(lines, values, strict=True):
            away = np.abs(own - np.median(own, axis=0))
            found.append(line[np.unique(np.argmax(away, axis=0))])
        points = np.concatenate(found)
        _, first = np.unique(np.round((points - self.low) / self.size, 12), axis=0, return_index=True)
        return points[np.sort(first)][:MOST]

    def _shared(self, crossed: _Places, axis: int) -> np.ndarray:
        """Coordinates along an axis at which several lines cross."""
        own = crossed.axis == axis
        at, count = np.unique(
            np.round((crossed.points[own, axis] - self.low[axis]) / self.size[axis], 9), return_counts=True
        )
        exact = crossed.points[own, axis]
        near = [exact[np.argmin(np.abs(exact - self.low[axis] - self.size[axis] * a))] for a in at[count > 1]]
        return np.array(near)[:CROSSINGS]

    def _peaks(self, places: np.ndarray, dense: np.ndarray) -> list[Peak]:
        """Those of the candidates where a source or coefficient has a narrow peak that counts, each once."""
        if not len(places):
            return []
        radii = SPACING * 0.5 ** np.arange(DEEP + 1)
        away = [self._profile(places, axis, radii, dense) for axis in self.axes]
        widths = np.full((len(places), dense.shape[1], len(self.low)), np.inf)
        heights = np.zeros((len(places), dense.shape[1]))
        for axis, (deviation, rounding) in zip(self.axes, away, strict=True):
            at = np.argmax(deviation * radii[:, None], axis=1)
            narrow = (radii[at] < NARROW * SPACING) & (at <= DEEP - SMOOTH)
            top = np.take_along_axis(deviation, at[:, None], axis=1)[:, 0]
            widths[..., axis] = np.where(narrow & (top > ROUNDING * rounding), radii[at] * self.size[axis], np.inf)
            heights = np.maximum(heights, np.where(narrow, top, 0.0))
        part = np.prod(np.minimum(2.0 * widths / self.size, 1.0), axis=2)
        whole = np.mean(np.abs(dense), axis=0)
        share = heights * part / np.maximum(heights * part + whole, 1e-300)
        away_from_most = np.abs(dense - np.median(dense, axis=0))
        seen = np.array([np.mean(away_from_most > 0.5 * height, axis=0) for height in heights])
        counts = np.any(np.isfinite(widths), axis=2) & (share > SHARE) & (seen < SEEN)
        return self._apart(places, widths, np.where(counts, share, 0.0))

    def _profile(
        self, places: np.ndarray, axis: int, radii: np.ndarray, dense: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Largest deviation from values far away `(places, radii, columns)` along an axis, and how far they round."""
        sides = []
        for sign in (-1.0, 1.0):
            points = np.repeat(places[:, None], len(radii), axis=1)
            points[..., axis] += sign * radii * self.size[axis]
            points[..., axis] = np.clip(points[..., axis], self.low[axis], self.low[axis] + self.size[axis])
            values = self._values(points.reshape(-1, len(self.low)))[0]
            sides.append(values.reshape(len(places), len(radii), dense.shape[1]))
        far = 0.5 * (sides[0][:, :1] + sides[1][:, :1])
        shaken = [np.ptp(side[:, -SMOOTH:], axis=1) for side in sides]
        return np.maximum(np.abs(sides[0] - far), np.abs(sides[1] - far)), np.maximum(*shaken)

    def _apart(self, places: np.ndarray, widths: np.ndarray, share: np.ndarray) -> list[Peak]:
        found: list[Peak] = []
        # crossings, which are exact, come before points of lines that show about the same
        rank = np.round(np.log2(np.maximum(share.max(axis=1), 1e-300)))
        for row in np.argsort(-rank, kind="stable"):
            column = int(np.argmax(share[row]))
            if share[row, column] <= 0:
                break
            own = Peak(self.number, places[row], widths[row, column])
            if not any(np.all(np.abs(own.place - p.place) <= 4.0 * np.maximum(own.widths, p.widths)) for p in found):
                found.append(own)
        return found

    def _jumps(self, places: _Places, dense: np.ndarray) -> list[Jump]:
        """Those of the places where values differ from both sides however near."""
        if not len(places.axis):
            return []
        near, beside, far = (self._across(places, d) for d in (1e-11, 2e-11, 1e-8))
        size = np.maximum(np.maximum(*map(np.abs, near)), 1e-12 * np.abs(dense).max(axis=0))
        gap, wide = (np.abs(above - below) for below, above in (near, far))
        rounding = np.maximum(*(np.abs(one - other) for one, other in zip(near, beside, strict=True)))
        real = (gap > 1e-6 * size) & (gap > 0.5 * wide) & (gap > ROUNDING * rounding)
        kept = np.any(real, axis=1)
        found: list[Jump] = []
        for axis in self.axes:
            own = kept & (places.axis == axis)
            found += self._on_axis(axis, _Places(*(p[own] for p in places)), real[own])
        return found

    def _across(self, places: _Places, distance: float) -> tuple[np.ndarray, np.ndarray]:
        step = np.zeros_like(places.points)
        step[np.arange(len(step)), places.axis] = distance * self.size[places.axis]
        return self._values(places.points - step)[0], self._values(places.points + step)[0]

    def _on_axis(self, axis: int, places: _Places, real: np.ndarray) -> list[Jump]:
        found: list[Jump] = []
        slopes = np.arange(real.shape[1]) % (self.own.order + 2) >= 2
        at = np.round((places.points[:, axis] - self.low[axis]) / self.size[axis], 8)
        lines, several = LINES[len(self.axes)][0], []
        for value in np.unique(at):
            own = at == value
            reached = len(np.unique(places.line[own]))
            lost = bool(np.any(real[own][:, slopes][places.derived[own]]))
            jump = Jump(self.number, axis, places.points[own][0], reached > 1 or lines == 1, lost)
            (found if jump.flat else several).append(jump)
        # one of a curved surface stands for all
        return [*found, *sorted(several, key=lambda j: not j.lost)[:1]]


def _none(dim: int) -> _Places:
    return _Places(np.zeros((0, dim)), np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool))


def _joined(first: _Places, second: _Places) -> _Places:
    return _Places(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
