"""Where a problem and a field meet."""

from hierax.objective.curvature import AbstractCurvature as AbstractCurvature
from hierax.objective.local import LocalObjective as LocalObjective
from hierax.objective.objective import AbstractObjective as AbstractObjective
from hierax.objective.objective import Linearisation as Linearisation
from hierax.objective.objective import flat_parameters as flat_parameters
from hierax.objective.pointwise import point_term as point_term
from hierax.objective.samples import Samples as Samples
from hierax.objective.samples import make_samples as make_samples
from hierax.objective.view import component as component
from hierax.objective.view import physical as physical
