"""The device that torch computes on: what there is, what the user chose, and why a GPU is left idle.

    --device or STUDIO_DEVICE, else the first of CUDA or ROCm, Apple's MPS, the CPU

A GPU of AMD is `cuda` too, as in torch. Apple's has no float64: there losses are summed on the CPU, and curvature and
losses in float64 are all the CPU's. torch is loaded only where there is a sign of a GPU.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from studio.config.user_files import reason
from studio.errors import MachineError, SceneError
from studio.execution.devices import VARIABLE, chosen, has_gpu_driver

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Kind = Literal["cpu", "cuda", "mps"]


class Answers(NamedTuple):
    """What torch says. gpus: how many of CUDA or ROCm. mps: whether Apple's GPU works. build: what torch is for, such
    as `ROCm 6.3`; empty for the CPU's. warning: why the driver is of no use.
    """

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
    return Answers(gpus, torch.backends.mps.is_available(), build, reason(Warning(caught[0].message)) if caught else "")


def words() -> tuple[str, ...]:
    """Every device that torch can use here, the best first: `cuda:0`, `cuda:1`, `cpu`."""
    if not has_gpu_driver():
        return ("cpu",)
    answers = ask_torch()
    return (*(f"cuda:{index}" for index in range(answers.gpus)), *["mps"] * answers.mps, "cpu")


def word() -> str:
    """The device that is used, such as `cuda:1` where the user says so. Raises SceneError if there is none such."""
    wanted = chosen()
    if wanted in ("", "cpu"):
        return wanted or words()[0].partition(":")[0]
    if wanted not in (*words(), words()[0].partition(":")[0]):
        idle = "".join(f"; {text}" for text in idle_reasons("cpu") if len(words()) == 1)
        raise SceneError(f"--device or {VARIABLE}: torch has no {wanted} here; it has {', '.join(words())}{idle}")
    return wanted


def device_kind() -> Kind:
    """The kind of the device that is used."""
    return word().partition(":")[0]  # type: ignore[return-value]  # `word` has no other


def device() -> torch.device:
    """The device that is used; a GPU that the user chose by its number becomes torch's current one."""
    import torch

    kind, _, index = word().partition(":")
    if index:
        torch.cuda.set_device(int(index))
    return torch.device(kind)


def worker_gpus() -> tuple[str, ...]:
    """The GPUs that worker processes have one each of, spelled as in CUDA_VISIBLE_DEVICES; empty without any."""
    kind, _, index = word().partition(":")
    if kind != "cuda":
        return ()
    gpus = ask_torch().gpus
    named = (
        os.environ.get(name, "") for name in _variables() if not name.startswith("ROCR")
    )  # torch counts those anew
    names = [name.strip() for name in next(filter(None, named), "").split(",") if name.strip()] or map(str, range(gpus))
    return tuple(names)[:gpus][int(index) if index else 0 :][: 1 if index else gpus]


def idle_reasons(kind: str = "") -> list[str]:
    """Why GPUs that are there are not used. kind: of the device in use, by default the chosen one."""
    if not has_gpu_driver():
        return []
    answers, kind = ask_torch(), kind or device_kind()
    hidden = [name for name in _variables() if os.environ.get(name, "0").strip() in ("", "-1")]
    if kind == "mps":
        return ["Apple's GPU has no float64: curvature, and losses in float64, are computed on the CPU"]
    if kind == "cpu" and len(words()) > 1:
        return [f"{', '.join(words()[:-1])} is left idle: --device or {VARIABLE} says {chosen()}"] if chosen() else []
    if kind == "cuda" or answers.gpus:
        return []
    why = "of a torch that is built without CUDA and ROCm; install a build of it for your GPU, as pytorch.org says"
    if answers.build:
        why = f"of {', '.join(hidden)}, which hides it" if hidden else f"torch for {answers.build} finds none"
        why = why if hidden or not answers.warning else f"torch says: {answers.warning}"
    return [f"a GPU's driver is here, and no GPU is used, because {why}"]


def describe() -> str:
    """The device that is used, by name, after a trial. Raises MachineError if torch cannot compute on it."""
    import torch

    place = device()
    try:
        torch.ones(2, device=place).add(1).sum().item()
        names = [torch.cuda.get_device_name(i) for i in range(ask_torch().gpus)] if place.type == "cuda" else []
    except Exception as error:  # torch raises several kinds, such as for a GPU it is not built for
        raise MachineError(f"{word()} is there, and torch cannot use it: {reason(error)}; try --device cpu") from error
    named = {"cpu": "none", "mps": "Apple's"}.get(place.type, f"{', '.join(names)}, {ask_torch().build}")
    return f"{named}; torch {torch.__version__} computes on {word()}"


def _variables() -> tuple[str, ...]:
    """The environment's variables that hide GPUs from torch, the one that prevails first."""
    if not ask_torch().build.startswith("ROCm"):
        return ("CUDA_VISIBLE_DEVICES",)
    return ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


# --- random numbers --------------------------------------------------------------------------------------------------


def random_state(kind: str) -> Tensor:
    """The state of the generator that a device draws from."""
    import torch

    return torch.cuda.get_rng_state() if kind == "cuda" else (torch.mps if kind == "mps" else torch).get_rng_state()


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

    with torch.random.fork_rng(devices=[torch.device(kind)] if kind == "cuda" else []):
        state = random_state(kind) if kind == "mps" else None
        try:
            yield
        finally:
            if state is not None:
                torch.mps.set_rng_state(state)
