"""What this process may compute on: processor cores and NVIDIA GPUs, found without loading torch."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores() -> int:
    """Number of processor cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs this process may use, spelled as in CUDA_VISIBLE_DEVICES."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    driver = Path("/proc/driver/nvidia/gpus")
    return tuple(str(index) for index, _ in enumerate(driver.iterdir())) if driver.is_dir() else ()
