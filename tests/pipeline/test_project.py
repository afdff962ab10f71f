import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest

from studio.config.units import Time
from studio.deliver.media import probe
from studio.deliver.still import Still
from studio.errors import SceneError
from studio.execution.local import LocalExecutor
from studio.execution.progress import silent
from studio.execution.tasks import run_tasks
from studio.film.surface import drawn_trajectory
from studio.pipeline import render_job
from studio.pipeline.film import film_source, make_film, make_still
from studio.pipeline.measure import measure, results_of, subset_errors
from studio.pipeline.project import Project
from studio.pipeline.render_job import RenderJob, render_segments
from studio.pipeline.status import status
from studio.pipeline.train import is_trained, train
from studio.render.gl import gl_renderer
from studio.scene.captions import captions
from studio.scene.scene import Portrait

pytestmark = pytest.mark.usefixtures("here")


def edited(made, *changes: tuple[str, str]) -> Project:
    """The studio of a scene after some words in it were changed; what is on its shelf stays."""
    text = made.scene.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    scene = made.scene.with_name("tiny.yaml")
    scene.write_text(text)
    return Project.open(scene)


def compute_digests(studio: Project) -> list[str]:
    return [studio.run_digest, *results_of(studio).digests.values()]


def segment_digests(project: Project, deliverable: int = 0) -> list[str]:
    job = RenderJob(results_of(project), project.draft, gl_renderer())
    return [segment.digest for segment in job.segments((0, project.scene.cut.length))[deliverable]]


def states(studio: Project) -> list[str]:
    return [state for _, state, _ in status(studio, studio.path.parent / "out" / "tiny")]


def test_the_way_of_the_weights_is_read_from_the_planes_only_where_a_look_draws_it(copy):
    plain, drawn = (
        film_source(edited(copy, *change)) for change in ((), (("base: ember", "base: ember, trajectory: {}"),))
    )
    way, keys = drawn.surfaces.trajectory, plain.surfaces.fields["loss"].coordinates
    assert plain.surfaces.trajectory is None and way.coordinates == keys and 0 < way.share_in_plane < 1
    assert all((way.places[k, k] == 0).all() for k in range(len(keys)))
    assert "of the way lies in the plane" in drawn.notes["loss"] and plain.frame(9).views[0].trajectory is None
    [part] = drawn.cut.at(7)  # the last before the dissolve
    expected = drawn_trajectory(drawn.surfaces.at(part.shot.coordinate(part.seconds, drawn.cut.fps)), drawn.look)
    assert len(expected) > 1 and np.array_equal(
        drawn.frame(7).views[0].trajectory, expected
    )  # it ends on the land, at 0


# --- what a key depends on -------------------------------------------------------------------------------------------

LOOKS = [
    ("base: ember", "base: ember, height: {scale: linear, cap: 3}"),
    ("map: lajolla", "map: viridis"),
    ("orbit: 40deg", "orbit: 90deg"),
    ("{dissolve: 0.5s}", "cut"),
    ("duration: 1s", "duration: 2s"),
    ("64x36, fps: 8", "32x18, fps: 12"),
    ("titles: {title: Tiny}", "titles: {title: Other, legend: false}"),
    ("  - {kind: sequence}\n", ""),
    ("title: Tiny\nrun", "title: Another name\nrun"),
]


@pytest.mark.parametrize("change", LOOKS, ids=[new for _, new in LOOKS])
def test_nothing_that_is_chosen_for_looks_reaches_what_is_computed(measured, change):
    before = compute_digests(Project.open(measured.scene))
    after = edited(measured, change)
    assert compute_digests(after) == before
    assert [row[:2] for row in status(after, after.out)][:3] == [
        ("train", "done"),
        ("loss", "done"),
        ("convexity", "done"),
    ]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("subset: 32", "subset: 31"), 1),
        (("points: 9", "points: 11"), 3),
        (("tol: 1e-1", "tol: 1e-2"), 4),
        (("seed: 1", "seed: 2"), 1),
        (("lr: 0.1", "lr: 0.2"), 0),
    ],
)
def test_whatever_changes_the_numbers_changes_their_keys_and_no_others(measured, change, same):
    before = compute_digests(Project.open(measured.scene))
    after = edited(measured, change)
    if is_trained(after):
        assert sum(a == b for a, b in zip(before, compute_digests(after), strict=True)) == same
    else:
        assert same == 0 and after.run_digest != before[0]


