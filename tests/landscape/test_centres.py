import math

import pytest
import torch

from studio.landscape.centres import AtCheckpoint, Between, State

STATES = {
    AtCheckpoint(1.0): State({"w": torch.tensor([1.0, 2.0])}, {"mean": torch.tensor([4.0]), "count": torch.tensor(7)}),
    AtCheckpoint(3.0, 1): State(
        {"w": torch.tensor([3.0, -2.0])}, {"mean": torch.tensor([0.0]), "count": torch.tensor(9)}
    ),
}
FIRST, SECOND = STATES


def test_a_checkpoints_state_is_what_was_saved():
    assert FIRST.state(STATES.__getitem__) is STATES[FIRST] and FIRST.checkpoints == (FIRST,)


def test_between_two_checkpoints_weights_and_statistics_are_mixed_and_counters_are_the_nearers():
    weights, buffers = Between(FIRST, SECOND, 0.25).state(STATES.__getitem__)
    assert weights["w"].tolist() == [1.5, 1.0] and buffers["mean"].tolist() == [3.0] and buffers["count"] == 7
    assert Between(FIRST, SECOND, 0.5).state(STATES.__getitem__).buffers["count"] == 9


@pytest.mark.parametrize(("share", "end"), [(0.0, FIRST), (1.0, SECOND)])
def test_the_ends_of_a_line_are_its_checkpoints_to_the_bit(share, end):
    third = {FIRST: State({"w": torch.tensor([math.pi])}, {}), SECOND: State({"w": torch.tensor([-1e-7 / 3])}, {})}
    assert torch.equal(Between(FIRST, SECOND, share).state(third.__getitem__).weights["w"], third[end].weights["w"])


def test_what_a_centre_depends_on_is_weights_and_not_places():
    same = {FIRST: "a", AtCheckpoint(9.0): "a", SECOND: "b"}.__getitem__
    assert FIRST.inputs(same) == AtCheckpoint(9.0).inputs(same) == "a"
    assert Between(FIRST, SECOND, 0.5).inputs(same) == ["a", "b", 0.5]
