"""What comes out of a training: solution, evaluation, figures, report."""
