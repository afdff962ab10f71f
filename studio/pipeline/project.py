"""A project: a scene with its file, shelf and workers, passed to every stage as one record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from studio.errors import DamageError, MachineError, SceneError
from studio.execution import local
from studio.execution.progress import Progress, silent
from studio.execution.tasks import Task, run_tasks
from studio.scene.draft import to_draft
from studio.scene.scene import Portrait, Scene, output_name
from studio.storage.shelf import Manifest, Shelf
from studio.training.device import worker_gpus

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Project:
    """A scene with its file and shelf, the number of worker processes, and where progress is reported.

    draft: whether the scene was reduced by `to_draft`. portrait: a keyframe measured once more, for a still. landscape:
    the name of the one that the scene was reduced to, by `parts`. measures_here: in this process, since no other one
    has the network.
    """

    scene: Scene
    path: Path
    shelf: Shelf
    workers: int = 1
    draft: bool = False
    progress: Progress = silent
    portrait: Portrait | None = None
    landscape: str = ""
    measures_here: bool = False

    @classmethod
    def open(
        cls,
        path: str | Path,
        shelf: Path | None = None,
        *,
        draft: bool = False,
        workers: int = 1,
        progress: Progress = silent,
    ) -> Project:
        """The project of a scene's file. shelf: its folder, by default as `Shelf.beside` says. Raises SceneError."""
        path = Path(path)
        scene = Scene.load(path)
        return cls(to_draft(scene) if draft else scene, path, Shelf.beside(path, shelf), workers, draft, progress)

    def with_scene(self, **changes: Any) -> Project:
        """The same project with some of the scene's keys changed. Raises SceneError if the deliverables do not fit."""
        scene = self.scene.model_copy(update=changes)
        if mistakes := [text for keys, text in scene.mistakes() if keys[0] in ("deliver", "film")]:
            raise SceneError(*(f"{self.path}: {text}" for text in mistakes))
        return replace(self, scene=scene)

    @property
    def parts(self) -> tuple[Project, ...]:
        """The project once for each landscape, as if its scene had no other; itself if it has one."""
        if not self.scene.landscapes:
            return (self,)
        return tuple(replace(self, scene=self.scene.only(name), landscape=name) for name in self.scene.names)

    def record(self, **used: Any) -> None:
        """Notes in the manifest what a landscape used, such as `planes`: digests."""
        prefix = f"{self.landscape}/" if self.landscape else ""
        self.manifest.update(**{prefix + key: digests for key, digests in used.items()})

    def recorded(self, key: str) -> list[str]:
        """What `record` noted; empty if nothing."""
        return list(self.manifest.read().get(f"{self.landscape}/{key}" if self.landscape else key, ()))

    @property
    def name(self) -> str:
        """Name of the project's files, without suffix."""
        return output_name(self.path, self.draft)

    @property
    def out(self) -> Path:
        """The default folder of finished files."""
        return Path("out") / self.path.stem

    @property
    def manifest(self) -> Manifest:
        """The list of what this project last used on the shelf."""
        return Manifest(self.shelf, self.path, self.name)

    @cached_property
    def run_digests(self) -> tuple[str, ...]:
        """Digests of the runs that have a network. Raises RunError if their data or checkpoints cannot be read."""
        return tuple(run.digest(run.recipe.data.load().digest) for run in self.scene.networks)

    @property
    def run_folders(self) -> tuple[Path, ...]:
        """Folders of the scene's runs on the shelf."""
        return tuple(map(self.shelf.run, self.run_digests))

    @contextmanager
    def open_workers(self, count: int | None = None, *, gpus: bool = False) -> Iterator[Workers]:
        """Worker processes: one per GPU if `gpus` and there are any, else `count`, by default `self.workers`."""
        devices = worker_gpus() if gpus else ()
        count = len(devices) or count or self.workers
        measures_here = gpus and self.measures_here
        with ThreadPoolExecutor(1) if measures_here else local.LocalExecutor(count, devices) as executor:
            yield Workers(executor, 2 * count, self.progress)


def repairs(stage: Callable[Concatenate[Project, P], T]) -> Callable[Concatenate[Project, P], T]:
    """The stage, begun again without what it finds damaged on the shelf; twice the same is a MachineError."""

    @wraps(stage)
    def repaired(project: Project, /, *args: P.args, **kwargs: P.kwargs) -> T:
        seen: list[Path] = []
        while True:
            try:
                return stage(project, *args, **kwargs)
            except DamageError as error:
                if error.path in seen:
                    raise MachineError(f"{error.path}: is damaged again, just after it was made") from error
                seen.append(error.path)
                project.shelf.discard(error)

    return repaired


@dataclass(frozen=True)
class Workers:
    """Open worker processes. in_flight: tasks submitted at a time."""

    executor: Executor
    in_flight: int
    progress: Progress

    def run(self, name: str, tasks: Iterable[Task], counts: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yields (index, result) of tasks as they finish. name, counts: of the progress, and each task's share."""
        if not counts:
            return
        with self.progress(name, sum(counts)) as advance:
            done = 0
            for index, result in run_tasks(self.executor, tasks, self.in_flight):
                yield index, result
                advance(done := done + counts[index])
