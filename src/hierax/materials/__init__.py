"""How materials with a microstructure respond: periodic cells, solvers, material networks, effective tensors."""

from hierax.materials.cells import AbstractMicrostructure as AbstractMicrostructure
from hierax.materials.cells import Cell as Cell
from hierax.materials.cells import discs as discs
from hierax.materials.cells import fibres as fibres
from hierax.materials.cells import pixels as pixels
from hierax.materials.cells import random_field as random_field
from hierax.materials.fft import LoadPath as LoadPath
from hierax.materials.fft import cell_path as cell_path
from hierax.materials.fft import effective_tensors as effective_tensors
from hierax.materials.homogenisation import GridCorrection as GridCorrection
from hierax.materials.homogenisation import composite_tensor as composite_tensor
from hierax.materials.homogenisation import learn_correction as learn_correction
from hierax.materials.homogenisation import voigt_reuss as voigt_reuss
from hierax.materials.laws import J2 as J2
from hierax.materials.laws import AbstractLaw as AbstractLaw
from hierax.materials.laws import Linear as Linear
from hierax.materials.learning import LearnedNetwork as LearnedNetwork
from hierax.materials.learning import learn_network as learn_network
from hierax.materials.learning import stress_error as stress_error
from hierax.materials.network import MaterialNetwork as MaterialNetwork
from hierax.materials.online import NetworkLaw as NetworkLaw
from hierax.materials.online import network_path as network_path
from hierax.materials.tensors import Physics as Physics
from hierax.materials.tensors import isotropic as isotropic
from hierax.materials.tensors import orthotropic as orthotropic
from hierax.materials.tensors import random_phases as random_phases
