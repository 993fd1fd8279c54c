import jax

jax.config.update("jax_enable_x64", True)
import hierax as hx

problem = hx.problems.burgers(viscosity=0.01)
solution = hx.train(problem)
print(solution)  # one row a level, error, guards, and what limited the run
print(solution.evaluate([[0.5, 0.1]], "u_x"))  # a derivative at t = 0.5, x = 0.1
solution.plot("burgers.png")
