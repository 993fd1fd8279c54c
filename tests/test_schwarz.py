"""Schwarz preconditioners: orthonormal blocks, symmetry, exactness on the coarse space, iterations that do not grow."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import hierax as hx
from hierax.cli import Options
from hierax.fields.local_fields import Polynomials, RandomFeatures
from hierax.fields.partition_of_unity import PartitionOfUnity
from hierax.objective import flat_parameters, make_samples
from hierax.objective.least_squares import weighted_residual
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.planning.families import Grid, Subdomains
from hierax.problems import laplacian
from hierax.solvers.linear import schwarz
from hierax.solvers.linear.adaptive_coarse import AdaptiveCoarseSpace
from hierax.solvers.linear.coarse_spaces import Nicolaides, NoCoarseSpace
from hierax.solvers.linear.orthogonal import orthogonalised
from hierax.solvers.linear.schwarz import least_squares
from hierax.solvers.linear.subdomains import Schwarz, part_of
from hierax.testing import check_solver
from studies.schwarz_scaling import sampled, waves

BEND = SquaredResidual("bend", lambda u, place: -laplacian(u)(place.x) - 1.0)
CUBIC = SquaredResidual("cubic", lambda u, place: -laplacian(u)(place.x) + u(place.x) ** 3 - 1.0)
ENDS = SquaredResidual("ends", lambda u, place: jnp.ravel(u(place.x)))


@functools.cache
def line(subdomains, local=None, inside=BEND, field=None):
    """`-u'' = 1` with zero ends, or another equation inside."""
    field = field or PartitionOfUnity.uniform([0.0], [1.0], subdomains, 1.5, local=local or Polynomials(4))
    nodes, weights = np.polynomial.legendre.leggauss(7)
    points = ((np.arange(subdomains)[:, None] + 0.5 + 0.5 * nodes) / subdomains).reshape(-1, 1)
    inner = make_samples(inside, points, np.tile(weights / (2 * subdomains), subdomains))
    ends = make_samples(ENDS, np.array([[0.0], [1.0]]), np.ones(2), np.array([[-1.0], [1.0]]))
    return RowObjective(field, [inner, ends.scaled(float(subdomains) ** 3)])


def solved(subdomains, solver, local=None):
    objective = line(subdomains, local)
    theta = flat_parameters(objective.field)[0]
    basis, found = solver.solve(objective, theta, weighted_residual(objective, theta))
    return objective, theta - basis.back @ found.x, found


def test_the_laws_of_solvers():
    check_solver(Schwarz(), key=0)


def test_blocks_are_orthonormal_and_span_the_same():
    rng = np.random.default_rng(0)
    matrix = np.zeros((30, 7))
    matrix[:20, :4], matrix[12:, 4:] = rng.normal(size=(20, 4)), rng.normal(size=(18, 3))
    matrix[:, 2] = matrix[:, 0] - 2.0 * matrix[:, 1]  # dependent: filtered
    basis = orthogonalised(sp.csr_array(matrix), [np.array([0, 1, 2, 3]), np.array([4, 6, 5])], 1e-10)
    assert basis.kept.tolist() == [3, 3]
    blocks = basis.matrix.toarray().reshape(30, 2, 4)
    for j in range(2):
        np.testing.assert_allclose(blocks[:, j].T @ blocks[:, j], np.diag([1.0, 1.0, 1.0, 0.0]), atol=1e-12)
    np.testing.assert_allclose(matrix @ basis.back.toarray(), basis.matrix.toarray(), atol=1e-11)
    np.testing.assert_allclose((basis.matrix @ basis.forth).toarray(), matrix, atol=1e-11)


@pytest.mark.parametrize("solver", [Schwarz(), Schwarz(Nicolaides(1)), Schwarz(coarse=NoCoarseSpace())])
def test_preconditioners_are_symmetric_and_positive(solver):
    objective = line(16)
    basis, two_level = solver.preconditioner(
        objective.sparse_rows(flat_parameters(objective.field)[0]), part_of(objective.field)
    )
    a, b = np.random.default_rng(0).normal(size=(2, basis.matrix.shape[1]))
    assert a @ two_level(b) == pytest.approx(b @ two_level(a), rel=1e-8)
    assert a @ two_level(a) > 0
    if two_level.coarse is not None:
        # what lies in the coarse space is found at once
        known = two_level.coarse @ np.random.default_rng(1).normal(size=two_level.coarse.shape[1])
        back = two_level(two_level.system.gram @ known)
        assert np.linalg.norm(back - known) <= 1e-6 * np.linalg.norm(known)


def test_patches_that_are_larger_than_a_piece_come_one_by_one(monkeypatch):
    objective, solver = line(16), Schwarz(coarse=NoCoarseSpace())
    rows, part = objective.sparse_rows(flat_parameters(objective.field)[0]), part_of(objective.field)
    basis, together = solver.preconditioner(rows, part)
    monkeypatch.setattr(schwarz, "ENTRIES", 1)
    vector = np.random.default_rng(0).normal(size=basis.matrix.shape[1])
    np.testing.assert_allclose(solver.preconditioner(rows, part)[1](vector), together(vector), rtol=1e-9, atol=1e-12)


def test_iterations_do_not_grow_with_the_number_of_subdomains():
    counts = {name: [solved(n, solver)[2].iterations for n in (16, 64)] for name, solver in SOLVERS.items()}
    assert counts["linear"][1] <= 2.5 * counts["linear"][0]
    assert counts["quadratic"][1] <= 2.5 * counts["quadratic"][0] <= 25
    assert counts["one level"][1] >= 3 * counts["one level"][0]


SOLVERS = {
    "quadratic": Schwarz(),
    "linear": Schwarz(coarse=Nicolaides(1)),
    "one level": Schwarz(coarse=NoCoarseSpace()),
}


@pytest.mark.parametrize("local", [Polynomials(4), RandomFeatures(12)])
def test_the_solution_is_that_of_least_squares(local):
    objective = line(16, local)
    theta = flat_parameters(objective.field)[0]
    residual, solver = weighted_residual(objective, theta), Schwarz(precision=1e-12)
    basis, found = solver.solve(objective, theta, residual)
    dense = basis.matrix.toarray()
    best = np.linalg.norm(residual - dense @ np.linalg.lstsq(dense, residual, rcond=1e-10)[0])
    assert np.linalg.norm(residual - dense @ found.x) <= best + 1e-6 * np.linalg.norm(residual)
    if isinstance(local, Polynomials):
        field = flat_parameters(objective.field)[1](-(basis.back @ found.x))
        error = [float(field(jnp.array([s]))) - 0.5 * s * (1 - s) for s in (0.0, 0.11, 0.5, 0.83)]
        assert np.abs(error).max() <= 1e-6


def test_nonlinear_terms_are_linearised_until_nothing_is_left():
    objective = line(16, inside=CUBIC)
    theta, solver = flat_parameters(objective.field)[0], Schwarz()
    state, values = solver.init(objective, theta), []
    for _ in range(12):
        step = solver.step(objective, theta, state)
        theta, state = step.theta, step.state
        values.append(step.value)
        if step.done:
            break
    assert step.done
    assert len(values) >= 2
    rows = objective.sparse_rows(theta)
    slope = np.abs(rows.T @ weighted_residual(objective, theta)).max()
    assert slope <= 1e-4 * np.sqrt(2 * values[-1]) * np.sqrt(rows.power(2).sum(axis=0).max())


def test_it_serves_fields_with_subdomains_and_refuses_others():
    problem = hx.problems.oscillator(frequency=12.0)
    solution = hx.train(problem, Subdomains(), solver=Schwarz(), levels=2, budget=600)
    assert [row.parameters for row in solution.levels] == [30, 50]
    assert solution.accuracy.relative_l2 < 1e-5
    with pytest.raises(hx.InputError, match="subdomains, and SplineGrid has none"):
        hx.train(problem, Grid(), solver=Schwarz())


@pytest.mark.parametrize(("field", "family"), [("auto", Subdomains), ("pou", Subdomains), ("grid", Grid)])
def test_on_the_command_line_it_brings_its_subdomains(field, family):
    chosen = Options(field=field, solver="schwarz").overrides()
    assert isinstance(chosen["solver"], Schwarz)
    assert isinstance(chosen["hierarchy"], family)


def test_an_adaptive_coarse_space_finds_what_polynomials_miss():
    """Cubics on wide overlaps in the plane: odd polynomials that cancel on all subdomains (89 against 37 on 256)."""
    iterations = {}
    for side in (4, 8):
        field = PartitionOfUnity.uniform([0.0, 0.0], [1.0, 1.0], side, 1.9, local=Polynomials(3))
        objective = sampled(waves(2, side), field, side, 5)
        theta = flat_parameters(field)[0]
        matrix, residual = objective.sparse_rows(theta), weighted_residual(objective, theta)
        for coarse in (Nicolaides(), AdaptiveCoarseSpace()):
            basis, two_level = Schwarz(coarse).preconditioner(matrix, part_of(field))
            iterations[side, type(coarse)] = least_squares(basis.matrix, residual, two_level, 1e-10, 300).iterations
    assert iterations[8, Nicolaides] >= 1.8 * iterations[4, Nicolaides]
    assert iterations[8, AdaptiveCoarseSpace] <= 1.5 * iterations[4, AdaptiveCoarseSpace]
    # where nothing is slow nothing is added
    basis, two_level = Schwarz().preconditioner(line(16).sparse_rows(np.zeros(80)), part_of(line(16).field))
    assert two_level.coarse.shape[1] == 48
