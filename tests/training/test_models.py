import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from studio.training.models import Mlp, Model, Resnet, Vgg, misfit
from studio.training.nets import Residual

DIGITS, CIFAR = (1, 8, 8), (3, 32, 32)
MODELS = [
    Mlp(),
    Mlp(depth=0),
    Mlp(depth=3, width=7),
    Mlp(depth=0, skip=True),
    Mlp(depth=4, width=5, skip=True),
    Mlp(depth=5, width=6, norm="batch", activation="tanh", skip=True),
    Resnet(depth=8, width=2),
    Resnet(depth=8, width=2, skip=False),
    Resnet(depth=14, width=2, norm="none"),
    Vgg(widths=(4, 6)),
    Vgg(widths=(4,) * 7, norm="none"),
]


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("shape", [DIGITS, CIFAR, (3, 9, 5)], ids=str)
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_every_model_gives_one_logit_per_class_for_any_image(model, shape):
    assert model.build(shape, outputs=7)(torch.randn(4, *shape)).shape == (4, 7)


@pytest.mark.parametrize(("depth", "width", "expected"), [(20, 16, 269_722 - 432 + 144), (32, 8, 116_738)])
def test_a_resnet_has_as_many_parameters_as_its_paper_says(depth, width, expected):
    # He et al. (2016), table 6: 0.27 M at depth 20, with 432 first weights for three colours; grey images need 144
    net = Resnet(depth=depth, width=width).build(DIGITS, 10)
    assert sum(p.numel() for p in net.parameters()) == expected


def test_depth_counts_the_layers_with_weights():
    net = Resnet(depth=32, width=2).build(DIGITS, 10)
    assert sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in net.modules()) == 32


def test_leaving_the_shortcuts_out_changes_no_parameter():
    with_skip, without = (Resnet(depth=14, width=3, skip=skip).build(DIGITS, 10, seed=1) for skip in (True, False))
    assert torch.equal(weights(with_skip), weights(without))
    assert {n: p.shape for n, p in with_skip.named_parameters()} == {n: p.shape for n, p in without.named_parameters()}


@pytest.mark.parametrize("depth", [1, 4, 5])
def test_shortcuts_of_a_perceptron_change_no_parameter_and_pass_over_pairs_of_layers(depth):
    plain, skip = (Mlp(depth=depth, width=6, norm="batch", skip=skip).build(DIGITS, 10) for skip in (False, True))
    assert torch.equal(weights(plain), weights(skip))
    blocks = [module for module in skip.modules() if isinstance(module, Residual)]
    assert len(blocks) == (depth - 1) // 2
    for block in blocks:
        x = torch.rand(3, 6)
        torch.nn.init.zeros_(block.branch[-2].weight)  # the pair's second layer; its norm then gives 0
        assert torch.equal(block(x), x) and sum(type(m) is torch.nn.Linear for m in block.modules()) == 2


def test_the_seed_alone_decides_the_weights_and_the_global_generator_is_untouched():
    before = torch.get_rng_state()
    first = weights(Resnet(depth=8, width=2).build(DIGITS, 10, seed=3))
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    assert torch.equal(first, weights(Resnet(depth=8, width=2).build(DIGITS, 10, seed=3)))
    assert not torch.equal(first, weights(Resnet(depth=8, width=2).build(DIGITS, 10, seed=4)))


@pytest.mark.parametrize(("depth", "nearest"), [(21, 20), (30, 32), (2, 8), (-5, 8)])
def test_a_depth_that_is_not_6n_plus_2_is_refused_with_the_nearest_that_is(depth, nearest):
    with pytest.raises(ValidationError, match=f"the nearest is {nearest}"):
        Resnet(depth=depth)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "vgg", "widths": []},
        {"kind": "vgg", "widths": [0]},
        {"kind": "mlp", "width": 0},
        {"kind": "mlp", "depth": -1},
        {"kind": "x"},
    ],
    ids=str,
)
def test_a_model_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(Model).validate_python(wrong)


def test_a_bare_word_is_a_model():
    assert TypeAdapter(Model).validate_python("resnet") == Resnet()


@pytest.mark.parametrize(
    ("model", "shape", "is_whole", "words"),
    [
        (
            Mlp(),
            (7,),
            True,
            "an mlp takes real numbers, and the samples are whole, like tokens; save them as float32",
        ),
        (Vgg(), (7,), False, "a vgg takes images of channels, height and width; a sample here is 7. Choose mlp, or a"),
        (Mlp(), (7,), False, None),
        (Vgg(), (3, 8, 8), False, None),
    ],
    ids=str,
)
def test_samples_that_a_model_cannot_take_are_said_without_building_it(model, shape, is_whole, words):
    text = misfit(model, shape, is_whole)
    assert text is words is None or text.startswith(words)
