# ruff: noqa: E402 (the number of threads is set before anything imports NumPy)
"""Multilevel training of splines and networks for scientific problems, in JAX; imported as `import hierax as hx`."""

import importlib
import os
import sys
import time

__version__ = "0.1.0"

IMPORT_BEGAN = time.perf_counter()
"""When the import began; the command line reports how long it took."""

if "numpy" not in sys.modules:
    # OpenBLAS lets its threads spin while they wait, which starves those of XLA: on two cores a Cholesky factorisation
    # of a small matrix was measured sixty times slower. It reads this when NumPy is imported, and never again.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hierax import materials as materials
from hierax import problems as problems
from hierax._errors import InputError as InputError
from hierax._results import RESULTS as RESULTS
from hierax.cycles import AdditiveCycle as AdditiveCycle
from hierax.cycles import Automatic as Automatic
from hierax.cycles import FCycle as FCycle
from hierax.cycles import FullMultigrid as FullMultigrid
from hierax.cycles import LineSearch as LineSearch
from hierax.cycles import NestedIteration as NestedIteration
from hierax.cycles import SingleLevel as SingleLevel
from hierax.cycles import Until as Until
from hierax.cycles import VCycle as VCycle
from hierax.cycles import WCycle as WCycle
from hierax.devices import Devices as Devices
from hierax.fields import KAN as KAN
from hierax.fields import MLP as MLP
from hierax.fields import AdaptiveBasis as AdaptiveBasis
from hierax.fields import Cover as Cover
from hierax.fields import DecodedGrid as DecodedGrid
from hierax.fields import FourierNetwork as FourierNetwork
from hierax.fields import InputBox as InputBox
from hierax.fields import LowRank as LowRank
from hierax.fields import PartitionOfUnity as PartitionOfUnity
from hierax.fields import Scalar as Scalar
from hierax.fields import SplineGrid as SplineGrid
from hierax.fields import Stretch as Stretch
from hierax.fields import StretchedGrid as StretchedGrid
from hierax.fields import Unknowns as Unknowns
from hierax.fields import siren as siren
from hierax.geometry import Cuboid as Cuboid
from hierax.geometry import Cylinder as Cylinder
from hierax.geometry import Disk as Disk
from hierax.geometry import Ellipse as Ellipse
from hierax.geometry import Extrusion as Extrusion
from hierax.geometry import HalfSpace as HalfSpace
from hierax.geometry import LevelSet as LevelSet
from hierax.geometry import Polygon as Polygon
from hierax.geometry import Rectangle as Rectangle
from hierax.geometry import Sphere as Sphere
from hierax.geometry import mesh as mesh
from hierax.hierarchy import Hierarchy as Hierarchy
from hierax.hierarchy import IntervalDoubling as IntervalDoubling
from hierax.hierarchy import KnotInsertion as KnotInsertion
from hierax.hierarchy import Level as Level
from hierax.hierarchy import RankGrowth as RankGrowth
from hierax.hierarchy import WidthGrowth as WidthGrowth
from hierax.hierarchy import refine as refine
from hierax.models import Choice as Choice
from hierax.models import Family as Family
from hierax.models import FamilyLevels as FamilyLevels
from hierax.models import GaussianField as GaussianField
from hierax.models import LogUniform as LogUniform
from hierax.models import Normal as Normal
from hierax.models import Operator as Operator
from hierax.models import Samples as Samples
from hierax.models import Simulation as Simulation
from hierax.models import Surrogate as Surrogate
from hierax.models import Uniform as Uniform
from hierax.models import surrogate as surrogate
from hierax.objective.corrected import FirstOrder as FirstOrder
from hierax.planning import families as families
from hierax.planning.choose import plan as plan
from hierax.planning.plan import Plan as Plan
from hierax.problems import Boundary as Boundary
from hierax.problems import Box as Box
from hierax.problems import Constant as Constant
from hierax.problems import Continuation as Continuation
from hierax.problems import Data as Data
from hierax.problems import Energy as Energy
from hierax.problems import Face as Face
from hierax.problems import Fidelities as Fidelities
from hierax.problems import Fidelity as Fidelity
from hierax.problems import Function as Function
from hierax.problems import Interface as Interface
from hierax.problems import PointCloud as PointCloud
from hierax.problems import Problem as Problem
from hierax.problems import Reference as Reference
from hierax.problems import Residual as Residual
from hierax.problems import TabulatedReference as TabulatedReference
from hierax.problems import Values as Values
from hierax.problems import coordinates as coordinates
from hierax.problems import derivative as derivative
from hierax.problems import divergence as divergence
from hierax.problems import gradient as gradient
from hierax.problems import laplacian as laplacian
from hierax.problems import sides as sides
from hierax.problems.conditions import Elastic as Elastic
from hierax.problems.conditions import dirichlet as dirichlet
from hierax.problems.conditions import neumann as neumann
from hierax.problems.conditions import periodic as periodic
from hierax.problems.conditions import robin as robin
from hierax.problems.conditions import symmetry as symmetry
from hierax.problems.conditions import traction as traction
from hierax.problems.hyperelastic import Hyperelastic as Hyperelastic
from hierax.problems.hyperelastic import Invariants as Invariants
from hierax.problems.hyperelastic import polyconvex_energy as polyconvex_energy
from hierax.problems.hyperelastic import stored_energy as stored_energy
from hierax.problems.parametric import Parameter as Parameter
from hierax.problems.parametric import over as over
from hierax.records.folder import load as load
from hierax.records.folder import save as save
from hierax.records.progress import Progress as Progress
from hierax.records.resumption import resume as resume
from hierax.records.watch import Watch as Watch
from hierax.results.solution import Solution as Solution
from hierax.solvers import GaussNewton as GaussNewton
from hierax.solvers import Optax as Optax
from hierax.solvers import Relaxation as Relaxation
from hierax.solvers import adam as adam
from hierax.solvers import lbfgs as lbfgs
from hierax.statistics import Estimate as Estimate
from hierax.statistics import Mean as Mean
from hierax.statistics import Probability as Probability
from hierax.statistics import Quantile as Quantile
from hierax.statistics import Variance as Variance
from hierax.statistics import estimate as estimate
from hierax.statistics import estimate_samples as estimate_samples
from hierax.training.bands import intervals as intervals
from hierax.training.train import TrainingError as TrainingError
from hierax.training.train import train as train


def __getattr__(name: str) -> object:
    # scikit-learn takes longer to import than all of this, and only this part of the package wants it
    if name == "sklearn":
        return importlib.import_module("hierax.sklearn")
    raise AttributeError(f"module 'hierax' has no attribute {name!r}")
