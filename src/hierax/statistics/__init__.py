"""Estimators of random quantities from models on levels."""

from hierax.statistics.estimate import Estimate as Estimate
from hierax.statistics.estimate import estimate as estimate
from hierax.statistics.given import estimate_samples as estimate_samples
from hierax.statistics.quantities import Mean as Mean
from hierax.statistics.quantities import Probability as Probability
from hierax.statistics.quantities import Quantile as Quantile
from hierax.statistics.quantities import Variance as Variance
