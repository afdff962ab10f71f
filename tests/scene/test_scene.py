from pathlib import Path

import pytest

from studio.errors import SceneError
from studio.scene.scene import Scene, output_name


def test_curvature_is_measured_at_some_of_the_keyframes(tiny):
    scene = Scene.load(tiny)
    assert [keyframe.coordinate for keyframe in scene.keyframes()] == [0, 1, 2]
    assert scene.convexity_keyframes() == scene.keyframes()[::2] and scene.detail_keyframes() == ()


def test_curvature_between_the_keyframes_is_refused(tiny):
    tiny.write_text(tiny.read_text().replace("at: [0, 2], tol", "at: [0, 0.5], tol"))
    with pytest.raises(SceneError, match=r"convexity.at: epoch 0.5: the sweep has no keyframe there; .* 0, 1"):
        Scene.load(tiny)


def test_all_means_the_keyframes_of_the_sweep(tiny):
    text = tiny.read_text().replace("at: [0, 2], tol", "tol")
    tiny.write_text(text.replace("\nloss:", "\ndetail: {range: [-0.5, 0.5], points: 11}\nloss:"))
    scene = Scene.load(tiny)
    assert scene.convexity_keyframes() == scene.detail_keyframes() == scene.keyframes()


def test_an_old_key_is_answered_with_its_new_name(tiny):
    tiny.write_text(tiny.read_text().replace("titles: {", "type: {"))
    with pytest.raises(SceneError, match="type: the key 'type' is called 'titles' now"):
        Scene.load(tiny)


def test_a_draft_has_a_name_of_its_own():
    assert output_name(Path("films/dunes.yaml"), draft=False) == "dunes"
    assert output_name(Path("films/dunes.yaml"), draft=True) == "dunes-draft"
