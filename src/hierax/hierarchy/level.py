"""One level of a hierarchy: a field, and how many of the measured values it is trained on."""

import equinox as eqx
from jaxtyping import PyTree

from hierax.fields.base import parameter_count, partition


class Level(eqx.Module):
    """A field with what training on it needs to know.

    Parameters
    ----------
    field : callable pytree
        See `hierax.fields`; it says itself what of it is trained.
    points : int, optional
        Number of measured values that the level sees; all of them by default, and refinement lets it grow with the
        parameters. Points of equations and conditions follow the field, see `hierax.objective.build.Sampling`.
    """

    field: PyTree
    points: int | None = eqx.field(static=True, default=None)

    def partition(self) -> tuple[PyTree, PyTree]:
        """Trained parameters and the rest; `equinox.combine` joins them."""
        return partition(self.field)

    @property
    def parameters(self) -> int:
        """Number of trained scalars."""
        return parameter_count(self.field)
