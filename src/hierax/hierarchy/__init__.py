"""How a coarse field becomes a finer one: transfers, refinement rules, levels and hierarchies."""

from hierax.hierarchy.axis_transfer import AbstractAxisMap, AxisMap, AxisTransfer, KnotMap, LeafTransfer, axis_map
from hierax.hierarchy.data_growth import Fit, MoreData, WiderOrMoreData
from hierax.hierarchy.growth import UnitMap, WidthGrowth, unit_map, widen
from hierax.hierarchy.hierarchy import Hierarchy, refine
from hierax.hierarchy.level import Level
from hierax.hierarchy.marking import MarkedKnots, Settling
from hierax.hierarchy.rank import RankGrowth, RankMap
from hierax.hierarchy.refinement import (
    AbstractRefinement,
    IntervalDoubling,
    KnotInsertion,
    insert_breakpoints,
    spline_axes,
)
from hierax.hierarchy.relocation import MovingKnots, equidistributed
from hierax.hierarchy.subdomains import SubdomainHalving
from hierax.hierarchy.transfer import (
    FUNCTION_PRESERVING,
    INJECTIVE,
    LINEAR,
    AbstractTransfer,
    Tag,
    tangent_of,
)
from hierax.hierarchy.transport import (
    DUAL,
    METRIC,
    NEWNESS,
    PRIMAL,
    RESET,
    SCALAR,
    SQUARE,
    Kind,
    Stacked,
    resumed,
    transport,
)

__all__ = [
    "DUAL",
    "FUNCTION_PRESERVING",
    "INJECTIVE",
    "LINEAR",
    "METRIC",
    "NEWNESS",
    "PRIMAL",
    "RESET",
    "SCALAR",
    "SQUARE",
    "AbstractAxisMap",
    "AbstractRefinement",
    "AbstractTransfer",
    "AxisMap",
    "AxisTransfer",
    "Fit",
    "Hierarchy",
    "IntervalDoubling",
    "Kind",
    "KnotInsertion",
    "KnotMap",
    "LeafTransfer",
    "Level",
    "MarkedKnots",
    "MoreData",
    "MovingKnots",
    "RankGrowth",
    "RankMap",
    "Settling",
    "Stacked",
    "SubdomainHalving",
    "Tag",
    "UnitMap",
    "WiderOrMoreData",
    "WidthGrowth",
    "axis_map",
    "equidistributed",
    "insert_breakpoints",
    "refine",
    "resumed",
    "spline_axes",
    "tangent_of",
    "transport",
    "unit_map",
    "widen",
]
