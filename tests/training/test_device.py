"""Devices that this machine lacks, by fake answers of torch's: what is found, chosen, said, and given to workers."""

import subprocess
import sys

import pytest
import torch

from studio.errors import SceneError
from studio.execution.devices import VARIABLE
from studio.landscape import slices
from studio.landscape.loss import Loss
from studio.training import device
from studio.training.device import Answers, device_kind, idle_reasons, restored_random_numbers, word, worker_gpus

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
    assert (word(), worker_gpus(), device_kind()) == (expected, gpus, expected.partition(":")[0])


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
        word()


@pytest.mark.parametrize(
    ("answers", "variables", "words"),
    [
        ((0, False, ""), {}, "built without CUDA and ROCm; install"),
        (
            (0, False, "CUDA 12.8", "The NVIDIA driver on your system is too old"),
            {},
            "driver on your system is too old",
        ),
        ((0, False, "CUDA 12.8"), {"CUDA_VISIBLE_DEVICES": ""}, "of CUDA_VISIBLE_DEVICES, which hides it"),
        ((0, False, "ROCm 6.3"), {"ROCR_VISIBLE_DEVICES": "-1"}, "of ROCR_VISIBLE_DEVICES, which hides it"),
        ((0, False, "ROCm 6.3"), {}, "torch for ROCm 6.3 finds none"),
        (TWO, {"says": "cpu"}, "cuda:0, cuda:1 is left idle: --device or STUDIO_DEVICE says cpu"),
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
    assert idle_reasons() == [] and word() == "cpu"


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
