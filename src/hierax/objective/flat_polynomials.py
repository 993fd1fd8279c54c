"""Changes of unknowns of many coordinates that violate no term, looked for among polynomials.

Whatever a field is made of, a change that is free is a function of the coordinates, and polynomials of ever higher
degree come near to it: its violation falls from degree to degree, where that of a determined problem stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import jax
import numpy as np
from jaxtyping import Float

from hierax.geometry import Part
from hierax.objective.build import SampledProblem
from hierax.objective.compiled import compiled_quickly
from hierax.objective.flatness import Direction, Functions, Number, numbers, of_forms
from hierax.objective.jet_rows import JetRows, parts_of
from hierax.objective.jets import Jet
from hierax.objective.objective import flat_parameters
from hierax.objective.polynomials import Polynomials
from hierax.objective.samples import Samples, make_samples
from hierax.objective.zero_ends import prescribed_ends
from hierax.problems.domain import Box, Face, Interface
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.sampling import AbstractSampler, Arcsine, Sobol, on_face, without

LARGEST = 1001
"""Most coefficients of all unknowns."""
POINTS = 3
"""Points for each function of a component, inside and on a face."""
SMOOTH = 2
"""Total degree of what counts as smooth."""
BENT = 5
"""Most coordinates for which points crowd at the faces, as stable sums over polynomials of high degrees ask for."""


def degrees(problem: Problem) -> list[int]:
    """Total degrees that are looked at, the last with as many functions as are affordable."""
    components = sum(f.components or 1 for f in problem.functions.values())
    fits = [p for p in range(2, 12) if components * Polynomials.count(problem.domain.dim, p) <= LARGEST]
    most = max(fits, default=2)
    step = 2 if most > 5 else 1
    return [p for p in range(most - 3 * step, most + 1, step) if p > 1]


def flattest_polynomials(
    sampled: SampledProblem, field: Any, degree: int, key: Key
) -> tuple[list[Direction], Float[np.ndarray, "n dim"]]:
    """The polynomial changes that violate the terms least, the flattest first, and where their values are told.

    Conditions on values at a face are met exactly, all others in the mean over points.

    Parameters
    ----------
    sampled:
        Of a problem in a box, whose terms see the derivatives at their points only, and no data.
    field:
        A low-rank tensor, or several, about which nonlinear terms are linearised.
    degree:
        Total degree of the polynomials.
    key:
        Of the points.
    """
    problem, box = sampled.problem, sampled.problem.domain
    assert isinstance(box, Box)
    bases = {name: Polynomials(box, degree, prescribed_ends(problem, name)) for name in problem.functions}
    names = tuple(name for name, f in problem.functions.items() for _ in range(f.components or 1))
    count = Polynomials.count(box.dim, degree)
    whole = POINTS * count
    spread = Arcsine if box.dim <= BENT else Sobol
    inside = spread(box).sample(seed_of(key, 0), 0, whole).points
    columns, forms = _Columns(problem, bases, names, count), []
    for number, (term, point) in enumerate(zip(sampled.terms, sampled.point_terms, strict=True)):
        drawn = [_points(box, place, whole, spread, seed_of(key, number + 1)) for place in problem.places(term)]
        points, normals = (np.concatenate(part) for part in zip(*drawn, strict=True))
        samples = make_samples(point, points, np.full(len(points), 1.0 / len(points)), normals)
        forms.append(columns.form(field, samples))
    smooth = bases[names[0]].orders.sum(axis=1) <= SMOOTH
    waves = tuple(bases[name].values(inside, (0,) * box.dim)[:, smooth] for name in names)
    sizes = np.concatenate([_sizes(part, inside) for name, part in parts_of(problem, field).items() if name in bases])
    functions = Functions(names, tuple(columns.values(inside)), np.full(whole, 1.0 / whole), waves, sizes)
    own = enumerate(numbers(problem, field, flat_parameters(field)[0]), len(names) * count)
    return of_forms(forms, functions, [_of_value(number, place) for place, number in own]), inside


def _of_value(number: Number, place: int) -> Number:
    """A constant whose parameter is its value."""
    return Number(number.name, place, 1.0, number.relative / number.slope)


def _sizes(part: Any, points: np.ndarray) -> np.ndarray:
    """Mean squares of the components of a tensor."""
    values = np.asarray(compiled_quickly(jax.vmap(part))(points)).reshape(len(points), -1)
    return np.mean(values**2, axis=0)


def _points(
    box: Box,
    place: Face | Interface | Part | str | None,
    count: int,
    spread: Callable[[Box], AbstractSampler],
    key: Key,
) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals of a place in a box, the latter zero inside."""
    if place is None:
        points = spread(box).sample(key, 0, count).points
        return points, np.zeros_like(points)
    assert isinstance(place, Face | Interface)
    batch = on_face(box, place, spread(without(box, box.axis(place.name))), key, count, None)
    assert batch.normals is not None
    return batch.points, batch.normals


@final
@dataclass(frozen=True, eq=False)
class _Columns:
    """Coefficients of polynomials, component after component, and the constants behind them."""

    problem: Problem
    bases: Mapping[str, Polynomials]
    names: Sequence[str]
    count: int

    @property
    def size(self) -> int:
        return len(self.names) * self.count + len(self.problem.constants)

    def values(self, points: np.ndarray) -> Iterator[np.ndarray]:
        """For each component its derivative in all of them, `(n, N)`."""
        nothing = (0,) * points.shape[1]
        for number, name in enumerate(self.names):
            out = np.zeros((len(points), self.size))
            out[:, self._place(number)] = self.bases[name].values(points, nothing)
            yield out

    def form(self, field: Any, samples: Samples) -> np.ndarray:
        """Gauss-Newton matrix `(N, N)` of a term, linearised about a field."""
        objective, out = JetRows(self.problem, field, [samples]), np.zeros((self.size, self.size))
        for block in objective.blocks(samples, flat_parameters(field)[0]):
            slopes = block.expanded(samples).rows
            rows = self._rows(block.term.jets, samples.points[block.pick], slopes).reshape(-1, self.size)
            out += rows.T @ rows * samples.weights[0]
        return out

    def _rows(self, jets: Sequence[Jet], points: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """What has these slopes `(n, m, jets)` in the jets as rows `(n, m, N)`."""
        constants, out = list(self.problem.constants), np.zeros((*slopes.shape[:2], self.size))
        for k, jet in enumerate(jets):
            if jet.orders:
                own = self._place(self.names.index(jet.name) + jet.component)
                out[:, :, own] += slopes[:, :, k, None] * self.bases[jet.name].values(points, jet.orders)[:, None]
            else:
                out[:, :, len(self.names) * self.count + constants.index(jet.name)] += slopes[:, :, k]
        return out

    def _place(self, number: int) -> slice:
        return slice(number * self.count, (number + 1) * self.count)