def test_a_change_of_the_last_shot_leaves_the_pieces_before_it(measured):
    before = segment_digests(Project.open(measured.scene))
    after = segment_digests(
        edited(
            measured,
            ("{hold: 1s}", "{orbit: 10deg, over: 1s}"),
            ("- shot: closing", "- shot: closing\n    colour: {field: accuracy, map: viridis}"),
        )
    )
    assert len(before) == len(after) == 2 and before[0] == after[0] and before[1] != after[1]


def test_a_change_of_the_first_shot_or_of_the_look_leaves_none_that_shows_it(measured):
    before = segment_digests(Project.open(measured.scene))
    first = segment_digests(edited(measured, ("orbit: 40deg", "orbit: 50deg")))
    assert before[0] != first[0] and before[1] == first[1]
    assert not set(first) & set(segment_digests(edited(measured, ("base: ember", "base: ember, grade: {exposure: 1}"))))


def test_pieces_of_pictures_and_of_movies_have_keys_of_their_own(measured):
    studio = Project.open(measured.scene)
    assert not set(segment_digests(studio, 0)) & set(segment_digests(studio, 1))


# --- drawing again ---------------------------------------------------------------------------------------------------


def test_a_new_colormap_is_drawn_without_measuring_and_without_torch(copy, pictures):
    before = {
        path: path.stat().st_mtime_ns for room in ("runs", "slices") for path in (copy.shelf.root / room).rglob("*")
    }
    old = pictures(copy.out / "tiny-frames")
    studio = edited(copy, ("map: lajolla", "map: viridis"))
    loaded = []
    with LocalExecutor(1) as workers:  # one worker draws both segments, and is then asked what it has loaded
        job = RenderJob(results_of(studio), studio.draft, gl_renderer())
        segments = [segment for own in job.segments((0, 24)) for segment in own]
        list(run_tasks(workers, [(render_segments, (job, (segment,))) for segment in segments], 1))
        loaded += [names for _, names in run_tasks(workers, [(eval, ("sorted(__import__('sys').modules)",))], 1)]
    assert "torch" not in loaded[0] and "pyvista" in loaded[0]
    drawn = {path: path.stat().st_mtime_ns for path in (copy.shelf.root / "segments").rglob("*")}
    _movie, frames = make_film(studio, copy.out)
    assert drawn == {path: path.stat().st_mtime_ns for path in (copy.shelf.root / "segments").rglob("*")}
    new = pictures(frames)
    assert not np.array_equal(new[8:16], old[8:16]) and np.array_equal(new[16:], old[16:])
    assert before == {
        path: path.stat().st_mtime_ns for room in ("runs", "slices") for path in (copy.shelf.root / room).rglob("*")
    }


# --- what is said of it ----------------------------------------------------------------------------------------------


def test_every_output_says_where_it_comes_from(finished):
    studio = Project.open(finished.scene)
    said = json.loads(probe(finished.out / "tiny.mp4").comment)
    assert said["scene"] == "Tiny" and said["draft"] is False and said["seed"] == 0
    assert said["run"] == studio.run_digest and said["slices"] == sorted(results_of(studio).digests.values())
    assert said["renderer"] == gl_renderer() and {"torch", "vtk", "numpy", "landscape-studio"} <= set(said["versions"])
    assert json.loads(iio.immeta(finished.out / "tiny-frames" / "frame-000000.png")["provenance"]) == said


