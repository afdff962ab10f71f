"""The train stage: a training run with all the checkpoints its scene needs."""

from __future__ import annotations

from pathlib import Path

from studio.pipeline.project import Project
from studio.training import checkpoints


def train(project: Project) -> Path:
    """Trains the project's run, or imports its checkpoints; returns the run's folder. Resumes an interrupted run."""
    project.manifest.update(run=[project.run_digest])
    if not is_trained(project):
        with project.shelf.lock(f"run-{project.run_digest}", project.progress):
            if not is_trained(project):  # another process may have trained it meanwhile
                with project.progress("train", 1) as advance:
                    project.scene.run.make(project.run_folder, advance)
    return project.run_folder


def is_trained(project: Project) -> bool:
    """Whether the shelf holds every checkpoint of the project's run."""
    return set(project.scene.epochs()) <= set(checkpoints.epochs(project.run_folder))
