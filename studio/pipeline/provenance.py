"""Provenance: the facts about its origin that every output carries."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from studio.config.records import digest
from studio.pipeline.render_job import RenderJob

PACKAGES = ("landscape-studio", "torch", "numpy", "scipy", "vtk", "pyvista")


def provenance(job: RenderJob) -> dict[str, Any]:
    """The scene with its digest, the runs, the slices, the GL renderer, the seed of training, versions of packages."""
    networks = job.scene.networks
    return {
        "scene": job.scene.title,
        "digest": digest(job.scene),
        "draft": job.draft,
        "renderer": job.renderer,
        **({"seed": networks[0].recipe.seed} if networks else {}),
        "runs": [run for results in job.results for run in results.runs],
        "slices": sorted(digest for results in job.results for digest in results.digests.values()),
        "versions": {name: version(name) for name in PACKAGES},
    }
