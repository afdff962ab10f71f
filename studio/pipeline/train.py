"""The train stage: a training run with all the checkpoints its scene needs."""

from __future__ import annotations

from pathlib import Path

from studio.errors import SceneError
from studio.pipeline.project import Project
from studio.training import checkpoints


def train(project: Project) -> Path:
    """Trains the project's run, or imports its checkpoints; returns the run's folder. Resumes an interrupted run."""
    project.manifest.update(run=[project.run_digest])
    if not is_trained(project):
        with project.shelf.lock(f"run-{project.run_digest}", project.progress):
            if not is_trained(project):  # another process may have trained it meanwhile
                try_batch(project)
                with project.progress("train", 1) as advance:
                    project.scene.run.make(project.run_folder, advance)
    return project.run_folder


def try_batch(project: Project) -> None:
    """Passes one small batch through the user's model and functions. Raises SceneError for what they do wrong."""
    from studio.training.dry_pass import dry_pass

    scene = project.scene
    numbers = dry_pass(scene.run, scene.loss.functions)
    if mistakes := list(scene.number_mistakes(numbers)):
        raise SceneError(*(f"{project.path}: {'.'.join(map(str, keys))}: {text}" for keys, text in mistakes))


def is_trained(project: Project) -> bool:
    """Whether the shelf holds every checkpoint of the project's run."""
    return set(project.scene.epochs()) <= set(checkpoints.epochs(project.run_folder))
