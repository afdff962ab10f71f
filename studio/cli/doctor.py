"""What works on this machine and what to install: GL, GPU, ffmpeg, fonts, disk. No check can hurt."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from studio.errors import MachineError, StudioError

PACKAGES = "make python3-venv libegl1 libgl1-mesa-dri"
_ASK_GL = """
import os
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
from studio.render.stage import Stage
from studio.config.units import Size
with Stage(Size(16, 16), 33, 1) as stage:
    print("renderer:", stage.renderer)
"""


class Finding(NamedTuple):
    """name, whether it works, and what was found or what to do."""

    name: str
    good: bool
    words: str


def gl() -> str:
    """The name of the GL renderer, asked in another process: where GL is missing, VTK crashes. Raises MachineError."""
    asked = subprocess.run(
        [sys.executable, "-c", _ASK_GL],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LP_NUM_THREADS": "0"},
    )
    for line in asked.stdout.splitlines():
        if line.startswith("renderer: "):
            return line.removeprefix("renderer: ").strip()
    raise MachineError(
        "no OpenGL without a screen on this machine; on Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri"
    )


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"none; torch {torch.__version__} computes on the CPU"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def encoder(needed: Iterable[str] = ("libx264",)) -> str:
    """The ffmpeg that makes movies. Raises MachineError if there is none, or it lacks an encoder that is needed."""
    from studio.deliver.encoder import encoders, program, version

    if missing := sorted(set(needed) - encoders()):
        lacks = ", ".join(missing)
        raise MachineError(f"{program()} has no {lacks}; unset STUDIO_FFMPEG, or name an ffmpeg that has it")
    return f"ffmpeg {version()} with {', '.join(sorted(needed))} ({program()})"


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
        "OpenGL": gl,
        "GPU": _gpu,
        "ffmpeg": encoder,
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
