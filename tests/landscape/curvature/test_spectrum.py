import numpy as np
import pytest
import torch
from pytest import approx

from studio.landscape.convexity import Spectrum
from studio.landscape.curvature.spectrum import density, stochastic_lanczos_quadrature, trace

SIZE = 200
VALUES = torch.cat([torch.linspace(-1, 1, SIZE - 2), torch.tensor([8.0, 15.0])]).double()


def turned(values: torch.Tensor) -> torch.Tensor:
    """A dense symmetric matrix with these eigenvalues."""
    drawn = torch.randn(len(values), len(values), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, _ = torch.linalg.qr(drawn)
    return q @ torch.diag(values) @ q.mT


def along(matrix: torch.Tensor):
    return lambda v: v @ matrix


def test_the_trace_of_a_diagonal_matrix_is_exact_from_any_probe():
    found = stochastic_lanczos_quadrature(lambda v: v * VALUES, SIZE, Spectrum(probes=2, steps=10))
    # z' D z = trace D for a vector of signs; float64 sums
    assert trace(found["ritz"], found["weight"], SIZE) == approx((float(VALUES.sum()), 0), abs=1e-10)


def test_the_trace_is_right_within_its_standard_error():
    found = stochastic_lanczos_quadrature(along(turned(VALUES)), SIZE, Spectrum(probes=64, steps=30, seed=1))
    total, error = trace(found["ritz"], found["weight"], SIZE)
    # four standard errors: one in 16,000 seeds would miss; and the error is of the size that theory says
    assert abs(total - float(VALUES.sum())) < 4 * error
    outside = float(turned(VALUES).fill_diagonal_(0).square().sum())
    assert error == approx(np.sqrt(2 * outside / 64), rel=0.35)  # 64 probes know a deviation to about 9 %


def test_weights_are_shares_and_the_outermost_ritz_values_are_the_ends():
    found = stochastic_lanczos_quadrature(along(turned(VALUES)), SIZE, Spectrum(probes=3, steps=60))
    assert found["weight"].sum(1) == approx(np.ones(3), rel=1e-12) and (found["weight"] >= 0).all()
    assert found["ritz"].max(1) == approx(np.full(3, 15.0), rel=1e-9)
    assert found["ritz"].min(1) == approx(np.full(3, -1.0), rel=1e-3)  # the end of a dense band comes slowly


def test_the_density_is_that_of_all_eigenvalues_seen_as_softly():
    found = stochastic_lanczos_quadrature(along(turned(VALUES)), SIZE, Spectrum(probes=40, steps=60, seed=2))
    axis = np.linspace(-3, 17, 2001)
    curve = density(found["ritz"], found["weight"], axis, width=0.3)
    wanted = density(VALUES.numpy()[None], np.full((1, SIZE), 1 / SIZE), axis, width=0.3)
    assert np.trapezoid(curve, axis) == approx(1, rel=1e-6)
    # 40 probes of 200 numbers: a share is known to about 1 / sqrt(8000) = 1 %; three times that, of the highest value
    assert np.abs(curve - wanted).max() < 0.03 * wanted.max()


def test_probes_may_be_measured_apart_and_in_any_order():
    whole = Spectrum(probes=4, steps=12, seed=3)
    together = stochastic_lanczos_quadrature(along(turned(VALUES)), SIZE, whole)
    for number in (2, 0):
        alone = stochastic_lanczos_quadrature(along(turned(VALUES)), SIZE, whole, probes=range(number, number + 1))
        assert all(np.array_equal(alone[name][0], together[name][number]) for name in together)
    assert not np.array_equal(together["ritz"][0], together["ritz"][1])


def test_more_steps_than_dimensions_add_nothing():
    found = stochastic_lanczos_quadrature(along(turned(VALUES[-5:])), 5, Spectrum(probes=2, steps=9))
    assert found["ritz"].shape == (2, 9) and not found["weight"][:, 5:].any()
    assert np.sort(found["ritz"][0, :5]) == approx(VALUES[-5:].numpy(), rel=1e-9)


def test_a_product_that_is_not_finite_leaves_the_probe_unknown():
    found = stochastic_lanczos_quadrature(lambda v: v * np.nan, SIZE, Spectrum(probes=2, steps=5))
    assert np.isnan(found["ritz"]).all() and np.isnan(found["weight"]).all()
