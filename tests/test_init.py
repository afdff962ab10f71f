import subprocess
import sys

import pytest


def test_studio_is_imported_lightly_and_gives_its_scene_project_and_stages():
    code = "import sys, studio; from studio import Project, Scene, measure; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "studio.scene.scene" in loaded and not {"torch", "pyvista", "sklearn", "matplotlib"} & set(loaded)
    light = subprocess.run(
        [sys.executable, "-c", "import sys, studio; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "numpy" not in light and "studio.scene.scene" not in light
    with pytest.raises(ImportError, match="cannot import name 'Scenes'"):
        exec("from studio import Scenes")
