import os
import pickle
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from studio.config.reading import read
from studio.deliver import encoder
from studio.pipeline.film import film_source
from studio.pipeline.measure import measure, results_of
from studio.pipeline.project import Project
from studio.pipeline.status import status
from studio.render.gl import gl_renderer
from studio.storage.files import write_json
from studio.storage.shelf import KINDS, Shelf

# --- exit 2: the user's mistake, by its place in the file ------------------------------------------------------------

MISTAKES = {
    "an unknown key": (
        "{orbit: 40deg",
        "{orbt: 40deg",
        "20:23: shots[0].camera.moves[0].orbt: unknown key 'orbt'; did you mean 'orbit'?",
    ),
    "an unknown key at the top": ("grid:", "gird:", "11:1: gird: unknown key 'gird'; did you mean 'grid'?"),
    "an unknown kind": ("kind: mlp", "kind: mpl", "4:12: run.recipe.model: unknown kind 'mpl'; did you mean 'mlp'?"),
    "an unknown kind as a word": (
        "- {kind: sequence}",
        "- gif",
        "33:5: deliver[1]: unknown kind 'gif'; one of movie, sequence, still, web",
    ),
    "an unknown look": ("base: ember", "base: embr", "14:7: look: no look 'embr'; did you mean 'ember'?"),
    "an unknown ease": (
        "ease: in-out",
        "ease: in-outt",
        "20:55: shots[0].camera.moves[0].ease: no ease 'in-outt'; did you mean 'in-out'?",
    ),
    "a reversed range": (
        "[-1, 1]",
        "[1, -1]",
        "11:15: grid.range: [1, -1] is empty or reversed; write the smaller end first",
    ),
    "an empty range": (
        "[-1, 1]",
        "[1, 1]",
        "11:15: grid.range: [1, 1] is empty or reversed; write the smaller end first",
    ),
    "a grid of one point": (
        "points: 9",
        "points: 1",
        "11:32: grid.points: 1 points: expected at least 3 along each side",
    ),
    "an epoch that does not exist": (
        "at: [0, 1, 2]",
        "at: [0, 1, 3]",
        "10:27: sweep.at: epoch 3: the run has no checkpoint there; the nearest it has: 1.5, 2",
    ),
    "a convexity at such an epoch": (
        "at: [0, 2]",
        "at: [0, 1.2]",
        "13:28: convexity.at: epoch 1.2: the sweep has no keyframe there; the nearest it has: 1, 2",
    ),
    "a shot longer than its keys": (
        "1.5s: 2}",
        "1s: 2}",
        "19:12: shots[0].along: the last key is at 1s, but the shot lasts 1.5s; add a key there",
    ),
    "a shot that leaves the measured epochs": (
        "1.5s: 2}",
        "1.5s: 5}",
        "19:26: shots[0].along.1.5s: epoch 5 is outside the measured ones, 0 to 2",
    ),
    "moves longer than their shot": (
        "over: 1.5s",
        "over: 2s",
        "20:21: shots[0].camera.moves: the moves take 2s, but the shot lasts 1.5s; lengthen the shot or shorten a move",
    ),
    "an odd width": (
        "64x36",
        "63x36",
        "15:14: film.size: deliver[0]: 63x36: h264-web halves the size of colour, so both "
        "sides must be even; the nearest is 64x36",
    ),
    "a missing folder": (
        "\ndirections:",
        "\n  kind: folder\n  checkpoints: nowhere\ndirections:",
        "10:16: run.checkpoints: {folder}/nowhere: no checkpoints here; expected files named by epoch, such as "
        "epoch-10.pt or model_0.5.safetensors (.safetensors, .pt, .pth, .bin, .ckpt, .th, .t7, .tar)",
    ),
    "a colour by what is not measured": (
        "convexity: {",
        "# {",
        "25:21: shots[1].colour.field: nothing measures the convexity; add `convexity: {{points: 11}}` to the scene",
    ),
    "no YAML at all": ("film:", "film\n:", "16:1: could not find expected ':'"),
}


