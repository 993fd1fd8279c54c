"""What learns: callable pytrees from a point to a value."""

from hierax.fields.axis import Clamped, Extended, Periodic, SplineAxis
from hierax.fields.base import (
    AbstractField,
    AbstractFixed,
    AbstractLocalField,
    linear_in_parameters,
    parameter_count,
    partition,
    supports_local,
    trainable,
)
from hierax.fields.bspline import NotNested
from hierax.fields.decoded_grid import DecodedGrid
from hierax.fields.geometry import AbstractGeometry, BSplineBasis, PowerReLUBasis
from hierax.fields.inputs import place
from hierax.fields.kan import KAN, to_bspline, to_power_relu
from hierax.fields.mlp import MLP
from hierax.fields.slabs import Slabs
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.unknowns import Scalar, Unknowns

__all__ = [
    "KAN",
    "MLP",
    "AbstractField",
    "AbstractFixed",
    "AbstractGeometry",
    "AbstractLocalField",
    "BSplineBasis",
    "Clamped",
    "DecodedGrid",
    "Extended",
    "NotNested",
    "Periodic",
    "PowerReLUBasis",
    "Scalar",
    "Slabs",
    "SplineAxis",
    "SplineGrid",
    "Unknowns",
    "linear_in_parameters",
    "parameter_count",
    "partition",
    "place",
    "supports_local",
    "to_bspline",
    "to_power_relu",
    "trainable",
]
