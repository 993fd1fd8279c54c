"""Levels of networks that learn from data: more units, more of the data, or both, as the last level shows."""

from typing import Any

import equinox as eqx
from jaxtyping import Array

from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, grown, unchanged
from hierax.hierarchy.transfer import AbstractTransfer


class Fit(eqx.Module):
    """How well a trained level meets the data it has seen, and data it has not.

    Parameters
    ----------
    seen, unseen : float
        Root mean square misfits in the same units.
    rows : int
        Rows of data to train on that there are.
    """

    seen: float
    unseen: float
    rows: int


class MoreData(AbstractRefinement):
    """The same field on more data.

    Parameters
    ----------
    factor : float
        Ratio of the numbers of points.

    Raises
    ------
    ValueError
        If the level does not say how many points it has.
    """

    factor: float = 4.0

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        del key, evidence
        if level.points is None:
            raise ValueError("MoreData: the level has all data; a coarse one says Level(field, points=...)")
        _, transfer = grown(level, level.field, unchanged(level.field))
        return Level(level.field, round(self.factor * level.points)), transfer


class WiderOrMoreData(AbstractRefinement):
    r"""Refine whichever of network and data limits the error.

    A level that misses unseen data much more than those it was trained on follows its sample: it gets more of the data
    and keeps its units. Otherwise the units limit it: they are refined, and the points grow with the parameters, so
    that coarse levels cost little. A network that has come to its largest size gets the rest of the data.

    Parameters
    ----------
    wider : AbstractRefinement
        How units are refined.
    more : AbstractRefinement
        How the data are.
    largest : int
        Parameters above which units are not refined as long as there are further data.
    gap : float
        Ratio of the two misfits above which more data are wanted.
    """

    wider: AbstractRefinement
    more: AbstractRefinement = MoreData()
    largest: int = 2000
    gap: float = 2.0

    @property
    def wants(self) -> type:
        return Fit

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        """See `AbstractRefinement.refine`; without evidence units are refined."""
        finer, transfer = self.wider.refine(level, key=key)
        if evidence is None or level.points is None or level.points >= evidence.rows:
            return finer, transfer
        if evidence.unseen > self.gap * evidence.seen or finer.parameters > self.largest:
            return self.more.refine(level, key=key)
        return finer, transfer
