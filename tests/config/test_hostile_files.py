import os
import socket
from pathlib import Path

import pytest

from studio.config.user_files import read_regular
from studio.errors import SceneError
from studio.scene.scene import Scene


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A folder of what is no regular file of a bounded size."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "device.yaml").symlink_to("/dev/zero")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    with open("sparse.yaml", "wb") as file:
        file.truncate(10**10)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("socket.yaml")
    return tmp_path


NAMES = ("pipe", "folder", "device", "loop", "sparse", "socket", "missing", "n\0ne", "x" * 300)


@pytest.mark.parametrize("name", NAMES)
def test_only_regular_files_of_a_bounded_size_are_read(hostile, name):
    with pytest.raises((OSError, ValueError), match="regular|bytes|directory|levels|such|too long|null"):
        read_regular(Path(f"{name}.yaml"), 1000)
    (hostile / "whole").write_bytes(b"x" * 1000)
    assert read_regular(hostile / "whole", 1000) == b"x" * 1000


@pytest.mark.parametrize(
    "key", ["look: {{base: ./{}}}", "look: {{base: ember, grade: {{lut: {}}}}}", "run: {{kind: surfaces, file: {}}}"]
)
@pytest.mark.parametrize("name", NAMES[:7])
def test_a_scene_that_names_another_file_is_told_so_with_its_place(hostile, tiny, key, name):
    text = tiny.read_text().replace("look: {base: ember, mesh: 65}\n", "")
    if key.startswith("run"):
        text = text[: text.index("run:")] + text[text.index("film:") :]
    tiny.write_text(text + key.format(f"{name}.yaml"))
    with pytest.raises(SceneError) as error:
        Scene.load(tiny)
    assert error.value.mistakes and all(line.startswith(f"{tiny}:") for line in error.value.mistakes)
    with pytest.raises(SceneError, match=f"{name}.yaml: cannot be read"):
        Scene.load(hostile / f"{name}.yaml")
