"""Kinds of fields that the strategy and the command line choose from: how each starts and how it is refined."""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from hierax.fields import (
    KAN,
    MLP,
    AdaptiveBasis,
    Cover,
    DecodedGrid,
    InputBox,
    LowRank,
    PartitionOfUnity,
    Polynomials,
    Scalar,
    SplineGrid,
    StretchedGrid,
    Unknowns,
    linear_in_parameters,
)
from hierax.fields.base import mesh
from hierax.fields.broken_grid import BrokenGrid
from hierax.hierarchy import (
    AbstractRefinement,
    Hierarchy,
    IntervalDoubling,
    MarkedKnots,
    MovingKnots,
    RankGrowth,
    SubdomainHalving,
    WiderOrMoreData,
    WidthGrowth,
)
from hierax.objective.zero_ends import zero_ends
from hierax.problems.continuation import Continuation
from hierax.problems.problem import Problem

GRID_DIMENSIONS = 3
"""Most coordinates for which a tensor grid of splines is used."""
ROWS = 5
"""Values alone for each parameter of a low-rank tensor on its first level."""


class AbstractFamily(abc.ABC):
    """A kind of field, with how it starts and how it is refined."""

    label: str

    @abc.abstractmethod
    def part(self, problem: Problem, name: str, order: int, values: int | None, key: jax.Array) -> Any:
        """The field of an unknown function on the coarsest level; `values` counts the data, if there is no more."""

    @abc.abstractmethod
    def rule(self) -> AbstractRefinement | None:
        """How a level is refined; `None` when it is not."""

    def data_rule(self, values: int) -> AbstractRefinement | None:
        """How a level is refined where there are `values` measured values and nothing else."""
        del values
        return self.rule()

    def spread(self, values: int, levels: int) -> AbstractFamily:
        """The family that comes to a suitable size for `values` measured values on the last of so many levels."""
        del values, levels
        return self


@dataclass(frozen=True)
class Grid(AbstractFamily):
    """Tensor-product splines, refined where and along the axes where they are too coarse.

    Linear in their parameters.

    Attributes
    ----------
    refinement:
        How a level is refined.
    """

    label: str = "spline grid (linear in its parameters)"
    refinement: AbstractRefinement = MarkedKnots()

    def part(self, problem: Problem, name: str, order: int, values: int | None, key: jax.Array) -> SplineGrid:
        del values, key
        dim = problem.domain.dim
        degree = grid_degree(dim, order)
        wraps = periodic_axes(problem)
        least = {1: 8, 2: 6}.get(dim, 4)
        intervals = [max(least, degree + 1) if w else least for w in wraps]
        return SplineGrid.uniform(
            *problem.domain.bounds(), intervals, degree, out=problem.functions[name].components, periodic=wraps
        )

    def rule(self) -> AbstractRefinement:
        return self.refinement


@dataclass(frozen=True)
class DecodedFeatures(AbstractFamily):
    """Spline grids that a small network decodes, refined as spline grids are; not linear in its parameters.

    Attributes
    ----------
    channels, hidden:
        Channels besides those that are added to the values, and hidden layers of the network.
    """

    label: str = "decoded grid (splines, then a small network)"
    channels: int = 1
    hidden: tuple[int, ...] = (8,)

    def part(self, problem: Problem, name: str, order: int, values: int | None, key: jax.Array) -> DecodedGrid:
        del values
        dim = problem.domain.dim
        degree = max(3, min(order + 2, 5))
        wraps = periodic_axes(problem)
        least = {1: 8, 2: 6}.get(dim, 3)
        intervals = [max(least, degree + 1) if w else least for w in wraps]
        return DecodedGrid.uniform(
            *problem.domain.bounds(), intervals, degree, key=key, channels=self.channels, hidden=self.hidden,
            out=problem.functions[name].components, periodic=wraps,
        )  # fmt: skip

    def rule(self) -> AbstractRefinement:
        return MarkedKnots()


@dataclass(frozen=True)
class SplineNetwork(AbstractFamily):
    """A Kolmogorov-Arnold network: a linear layer, then splines, whose intervals are doubled."""

    label: str = "spline network (KAN)"

    def part(self, problem: Problem, name: str, order: int, values: int | None, key: jax.Array) -> KAN:
        del values
        dim = problem.domain.dim
        width = max(8, 2 * dim + 2)
        return KAN(
            [dim, width, problem.functions[name].components or 1],
            intervals=4,
            degree=max(3, order + 2),
            key=key,
            domain=input_box(problem),
            linear_first=True,
        )

    def rule(self) -> AbstractRefinement:
        return IntervalDoubling()


