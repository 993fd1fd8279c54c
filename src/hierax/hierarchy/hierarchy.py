"""A chain of levels, coarsest first, with the transfers between them."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from hierax._notebook import preformatted
from hierax.fields.initial import as_key
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, IntervalDoubling, spline_axes
from hierax.hierarchy.transfer import AbstractTransfer


class Hierarchy(eqx.Module):
    """Levels, 0 the coarsest, and one transfer for each gap; its `repr` is a table.

    Parameters
    ----------
    levels : sequence of Level
    transfers : sequence of AbstractTransfer
        ``transfers[k]`` leads from level ``k`` to level ``k + 1``.

    Raises
    ------
    ValueError
        Without a level, or if there is not one transfer for each gap.
    """

    levels: tuple[Level, ...]
    transfers: tuple[AbstractTransfer, ...]

    def __init__(self, levels, transfers=()):
        self.levels, self.transfers = tuple(levels), tuple(transfers)
        if not self.levels or len(self.transfers) != len(self.levels) - 1:
            raise ValueError(
                f"Hierarchy: {len(self.levels)} levels need {max(len(self.levels) - 1, 0)} transfers, "
                f"got {len(self.transfers)}"
            )

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, index: int) -> Level:
        return self.levels[index]

    def grow(self, by: AbstractRefinement, *, key: Array | int | None = None, evidence: Any = None) -> "Hierarchy":
        """One more level on top of the finest."""
        key = None if key is None else as_key(key)
        level, transfer = by.refine(self.levels[-1], key=key, evidence=evidence)
        return Hierarchy((*self.levels, level), (*self.transfers, transfer))

    def __repr__(self) -> str:
        rows = [("level", "parameters", "intervals", "points", "cost share")]
        work = [level.parameters * (level.points or level.parameters) for level in self.levels]
        for number, (level, cost) in enumerate(zip(self.levels, work, strict=True)):
            points = "-" if level.points is None else str(level.points)
            share = f"{100.0 * cost / max(sum(work), 1):.1f} %"
            rows.append((str(number), str(level.parameters), _intervals(level.field), points, share))
        sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(text.rjust(size) for text, size in zip(row, sizes, strict=True)) for row in rows)

    def _repr_html_(self) -> str:
        return preformatted(repr(self), "Hierarchy")


def refine(
    field: PyTree,
    by: AbstractRefinement = IntervalDoubling(),
    levels: int = 2,
    *,
    key: Array | int | None = None,
    points: int | None = None,
) -> Hierarchy:
    """Build a hierarchy ahead of training.

    Parameters
    ----------
    field : callable pytree or Level
        The coarsest field.
    by : AbstractRefinement
        The rule, applied to every level.
    levels : int
        Number of levels, at least 1.
    key : key or int, optional
        For rules that draw parameters; level ``k`` uses ``fold_in(key, k)``.
    points : int, optional
        Measured values that the coarsest level sees, see `Level`.

    Examples
    --------
    >>> from hierax.fields import SplineGrid
    >>> refine(SplineGrid.uniform([0.0], [1.0], 4, 3), levels=3)
    level  parameters  intervals  points  cost share
        0           7          4       -       9.2 %
        1          11          8       -      22.8 %
        2          19         16       -      68.0 %
    """
    if levels < 1:
        raise ValueError(f"refine: at least one level is needed, got levels={levels}")
    hierarchy = Hierarchy((field if isinstance(field, Level) else Level(field, points),))
    for number in range(1, levels):
        own = None if key is None else jax.random.fold_in(as_key(key), number)
        hierarchy = hierarchy.grow(by, key=own)
    return hierarchy


def _intervals(field: PyTree) -> str:
    counts = [axis.intervals for axis in spline_axes(field)]
    if not counts:
        return "-"
    return str(counts[0]) if len(set(counts)) == 1 else " x ".join(map(str, counts))
