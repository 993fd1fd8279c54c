"""For those who work with scikit-learn: an estimator, which does not need it to be installed."""

from hierax.sklearn.regressor import HieraxRegressor as HieraxRegressor
