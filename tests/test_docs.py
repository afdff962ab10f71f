"""The documentation is followed to the letter: a page's blocks are run in their order, in one folder.

    sh       `studio` lines are run, `make` lines are looked up in the Makefile
    python   saved and run as a script; `# name.py` names the file
    yaml     `# name.yaml` is a file of its own; `# in name.yaml` is laid over that one, and stays there; a block
             without such a line is laid over dunes.yaml, and must be a scene

Scenes are made small before they are run, and pictures for the wall too: `small` and `LESS` say how.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from studio.cli import doctor
from studio.cli.commands import app
from studio.config.reading import load_raw, parse, read
from studio.errors import StudioError
from studio.film.gallery import gallery
from studio.film.look import Look, assets_folder as assets
from studio.landscape.values import profiling
from studio.pipeline import project
from studio.scene.scene import Scene

ROOT = assets().parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "assets" / "looks" / "README.md"]
BY_HAND = (". .venv/bin/activate", "apt-get install ")
"""How lines begin that are run by people only."""
LESS = {
    "--points 601": "--points 7",
    "--size 15360x8640": "--size 192x108",
    "--size 2560x1440": "--size 128x72",
    "--paper A1": "--paper A1 --dpi 10",
    "--dpi 300": "--dpi 10",
    "--frames 24:48": "--frames 2:4",
}


class Block(NamedTuple):
    """A fenced block: its language, its text and the line it begins on."""

    language: str
    text: str
    line: int

    @property
    def first(self) -> str:
        """The comment on its first line, or nothing."""
        found = re.match(r"# (.+)\n", self.text)
        return found[1] if found else ""

    @property
    def commands(self) -> list[str]:
        lines = (line.split(" #")[0].strip() for line in self.text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)


def small(said: dict) -> dict:
    """A scene as plain YAML, with less of everything: the same shots over the same epochs, tiny and coarse."""
    recipe, keys = said["run"]["recipe"], said.get("sweep", {}).get("at", "all")
    if recipe["model"]["kind"] in ("mlp", "resnet", "vgg"):
        recipe["model"] = {"kind": "mlp", "depth": 1, "width": 4}
    if isinstance(keys, list):
        said["sweep"]["at"] = [keys[0], keys[-1]]
        recipe["checkpoint"] = {"every": 1}
    said["grid"]["points"], said["loss"]["subset"] = 5, 32
    if "convexity" in said:
        said["convexity"] |= {"points": 3, "subset": 16, "tol": "1e-1"}
        said["convexity"] |= {"at": [keys[-1]]} if isinstance(keys, list) else {}
    said["film"] = {"size": "64x36", "fps": 2}
    said["look"] = said.get("look", {"base": "ember"}) | {"mesh": 33}
    return said


def laid(under, over):
    """`over` laid on `under` at every depth; another kind replaces the whole."""
    if not (isinstance(under, dict) and isinstance(over, dict)) or over.get("kind", under.get("kind")) != under.get(
        "kind"
    ):
        return over
    return under | {key: laid(under.get(key), value) for key, value in over.items()}


class Reader:
    """A folder, and someone in it who does what a page says."""

    def __init__(self, folder: Path, say):
        self.folder, self.say = folder, say
        if not (folder / "dunes.yaml").exists():
            self.studio("studio new dunes")

    def follow(self, block: Block) -> None:
        match block.language:
            case "sh":
                for command in block.commands:
                    self.run(command)
            case "python":
                self.python(block)
            case "yaml":
                self.yaml(block)
            case other:
                assert other == "text", f"a block is sh, python, yaml or text, not '{other}'"

    def run(self, command: str) -> None:
        if command.startswith("studio "):
            self.studio(command)
        elif command.startswith("make "):
            target, *options = shlex.split(command)[1:]
            subprocess.run(["make", "-n", target, *options], cwd=ROOT, check=True, capture_output=True)
        else:
            assert command.startswith(BY_HAND), f"nobody runs '{command}'"

    def studio(self, command: str) -> None:
        scene = self.folder / f"{command.removeprefix('studio new ')}.yaml"
        if starts := command.startswith("studio new "):
            scene.unlink(missing_ok=True)
        for much, less in LESS.items():
            command = command.replace(much, less)
        said = self.say(*shlex.split(command)[1:])
        assert said.status == 0, said.err
        if starts:
            self.write(scene, small(self.raw(scene)))

    def python(self, block: Block) -> None:
        name = block.first if block.first.endswith(".py") else "script.py"
        (self.folder / name).write_text(block.text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, name],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            text=True,
            capture_output=True,
            check=False,
            timeout=180,  # a script that never ends is the mistake that is looked for
        )
        assert done.returncode == 0, done.stderr

    def yaml(self, block: Block) -> None:
        said, first = load_raw(block.text, name="block"), block.first
        if first.startswith("in "):
            scene = self.folder / first.removeprefix("in ")
            self.write(scene, small(laid(self.raw(scene), said)))
        elif first.endswith(".yaml"):
            path = self.folder / first
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            if "title" in said:
                Scene.load(path)
                self.write(path, small(said))
            else:
                read(path, Look)
        else:
            self.checked(laid(self.raw(self.folder / "dunes.yaml"), said))

    def raw(self, path: Path) -> dict:
        return load_raw(path.read_text(encoding="utf-8"), name=path.name)

    def checked(self, said: dict) -> str:
        """The text of a scene, which is one."""
        text = yaml.safe_dump(said, sort_keys=False)
        parse(text, Scene, name="scene", folder=self.folder)
        return text

    def write(self, path: Path, said: dict) -> None:
        path.write_text(self.checked(said), encoding="utf-8")


@pytest.fixture(scope="module")
def cwd(tmp_path_factory) -> Path:
    """One folder for all pages."""
    return tmp_path_factory.mktemp("docs")


@pytest.fixture
def reader(cwd, say, monkeypatch) -> Reader:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(profiling, "methods", profiling.fitting)  # torch's compiler takes a minute
    monkeypatch.setattr(project, "gallery", lambda folder: dict(list(gallery(folder).items())[:2]))  # all take 12 s
    return Reader(cwd, say)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_does_what_it_says(page, reader):
    for block in blocks(page):
        try:
            reader.follow(block)
        except Exception as error:
            raise AssertionError(f"{page.name}:{block.line}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_picture_of_a_page_is_there(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        if name.startswith("http"):
            continue
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_names_the_packages_that_a_bare_machine_lacks():
    [line] = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("apt-get install ")]
    assert line.removeprefix("apt-get install ") == doctor.PACKAGES


def test_every_page_can_be_reached_from_the_readme():
    assert {str(page.relative_to(ROOT)) for page in PAGES[1:]} <= set(
        re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    )


def test_a_block_that_is_wrong_is_noticed(reader):
    """The tester, tested."""
    for language, text in [
        ("sh", "studio check nowhere.yaml\n"),
        ("sh", "make nothing\n"),
        ("sh", "rm -rf dunes\n"),
        ("python", "import nothing_at_all\n"),
        ("yaml", "directions: {kind: sideways}\n"),
        ("yaml", "# in dunes.yaml\ngrid: {range: [1, -1]}\n"),
        ("bash", "studio doctor\n"),
    ]:
        with pytest.raises((AssertionError, StudioError, subprocess.CalledProcessError)):
            reader.follow(Block(language, text, 1))


def test_the_tree_of_extending_is_the_package():
    [tree] = [block.text for block in blocks(ROOT / "docs" / "extending.md") if block.text.startswith("studio/\n")]
    inside, beside = tree.split("\nscenes/")
    there = {path.name for path in (ROOT / "studio").glob("[a-z]*")} - {"__pycache__"}
    assert set(re.findall(r"\b\w+\.py", inside)) | set(re.findall(r"^  (\w+)/", inside, re.MULTILINE)) == there
    assert all((ROOT / name).is_dir() for name in re.findall(r"^\w+/", f"scenes/{beside}", re.MULTILINE))


def test_every_file_that_extending_sends_to_is_there():
    named = re.findall(r"`((?:studio|assets)/[\w/.]+)`", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))
    assert len(named) > 15 and [name for name in named if not (ROOT / name).exists()] == []


def test_every_command_is_shown_on_some_page():
    shown = set(re.findall(r"studio ([a-z]+)", "".join(page.read_text(encoding="utf-8") for page in PAGES)))
    assert {name for name in app if not name.startswith("-")} <= shown
