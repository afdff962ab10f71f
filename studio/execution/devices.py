"""The processor cores and the device that this process may use, as far as that is known without torch."""

from __future__ import annotations

import ctypes
import os
import platform
import re

from studio.errors import SceneError

VARIABLE = "STUDIO_DEVICE"
_DRIVERS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA, of AMD, and of Windows beneath WSL2."""


def usable_cores() -> int:
    """Number of processor cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose(word: str | None) -> None:
    """Makes this process, and those it starts, compute on a device. None: as STUDIO_DEVICE says. Raises SceneError."""
    if word is not None:
        os.environ[VARIABLE] = word
    chosen()


def chosen() -> str:
    """`cpu`, `cuda`, `cuda:1` or `mps`; empty for the best that there is. Raises SceneError for any other word."""
    word = os.environ.get(VARIABLE, "")
    if not re.fullmatch(r"|cpu|mps|cuda(:\d{1,3})?", word, re.ASCII):
        raise SceneError(f"--device or {VARIABLE}: {word[:40]!r} is no device; write cpu, cuda, cuda:1 or mps")
    return word


def has_gpu_driver() -> bool:
    """Whether anything here suggests a GPU. Without, nobody needs to load torch to know that there is none."""
    if (platform.system(), platform.machine()) == ("Darwin", "arm64") or any(map(os.path.exists, _DRIVERS)):
        return True
    try:  # in a virtual machine, the library that torch loads may be the only sign
        ctypes.CDLL("nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1")
    except OSError:
        return False
    return True
