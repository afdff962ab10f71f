"""Films and stills of neural-network loss landscapes.

studio.open("film.yaml")                      a scene: .dataset(), .plot(), .film(), .export("nc")
studio.landscape(model, loss_fn, (x, y))      the same around a network in memory
Scene, Project, measure                       a scene's record, its shelf and workers, and its results
Recorder(folder, model)                       checkpoints of a training loop of your own, while it runs
LightningRecorder, HuggingFaceRecorder        the same as callbacks of these trainers
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.pipeline.measure import measure
    from studio.pipeline.production import Production, landscape
    from studio.pipeline.production import open_scene as open  # noqa: A004  # as webbrowser and Image have it
    from studio.pipeline.project import Project
    from studio.scene.scene import Scene
    from studio.training.recording import Recorder

__all__ = ["Project", "Recorder", "Scene", "landscape", "measure", "open"]
_PLACES = {
    "Scene": "studio.scene.scene",
    "Project": "studio.pipeline.project",
    "measure": "studio.pipeline.measure",
    "open": "studio.pipeline.production",
    "Recorder": "studio.training.recording",
    "LightningRecorder": "studio.training.lightning",
    "HuggingFaceRecorder": "studio.training.hugging_face",
}


def __getattr__(name: str) -> Any:
    # not plain imports: `studio --help` would wait for them
    if name not in _PLACES:
        raise AttributeError(f"module 'studio' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), "open_scene" if name == "open" else name)


class _Landscape(ModuleType):
    """The room `studio.landscape`, which is the function of that name too."""

    def __call__(self, *args: Any, **kwargs: Any) -> Production:
        """As `studio.pipeline.production.landscape`, which has the arguments."""
        made: Production = import_module("studio.pipeline.production").landscape(*args, **kwargs)
        return made


import_module("studio.landscape").__class__ = _Landscape
