"""`HieraxRegressor`: the fit of a table behind the interface of scikit-learn."""

from __future__ import annotations

import keyword
import warnings
from typing import Any

import jax
import numpy as np

from hierax._errors import InputError
from hierax._results import RESULTS
from hierax.problems.domain import Box
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.problems.unknowns import Function
from hierax.results.solution import Solution
from hierax.sklearn.bases import BaseEstimator, RegressorMixin, check_is_fitted, validate_data
from hierax.training.processes import table_process
from hierax.training.train import train

FEWEST = 3
"""Rows below which nothing can be said of a fit."""


class HieraxRegressor(RegressorMixin, BaseEstimator):
    r"""Fit columns of numbers as functions of others: what `hierax fit` does, as an estimator of scikit-learn.

    Works in a `Pipeline`, a `GridSearchCV`, with data frames, and without scikit-learn. Numbers have 64 bits inside,
    whatever JAX is set to.

    Parameters
    ----------
    field, solver, cycle, levels:
        As those of `hierax.train`; what is not given is chosen by what the rows show.
    budget:
        Seconds of a fit at most.
    random_state:
        The seed.

    Attributes
    ----------
    solution_:
        The `hierax.Solution`, with its guards, levels and report.
    n_features_in_, feature_names_in_:
        Number of the inputs, and their names where `X` has some.

    Notes
    -----
    Where a guard fails, or training did not come to its end, `fit` warns with the sentence that says why.

    Examples
    --------
    >>> import hierax as hx
    >>> model = hx.sklearn.HieraxRegressor(budget=10.0).fit(X, y)  # doctest: +SKIP
    >>> mean, deviation = model.predict(X_new, return_std=True)  # doctest: +SKIP
    """

    solution_: Solution
    n_features_in_: int

    def __init__(
        self,
        field: Any = None,
        solver: Any = None,
        cycle: Any = None,
        levels: int | None = None,
        budget: float = 60.0,
        random_state: int = 0,
    ) -> None:
        self.field = field
        self.solver = solver
        self.cycle = cycle
        self.levels = levels
        self.budget = budget
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> HieraxRegressor:
        """Train on rows `X` `(n, features)` and values `y`, `(n,)` or `(n, outputs)`.

        Raises
        ------
        InputError
            For rows that cannot be fitted: fewer than three, or none that differ.
        """
        points, values = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=FEWEST
        )
        values = np.asarray(values, dtype=float)
        lower, upper = points.min(axis=0), points.max(axis=0)
        self._varied = np.flatnonzero(upper > lower)
        if not self._varied.size:
            raise InputError(
                f"All {len(points)} rows are the same.", "X", "Give rows that differ in one column at least."
            )
        self._outputs = ("y",) if values.ndim == 1 else tuple(f"y{k}" for k in range(values.shape[1]))
        named = self._names()
        names = tuple(named[k] for k in self._varied)
        with jax.enable_x64(True):
            columns = values.reshape(len(points), -1).T
            terms = [Data(name, points[:, self._varied], v) for name, v in zip(self._outputs, columns, strict=True)]
            problem = Problem(
                Box(lower[self._varied], upper[self._varied], names=names), terms,
                unknowns={name: Function() for name in self._outputs}, name="table",
            )  # fmt: skip
            self.solution_ = train(
                problem, field=self.field, solver=self.solver, cycle=self.cycle, levels=self.levels,
                key=self.random_state or 0, budget=self.budget,
            )  # fmt: skip
        if self.solution_.result is not RESULTS.successful:
            warnings.warn(f"{self.solution_.result.name}: {self._reason()}", stacklevel=2)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Values at rows `X` `(n, features)`.

        Rows outside of the box of the fitted ones have the values of the nearest point inside, with a warning.

        Parameters
        ----------
        return_std:
            Whether standard deviations of the function, without the noise of rows, are returned as well: of the
            Gaussian process of the rows, and where another kind of field was chosen not less than its error at rows
            left out.

        Returns
        -------
        Array `(n,)` or `(n, outputs)`, or two of them.
        """
        check_is_fitted(self)
        points = validate_data(self, X, reset=False, dtype=np.float64)[:, self._varied]
        with jax.enable_x64(True):
            lower, upper = self.solution_.problem.domain.bounds()
            inside = np.clip(points, lower, upper)
            outside = int(np.sum(np.any(np.abs(inside - points) > 1e-9 * (upper - lower), axis=1)))
            if outside:
                warnings.warn(
                    f"{outside} of {len(points)} rows are outside of the box of the rows that were fitted; they have "
                    "the values of the nearest point inside.",
                    stacklevel=2,
                )
            means = [self.solution_.evaluate(inside, name) for name in self._outputs]
            found = [means] + ([[self._deviation(name, inside) for name in self._outputs]] if return_std else [])
        shaped = [part[0] if self._outputs == ("y",) else np.stack(part, axis=1) for part in found]
        return tuple(shaped) if return_std else shaped[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # pyright: ignore
        tags.target_tags.multi_output = True
        return tags

    def _names(self) -> list[str]:
        """Names of the coordinates: those of the columns where all are names."""
        given = [str(name) for name in getattr(self, "feature_names_in_", ())]
        usable = all(name.isidentifier() and not keyword.iskeyword(name) for name in given)
        clear = len({*given, *self._outputs}) == self.n_features_in_ + len(self._outputs)
        return given if given and usable and clear else [f"x{k}" for k in range(self.n_features_in_)]

    def _reason(self) -> str:
        failed = [guard.sentence for guard in self.solution_.guards.values() if not guard.passed]
        return " ".join(failed) or self.solution_.result.value

    def _deviation(self, name: str, points: np.ndarray) -> np.ndarray:
        solution = self.solution_
        process = table_process(solution.problem, name)
        if process is None:
            return np.zeros(len(points))
        deviation = process.scale.spread * process.predict(points)[1]
        chosen = [one for one in solution.candidates if one.output == name and one.chosen]
        if chosen and "kriging" in chosen[0].field:
            return deviation
        error = solution.accuracy.left_out or solution.accuracy.validation_error or 0.0
        beyond = np.sqrt(max(error**2 - process.noise**2, 0.0))
        return np.maximum(deviation, process.scale.spread * beyond)
