import numpy as np
import pytest
import torch
from torch.autograd.functional import hessian, jacobian

from studio.field import Grid
from studio.landscape.curvature.taylor import LARGEST_ERROR, taylor_error, taylor_radius

GRID = Grid(range=(-1.0, 1.0), points=201)
ROUND = (1.0, 0.0, 0.0, 1.0, 0.0, 1.0)
"""1 + r^2 / 2."""


def places(grid: Grid) -> np.ndarray:
    return np.stack(np.meshgrid(grid.alpha, grid.beta), axis=-1)


@pytest.mark.parametrize("seed", range(8))
def test_a_quadratic_loss_is_its_own_model(seed):
    centre, *slopes, a, b, d = model = np.random.default_rng(seed).normal(size=6)
    p = places(GRID)
    loss = centre + p @ slopes + np.einsum("...i,ij,...j", p, [[a, b], [b, d]], p) / 2
    error = taylor_error(loss, GRID, model)
    # 1e-16 of the loss beside the least scale, 1e-5 of it
    assert error.shape == GRID.shape and error.max() < 1e-9 and taylor_radius(error, GRID) == np.inf


@pytest.mark.parametrize("c", [0.3, 2.0, -2.0])
def test_a_quartic_loss_is_followed_up_to_the_radius_that_its_fourth_order_sets(c):
    r = np.hypot(*np.moveaxis(places(GRID), -1, 0))
    error = taylor_error(1 + r**2 / 2 + c * r**4, GRID, ROUND)
    # c r^4 is a tenth of r^2/2 + c r^4, or of r^2/2 if that is more
    expected = np.sqrt(LARGEST_ERROR / 2 / abs(c) / (1 - LARGEST_ERROR * (c > 0)))
    assert taylor_radius(error, GRID) == pytest.approx(expected, abs=0.01)  # the distance between points


def test_the_error_is_never_above_2_even_where_the_loss_returns_to_that_of_the_centre():
    p = places(GRID)
    error = taylor_error(1 + p[..., 0] - 3 * p[..., 0] ** 2 * p[..., 1], GRID, (1.0, 1.0, 0.0, 0.0, 0.0, 0.0))
    assert 1 < error.max() <= 2


def test_an_infinite_loss_is_off_by_1_and_an_unknown_loss_or_model_is_unknown():
    r = np.hypot(*np.moveaxis(places(GRID), -1, 0))
    for unknown, expected in ((np.inf, 1.0), (np.nan, np.nan)):
        error = taylor_error(np.where(r > 0.5, unknown, 1 + r**2 / 2), GRID, ROUND)
        np.testing.assert_equal(error[r > 0.5], expected)
        assert taylor_radius(error, GRID) == r[r > 0.5].min()
    assert np.isnan(taylor_error(r, GRID, (1.0, np.nan, 0.0, 1.0, 0.0, 1.0))).all()


def product_of_weights(seed: int, at_minimum: bool):
    """The mean squared error of a two-layer linear network as a function of p = (alpha, beta) [..., 2]."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    first, second, x = draw(3, 4), draw(2, 3), draw(16, 4)
    y = x @ first.mT @ second.mT + (0 if at_minimum else 0.3 * draw(16, 2))
    along = [(draw(3, 4), draw(2, 3)) for _ in "ab"]

    def loss(p):
        a, b = p[..., 0, None, None], p[..., 1, None, None]
        w, v = (theta + a * d + b * e for theta, d, e in zip((first, second), *along, strict=True))
        return ((x @ w.mT @ v.mT - y) ** 2).mean((-2, -1))

    return loss


@pytest.mark.parametrize("at_minimum", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_radius_over_a_polynomial_network_is_that_of_the_exact_third_derivative(seed, at_minimum):
    loss, zero = product_of_weights(seed, at_minimum), torch.zeros(2, dtype=torch.float64)
    g = jacobian(loss, zero).numpy()
    h = hessian(loss, zero).numpy()
    t = jacobian(lambda p: hessian(loss, p, create_graph=True), zero).numpy()
    # on a ray u the third order reaches a tenth where |t| r^3 / 6 = 0.1 (|g'u| r + u'|H|u r^2 / 2)
    u = np.stack([f(np.linspace(0, 2 * np.pi, 20001)) for f in (np.cos, np.sin)], axis=-1)
    kappas, axes = np.linalg.eigh(h)
    cubic = np.abs(np.einsum("ijk,ni,nj,nk->n", t, u, u, u)) / 6
    square, slope = LARGEST_ERROR * (u @ axes) ** 2 @ np.abs(kappas) / 2, LARGEST_ERROR * np.abs(u @ g)
    predicted = ((square + np.sqrt(square**2 + 4 * cubic * slope)) / (2 * cubic)).min()

    grid = Grid(range=(-2 * predicted, 2 * predicted), points=401)
    values = loss(torch.from_numpy(places(grid))).numpy()
    error = taylor_error(values, grid, (float(loss(zero)), *g, h[0, 0], h[0, 1], h[1, 1]))
    # 15 %: what the fourth order, of a product of two layers, adds within the radius
    assert taylor_radius(error, grid) == pytest.approx(predicted, rel=0.15)
