"""Several unknowns as one field: functions and numbers that are trained together."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from hierax.fields.base import (
    AbstractField,
    AbstractLocalField,
    linear_in_parameters,
    linear_parameters,
    parameter_count,
    placed,
    supports_local,
)


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


class Unknowns(AbstractField):
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
    def linear_in_parameters(self) -> bool:
        return all(linear_in_parameters(part) for part in self.parts.values())

    def linear_parameters(self) -> PyTree[bool]:
        """Those of every part: right for terms that are linear in each unknown and couple none of them."""
        answers = {name: linear_parameters(part) for name, part in self.parts.items()}
        return eqx.tree_at(lambda w: w.parts, self, answers)

    def placed(self, box: Any) -> "Unknowns":
        return Unknowns(**{name: placed(part, box) for name, part in self.parts.items()})

    def locate(self, x: Float[Array, " dim"]) -> dict[str, PyTree]:
        """Cells of all unknowns; every part has to be local, see `supports_local`."""
        return {name: part.locate(x) for name, part in self.parts.items()}

    def at(self, cell: dict[str, PyTree]) -> tuple[Int[Array, " local"], "Unknowns"]:
        """Indices into the raveled parameters of the whole, and the unknowns made of the local pieces."""
        offset, indices, pieces = 0, [], {}
        for name, part in sorted(self.parts.items()):
            index, pieces[name] = part.at(cell[name])
            indices.append(index + offset)
            offset += parameter_count(part)
        return jnp.concatenate(indices), Unknowns(**pieces)


@supports_local.register
def _(field: Unknowns) -> bool:
    return all(supports_local(part) for part in field.parts.values())
