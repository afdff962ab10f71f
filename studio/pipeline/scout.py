"""The scout: a scene's page while it is measured, the film's poses for keys captured in it, and these keys as YAML.

file, shelf  ->  what is measured so far  ->  page;  keys  ->  shot  ->  poses, a picture, lines of YAML
"""

from __future__ import annotations

import difflib
import html
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

from PIL import Image
from pydantic import TypeAdapter, ValidationError

from studio.config.editing import set_values
from studio.config.messages import explain
from studio.config.reading import parse
from studio.config.records import digest
from studio.config.units import Size
from studio.deliver.web import filled
from studio.errors import SceneError, StudioError
from studio.execution.progress import silent
from studio.film.camera import Camera
from studio.film.easing import EASES
from studio.film.fields import ColourMapping, measured_fields
from studio.film.frame_source import LANDMARK_MESH, FrameSource
from studio.film.timeline import Cut, Shot, Transition
from studio.film.viewfinder import ViewKey, choreography, with_keys
from studio.pipeline import render_job
from studio.pipeline.measure import measure, results_of
from studio.pipeline.project import Project, Workers
from studio.pipeline.render_job import RenderJob, frame_source
from studio.pipeline.results import Results, of_kind
from studio.pipeline.train import is_trained
from studio.render.web import page
from studio.scene.scene import Scene
from studio.storage.files import rewrite
from studio.training.runs import SurfacesRun

PICTURE_WIDTH = 960
"""Pixels of the picture that the film's own renderer draws."""
_KEYS = TypeAdapter(tuple[ViewKey, ...])


class Site(NamedTuple):
    """A scene as far as it is measured. version: names the file's text and all that is measured.

    text: the file's digest. job, source: None as long as nothing can be shown. note: what is missing, or wrong.
    """

    version: str
    text: str
    job: RenderJob | None
    source: FrameSource | None
    note: str


