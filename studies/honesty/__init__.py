"""The study `honesty`: a battery of problems with a known truth, by kind, and the verdicts of their runs."""

from studies.honesty import study
