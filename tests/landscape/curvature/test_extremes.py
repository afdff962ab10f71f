import math

import numpy as np
import pytest
import torch

from studio.landscape.curvature import extremes
from studio.landscape.curvature.extremes import COLD_START, MAX_PRODUCTS, batched_extremes, hessian_extremes


def diagonal(values) -> tuple:
    values = torch.as_tensor(values, dtype=torch.float64)
    return lambda v: values * v, len(values)


def test_a_saddle_keeps_its_curvatures():
    result = hessian_extremes(*diagonal(np.linspace(-2, 5, 50)), seed=0, tol=1e-6)
    assert result.converged and (result.lambda_min, result.lambda_max) == pytest.approx((-2, 5), rel=1e-6)


def test_a_bowl_has_two_different_ends():
    # 0.2 under a bulk and one large outlier: where stopping relative to the larger end goes wrong
    result = hessian_extremes(*diagonal([0.2, *np.linspace(0.5, 2, 400), 90.0]), seed=1, tol=1e-3)
    assert result.converged and (result.lambda_min, result.lambda_max) == pytest.approx((0.2, 90), rel=1e-3)


@pytest.mark.parametrize("tol", [1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("seed", range(5))
def test_the_tolerance_holds_at_both_ends(tol, seed):
    bulk = np.random.default_rng(seed).exponential(size=600)
    values = np.concatenate([bulk - 0.6, [-1.5, 12.0, 25.0]])
    result = hessian_extremes(*diagonal(values), seed=seed, tol=tol)
    assert result.converged
    assert result.lambda_min == pytest.approx(values.min(), rel=tol) and result.lambda_max == pytest.approx(
        values.max(), rel=tol
    )


def test_a_tighter_tolerance_costs_more_products():
    operator = diagonal(np.concatenate([np.linspace(-1, 1, 500), [4.0]]))
    loose, tight = (hessian_extremes(*operator, seed=0, tol=tol).products for tol in (1e-2, 1e-6))
    assert COLD_START.min_products <= loose < tight


def test_products_in_single_precision_are_enough():
    values = torch.linspace(-1, 3, 300)
    result = hessian_extremes(lambda v: values * v.float(), 300, seed=0, tol=1e-4)
    assert result.converged and (result.lambda_min, result.lambda_max) == pytest.approx((-1, 3), rel=1e-4)


@pytest.mark.parametrize("values", [[3.0], [-1.0, 2.0], [0.0, 0.0, 0.0], [1.0] * 40, [0.0] * 60 + [7.0]], ids=str)
def test_small_flat_and_degenerate_operators_are_exact(values):
    result = hessian_extremes(*diagonal(values), seed=0, tol=1e-3)
    assert result.converged and (result.lambda_min, result.lambda_max) == pytest.approx(
        (min(values), max(values)), abs=1e-12
    )


def test_full_orthogonality_survives_as_many_products_as_dimensions():
    values = np.geomspace(1e-3, 1e3, 60)
    result = hessian_extremes(*diagonal(values), seed=0, tol=1e-12)
    # 60 dimensions: the run ends at the exact spectrum; the small end to the rounding of the large one
    assert result.converged and result.products <= 60
    assert result.lambda_max == pytest.approx(1e3, rel=1e-12) and result.lambda_min == pytest.approx(1e-3, abs=1e-11)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_product_that_is_not_finite_is_marked_not_guessed(broken):
    result = hessian_extremes(*diagonal([1.0, broken, *[2.0] * 40]), seed=0, tol=1e-3)
    assert not result.converged and math.isnan(result.lambda_min) and math.isnan(result.lambda_max)


def test_an_operator_that_does_not_converge_is_marked():
    result = hessian_extremes(*diagonal(np.cos(np.linspace(0, np.pi, 4000))), seed=0, tol=1e-12)
    assert not result.converged and result.products == MAX_PRODUCTS


def test_the_same_seed_gives_the_same_bytes():
    operator = diagonal(np.linspace(-2, 5, 80))
    random = torch.get_rng_state()
    assert hessian_extremes(*operator, seed=4, tol=1e-3) == hessian_extremes(*operator, seed=4, tol=1e-3)
    assert torch.equal(torch.get_rng_state(), random)


SPECTRA = [
    np.append(np.linspace(-1, 3, 298), [-2.0, 5.0]),
    np.append(np.linspace(-0.1, 0.1, 299), 40.0),
    np.geomspace(1e-2, 1, 300),
    np.full(300, 3.0),
    -np.geomspace(1e-1, 10, 300),
]
"""A saddle, a flat floor with one steep direction, a bowl, a sphere, a hill."""


def many(spectra):
    """Products of diagonal operators, by number, and the numbers of every call."""
    matrix, calls = torch.from_numpy(np.stack(spectra)), []

    def products(operators):
        calls.append(list(operators))
        return lambda v: matrix[list(operators)] * v

    return products, calls


def test_batched_operators_have_the_extremes_of_single_ones():
    result = batched_extremes(many(SPECTRA)[0], len(SPECTRA), 300, seed=0, tol=1e-4)
    for values, extreme in zip(SPECTRA, result, strict=True):
        single = hessian_extremes(*diagonal(values), seed=0, tol=1e-4)
        # batched sums may round in another order, which a run over so many equal eigenvalues feels: with AVX-512 172
        # products were counted against 166
        assert (extreme.lambda_min, extreme.lambda_max) == pytest.approx(
            (single.lambda_min, single.lambda_max), rel=1e-9, abs=1e-9
        )
        assert extreme.converged and extreme.products == pytest.approx(single.products, rel=0.1)


def test_finished_operators_are_dropped_from_the_products():
    products, calls = many(SPECTRA)
    result = batched_extremes(products, len(SPECTRA), 300, seed=0, tol=1e-4)
    order = sorted(range(len(SPECTRA)), key=lambda i: result[i].products)
    assert calls[0] == [0, 1, 2, 3, 4] and len(calls) > 1
    for operators in calls[1:]:
        assert set(operators) == set(order[-len(operators) :])  # those that take longest


def test_one_broken_operator_does_not_affect_the_others():
    broken = [SPECTRA[0], np.full(300, np.nan), SPECTRA[2]]
    result = batched_extremes(many(broken)[0], 3, 300, seed=0, tol=1e-3)
    assert [extreme.converged for extreme in result] == [True, False, True] and math.isnan(result[1].lambda_min)
    assert result[0].lambda_max == pytest.approx(5, rel=1e-3) and result[2].lambda_max == pytest.approx(1, rel=1e-3)


def test_eigenvectors_are_those_of_the_two_ends():
    values = np.append(np.linspace(-1, 1, 299), [7.0])
    values[17] = -3
    result = hessian_extremes(*diagonal(values), seed=0, tol=1e-6, vectors=True)
    expected = np.eye(300)[[17, 299]]
    # at a tolerance of 1e-6 a vector is right to about 1e-3
    np.testing.assert_allclose(np.abs(result.vectors.numpy()), expected, atol=1e-3)
    assert hessian_extremes(*diagonal(values), seed=0, tol=1e-6).vectors is None


@pytest.fixture
def start(monkeypatch):
    """Replaces the random start: components of size 1 and random signs, but smaller ones at some ends."""

    def replace(size: int, ends: list[int], share: float, seed: int) -> None:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size)
        signs[ends] *= share
        monkeypatch.setattr(torch, "randn", lambda *args, **kwargs: torch.from_numpy(signs))

    return replace


@pytest.mark.parametrize(("end", "bulk"), [(-1.02, 0.85), (-1.005, 0.6)])
def test_a_small_overlap_with_an_end_does_not_let_its_neighbour_pass(end, bulk, start, monkeypatch):
    values = np.concatenate([[end, -1.0], np.linspace(-bulk, bulk, 498), [3.0]])

    def result(seed: int) -> float:
        start(len(values), [0], 0.05, seed)  # a twentieth of every other
        return hessian_extremes(*diagonal(values), seed=0, tol=1e-3).lambda_min

    assert [result(seed) for seed in range(10)] == pytest.approx([end] * 10, rel=1e-3)
    # by its gap single the neighbour would pass, from every one of these starts
    monkeypatch.setattr(extremes, "COLD_START", COLD_START._replace(max_residual=math.inf))
    assert [result(seed) for seed in range(10)] == pytest.approx([-1.0] * 10, rel=1e-3)


# --- starts ----------------------------------------------------------------------------------------------------------

BULK = np.linspace(-1, 1.5, 2000)
ENDS = np.concatenate([[-1.6, -1.25], BULK, [1.9, 2.6, 4.0]])


def sketched(values: np.ndarray, sketch: np.ndarray, seed: int, tol: float = 1e-3):
    """Extremes of a diagonal operator, with another one as its sketch."""
    exact, rough = (torch.from_numpy(v) for v in (values, sketch))
    (result,) = batched_extremes(
        lambda operators: lambda v: exact * v, 1, len(values), seed, tol, sketch=lambda v: rough * v
    )
    return result


@pytest.mark.parametrize("seed", range(5))
def test_a_warm_start_saves_products_and_costs_no_accuracy(seed):
    rough = ENDS * np.random.default_rng(seed).uniform(0.7, 1.4, len(ENDS))
    warm, cold = sketched(ENDS, rough, seed), hessian_extremes(*diagonal(ENDS), seed=seed, tol=1e-3)
    assert warm.converged and (warm.lambda_min, warm.lambda_max) == pytest.approx((-1.6, 4.0), rel=1e-3)
    assert warm.products <= 0.8 * cold.products


@pytest.mark.parametrize("missed", [0.0, -1.0, 0.5])
def test_an_end_that_the_sketch_misses_is_found_all_the_same(missed, start):
    rough = ENDS.copy()
    rough[[0, -1]] = missed  # the sketch's own ends are then the neighbours
    for seed in range(10):
        start(len(ENDS), [0, -1], 0.03, seed)  # and the start hardly contains them
        result = sketched(ENDS, rough, seed)
        assert result.converged and (result.lambda_min, result.lambda_max) == pytest.approx((-1.6, 4.0), rel=1e-3)


@pytest.mark.parametrize("sketch", [np.full(len(ENDS), np.nan), np.ones(len(ENDS))], ids=["not finite", "flat"])
def test_a_sketch_that_shows_nothing_changes_nothing(sketch):
    assert sketched(ENDS, sketch, seed=0) == hessian_extremes(*diagonal(ENDS), seed=0, tol=1e-3)
