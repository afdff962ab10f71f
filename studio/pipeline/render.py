"""The render stage: frames are drawn once, as linear light, and every deliverable is made from these.

A frame that is on the shelf is not drawn again for another grade, title or codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path

from studio.config.records import digest
from studio.deliver.movie import Movie
from studio.deliver.web import Web
from studio.errors import MachineError, SceneError
from studio.pipeline import render_job
from studio.pipeline.project import Project, Workers
from studio.pipeline.render_job import RenderJob, Segment, Span, provenance
from studio.render.web import page
from studio.storage.linear_frames import LinearFrame
from studio.storage.shelf import is_sealed, verify_segment

VERIFIED = 5
"""Frames that are drawn again to verify a film."""

Segments = Sequence[Sequence[Segment]]
"""The segments of every deliverable of a scene."""


def make_files(project: Project, job: RenderJob, span: Span, out: Path, part: str = "", *, keep: bool) -> list[Path]:
    """Makes the deliverables of a span of frames in the folder `out`; returns their paths.

    part: suffix of the files' names; empty for the whole film, which may have to loop. keep: the manifest keeps the
    frames and segments that it lists already; otherwise these replace them.
    """
    segments, manifest, stem = job.segments(span), project.manifest, project.name + part
    used = digests_used(segments)
    if keep:
        listed = manifest.read()
        used = {name: sorted({*digests, *listed.get(name, ())}) for name, digests in used.items()}
    manifest.update(renderer=job.renderer, **used)
    for path in filter(is_sealed, (segment.path for segment in chain.from_iterable(segments))):
        verify_segment(path)
    _render_missing(project, job, segments, out, stem, whole=not part)
    contents = {}
    for deliverable, parts in zip(job.scene.deliver, segments, strict=True):
        if not parts:
            continue
        if part and isinstance(deliverable, Movie):
            deliverable = deliverable.model_copy(update={"loop": False})  # a part need not lead into itself
        path = out / deliverable.file_name(stem)
        paths, count = [segment.path for segment in parts], sum(len(segment.frames) for segment in parts)
        facts, fps = provenance(job), job.source.cut.fps
        content = {"page": page(job.source, parts[0].start, job.scene.title)} if isinstance(deliverable, Web) else {}
        deliverable.join(paths, path, frames=count, size=job.size, fps=fps, provenance=facts, **content)
        contents[path] = content_digest(parts)
    made = {manifest.relative(path): content for path, content in contents.items()}
    manifest.update(made=manifest.read().get("made", {}) | made)
    return list(contents)


def digests_used(segments: Segments) -> dict[str, list[str]]:
    """Digests of the frames and segments that the shelf keeps for some deliverables, for the manifest."""
    flat = list(chain.from_iterable(segments))
    frames = {frame for segment in flat for frame in segment.frames}
    return {"frames": sorted(frames), "segments": sorted({segment.digest for segment in flat})}


def content_digest(segments: Sequence[Segment]) -> str:
    """Digest of a deliverable's contents: of its segments in order."""
    return digest([segment.digest for segment in segments])


def undrawn_frames(job: RenderJob, segments: Segments) -> list[int]:
    """Frames that would have to be drawn: neither they nor a segment that shows them are on the shelf."""
    return [number for number, frame in _frames(job, _missing(segments)).items() if not frame.complete]


def verify_frames(project: Project, job: RenderJob, span: Span) -> list[int]:
    """Numbers of some frames that came out the same again. Raises MachineError if not, SceneError if none is stored."""
    stored = _frames(job, chain.from_iterable(job.segments(span)))
    complete = [number for number, frame in stored.items() if frame.complete]
    if not complete:
        raise SceneError("no drawn frames are on the shelf, so there is nothing to verify; make the film first")
    sample = sorted({complete[round(i * (len(complete) - 1) / (VERIFIED - 1))] for i in range(VERIFIED)})
    tasks = [(render_job.count_differences, (job, number, stored[number])) for number in sample]
    with project.open_workers(1) as workers:
        results = workers.run("verify", tasks, [1] * len(tasks))
        differences = {sample[index]: count for index, count in results if count}
    if differences:
        text = ", ".join(f"frame {number} in {count} numbers" for number, count in differences.items())
        reason = "this machine's GL has changed, or its memory fails"
        way_out = "remove the frames with `studio clean --frames` and make the film again"
        raise MachineError(f"drawn again, {text} came out differently; {reason}: {way_out}")
    return sample


# --- rendering what is missing ---------------------------------------------------------------------------------------


def _render_missing(project: Project, job: RenderJob, segments: Segments, out: Path, stem: str, *, whole: bool) -> None:
    if not _missing(segments):
        return
    lock = project.shelf.lock(f"film-{digest(digests_used(segments))}", project.progress)
    with lock, project.open_workers() as workers:
        if whole:
            _check_loops(workers, job, segments, out, stem)
        _render(workers, job, _missing(segments))  # another process may have rendered some meanwhile


def _missing(segments: Segments) -> list[Segment]:
    """The segments that are not whole, each once: two deliverables may share them."""
    return list({s.digest: s for s in chain.from_iterable(segments) if not is_sealed(s.path)}.values())


def _frames(job: RenderJob, segments: Iterable[Segment]) -> dict[int, LinearFrame]:
    """The frames that some segments show, by their numbers."""
    digests = {number: frame for segment in segments for number, frame in enumerate(segment.frames, segment.start)}
    return {number: job.stored_frame(digests[number]) for number in sorted(digests)}


def _check_loops(workers: Workers, job: RenderJob, segments: Segments, out: Path, stem: str) -> None:
    """Renders both ends of movies that must loop first, so that one that does not is refused before the rest."""
    loops = [
        (movie, (parts[0], parts[-1]))
        for movie, parts in zip(job.scene.deliver, segments, strict=True)
        if isinstance(movie, Movie) and movie.loop and parts
    ]
    digests = {segment.digest for _, ends in loops for segment in ends}
    _render(workers, job, [segment for segment in _missing(segments) if segment.digest in digests])
    for movie, ends in loops:
        movie.check_loop([segment.path for segment in ends], out / movie.file_name(stem))


def _render(workers: Workers, job: RenderJob, missing: list[Segment]) -> None:
    if job.is_tiled:
        frames = _frames(job, missing).items()
        drawn = [(job, number, frame, tile) for number, frame in frames for tile in frame.missing()]
        list(workers.run("draw tiles", [(render_job.draw_tile, inputs) for inputs in drawn], [1] * len(drawn)))
    name, span = "draw" if undrawn_frames(job, [missing]) else "encode", attrgetter("start", "stop")
    groups = [tuple(group) for _, group in groupby(sorted(missing, key=span), key=span)]
    tasks = [(render_job.render_segments, (job, group)) for group in groups]
    list(workers.run(name, tasks, [len(group[0].frames) for group in groups]))
