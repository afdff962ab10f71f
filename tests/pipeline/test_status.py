from dataclasses import replace

import pytest

from studio.pipeline.film import make_film
from studio.pipeline.measure import measure, results_of
from studio.pipeline.project import Project
from studio.pipeline.train import train

pytestmark = pytest.mark.usefixtures("in_process")


def test_status_distinguishes_missing_done_and_stale_in_every_stage(copy, edited, states):
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


def test_every_deliverable_has_its_own_status(copy, tmp_path, edited, states):
    without = edited(copy, ("convexity: {", "# {"), ("    colour: {field: convexity, map: lajolla}\n", ""))
    make_film(without, copy.out)
    assert states(without) == ["done"] * 4
    (copy.out / "tiny.mp4").unlink()
    assert states(without) == ["done", "done", "missing", "done"]


def test_every_stage_of_a_new_scene_is_missing(tiny, states):
    assert states(Project.open(tiny)) == ["missing"] * 5
    assert not (tiny.parent / ".studio").exists()


def test_status_follows_the_work(tiny, states, stopping):
    project = Project.open(tiny)
    train(project)
    assert states(project) == ["done", "missing", "missing", "missing", "missing"]
    with pytest.raises(KeyboardInterrupt):
        measure(replace(project, progress=stopping("measure the convexity", after=2))).surfaces()
    assert states(project) == ["done", "done", "missing", "missing", "missing"]
    keys = results_of(project).digests
    assert [len(project.shelf.slice(keys["convexity", epoch]).missing()) for epoch in (0, 2)] in (
        [1, 3],
        [2, 2],
        [3, 1],
    )
