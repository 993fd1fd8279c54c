"""What learns: callable pytrees from a point to a value."""

from hierax.fields.adaptive_basis import AdaptiveBasis
from hierax.fields.axis import Clamped, Extended, Flat, Periodic, SplineAxis
from hierax.fields.base import (
    AbstractField,
    AbstractFixed,
    AbstractLocalField,
    linear_in_parameters,
    linear_parameters,
    parameter_count,
    partition,
    supports_local,
    trainable,
)
from hierax.fields.bspline import NotNested
from hierax.fields.cover import Cover
from hierax.fields.decoded_grid import DecodedGrid
from hierax.fields.expansion import Expansion
from hierax.fields.fourier import FourierFeatures, FourierNetwork
from hierax.fields.geometry import AbstractGeometry, BSplineBasis, PowerReLUBasis
from hierax.fields.inputs import InputBox, place
from hierax.fields.kan import KAN, to_bspline, to_power_relu
from hierax.fields.kriging import Exponential, Kriging, kriging, on_scale
from hierax.fields.local_fields import Copies, Perceptrons, Polynomials, RandomFeatures, RandomWaves
from hierax.fields.low_rank import LowRank
from hierax.fields.mlp import MLP, siren
from hierax.fields.moving import Frame, MovingGrid
from hierax.fields.partition_of_unity import PartitionOfUnity
from hierax.fields.recursive import Coupled
from hierax.fields.slabs import Slabs
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.stretched import Stretch, StretchedGrid
from hierax.fields.trees import Splits, Trees
from hierax.fields.unknowns import Scalar, Unknowns

__all__ = [
    "KAN",
    "MLP",
    "AbstractField",
    "AbstractFixed",
    "AbstractGeometry",
    "AbstractLocalField",
    "AdaptiveBasis",
    "BSplineBasis",
    "Clamped",
    "Copies",
    "Coupled",
    "Cover",
    "DecodedGrid",
    "Expansion",
    "Exponential",
    "Extended",
    "Flat",
    "FourierFeatures",
    "FourierNetwork",
    "Frame",
    "InputBox",
    "Kriging",
    "LowRank",
    "MovingGrid",
    "NotNested",
    "PartitionOfUnity",
    "Perceptrons",
    "Periodic",
    "Polynomials",
    "PowerReLUBasis",
    "RandomFeatures",
    "RandomWaves",
    "Scalar",
    "Slabs",
    "SplineAxis",
    "SplineGrid",
    "Splits",
    "Stretch",
    "StretchedGrid",
    "Trees",
    "Unknowns",
    "kriging",
    "linear_in_parameters",
    "linear_parameters",
    "on_scale",
    "parameter_count",
    "partition",
    "place",
    "siren",
    "supports_local",
    "to_bspline",
    "to_power_relu",
    "trainable",
]
