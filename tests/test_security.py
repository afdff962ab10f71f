"""What a stranger's scene may do, as SECURITY.md has it. That only regular files are read: config/test_files.py."""

import os
import subprocess
import sys

import pytest

NAMED = """\
title: A stranger's
run:
  objective: "nets:loss"
  recipe: {model: {kind: python, make: "nets:make"}, epochs: 2}
shots: [{shot: a, duration: 1s, along: {0s: 0}}]
"""


@pytest.fixture
def stranger(cwd, monkeypatch):
    """A scene that names functions of a module that leaves a trace when it is imported."""
    monkeypatch.delitem(sys.modules, "nets", raising=False)  # another test's
    (cwd / "nets.py").write_text(
        "open('the code ran', 'w')\n\ndef make(): ...\ndef loss(m, b): ...\ndef field(o, y): ...\n"
    )
    (cwd / "a.yaml").write_text(NAMED)
    return cwd


def test_check_runs_nothing_that_a_scene_names(invoke, stranger):
    before = sorted(stranger.iterdir())
    assert invoke("check", "a.yaml").status == 0
    assert sorted(stranger.iterdir()) == before and "nets" not in sys.modules


def test_check_safe_refuses_every_function_with_its_place(invoke, stranger):
    result = invoke("check", "--safe", "a.yaml")
    assert (result.status, result.out) == (2, "")
    places = [line.partition(": '")[0] for line in result.err.splitlines()]
    assert places == [
        "a.yaml:3:14: run.objective",
        "a.yaml:4:40: run.recipe.model.make",
    ]
    assert "'nets:make' is a function of somebody's, which --safe refuses" in result.err
    own = NAMED.replace('  objective: "nets:loss"\n', "").replace('{kind: python, make: "nets:make"}', "mlp")
    (stranger / "b.yaml").write_text(own)
    assert invoke("check", "--safe", "b.yaml").status == 0
    (stranger / "b.yaml").write_text(own + 'loss: {fields: ["nets:field"]}\n')
    assert "b.yaml:5:17: loss.fields[0]: 'nets:field' is a function" in invoke("check", "--safe", "b.yaml").err


def test_a_film_writes_in_the_shelf_and_the_out_folder_alone(finished):
    assert {path.name for path in finished.scene.parent.iterdir()} == {"tiny.yaml", ".studio", "out"}
    assert {path.name for path in (finished.scene.parent / "out").rglob("*") if path.suffix != ".png"} == {
        "tiny",
        "tiny.mp4",
        "tiny-frames",
    }


@pytest.mark.parametrize("name", ["x/../../evil", "/tmp/evil", "..", "con/aux"])
def test_no_name_in_a_scene_leads_out_of_the_out_folder(invoke, tiny, name):
    tiny.write_text(tiny.read_text().replace("shot: closing", f"shot: {name}"))
    result = invoke("film", "tiny.yaml", "--shot", name)
    assert result.status == 2 and f"tiny.yaml:26:11: shots[2].shot: '{name}' is no name" in result.err
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "arguments", [("check", "tiny.yaml"), ("check", "n\u00f6.yaml"), ("--help",), ("looks", "--help")]
)
def test_a_terminal_of_few_letters_gets_escapes_for_the_others(tiny, encoding, arguments):
    tiny.write_text(tiny.read_text().replace("title: Tiny", 'title: "\u96ea \u00b7"', 1), encoding="utf-8")
    environment = os.environ | {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": encoding,
    }
    done = subprocess.run(
        [sys.executable, "-m", "studio.cli", *arguments], cwd=tiny.parent, env=environment, capture_output=True
    )
    assert done.returncode == (2 if "n\u00f6.yaml" in arguments else 0) and b"Traceback" not in done.stderr
    assert arguments[-1] != "tiny.yaml" or done.stdout.startswith(b"\\u96ea ")
