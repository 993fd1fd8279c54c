"""Reproducible experiments: each leaves a table, a figure and a JSON."""

from studies.registry import Study as Study
from studies.registry import named_study as named_study
from studies.registry import studies as studies
from studies.registry import study as study
