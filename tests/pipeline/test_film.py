from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest

from studio.config.units import Size, Time
from studio.deliver.deliverable import from_name
from studio.deliver.media import probe
from studio.deliver.still import Still
from studio.errors import SceneError
from studio.pipeline import render_job
from studio.pipeline.film import deliver, film_source, make_film, make_still, verify
from studio.pipeline.measure import measure, results_of
from studio.pipeline.project import Project
from studio.pipeline.render_job import RenderJob
from studio.render.gl import gl_renderer
from studio.scene.scene import Portrait
from studio.storage import linear_frames

pytestmark = pytest.mark.usefixtures("in_process")


def test_other_files_are_delivered_from_stored_frames(copy, undrawable):
    project = Project.open(copy.scene)
    paths = deliver(project, copy.out, [from_name("prores-4444"), from_name("exr")])
    assert [path.name for path in paths] == ["tiny-prores-4444.mov", "tiny-exr"]
    assert probe(paths[0]).alpha and probe(paths[0]).frames == 24 and len(list(paths[1].iterdir())) == 24
    assert copy.shelf.unused() == []  # and the segments of the film are still needed


def test_nothing_is_delivered_of_a_film_that_is_not_drawn(measured, undrawable):
    with pytest.raises(SceneError, match="make the film first"):
        deliver(Project.open(measured.scene), measured.out, [from_name("ffv1")])


def test_nothing_is_delivered_of_a_film_whose_camera_has_changed(copy, undrawable, edited):
    project = edited(copy, ("orbit: 40deg", "orbit: 50deg"))
    with pytest.raises(SceneError, match="11 of the film's frames are not drawn"):
        deliver(project, copy.out, [from_name("ffv1")])


def test_several_deliverables_come_from_the_same_frames_and_each_has_its_format(copy, edited):
    more = "  - {kind: movie, preset: prores-422hq}\n  - {kind: sequence, format: tiff16}\n"
    project = edited(copy, ("  - {kind: sequence}\n", more))
    paths = make_film(project, copy.out)
    assert [path.name for path in paths] == ["tiny.mp4", "tiny-prores-422hq.mov", paths[2].name]
    media = probe(paths[1])
    assert (media.codec, media.pixel_format, media.frames) == ("prores", "yuv422p10le", 24)
    assert len(list(paths[2].glob("*.tif"))) == 24


def test_a_film_that_does_not_loop_is_refused_once_its_ends_are_drawn(copy, monkeypatch, edited):
    monkeypatch.setattr(render_job, "SEGMENT_SECONDS", 0.25)
    project = edited(copy, ("preset: h264-web}", "preset: h264-web, loop: true}"))
    with pytest.raises(SceneError, match="does not loop"):
        make_film(project, copy.out)
    job = RenderJob(project.scene, (results_of(project),), project.draft, gl_renderer())
    exist = [segment.path.exists() for segment in job.segments((0, 24))[0]]
    assert exist == [True, *[False] * (len(exist) - 2), True] and len(exist) > 2


def test_a_part_of_a_film_that_loops_need_not_loop(copy, edited):
    project = edited(copy, ("preset: h264-web}", "preset: h264-web, loop: true}"))
    [movie, _] = make_film(project, copy.out, frames=(0, 5))
    assert probe(movie).frames == 5
    with pytest.raises(SceneError, match="loop"):
        make_film(project, copy.out)


def test_a_still_with_points_of_its_own_shows_the_nearest_keyframe_on_the_films_ranges(copy, tmp_path):
    project = Project.open(copy.scene)
    film = film_source(project)
    path = make_still(project, tmp_path, Still(at=Time(2.0)), points=21)
    assert path.name == "tiny-21-points-at-2s.png" and iio.imread(path).shape == (36, 64, 3)
    portrait = replace(project, portrait=Portrait(2.0, 21))
    source = render_job.frame_source(portrait.scene, (measure(portrait),), False)
    assert source.ranges == film.ranges and source.surfaces[""].fields["loss"].grid.points == 21
    assert source.surfaces[""].at(0.3).coordinate == 2.0 and "21\u00d721 points at epoch 2" in source.notes[""]["loss"]
    assert source.surfaces[""].at(2.0).layers["loss"][0].values[10, 10] == pytest.approx(
        film.surfaces[""].at(2.0).layers["loss"][0].values[4, 4]
    )
    assert copy.shelf.unused() == []
    with pytest.raises(SceneError, match="2 points: expected at least 3"):
        make_still(project, tmp_path, Still(at=Time(2.0)), points=2)


def test_a_picture_drawn_in_tiles_is_the_one_drawn_at_once(copy, monkeypatch):
    project, still, size = Project.open(copy.scene), Still(at=Time(1), format="png16"), Size(320, 180)
    direct = iio.imread(make_still(project, copy.out / "direct", still, size)).astype(int)
    monkeypatch.setattr(render_job, "LARGEST_DIRECT", 128)
    for module in (render_job, linear_frames):
        monkeypatch.setattr(module, "TILE", 128)
    for kind in ("frames", "segments"):
        copy.shelf.remove((copy.shelf.root / kind).iterdir())
    tiled = iio.imread(make_still(project, copy.out / "tiled", still, size)).astype(int)
    assert (np.abs(tiled - direct) > 257).mean() <= 1e-5  # more than one code of eight bits


def test_a_film_that_is_not_drawn_cannot_be_verified(measured):
    with pytest.raises(SceneError, match="make the film first"):
        verify(Project.open(measured.scene))


def test_handles_make_a_file_of_every_shot_with_more_frames_and_the_films_own_numbers(copy, edited, pictures, states):
    project = edited(copy, ("  - {kind: sequence}\n", "  - {kind: sequence, start_frame: 100, handles: 2f}\n"))
    movie, *shots = make_film(project, copy.out)
    assert movie.name == "tiny.mp4" and [path.name for path in shots] == [
        f"tiny-{shot.shot}-handles-frames" for shot in project.scene.shots
    ]
    whole = [project.scene.cut.span(shot.shot) for shot in project.scene.shots]
    for path, (first, last) in zip(shots, whole, strict=True):
        numbers = [f"frame-{n:06d}.png" for n in range(100 + first - 2, 100 + last + 2)]
        assert [picture.name for picture in sorted(path.iterdir())] == numbers
    assert states(project)[-len(shots) - 1 :] == ["done"] * (len(shots) + 1)
    assert deliver(project, copy.out, project.scene.deliver) == [movie, *shots]


def test_handles_before_frame_0_are_said_with_the_number_to_start_from(copy, edited):
    with pytest.raises(SceneError, match="number the film from `start_frame: 2` on"):
        edited(copy, ("  - {kind: sequence}\n", "  - {kind: sequence, handles: 2f}\n"))
