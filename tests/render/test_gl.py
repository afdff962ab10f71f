import subprocess
from types import SimpleNamespace

import pytest

from studio.config.units import Size
from studio.errors import MachineError
from studio.render.gl import gl_renderer
from studio.render.stage import Stage


def test_the_renderer_is_the_one_that_a_stage_draws_with(monkeypatch):
    monkeypatch.setenv("LP_NUM_THREADS", "0")
    with Stage(Size(16, 16), 33, 1) as stage:
        assert gl_renderer() == stage.renderer


def test_a_machine_without_gl_is_an_error_that_names_the_packages(monkeypatch):
    # where GL is missing, VTK ends the process before it can print
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="", returncode=-6))
    with pytest.raises(MachineError, match="apt-get install libegl1 libgl1-mesa-dri"):
        gl_renderer.__wrapped__()
