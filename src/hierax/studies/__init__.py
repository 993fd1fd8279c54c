"""Reproducible experiments: each leaves a table, a figure and a JSON."""

from hierax.studies.registry import Study as Study
from hierax.studies.registry import named_study as named_study
from hierax.studies.registry import studies as studies
from hierax.studies.registry import study as study
