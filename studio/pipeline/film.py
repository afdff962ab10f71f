"""The film stage: a project and its results become movies, stills, other deliverables, and sheets of small pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

from studio.config.reading import from_options
from studio.config.units import Size, Time
from studio.deliver.deliverable import Deliverable
from studio.deliver.encoder import require_encoders
from studio.deliver.movie import Movie
from studio.deliver.still import Still
from studio.deliver.web import Web
from studio.errors import SceneError, StudioError
from studio.execution import local
from studio.field import Grid
from studio.film.cues import film_time
from studio.film.format import Quality
from studio.film.frame_source import FrameSource
from studio.film.look import LARGEST_MESH, gallery
from studio.film.timeline import Cut, Shot, ShotShare
from studio.pipeline import render_job
from studio.pipeline.measure import measure, results_of
from studio.pipeline.numbers import measure_numbers, stored_numbers, with_claim
from studio.pipeline.project import Project, Workers, repairs
from studio.pipeline.render import make_files, undrawn_frames, verify_frames
from studio.pipeline.render_job import RenderJob, Span, frame_source, provenance
from studio.pipeline.train import is_trained
from studio.render.gl import gl_renderer
from studio.scene.scene import Portrait, Scene
from studio.storage.files import check_writable
from studio.training import checkpoints

STRIP_PICTURES = 12
"""Of one shot on a strip."""
WATCH_SECONDS = 0.2
"""Between two looks at a watched file."""
_MAKE_FIRST = "so make the film first: studio film"


@repairs
def make_film(project: Project, out: Path, frames: Span | None = None, shot: str | None = None) -> list[Path]:
    """Makes every deliverable of the scene in the folder `out`; returns their paths.

    frames: only from the first to before the second, without the deliverables that have handles. shot: only the one of
    that name. Raises SceneError if there are no such frames or shot.
    """
    span, part = _span(project, frames, shot)
    check_writable(out)  # before hours are spent
    job = _job(project)
    if frames is not None:
        return make_files(project, job, span, out, part, keep=True)
    return [
        path
        for own, span, part in job.parts(shot)
        for path in make_files(project, own, span, out, part, keep=bool(part))
    ]


@repairs
def deliver(project: Project, out: Path, deliverables: Sequence[Deliverable]) -> list[Path]:
    """Makes other deliverables from stored frames, without GL. Raises SceneError if frames would have to be drawn."""
    if any(deliverable.picture_spec.aovs for deliverable in deliverables):
        raise SceneError(f"{project.path}: AOVs are drawn anew, not stored; make them with studio film")
    check_writable(out)
    project = project.with_scene(deliver=tuple(deliverables))
    parts = list(_stored_job(project).parts())
    if undrawn := sum(len(undrawn_frames(job, job.segments(span))) for job, span, _ in parts):
        raise SceneError(f"{project.path}: {undrawn} of the film's frames are not drawn yet, {_MAKE_FIRST}")
    return [path for job, span, part in parts for path in make_files(project, job, span, out, part, keep=True)]


@repairs
def verify(project: Project) -> list[int]:
    """Numbers of some frames that were drawn again, in a new process, and came out equal to the bit."""
    return verify_frames(project, _stored_job(project), _whole(project))


@repairs
def verify_shelf(project: Project) -> None:
    """Reads all that the shelf holds; what is not what was written is named, and removed, to be made again."""
    project.shelf.verify()
    for folder in project.run_folders:
        checkpoints.verify(folder)


@repairs
def make_still(
    project: Project,
    out: Path,
    still: Still,
    size: Size | None = None,
    *,
    bleed: int = 0,
    quality: Quality | None = None,
    points: int | None = None,
) -> Path:
    """One picture of the film in the folder `out`. size, in pixels, and quality: the film's if None.

    bleed: pixels of more picture on every side. points: along each side of a grid of its own, on which the nearest
    keyframe is measured and shown, on the film's ranges. Raises SceneError if they make no grid.
    """
    still, film = still.model_copy(update={"at": _known(project, still.at)}), project.scene.film
    own_film = film.model_copy(update={"size": size or film.size, "quality": quality or film.quality})
    changes: dict[str, Any] = {"film": own_film, "deliver": (still,)}
    portrait = None
    if points:
        from_options(Grid, points=points)
        mesh = max(project.scene.look.mesh, min(2 * points + 1, LARGEST_MESH))
        changes["look"] = project.scene.look.model_copy(update={"mesh": mesh})
        shares = resolved_cut(project).at(still.at.frames(film.fps))
        leading = max(shares, key=lambda share: share.weight)
        name = (leading.shot.show or project.scene.names)[0]
        portrait = Portrait(nearest_keyframe(project.scene, name, leading), points)
    project = replace(project.with_scene(**changes), portrait=portrait)
    check_writable(out)
    suffixes = size, points and f"{points}-points", bleed and f"bleed-{bleed}"
    part = "".join(f"-{suffix}" for suffix in suffixes if suffix)
    [path] = make_files(project, _job(project, bleed), _whole(project), out, part, keep=True)
    return path


@repairs
def make_page(project: Project, out: Path, at: Time | None = None) -> Path:
    """The web page of the film in the folder `out`, which opens with the view at a time, the film's end if None.

    Raises SceneError if what it shows of a network is not measured.
    """
    if project.scene.networks and measured_film(project) is None:
        raise SceneError(f"{project.path}: not all that the page shows is measured; run: studio compute {project.path}")
    at = _known(project, at or Time.parse(f"{project.scene.cut.length - 1}f"))
    frame_at(project, at)
    project = project.with_scene(deliver=(Web(at=at),))
    check_writable(out)
    [path] = make_files(project, _job(project), _whole(project), out, keep=True)
    return path


def look_sheet(project: Project, out: Path, at: Time, folder: Path | None = None) -> Path:
    """The picture at a time in every look, and in those of a folder, as a PNG. Raises SceneError after the end."""
    return draw_sheet(
        project, out, "looks", render_job.look_sheet, frame_at(project, at), tuple(gallery(folder).items())
    )


def _known(project: Project, at: Time) -> Time:
    """A film time, which may be a cue of the scene. Raises SceneError if it is none, or is computed."""
    time, mistake = film_time(at, project.scene.cues)
    if mistake:
        raise SceneError(f"{project.path}: {mistake}")
    return time


def frame_at(project: Project, at: Time) -> int:
    """The number of the frame at a film time. Raises SceneError after the end."""
    number = _known(project, at).frames(project.scene.film.fps)
    if number >= project.scene.cut.length:
        raise SceneError(f"{project.path}: {at} is after the end of the film")
    return number


def resolved_cut(project: Project) -> Cut:
    """The film's shots in time. Measures the film if some of its cues are of what it shows."""
    scene = project.scene
    return film_source(project).cut if any(cue.time is None for cue in scene.cues.values()) else scene.cut


