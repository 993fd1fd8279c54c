"""What an estimator is made of: parts of scikit-learn where it is installed, else the little of them that is needed."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import numpy as np

from hierax._errors import InputError


class PlainEstimator:
    """Settings are the arguments of the constructor, kept under their names."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name."""
        del deep
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Any:
        """Change settings.

        Raises
        ------
        InputError
            For a name that is no setting.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise InputError(f"There is no setting {name!r}.", "set_params", f"Use {', '.join(known)}.")
            setattr(self, name, value)
        return self


class PlainRegressor:
    """The score of a regression."""

    def score(self: Any, X: Any, y: Any) -> float:
        r""":math:`R^2 = 1 - \sum |y - \hat y|^2 / \sum |y - \bar y|^2`, the mean over the outputs."""
        y = np.asarray(y, dtype=float)
        misfit = np.sum((y - self.predict(X)) ** 2, axis=0)
        return float(np.mean(1.0 - misfit / np.sum((y - y.mean(axis=0)) ** 2, axis=0)))


def is_fitted(estimator: Any) -> None:
    """Refuse an estimator that has not seen data."""
    if not hasattr(estimator, "n_features_in_"):
        raise InputError("The estimator is not fitted yet.", type(estimator).__name__, "Call fit(X, y) first.")


def validated(estimator: Any, X: Any, y: Any = None, *, reset: bool = True, **checks: Any) -> Any:
    """Numbers `(n, features)`, and values, as arrays; names of columns are compared with those that were fitted."""
    names, points = list(getattr(X, "columns", ())), np.asarray(X, dtype=float)
    if points.ndim != 2 or not np.all(np.isfinite(points)):
        what = "values that are not finite" if points.ndim == 2 else f"the shape {points.shape}"
        raise InputError(f"X has {what}.", "X", "Give finite numbers of shape (rows, features).")
    if len(points) < checks.get("ensure_min_samples", 1):
        raise InputError(f"X has {len(points)} rows.", "X", "Give more of them.")
    if reset:
        estimator.n_features_in_ = points.shape[1]
        if names:
            estimator.feature_names_in_ = np.asarray(names, dtype=object)
    known = list(getattr(estimator, "feature_names_in_", names))
    if points.shape[1] != estimator.n_features_in_ or (names and names != known):
        raise InputError(
            f"X has {points.shape[1]} columns {', '.join(map(str, names))}; fitted were {estimator.n_features_in_}: "
            f"{', '.join(map(str, known))}.",
            "X",
            "Give the columns of the fit, in their order.",
        )
    if y is None:
        return points
    values = np.asarray(y, dtype=float)
    if len(values) != len(points) or not np.all(np.isfinite(values)):
        raise InputError(f"X has {len(points)} rows, y {len(values)}.", "y", "Give one finite value a row.")
    return points, values


def _installed(module: str, name: str, plain: Any) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return plain


BaseEstimator = _installed("sklearn.base", "BaseEstimator", PlainEstimator)
RegressorMixin = _installed("sklearn.base", "RegressorMixin", PlainRegressor)
check_is_fitted = _installed("sklearn.utils.validation", "check_is_fitted", is_fitted)
validate_data = _installed("sklearn.utils.validation", "validate_data", validated)
