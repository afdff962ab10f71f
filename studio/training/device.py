"""The device that torch computes on: the user's choice, else the first of CUDA or ROCm, Apple's MPS, the CPU.

A GPU of AMD is `cuda` too, as in torch. Apple's has no float64: there losses are summed on the CPU, and curvature and
losses in float64 are all the CPU's. torch is loaded only where something suggests a GPU.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from studio.config.user_files import reason
from studio.errors import MachineError, SceneError
from studio.execution.devices import VARIABLE, chosen, has_gpu_driver

if TYPE_CHECKING:
    import torch

Kind = Literal["cpu", "cuda", "mps"]


class Answers(NamedTuple):
    """torch's number of GPUs, whether it has Apple's, what it is built for, and why a driver is of no use."""

    gpus: int
    mps: bool
    build: str
    warning: str = ""


@cache
def ask_torch() -> Answers:
    """What torch finds on this machine."""
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    builds = {"ROCm": torch.version.hip, "CUDA": torch.version.cuda}
    build = next((f"{name} {version}" for name, version in builds.items() if version), "")
    return Answers(gpus, torch.backends.mps.is_available(), build, str(caught[0].message) if caught else "")


def available_devices() -> tuple[str, ...]:
    """Every device that torch can use here, the best first, such as `cuda:0`, `cuda:1`, `cpu`."""
    answers = ask_torch() if has_gpu_driver() else Answers(0, False, "")
    return (*(f"cuda:{index}" for index in range(answers.gpus)), *["mps"] * answers.mps, "cpu")


def device_name() -> str:
    """The device that is used; with a number only where the user says one. Raises SceneError if it is absent."""
    best = (available := available_devices())[0].partition(":")[0]
    if (wanted := chosen() or best) not in (*available, best):
        raise SceneError(f"--device or {VARIABLE}: torch has no {wanted} here; it has {', '.join(available)}")
    return wanted


def device_kind() -> Kind:
    """The kind of the device that is used."""
    return cast(Kind, device_name().partition(":")[0])


def device() -> torch.device:
    """The device that is used; a GPU that the user chose by its number becomes torch's current one."""
    import torch

    kind, _, index = device_name().partition(":")
    if index:
        torch.cuda.set_device(int(index))
    return torch.device(kind)


def worker_gpus() -> tuple[str, ...]:
    """The GPUs that worker processes have one each of, spelled as in CUDA_VISIBLE_DEVICES; empty without any."""
    kind, _, index = device_name().partition(":")
    gpus = ask_torch().gpus if kind == "cuda" else 0
    # torch counts anew what is left by ROCR_VISIBLE_DEVICES
    shown = next(filter(None, (os.environ.get(name) for name in _hiding() if name[0] != "R")), "") if gpus else ""
    names = [name.strip() for name in shown.split(",") if name.strip()] or [str(number) for number in range(gpus)]
    return (names[int(index)],) if index else tuple(names[:gpus])


def idle_reasons() -> list[str]:
    """Why GPUs that are there are not used."""
    used, gpus = device_name(), available_devices()[:-1]
    if used == "mps":
        return ["Apple's GPU has no float64: curvature, and losses in float64, are computed on the CPU"]
    if gpus or not has_gpu_driver():
        idle = [gpu for gpu in gpus if used != "cuda" and gpu != used]
        return [f"{', '.join(idle)} left idle, as --device or {VARIABLE} says"] if idle else []
    why = ask_torch().warning or f"torch for {ask_torch().build} finds none"
    if not ask_torch().build:
        why = "torch is built for none; install its build for CUDA or ROCm"
    elif hidden := [name for name in _hiding() if os.environ.get(name, "0").strip() in ("", "-1")]:
        why = f"{hidden[0]} hides all"
    return [f"a GPU's driver is here, and no GPU is used: {reason(Warning(why))}"]


def _hiding() -> list[str]:
    """The environment's variables that hide GPUs from torch, the one that prevails first."""
    is_rocm = ask_torch().build.startswith("ROCm")
    return [f"{name}_VISIBLE_DEVICES" for name in (("HIP", "ROCR", "CUDA") if is_rocm else ("CUDA",))]


def describe() -> str:
    """The device that is used, by name, after a trial. Raises MachineError if torch cannot compute on it."""
    import torch

    place, build, name = device(), ask_torch().build, device_name()
    try:
        torch.ones(2, device=place).sum().item()
        names = [torch.cuda.get_device_name(i) for i in range(ask_torch().gpus)] if place.type == "cuda" else []
    except Exception as error:  # torch raises several kinds, such as for a GPU that it is not built for
        raise MachineError(f"{name} is there, and torch cannot use it: {reason(error)}; try --device cpu") from error
    found = f"{', '.join(names)} ({build})" if names else "Apple's" if place.type == "mps" else "none"
    return f"{found}; torch {torch.__version__} computes on {name}"


# --- the same bytes every time ----------------------------------------------------------------------------------------


@contextmanager
def deterministic() -> Iterator[None]:
    """A context in which torch gives the same bytes every time: deterministic float32 kernels, one thread of the CPU.

    With one thread sums keep their order whatever the load; on a shared machine it is faster too.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)


def seed(kind: str, number: int) -> None:
    """Seeds the generators of the CPU and of the current device, and no others."""
    import torch

    torch.default_generator.manual_seed(number)
    if kind != "cpu":
        getattr(torch, kind).manual_seed(number)


@contextmanager
def restored_random_numbers(kind: str) -> Iterator[None]:
    """A context after which the generators of the CPU and of the current device are as before."""
    import torch

    state = torch.mps.get_rng_state() if kind == "mps" else None
    try:
        with torch.random.fork_rng(devices=[torch.device(kind)] if kind == "cuda" else []):
            yield
    finally:
        if state is not None:
            torch.mps.set_rng_state(state)
