"""The name of this machine's GL renderer, asked for in another process: where GL is missing, VTK crashes."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

from studio.errors import MachineError

_PROBE = """
import os
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
from studio.config.units import Size
from studio.render.stage import Stage
with Stage(Size(16, 16), 33, 1) as stage:
    print("renderer:", stage.renderer)
"""


@cache
def gl_renderer() -> str:
    """The GL renderer's name, such as `llvmpipe (LLVM 15.0.7, 256 bits)`. Raises MachineError if there is no GL."""
    command, environment = [sys.executable, "-c", _PROBE], {**os.environ, "LP_NUM_THREADS": "0"}
    process = subprocess.run(command, capture_output=True, errors="replace", check=False, env=environment)
    for line in process.stdout.splitlines():
        if line.startswith("renderer: "):
            return line.removeprefix("renderer: ").strip()
    raise MachineError(
        "no OpenGL without a screen on this machine; on Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri"
    )
