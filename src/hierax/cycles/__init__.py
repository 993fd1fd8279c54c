"""In which order levels are trained."""

from hierax.cycles.base import AbstractCycle as AbstractCycle
from hierax.cycles.base import Action as Action
from hierax.cycles.base import Done as Done
from hierax.cycles.base import Grow as Grow
from hierax.cycles.base import Outcome as Outcome
from hierax.cycles.base import Until as Until
from hierax.cycles.base import Visit as Visit
from hierax.cycles.nested import NestedIteration as NestedIteration
from hierax.cycles.nested import SingleLevel as SingleLevel
