import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from studio.execution.progress import silent
from studio.pipeline.film import make_film
from studio.pipeline.measure import measure, results_of
from studio.pipeline.project import Project, Workers
from studio.pipeline.train import train

pytestmark = pytest.mark.usefixtures("in_process")


def things(shelf) -> set[str]:
    return {f"{room}/{path.name}" for room in ("runs", "slices", "segments") for path in (shelf.root / room).glob("*")}


def test_results_of_tasks_pass_unchanged_and_add_up_their_counts_until_one_is_refused():
    calls = []

    @contextmanager
    def recording(name, total):
        calls.append((name, total))
        try:
            yield calls.append
        finally:
            calls.append("end")

    with ThreadPoolExecutor(1) as executor:
        workers, tasks = Workers(executor, 1, recording), [(abs, (-7,)), (abs, (-8,))]
        assert list(workers.run("draw", tasks, [3, 5])) == [(0, 7), (1, 8)]
        with pytest.raises(ZeroDivisionError):
            for _ in workers.run("draw", tasks, [3, 5]):
                raise ZeroDivisionError
    assert calls == [("draw", 8), 3, 8, "end", ("draw", 8), "end"]


def test_nothing_that_a_scene_needs_is_unused(copy):
    whole = things(copy.shelf)
    assert copy.shelf.unused() == []
    project = Project.open(copy.scene)
    train(project)  # what a command does not touch is needed as before
    measure(project).surfaces()
    assert copy.shelf.unused() == []
    make_film(project, copy.out)
    assert copy.shelf.unused() == [] and things(copy.shelf) == whole


def test_a_scene_moved_with_its_shelf_keeps_everything(copy, tmp_path, states):
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    shutil.move(tmp_path, moved)
    try:
        project = Project.open(moved / "tiny.yaml")
        assert project.shelf.unused() == [] and states(project) == ["done"] * 5
    finally:
        shutil.move(moved, tmp_path)


def test_exactly_what_is_needed_no_more_is_unused(copy, edited, states):
    before = things(copy.shelf)
    project = edited(copy, ("at: [0, 2], tol", "at: [2], tol"), ("  - {kind: movie, preset: h264-web}\n", ""))
    dropped = [
        copy.shelf.slice(key).path.name for key in [results_of(Project.open(copy.scene)).digests["convexity", 2.0]]
    ]
    assert copy.shelf.unused() == []  # it has not been made yet, so all it last used is needed
    make_film(project, copy.out)
    gone = {f"{path.parent.name}/{path.name}" for path in copy.shelf.unused()}
    assert {name.partition("/")[0] for name in gone} == {"slices", "frames", "segments"}
    assert f"slices/{dropped[0]}" not in gone and len([name for name in gone if name.startswith("slices")]) == 1
    copy.shelf.remove(copy.shelf.unused())
    assert copy.shelf.unused() == [] and states(project) == ["done"] * 4
    assert things(copy.shelf) - before == things(copy.shelf) - before - gone


def test_a_part_of_a_film_keeps_the_frames_of_the_whole(copy):
    project = Project.open(copy.scene)
    make_film(project, copy.out, frames=(3, 5))
    assert copy.shelf.unused() == []
    make_film(project, copy.out)
    left = {path.suffix for path in copy.shelf.unused()}
    assert left == {".mp4", ".frames", ".json"}  # of the part: the whole was made since, and does without them


def test_two_scenes_of_one_name_on_one_shelf_have_two_manifests(copy, tmp_path, states):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(copy.scene, other / "tiny.yaml")
    (other / "tiny.yaml").write_text(copy.scene.read_text().replace("lr: 0.1", "lr: 0.2"))
    train(Project.open(other / "tiny.yaml", copy.shelf.root))
    assert copy.shelf.unused() == [] and states(Project.open(copy.scene)) == ["done"] * 5
    (other / "tiny.yaml").unlink()
    [run] = copy.shelf.unused()
    assert run.parent.name == "runs"


def test_unfinished_files_are_unused_unless_a_process_holds_a_lock(copy, states):
    pieces, run = copy.shelf.root / "segments", Project.open(copy.scene).run_folders[0]
    [slice_, *_] = (copy.shelf.root / "slices").iterdir()
    left = [
        pieces / ".abc-12ab34cd.mp4",
        pieces / ".abd-12ab34cd.frames",
        run / ".resume-12ab34cd.safetensors",
        slice_ / "checksum" / "c" / "2.5a5a.partial",
    ]
    for path in left:
        path.mkdir() if path.suffix == ".frames" else path.write_text("half")
    with copy.shelf.lock("something", silent):
        assert copy.shelf.unused() == []
    assert sorted(copy.shelf.unused()) == sorted(left)
    copy.shelf.remove(copy.shelf.unused())
    assert copy.shelf.unused() == [] and states(Project.open(copy.scene)) == ["done"] * 5


def test_slices_of_an_interrupted_measurement_are_not_unused(measured, stopping):
    shutil.rmtree(measured.shelf.root / "slices")
    project = replace(Project.open(measured.scene), progress=stopping("measure the loss", after=1))
    with pytest.raises(KeyboardInterrupt):
        measure(project).surfaces()
    assert things(measured.shelf) and measured.shelf.unused() == []
