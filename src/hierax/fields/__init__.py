"""What learns: callable pytrees from a point to a value."""

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
from hierax.fields.unknowns import Scalar, Unknowns

__all__ = [
    "AbstractField",
    "AbstractFixed",
    "AbstractLocalField",
    "NotNested",
    "Scalar",
    "Unknowns",
    "linear_in_parameters",
    "parameter_count",
    "partition",
    "supports_local",
    "trainable",
]
