import numpy as np
import pytest

from studio.errors import MachineError
from studio.pipeline.film import film_source, make_film, verify
from studio.pipeline.measure import results_of
from studio.pipeline.project import Project
from studio.pipeline.render import VERIFIED
from studio.pipeline.render_job import RenderJob
from studio.render.gl import gl_renderer
from studio.render.stage import Stage

pytestmark = pytest.mark.usefixtures("in_process")


GRADES = [
    ("look: {base: ember,", "look: {base: ember, grade: {contrast: 1.3, bloom: 0, vignette: 0, grain: 0},"),
    ("look: {base: ember,", 'look: {base: ember, background: {top: "#ffffff", bottom: "#808080"},'),
    ("titles: {title: Tiny}", "titles: {title: Other, legend: false}"),
    ("  - {kind: sequence}", "  - {kind: sequence, format: png16}\n  - {kind: movie, preset: hevc-10}"),
]


@pytest.mark.parametrize("change", GRADES, ids=["grade", "background", "titles", "deliverables"])
def test_another_grade_background_title_or_codec_is_made_without_drawing(copy, change, undrawable, edited):
    before = copy.scene.read_text()
    paths = make_film(edited(copy, change), copy.out)
    assert all(path.exists() for path in paths) and copy.scene.read_text() != before


def test_another_grade_is_another_picture(copy, pictures, undrawable, edited):
    before = pictures(copy.out / "tiny-frames")
    _, frames = make_film(
        edited(copy, ("look: {base: ember,", "look: {base: ember, grade: {contrast: 1.3},")), copy.out
    )
    assert not np.array_equal(pictures(frames), before)


def test_another_exposure_is_drawn(copy, undrawable, edited):
    with pytest.raises(AssertionError, match="drawn"):
        make_film(edited(copy, ("look: {base: ember,", "look: {base: ember, grade: {exposure: 2},")), copy.out)


def test_a_picture_from_a_stored_frame_is_the_one_that_was_drawn(copy, pictures, undrawable):
    before = pictures(copy.out / "tiny-frames")
    for segment in (copy.shelf.root / "segments").glob("*.frames"):
        for picture in segment.iterdir():
            picture.unlink()
        segment.rmdir()
    _, frames = make_film(Project.open(copy.scene), copy.out)
    assert np.array_equal(pictures(frames), before)


def test_frames_drawn_again_are_the_stored_ones(copy):
    assert verify(Project.open(copy.scene)) == [0, 6, 12, 17, 23] and VERIFIED == 5


def test_a_stored_frame_is_the_one_that_the_source_and_a_stage_draw(copy):
    project = Project.open(copy.scene)
    job, source = RenderJob(project.scene, (results_of(project),), project.draft, gl_renderer()), film_source(project)
    with Stage(job.size, source.look.mesh, project.scene.film.quality.samples) as stage:
        for number in (0, 7, 14, 23):  # the first, the last, and two between
            assert np.array_equal(job.linear_frame(number)[:], stage.linear_frame(source.frame(number)))


def test_verify_finds_one_wrong_bit(copy):
    project = Project.open(copy.scene)
    stored = RenderJob(project.scene, (results_of(project),), project.draft, gl_renderer()).linear_frame(12)
    codes = stored[:]
    codes[5, 5, 0] ^= 1
    [tile] = stored.tiles
    stored.write(tile, codes)
    with pytest.raises(MachineError, match="frame 12 in 1 numbers"):
        verify(project)
