import numpy as np
import pytest

from studio.execution.local import LocalExecutor
from studio.execution.tasks import run_tasks
from studio.pipeline.film import make_film
from studio.pipeline.measure import results_of
from studio.pipeline.project import Project
from studio.pipeline.render_job import RenderJob, render_segments
from studio.render.gl import gl_renderer

pytestmark = pytest.mark.usefixtures("in_process")


def segment_digests(project: Project, deliverable: int = 0) -> list[str]:
    job = RenderJob(project.scene, (results_of(project),), project.draft, gl_renderer())
    return [segment.digest for segment in job.segments((0, project.scene.cut.length))[deliverable]]


def test_a_change_of_the_last_shot_keeps_the_segments_before_it(measured, edited):
    before = segment_digests(Project.open(measured.scene))
    after = segment_digests(
        edited(
            measured,
            ("{hold: 1s}", "{orbit: 10deg, over: 1s}"),
            ("- shot: closing", "- shot: closing\n    colour: {field: accuracy, map: viridis}"),
        )
    )
    assert len(before) == len(after) == 2 and before[0] == after[0] and before[1] != after[1]


def test_a_change_of_the_first_shot_or_of_the_look_changes_every_segment_that_shows_it(measured, edited):
    before = segment_digests(Project.open(measured.scene))
    first = segment_digests(edited(measured, ("orbit: 40deg", "orbit: 50deg")))
    assert before[0] != first[0] and before[1] == first[1]
    assert not set(first) & set(segment_digests(edited(measured, ("base: ember", "base: ember, grade: {exposure: 1}"))))


def test_segments_of_sequences_and_of_movies_have_different_digests(measured):
    project = Project.open(measured.scene)
    assert not set(segment_digests(project, 0)) & set(segment_digests(project, 1))


def test_no_movie_begins_or_ends_with_a_segment_of_one_frame_or_two(measured):
    project = Project.open(measured.scene)
    job = RenderJob(project.scene, (results_of(project),), project.draft, gl_renderer())
    for span in ((15, 24), (14, 24), (1, 17), (1, 18), (0, 24)):
        segments = job.segments(span)[0]
        assert (segments[0].start, segments[-1].stop) == span
        assert all(segment.stop - segment.start > 2 for segment in segments)


def test_a_new_colormap_is_drawn_without_measuring_and_without_torch(copy, pictures, edited):
    before = {
        path: path.stat().st_mtime_ns for room in ("runs", "slices") for path in (copy.shelf.root / room).rglob("*")
    }
    old = pictures(copy.out / "tiny-frames")
    project = edited(copy, ("map: lajolla", "map: viridis"))
    loaded = []
    with LocalExecutor(1) as workers:  # one worker draws both segments, and is then asked what it has loaded
        job = RenderJob(project.scene, (results_of(project),), project.draft, gl_renderer())
        segments = [segment for parts in job.segments((0, 24)) for segment in parts]
        list(run_tasks(workers, [(render_segments, (job, (segment,))) for segment in segments], 1))
        loaded += [names for _, names in run_tasks(workers, [(eval, ("sorted(__import__('sys').modules)",))], 1)]
    assert "torch" not in loaded[0] and "pyvista" in loaded[0]
    drawn = {path: path.stat().st_mtime_ns for path in (copy.shelf.root / "segments").rglob("*")}
    _movie, frames = make_film(project, copy.out)
    assert drawn == {path: path.stat().st_mtime_ns for path in (copy.shelf.root / "segments").rglob("*")}
    new = pictures(frames)
    assert not np.array_equal(new[8:16], old[8:16]) and np.array_equal(new[16:], old[16:])
    assert before == {
        path: path.stat().st_mtime_ns for room in ("runs", "slices") for path in (copy.shelf.root / room).rglob("*")
    }
