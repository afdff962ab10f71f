import math

import pytest
import torch

from studio.errors import RunError
from studio.landscape.centres import AtCheckpoint, Mixture, Pruned, Rescaled, State

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
    weights, buffers = Mixture.between(FIRST, SECOND, 0.25).state(STATES.__getitem__)
    assert weights["w"].tolist() == [1.5, 1.0] and buffers["mean"].tolist() == [3.0] and buffers["count"] == 7
    assert Mixture.between(FIRST, SECOND, 0.5).state(STATES.__getitem__).buffers["count"] == 7


@pytest.mark.parametrize(("share", "end"), [(0.0, FIRST), (1.0, SECOND)])
def test_the_ends_of_a_line_are_its_checkpoints_to_the_bit(share, end):
    third = {FIRST: State({"w": torch.tensor([math.pi])}, {}), SECOND: State({"w": torch.tensor([-1e-7 / 3])}, {})}
    mixed = Mixture.between(FIRST, SECOND, share).state(third.__getitem__)
    assert torch.equal(mixed.weights["w"], third[end].weights["w"])


def test_what_a_centre_depends_on_is_weights_and_not_places():
    same = {FIRST: "a", AtCheckpoint(9.0): "a", SECOND: "b"}.__getitem__
    assert FIRST.inputs(same) == AtCheckpoint(9.0).inputs(same) == "a"
    assert Mixture.between(FIRST, SECOND, 0.5).inputs(same) == [["a", "b"], (0.5, 0.5)]


LAYERS = {
    AtCheckpoint(1.0): State(
        {
            "a.weight": torch.tensor([[3.0, -1.0], [0.5, 2.0]]),
            "a.bias": torch.tensor([0.1, 0.2]),
            "b.weight": torch.tensor([[10.0, -20.0]]),
        },
        {},
    )
}


@pytest.mark.parametrize(
    ("per", "first", "second"), [("network", [[3, 0], [0, 0]], [[10, -20]]), ("layer", [[3, 0], [0, 2]], [[0, -20]])]
)
def test_pruning_zeroes_the_smallest_weights_of_the_network_or_of_each_layer_and_no_bias(per, first, second):
    pruned = Pruned(AtCheckpoint(1.0), 0.5, per)
    weights, _ = pruned.state(LAYERS.__getitem__)
    assert weights["a.weight"].tolist() == first and weights["b.weight"].tolist() == second
    assert weights["a.bias"].tolist() == pytest.approx([0.1, 0.2])
    # what is pruned once more by the same share stays the same
    assert torch.equal(pruned.state(lambda _: State(weights, {})).weights["a.weight"], weights["a.weight"])


def test_layers_are_scaled_against_each_other_and_the_function_stays():
    weights, _ = Rescaled(AtCheckpoint(1.0), "a", "b", 8.0).state(LAYERS.__getitem__)
    before = LAYERS[AtCheckpoint(1.0)].weights
    assert torch.equal(weights["a.bias"], 8 * before["a.bias"]) and torch.equal(
        weights["b.weight"], before["b.weight"] / 8
    )
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))

    def run(w):
        return w["b.weight"] @ torch.relu(w["a.weight"] @ x + w["a.bias"][:, None])

    torch.testing.assert_close(run(weights), run(before))


@pytest.mark.parametrize(("up", "down", "missing"), [("aa", "b", "aa"), ("a", "c.*", r"c\.\*")])
def test_a_layer_that_does_not_exist_is_named_with_those_that_do(up, down, missing):
    with pytest.raises(RunError, match=f"no layer is called '{missing}'; "):
        Rescaled(AtCheckpoint(1.0), up, down, 8.0).state(LAYERS.__getitem__)