@pytest.mark.parametrize(("right", "wrong", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_scene_is_named_with_its_place_and_the_way_out(invoke, tiny, right, wrong, words):
    text = tiny.read_text()
    assert right in text
    tiny.write_text(text.replace(right, wrong, 1))
    assert invoke("film", tiny) == (2, "", f"{tiny}:{words.format(folder=tiny.parent)}\n")
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.yaml"]


def test_all_mistakes_are_reported_at_once_from_top_to_bottom(invoke, tiny):
    tiny.write_text(
        tiny.read_text().replace("points: 9", "points: 2").replace("64x36", "63x36").replace("lr: 0.1", "rl: 1")
    )
    result = invoke("check", tiny.name)
    assert result.status == 2 and [line.split(": ")[1] for line in result.err.splitlines()] == [
        "run.recipe.optimizer.rl",
        "grid.points",
    ]  # what the whole scene must tell is asked once its parts are right


def test_more_images_than_there_are_is_a_mistake_that_the_data_tells(invoke, measured):
    measured.scene.write_text(measured.scene.read_text().replace("subset: 32", "subset: 2000"))
    result = invoke("compute", "tiny.yaml")
    words = "tiny.yaml:12:16: loss.subset: 2000 images are asked for, the training set holds 1437"
    assert (result.status, result.err.splitlines()[-1]) == (2, words)


# --- exit 2: checkpoints that cannot be used -------------------------------------------------------------------------


def weights_of(run: Path, epoch: float) -> dict:
    from safetensors.torch import load_file

    return {
        name.partition("/")[2]: tensor for name, tensor in load_file(run / f"epoch-{epoch:08.3f}.safetensors").items()
    }


@pytest.fixture
def own(finished, tiny) -> Path:
    """A folder of the user's own checkpoints, which the tiny scene films; each epoch in another format."""
    import torch
    from safetensors.torch import save_file

    [run] = (finished.shelf.root / "runs").iterdir()
    folder = tiny.parent / "mine"
    folder.mkdir()
    torch.save(weights_of(run, 0), folder / "epoch-0.pt")
    torch.save({"state_dict": weights_of(run, 1), "epoch": 1}, folder / "epoch-1.pth")
    save_file(weights_of(run, 2), folder / "epoch-2.safetensors")
    tiny.write_text(tiny.read_text().replace("\ndirections:", "\n  kind: folder\n  checkpoints: mine\ndirections:", 1))
    return folder


def test_a_folder_of_checkpoints_is_taken_in_and_measures_the_same(invoke, own, tiny, finished):
    assert invoke("train", "tiny.yaml").status == 0
    imported, trained = Project.open(tiny), Project.open(finished.scene)
    assert [row[:2] for row in status(imported, imported.out)][:2] == [("train", "done"), ("loss", "missing")]
    assert imported.run_digests != trained.run_digests
    weights = [weights_of(project.run_folders[0], 1.0) for project in (imported, trained)]
    assert all(bool((weights[0][name] == weights[1][name]).all()) for name in weights[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("epoch-1.pth", "cannot be read as a torch file: "),
        ("epoch-2.safetensors", "cannot be read as safetensors: "),
    ],
)
def test_a_truncated_checkpoint_is_named(invoke, own, name, words):
    whole = (own / name).read_bytes()
    (own / name).write_bytes(whole[: len(whole) // 2])
    result = invoke("film", "tiny.yaml")
    place = f"tiny.yaml:10:16: run.checkpoints: mine/{name}"
    assert (result.status, result.out) == (2, "") and result.err.splitlines()[-1].startswith(f"{place}: {words}")
    (own / name).write_bytes(whole)
    assert invoke("train", "tiny.yaml").status == 0


class Malicious:
    """Unpickled with pickle's own loader, it creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_with_code_in_it_is_refused_and_its_code_never_runs(invoke, own, tmp_path):
    import torch

    ran, bad = tmp_path / "the code ran", own / "epoch-1.pth"
    for write in (
        lambda: torch.save({"weight": Malicious(ran)}, bad),
        lambda: bad.write_bytes(pickle.dumps(Malicious(ran))),
    ):
        write()
        result = invoke("film", "tiny.yaml")
        assert result.status == 2 and not ran.exists()
        words = result.err.splitlines()[-1].removesuffix(" (it asks for posix.mkdir)")  # torch says it of its own files
        assert words == (
            "tiny.yaml:10:16: run.checkpoints: mine/epoch-1.pth: holds more than tensors, or is broken. Code in a file "
            "is never run here: save only model.state_dict(), with torch.save or safetensors"
        )
    pickle.loads(bad.read_bytes())
    assert ran.exists()  # the file is as dangerous as it is meant to be


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_that_was_cut_on_the_shelf_is_named_and_made_again(invoke, measured, caplog):
    [run] = (measured.shelf.root / "runs").iterdir()
    whole = contents(run)
    cut = run / "epoch-0001.000.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    shutil.rmtree(measured.shelf.root / "slices")
    assert invoke("compute", "tiny.yaml").status == 0
    assert f"{cut}: is damaged (its 1000 bytes are not those that were written); " in caplog.text
    assert contents(run) == whole


# --- exit 3: the machine's -------------------------------------------------------------------------------------------

NO_GL = "no OpenGL without a screen on this machine; on Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri\n"


@pytest.fixture
def no_gl(monkeypatch):
    """A machine on which VTK finds no GL, and crashes."""
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "none")
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", os.devnull)
    gl_renderer.cache_clear()
    yield
    gl_renderer.cache_clear()


def test_without_gl_film_says_in_one_line_what_to_install_before_anything_is_made(invoke, no_gl, tiny):
    assert invoke("film", "tiny.yaml") == (3, "", NO_GL)
    assert list(tiny.parent.iterdir()) == [tiny]


def test_without_gl_doctor_says_so_and_goes_on(invoke, no_gl):
    result = invoke("doctor")
    assert (result.status, result.err) == (3, "")
    assert result.out.startswith(f"MISSING  OpenGL   {NO_GL}ok       GPU ")


def test_without_gl_everything_is_still_computed_and_planned(invoke, no_gl, measured):
    assert invoke("compute", "tiny.yaml").status == 0
    assert f"; {NO_GL}" in invoke("plan", "tiny.yaml").out


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_without_an_encoder_film_says_so_before_anything_is_made(invoke, tiny, monkeypatch):
    fake = program(
        tiny.parent / "ffmpeg", "echo 'ffmpeg version 1'; echo ' ------'; echo ' V..... mpeg4 MPEG-4 part 2'"
    )
    monkeypatch.setenv("STUDIO_FFMPEG", fake)
    words = f"{fake} has no libx264; unset STUDIO_FFMPEG, or name an ffmpeg that has it\n"
    assert invoke("film", "tiny.yaml") == (3, "", words)
    assert f"\nMISSING  ffmpeg   {words}" in invoke("doctor").out
    monkeypatch.setenv("STUDIO_FFMPEG", str(tiny.parent / "none"))
    result = invoke("film", "tiny.yaml")
    assert result.status == 3 and "which is no program" in result.err and result.err.count("\n") == 1
    assert not (tiny.parent / ".studio").exists()


def test_when_ffmpeg_dies_its_message_is_printed_and_no_unfinished_file_counts(
    invoke, measured, finished, monkeypatch, pictures
):
    real = encoder.program()
    fake = program(
        measured.scene.parent / "ffmpeg",
        f'case "$*" in *pipe:0*) head -c 20000 >/dev/null; echo "out of luck" >&2; exit 9;; '
        f'*) exec "{real}" "$@";; esac',
    )
    monkeypatch.setenv("STUDIO_FFMPEG", fake)
    result = invoke("film", "tiny.yaml")
    assert (result.status, result.out) == (3, "") and result.err.splitlines()[
        -1
    ] == "ffmpeg stopped with status 9: out of luck"
    assert [path for path in (measured.shelf.root / "segments").glob("*") if path.suffix == ".mp4"] == []
    assert not measured.out.exists()
    monkeypatch.delenv("STUDIO_FFMPEG")
    assert invoke("film", "tiny.yaml").status == 0
    assert np.array_equal(pictures(measured.out / "tiny.mp4"), pictures(finished.out / "tiny.mp4"))


@pytest.fixture
def small_disk(tmp_path):
    """Makes a disk of so many KiB, or of another size, in a folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(size: int) -> Path:
        again = "remount," if os.path.ismount(folder) else ""
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"{again}size={size}k", "tmpfs", folder], capture_output=True
        )
        if done.returncode:
            pytest.skip("no small disk can be mounted here")
        return folder

    yield mounted
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("mount") is None, reason="makes a small disk in memory")
def test_a_disk_that_fills_up_again_and_again_loses_only_the_tasks_in_flight(
    invoke, tiny, small_disk, finished, pictures
):
    stages = []
    rooms = [finished.shelf.root / room for room in KINDS if room not in ("frames", "segments")]
    whole = [path for room in rooms for path in room.rglob("*") if path.is_file()]
    measured = sum(-(-path.stat().st_size // 4096) * 4 for path in whole)
    # KiB; each is enough for a part of the training, of the measuring, of the drawing
    for size in (20, measured // 2, measured + 60):
        shelf = small_disk(size)
        result = invoke("film", "tiny.yaml", "--shelf", shelf)
        assert (result.status, result.out) == (3, ""), result
        assert (
            "the disk is full; all finished work is kept. Free some space and run again" in result.err.splitlines()[-1]
        )
        assert not (tiny.parent / "out").exists()
        stages.append([state for _, state, _ in status(Project.open(tiny, shelf), tiny.parent / "out" / "tiny")])
    assert [states.count("done") for states in stages] == [0, 1, 3], stages
    result = invoke("film", "tiny.yaml", "--shelf", small_disk(20000))
    assert result.status == 0
    for name in ("tiny.mp4", "tiny-frames"):
        assert np.array_equal(pictures(tiny.parent / "out" / "tiny" / name), pictures(finished.out / name))


# --- no mistakes -----------------------------------------------------------------------------------------------------


def test_losses_that_are_not_finite_are_kept_drawn_and_reported(invoke, measured, finished, pictures):
    project = Project.open(measured.scene)
    slice_ = measured.shelf.slice(results_of(project).digests["loss", 2.0])
    row = {name: field.values[4:5] for name, field in slice_.read().items()}
    slice_.write(4, row | {"loss": np.array([[1, 2, np.nan, 2, 0.5, np.inf, 3, -np.nan, 4]])})
    result = invoke("compute", "tiny.yaml")
    assert result.status == 0 and {
        "the loss is infinite at 1 of 243 points, drawn as high as the highest",
        "the loss is not a number at 2 of 243 points, drawn as holes",
    } <= set(result.out.splitlines())
    result = invoke("film", "tiny.yaml", "--shot", "closing")
    assert result.status == 0
    assert not np.array_equal(
        pictures(measured.out / "tiny-closing-frames"), pictures(finished.out / "tiny-frames")[16:]
    )
    values = measure(project).dataset()["loss"].sel(keyframe=2.0).values[4]
    assert np.array_equal(values, [1, 2, np.nan, 2, 0.5, np.inf, 3, np.nan, 4], equal_nan=True)
    notes = film_source(project).notes[""]
    assert all(
        text.endswith("drawn as high as the highest\nthe loss is not a number at 2 of 243 points, drawn as holes")
        for text in notes.values()
    )


def test_a_range_so_wide_that_the_loss_overflows_is_measured_and_filmed(invoke, measured, pictures):
    measured.scene.write_text(measured.scene.read_text().replace("range: [-1, 1]", "range: [-1e25, 1e25]"))
    result = invoke("film", "tiny.yaml", "--frames", "20:24")
    assert result.status == 0
    project = Project.open(measured.scene)
    loss = measure(project).dataset()["loss"].values
    assert not np.isfinite(loss).all() and np.isfinite(loss[:, 4, 4]).all()
    assert pictures(measured.out / "tiny-frames-20-24-frames").shape == (4, 36, 64, 3)


def test_a_shelf_of_an_older_version_is_left_alone_and_not_used(invoke, measured, monkeypatch):
    from studio.landscape import slices

    old = sorted((measured.shelf.root / "slices").iterdir())
    monkeypatch.setattr(slices, "VERSION", slices.VERSION + 1)  # as if these slices had been made before it was raised
    result = invoke("status", "tiny.yaml")
    assert result.status == 0 and "\nloss       missing  0 of 3 slices\n" in result.out
    assert sorted((measured.shelf.root / "slices").iterdir()) == old


def test_a_manifest_of_an_older_version_is_read(measured):
    (measured.shelf.root / "scenes").mkdir()
    measured.shelf.mark()
    write_json(measured.shelf.root / "scenes" / "tiny.json", {"scene": "../tiny.yaml", "keys": ["a"]})
    project = Project.open(measured.scene)
    assert dict(row[:2] for row in status(project, project.out)) == {
        "train": "done",
        "loss": "done",
        "convexity": "done",
        "deliver": "missing",
    }
    assert Shelf(measured.shelf.root).unused() != [] and read(measured.scene, type(project.scene)) == project.scene
