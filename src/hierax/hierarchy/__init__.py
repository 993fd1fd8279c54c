"""How a coarse field becomes a finer one: transfers, refinement rules, levels and hierarchies."""

from hierax.hierarchy.algebraic import NodeCoarsening
from hierax.hierarchy.axis_transfer import AxisMap, AxisTransfer, Grid, LeafTransfer, axis_map
from hierax.hierarchy.composite import (
    AbstractEvidence,
    BestOf,
    ComposedTransfer,
    Composite,
    GradientEvidence,
    nearest_in_range,
)
from hierax.hierarchy.data_growth import Fit, MoreData, WiderOrMoreData
from hierax.hierarchy.depth import BlockInsertion, DepthGrowth
from hierax.hierarchy.fresh_units import FreshUnits, ShiftedTransfer
from hierax.hierarchy.growth import UnitMap, WidthGrowth, unit_map, widen
from hierax.hierarchy.hierarchy import Hierarchy, refine
from hierax.hierarchy.hp import AdaptSubdomains, LocalResiduals
from hierax.hierarchy.level import Level, cells_of
from hierax.hierarchy.marking import MarkedKnots, Settling
from hierax.hierarchy.modes import ModeGrowth
from hierax.hierarchy.refinement import (
    AbstractRefinement,
    DegreeElevation,
    IntervalDoubling,
    KnotInsertion,
    insert_breakpoints,
    spline_axes,
)
from hierax.hierarchy.relocation import MovingKnots, equidistributed
from hierax.hierarchy.stages import AddStage, Launch, Remainder
from hierax.hierarchy.subdomains import AddFunctions, AddSubdomainLevel, SubdomainHalving
from hierax.hierarchy.transfer import (
    FUNCTION_PRESERVING,
    INJECTIVE,
    LINEAR,
    AbstractTransfer,
    Tag,
    pull_back,
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
    "AbstractEvidence",
    "AbstractRefinement",
    "AbstractTransfer",
    "AdaptSubdomains",
    "AddFunctions",
    "AddStage",
    "AddSubdomainLevel",
    "AxisMap",
    "AxisTransfer",
    "BestOf",
    "BlockInsertion",
    "ComposedTransfer",
    "Composite",
    "DegreeElevation",
    "DepthGrowth",
    "Fit",
    "FreshUnits",
    "GradientEvidence",
    "Grid",
    "Hierarchy",
    "IntervalDoubling",
    "Kind",
    "KnotInsertion",
    "Launch",
    "LeafTransfer",
    "Level",
    "LocalResiduals",
    "MarkedKnots",
    "ModeGrowth",
    "MoreData",
    "MovingKnots",
    "NodeCoarsening",
    "Remainder",
    "Settling",
    "ShiftedTransfer",
    "Stacked",
    "SubdomainHalving",
    "Tag",
    "UnitMap",
    "WiderOrMoreData",
    "WidthGrowth",
    "axis_map",
    "cells_of",
    "equidistributed",
    "insert_breakpoints",
    "nearest_in_range",
    "pull_back",
    "refine",
    "resumed",
    "spline_axes",
    "tangent_of",
    "transport",
    "unit_map",
    "widen",
]
