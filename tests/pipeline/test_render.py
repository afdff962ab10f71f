import numpy as np
import pytest

from studio.config.units import Size, Time
from studio.deliver.deliverable import from_name
from studio.deliver.media import probe
from studio.deliver.still import Still
from studio.errors import MachineError, SceneError
from studio.pipeline import render_job
from studio.pipeline.film import deliver, film_source, make_film, make_still, verify
from studio.pipeline.measure import results_of
from studio.pipeline.project import Project
from studio.pipeline.render import VERIFIED
from studio.pipeline.render_job import RenderJob
from studio.render.gl import gl_renderer
from studio.render.stage import Stage
from studio.storage import linear_frames

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def undrawable(monkeypatch):
    """From here on, whatever draws fails."""

    def refused(*_):
        raise AssertionError("a frame was drawn")

    monkeypatch.setattr(render_job, "_draw", refused)
    monkeypatch.setattr(render_job, "_draw_tile", refused)


def edited(made, old: str, new: str) -> Project:
    text = made.scene.read_text()
    assert old in text
    made.scene.write_text(text.replace(old, new))
    return Project.open(made.scene)


# --- what draws nothing ----------------------------------------------------------------------------------------------

GRADES = [
    ("look: {base: ember,", "look: {base: ember, grade: {contrast: 1.3, bloom: 0, vignette: 0, grain: 0},"),
    ("look: {base: ember,", 'look: {base: ember, background: {top: "#ffffff", bottom: "#808080"},'),
    ("titles: {title: Tiny}", "titles: {title: Other, legend: false}"),
    ("  - {kind: sequence}", "  - {kind: sequence, format: png16}\n  - {kind: movie, preset: hevc-10}"),
]


@pytest.mark.parametrize("change", GRADES, ids=["grade", "background", "type", "deliverables"])
def test_another_grade_background_title_or_codec_is_made_without_drawing(copy, change, undrawable):
    before = copy.scene.read_text()
    made = make_film(edited(copy, *change), copy.out)
    assert all(path.exists() for path in made) and copy.scene.read_text() != before


def test_another_grade_is_another_picture(copy, pictures, undrawable):
    before = pictures(copy.out / "tiny-frames")
    _, frames = make_film(edited(copy, "look: {base: ember,", "look: {base: ember, grade: {contrast: 1.3},"), copy.out)
    assert not np.array_equal(pictures(frames), before)


def test_another_exposure_is_drawn(copy, undrawable):
    with pytest.raises(AssertionError, match="drawn"):
        make_film(edited(copy, "look: {base: ember,", "look: {base: ember, grade: {exposure: 2},"), copy.out)


def test_a_picture_from_a_stored_frame_is_the_one_that_was_drawn(copy, pictures, undrawable):
    before = pictures(copy.out / "tiny-frames")
    for segment in (copy.shelf.root / "segments").glob("*.frames"):
        for picture in segment.iterdir():
            picture.unlink()
        segment.rmdir()
    _, frames = make_film(Project.open(copy.scene), copy.out)
    assert np.array_equal(pictures(frames), before)


# --- other deliverables ----------------------------------------------------------------------------------------------


def test_other_files_are_delivered_from_stored_frames(copy, undrawable):
    project = Project.open(copy.scene)
    made = deliver(project, copy.out, [from_name("prores-4444"), from_name("exr")])
    assert [path.name for path in made] == ["tiny-prores-4444.mov", "tiny-exr"]
    assert probe(made[0]).alpha and probe(made[0]).frames == 24 and len(list(made[1].iterdir())) == 24
    assert copy.shelf.unused() == []  # and what the film was made of stays needed


def test_nothing_is_delivered_of_a_film_that_is_not_drawn(measured, undrawable):
    with pytest.raises(SceneError, match="make the film first"):
        deliver(Project.open(measured.scene), measured.out, [from_name("ffv1")])


def test_nothing_is_delivered_of_a_film_whose_camera_has_changed(copy, undrawable):
    project = edited(copy, "orbit: 40deg", "orbit: 50deg")
    with pytest.raises(SceneError, match="11 of the film's frames are not drawn"):
        deliver(project, copy.out, [from_name("ffv1")])


def test_a_preset_is_a_movies_or_a_sequences_or_a_mistake():
    assert from_name("av1-10").kind == "movie" and from_name("dcp-source").kind == "sequence"
    with pytest.raises(ValueError, match="did you mean 'prores-4444'"):
        from_name("prores-444")


# --- verifying -------------------------------------------------------------------------------------------------------


def test_frames_drawn_again_are_the_stored_ones(copy):
    assert verify(Project.open(copy.scene)) == [0, 6, 12, 17, 23] and VERIFIED == 5


def test_a_stored_frame_is_the_sources_own_of_its_number(copy):
    project = Project.open(copy.scene)
    job, source = RenderJob(results_of(project), project.draft, gl_renderer()), film_source(project)
    with Stage(job.size, source.look.mesh, project.scene.film.samples) as stage:
        for number in (0, 7, 14, 23):  # the first, the last, and two between
            assert np.array_equal(job.linear_frame(number)[:], stage.linear_frame(source.frame(number)))


def test_a_stored_frame_with_one_wrong_bit_is_found(copy):
    project = Project.open(copy.scene)
    stored = RenderJob(results_of(project), project.draft, gl_renderer()).linear_frame(12)
    codes = stored[:]
    codes[5, 5, 0] ^= 1
    stored.write_all(codes)
    with pytest.raises(MachineError, match="frame 12 in 1 numbers"):
        verify(project)


def test_a_film_that_is_not_drawn_cannot_be_verified(measured):
    with pytest.raises(SceneError, match="make the film first"):
        verify(Project.open(measured.scene))


# --- pictures larger than a window -----------------------------------------------------------------------------------


def test_a_picture_drawn_in_tiles_is_the_one_drawn_at_once(copy, monkeypatch, pictures):
    project, still, size = Project.open(copy.scene), Still(at=Time(1), format="png16"), Size(320, 180)
    import imageio.v3 as iio

    direct = iio.imread(make_still(project, copy.out / "direct", still, size)).astype(int)
    monkeypatch.setattr(render_job, "LARGEST_DIRECT", 128)
    for module in (render_job, linear_frames):
        monkeypatch.setattr(module, "TILE", 128)
    for kind in ("frames", "segments"):
        copy.shelf.remove((copy.shelf.root / kind).iterdir())
    tiled = iio.imread(make_still(project, copy.out / "tiled", still, size)).astype(int)
    assert (np.abs(tiled - direct) > 257).mean() <= 1e-5  # more than one code of eight bits
