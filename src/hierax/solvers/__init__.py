"""How one level is trained."""

from hierax.solvers.base import AbstractSolver as AbstractSolver
from hierax.solvers.base import Step as Step
from hierax.solvers.base import Tolerances as Tolerances
from hierax.solvers.gauss_newton import GaussNewton as GaussNewton
from hierax.solvers.linear.adaptive_coarse import AdaptiveCoarseSpace as AdaptiveCoarseSpace
from hierax.solvers.linear.coarse_spaces import Nicolaides as Nicolaides
from hierax.solvers.linear.coarse_spaces import NoCoarseSpace as NoCoarseSpace
from hierax.solvers.linear.multigrid import Multigrid as Multigrid
from hierax.solvers.linear.solve import Cholesky as Cholesky
from hierax.solvers.linear.solve import ConjugateGradients as ConjugateGradients
from hierax.solvers.linear.subdomains import Schwarz as Schwarz
from hierax.solvers.optax import Optax as Optax
from hierax.solvers.optax import adam as adam
from hierax.solvers.optax import lbfgs as lbfgs
from hierax.solvers.relaxation import Relaxation as Relaxation
from hierax.solvers.smoothing import Smoothing as Smoothing
from hierax.solvers.variable_projection import VariableProjection as VariableProjection
