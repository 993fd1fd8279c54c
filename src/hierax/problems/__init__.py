"""What is learned: domains, terms, unknowns, constraints, samplers, certified references, and the catalogue."""

from hierax.problems.domain import Boundary as Boundary
from hierax.problems.domain import Box as Box
from hierax.problems.domain import Domain as Domain
from hierax.problems.domain import Face as Face
from hierax.problems.domain import PointCloud as PointCloud
from hierax.problems.operators import coordinates as coordinates
from hierax.problems.operators import derivative as derivative
from hierax.problems.operators import divergence as divergence
from hierax.problems.operators import gradient as gradient
from hierax.problems.operators import laplacian as laplacian
from hierax.problems.problem import Problem as Problem
from hierax.problems.reference import Reference as Reference
from hierax.problems.reference import TabulatedReference as TabulatedReference
from hierax.problems.registry import catalogue as catalogue
from hierax.problems.registry import named_problem as named_problem
from hierax.problems.sampling import Batch as Batch
from hierax.problems.sampling import Gauss as Gauss
from hierax.problems.sampling import Grid as Grid
from hierax.problems.sampling import Sobol as Sobol
from hierax.problems.terms import Data as Data
from hierax.problems.terms import Energy as Energy
from hierax.problems.terms import Residual as Residual
from hierax.problems.terms import Term as Term
from hierax.problems.unknowns import Constant as Constant
from hierax.problems.unknowns import Function as Function
