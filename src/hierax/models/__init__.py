"""What learns, sample -> function: surrogates of families of problems, with estimates of their own errors."""

from hierax.models.family import Family
from hierax.models.inputs import Choice, LogUniform, Normal, Uniform
from hierax.models.judging import Predictions, predict
from hierax.models.learning import surrogate
from hierax.models.surrogate import Surrogate

__all__ = ["Choice", "Family", "LogUniform", "Normal", "Predictions", "Surrogate", "Uniform", "predict", "surrogate"]
