"""Following runs that still go on: the project again after each new checkpoint, until their recorders have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import TypeVar

from studio.config.records import FrozenDict
from studio.errors import SceneError
from studio.pipeline.project import Project
from studio.scene.landscape import Landscape
from studio.scene.scene import Scene
from studio.training import checkpoints
from studio.training.runs import FolderRun

FOLLOW_SECONDS = 0.5
"""Between two looks at a folder."""
L = TypeVar("L", bound=Landscape)


def follow(open_project: Callable[[], Project]) -> Iterator[Project]:
    """The project now, and again whenever its runs have more checkpoints; ends when all recorders have ended.

    Each time its runs are the checkpoints so far: none joins them while they are filmed. Raises SceneError unless the
    scene's own runs of kind `folder`, at least one, are recorded by a `Recorder`.
    """
    folders, seen = _folders(open_project().scene), set[Path]()
    if not folders or not all((folder / checkpoints.RECORDING).is_file() for folder in folders):
        where = ", ".join(map(str, folders)) or "the scene has no `run: {kind: folder}`"
        raise SceneError(f"--follow: films a run that a studio.Recorder records, not this: {where}")
    while True:
        have_ended = all(map(checkpoints.has_ended, folders))
        marks = {path for folder in folders for path in folder.glob("*-*.json")}
        if marks != seen:
            with TemporaryDirectory() as place:
                copies = {folder: _linked(folder, marks, Path(place, str(n))) for n, folder in enumerate(folders)}
                project = open_project()
                yield replace(project, scene=_moved(project.scene, copies))
        elif have_ended:
            return
        else:
            sleep(FOLLOW_SECONDS)
        seen = marks


def _folders(scene: Scene) -> list[Path]:
    """Folders of the runs that the user trains, each once."""
    runs = [landscape.run for landscape in (scene, *scene.landscapes.values())]
    return list(dict.fromkeys(run.checkpoints for run in runs if isinstance(run, FolderRun)))


def _linked(folder: Path, marks: set[Path], place: Path) -> Path:
    """A new folder of links to the checkpoints that have these marks."""
    place.mkdir()
    whole = [path for mark in marks if mark.parent == folder for path in (mark, mark.with_suffix(".safetensors"))]
    for path in (folder / checkpoints.RECORDING, *whole):
        (place / path.name).symlink_to(path.resolve())
    return place


def _moved(scene: Scene, copies: dict[Path, Path]) -> Scene:
    """The scene with its runs' folders elsewhere."""

    def moved(landscape: L) -> L:
        run = landscape.run
        if not isinstance(run, FolderRun):
            return landscape
        return landscape.model_copy(update={"run": run.model_copy(update={"checkpoints": copies[run.checkpoints]})})

    return moved(scene).model_copy(
        update={"landscapes": FrozenDict({n: moved(o) for n, o in scene.landscapes.items()})}
    )
