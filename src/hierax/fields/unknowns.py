"""Several unknowns as one field: functions and numbers that are trained together."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.base import AbstractField, AbstractLocalField, crowd, mesh, parameter_count
from hierax.fields.joined import AbstractJoined


class Scalar(AbstractLocalField):
    """One trained number, the same at every point.

    Parameters
    ----------
    value : scalar
        Start value.
    """

    value: Float[Array, ""]

    def __init__(self, value):
        self.value = jnp.asarray(value, dtype=float)
        if self.value.shape != ():
            raise ValueError(f"Scalar: one number is expected, got an array of shape {self.value.shape}")

    def locate(self, x: Float[Array, " dim"]) -> tuple[()]:
        del x
        return ()

    def at(self, cell: tuple[()]) -> tuple[Int[Array, " 1"], "ScalarValue"]:
        del cell
        return jnp.zeros((1,), dtype=jnp.int32), ScalarValue(self.value)

    @property
    def has_fixed_cells(self) -> bool:
        return True

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, "ScalarValue"]:
        values = np.full(len(points), float(self.value))
        return np.zeros((len(points), 1), dtype=np.int64), ScalarValue(values)  # pyright: ignore

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        return np.zeros(len(points), dtype=np.int64)

    @property
    def linear_in_parameters(self) -> bool:
        return True


class ScalarValue(AbstractField):
    """The local piece of a `Scalar`."""

    value: Float[Array, ""]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        del x
        return self.value

    @property
    def linear_in_parameters(self) -> bool:
        return True


class Unknowns(AbstractJoined):
    """Named unknowns ``w`` with attribute access: ``w.u`` is a field, ``w.nu`` the number of a `Scalar`.

    Parameters
    ----------
    **fields
        Callable pytrees by name. Parameters are ordered by name, as in every dictionary of JAX.

    Raises
    ------
    ValueError
        Without any unknown, or for a name that the class itself uses.

    Examples
    --------
    >>> w = Unknowns(u=lambda x: x[0], nu=Scalar(0.5))
    >>> float(w.nu)
    0.5
    """

    parts: dict[str, Any]

    def __init__(self, **fields):
        if not fields:
            raise ValueError("Unknowns: name at least one unknown, as in Unknowns(u=field)")
        taken = sorted(name for name in fields if name in dir(Unknowns) or name == "parts")
        if taken:
            raise ValueError(f"Unknowns: the name {taken[0]!r} is taken by the class itself; choose another")
        self.parts = dict(sorted(fields.items()))

    def __getattr__(self, name: str):
        # only reached when ordinary look-up fails; a half-built object (copy, pickle) has no parts yet
        parts = self.__dict__.get("parts", {})
        if name not in parts:
            raise AttributeError(f"there is no unknown {name!r} among {sorted(parts)}")
        part = parts[name]
        return part.value if isinstance(part, Scalar | ScalarValue) else part

    def __call__(self, x: Float[Array, " dim"]) -> dict[str, Float[Array, "..."]]:
        """Values of all unknowns by name."""
        return {name: part(x) for name, part in self.parts.items()}

    @property
    def members(self) -> tuple[Any, ...]:
        return tuple(self.parts.values())

    def joined(self, members: Sequence[Any]) -> "Unknowns":
        return Unknowns(**dict(zip(self.parts, members, strict=True)))

    def mesh(self) -> tuple[np.ndarray, ...] | None:
        """The lines of the meshes of all functions together, where each of them has one."""
        meshes = [mesh(part) for part in self._functions]
        if not meshes or any(m is None for m in meshes):
            return None
        return tuple(functools.reduce(np.union1d, axis) for axis in zip(*meshes, strict=True))  # pyright: ignore

    def crowd(self, cells: int) -> float:
        crowds = [crowd(part, cells) for part in self._functions]
        if min(crowds, default=0.0) > 0:
            return sum(crowds)
        return parameter_count(self) / cells if any(crowds) else 0.0

    @property
    def _functions(self) -> tuple[Any, ...]:
        """The unknowns that are more than one number."""
        return tuple(part for part in self.members if parameter_count(part) > 1)
