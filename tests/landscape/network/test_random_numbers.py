import torch

from studio.landscape.network.random_numbers import fixed_masks, generator_state, reseed


def test_masks_are_fixed_inside_and_random_numbers_continue_as_if_unused():
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with fixed_masks("cpu"):
            draws.append(torch.rand(3))
    assert torch.equal(*draws) and torch.equal(torch.get_rng_state(), before)


def test_a_reseeded_generator_draws_the_same_again():
    with fixed_masks("cpu"):
        first = torch.rand(3)
        reseed("cpu")
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(generator_state("cpu"), torch.get_rng_state())
