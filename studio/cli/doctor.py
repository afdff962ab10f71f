"""Checks of this machine: GL, GPU, ffmpeg, fonts, disk; each says what works or what to install."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from studio.errors import MachineError, StudioError
from studio.render.gl import gl_renderer

PACKAGES = "make python3-venv libegl1 libgl1-mesa-dri"
"""Debian packages that a bare machine lacks."""
ENCODERS = frozenset({"libx264"})
"""ffmpeg encoders of the default movie."""
ENOUGH_DISK = 2 * 2**30
"""Bytes that a film needs."""


class CheckResult(NamedTuple):
    """The name of a check, whether the thing works, and what was found or what to do."""

    name: str
    works: bool
    details: str


def run_checks(folder: Path) -> Iterator[CheckResult]:
    """Every check, one after the other. folder: where the work would be done."""
    checks: dict[str, Callable[[], str]] = {"OpenGL": gl_renderer, "GPU": _gpu, "ffmpeg": _encoders, "fonts": _fonts}
    checks["disk"] = lambda: _disk(folder)
    for name, check in checks.items():
        try:
            yield CheckResult(name, True, check())
        except StudioError as error:
            yield CheckResult(name, False, str(error))
        except (ImportError, OSError) as error:
            yield CheckResult(name, False, f"{error}; install studio again with `make install`")


def _gpu() -> str:
    from studio.training.device import describe, idle_reasons

    return "; ".join([describe(), *idle_reasons()])


def _encoders() -> str:
    from studio.deliver.encoder import program, require_encoders, version

    require_encoders(ENCODERS)
    return f"ffmpeg {version()} with {', '.join(sorted(ENCODERS))} ({program()})"


def _fonts() -> str:
    from studio.render.text import fonts

    return ", ".join(fonts())


def _disk(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < ENOUGH_DISK:
        raise MachineError(f"only {free / 2**30:.1f} GiB free at {folder}; a film needs 2 or more")
    return f"{free / 2**30:.0f} GiB free at {folder}"
