"""Films and stills of neural-network loss landscapes.

from studio import Project, Scene, make_film, measure
Scene.load("film.yaml")                              a scene, checked
measure(Project.open("film.yaml")).dataset()         its surfaces as an xarray.Dataset, measured if they are not yet
make_film(Project.open("film.yaml"), Path("out"))    its deliverables; returns their paths
"""

from __future__ import annotations

from typing import Any

_HOMES = {
    "Scene": "studio.scene.scene",
    "Project": "studio.pipeline.project",
    "train": "studio.pipeline.train",
    "measure": "studio.pipeline.measure",
    "make_film": "studio.pipeline.film",
    "make_still": "studio.pipeline.film",
}


def __getattr__(name: str) -> Any:
    # not plain imports: `studio --help` would wait for them
    if name not in _HOMES:
        raise AttributeError(f"module 'studio' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
