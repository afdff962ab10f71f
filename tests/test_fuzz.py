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
