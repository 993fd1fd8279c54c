"""Laws that every problem, field, transfer and solver has to obey, as functions for one's own tests."""

from hierax.testing.fields import check_field
from hierax.testing.problems import check_problem
from hierax.testing.solvers import check_solver
from hierax.testing.tables import check_table
from hierax.testing.transfers import check_transfer
from hierax.testing.units import check_units

__all__ = ["check_field", "check_problem", "check_solver", "check_table", "check_transfer", "check_units"]