def test_status_tells_missing_from_done_from_stale_in_every_stage(copy):
    assert states(Project.open(copy.scene)) == ["done"] * 5
    (copy.out / "tiny.mp4").unlink()
    assert states(Project.open(copy.scene)) == ["done", "done", "done", "missing", "done"]
    assert states(edited(copy, ("orbit: 40deg", "orbit: 50deg"))) == ["done", "done", "done", "missing", "stale"]
    assert states(edited(copy, ("tol: 1e-1", "tol: 1e-2"))) == ["done", "done", "stale", "missing", "stale"]
    assert states(edited(copy, ("tol: 1e-2", "tol: 1e-1"), ("subset: 32", "subset: 30"))) == [
        "done",
        "stale",
        "stale",
        "missing",
        "stale",
    ]
    assert states(edited(copy, ("subset: 30", "subset: 32"), ("lr: 0.1", "lr: 0.2"))) == [
        "stale",
        "stale",
        "stale",
        "missing",
        "stale",
    ]
    assert states(edited(copy, ("lr: 0.2", "lr: 0.1"), ("orbit: 50deg", "orbit: 40deg"))) == [
        "done",
        "done",
        "done",
        "missing",
        "done",
    ]


def test_status_of_one_deliverable_is_not_that_of_another(copy, tmp_path):
    without = edited(copy, ("convexity: {", "# {"), ("    colour: {field: convexity, map: lajolla}\n", ""))
    make_film(without, copy.out)
    assert states(without) == ["done"] * 4
    (copy.out / "tiny.mp4").unlink()
    assert states(without) == ["done", "done", "missing", "done"]


def test_status_of_a_film_that_was_never_begun_is_missing_throughout(tiny):
    assert states(Project.open(tiny)) == ["missing"] * 5
    assert not (tiny.parent / ".studio").exists()


def test_status_follows_the_work(tiny):
    studio = Project.open(tiny)
    train(studio)
    assert states(studio) == ["done", "missing", "missing", "missing", "missing"]
    with pytest.raises(KeyboardInterrupt):
        measure(replace(studio, progress=stopping("measure the convexity", after=2))).surfaces()
    assert states(studio) == ["done", "done", "missing", "missing", "missing"]
    keys = results_of(studio).digests
    assert [len(studio.shelf.slice(keys["convexity", epoch]).missing()) for epoch in (0, 2)] in ([1, 3], [2, 2], [3, 1])


def stopping(stage: str, after: int):
    """Progress that is interrupted in a stage."""

    @contextmanager
    def progress(name, total):
        calls = []

        def advance(done, total=None, text=""):
            calls.append(done)
            if name == stage and len(calls) == after:
                raise KeyboardInterrupt

        yield advance

    return progress


# --- clean -----------------------------------------------------------------------------------------------------------


def things(shelf) -> set[str]:
    return {f"{room}/{path.name}" for room in ("runs", "slices", "segments") for path in (shelf.root / room).glob("*")}


def test_clean_removes_nothing_that_a_scene_needs(copy):
    whole = things(copy.shelf)
    assert copy.shelf.unused() == []
    studio = Project.open(copy.scene)
    train(studio)  # what a command does not touch is needed as before
    measure(studio).surfaces()
    assert copy.shelf.unused() == []
    make_film(studio, copy.out)
    assert copy.shelf.unused() == [] and things(copy.shelf) == whole


def test_clean_knows_the_scene_again_when_its_folder_was_moved(copy, tmp_path):
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    shutil.move(tmp_path, moved)
    try:
        studio = Project.open(moved / "tiny.yaml")
        assert studio.shelf.unused() == [] and states(studio) == ["done"] * 5
    finally:
        shutil.move(moved, tmp_path)


