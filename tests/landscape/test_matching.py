import pytest
import torch

from studio.errors import RunError
from studio.landscape.centres import AtCheckpoint, Matched, State
from studio.landscape.matching import match
from studio.training.models import Mlp, Resnet, Vgg

CHAINS = [Mlp(depth=3, width=16, norm="batch"), Mlp(depth=12, width=8, norm="none"), Vgg(widths=(6, 8))]


def network(model, seed: int):
    """A network with random weights and statistics; its weights and its buffers."""
    generator, module = torch.Generator().manual_seed(seed), model.build((1, 8, 8), 10).eval()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            drawn = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(drawn.abs() + 0.1 if "var" in name else drawn)
    weights = {name: w.detach().clone() for name, w in module.named_parameters()}
    return module, weights, {name: b.clone() for name, b in module.named_buffers()}


@pytest.mark.parametrize("model", CHAINS, ids=lambda m: f"{m.kind}-{getattr(m, 'depth', 2)}")
def test_matching_keeps_the_function_and_brings_the_weights_nearer(model):
    (module, weights, buffers), (_, to, _) = network(model, 0), network(model, 1)
    matched, moved = match(weights, buffers, to)
    # in float64: through twelve layers the rounding of a float32 sum depends on the processor
    module, x = module.double(), torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        before = module(x)
        module.load_state_dict(matched | moved)
        # sums over the same numbers in another order
        torch.testing.assert_close(module(x), before, rtol=1e-4, atol=1e-4)
    distances = [sum(float((w[name] - to[name]).square().sum()) for name in to) for w in (weights, matched)]
    assert distances[1] < 0.95 * distances[0]


@pytest.mark.parametrize("model", CHAINS, ids=lambda m: f"{m.kind}-{getattr(m, 'depth', 2)}")
def test_matching_finds_a_shuffled_network_again_to_the_bit(model):
    (_, weights, buffers), (_, to, _) = network(model, 0), network(model, 1)
    shuffled, moved = match(weights, buffers, to)
    assert any(not torch.equal(shuffled[name], weights[name]) for name in weights)
    back, statistics = match(shuffled, moved, weights)
    assert all(torch.equal(back[name], weights[name]) for name in weights)
    assert all(torch.equal(statistics[name], buffers[name]) for name in buffers)


def test_layers_that_are_no_chain_are_refused():
    _, weights, buffers = network(Resnet(depth=8, width=8, skip=False), 0)
    with pytest.raises(RunError, match="match: the layers are no chain"):
        match(weights, buffers, weights)


def test_a_matched_centre_is_named_by_both_networks_weights():
    centre = Matched(AtCheckpoint(2.0, 1), AtCheckpoint(2.0))
    assert centre.inputs(lambda at: f"weights {at.run}") == {"matched": "weights 1", "to": "weights 0"}
    _, weights, buffers = network(CHAINS[0], 0)
    state = centre.state(lambda _: State(weights, buffers))
    assert all(torch.equal(state.weights[name], weights[name]) for name in weights)
