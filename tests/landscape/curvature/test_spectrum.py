import numpy as np
import pytest
import torch

from studio.landscape.convexity import Spectrum
from studio.landscape.curvature.spectrum import density, stochastic_lanczos_quadrature, trace

SIZE = 200
VALUES = torch.cat([torch.linspace(-1, 1, SIZE - 2), torch.tensor([8.0, 15.0])]).double()


def rotated(values: torch.Tensor) -> torch.Tensor:
    """A dense symmetric matrix with these eigenvalues."""
    random = torch.randn(len(values), len(values), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, _ = torch.linalg.qr(random)
    return q @ torch.diag(values) @ q.mT


def along(matrix: torch.Tensor):
    return lambda v: v @ matrix


def test_the_trace_of_a_diagonal_matrix_is_exact_from_any_probe():
    result = stochastic_lanczos_quadrature(lambda v: v * VALUES, SIZE, Spectrum(probes=2, steps=10))
    # z' D z = trace D for a vector of signs; float64 sums
    assert trace(result["ritz"], result["weight"], SIZE) == pytest.approx((float(VALUES.sum()), 0), abs=1e-10)


def test_the_trace_is_right_within_its_standard_error():
    result = stochastic_lanczos_quadrature(along(rotated(VALUES)), SIZE, Spectrum(probes=64, steps=30, seed=1))
    total, error = trace(result["ritz"], result["weight"], SIZE)
    # four standard errors: one in 16,000 seeds would miss; and the error is of the size that theory says
    assert abs(total - float(VALUES.sum())) < 4 * error
    outside = float(rotated(VALUES).fill_diagonal_(0).square().sum())
    assert error == pytest.approx(np.sqrt(2 * outside / 64), rel=0.35)  # 64 probes know a deviation to about 9 %


def test_weights_are_shares_and_the_outermost_ritz_values_are_the_ends():
    result = stochastic_lanczos_quadrature(along(rotated(VALUES)), SIZE, Spectrum(probes=3, steps=60))
    assert result["weight"].sum(1) == pytest.approx(np.ones(3), rel=1e-12) and (result["weight"] >= 0).all()
    assert result["ritz"].max(1) == pytest.approx(np.full(3, 15.0), rel=1e-9)
    assert result["ritz"].min(1) == pytest.approx(np.full(3, -1.0), rel=1e-3)  # the end of a dense band comes slowly


def test_the_density_is_that_of_all_eigenvalues_seen_as_softly():
    result = stochastic_lanczos_quadrature(along(rotated(VALUES)), SIZE, Spectrum(probes=40, steps=60, seed=2))
    axis = np.linspace(-3, 17, 2001)
    curve = density(result["ritz"], result["weight"], axis, width=0.3)
    expected = density(VALUES.numpy()[None], np.full((1, SIZE), 1 / SIZE), axis, width=0.3)
    assert np.trapezoid(curve, axis) == pytest.approx(1, rel=1e-6)
    # 40 probes of 200 numbers: a share is known to about 1 / sqrt(8000) = 1 %; three times that, of the highest value
    assert np.abs(curve - expected).max() < 0.03 * expected.max()


def test_probes_may_be_measured_apart_and_in_any_order():
    spectrum = Spectrum(probes=4, steps=12, seed=3)
    everything = stochastic_lanczos_quadrature(along(rotated(VALUES)), SIZE, spectrum)
    for number in (2, 0):
        single = stochastic_lanczos_quadrature(along(rotated(VALUES)), SIZE, spectrum, probes=range(number, number + 1))
        assert all(np.array_equal(single[name][0], everything[name][number]) for name in everything)
    assert not np.array_equal(everything["ritz"][0], everything["ritz"][1])


def test_more_steps_than_dimensions_add_nothing():
    result = stochastic_lanczos_quadrature(along(rotated(VALUES[-5:])), 5, Spectrum(probes=2, steps=9))
    assert result["ritz"].shape == (2, 9) and not result["weight"][:, 5:].any()
    assert np.sort(result["ritz"][0, :5]) == pytest.approx(VALUES[-5:].numpy(), rel=1e-9)


def test_a_product_that_is_not_finite_leaves_the_probe_unknown():
    result = stochastic_lanczos_quadrature(lambda v: v * np.nan, SIZE, Spectrum(probes=2, steps=5))
    assert np.isnan(result["ritz"]).all() and np.isnan(result["weight"]).all()