@dataclass
class Scout:
    """A scene's file and shelf, looked at again whenever a page asks, and a worker that draws.

    open_project: reads the scene. executor: of one worker.
    """

    open_project: Callable[[], Project]
    path: Path
    executor: Executor
    _lock: RLock = field(default_factory=RLock)
    _site: Site | None = None
    _page: tuple[str, str] = ("", "")

    def site(self) -> Site:
        """The scene as it is now; one that has mistakes is as it was before, with these as its note."""
        with self._lock:
            text = digest(self.path.read_bytes().hex()) if self.path.is_file() else ""
            try:
                project = self.open_project()
                whole = _results(project)
                done = tuple(each.so_far() for each in whole)
                version = digest(text, [sorted(each.digests.values()) for each in done], done == whole)
                if self._site is None or self._site.version != version:
                    self._site = _site(project, whole, done, version, text)
            except StudioError as error:
                before = self._site or Site("", text, None, None, "")
                return before._replace(text=text, note=str(error))
            return self._site

    def page(self) -> str:
        """The web page, with what the scout adds to it."""
        with self._lock:
            site = self.site()
            if site.job is None or site.source is None:
                return _waiting(site.note)
            if self._page[0] != site.version + site.note:
                scene, source = site.job.scene, site.source
                content, codes = page(source, 0, scene.title)
                scout = {
                    "version": site.version,
                    "file": {"name": self.path.name, "digest": site.text},
                    "eases": list(EASES),
                    "note": site.note,
                    "shots": [shot.shot for shot in source.cut.shots],
                }
                self._page = site.version + site.note, filled({**content, "scout": scout}, codes, "picture.png")
            return self._page[1]

    def poses(self, name: str, keys: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The camera of every frame of a shot with these keys, or without any of the scene's, and its moves' ends."""
        _, source, shot = self._shot(name, keys)
        film = replace(source.with_mesh(LANDMARK_MESH), cut=Cut((shot,), source.cut.fps))
        frames = [film.camera(number) for number in range(film.cut.length)]
        ends = accumulate((move.seconds(film.cut.fps) for move in shot.camera.moves), initial=0.0)
        poses = [
            {"coordinate": at, "position": p.position, "focal_point": p.focal_point, "view_angle": p.view_angle}
            for _, at, p in frames
        ]
        return {"fps": float(film.cut.fps), "poses": poses, "ends": list(ends)}

    def picture(self, name: str, keys: Sequence[Mapping[str, Any]], seconds: float) -> bytes:
        """A PNG of a shot, the first if without name, with these keys at a time, as the film's renderer draws it."""
        with self._lock:
            job, source, shot = self._shot(name, keys)
            number = min(max(0, int(seconds * source.cut.fps)), shot.duration.frames(source.cut.fps) - 1)
            width, height = source.size
            size = Size(PICTURE_WIDTH, 2 * round(PICTURE_WIDTH * height / width / 2))
            job = replace(job, scene=job.scene.model_copy(update={"shots": (shot,)}))
            tasks = [(render_job.preview, (job, number, size))]
            [(_, drawn)] = Workers(self.executor, 1, silent).run("draw", tasks, [1])
        buffer = io.BytesIO()
        Image.fromarray(drawn).save(buffer, "PNG")
        return buffer.getvalue()

    def write(self, name: str, keys: Sequence[Mapping[str, Any]], seen: str) -> dict[str, Any]:
        """Writes the keys into the shot of the scene's file; returns the change as a diff, and the new digests.

        seen: the digest of the file that the page shows. Raises SceneError if it is another one now, if its layout has
        no place for them, or if `check` would refuse it: then nothing is written.
        """
        with self._lock:
            target = self.path.resolve()  # a link stays a link
            content = target.read_bytes()
            if digest(content.hex()) != seen:
                way_out = "nothing is written; wait until this page shows the new one"
                raise SceneError(f"{self.path}: has changed since this page read it; {way_out}")
            text, views = content.decode("utf-8"), _views(keys)
            _, source, _ = self._shot(name, keys)
            index = [shot.shot for shot in source.cut.shots].index(name)
            new = set_values(text, ("shots", index), choreography(views), name=str(self.path))
            parse(new.removeprefix("\ufeff"), Scene, name=str(self.path), folder=self.path.parent, safe=False)
            rewrite(target, new.encode())
            version = self.site().version
        before, after = text.splitlines(keepends=True), new.splitlines(keepends=True)
        diff = "".join(difflib.unified_diff(before, after, "before", "now", n=1))
        return {"diff": diff, "digest": digest(new.encode().hex()), "version": version}

    def _shot(self, name: str, keys: Sequence[Mapping[str, Any]]) -> tuple[RenderJob, FrameSource, Shot]:
        """What can be shown, and a shot of it by itself with some keys. Raises SceneError for what makes no shot."""
        site = self._site or self.site()
        if site.job is None or site.source is None:
            raise SceneError(site.note)
        source, name = site.source, name or site.source.cut.shots[0].shot
        shot = next((shot for shot in source.cut.shots if shot.shot == name), None)
        if shot is None:
            raise SceneError(f"no shot '{name}'; one of {', '.join(shot.shot for shot in source.cut.shots)}")
        shot = shot.model_copy(update={"to_next": Transition()})
        try:
            if keys:
                shot = with_keys(shot, _views(keys))
                for place, text in shot.mistakes_at(source.cut.fps):
                    raise SceneError(f"{'.'.join(map(str, place))}: {text}")
        except ValidationError as error:
            raise SceneError(*(explain(problem, Shot) for problem in error.errors())) from error
        except ValueError as error:
            raise SceneError(str(error)) from error
        return site.job, source, shot


def _views(keys: Sequence[Mapping[str, Any]]) -> tuple[ViewKey, ...]:
    try:
        return _KEYS.validate_python(keys)
    except ValidationError as error:
        places = ((problem["loc"], explain(problem, ViewKey)) for problem in error.errors())
        raise SceneError(*(f"key {'.'.join(map(str, loc))}: {text}" for loc, text in places)) from error


# --- what is measured so far -----------------------------------------------------------------------------------------


def _results(project: Project) -> tuple[Results, ...]:
    """The results of each landscape, measured or not; empty as long as not all runs are trained."""
    files = [isinstance(part.scene.run, SurfacesRun) for part in project.parts]
    if not all(is_file or is_trained(part) for is_file, part in zip(files, project.parts, strict=True)):
        return ()
    return tuple((measure if is_file else results_of)(part) for is_file, part in zip(files, project.parts, strict=True))


def _site(project: Project, whole: Sequence[Results], done: tuple[Results, ...], version: str, text: str) -> Site:
    command = f"run: studio compute {project.path}{' --draft' * project.draft}"
    if not done or not all(of_kind("loss", each.digests) for each in done):
        what = "no keyframe is measured yet" if done else "its network is not trained yet"
        return Site(version, text, None, None, f"{project.path}: {what}; {command}")
    scene, note = project.scene, ""
    if done != tuple(whole):
        count, total = (sum(len(of_kind("loss", each.digests)) for each in some) for some in (done, whole))
        note, scene = f"{count} of {total} keyframes are measured; {command}", _showable(scene, done)
    source = frame_source(scene, done, project.draft)
    return Site(version, text, RenderJob(scene, done, project.draft, "none"), source, note)


def _showable(scene: Scene, results: Sequence[Results]) -> Scene:
    """A scene with colours of what is measured already, and cameras that need no trajectory."""
    known = {name for each in results for name in ({"loss"} | set(each.surfaces().fields))}
    look = scene.look
    if not known.issuperset(measured_fields(look.colour.field)):
        look = look.model_copy(update={"colour": ColourMapping(field="loss", map="viridis")})
    shots = tuple(
        shot.model_copy(
            update={"colour": None, "inset": None, **({"camera": Camera()} if shot.camera.needs_trajectory else {})}
        )
        for shot in scene.shots
    )
    return scene.model_copy(update={"look": look.model_copy(update={"trajectory": None}), "shots": shots})


def _waiting(note: str) -> str:
    """The page of a scene of which nothing can be shown yet; it looks again by itself."""
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Scout</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ background: #03040a; color: #e8e6f0; font: 16px/1.5 Inter, system-ui, sans-serif; margin: 15vh auto;
max-width: 40em; padding: 0 1em; white-space: pre-line }}</style>
<p role="status">{html.escape(note)}</p><p>This page goes on by itself.</p>
<script>setTimeout(() => location.reload(), 3000)</script></html>"""
