"""`Family`: one problem for every value of its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import qmc

from hierax._errors import InputError
from hierax.models.inputs import AbstractInput
from hierax.problems.problem import Problem

DEFAULT_NAME = "family"


@final
class Family:
    """A problem that is to be solved for many values of its inputs.

    Parameters
    ----------
    make:
        `make(**inputs) -> Problem`. It is traced once: inputs enter terms through `jax.numpy`, and the domain, the
        terms that there are, and prescribed values do not depend on them.
    inputs:
        For each keyword that varies `Uniform`, `LogUniform`, `Normal` or `Choice`.
    name:
        For run folders; the name of the problem by default.

    Raises
    ------
    InputError
        For keywords that `make` does not have, or that it needs and that do not vary.

    Examples
    --------
    >>> family = hx.Family(problem, {"conductivity": hx.LogUniform(0.02, 0.5)})  # doctest: +SKIP
    """

    def __init__(
        self, make: Callable[..., Problem], inputs: Mapping[str, AbstractInput], name: str | None = None
    ) -> None:
        if not callable(make):
            raise InputError(f"make is a {type(make).__name__}.", "Family(make, ...)", "Give a function of the inputs.")
        if not inputs:
            raise InputError("Nothing varies.", "Family(inputs=...)", 'Give {"name": hx.Uniform(low, high)}.')
        self.make, self.inputs, self.name = make, dict(inputs), name
        for key, value in self.inputs.items():
            if not isinstance(value, AbstractInput):
                raise InputError(
                    f"The input {key!r} is {value!r:.60}.",
                    "Family(inputs=...)",
                    "Give hx.Uniform, hx.LogUniform, hx.Normal or hx.Choice.",
                )
        self._check_keywords()

    def __repr__(self) -> str:
        return f"Family({', '.join(f'{name}: {value}' for name, value in self.inputs.items())})"

    def _check_keywords(self) -> None:
        parameters = inspect.signature(self.make).parameters
        known = {n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        stray = next((name for name in self.inputs if name not in known), None)
        if stray is not None:
            raise InputError(
                f"The function has no keyword {stray!r}.",
                "Family(make, inputs)",
                f"Its keywords are {', '.join(sorted(known)) or 'none'}.",
            )
        needed = [n for n in known if parameters[n].default is inspect.Parameter.empty and n not in self.inputs]
        if needed:
            raise InputError(
                f"The function needs a value for {needed[0]!r}, which does not vary.",
                "Family(make, inputs)",
                "Give it a default, or let it vary.",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of their columns."""
        return tuple(self.inputs)

    def problem(self, values: Any) -> Problem:
        """The member with these inputs, `(k,)` in the order of `names`; the numbers may be traced ones of JAX."""
        traced = not isinstance(values, np.ndarray)
        made = self.make(**{n: values[k] if traced else float(values[k]) for k, n in enumerate(self.names)})
        if not isinstance(made, Problem):
            raise InputError(
                f"The function gives a {type(made).__name__}, not a Problem.", "Family(make, ...)", "Return hx.Problem."
            )
        return made

    def drawn(self, count: int, seed: int, spread: float = 0.0) -> np.ndarray:
        """Inputs `(count, k)` from a scrambled Sobol sequence.

        Parameters
        ----------
        spread:
            Part of the way towards the density `1 / sqrt(u (1 - u))`, which puts more of them near the ends, where
            models that are fitted to them are worst.
        """
        engine = qmc.Sobol(len(self.names), scramble=True, rng=np.random.default_rng(seed))
        unit = engine.random(1 << max(count - 1, 0).bit_length())[:count]
        unit = unit + spread * (0.5 - 0.5 * np.cos(np.pi * unit) - unit)
        return np.stack([i.drawn(unit[:, k]) for k, i in enumerate(self.inputs.values())], axis=1)

    def scaled(self, values: Any) -> Any:
        """Inputs `(..., k)` in the coordinates that models see; `[-1, 1]` is inside."""
        xp = np if isinstance(values, np.ndarray) else jnp
        return xp.stack([i.scaled(values[..., k]) for k, i in enumerate(self.inputs.values())], axis=-1)

    def middle(self) -> np.ndarray:
        """Inputs in the middle, `(k,)`."""
        return np.array([i.value(0.0) for i in self.inputs.values()])

    def checked(self, values: Mapping[str, ArrayLike] | ArrayLike) -> np.ndarray:
        """Inputs as an array `(n, k)`, from columns by name or an array of that shape.

        Raises
        ------
        InputError
            For inputs that are missing or not finite, with the first such row.
        """
        return as_inputs(values, self.names)


def as_inputs(values: Mapping[str, ArrayLike] | ArrayLike, names: tuple[str, ...]) -> np.ndarray:
    """See `Family.checked`."""
    if isinstance(values, Mapping):
        missing = [name for name in names if name not in values]
        if missing:
            raise InputError(
                f"The input {missing[0]!r} is missing.", "inputs", f"Give a value for each of {', '.join(names)}."
            )
        values = np.stack(np.broadcast_arrays(*(np.asarray(values[n], dtype=float) for n in names)), axis=-1)
    array = np.atleast_2d(np.asarray(values, dtype=float))
    if array.ndim != 2 or array.shape[1] != len(names):
        raise InputError(
            f"The inputs have shape {array.shape}.", "inputs", f"Give the columns {', '.join(names)} in this order."
        )
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        row, column = bad[0]
        raise InputError(
            f"{array[row, column]} is no number.", f"input {names[column]!r}, row {row + 1}", "Repair the row."
        )
    return array
