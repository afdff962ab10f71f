import importlib
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the limits of memory are those of Linux", allow_module_level=True)

FUZZ = Path(__file__).parent / "fuzz"


@pytest.fixture
def fuzz(monkeypatch):
    """The module of this name in tests/fuzz."""
    monkeypatch.syspath_prepend(FUZZ)
    return importlib.import_module


def test_whatever_a_scene_says_is_a_film_or_a_mistake_with_its_place(fuzz, tmp_path):
    told, failures = fuzz("harness").table(fuzz("scenes").attempts(0, 200, tmp_path))
    assert not failures, told


def test_the_fuzz_mutates_every_key_of_the_schema(fuzz):
    from studio.scene.scene import Scene

    schema = Scene.model_json_schema()
    found = {keys[-1] for keys, _ in fuzz("scenes").sites(schema, schema["$defs"])}
    assert found == {key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", ())}


@pytest.mark.parametrize(
    ("run", "word"),
    [
        (lambda: "scene", "scene"),
        (lambda: 1 / 0, "traceback"),
        (lambda: bytearray(10**9) and "", "memory"),
        (lambda: [time.sleep(0.01) for _ in range(10**5)] and "", "hang"),
        (lambda: sum(i * i for i in range(10**9)) and "", "hang"),
    ],
)
def test_the_fuzz_notices(fuzz, monkeypatch, run, word):
    harness = fuzz("harness")
    monkeypatch.setattr(harness, "SECONDS", 0.2)
    monkeypatch.setattr(harness, "_STUCK", 1.0)
    outcome = harness.attempt(run, lambda error: None)
    assert outcome.word == word
    assert harness.table([("a", outcome)])[1] == (word != "scene")


SHOTS = ", ".join(f"{{shot: s{i}, duration: 1s, show: l{i % 8}, along: {{0s: 0}}}}" for i in range(150))
LANDS = ", ".join(f"l{i}: {{loss: {{seed: {i}}}}}" for i in range(8))
LARGE = {
    "keyframes": "run: {recipe: {epochs: 999}}\nconvexity: {points: 3}",
    "grids": "run: {recipe: {epochs: 2}}\nsweep: {kind: zoom, steps: 100}\ngrid: {points: 2001}",
    "pairs of checkpoints": "run: {recipe: {epochs: 999}}\nsweep: {kind: trajectory}\ndirections: pca",
}


@pytest.mark.parametrize("keys", LARGE.values(), ids=LARGE)
def test_the_largest_scene_that_can_be_asked_for_is_checked_in_time(fuzz, tmp_path, keys):
    harness, scenes = fuzz("harness"), fuzz("scenes")
    scene = tmp_path / "scene.yaml"
    scene.write_text(f"title: x\n{keys}\nlandscapes: {{{LANDS}}}\nshots: [{SHOTS}]\n")
    outcome = harness.attempt(lambda: scenes.check(scene), scenes.refused)
    assert outcome.word == "scene", outcome


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("run: {recipe: {epochs: 9999}}", "2000.yaml:1:1: sweep.at: 10000 keyframes; expected at most 1000"),
        (
            "run: {recipe: {epochs: 9999, checkpoint: {every: 0.001}}}",
            "2000.yaml:2:15: run.recipe: 9999000 checkpoints",
        ),
        ("run: {recipe: {}}\ngrid: {points: 2002}", "2000.yaml:3:16: grid.points: 2002 points: expected at most 2001"),
        ("run: {recipe: {}}\nfilm: {fps: 240}", "2000.yaml:1:1: shots: the film has"),
    ],
)
def test_a_scene_that_asks_for_more_is_a_mistake(fuzz, tmp_path, keys, words):
    scene = tmp_path / "2000.yaml"
    scene.write_text(f"title: x\n{keys}\nshots: [{{shot: a, duration: 9999999f, along: {{0s: 0}}}}]\n")
    with pytest.raises(Exception, match="2000.yaml") as error:
        fuzz("scenes").check(scene)
    assert words.partition(": ")[2] in str(error.value), error.value
