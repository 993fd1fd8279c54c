"""How training behaves: pure measures that training may call and that import nothing of it."""

from hierax.dynamics.complementarity import Complementarity as Complementarity
from hierax.dynamics.complementarity import NewtonEvidence as NewtonEvidence
from hierax.dynamics.complementarity import complementarity as complementarity
from hierax.dynamics.complementarity import outside as outside
from hierax.dynamics.cost_scaling import PowerLaw as PowerLaw
from hierax.dynamics.cost_scaling import fit_power_law as fit_power_law
from hierax.dynamics.cost_scaling import seconds_to as seconds_to
from hierax.dynamics.cost_scaling import work_units as work_units
