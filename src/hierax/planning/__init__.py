"""The default strategy: from the features of a problem to a plan of its training."""
