"""Filming a run that still trains."""

from time import sleep

import pytest
import torch

from studio.errors import SceneError
from studio.pipeline import following
from studio.pipeline.measure import measure
from studio.pipeline.project import Project
from studio.scene.scene import Scene
from studio.training.models import Mlp
from studio.training.recording import Recorder

pytestmark = pytest.mark.usefixtures("in_process")
SCENE = """\
title: Follow
run: {kind: folder, checkpoints: mine, recipe: {model: {kind: mlp, depth: 1, width: 4}, data: digits}}
grid: {range: [-1, 1], points: 3}
loss: {subset: 16}
cues: {now: last}
look: {base: ember, mesh: 33}
film: {size: 64x36, fps: 4}
shots: [{shot: only, duration: 1s, along: {0s: 0, 1s: now}}]
titles: {live: "{coordinate} {loss:.2f} rate {learning_rate:.2f} {norm:.1f}"}
"""


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "follow.yaml"
    path.write_text(SCENE)
    return path


def advance(recorder, weight):
    with torch.no_grad():
        weight.add_(0.1)
    recorder.step(lr=0.5 / (1 + recorder.number), norm=1)


def network():
    return Mlp(depth=1, width=4).build((1, 8, 8), 10, 0)


def test_each_round_films_the_checkpoints_so_far_and_measures_only_the_new_ones(scene):
    net, seen = network(), []
    recorder, weight = Recorder(scene.parent / "mine", net, steps_per_epoch=1), next(net.parameters())
    advance(recorder, weight)
    while len(list((scene.parent / "mine").glob("epoch*.json"))) < 2:
        sleep(0.01)
    for project in following.follow(lambda: Project.open(scene)):
        before = set(project.shelf.root.glob("slices/*"))
        if recorder.number < 4:
            advance(recorder, weight)  # joins none of what this round films
        if recorder.number == 4:
            recorder.close()
        surfaces = measure(project).surfaces()
        seen.append((surfaces.fields["loss"].coordinates, len(set(project.shelf.root.glob("slices/*")) - before)))
        assert surfaces.metrics["learning_rate"][:2] == (0.5, 0.5) and set(surfaces.metrics) >= {"norm", "step"}
    assert seen[0] == ((0, 1), 2) and seen[-1][0] == (0, 1, 2, 3, 4)
    assert sum(new for _, new in seen) == 5
    assert Scene.load(scene).cues["now"].coordinate(surfaces) == 4


def test_only_a_run_that_is_recorded_can_be_followed(scene, tiny):
    torch.save(network().state_dict(), (scene.parent / "mine").mkdir() or scene.parent / "mine" / "epoch-0.pt")
    for path, words in ((tiny, "the scene has no `run: {kind: folder}`"), (scene, "mine")):
        path.write_text(path.read_text().replace("rate {learning_rate:.2f} {norm:.1f}", ""))
        with pytest.raises(
            SceneError, match=f"--follow: films a run that a studio.Recorder records, not this: .*{words}"
        ):
            next(following.follow(lambda path=path: Project.open(path)))