def test_clean_removes_exactly_what_is_needed_no_more(copy):
    before = things(copy.shelf)
    studio = edited(copy, ("at: [0, 2], tol", "at: [2], tol"), ("  - {kind: movie, preset: h264-web}\n", ""))
    dropped = [
        copy.shelf.slice(key).path.name for key in [results_of(Project.open(copy.scene)).digests["convexity", 2.0]]
    ]
    assert copy.shelf.unused() == []  # it has not been made yet, so all it last used is needed
    make_film(studio, copy.out)
    gone = {f"{path.parent.name}/{path.name}" for path in copy.shelf.unused()}
    assert {name.partition("/")[0] for name in gone} == {"slices", "frames", "segments"}
    assert f"slices/{dropped[0]}" not in gone and len([name for name in gone if name.startswith("slices")]) == 1
    copy.shelf.remove(copy.shelf.unused())
    assert copy.shelf.unused() == [] and states(studio) == ["done"] * 4
    assert things(copy.shelf) - before == things(copy.shelf) - before - gone


def test_parts_and_stills_of_a_film_do_not_make_the_whole_of_it_unneeded(copy):
    studio = Project.open(copy.scene)
    make_film(studio, copy.out, frames=(3, 5))
    assert copy.shelf.unused() == []
    make_film(studio, copy.out)
    left = {path.suffix for path in copy.shelf.unused()}
    assert left == {".mp4", ".frames"}  # of the part: the whole was made since, and does without them


