"""The train stage: training runs with all the checkpoints their scene needs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from studio.errors import SceneError
from studio.pipeline.project import Project, repairs
from studio.scene.checks import Mistake
from studio.training import checkpoints
from studio.training.derived import AnyRun
from studio.training.runs import RecipeRun


@repairs
def train(project: Project) -> tuple[Path, ...]:
    """Trains the project's runs, or imports their checkpoints; returns their folders. Resumes an interrupted run."""
    runs = (run for run in project.scene.networks if isinstance(run, RecipeRun))
    parents = {run.parent_digest: run.parent for run in runs if run.parent}
    project.record(run=list(project.run_digests), parents=list(parents))
    # those that others start from, then the scene's own
    trainings = [*parents.items(), *zip(project.run_digests, project.scene.networks, strict=True)]
    for digest, run in trainings:
        folder = project.shelf.run(digest)
        if not _has_checkpoints(run, folder):
            with project.shelf.lock(f"run-{digest}", project.progress):
                if not _has_checkpoints(run, folder):  # another process may have trained it meanwhile
                    try_batch(project)
                    with project.progress("train", 1) as advance:
                        run.make(folder, advance)
    return project.run_folders


def try_batch(project: Project) -> None:
    """Passes one small batch through the user's model and functions. Raises SceneError for what they do wrong."""
    from studio.training.dry_pass import dry_pass

    scene, dataset = project.scene, project.scene.network.recipe.data
    data, is_told = dataset.load(), dataset.layout() is not None
    _raise(project, () if is_told else scene.data_mistakes(data.layout))
    parts = ("train", "test") if len(data.test_x) else ("train",)
    _raise(project, scene.number_mistakes(dry_pass(scene.network, scene.loss.functions), parts))


def _raise(project: Project, mistakes: Iterable[Mistake]) -> None:
    written = ((keys[:1] + keys[2:] if keys[0] == "run" else keys, text) for keys, text in mistakes)  # without kinds
    if texts := [f"{project.path}: {'.'.join(map(str, keys))}: {text}" for keys, text in written]:
        raise SceneError(*texts)


def is_trained(project: Project) -> bool:
    """Whether the shelf holds every checkpoint of the project's runs."""
    return all(map(_has_checkpoints, project.scene.networks, project.run_folders))


def _has_checkpoints(run: AnyRun, folder: Path) -> bool:
    return (folder / "run.json").is_file() and set(run.instants()) <= set(checkpoints.epochs(folder))
