"""One HTML page about a training, an estimation or a surrogate, which works offline."""

from hierax.results.report.account import Account as Account
from hierax.results.report.estimated import estimation as estimation
from hierax.results.report.learned import Example as Example
from hierax.results.report.learned import Worth as Worth
from hierax.results.report.learned import learned as learned
from hierax.results.report.page import page as page
from hierax.results.report.page import write_page as write_page
