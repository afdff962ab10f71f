"""Devices that this machine lacks, by fake answers of torch's: what is found, chosen, said, and given to workers."""

import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from studio.errors import SceneError
from studio.execution.devices import VARIABLE
from studio.landscape import slices
from studio.landscape.loss import Loss
from studio.landscape.values.evaluator import Evaluator
from studio.training import device, evaluate, losses
from studio.training.device import Answers, device_kind, device_name, idle_reasons, restored_random_numbers, worker_gpus
from studio.training.objectives import OutputLoss
from studio.training.recipe import Recipe
from studio.training.recorder import train

HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


@pytest.fixture
def machine(monkeypatch):
    """Makes torch answer so, with a driver, and with these variables."""

    def machine(*answers, says="", **variables):
        monkeypatch.setattr(device, "has_gpu_driver", lambda: True)
        monkeypatch.setattr(device, "ask_torch", lambda: Answers(*answers))
        for name in HIDING:
            monkeypatch.delenv(name, raising=False)
        for name, value in {VARIABLE: says, **variables}.items():
            monkeypatch.setenv(name, value)

    return machine


TWO = (2, False, "CUDA 12.8")


@pytest.mark.parametrize(
    ("answers", "says", "expected", "gpus"),
    [
        (TWO, "", "cuda", ("0", "1")),
        (TWO, "cuda", "cuda", ("0", "1")),
        (TWO, "cuda:1", "cuda:1", ("1",)),
        (TWO, "cpu", "cpu", ()),
        ((1, False, "ROCm 6.3"), "", "cuda", ("0",)),
        ((0, True, ""), "", "mps", ()),
        ((0, True, ""), "cpu", "cpu", ()),
        ((0, False, "CUDA 12.8"), "", "cpu", ()),
    ],
)
def test_the_best_device_is_used_or_the_one_that_is_chosen(machine, answers, says, expected, gpus):
    machine(*answers, says=says)
    assert (device_name(), worker_gpus(), device_kind()) == (expected, gpus, expected.partition(":")[0])


def test_workers_get_the_gpus_by_the_names_that_the_environment_shows(machine):
    machine(*TWO, CUDA_VISIBLE_DEVICES="2, GPU-5ebe")
    assert worker_gpus() == ("2", "GPU-5ebe")
    machine(*TWO, says="cuda:1", CUDA_VISIBLE_DEVICES="2,GPU-5ebe")
    assert worker_gpus() == ("GPU-5ebe",)
    machine(1, False, "ROCm 6.3", HIP_VISIBLE_DEVICES="3", CUDA_VISIBLE_DEVICES="0,1", ROCR_VISIBLE_DEVICES="4,5,6,7")
    assert worker_gpus() == ("3",)
    machine(2, False, "ROCm 6.3", ROCR_VISIBLE_DEVICES="6,7")
    assert worker_gpus() == ("0", "1")


@pytest.mark.parametrize("says", ["cuda:2", "mps"])
def test_a_device_that_is_absent_is_refused_with_those_there_are(machine, says):
    machine(*TWO, says=says)
    with pytest.raises(SceneError, match=f"torch has no {says} here; it has cuda:0, cuda:1, cpu$"):
        device_name()


