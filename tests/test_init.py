import re
import subprocess
import sys
from pathlib import Path

import pytest

import studio
import studio.landscape.loss  # the room of that name, which stays callable

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to.md"


def test_the_public_names_are_those_that_the_documentation_lists_and_are_what_they_say():
    assert re.findall(r"^\| `studio\.(\w+)", HOW_TO.read_text(encoding="utf-8"), re.MULTILINE) == studio.__all__
    assert all(callable(getattr(studio, name)) and getattr(studio, name).__doc__ for name in studio.__all__)
    assert studio.landscape.loss.Loss().mode == "eval"


def test_studio_is_imported_lightly_and_gives_its_scene_project_and_stages():
    code = "import sys, studio; from studio import Project, Scene, measure, open; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "studio.scene.scene" in loaded and not {"torch", "pyvista", "sklearn", "matplotlib"} & set(loaded)
    light = subprocess.run(
        [sys.executable, "-c", "import sys, studio; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "numpy" not in light and "studio.scene.scene" not in light
    with pytest.raises(ImportError, match="cannot import name 'Scenes'"):
        exec("from studio import Scenes")
