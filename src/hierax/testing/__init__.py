"""Laws that every problem and every transfer has to obey, as functions for one's own tests."""

from hierax.testing.problems import check_problem
from hierax.testing.transfers import check_transfer

__all__ = ["check_problem", "check_transfer"]
