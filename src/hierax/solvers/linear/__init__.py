"""Linear solvers and preconditioners: factorisations, conjugate gradients, multigrid, Schwarz methods."""
