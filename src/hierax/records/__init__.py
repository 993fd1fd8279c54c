"""What is kept of a training, and what is shown of it while it runs."""

from hierax.records.fields_io import BUILDERS as BUILDERS
from hierax.records.fields_io import describe as describe
from hierax.records.fields_io import load_field as load_field
from hierax.records.fields_io import rebuild as rebuild
from hierax.records.fields_io import save_field as save_field
from hierax.records.live import CurrentStep as CurrentStep
from hierax.records.live import LevelBoard as LevelBoard
from hierax.records.progress import Progress as Progress
from hierax.records.run import Run as Run
from hierax.records.run import load_run as load_run
from hierax.records.tables import read_columns as read_columns
from hierax.records.tables import write_columns as write_columns
from hierax.records.tensorboard import TensorBoard as TensorBoard
