import pytest

from studio.config.records import merge
from studio.errors import SceneError
from studio.scene.scene import Scene

PAIR = """\
landscapes:
  narrow: {}
  wide: {run: {recipe: {model: {width: 16}}}, grid: {points: 11}}
"""


def pair(tiny, landscapes: str = PAIR, show: str = "[narrow, wide]") -> str:
    return tiny.read_text().replace("duration:", f"show: {show}\n    duration:") + landscapes


def test_what_is_said_once_holds_for_all_landscapes(tiny):
    tiny.write_text(pair(tiny))
    scene = Scene.load(tiny)
    narrow, wide = (scene.only(name) for name in scene.names)
    assert scene.names == ("narrow", "wide")
    assert (narrow.run.recipe.model.width, wide.run.recipe.model.width) == (8, 16)
    assert (narrow.grid.points, wide.grid.points) == (9, 11)
    assert narrow.run.recipe.optimizer == wide.run.recipe.optimizer and narrow.loss == wide.loss
    assert narrow.run == scene.run and not narrow.landscapes


def test_a_scene_without_names_is_its_own_landscape(tiny):
    scene = Scene.load(tiny)
    assert scene.names == ("",) and scene.only("") is scene


def test_another_kind_replaces_what_is_shared():
    assert merge({"kind": "sgd", "lr": 1}, {"kind": "adam"}) == {"kind": "adam"}
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}, "d": 4}) == {"a": {"b": 1, "c": 3}, "d": 4}
    assert merge({"a": {"b": 1}}, {"a": "word"}) == {"a": "word"}


SHOW = "show: [narrow, wide]"


@pytest.mark.parametrize(
    ("old", "new", "message", "count"),
    [
        # a mistake in what all share is said once, where it stands
        ("width: 8}", "width: none}", ":4:41: run.recipe.model.width: ", 1),
        ("width: 16}", "width: 0}", "landscapes.wide.run.recipe.model.width: ", 1),
        ("subset: 32", "subset: 9999", ":12:16: loss.subset: 9999 images", 1),
        ("at: [0, 2], tol", "at: [0, 0.5], tol", "convexity.at: epoch 0.5: the sweep has no keyframe", 1),
        ("points: 11}", "points: 1}", "landscapes.wide.grid.points: 1 points", 1),
        ("wide: {run", "wide: {sweep: {at: [1, 2]}, run", "shots[0].along.0s: epoch 0 is outside", 2),
        (SHOW, "show: norrow", "show: no landscape 'norrow'; did you mean 'narrow'", 3),
        (SHOW, "show: []", "which landscape is shown? write `show: narrow`", 3),
    ],
)
def test_a_mistake_is_said_once_where_it_stands(tiny, old, new, message, count):
    tiny.write_text(pair(tiny).replace(old, new))
    with pytest.raises(SceneError) as caught:
        Scene.load(tiny)
    assert len(caught.value.mistakes) == count and message in "\n".join(caught.value.mistakes)


def test_two_different_networks_share_no_plane(tiny):
    text = tiny.read_text().replace(
        "sweep: {kind: epochs, at: [0, 1, 2]}", "sweep: {kind: hyperparameter, key: model.width, values: [4, 8]}"
    )
    text = text.replace("{kind: random, seed: 1}", "{kind: through, at: [0, 1, {checkpoint: 2, run: 1}]}")
    tiny.write_text(text)
    with pytest.raises(SceneError, match="are of different networks, which share no plane"):
        Scene.load(tiny)