@dataclass(frozen=True)
class Perceptron(AbstractFamily):
    """A multilayer perceptron with smooth activations.

    For equations one level. For data it begins on a part of them and sees more as it learns; narrower than those suit
    (`coarse`) it becomes wider as well. Wide from the start is the default because on a few functions of four to six
    coordinates, one seed each, grown units were better on some and three times worse on one.

    Attributes
    ----------
    coarse:
        Units of the hidden layers on the first level, for data; as many as suit their number if not given.
    largest:
        Parameters above which it does not grow; nor does it above a fifth of the number of values.
    """

    label: str = "perceptron (MLP)"
    coarse: int | None = None
    largest: int = 4000

    def part(self, problem: Problem, name: str, order: int, values: int | None, key: jax.Array) -> MLP:
        del order
        dim = problem.domain.dim
        width = 24 if values is None else self.coarse or _width(values)
        return MLP([dim, width, width, problem.functions[name].components or 1], key=key, domain=input_box(problem))

    def rule(self) -> None:
        return None

    def data_rule(self, values: int) -> AbstractRefinement:
        return WiderOrMoreData(WidthGrowth(2.0), largest=min(self.largest, values // 5))

    def spread(self, values: int, levels: int) -> Perceptron:
        return replace(self, coarse=max(3, _width(values) >> (levels - 1)))


@dataclass(frozen=True)
class Tensor(AbstractFamily):
    """Low-rank tensors of splines for many coordinates: more products and finer knots from level to level.

    Conditions that make an unknown zero on a face are built in.

    Attributes
    ----------
    rank, intervals:
        Products and intervals of an axis on the coarsest level.
    most:
        Most products there for values alone, where their number suits fewer or more than `rank`.
    refinement:
        How a level is refined.
    """

    label: str = "low-rank tensor of splines"
    rank: int = 2
    intervals: int = 4
    most: int = 4
    refinement: AbstractRefinement = RankGrowth()

    def part(self, problem: Problem, name: str, order: int, values: int | None, key: jax.Array) -> LowRank:
        degree, wraps = min(order + 3, 7) if order else 4, periodic_axes(problem)
        intervals = [max(self.intervals, degree + 1) if w else self.intervals for w in wraps]
        product = sum(count + degree for count in intervals)
        rank = self.rank if values is None else int(np.clip(values / (ROWS * product), 1, self.most))
        return LowRank.uniform(
            *problem.domain.bounds(), intervals, degree, rank, key=key,
            out=problem.functions[name].components, periodic=wraps, zero=zero_ends(problem, name),
        )  # fmt: skip

    def rule(self) -> AbstractRefinement:
        return self.refinement


def _width(values: int) -> int:
    return int(np.clip(np.sqrt(values / 8), 5, 32))


@dataclass(frozen=True)
class HiddenLayer(AbstractFamily):
    """One hidden layer of `tanh`, spread over the domain, with a linear readout; one level.

    Attributes
    ----------
    nodes:
        Most nodes; fewer where there are not ten data for each.
    """

    label: str = "one hidden layer of tanh"
    nodes: int = 200

    def part(self, problem: Problem, name: str, order: int, values: int | None, key: jax.Array) -> AdaptiveBasis:
        del order
        nodes = self.nodes if values is None else int(np.clip(values / 10, 5, self.nodes))
        return AdaptiveBasis.boxed(nodes, input_box(problem), key=key, out=problem.functions[name].components or 1)

    def rule(self) -> None:
        return None


@dataclass(frozen=True)
class Subdomains(AbstractFamily):
    """Polynomials on overlapping subdomains with B-splines as windows, halved from level to level.

    Linear in its parameters. Windows are as smooth as the strong form of the equation needs them.
    """

    label: str = "partition of unity (linear in its parameters)"

    def part(self, problem: Problem, name: str, order: int, values: int | None, key: jax.Array) -> PartitionOfUnity:
        del values
        dim = problem.domain.dim
        smooth, wraps = max(2, order), periodic_axes(problem)
        least = {1: 4, 2: 3}.get(dim, 2)
        cells = [max(least, smooth + 1) if w else least for w in wraps]
        cover = Cover.splines(*problem.domain.bounds(), cells, smooth, wraps)
        local = Polynomials(order + 2 if dim < GRID_DIMENSIONS else max(1, order))
        return PartitionOfUnity.on(cover, local, key=key, out=problem.functions[name].components)

    def rule(self) -> AbstractRefinement:
        return SubdomainHalving()


def grid_degree(dim: int, order: int) -> int:
    """Degree of a spline grid: the order of the equation plus three, one less in three dimensions."""
    return min(order + 3 - (dim >= 3), 7) if order else 5 - (dim >= 3)


def periodic_axes(problem: Problem) -> list[bool]:
    """Which coordinates wrap around."""
    return [name in problem.domain.periodic for name in problem.domain.names or ()]


def input_box(problem: Problem) -> InputBox:
    """The box around the inputs of a network, which closes along periodic coordinates."""
    return InputBox(*problem.domain.bounds(), periodic_axes(problem))


def has_grid(start: Any) -> bool:
    """Whether all unknown functions are spline grids."""
    if isinstance(start, Unknowns):
        return all(isinstance(p, SplineGrid | BrokenGrid | StretchedGrid | Scalar) for p in start.parts.values())
    return isinstance(start, SplineGrid | BrokenGrid | StretchedGrid)


def revisits(problem: Problem, rule: AbstractRefinement | None, hierarchy: Hierarchy) -> bool:
    """Whether levels may be visited again: no fixed cells, no knots that move, no problem or data of a level's own."""
    first = hierarchy.levels[0].field
    once = (
        isinstance(problem, Continuation)
        or isinstance(rule, MovingKnots | RankGrowth | WiderOrMoreData)
        or linear_in_parameters(first)
    )
    once = once or any(level.points is not None for level in hierarchy.levels)
    return not once and (rule is not None or len(hierarchy) > 1) and mesh(first) is None
