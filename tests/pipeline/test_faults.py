import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from studio.errors import DamageError, MachineError
from studio.pipeline import film
from studio.pipeline.project import Project, repairs
from studio.storage.files import read_json

FUZZ = Path(__file__).parents[1] / "fuzz" / "faults.py"
NOTES = ["", "null", "[]", "{}", '{"checksum": 1}', "{" * 9999, "\x00\xff"]


@pytest.mark.skipif(sys.platform != "linux", reason="finds orphans in /proc")
def test_a_dozen_faults_and_three_kills_leave_the_film_as_it_was():
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, FUZZ, "0", "0"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"single faults +12 .*noticed \d", done.stdout) and re.search(
        r"kill -9 +3 .*identical 3", done.stdout
    )


@pytest.mark.parametrize("text", NOTES)
def test_a_damaged_manifest_is_named_and_made_again_and_clean_removes_nothing_meanwhile(copy, invoke, text):
    [manifest] = copy.shelf.root.glob("scenes/*.json")
    manifest.write_text(text)
    cleaned = invoke("clean", "tiny.yaml")
    assert (cleaned.status, cleaned.out) == (3, "") and f"{manifest}: is damaged" in cleaned.err
    made = invoke("film", "tiny.yaml")
    assert made.status == 0 and read_json(manifest)["frames"]
    assert invoke("clean", "tiny.yaml").out.splitlines()[0].endswith("in 0 items")


def test_a_segment_cut_short_is_named_and_encoded_again_from_its_frames(copy, invoke, caplog, undrawable, finished):
    segment = max(copy.shelf.root.glob("segments/*.mp4"))
    segment.write_bytes(segment.read_bytes()[:-100])
    assert invoke("film", "tiny.yaml").status == 0
    assert f"{segment}: is damaged (it is not what was written)" in caplog.text
    assert (copy.out / "tiny.mp4").read_bytes() == (finished.out / "tiny.mp4").read_bytes()


@pytest.mark.parametrize("damage", [Path.unlink, lambda seal: seal.write_text("{}")], ids=["gone", "another"])
def test_a_segment_without_its_checksums_is_encoded_again_also_by_verify(copy, invoke, caplog, damage):
    segment = max(copy.shelf.root.glob("segments/*.mp4"))
    damage(segment.with_name(f"{segment.name}.json"))
    assert invoke("film", "tiny.yaml", "--verify").status == 0
    assert f"{segment}: is damaged" in caplog.text and "again, just" not in caplog.text


def test_verify_finds_damage_in_what_a_finished_film_does_not_open(copy, invoke, caplog):
    theta = next(copy.shelf.root.glob("planes/*/theta.npy"))
    theta.write_bytes(theta.read_bytes()[:-1] + b"?")
    assert invoke("film", "tiny.yaml").status == 0 and caplog.text == ""
    assert invoke("film", "tiny.yaml", "--verify").status == 0
    assert f"{theta.parent}: is damaged (an array is not what was written)" in caplog.text


@pytest.mark.parametrize("damage", [Path.unlink, lambda note: note.write_text("{}")], ids=["gone", "another"])
def test_verify_makes_a_runs_note_again(copy, invoke, damage):
    [note] = copy.shelf.root.glob("runs/*/run.json")
    damage(note)
    assert invoke("film", "tiny.yaml", "--verify").status == 0 and read_json(note)


def test_what_is_damaged_again_after_it_was_made_is_an_error(tiny):
    @repairs
    def stage(project):
        raise DamageError(project.shelf.slice("abc").path, "its disk fails")

    with pytest.raises(MachineError, match=r"abc\.zarr: is damaged again, just after it was made"):
        stage(Project.open(tiny))


def test_a_shelf_of_the_former_layout_is_set_aside_for_clean_and_made_again(copy, invoke, caplog):
    mark = copy.shelf.root / "shelf.json"
    mark.write_text('{\n "made_by": "studio",\n "version": 1\n}\n')
    shutil.rmtree(copy.shelf.root / "frames")
    assert invoke("train", "tiny.yaml").status == 0
    assert "is a shelf of an older version, without checksums; all is made again" in caplog.text
    assert len(list(copy.shelf.root.glob("slices-1/*.zarr"))) == 5 and len(list(copy.shelf.root.glob("runs/*"))) == 1
    assert copy.shelf.root / "runs-1" in {path.parent for path in copy.shelf.unused()}


def test_a_defect_is_one_sentence_whose_traceback_is_in_the_log_and_shown_when_asked(copy, invoke, monkeypatch):
    def fail(*_, **__):
        raise IndexError("pop from an empty net\nof nets")

    monkeypatch.setattr(film, "_job", fail)
    log = copy.shelf.root / "studio.log"
    made = invoke("film", "tiny.yaml")
    assert (made.status, made.out) == (1, "")
    sentence = "a defect of studio, please report it: IndexError: pop from an empty net"
    assert re.fullmatch(rf"{sentence} \(.*, line \d+\)\. The traceback is in {log}\n", made.err)
    assert log.read_text().rstrip().endswith("of nets") and "Traceback" in log.read_text()
    assert "Traceback" in invoke("film", "tiny.yaml", "--verbose").err


NETS = """
import sys

def objective(model, batch):
    x, y = batch
    loss = model(x).square().mean(1)
    return {} if len(x) == 32 else loss

def wrong(loss):
    {}
"""


@pytest.mark.parametrize("wrong", ["return loss / {}['scale']", "sys.exit(0)", "return loss.no_such_thing"])
def test_what_the_users_code_does_wrong_late_names_the_function_the_place_and_the_input(tiny, run, wrong):
    source = NETS.replace("return {} if", "return wrong(loss) if").replace("    {}", f"    {wrong}")
    (tiny.parent / "nets.py").write_text(source)
    text = tiny.read_text().replace("\ndirections:", '\n  objective: "nets:objective"\ndirections:')
    text = text.replace("    colour: {field: convexity, map: lajolla}\n", "")
    tiny.write_text(text.replace("convexity: {points: 3, at: [0, 2], tol: 1e-1}\n", ""))
    done = run("compute", "tiny.yaml", "--workers", 1)
    line = source[: source.index(wrong)].count("\n") + 1
    place = rf"{tiny.parent}/nets\.py:{line}: objective fails on batch\[0\] float32 \[32, 1, 8, 8\] and .*: \w+: "
    assert done.status == 2 and re.match(place, done.err.splitlines()[-1])
    assert "Traceback" not in done.err and "Traceback" in (tiny.parent / ".studio" / "studio.log").read_text()
