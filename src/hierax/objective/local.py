"""Objectives of fields whose cells do not move: curvature is assembled element by element, the cost is linear."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from hierax.devices import added
from hierax.fields.base import positions
from hierax.objective.assembly import AbstractGramSum, LocalTerm, chunk, layout_of, local_residuals, on_host
from hierax.objective.curvature import Ordering, SparseGram
from hierax.objective.diagonals import BandSum, SparseSum
from hierax.objective.extension import ExtendedGram, Extension
from hierax.objective.objective import (
    AbstractLeastSquares,
    AbstractSampledObjective,
    AbstractSeparable,
    Linearisation,
    flat_parameters,
)
from hierax.objective.ordering import narrow_order
from hierax.objective.rows import RowObjective
from hierax.objective.samples import Elements, Samples, group
from hierax.objective.spline_energies import EnergyTerm, suits
from hierax.objective.stencil import Mesh, StencilSum

ROW_WORK = 15.0
"""Cost of one entry of an element matrix in units of one multiplication of a banded factorisation, measured."""

KEPT = 10_000
"""Points of a term up to which what is gathered of the field for their elements is kept from step to step."""
STENCIL_WORK = 5.0e3
"""Cost of a multigrid solve for one coupling of a stencil, in the same units, measured."""

DISSECTED = {1: 1.0, 2: 1.3, 3: 0.35}
"""Cost of a factorisation by dissection for the cube of the band, by the number of coordinates, in the same units,
measured."""


def factoring(size: int, band: int, dissected: int | None) -> float:
    """Cost of a factorisation with a band, or by dissection in so many coordinates."""
    return float(band) ** 2 * (size if dissected is None else min(size, DISSECTED[dissected] * band))


class LocalObjective(AbstractSampledObjective, AbstractSeparable):
    """For fields with cells that do not depend on their parameters: band or stencil storage, cost linear in the points.

    Parameters
    ----------
    field:
        A field for which `has_fixed_cells` holds.
    samples:
        One entry a term.
    periodic:
        Which coordinates wrap around.
    quadratics:
        Quadratic penalties, see `SparseGram.penalty`; further terms after the sampled ones.
    mesh:
        Present if the curvature is stored as a stencil on this mesh and not as a band; not with penalties.
    quadratic:
        Whether all residuals are affine in the parameters and there is no energy of higher order.
    extension:
        How functions that hardly meet the domain are bound to others; see `hierax.objective.extension`.
    """

    assembled = True

    def __init__(
        self,
        field: Any,
        samples: Sequence[Samples],
        periodic: Sequence[bool],
        quadratics: Sequence[SparseGram] = (),
        mesh: Mesh | None = None,
        quadratic: bool = False,
        extension: Extension | None = None,
    ) -> None:
        self.field = field
        self.extension = extension
        self.samples = tuple(samples)
        self.periodic = tuple(periodic)
        self.quadratics = tuple(quadratics)
        self.quadratic_scales = np.ones(len(self.quadratics))
        self.mesh = mesh
        self.quadratic = quadratic
        self.terms = [_local_term(field, s) for s in self.samples]

    @property
    def size(self) -> int:
        return len(flat_parameters(self.field)[0])

    @cached_property
    def ordering(self) -> Ordering:
        """Order of the parameters in the band."""
        where = positions(self.field, len(self.periodic))
        met = [t.indices() for t in self.terms]
        if self.quadratics:
            pattern = sp.triu(sum(abs(q.matrix) for q in self.quadratics), k=1, format="coo")
            met.append(np.stack(pattern.coords, axis=1))
        return narrow_order(where, met, self.periodic)

    @property
    def scales(self) -> np.ndarray:
        return np.r_[super().scales, self.quadratic_scales]

    def rescaled(self, scales: Sequence[float]) -> LocalObjective:
        if self.mesh is None and self.extension is None:
            _ = self.ordering  # found once, and kept by the copy
        other = self._with([s.scaled(c) for s, c in zip(self.samples, scales[: len(self.samples)], strict=True)])
        other.quadratic_scales = np.asarray(scales[len(self.samples) :], dtype=float)
        return other

    def _with(self, samples: Sequence[Samples]) -> LocalObjective:
        """The same with samples at the same points."""
        other = copy.copy(self)
        other.samples = tuple(samples)
        other.terms = [replace(t, samples=s) for s, t in zip(samples, self.terms, strict=True)]
        return other

    def keeping(self) -> LocalObjective:
        """The same, which keeps what it gathers of the field for all that are made from it by `of_member`."""
        other = self._with(self.samples)
        other.terms = [t.keeping() for t in self.terms]
        _ = other.ordering
        return other

    def of_member(self, inputs: np.ndarray) -> LocalObjective:
        """The same of another member of a family."""
        return self._with([s.of_member(inputs) for s in self.samples])

    def values(self, theta: np.ndarray) -> np.ndarray:
        sampled = added(np.array([t.value(theta) for t in self.terms]))
        return np.r_[sampled, [q.penalty(theta)[0] for q in self.quadratics]]

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = np.zeros(len(theta))
        value = sum(t.samples.scale * t.accumulate(theta, gradient, None) for t in self.terms)
        value, gradient = added((value, gradient))
        for scale, quadratic in zip(self.quadratic_scales, self.quadratics, strict=True):
            own, slope = quadratic.penalty(theta)
            value, gradient = value + scale * own, gradient + scale * slope
        return float(value), gradient

    def linearise(self, theta: np.ndarray) -> Linearisation:
        gradient, gram = np.zeros(len(theta)), self._sum()
        value = sum(t.samples.scale * t.accumulate(theta, gradient, gram) for t in self.terms)
        value, gradient = added((value, gradient))
        curvature = gram.result()
        for scale, quadratic in zip(self.quadratic_scales, self.quadratics, strict=True):
            own, slope = quadratic.penalty(theta)
            value, gradient = value + scale * own, gradient + scale * slope
            quadratic.add_to(curvature, scale)  # pyright: ignore
        if self.extension is not None:
            curvature = ExtendedGram(curvature, self.extension)  # pyright: ignore
        return Linearisation(float(value), gradient, curvature)

    @property
    def exact(self) -> LocalObjective | None:
        """Energies of splines have their whole second derivatives in it, squares their rows alone."""
        if self.quadratic or not any(isinstance(t, EnergyTerm) for t in self.terms):
            return None
        other = copy.copy(self)
        other.terms = [replace(t, exact=True) if isinstance(t, EnergyTerm) else t for t in self.terms]
        return other

    def _sum(self) -> AbstractGramSum:
        if self.extension is not None and not self.quadratics:
            return SparseSum(positions(self.field, len(self.periodic)), [t.indices() for t in self.terms])
        return BandSum(self.ordering) if self.mesh is None else StencilSum(self.mesh)

    def linearise_each(self, theta: np.ndarray) -> list[Linearisation]:
        out = []
        for term in self.terms:
            gradient, gram = np.zeros(len(theta)), BandSum(self.ordering)
            value = replace(term, samples=term.samples.scaled(1.0)).accumulate(theta, gradient, gram)
            out.append(Linearisation(*added((value, gradient)), gram.result()))
        for quadratic in self.quadratics:
            out.append(Linearisation(*quadratic.penalty(theta), quadratic))
        return out

    def diagonals(self, theta: np.ndarray, equations: np.ndarray | None = None) -> np.ndarray:
        out = np.zeros((len(self.terms), len(theta)))
        inside = np.zeros(len(self.terms), dtype=bool) if equations is None else equations
        for term in np.flatnonzero(~inside):
            self.terms[term].add_diagonal(theta, out[term])
        out = added(out)
        touched = np.any(out != 0.0, axis=0)
        met = np.zeros_like(out)
        for term in np.flatnonzero(inside):
            self.terms[term].meeting(touched).add_diagonal(theta, met[term])
        return out + added(met)

    def least_squares(self) -> AbstractLeastSquares | None:
        rows = RowObjective(self.field, self.samples, quadratic=self.quadratic)
        return None if self.quadratics else rows.least_squares()

    def residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        field = flat_parameters(self.field)[1](theta)
        return [local_residuals(field, s) for s in self.samples]

    @property
    def work(self) -> float:
        rows = sum(s.count * t.coefficients**2 for s, t in zip(self.samples, self.terms, strict=True))
        o, dissected = self.ordering, None if self.extension is None else len(self.periodic)
        solving = STENCIL_WORK * self.mesh.couplings if self.mesh else factoring(o.size, o.band, dissected)
        return ROW_WORK * rows + solving


def _local_term(whole: Any, samples: Samples) -> LocalTerm:
    field = samples.term.with_sides(whole)
    order, padded = group(field.cell_keys(samples.points))
    local = field.gather(samples.points[:1])[1]
    kind = EnergyTerm if suits(samples.term, local) else LocalTerm
    elements = Elements(order, padded, on_host(field), {} if samples.count <= KEPT else None)
    layout = layout_of(local)[0]
    return kind(samples, elements, layout, chunk(samples, layout.coefficients))
