import jax

jax.config.update("jax_enable_x64", True)
import hierax as hx

problem = hx.problems.burgers(viscosity=0.01)
field = hx.KAN([2, 8, 1], intervals=4, degree=4, key=0)
hierarchy = hx.refine(field, by=hx.IntervalDoubling(), levels=5)
solution = hx.train(problem, hierarchy, solver=hx.GaussNewton(), cycle=hx.NestedIteration(), key=1)
print(solution)  # one row a level: parameters, steps, loss, error, seconds
solution.plot("burgers.png")
