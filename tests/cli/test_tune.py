"""Tuning: which method is fastest, and how it gets into the scene's file."""

import os
import stat

import pytest

from studio.cli import tune
from studio.config.reading import load_raw
from studio.errors import SceneError
from studio.landscape import profiling
from studio.landscape.profiling import MethodTiming
from studio.scene.scene import Scene

HEAD = """\
title: Tuned        # a comment
run: {recipe: {model: {kind: mlp, depth: 1, width: 8}, data: digits, epochs: 1}}
grid: {points: 5}
shots: [{shot: only, duration: 1s, along: {0s: 0}}]
"""


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "tuned.yaml"
    path.write_text(HEAD + "loss: {subset: 32}\n", encoding="utf-8")
    return path


# --- the text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("loss: {subset: 32}\n", "loss: {subset: 32, method: image-kernels}\n"),
        (
            "loss: { subset: 32, mode: train }   # said\n",
            "loss: { subset: 32, mode: train, method: image-kernels }   # said\n",
        ),
        ("loss: {method: loop, subset: 32}\n", "loss: {method: image-kernels, subset: 32}\n"),
        ("loss: {method: 'loop'}\n", "loss: {method: image-kernels}\n"),
        ("loss: {}\n", "loss: {method: image-kernels}\n"),
        ("loss: {subset: 32,}\n", "loss: {subset: 32, method: image-kernels,}\n"),
        (
            "loss: {\n  subset: 32,   # few\n  seed: 1\n}\n",
            "loss: {\n  subset: 32,   # few\n  seed: 1, method: image-kernels\n}\n",
        ),
        (
            "loss:\n  subset: 32   # few\n  # and so on\n  mode: eval\n",
            "loss:\n  method: image-kernels\n  subset: 32   # few\n  # and so on\n  mode: eval\n",
        ),
        (
            "loss:\n  # first\n  subset: 32\n  method: folded   # once\n",
            "loss:\n  # first\n  subset: 32\n  method: image-kernels   # once\n",
        ),
        ("loss:\n", "loss: {method: image-kernels}\n"),
        ("loss: ~\n", "loss: {method: image-kernels}\n"),
        ("loss: &l\n    subset: 32\n", "loss: &l\n    method: image-kernels\n    subset: 32\n"),
    ],
    ids=str,
)
def test_the_method_is_put_under_loss_and_nothing_else_is_touched(before, after):
    assert tune.insert_method(HEAD + before, "image-kernels") == HEAD + after
    assert tune.insert_method(before + HEAD, "image-kernels") == after + HEAD


def test_a_scene_without_loss_gets_one():
    text = "# what this is\n\n" + HEAD
    assert tune.insert_method(text, "image-kernels") == "# what this is\n\nloss: {method: image-kernels}\n" + HEAD


@pytest.mark.parametrize("text", [HEAD, HEAD + "loss:\n  subset: 5%\n", "{title: a, loss: {subset: 3}}", "{title: a}"])
def test_only_the_method_differs_and_a_second_time_nothing_does(text):
    once = tune.insert_method(text, "folded")
    said = load_raw(text, name="a")
    assert load_raw(once, name="b") == said | {"loss": said.get("loss", {}) | {"method": "folded"}}
    assert tune.insert_method(once, "folded") == once
    assert tune.insert_method(once, "loop") == once.replace("folded", "loop")


def test_the_ends_of_lines_stay_as_they_are():
    text = "title: a\r\nloss:\r\n  subset: 3\r\n"
    assert (
        tune.insert_method(text, "image-kernels") == "title: a\r\nloss:\r\n  method: image-kernels\r\n  subset: 3\r\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "look: &same {a: 1}\nloss: *same\n",  # written there, it would be said of the look too
        "loss: 3\n",
        "loss:\n  ? subset\n  : 3\n",
    ],
    ids=["alias", "scalar", "complex key"],
)
def test_a_layout_that_leaves_no_place_is_an_error_with_the_way_out(text):
    with pytest.raises(
        SceneError, match="my.yaml: its layout leaves no place.*write `method: image-kernels` under `loss`"
    ):
        tune.insert_method(text, "image-kernels", "my.yaml")


def test_a_broken_text_is_reported_with_its_place():
    with pytest.raises(SceneError, match="my.yaml:2:1: "):
        tune.insert_method("loss: {", "image-kernels", "my.yaml")


