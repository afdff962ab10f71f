"""What works on this machine and what to install: GL, GPU, ffmpeg, fonts, disk. No check can hurt."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from studio.errors import MachineError, StudioError
from studio.render.gl import gl_renderer

PACKAGES = "make python3-venv libegl1 libgl1-mesa-dri"
DEFAULT = frozenset({"libx264"})
"""The encoders of the default movie."""


class Finding(NamedTuple):
    """name, whether it works, and what was found or what to do."""

    name: str
    good: bool
    words: str


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"none; torch {torch.__version__} computes on the CPU"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _encoder() -> str:
    from studio.deliver.encoder import program, require_encoders, version

    require_encoders(DEFAULT)
    return f"ffmpeg {version()} with {', '.join(sorted(DEFAULT))} ({program()})"


def _fonts() -> str:
    from studio.render.text import fonts

    return f"{', '.join(fonts())}"


def _disk(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < 2 * 2**30:
        raise MachineError(f"only {free / 2**30:.1f} GiB free at {folder}; a film wants 2 or more")
    return f"{free / 2**30:.0f} GiB free at {folder}"


def examine(folder: Path) -> Iterator[Finding]:
    """Every check, one after the other. folder: where the work would be done."""
    checks: dict[str, Callable[[], str]] = {
        "OpenGL": gl_renderer,
        "GPU": _gpu,
        "ffmpeg": _encoder,
        "fonts": _fonts,
        "disk": lambda: _disk(folder),
    }
    for name, check in checks.items():
        try:
            yield Finding(name, True, check())
        except StudioError as error:
            yield Finding(name, False, str(error))
        except (ImportError, OSError) as error:
            yield Finding(name, False, f"{error}; install studio again with `make install`")
