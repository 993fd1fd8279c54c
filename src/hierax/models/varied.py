"""What varies: inputs by name, their draws, and the table of all their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.models.inputs import AbstractInput, Several
from hierax.models.random_fields import GaussianField
from hierax.problems.sampling import sobol


class AbstractVaried:
    """Something that depends on inputs; each is told by one number or, where it is a function, by several.

    Parameters
    ----------
    inputs:
        What varies by name; `(law, count)` for an array of so many numbers.

    Raises
    ------
    InputError
        Where nothing varies, and for what is no input.
    """

    def __init__(self, inputs: Mapping[str, AbstractInput | tuple[AbstractInput, int]]) -> None:
        where = f"{type(self).__name__}(inputs=...)"
        if not inputs:
            raise InputError("Nothing varies.", where, 'Give {"name": hx.Uniform(low, high)}.')
        made = {n: Several(value[0], value[-1]) if isinstance(value, tuple) else value for n, value in inputs.items()}
        for name, value in made.items():
            if not isinstance(value, AbstractInput):
                raise InputError(
                    f"The input {name!r} is {value!r:.60}.",
                    where,
                    "Give hx.Uniform, hx.LogUniform, hx.Normal, hx.Choice or hx.GaussianField.",
                )
        self.inputs: dict[str, AbstractInput] = made

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(self.inputs)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all numbers, in their order: those of the inputs, or `name[0]`, `name[1]`, ... of functions."""
        return tuple(n if one.count == 1 else f"{n}[{k}]" for n, one in self.inputs.items() for k in range(one.count))

    @property
    def random_fields(self) -> dict[str, GaussianField]:
        """Inputs that are functions."""
        return {name: one for name, one in self.inputs.items() if isinstance(one, GaussianField)}

    def check_named(self) -> None:
        """Refuse arrays of numbers: what is learned has a name for each of its inputs."""
        if any(isinstance(one, Several) for one in self.inputs.values()):
            raise InputError("An input is an array of numbers.", "surrogate(...)", "Name each of them.")

    def parts(self, values: Any) -> dict[str, Any]:
        """The numbers `(..., count)` of every input by name, of all numbers `(..., k)`."""
        ends = np.cumsum([one.count for one in self.inputs.values()])
        return {n: values[..., end - one.count : end] for end, (n, one) in zip(ends, self.inputs.items(), strict=True)}

    def given(self, values: Any) -> dict[str, Any]:
        """What the user's function gets for numbers `(k,)`."""
        return {name: self.inputs[name].made(part) for name, part in self.parts(values).items()}

    def columned(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """What a function of many members gets for their numbers `(n, k)`: `(n,)`, or `(n, count)` of arrays."""
        return {name: self.inputs[name].many(part) for name, part in self.parts(values).items()}

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Independent draws `(count, k)` from the laws of the inputs."""
        return self.quantiles(np.random.default_rng(seed).random((count, len(self.columns))))

    def quantiles(self, u: np.ndarray) -> np.ndarray:
        """Inputs `(n, k)` for numbers `(n, k)` that are uniform in `(0, 1)`, drawn or from a sequence."""
        return np.concatenate([self.inputs[name].quantile(part) for name, part in self.parts(u).items()], axis=1)

    def drawn(self, count: int, seed: int, spread: float = 0.0) -> np.ndarray:
        """Inputs `(count, k)` to learn from, of a scrambled Sobol sequence; see `AbstractInput.learned`."""
        engine = sobol(len(self.columns), np.random.default_rng(seed))
        unit = engine.random(1 << max(count - 1, 0).bit_length())[:count]
        found = [self.inputs[name].learned(part, spread) for name, part in self.parts(unit).items()]
        return np.concatenate(found, axis=1)

    def scaled(self, values: Any) -> Any:
        """Inputs `(..., k)` in the coordinates that models see; `[-1, 1]` is inside."""
        xp = np if isinstance(values, np.ndarray) else jnp
        return xp.concatenate([self.inputs[name].scaled(part) for name, part in self.parts(values).items()], axis=-1)

    def middle(self) -> np.ndarray:
        """Inputs in the middle, `(k,)`."""
        return self.valued(np.zeros(len(self.columns)))

    def valued(self, scaled: np.ndarray) -> np.ndarray:
        """The inverse of `scaled`, for one member `(k,)`."""
        parts = self.parts(scaled)
        return np.array([one.value(float(x)) for name, one in self.inputs.items() for x in parts[name]])

    def checked(self, values: Mapping[str, ArrayLike] | ArrayLike) -> np.ndarray:
        """Inputs as an array `(n, k)`, from columns by name or an array of that shape.

        Raises
        ------
        InputError
            For inputs that are missing or not finite, with the first such row.
        """
        return as_inputs(values, self.columns)


def as_inputs(values: Mapping[str, ArrayLike] | ArrayLike, names: tuple[str, ...]) -> np.ndarray:
    """See `AbstractVaried.checked`."""
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
