"""A scene in Python: `studio.open` for one in a file, `studio.landscape` for one network in memory.

    production.dataset(), .plot(), .film(), .export("nc")       measured numbers, a picture, movies, files

A notebook shows each of them by itself.
"""

from __future__ import annotations

import base64
import html
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config.reading import from_options
from studio.deliver.still import Still
from studio.errors import SceneError
from studio.execution.devices import usable_cores
from studio.execution.progress import Progress, show
from studio.film.format import Format
from studio.pipeline.exports import export
from studio.pipeline.film import make_film, make_still
from studio.pipeline.measure import measure
from studio.pipeline.project import Project
from studio.pipeline.results import SliceKind
from studio.scene.captions import captions
from studio.scene.scene import Scene
from studio.storage.shelf import Shelf

if TYPE_CHECKING:
    import xarray as xr
    from PIL.Image import Image


class Files(tuple[Path, ...]):
    """Paths of finished files; a notebook plays the movies and shows the pictures."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return "<br>".join(map(_player, self))


def _player(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not path.is_file() or not kind.startswith(("video/", "image/")):
        return html.escape(str(path))
    tag, end = ("video controls loop", "</video>") if kind.startswith("video/") else ("img", "")
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<{tag} style="max-width:100%" src="data:{kind};base64,{content}">{end}'


@dataclass(frozen=True)
class Production:
    """A scene with its shelf. out: the folder of its finished files."""

    project: Project
    out: Path

    def dataset(self, of: SliceKind = "loss", landscape: str | None = None) -> xr.Dataset:
        """Raw measurements over (keyframe, beta, alpha) of a landscape, or of the first; measures what is missing."""
        parts = {part.landscape: part for part in self.project.parts}
        if landscape not in (None, *parts):
            raise SceneError(f"no landscape '{landscape}'; one of {', '.join(parts)}")
        return measure(parts[landscape or next(iter(parts))]).dataset(of)

    def plot(self, at: str | None = None, size: str | None = None) -> Image:
        """The picture at a film time such as `6s`, of a size such as `1920x1080`: the film's middle, and its size."""
        from PIL import Image

        still = from_options(Still, "", at=at or f"{self.project.scene.cut.length // 2}f")
        pixels = from_options(Format, "", size=size).size if size else None
        with Image.open(make_still(self.project, self.out, still, pixels)) as picture:
            return picture.copy()

    def film(self) -> Files:
        """Everything that the scene delivers."""
        return Files(make_film(self.project, self.out))

    def export(self, to: str, of: SliceKind = "loss", at: str | None = None) -> Files:
        """Files for other programs, as `studio export` makes them."""
        return Files(export(self.project, self.out, to, of, from_options(Still, "", at=at).at if at else None))

    def _repr_html_(self) -> str:
        scene, notes = self.project.scene, (captions(part.scene)["loss"] for part in self.project.parts)
        shots = ", ".join(f"{shot.shot} {shot.duration}" for shot in scene.shots)
        return "<br>".join([f"<b>{html.escape(scene.title)}</b>", *map(html.escape, (*notes, shots))])


def open_scene(
    path: str | Path, shelf: Path | None = None, *, draft: bool = False, workers: int = 0, progress: Progress = show
) -> Production:
    """The production of a scene's file. workers: processes; as many as cores if 0. Raises SceneError."""
    project = Project.open(path, shelf, draft=draft, workers=workers or usable_cores(), progress=progress)
    return Production(project, project.out)


def landscape(
    model: Any,
    loss_fn: str | Callable[..., Any],
    data: Any,
    *,
    workers: int = 0,
    progress: Progress = show,
    **keys: Any,
) -> Production:
    """The landscape around a network in memory, as it is now, and a short orbit over it.

    model: a torch module, which is copied. loss_fn: cross-entropy, mean squares or binary cross-entropy with logits, as
    torch has them or as a word of `objective`; or a function (model, batch) -> losses [N]. data: (x, y) arrays or
    tensors, x alone, or an iterable of batches. keys: `range` and `points` of the grid, and keys of a scene, such as
    `directions`, `loss`, `convexity` or `look`, as YAML has them. What is measured lives as long as the production.
    Raises SceneError for what does not fit.
    """
    from studio.training.in_memory import hold

    run = hold(model, loss_fn, data)
    orbit = {"look_at": "land", "azimuth_from": "open-side", "moves": [{"orbit": "120deg", "over": "6s"}]}
    own = {
        "title": type(model).__name__,
        "run": run,
        "grid": {name: keys.pop(name) for name in ("range", "points") if name in keys},
        "shots": [{"shot": "orbit", "duration": "6s", "along": {"0s": 0}, "camera": orbit}],
        "titles": {"live": "loss {loss:.4g}"},
    }
    scene = from_options(Scene, "", **(own | keys))
    if mistakes := [f"{'.'.join(map(str, place))}: {text}" for place, text in scene.mistakes()]:
        raise SceneError(*mistakes)
    root, count = run["checkpoints"], workers or usable_cores()
    project = Project(
        scene, root / "landscape.yaml", Shelf(root / ".studio"), count, progress=progress, measures_here=True
    )
    return Production(project, root / "out")
