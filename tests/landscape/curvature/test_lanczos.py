import numpy as np
import pytest
import torch
from scipy.linalg import eigvalsh_tridiagonal

from studio.landscape.curvature.lanczos import BLOCK, Krylov

SIZE = 3 * BLOCK


def symmetric(count: int, size: int = SIZE) -> torch.Tensor:
    random = torch.randn(count, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return random + random.mT


def run_lanczos(matrices: torch.Tensor, steps: int) -> Krylov:
    krylov = Krylov(torch.randn(matrices.shape[:2], dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    for _ in range(steps):
        krylov.step((matrices @ krylov.v[:, :, None])[:, :, 0])
    return krylov


def basis(krylov: Krylov, operator: int) -> torch.Tensor:
    return krylov.combine(operator, np.eye(krylov.steps))


def tridiagonal(krylov: Krylov, operator: int) -> np.ndarray:
    below = krylov.betas[operator, :-1]
    return np.diag(krylov.alphas[operator]) + np.diag(below, 1) + np.diag(below, -1)


@pytest.mark.parametrize("steps", [1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_operator_times_basis_is_basis_times_tridiagonal_matrix_plus_remainder(steps):
    matrices = symmetric(3)
    krylov = run_lanczos(matrices, steps)
    for operator in range(3):
        q = basis(krylov, operator).numpy()
        np.testing.assert_allclose(q @ q.T, np.eye(steps), atol=1e-13)  # rounding of 48 float64 numbers
        remainder = matrices[operator].numpy() @ q.T - q.T @ tridiagonal(krylov, operator)
        remainder[:, -1] -= krylov.betas[operator, -1] * krylov.v[operator].numpy()
        np.testing.assert_allclose(remainder, 0, atol=1e-12)


def test_as_many_steps_as_dimensions_give_the_whole_spectrum():
    matrices = symmetric(2)
    krylov = run_lanczos(matrices, SIZE)
    assert krylov.closed.all()
    for operator in range(2):
        result = eigvalsh_tridiagonal(krylov.alphas[operator], krylov.betas[operator, :-1])
        np.testing.assert_allclose(result, np.linalg.eigvalsh(matrices[operator].numpy()), atol=1e-11)


def test_a_basis_stays_orthogonal_where_ritz_values_converge_early():
    # without a pass over the whole basis, copies of the lone largest eigenvalue would return after about ten steps
    values = torch.cat([torch.linspace(0, 1, 199), torch.tensor([1e4])]).double()
    krylov = run_lanczos(torch.diag(values)[None], 60)
    q = basis(krylov, 0)
    # what is left of the lone one in a vector, a rounding of 1e-16, grows by 1e4 over a half of 0.5 a step: some 1e-11
    torch.testing.assert_close(q @ q.mT, torch.eye(60, dtype=torch.float64), rtol=0, atol=1e-10)


def test_the_operators_that_are_kept_continue_as_if_the_others_had_never_been():
    matrices = symmetric(4)
    krylov = run_lanczos(matrices, BLOCK + 3)
    krylov.keep([1, 3])
    krylov.step((matrices[[1, 3]] @ krylov.v[:, :, None])[:, :, 0])
    uninterrupted = run_lanczos(matrices, BLOCK + 4)
    np.testing.assert_allclose(krylov.alphas, uninterrupted.alphas[[1, 3]], rtol=1e-12)
    torch.testing.assert_close(basis(krylov, 1), basis(uninterrupted, 3), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_closed_space_is_detected_at_once_and_its_eigenvalue_stays(value):
    krylov = run_lanczos(value * torch.eye(SIZE, dtype=torch.float64)[None], 1)
    assert krylov.closed[0]
    krylov = run_lanczos(value * torch.eye(SIZE, dtype=torch.float64)[None], 4)
    assert krylov.alphas[0] == pytest.approx(np.full(4, value), abs=1e-14) and krylov.v.isfinite().all()