def test_the_file_is_replaced_whole_and_keeps_its_rights_and_its_link(scene, tmp_path):
    scene.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(scene)
    tune.write_method(link, "batched")
    assert link.is_symlink() and stat.S_IMODE(scene.stat().st_mode) == 0o640
    assert scene.read_text() == HEAD + "loss: {subset: 32, method: batched}\n"
    assert Scene.load(scene).loss.method == "batched"
    assert sorted(os.listdir(tmp_path)) == ["link.yaml", "tuned.yaml"]


def test_a_file_that_cannot_be_changed_stays_as_it_was(tmp_path):
    path = tmp_path / "odd.yaml"
    path.write_text("loss: 3\n")
    with pytest.raises(SceneError):
        tune.write_method(path, "image-kernels")
    assert path.read_text() == "loss: 3\n"
    with pytest.raises(SceneError, match="absent.yaml: cannot be read"):
        tune.write_method(tmp_path / "absent.yaml", "image-kernels")


# --- the times -------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Without torch's compiler, which takes half a minute."""
    monkeypatch.setattr(profiling, "candidate_methods", profiling.applicable_methods)


def test_every_method_that_fits_is_timed_and_agrees_with_the_loop(scene, quick):
    film = Scene.load(scene)
    timings = tune.time_scene(film)
    assert {timing.method for timing in timings} == set(
        profiling.applicable_methods(film.run.recipe.model, film.loss, "cpu")
    )
    assert all(timing.value > 0 and not timing.failure for timing in timings)
    assert max(timing.difference for timing in timings) < 1e-5  # float32 sums in another order
    assert next(timing.difference for timing in timings if timing.method == "loop") == 0


def test_a_method_that_cannot_be_used_says_why_and_comes_last(scene, monkeypatch):
    monkeypatch.setattr(profiling, "candidate_methods", lambda *given: ("loop", "batched"))
    text = scene.read_text().replace("kind: mlp, depth: 1, width: 8", "kind: vgg, widths: [4]")
    scene.write_text(text, encoding="utf-8")
    film = Scene.load(scene)
    timings = tune.time_scene(film)
    assert [timing.method for timing in timings] == [
        "loop",
        "batched",
    ] and "networks of linear layers" in timings[1].failure
    assert any("batched" in line and "cannot be used" in line for line in tune.table(timings, film))
    assert tune.fastest(timings, film) == "loop"  # the rule's own would be folded, which was not tried


def test_the_run_and_the_scene_are_untouched_by_tuning(scene, quick, tmp_path):
    before = scene.read_bytes()
    tune.time_scene(Scene.load(scene))
    assert scene.read_bytes() == before and os.listdir(tmp_path) == ["tuned.yaml"]


def test_what_takes_long_to_prepare_must_be_repaid_by_the_scene(scene):
    film = Scene.load(scene)  # 2 keys of 25 points
    slow, eager = MethodTiming("loop", value=0.010), MethodTiming("torch-compile", value=0.001, preparation=30.0)
    assert tune.scene_seconds(slow, film) == pytest.approx(2 * 25 * 0.010)
    assert tune.scene_seconds(eager, film) == pytest.approx(2 * (30 + 25 * 0.001))
    large = film.model_copy(update={"grid": film.grid.model_copy(update={"points": 101})})
    assert tune.scene_seconds(eager, large) < tune.scene_seconds(slow, large)
    assert tune.scene_seconds(slow, large, workers=4) == pytest.approx(tune.scene_seconds(slow, large) / 4)


def test_the_rules_own_method_stays_unless_another_is_worth_measuring_again(scene):
    film = Scene.load(scene)  # an mlp: the rule says shared
    hardly = [
        MethodTiming("vmap", value=0.97),
        MethodTiming("batched", value=1.0),
        MethodTiming("loop", value=2.0),
    ]
    clearly = [
        MethodTiming("vmap", value=0.9),
        MethodTiming("batched", value=1.0),
        MethodTiming("loop", value=2.0),
    ]
    assert tune.fastest(hardly, film) == "batched" and tune.fastest(clearly, film) == "vmap"
    named = film.model_copy(update={"loss": film.loss.model_copy(update={"method": "loop"})})
    assert tune.fastest(hardly, named) == "batched"  # what the scene names now is no reason


def test_the_table_has_a_line_for_each_method_and_names_the_best(scene):
    film = Scene.load(scene)
    lines = list(tune.table([MethodTiming("batched", 0.1, 0.001, 1e-7), MethodTiming("loop", 0.0, 0.002)], film))
    assert len(lines) == 4 and lines[1].startswith("batched*") and "2.00x" in lines[1] and "best" in lines[3]
    assert lines[3].split(": ")[1].startswith("batched")
