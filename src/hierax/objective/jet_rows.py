"""Objectives of low-rank tensors at points: rows of the Jacobian through the jets, with no program for a level.

Along each axis a derivative of a product is a small matrix of basis functions times a factor. The row of a parameter of
one axis is a basis function there times what the other axes leave, so rows cost what they have entries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Float

from hierax.fields import LowRank, Scalar, Unknowns, parameter_count
from hierax.objective.jets import Expansions, Jet, JetTerm, jet_term
from hierax.objective.objective import flat_parameters
from hierax.objective.reduction import CHUNK, own_share
from hierax.objective.row_block import RowBlock
from hierax.objective.rows import ROW_ENTRIES, RowObjective
from hierax.objective.samples import Samples
from hierax.problems.problem import Problem


def is_low_rank(field: Any) -> bool:
    """Whether all unknown functions are low-rank tensors."""
    if isinstance(field, Unknowns):
        parts = field.members
        return all(isinstance(p, LowRank | Scalar) for p in parts) and any(isinstance(p, LowRank) for p in parts)
    return isinstance(field, LowRank)


def parts_of(problem: Problem, field: Any) -> dict[str, Any]:
    """The unknowns of a field by name, in the order of their parameters."""
    return dict(field.parts) if isinstance(field, Unknowns) else {next(iter(problem.functions)): field}


@final
@dataclass(frozen=True, eq=False)
class FactorTables:
    """A low-rank tensor along its axes at points: basis functions `[axis][order]` `(n, free)`, factors `(n, rank)`."""

    part: LowRank
    bases: tuple[dict[int, np.ndarray], ...]
    values: tuple[dict[int, np.ndarray], ...]

    @classmethod
    def at(cls, part: LowRank, points: Float[np.ndarray, "n dim"], jets: Sequence[Jet]) -> FactorTables:
        """With all orders that some jets ask for."""
        orders = [sorted({jet.orders[k] for jet in jets}) for k in range(len(part.axes))]
        bases = tuple({o: part.basis(k, points[:, k], o) for o in own} for k, own in enumerate(orders))
        factors = [np.asarray(factor) for factor in part.factors]
        values = tuple({o: b @ f for o, b in own.items()} for own, f in zip(bases, factors, strict=True))
        return cls(part, bases, values)

    def take(self, pick: slice) -> FactorTables:
        """Of some of the points."""
        bases, values = (tuple({o: a[pick] for o, a in own.items()} for own in t) for t in (self.bases, self.values))
        return FactorTables(self.part, bases, values)

    def jet(self, jet: Jet) -> Float[np.ndarray, " n"]:
        """A derivative at the points."""
        return self._product(jet)[-1] @ self._weights(jet)

    def rows(self, jets: Sequence[Jet], slopes: Float[np.ndarray, "n m jets"]) -> Float[np.ndarray, "n m parameters"]:
        """Derivatives in the parameters of what has these slopes in the jets."""
        n, m, rank = *slopes.shape[:2], self.part.rank
        left: list[dict[int, Any]] = [defaultdict(float) for _ in self.bases]
        outputs = None if self.part.outputs is None else np.zeros((n, m, *self.part.outputs.shape))
        for number, jet in enumerate(jets):
            before, slope = self._product(jet), slopes[:, :, number, None]
            after, weights = np.ones((n, rank)), slope * self._weights(jet)
            for k in range(len(self.bases) - 1, -1, -1):
                left[k][jet.orders[k]] += weights * (before[k] * after)[:, None, :]
                after = after * self.values[k][jet.orders[k]]
            if outputs is not None:
                outputs[:, :, jet.component] += slope * before[-1][:, None, :]
        columns = []
        for own, rest in zip(self.bases, left, strict=True):
            parts = [own[order][:, None, :, None] * value[:, :, None, :] for order, value in rest.items()]
            size = next(iter(own.values())).shape[1] * rank
            columns.append(np.sum(parts, axis=0).reshape(n, m, size) if parts else np.zeros((n, m, size)))
        if outputs is not None:
            columns.append(np.reshape(outputs, (n, m, -1)))
        return np.concatenate(columns, axis=2)

    def _product(self, jet: Jet) -> list[np.ndarray]:
        """Products of the factors of the first axes, `(n, rank)`: of none, of one, ..., of all."""
        out = [np.ones((1, self.part.rank))]
        for own, order in zip(self.values, jet.orders, strict=True):
            out.append(out[-1] * own[order])
        return out

    def _weights(self, jet: Jet) -> np.ndarray:
        outputs = self.part.outputs
        return np.ones(self.part.rank) if outputs is None else np.asarray(outputs)[jet.component]


class Block(NamedTuple):
    """Some samples of a term: their numbers, the tables of the tensors and the jets `(n, J)` at them."""

    pick: np.ndarray
    term: JetTerm
    tables: dict[str, FactorTables]
    jets: np.ndarray

    def expanded(self, s: Samples) -> Expansions:
        """The term at the samples, with its derivatives in the jets."""
        return self.term.expanded(s.places(self.pick), self.jets)


class JetRows(RowObjective):
    """Least squares, or energies, of low-rank tensors at points; see the head of the file.

    Parameters
    ----------
    problem:
        Whose terms are sampled.
    field, samples:
        The field; one entry a term.
    """

    def __init__(self, problem: Problem, field: Any, samples: Sequence[Samples]) -> None:
        super().__init__(field, samples, local=False)
        self.problem = problem
        self.build = flat_parameters(field)[1]

    def rescaled(self, scales: Sequence[float]) -> JetRows:
        return JetRows(self.problem, self.field, [s.scaled(c) for s, c in zip(self.samples, scales, strict=True)])

    def with_samples(self, samples: Sequence[Samples]) -> JetRows:
        return JetRows(self.problem, self.field, samples)

    def values(self, theta: np.ndarray) -> np.ndarray:
        return np.array([sum(float(s.weights[b.pick] @ b.expanded(s).value) for b in self.blocks(s, theta))
                         for s in self.samples])  # fmt: skip

    def residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        blocks = ((s, self.blocks(s, theta)) for s in self.samples)
        return [np.concatenate([b.term.residual(s.places(b.pick), b.jets) for b in own]) for s, own in blocks]

    def row_blocks(self, s: Samples, theta: np.ndarray, shared: bool = False) -> Iterator[RowBlock]:
        most = max(64, ROW_ENTRIES // max(self.size, 1))
        for block in self.blocks(s, theta, shared):
            e = block.expanded(s)
            slopes = np.concatenate([e.rows, e.gradient[:, None]], axis=1)
            for start in range(0, len(block.pick), most):
                own = slice(start, start + most)
                both = self._rows(block.term.jets, {n: t.take(own) for n, t in block.tables.items()}, slopes[own])
                yield RowBlock(both[:, :-1], e.value[own], both[:, -1], s.weights[block.pick[own]], None)

    def blocks(self, s: Samples, theta: np.ndarray, shared: bool = False) -> Iterator[Block]:
        """The samples of a term with the jets there, in blocks of one size, for which one kernel is compiled.

        For `shared` see `evaluated`.
        """
        term = jet_term(self.problem, s.term, s.targets.shape[1])
        assert term is not None
        parts = parts_of(self.problem, self.build(theta))
        starts = range(0, s.count, CHUNK)
        for start in own_share(starts) if shared else starts:
            pick = np.arange(start, min(start + CHUNK, s.count))
            named = {n: [jet for jet in term.jets if jet.name == n] for n, p in parts.items() if isinstance(p, LowRank)}
            tables = {n: FactorTables.at(parts[n], s.points[pick], own) for n, own in named.items() if own}
            columns = [
                tables[jet.name].jet(jet) if jet.orders else np.full(len(pick), float(parts[jet.name].value))
                for jet in term.jets
            ]
            yield Block(pick, term, tables, np.stack(columns, axis=1) if columns else np.zeros((len(pick), 0)))

    def _rows(self, jets: Sequence[Jet], tables: dict[str, FactorTables], slopes: np.ndarray) -> np.ndarray:
        """Rows `(n, m, N)` of all parameters."""
        columns = []
        for name, part in parts_of(self.problem, self.field).items():
            own = [k for k, jet in enumerate(jets) if jet.name == name]
            if name in tables:
                columns.append(tables[name].rows([jets[k] for k in own], slopes[:, :, own]))
            elif isinstance(part, Scalar):
                columns.append(slopes[:, :, own].sum(axis=2, keepdims=True))
            else:
                columns.append(np.zeros((*slopes.shape[:2], parameter_count(part))))
        return np.concatenate(columns, axis=2)
