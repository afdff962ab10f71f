import numpy as np
import pytest
import torch

from studio.config.reading import parse
from studio.errors import RunError, SceneError
from studio.landscape.loss import METHODS, Loss, choose, fitting
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
        ("{mode: recalibrated, method: cuda-graph}", "method: cuda-graph plays the same operations back"),
        ("{keep_samples: true, sampling: preview}", "sampling: exact"),
        ("{fields: [entropy, entropy]}", "rename the function"),
        ("{criterion: cross-entrpy}", "did you mean 'cross-entropy'"),
        ("{fields: [entropi]}", "did you mean 'entropy'"),
        ("{precision: float16}", "float64"),
        ("{method: quick}", "folded"),
        ("{mode: recalibrated, calibration: none}", "128 or 5%"),
    ],
)
def test_what_does_not_go_together_is_a_mistake_with_a_way_out(text, way_out):
    with pytest.raises(SceneError, match=way_out) as caught:
        parse(text, Loss)
    assert len(caught.value.mistakes) == 1


def test_fields_have_the_names_of_their_functions(tmp_path):
    (tmp_path / "mine_of_losses.py").write_text("def margin(outputs, y):\n    return outputs[:, 0]\n", encoding="utf-8")
    loss = parse("fields: [entropy, 'mine_of_losses:margin']", Loss, folder=tmp_path)
    assert loss.field_names == ("loss", "accuracy", "entropy", "margin")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    x, y = torch.ones(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64)
    objective = loss.objective(model, {}, x, y)
    outputs = objective.passed(objective.flat(dict(model.named_parameters())))
    assert torch.equal(objective.numbers(outputs, y)["margin"], outputs[:, 0].double())


def test_calibration_images_begin_as_the_subset_does():
    loss = Loss(mode="recalibrated", subset=10, calibration=25)
    assert list(loss.calibrating(data(50)))[:10] == list(loss.samples(data(50)))
    assert list(Loss(mode="recalibrated", subset=10).calibrating(data(50))) == list(loss.samples(data(50)))
    with pytest.raises(RunError, match="loss.calibration: 25 images are asked for, the training set holds 20"):
        loss.calibrating(data(20))


@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_the_rule_chooses_a_path_that_fits(model, device, mode):
    loss = Loss(mode=mode)
    for moves in (False, True):
        method, why = choose(model, loss, moves, device)
        assert method in fitting(model, loss, device) and why
    assert fitting(model, loss, device)[0] == "loop" and set(fitting(model, loss, device)) <= set(METHODS)


def test_a_scene_may_name_the_path():
    assert choose(Vgg(), Loss(method="loop"), False, "cpu") == ("loop", "named by the scene")


def test_the_rule_is_what_the_figures_were_measured_with():
    methods = {
        (model.kind, mode): choose(model, Loss(mode=mode), False, "cpu")[0]
        for model in MODELS[:3]
        for mode in ("eval", "train")
    }
    assert methods == {
        ("mlp", "eval"): "shared-first-layer",
        ("mlp", "train"): "shared-first-layer",
        ("vgg", "eval"): "folded",
        ("vgg", "train"): "image-kernels",
        ("resnet", "eval"): "folded",
        ("resnet", "train"): "image-kernels",
    }
    for model in MODELS[3:]:
        assert {
            choose(model, Loss(mode=mode), moves, device)[0]
            for mode in ("eval", "train", "recalibrated")
            for moves in (False, True)
            for device in ("cpu", "cuda")
        } == {"batched"}
