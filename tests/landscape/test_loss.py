from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from studio.config.reading import parse
from studio.errors import RunError, SceneError
from studio.landscape.loss import Loss, Method, applicable_methods, choose_method, field_name
from studio.training.data import Data
from studio.training.models import Mlp, Resnet, Vgg

MODELS = (Mlp(), Vgg(), Resnet(), Mlp(norm="batch"), Mlp(skip=True))


def data(count: int) -> Data:
    x, y = np.zeros((count, 1, 2, 2), np.float32), np.arange(count) % 3
    return Data(x, y, x, y, classes=3)


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("{mode: eval, calibration: 64}", "take the key out or change the mode"),
        ("{mode: train, method: folded}", "method: image-kernels"),
        ("{mode: recalibrated, method: folded}", "method: image-kernels"),
        ("{mode: recalibrated, method: cuda-graph}", "method: cuda-graph replays the same operations"),
        ("{keep_samples: true, sampling: preview}", "sampling: exact"),
        ("{fields: [entropy, entropy]}", "rename the function"),
        ("{criterion: cross-entropy}", "run.objective now: write `objective:` under `run`"),
        ("{fields: [entropi]}", "did you mean 'entropy'"),
        ("{precision: float16}", "float64"),
        ("{method: quick}", "folded"),
        ("{mode: recalibrated, calibration: none}", "128 or 5%"),
    ],
)
def test_settings_that_contradict_each_other_are_a_mistake_with_a_way_out(text, way_out):
    with pytest.raises(SceneError, match=way_out) as caught:
        parse(text, Loss)
    assert len(caught.value.mistakes) == 1


def test_fields_have_the_names_of_their_functions(tmp_path):
    (tmp_path / "mine_of_losses.py").write_text("def margin(outputs, y):\n    return outputs[:, 0]\n", encoding="utf-8")
    loss = parse("fields: [entropy, 'mine_of_losses:margin']", Loss, folder=tmp_path)
    assert [field_name(field) for field in loss.fields] == ["entropy", "margin"]
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    x, y = torch.ones(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64)
    weight_loss = loss.weight_loss(model, {}, {"x": x, "y": y})
    outputs = weight_loss.forward_all(weight_loss.flat(dict(model.named_parameters())))
    assert torch.equal(weight_loss.per_sample_fields(outputs, y)["margin"], outputs[:, 0].double())


def test_calibration_images_begin_as_the_subset_does():
    loss = Loss(mode="recalibrated", subset=10, calibration=25)
    assert list(loss.sample_indices(data(50), calibration=True))[:10] == list(loss.sample_indices(data(50)))
    assert list(Loss(mode="recalibrated", subset=10).sample_indices(data(50), calibration=True)) == list(
        loss.sample_indices(data(50))
    )
    with pytest.raises(RunError, match="loss.calibration: 25 images are asked for, the training set holds 20"):
        loss.sample_indices(data(20), calibration=True)


@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_the_rule_chooses_a_method_that_fits(model, device, mode):
    loss = Loss(mode=mode)
    for moves_norms in (False, True):
        method, why = choose_method(model, loss, moves_norms, device)
        assert method in applicable_methods(model, loss, device) and why
    first, *others = applicable_methods(model, loss, device)
    assert first == "loop" and set(others) <= set(get_args(Method)) - {"loop"}


def test_a_scene_may_name_the_method():
    assert choose_method(Vgg(), Loss(method="loop"), False, "cpu") == ("loop", "named by the scene")


def test_the_rule_is_what_the_figures_were_measured_with():
    methods = {
        (model.kind, mode): choose_method(model, Loss(mode=mode), False, "cpu")[0]
        for model in MODELS[:3]
        for mode in ("eval", "train")
    }
    assert methods == {
        ("mlp", "eval"): "batched",
        ("mlp", "train"): "batched",
        ("vgg", "eval"): "folded",
        ("vgg", "train"): "image-kernels",
        ("resnet", "eval"): "folded",
        ("resnet", "train"): "image-kernels",
    }
    for model in MODELS[3:]:
        assert {
            choose_method(model, Loss(mode=mode), moves_norms, device)[0]
            for mode in ("eval", "train", "recalibrated")
            for moves_norms in (False, True)
            for device in ("cpu", "cuda")
        } == {"batched"}


def test_derivatives_depend_on_no_extras():
    loss = Loss(subset=64, fields=("entropy",), keep_samples=True, method="loop", precision="bf16")
    assert loss.without_extras == Loss(subset=64)
    assert Loss(precision="float64").without_extras.precision == "float64"


# --- subsets ---------------------------------------------------------------------------------------------------------


def test_a_larger_subset_begins_with_the_smaller_one():
    small, large = (Loss(subset=n).sample_indices(data(50)) for n in (5, 20))
    assert list(large[:5]) == list(small) and len(set(large)) == 20


@pytest.mark.parametrize(("subset", "count"), [("5%", 10), ("100%", 200), ("0.1%", 1), (128, 128), ("128", 128)])
def test_subsets_are_counts_or_shares(subset, count):
    assert len(Loss(subset=subset).sample_indices(data(200))) == count


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_subset_is_the_first_of_numpys_shuffle_by_its_seed(seed):
    assert list(Loss(seed=seed, subset=5).sample_indices(data(50))) == list(
        np.random.default_rng(seed).permutation(50)[:5]
    )
    loss = Loss(seed=seed, subset=5, mode="recalibrated", calibration=9)
    assert list(loss.sample_indices(data(50), calibration=True)) == list(
        np.random.default_rng(seed).permutation(50)[:9]
    )


def test_seeds_shuffle_differently():
    assert list(Loss(seed=0).sample_indices(data(50))) != list(Loss(seed=1).sample_indices(data(50)))


@pytest.mark.parametrize("text", ["0", "-3", "0%", "101%", "many", "1.5", "%"])
def test_an_impossible_subset_is_a_mistake(text):
    with pytest.raises(SceneError, match="128 or 5%"):
        parse(f"subset: '{text}'", Loss)


def test_more_images_than_there_are_is_a_mistake():
    with pytest.raises(RunError, match="300 images are asked for, the training set holds 200"):
        Loss(subset=300).sample_indices(data(200))


def test_a_key_that_asks_for_too_many_images_is_named_before_any_is_read():
    loss = Loss(subset=300, mode="recalibrated", calibration=201)
    assert list(loss.oversized_subsets(300)) == []
    assert [key for key, _ in loss.oversized_subsets(200)] == ["subset", "calibration"]
    assert list(Loss(subset="100%").oversized_subsets(1)) == []


WORD = {"prompt": "the ", "next": "cat"}


def test_a_loss_says_its_word_and_its_digests_know_of_none_where_there_is_none():
    assert "word" not in Loss().model_dump() and Loss(word=WORD).model_dump()["word"] == WORD
    assert str(Loss(word=WORD).word) == "“cat” after “the”"
    with pytest.raises(ValidationError, match="is the loss of one sample; take `subset`"):
        Loss(word=WORD, subset=5)


def test_many_points_of_dropout_in_train_mode_pass_one_by_one():
    model = Mlp(dropout=0.2)
    modes = {mode: choose_method(model, Loss(mode=mode), False, "cpu")[0] for mode in ("eval", "train")}
    assert modes == {"eval": "batched", "train": "image-kernels"}
    assert "batched" not in applicable_methods(model, Loss(mode="train"), "cpu")
