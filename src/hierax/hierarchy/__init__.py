"""How a coarse field becomes a finer one: transfers, refinement rules, levels and hierarchies."""

from hierax.hierarchy.axis_transfer import AxisMap, AxisTransfer, Grid, LeafTransfer, axis_map
from hierax.hierarchy.hierarchy import Hierarchy, refine
from hierax.hierarchy.level import Level, cells_of
from hierax.hierarchy.marking import MarkedKnots
from hierax.hierarchy.refinement import (
    AbstractRefinement,
    IntervalDoubling,
    KnotInsertion,
    insert_breakpoints,
    spline_axes,
)
from hierax.hierarchy.transfer import (
    FUNCTION_PRESERVING,
    INJECTIVE,
    LINEAR,
    AbstractTransfer,
    Tag,
    pull_back,
    tangent_of,
)
from hierax.hierarchy.transport import DUAL, METRIC, PRIMAL, RESET, SCALAR, Kind, Stacked, transport

__all__ = [
    "DUAL",
    "FUNCTION_PRESERVING",
    "INJECTIVE",
    "LINEAR",
    "METRIC",
    "PRIMAL",
    "RESET",
    "SCALAR",
    "AbstractRefinement",
    "AbstractTransfer",
    "AxisMap",
    "AxisTransfer",
    "Grid",
    "Hierarchy",
    "IntervalDoubling",
    "Kind",
    "KnotInsertion",
    "LeafTransfer",
    "Level",
    "MarkedKnots",
    "Stacked",
    "Tag",
    "axis_map",
    "cells_of",
    "insert_breakpoints",
    "pull_back",
    "refine",
    "spline_axes",
    "tangent_of",
    "transport",
]
