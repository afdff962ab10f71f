"""Films and stills of neural-network loss landscapes.

from studio import Scene, Studio
Scene.load("film.yaml")                     a scene, checked
Studio.open("film.yaml").dataset()          its surfaces as an xarray.Dataset, measured if they are not yet
"""

from __future__ import annotations

_ROOMS = {"Scene": "scene.scene", "Studio": "pipeline.project"}


def __getattr__(name: str):
    # not plain imports: `studio --help` would wait for them
    if name not in _ROOMS:
        raise AttributeError(f"module 'studio' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f".{_ROOMS[name]}", __name__), name)
