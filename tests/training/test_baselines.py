"""Baselines that a trained network must beat, on samples whose answer is known."""

import math

import pytest
import torch

from studio.training.baselines import SMOOTHING, bigram_loss, energy_margin


def test_the_table_of_pairs_has_the_cross_entropy_of_its_counts():
    # after 0 always 1; after 1 as often 0 as 1
    x, y = torch.tensor([[0, 1, 0, 1]]), torch.tensor([[1, 0, 1, 1]])
    sure = (2 + SMOOTHING) / (2 + 2 * SMOOTHING)
    assert bigram_loss((x, y, torch.tensor([[0, 1]]), torch.tensor([[1, 0]]))) == pytest.approx(
        -(math.log(sure) + math.log(0.5)) / 2, rel=1e-12
    )


def test_a_test_of_samples_tells_another_distribution_and_not_the_same_one():
    draws = torch.randn(3, 200, 5, generator=torch.Generator().manual_seed(1))
    assert energy_margin(draws[0], draws[1]) > 0 > energy_margin(draws[0], draws[2] + 0.5)
    assert energy_margin(draws[0], draws[2] + 0.5) > energy_margin(draws[0], draws[2] + 2)
    assert energy_margin(draws[0], draws[0]) == 1.0  # no distance at all


def test_the_energy_is_the_one_of_its_definition():
    first, second = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [1.0]])
    # E of these is 2 * 1.5 - 1.5 - 0 = 1.5, and of the three splits of four points, twice each, that is the largest
    assert energy_margin(first, second) == pytest.approx(0.0, abs=1e-12)
