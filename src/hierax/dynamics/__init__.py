"""How training behaves: pure measures that training may call and that import nothing of it."""

from hierax.dynamics.cost_scaling import PowerLaw as PowerLaw
from hierax.dynamics.cost_scaling import fit_power_law as fit_power_law
from hierax.dynamics.cost_scaling import seconds_to as seconds_to
from hierax.dynamics.cost_scaling import work_units as work_units