def nearest_keyframe(scene: Scene, name: str, share: ShotShare) -> float:
    """The coordinate of a landscape's keyframe nearest to what a shot shows at a time."""
    coordinate = share.shot.coordinate(share.seconds, scene.film.fps)
    return min((k.coordinate for k in scene.only(name).keyframes()), key=lambda other: abs(other - coordinate))


def storyboard(project: Project, out: Path, strip: str | None = None, curves: str | None = None) -> Path:
    """The first, the middle and the last frame of every shot, small, on one sheet, as a PNG in the folder `out`.

    strip: many frames of one shot instead. curves: of one shot's camera instead. Raises SceneError if there is none of
    that name.
    """
    if curves is not None:
        _span(project, None, curves)
        return draw_sheet(project, out, f"curves-{curves}", render_job.curves, curves)
    if strip is None:
        return draw_sheet(project, out, "storyboard", render_job.storyboard)
    _span(project, None, strip)
    return draw_sheet(project, out, f"strip-{strip}", render_job.storyboard, strip, STRIP_PICTURES)


def watch(open_project: Callable[[], Project], out: Path, path: Path) -> Iterator[str]:
    """After every change of a scene's file, its mistakes, or the picture of the shot that changed; for ever.

    The picture has the shot's first, middle and last frame. One worker stays open, so that it is drawn at once.
    """
    seen, before, shown = None, tuple[Shot, ...](), ""
    with local.LocalExecutor(1) as executor:
        while True:
            status = path.stat() if path.is_file() else None
            now = status and (status.st_mtime_ns, status.st_size)
            if now == seen:
                sleep(WATCH_SECONDS)
                continue
            seen, start = now, perf_counter()
            try:
                project = open_project()
                shots = project.scene.shots
                changed = [shot.shot for shot in shots if shot not in before]
                if changed or shown not in {shot.shot for shot in shots}:
                    shown = changed[0] if changed else shots[0].shot
                before, workers = shots, Workers(executor, 2, project.progress)
                picture = draw_sheet(project, out, "watch", render_job.storyboard, shown, workers=workers)
                yield f"{picture}: shot {shown}, {perf_counter() - start:.1f} s"
            except StudioError as error:
                yield str(error)


