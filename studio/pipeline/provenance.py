"""What every output says of its making."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from studio.config.records import digest
from studio.pipeline.project import Project
from studio.pipeline.render_job import RenderJob

PACKAGES = ("landscape-studio", "torch", "numpy", "scipy", "vtk", "pyvista")


def provenance(project: Project, job: RenderJob) -> dict[str, Any]:
    """The scene with its digest, the run, the slices, the GL renderer, the seed and the versions of packages."""
    return {
        "scene": project.scene.title,
        "digest": digest(project.scene),
        "draft": project.draft,
        "renderer": job.renderer,
        "seed": project.scene.run.recipe.seed,
        "run": project.run_digest,
        "slices": sorted(job.results.digests.values()),
        "versions": {name: version(name) for name in PACKAGES},
    }
