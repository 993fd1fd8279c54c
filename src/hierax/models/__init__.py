"""What learns, sample -> function: surrogates of families of problems, with estimates of their own errors."""

from hierax.models.family import Family
from hierax.models.family_levels import FamilyLevels
from hierax.models.generated import learn_generated
from hierax.models.inputs import Choice, LogUniform, Normal, Uniform
from hierax.models.judging import Predictions, predict
from hierax.models.learning import surrogate
from hierax.models.leveled import AbstractLeveled, Evaluated, Simulation
from hierax.models.levels import learn_levels
from hierax.models.network import MultigridNetwork
from hierax.models.operator_training import learn_operator
from hierax.models.operators import Operator
from hierax.models.random_fields import GaussianField
from hierax.models.samples import Samples
from hierax.models.surrogate import Surrogate
from hierax.models.telescoped import CoarseNetwork, TelescopedNetwork

__all__ = [
    "AbstractLeveled",
    "Choice",
    "CoarseNetwork",
    "Evaluated",
    "Family",
    "FamilyLevels",
    "GaussianField",
    "LogUniform",
    "MultigridNetwork",
    "Normal",
    "Operator",
    "Predictions",
    "Samples",
    "Simulation",
    "Surrogate",
    "TelescopedNetwork",
    "Uniform",
    "learn_generated",
    "learn_levels",
    "learn_operator",
    "predict",
    "surrogate",
]
