"""One HTML page about a training, which works offline."""

from hierax.report.account import Account as Account
from hierax.report.environment import environment as environment
from hierax.report.page import page as page
from hierax.report.page import write_page as write_page