def test_two_scenes_of_one_name_on_one_shelf_keep_what_each_needs(copy, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(copy.scene, other / "tiny.yaml")
    (other / "tiny.yaml").write_text(copy.scene.read_text().replace("lr: 0.1", "lr: 0.2"))
    train(Project.open(other / "tiny.yaml", copy.shelf.root))
    assert copy.shelf.unused() == [] and states(Project.open(copy.scene)) == ["done"] * 5
    (other / "tiny.yaml").unlink()
    [run] = copy.shelf.unused()
    assert run.parent.name == "runs"


def test_clean_takes_what_killed_processes_left_and_leaves_what_living_ones_write(copy):
    pieces, run = copy.shelf.root / "segments", Project.open(copy.scene).run_folder
    [slice_, *_] = (copy.shelf.root / "slices").iterdir()
    left = [
        pieces / ".abc-12ab34cd.mp4",
        pieces / ".abd-12ab34cd.frames",
        run / ".resume-12ab34cd.safetensors",
        slice_ / "done" / "c" / "2.5a5a.partial",
    ]
    for path in left:
        path.mkdir() if path.suffix == ".frames" else path.write_text("half")
    with copy.shelf.lock("something", silent):
        assert copy.shelf.unused() == []
    assert sorted(copy.shelf.unused()) == sorted(left)
    copy.shelf.remove(copy.shelf.unused())
    assert copy.shelf.unused() == [] and states(Project.open(copy.scene)) == ["done"] * 5


def test_a_film_killed_while_measuring_needs_what_it_has_measured(measured):
    shutil.rmtree(measured.shelf.root / "slices")
    studio = replace(Project.open(measured.scene), progress=stopping("measure the loss", after=1))
    with pytest.raises(KeyboardInterrupt):
        measure(studio).surfaces()
    assert things(measured.shelf) and measured.shelf.unused() == []


# --- in a notebook ---------------------------------------------------------------------------------------------------


def test_studio_is_imported_lightly_and_gives_its_scene_project_and_stages():
    code = "import sys, studio; from studio import Project, Scene, measure; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "studio.scene.scene" in loaded and not {"torch", "pyvista", "sklearn", "matplotlib"} & set(loaded)
    light = subprocess.run(
        [sys.executable, "-c", "import sys, studio; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "numpy" not in light and "studio.scene.scene" not in light
    with pytest.raises(ImportError, match="cannot import name 'Scenes'"):
        exec("from studio import Scenes")


def losses(studio: Project, epoch: float) -> np.ndarray:
    """The loss of each image of the scene's subset at a checkpoint, by torch alone."""
    import torch

    from studio.training import checkpoints

    recipe, kept = studio.scene.run.recipe, checkpoints.load(studio.run_folder, epoch)
    data = recipe.data.load()
    model = recipe.model.build(data.shape, data.classes)
    model.load_state_dict({**kept.weights, **kept.buffers})
    chosen = studio.scene.loss.sample_indices(data)
    x, y = (torch.from_numpy(part[chosen]) for part in (data.train_x, data.train_y))
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(model.eval()(x), y, reduction="none").double().numpy()


def test_a_notebook_gets_what_was_measured_as_a_dataset(finished):
    studio = Project.open(finished.scene)
    data = measure(studio).dataset()
    assert data["loss"].dims == ("keyframe", "beta", "alpha") and dict(data.sizes) == {
        "keyframe": 3,
        "beta": 9,
        "alpha": 9,
    }
    assert list(data["keyframe"].values) == [0, 1, 2] and data["alpha"].values[4] == 0
    assert set(data.data_vars) == {
        "loss",
        "accuracy",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "learning_rate",
    }
    fields = measure(studio).surfaces().fields
    assert np.array_equal(data["loss"].values, fields["loss"].values)
    centre = [float(losses(studio, epoch).mean()) for epoch in (0.0, 1.0, 2.0)]
    # float32 sums over 32 images in another order
    assert np.allclose(data["loss"].sel(alpha=0, beta=0).values, centre, rtol=1e-5)
    curvature = measure(studio).dataset("convexity")
    assert set(curvature["lambda_min"].dims) == {"keyframe", "beta", "alpha"} and list(
        curvature["keyframe"].values
    ) == [0, 2]
    assert bool((curvature["lambda_min"] < curvature["lambda_max"]).all())


def test_a_scene_without_convexity_has_no_dataset_of_it(measured):
    text = measured.scene.read_text().replace("convexity: {", "# {").replace("field: convexity", "field: loss")
    measured.scene.write_text(text)
    with pytest.raises(SceneError, match="nothing measures the convexity"):
        measure(Project.open(measured.scene)).dataset("convexity")


# --- more to measure -------------------------------------------------------------------------------------------------


def test_more_fields_and_every_samples_loss_come_from_the_same_passes(measured, monkeypatch):
    (measured.scene.parent / "mine.py").write_text(
        "def margin(outputs, y):\n    top = outputs.double().topk(2).values\n    return top[:, 0] - top[:, 1]\n"
    )
    before = Project.open(measured.scene)
    plain, curvature = (
        measure(before).dataset(),
        {key for (what, _), key in results_of(before).digests.items() if what != "loss"},
    )
    after = edited(measured, ("subset: 32", "subset: 32, fields: [entropy, mine:margin], keep_samples: true"))
    data = measure(after).dataset()
    assert np.array_equal(data["loss"].values, plain["loss"].values)
    assert dict(data["losses"].sizes) == {"keyframe": 3, "beta": 9, "alpha": 9, "sample": 32}
    # the mean is of float64 numbers, in another order
    assert np.allclose(data["losses"].mean("sample"), data["loss"], rtol=1e-12)
    # ten classes: the entropy of a guess among all is ln 10, and a margin is never negative
    assert ((data["entropy"] >= 0) & (data["entropy"] < np.log(10) + 1e-9)).all() and (data["margin"] >= 0).all()
    # float32 logits of about 10, and what is left of them in a small loss
    assert np.allclose(data["losses"].sel(keyframe=2.0, alpha=0, beta=0), losses(after, 2.0), rtol=1e-4, atol=1e-5)
    # Hessians are of the loss alone, whatever else is counted
    assert {key for (what, _), key in results_of(after).digests.items() if what != "loss"} == curvature
    assert "mine:margin" in measure(after).surfaces().fields


def test_another_text_of_a_function_is_another_slice(measured):
    mine = measured.scene.parent / "mine.py"
    mine.write_text("def margin(outputs, y):\n    return outputs[:, 0]\n")
    change = ("subset: 32", "subset: 32, fields: [mine:margin]")
    before = results_of(edited(measured, change)).digests
    mine.write_text("def margin(outputs, y):\n    return outputs[:, 1]\n")
    after = results_of(Project.open(measured.scene)).digests
    assert all((before[one] != key) == (one[0] == "loss") for one, key in after.items())


def test_a_preview_is_said_to_be_one_and_never_mixed_with_exact_values(measured):
    exact = Project.open(measured.scene)
    studio = edited(measured, ("subset: 32", "subset: 32, sampling: preview"), ("points: 9", "points: 31"))
    assert "preview of 31\u00d731 points" in captions(studio.scene)["loss"]
    data = measure(studio).dataset()
    share = float(data["measured"].mean())
    assert 0 < share < 0.5 and any(
        "are interpolated" in line for line in film_source(studio).notes["loss"].splitlines()
    )
    assert not {key for (what, _), key in results_of(studio).digests.items() if what == "loss"} & set(
        results_of(exact).digests.values()
    )


def test_the_curvature_says_what_it_makes_of_the_picture(measured):
    studio = edited(measured, ("tol: 1e-1", "tol: 1e-1, spectrum: {probes: 3, steps: 5}"))
    measure(studio)
    found = results_of(studio).curvature()
    assert list(found) == [0, 2]
    for said in found.values():
        assert said["centre"] in ("minimum", "saddle", "maximum", "not stationary")
        assert said["interlacing_share"] == 1 and 0 <= said["hidden_share"] <= 1
        assert np.isfinite(said["trace"]) and said["trace_error"] >= 0
    assert dict(measure(studio).dataset("spectrum")["ritz"].sizes) == {"keyframe": 2, "probe": 3, "step": 5}
    # at another accuracy the spectrum still stands, and the convexity does not: nothing is said of either
    assert results_of(edited(measured, ("tol: 1e-1", "tol: 1e-2"))).curvature() == {}


def test_the_subset_is_compared_with_all_images_at_nine_points(measured):
    studio = Project.open(measured.scene)
    rows = subset_errors(studio)
    assert [row[:2] for row in rows][::4] == [(-1.0, -1.0), (0.0, 0.0), (1.0, 1.0)] and len(rows) == 9
    data = measure(studio).dataset().isel(keyframe=-1)
    at_centre = next(row for row in rows if row[:2] == (0.0, 0.0))
    # float32 sums over all images, in other batches
    assert at_centre[2] == pytest.approx(float(data["loss"].sel(alpha=0, beta=0)), rel=1e-6)
    assert at_centre[3] == pytest.approx(float(data["train_loss"]), rel=1e-5)


# --- what is handed over ---------------------------------------------------------------------------------------------


def test_no_movie_begins_or_ends_with_a_piece_of_one_frame_or_two(measured):
    order = RenderJob(results_of(Project.open(measured.scene)), Project.open(measured.scene).draft, gl_renderer())
    for span in ((15, 24), (14, 24), (1, 17), (1, 18), (0, 24)):
        pieces = order.segments(span)[0]
        assert (pieces[0].start, pieces[-1].stop) == span
        assert all(piece.stop - piece.start > 2 for piece in pieces)


def test_several_deliverables_come_from_one_drawing_and_each_is_what_it_says(copy):
    more = "  - {kind: movie, preset: prores-422hq}\n  - {kind: sequence, format: tiff16}\n"
    studio = edited(copy, ("  - {kind: sequence}\n", more))
    made = make_film(studio, copy.out)
    assert [path.name for path in made] == ["tiny.mp4", "tiny-prores-422hq.mov", made[2].name]
    media = probe(made[1])
    assert (media.codec, media.pixel_format, media.frames) == ("prores", "yuv422p10le", 24)
    assert len(list(made[2].glob("*.tif"))) == 24


def test_a_film_that_does_not_loop_is_told_when_its_ends_are_drawn(copy, monkeypatch):
    monkeypatch.setattr(render_job, "SEGMENT_SECONDS", 0.25)
    studio = edited(copy, ("preset: h264-web}", "preset: h264-web, loop: true}"))
    with pytest.raises(SceneError, match="does not loop"):
        make_film(studio, copy.out)
    job = RenderJob(results_of(studio), studio.draft, gl_renderer())
    there = [segment.path.exists() for segment in job.segments((0, 24))[0]]
    assert there == [True, *[False] * (len(there) - 2), True] and len(there) > 2


def test_a_part_of_a_film_that_loops_need_not_loop(copy):
    studio = edited(copy, ("preset: h264-web}", "preset: h264-web, loop: true}"))
    [movie, _] = make_film(studio, copy.out, frames=(0, 5))
    assert probe(movie).frames == 5
    with pytest.raises(SceneError, match="loop"):
        make_film(studio, copy.out)


# --- finer grids


def test_a_detail_is_two_slices_of_one_epoch_and_changes_the_picture_only_near_the_centre(measured):
    detail = "\ndetail: {range: [-0.5, 0.5], points: 11, at: [1, 2]}\nloss:"
    plain, fine = Project.open(measured.scene), edited(measured, ("\nloss:", detail))
    before, after = results_of(plain).digests, results_of(fine).digests
    assert before.items() <= after.items() and set(after) - set(before) == {("detail", 1.0), ("detail", 2.0)}
    surfaces = measure(fine).surfaces()
    coarse, close = surfaces.fields["loss"], surfaces.fields["loss@detail"]
    assert close.grid.range == (-0.5, 0.5) and close.coordinates == (1.0, 2.0)
    # every fifth node of the one is every other of the other: the same weights, in rows of another length
    assert close.values[:, ::5, ::5] == pytest.approx(coarse.values[1:, 2:7:2, 2:7:2], rel=1e-5)
    assert "11\u00d711 within \u00b10.5 at 2" in captions(fine.scene)["loss"]
    shown = [film_source(studio).frame(23).views[0].height for studio in (plain, fine)]
    axis = np.linspace(-1, 1, len(shown[0]))
    near = np.maximum(*np.abs(np.meshgrid(axis, axis))) < 0.5
    assert np.array_equal(shown[0][~near], shown[1][~near]) and not np.array_equal(*shown)


def test_a_still_with_points_of_its_own_shows_the_nearest_keyframe_on_the_films_ranges(copy, tmp_path):
    studio = Project.open(copy.scene)
    film = film_source(studio)
    path = make_still(studio, tmp_path, Still(at=Time(2.0)), points=21)
    assert path.name == "tiny-21-points-at-2s.png" and iio.imread(path).shape == (36, 64, 3)
    portrait = replace(studio, portrait=Portrait(2.0, 21))
    reel = render_job.frame_source(measure(portrait), False)
    assert reel.ranges == film.ranges and reel.surfaces.fields["loss"].grid.points == 21
    assert reel.surfaces.at(0.3).coordinate == 2.0 and "21\u00d721 points at epoch 2" in reel.notes["loss"]
    assert reel.surfaces.at(2.0).values["loss"][10, 10] == pytest.approx(film.surfaces.at(2.0).values["loss"][4, 4])
    assert copy.shelf.unused() == []
    with pytest.raises(SceneError, match="20 points: expected an odd number"):
        make_still(studio, tmp_path, Still(at=Time(2.0)), points=20)


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("{range: [-2, 2], points: 101}", r"detail.range: is not inside the grid's"),
        ("{range: [-0.5, 0.5], points: 3}", "detail.points: 3 points over this range are no finer"),
        ("{range: [-0.5, 0.5], at: [0.5]}", "detail.at: epoch 0.5 is no keyframe of the sweep; one of 0, 1, 2"),
        ("{range: [-0.5, 0.5], points: 10}", "odd number"),
    ],
)
def test_a_detail_that_makes_no_finer_grid_is_refused(measured, detail, told):
    with pytest.raises(SceneError, match=told):
        edited(measured, ("\nloss:", f"\ndetail: {detail}\nloss:"))