@repairs
def film_source(project: Project) -> FrameSource:
    """The film as a function of the frame's number; measures what it needs."""
    results = tuple(map(measure, project.parts))
    return frame_source(
        with_claim(project.scene, measure_numbers(project, project.scene.claimed)), results, project.draft
    )


@repairs
def measured_film(project: Project) -> FrameSource | None:
    """The film if all that it shows is measured, without its claim; nothing is computed for it."""
    if not all(map(is_trained, project.parts)):
        return None
    results = tuple(map(results_of, project.parts))
    return frame_source(project.scene, results, project.draft) if all(one.complete for one in results) else None


@repairs
def draw_sheet(
    project: Project,
    out: Path,
    name: str,
    function: Callable[..., Any],
    *arguments: Any,
    workers: Workers | None = None,
) -> Path:
    """A sheet of small pictures that one worker draws, as a PNG in the folder `out`. function: of `render_job`."""
    check_writable(out)
    job, fps = _job(project), project.scene.film.fps
    with nullcontext(workers) if workers else project.open_workers(1) as opened:
        [(_, picture)] = opened.run(f"draw the {name}", [(function, (job, *arguments))], [1])
    height, width, _ = picture.shape
    path, png, size = out / f"{project.name}-{name}.png", Still(at=Time(0)), Size(width, height)
    with TemporaryDirectory() as folder:
        segment = Path(folder) / "sheet.png"
        png.write_segment([picture], segment, size, fps)
        png.join([segment], path, frames=1, size=size, fps=fps, provenance=provenance(job))
    return path


# --- jobs ------------------------------------------------------------------------------------------------------------


def _job(project: Project, bleed: int = 0) -> RenderJob:
    """The job of a project; measures what is missing. Requires GL and encoders first, before hours are spent."""
    _require_encoders(project.scene)
    renderer, results = gl_renderer(), tuple(map(measure, project.parts))
    scene = with_claim(project.scene, measure_numbers(project, project.scene.claimed))
    return RenderJob(scene, results, project.draft, renderer, bleed)


def _stored_job(project: Project) -> RenderJob:
    """The job of the film as it was last drawn. Raises SceneError if it cannot have been."""
    renderer = project.manifest.read().get("renderer")
    if renderer and all(map(is_trained, project.parts)):
        results = tuple(map(results_of, project.parts))
        numbers = stored_numbers(project, project.scene.claimed)
        if numbers is not None and all(landscape.complete for landscape in results):
            _require_encoders(project.scene)
            return RenderJob(with_claim(project.scene, numbers), results, project.draft, renderer)
    raise SceneError(f"{project.path}: nothing is drawn that it could be made from, {_MAKE_FIRST}")


def _require_encoders(scene: Scene) -> None:
    """Raises MachineError if this machine's ffmpeg lacks an encoder that the scene's movies need."""
    if movies := [deliverable for deliverable in scene.deliver if isinstance(deliverable, Movie)]:
        require_encoders(frozenset().union(*(movie.encoders for movie in movies)))


def _whole(project: Project) -> Span:
    return 0, project.scene.cut.length


def _span(project: Project, frames: Span | None, shot: str | None) -> tuple[Span, str]:
    """((first frame, one past the last), suffix of the files' names); an empty suffix for the whole film."""
    scene = project.scene
    if shot is not None:
        try:
            return scene.cut.span(shot), f"-{shot}"
        except KeyError:
            names = ", ".join(other.shot for other in scene.shots)
            raise SceneError(f"{project.path}: no shot '{shot}'; one of {names}") from None
    whole = _whole(project)
    if frames is None:
        return whole, ""
    first, last = frames
    if not 0 <= first < last <= whole[1]:
        raise SceneError(f"{project.path}: frames {first}:{last} are not in the film, which has 0:{whole[1]}")
    return frames, f"-frames-{first}-{last}"