@pytest.mark.parametrize(
    ("answers", "variables", "words"),
    [
        ((0, False, ""), {}, "torch is built for none; install"),
        (
            (0, False, "CUDA 12.8", "The NVIDIA driver on your system is too old"),
            {},
            "driver on your system is too old",
        ),
        ((0, False, "CUDA 12.8"), {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES hides all"),
        ((0, False, "ROCm 6.3"), {"ROCR_VISIBLE_DEVICES": "-1"}, "ROCR_VISIBLE_DEVICES hides all"),
        ((0, False, "ROCm 6.3"), {}, "torch for ROCm 6.3 finds none"),
        (TWO, {"says": "cpu"}, "cuda:0, cuda:1 left idle, as --device or STUDIO_DEVICE says"),
        (TWO, {"says": "cuda:1"}, "cuda:0 left idle, as --device or STUDIO_DEVICE says"),
        ((0, True, ""), {}, "no float64: curvature"),
    ],
)
def test_why_a_gpu_is_left_idle_is_said(machine, answers, variables, words):
    machine(*answers, **variables)
    (reason,) = idle_reasons()
    assert words in reason


def test_nothing_is_said_where_the_gpu_is_used_or_none_is_there(machine, monkeypatch):
    machine(*TWO)
    assert idle_reasons() == []
    machine(0, False, "")
    monkeypatch.setattr(device, "has_gpu_driver", lambda: False)
    assert idle_reasons() == [] and device_name() == "cpu"


def test_what_needs_float64_is_the_cpus_beside_apples_gpu(machine):
    machine(0, True, "")
    assert slices.device_for(Loss()) == "mps"
    assert slices.device_for(Loss(precision="float64")) == slices.device_for(Loss(), "convexity") == "cpu"
    machine(*TWO)
    assert slices.device_for(Loss(precision="float64")) == slices.device_for(Loss(), "spectrum") == "cuda"


def test_generators_are_restored_after_an_error():
    before = torch.random.get_rng_state()
    with pytest.raises(RuntimeError), restored_random_numbers("cpu"):
        device.seed("cpu", 7)
        assert not torch.equal(torch.random.get_rng_state(), before)
        raise RuntimeError
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_a_driver_nobody_loads_torch_to_know_the_device():
    code = (
        "import sys; from studio.training import device; device.has_gpu_driver = lambda: False\n"
        "print(device.device_kind(), device.idle_reasons(), device.worker_gpus(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "cpu [] () False\n"


class NoFloat64(TorchDispatchMode):
    """Refuses every float64, as Apple's GPU does."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outputs = func(*args, **(kwargs or {}))
        assert not any(isinstance(t, torch.Tensor) and t.dtype == torch.float64 for t in tree_leaves(outputs)), func
        return outputs


@pytest.mark.parametrize("kind", ["cross-entropy", "mean-squares"])
@pytest.mark.parametrize(
    ("model", "mode", "method"),
    [
        ({"kind": "mlp", "depth": 1, "width": 4}, "eval", "batched"),
        ({"kind": "vgg", "widths": [2, 3]}, "eval", "folded"),
        ({"kind": "vgg", "widths": [2, 3]}, "train", "loop"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_training_and_losses_need_float64_only_where_it_is_moved_to_the_cpu(
    monkeypatch, tmp_path, model, mode, method, kind
):
    for module in (losses, evaluate):  # without the one function that moves and widens
        monkeypatch.setattr(module, "float64", torch.Tensor.float)
    recipe, objective = Recipe(model=model, epochs=1, batch=720), OutputLoss(kind=kind)
    with NoFloat64():
        train(recipe, tmp_path, objective=objective)
        data = recipe.data.load()
        net = recipe.model.build(data.shape, objective.outputs(data.layout))
        x, y = torch.from_numpy(data.train_x[:32]), torch.from_numpy(data.train_y[:32])
        loss = Loss(mode=mode).weight_loss(net, dict(net.named_buffers()), {"x": x, "y": y}, objective=objective)
        theta = loss.flat(dict(net.named_parameters()))
        row = Evaluator(loss, theta, theta.roll(1), theta.roll(2), method).row([0.0, 0.5], 0.0)
    assert row["loss"].isfinite().all()


def test_the_error_of_float32_is_measured_against_float64():
    net = Recipe(model={"kind": "mlp", "depth": 1, "width": 4}).model.build((1, 8, 8), 10)
    x = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss = Loss().weight_loss(net, {}, {"x": x, "y": torch.arange(32) % 10})
    theta = loss.flat(dict(net.named_parameters()))
    error = Evaluator(loss, theta, theta.roll(1), theta.roll(2)).precision_error()
    assert 0 < error < 1e-5  # a few roundings of 6e-8 each
