"""Exit codes that are no results of a training."""

BAD_INPUT, FAILED, GUARD_FAILED, INTERRUPTED = 1, 2, 3, 130
