"""Every block of the documentation runs: a page's blocks in their order, in one folder.

    sh       runs `studio` lines, looks `make` lines up in the Makefile
    python   a script; `# name.py` names its file
    yaml     `# name.yaml` is a file of its own; `# in name.yaml` is merged into that file; a block without such a line
             is merged into a copy of dunes.yaml and must give a valid scene

Scenes and large pictures are made small before they run: see `shrink` and `SMALLER`.
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
from studio.film.look import Look, assets_folder, gallery, merge
from studio.landscape import profiling
from studio.pipeline import film
from studio.scene.scene import Scene

ROOT = assets_folder().parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "assets/looks/README.md")),
]
NOT_RUN = (
    *("studio watch ", "studio scout ", ". .venv/bin/activate", "apt-get install "),
    *("pre-commit install", "python docs/scene_reference.py > "),
)
"""Beginnings of lines that only people run."""
SMALLER = {
    "--points 601": "--points 7",
    "--size 15360x8640": "--size 192x108",
    "--size 2560x1440": "--size 128x72",
    "--paper A1": "--paper A1 --dpi 10",
    "--dpi 300": "--dpi 10",
    "--frames 24:48": "--frames 2:4",
}
NEED_EXTRAS = ("lightning.md", "hugging-face.md")
"""Pages whose blocks need a package that is an extra."""


class Block(NamedTuple):
    """A fenced block: its language, its text and the line it begins on."""

    language: str
    text: str
    line: int

    @property
    def first(self) -> str:
        """The comment on its first line, or an empty text."""
        comment = re.match(r"# (.+)\n", self.text)
        return comment[1] if comment else ""

    @property
    def commands(self) -> list[str]:
        lines = (line.split(" #")[0].strip() for line in self.text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(block[1], block[2], text.count("\n", 0, block.start()) + 1)


def shrink(scene: dict) -> dict:
    """A scene as plain YAML, tiny and coarse, with the same shots over the same epochs."""
    recipe, epochs = scene["run"].get("recipe"), scene.get("sweep", {}).get("at", "all")
    if recipe:
        if recipe["model"]["kind"] in ("mlp", "resnet", "vgg"):
            recipe["model"] = {"kind": "mlp", "depth": 1, "width": 4}
        if isinstance(epochs, list):
            scene["sweep"]["at"] = [epochs[0], epochs[-1]]
            recipe["checkpoint"] = {"every": 1}
        scene["grid"]["points"], scene.setdefault("loss", {})["subset"] = 5, 32
    if "convexity" in scene:
        scene["convexity"] |= {"points": 3, "subset": 16, "tol": "1e-1"}
        scene["convexity"] |= {"at": [epochs[-1]]} if isinstance(epochs, list) else {}
    scene["film"] = {"size": "64x36", "fps": 2}
    scene["look"] = scene.get("look", {"base": "ember"}) | {"mesh": 33}
    return scene


class Reader:
    """Someone in a folder who follows a page."""

    def __init__(self, folder: Path, invoke):
        self.folder, self.invoke = folder, invoke
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
        if command.startswith(NOT_RUN):
            return
        if command.startswith("studio "):
            self.studio(command)
        elif command.startswith("make "):
            target, *options = shlex.split(command)[1:]
            subprocess.run(["make", "-n", target, *options], cwd=ROOT, check=True, capture_output=True)
        else:
            raise AssertionError(f"no test runs '{command}'")

    def studio(self, command: str) -> None:
        scene = self.folder / f"{command.removeprefix('studio new ')}.yaml"
        if is_new := command.startswith("studio new "):
            scene.unlink(missing_ok=True)
        for large, small in SMALLER.items():
            command = command.replace(large, small)
        if command == "studio schema > assets/scene.schema.json":
            command = "studio schema"
        result = self.invoke(*shlex.split(command)[1:])
        assert result.status == 0, result.err
        if is_new:
            self.write(scene, shrink(self.raw(scene)))

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
            timeout=180,  # a script that hangs is a mistake to find
        )
        assert done.returncode == 0, done.stderr

    def yaml(self, block: Block) -> None:
        keys, first = load_raw(block.text, name="block"), block.first
        if first.startswith("in "):
            scene = self.folder / first.removeprefix("in ")
            self.write(scene, shrink(merge(self.raw(scene), keys)))
        elif first.endswith(".yaml"):
            path = self.folder / first
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            if "title" in keys:
                Scene.load(path)
                self.write(path, shrink(keys))
            else:
                read(path, Look)
        else:
            self.checked(merge(self.raw(self.folder / "dunes.yaml"), keys))

    def raw(self, path: Path) -> dict:
        return load_raw(path.read_text(encoding="utf-8"), name=path.name)

    def checked(self, scene: dict) -> str:
        """The scene as text, if it is valid."""
        text = yaml.safe_dump(scene, sort_keys=False)
        parse(text, Scene, name="scene", folder=self.folder)
        return text

    def write(self, path: Path, scene: dict) -> None:
        path.write_text(self.checked(scene), encoding="utf-8")


@pytest.fixture(scope="module")
def cwd(tmp_path_factory) -> Path:
    """One folder for all pages."""
    return tmp_path_factory.mktemp("docs")


@pytest.fixture
def reader(cwd, invoke, monkeypatch) -> Reader:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(profiling, "candidate_methods", profiling.applicable_methods)  # torch's compiler takes a minute
    monkeypatch.setattr(film, "gallery", lambda folder: dict(list(gallery(folder).items())[:2]))  # all take 12 s
    return Reader(cwd, invoke)


def marked(page: Path):
    """The page as a parameter of a test that runs it."""
    return pytest.param(page, marks=[pytest.mark.extras] * (page.name in NEED_EXTRAS))


@pytest.mark.parametrize("page", [*map(marked, PAGES)], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page, reader):
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


def test_a_wrong_block_fails(reader):
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


def test_the_tree_of_contributing_is_the_package():
    [tree] = [block.text for block in blocks(ROOT / "CONTRIBUTING.md") if block.text.startswith("studio/\n")]
    inside, beside = tree.split("\nscenes/")
    package = {path.name for path in (ROOT / "studio").glob("[a-z]*")} - {"__pycache__", "py.typed"}
    assert set(re.findall(r"\b\w+\.py", inside)) | set(re.findall(r"^  (\w+)/", inside, re.MULTILINE)) == package
    assert all((ROOT / name).is_dir() for name in re.findall(r"^\w+/", f"scenes/{beside}", re.MULTILINE))


def test_every_file_that_contributing_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:studio|assets|tests)/[\w/.]+)`", text)
    assert len(named) > 25 and [name for name in named if not (ROOT / name).exists()] == []


def test_every_command_is_shown_on_some_page():
    shown = set(re.findall(r"studio ([a-z]+)", "".join(page.read_text(encoding="utf-8") for page in PAGES)))
    assert {name for name in app if not name.startswith("-")} <= shown
