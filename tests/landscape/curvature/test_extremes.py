import math

import numpy as np
import pytest
import torch
from pytest import approx

from studio.landscape.curvature import extremes
from studio.landscape.curvature.extremes import BLIND, MOST, batched_extremes, hessian_extremes


def diagonal(values) -> tuple:
    values = torch.as_tensor(values, dtype=torch.float64)
    return lambda v: values * v, len(values)


def test_a_saddle_keeps_the_curvatures_it_was_given():
    found = hessian_extremes(*diagonal(np.linspace(-2, 5, 50)), seed=0, tol=1e-6)
    assert found.converged and (found.lambda_min, found.lambda_max) == approx((-2, 5), rel=1e-6)


def test_a_bowl_has_two_different_ends():
    # 0.2 under a bulk and one large outlier: where stopping relative to the larger end goes wrong
    found = hessian_extremes(*diagonal([0.2, *np.linspace(0.5, 2, 400), 90.0]), seed=1, tol=1e-3)
    assert found.converged and (found.lambda_min, found.lambda_max) == approx((0.2, 90), rel=1e-3)


@pytest.mark.parametrize("tol", [1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("seed", range(5))
def test_the_tolerance_holds_at_both_ends(tol, seed):
    bulk = np.random.default_rng(seed).exponential(size=600)
    values = np.concatenate([bulk - 0.6, [-1.5, 12.0, 25.0]])
    found = hessian_extremes(*diagonal(values), seed=seed, tol=tol)
    assert found.converged
    assert found.lambda_min == approx(values.min(), rel=tol) and found.lambda_max == approx(values.max(), rel=tol)


def test_a_tighter_tolerance_costs_more_products():
    operator = diagonal(np.concatenate([np.linspace(-1, 1, 500), [4.0]]))
    loose, tight = (hessian_extremes(*operator, seed=0, tol=tol).products for tol in (1e-2, 1e-6))
    assert BLIND.fewest <= loose < tight


def test_products_in_single_precision_are_enough():
    values = torch.linspace(-1, 3, 300)
    found = hessian_extremes(lambda v: values * v.float(), 300, seed=0, tol=1e-4)
    assert found.converged and (found.lambda_min, found.lambda_max) == approx((-1, 3), rel=1e-4)


@pytest.mark.parametrize("values", [[3.0], [-1.0, 2.0], [0.0, 0.0, 0.0], [1.0] * 40, [0.0] * 60 + [7.0]], ids=str)
def test_small_flat_and_degenerate_operators_are_exact(values):
    found = hessian_extremes(*diagonal(values), seed=0, tol=1e-3)
    assert found.converged and (found.lambda_min, found.lambda_max) == approx((min(values), max(values)), abs=1e-12)


def test_full_orthogonality_survives_as_many_products_as_dimensions():
    values = np.geomspace(1e-3, 1e3, 60)
    found = hessian_extremes(*diagonal(values), seed=0, tol=1e-12)
    # 60 dimensions: the run ends at the exact spectrum; the small end to the rounding of the large one
    assert found.converged and found.products <= 60
    assert found.lambda_max == approx(1e3, rel=1e-12) and found.lambda_min == approx(1e-3, abs=1e-11)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_product_that_is_not_finite_is_marked_not_guessed(broken):
    found = hessian_extremes(*diagonal([1.0, broken, *[2.0] * 40]), seed=0, tol=1e-3)
    assert not found.converged and math.isnan(found.lambda_min) and math.isnan(found.lambda_max)


def test_what_does_not_converge_is_marked():
    found = hessian_extremes(*diagonal(np.cos(np.linspace(0, np.pi, 4000))), seed=0, tol=1e-12)
    assert not found.converged and found.products == MOST


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
    """Diagonal operators, by number, and what was asked for."""
    matrix, asked = torch.from_numpy(np.stack(spectra)), []

    def products(rows):
        asked.append(list(rows))
        return lambda v: matrix[list(rows)] * v

    return products, asked


def test_operators_in_lockstep_find_what_each_finds_alone():
    found = batched_extremes(many(SPECTRA)[0], len(SPECTRA), 300, seed=0, tol=1e-4)
    for values, end in zip(SPECTRA, found, strict=True):
        alone = hessian_extremes(*diagonal(values), seed=0, tol=1e-4)
        # batched sums may round in another order, and so a run be looked at a little earlier or later
        assert (end.lambda_min, end.lambda_max) == approx((alone.lambda_min, alone.lambda_max), rel=1e-9, abs=1e-9)
        assert end.converged and end.products == approx(alone.products, rel=0.03)


def test_the_finished_are_left_out_of_the_products():
    products, asked = many(SPECTRA)
    found = batched_extremes(products, len(SPECTRA), 300, seed=0, tol=1e-4)
    order = sorted(range(len(SPECTRA)), key=lambda i: found[i].products)
    assert asked[0] == [0, 1, 2, 3, 4] and len(asked) > 1
    for rows in asked[1:]:
        assert set(rows) == set(order[-len(rows) :])  # those that take longest


def test_one_broken_operator_leaves_the_others_alone():
    broken = [SPECTRA[0], np.full(300, np.nan), SPECTRA[2]]
    found = batched_extremes(many(broken)[0], 3, 300, seed=0, tol=1e-3)
    assert [end.converged for end in found] == [True, False, True] and math.isnan(found[1].lambda_min)
    assert found[0].lambda_max == approx(5, rel=1e-3) and found[2].lambda_max == approx(1, rel=1e-3)


def test_eigenvectors_are_those_of_the_two_ends():
    values = np.append(np.linspace(-1, 1, 299), [7.0])
    values[17] = -3
    found = hessian_extremes(*diagonal(values), seed=0, tol=1e-6, vectors=True)
    wanted = np.eye(300)[[17, 299]]
    # at a tolerance of 1e-6 a vector is right to about 1e-3
    np.testing.assert_allclose(np.abs(found.vectors.numpy()), wanted, atol=1e-3)
    assert hessian_extremes(*diagonal(values), seed=0, tol=1e-6).vectors is None


@pytest.fixture
def start(monkeypatch):
    """Plants the vector that runs start from: shares of one size and of random signs, but smaller ones at some ends."""

    def plant(size: int, ends: list[int], share: float, seed: int) -> None:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size)
        signs[ends] *= share
        monkeypatch.setattr(torch, "randn", lambda *given, **more: torch.from_numpy(signs))

    return plant


@pytest.mark.parametrize(("end", "bulk"), [(-1.02, 0.85), (-1.005, 0.6)])
def test_an_end_that_a_start_hardly_shows_is_not_taken_for_its_neighbour(end, bulk, start, monkeypatch):
    values = np.concatenate([[end, -1.0], np.linspace(-bulk, bulk, 498), [3.0]])

    def found(seed: int) -> float:
        start(len(values), [0], 0.05, seed)  # a twentieth of what it shows of every other
        return hessian_extremes(*diagonal(values), seed=0, tol=1e-3).lambda_min

    assert [found(seed) for seed in range(10)] == approx([end] * 10, rel=1e-3)
    # by its gap alone the neighbour would pass, from every one of these starts
    monkeypatch.setattr(extremes, "BLIND", BLIND._replace(neighbour=math.inf))
    assert [found(seed) for seed in range(10)] == approx([-1.0] * 10, rel=1e-3)


# --- starts ----------------------------------------------------------------------------------------------------------

BULK = np.linspace(-1, 1.5, 2000)
ENDS = np.concatenate([[-1.6, -1.25], BULK, [1.9, 2.6, 4.0]])


def sketched(values: np.ndarray, sketch: np.ndarray, seed: int, tol: float = 1e-3):
    """Both ends of a diagonal operator, from where another one's lie."""
    exact, rough = (torch.from_numpy(v) for v in (values, sketch))
    (found,) = batched_extremes(lambda rows: lambda v: exact * v, 1, len(values), seed, tol, sketch=lambda v: rough * v)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_start_that_few_samples_have_found_saves_products_and_no_accuracy(seed):
    rough = ENDS * np.random.default_rng(seed).uniform(0.7, 1.4, len(ENDS))
    told, blind = sketched(ENDS, rough, seed), hessian_extremes(*diagonal(ENDS), seed=seed, tol=1e-3)
    assert told.converged and (told.lambda_min, told.lambda_max) == approx((-1.6, 4.0), rel=1e-3)
    assert told.products <= 0.8 * blind.products


@pytest.mark.parametrize("missed", [0.0, -1.0, 0.5])
def test_an_end_that_the_few_samples_do_not_show_is_found_all_the_same(missed, start):
    rough = ENDS.copy()
    rough[[0, -1]] = missed  # the sketch's own ends are then the neighbours
    for seed in range(10):
        start(len(ENDS), [0, -1], 0.03, seed)  # and the start hardly either
        found = sketched(ENDS, rough, seed)
        assert found.converged and (found.lambda_min, found.lambda_max) == approx((-1.6, 4.0), rel=1e-3)


@pytest.mark.parametrize("sketch", [np.full(len(ENDS), np.nan), np.ones(len(ENDS))], ids=["not finite", "flat"])
def test_a_sketch_that_shows_nothing_changes_nothing(sketch):
    assert sketched(ENDS, sketch, seed=0) == hessian_extremes(*diagonal(ENDS), seed=0, tol=1e-3)
