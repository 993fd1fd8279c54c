"""The numbers inside of terms that marks were put on (`hierax.problems.watched`), at many points."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from hierax.objective.pointwise import PER_SAMPLE, AbstractPointTerm, Place
from hierax.problems.watched import MARKS


def marked_values(term: AbstractPointTerm, field: Any, places: Place) -> list[tuple[str, np.ndarray]]:
    """Key of a mark and values `(points, ...)` for every place in a term that is marked; nothing without marks.

    The traced term is evaluated up to its marks in place of its value. Marks inside of loops are not found.
    """
    if not MARKS:
        return []
    places = jax.tree.map(jnp.asarray, places)
    one = jax.tree.map(lambda leaf: leaf[0], places._replace(inputs=()))._replace(inputs=places.inputs)
    with jax.disable_jit():  # what is compiled by itself would hide its marks
        closed = jax.make_jaxpr(lambda place: term.residual(field, place))(one)
    inner = closed.jaxpr
    marks = [e for e in inner.eqns if e.primitive.name == "name" and e.params["name"] in MARKS]
    if not marks:
        return []
    info = inner.debug_info._replace(result_paths=("",) * len(marks))
    shown = ClosedJaxpr(inner.replace(outvars=[e.invars[0] for e in marks], debug_info=info), closed.consts)
    columns = jax.jit(jax.vmap(lambda place: jaxpr_as_fun(shown)(*jax.tree.leaves(place)), in_axes=(PER_SAMPLE,)))(
        places
    )
    return [(e.params["name"], np.asarray(column)) for e, column in zip(marks, columns, strict=True)]
