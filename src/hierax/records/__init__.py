"""What is kept of a training, and what is shown of it while it runs."""

from hierax.records.folder import Folder as Folder
from hierax.records.folder import load as load
from hierax.records.folder import save as save
from hierax.records.live import CurrentStep as CurrentStep
from hierax.records.live import LevelBoard as LevelBoard
from hierax.records.progress import Progress as Progress
from hierax.records.resumption import resume as resume
from hierax.records.run import Run as Run
from hierax.records.tables import read_columns as read_columns
from hierax.records.tables import write_columns as write_columns
from hierax.records.tensorboard import TensorBoard as TensorBoard
