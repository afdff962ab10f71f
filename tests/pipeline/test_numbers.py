"""Numbers of the tiny scene: each against the same thing measured by hand."""

import numpy as np
import pytest
import torch

from studio.errors import SceneError
from studio.film.marks import Text
from studio.landscape.centres import Mixture
from studio.pipeline.film import film_source, make_film
from studio.pipeline.measure import measure
from studio.pipeline.numbers import measure_numbers, number_parts, stored_numbers
from studio.pipeline.project import Project
from studio.pipeline.status import status
from studio.training import checkpoints
from studio.training.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("in_process")


def claiming(tiny, numbers: str, claim: str = "") -> Project:
    text = tiny.read_text().replace("titles: {title: Tiny}", f'titles: {{claim: "{claim}"}}' if claim else "titles: {}")
    tiny.write_text(f"{text}\nnumbers: {{{numbers}}}\n")
    return Project.open(tiny)


def measured(tiny, number: str, shelf=None):
    project = claiming(tiny, f"it: {number}")
    return project, measure_numbers(project)["it"].values


def network(project: Project, run: int, epoch: float):
    """A checkpoint of a run as a module, and its training images."""
    recipe, data = project.scene.network.recipe, project.scene.network.recipe.data.load()
    module = recipe.model.build(data.shape, 10)
    checkpoint = checkpoints.load(project.run_folders[run], epoch)
    module.load_state_dict({**checkpoint.weights, **checkpoint.buffers})
    return module.eval(), torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)


def test_the_loss_and_accuracy_of_networks_are_those_of_their_checkpoints_over_all_images(tiny):
    project = claiming(
        tiny, "a: {measure: loss, take: each, loss: {subset: 100%}}, b: {measure: accuracy, loss: {subset: 100%}}"
    )
    numbers = measure_numbers(project)
    modules = [network(project, 0, epoch) for epoch in (0.0, 1.0, 2.0)]
    scores = [evaluate(*module) for module in modules]
    values = [value for value, *_ in numbers["a"].values.values()]
    assert values == pytest.approx([score["loss"] for score in scores], rel=1e-5)
    assert numbers["b"].values[""].value == pytest.approx(scores[-1]["accuracy"], rel=1e-5)
    assert list(numbers["a"].values) == [f"epoch {epoch}" for epoch in (0.0, 1.0, 2.0)]


def test_a_barrier_is_the_highest_loss_between_two_networks_over_the_mean_at_its_ends(tiny):
    project, values = measured(
        tiny, "{measure: barrier, directions: random, sweep: {kind: spawn, at: [0]}, loss: {subset: 100%}, times: 1}"
    )
    [part] = number_parts(project).values()
    first, x, y = network(part, 0, 2.0)
    second, *_ = network(part, 1, 2.0)
    own, other = ({name: t.clone() for name, t in module.state_dict().items()} for module in (first, second))
    losses = []
    for share in np.linspace(0, 1, 11):
        first.load_state_dict({name: (1 - share) * own[name] + share * other[name] for name in own})
        losses.append(evaluate(first, x, y)["loss"])
    assert values[""].value == pytest.approx(max(losses) - (losses[0] + losses[-1]) / 2, rel=1e-3, abs=1e-6)


def test_the_gap_is_the_test_loss_minus_the_training_loss_of_each_checkpoint(tiny):
    project, values = measured(tiny, "{measure: gap, take: each}")
    metrics = checkpoints.metrics(project.run_folders[0])
    gaps = np.array(metrics["test_loss"]) - np.array(metrics["train_loss"])
    assert [value for value, *_ in values.values()] == pytest.approx(list(gaps[::2]))


def test_the_relief_and_the_sharpness_are_those_of_the_measured_planes(tiny):
    project = claiming(
        tiny,
        "a: {measure: relief, take: each, times: 1}, b: {measure: sharpness, times: 1}, "
        "c: {measure: lambda_max, times: 1}",
    )
    numbers = measure_numbers(project)
    losses = [dataset["loss"].values for dataset in measure(project).datasets("loss")]
    assert [value for value, *_ in numbers["a"].values.values()] == pytest.approx([np.ptp(loss) for loss in losses])
    # Cauchy's interlacing: no plane is sharper than the network
    assert 0 < numbers["b"].values[""].value <= numbers["c"].values[""].value * 1.01


def test_every_repetition_is_of_other_samples_or_of_other_directions(tiny):
    project = claiming(
        tiny,
        "a: {measure: loss, times: 3}, b: {measure: relief, vary: directions, times: 3}, c: {measure: gap, times: 3}",
    )
    scenes = {key: part.scene for key, part in number_parts(project).items()}
    assert [scenes["a", "loss", i].loss.seed for i in range(3)] == [0, 1, 2]
    assert [scenes["b", "relief", i].directions.seed for i in range(3)] == [1, 2, 3]
    assert {scene.loss.seed for (name, *_), scene in scenes.items() if name == "b"} == {0}
    assert sum(name == "c" for name, *_ in scenes) == 1  # a checkpoint's metrics are of all samples


def test_a_claim_is_on_the_picture_as_measured_and_follows_the_measurement(tiny):
    project = claiming(tiny, "end: {measure: loss, format: .4f}", "at the end {end}")
    assert stored_numbers(project, ["end"]) is None
    number = measure_numbers(project)["end"]
    texts = [overlay.text for overlay in film_source(project).frame(3).overlays if isinstance(overlay, Text)]
    assert f"at the end {number}" in texts and str(number).count("(") == 1
    assert str(stored_numbers(project, ["end"])["end"]) == str(number)


def test_a_film_with_a_claim_is_done_only_with_its_numbers(tiny):
    project = claiming(tiny, "end: {measure: loss, times: 2}", "at the end {end}")
    make_film(project, project.path.parent / "out")
    rows = {stage: state for stage, state, _ in status(project, project.path.parent / "out")}
    assert rows["numbers"] == "done" and rows["deliver"] == "done"
    assert project.shelf.unused() == []


def test_numbers_resume_and_measure_nothing_twice(tiny, monkeypatch):
    project = claiming(tiny, "a: {measure: loss, take: each, times: 2}, b: {measure: loss, take: largest, times: 2}")
    parts = number_parts(project)
    whole = measure_numbers(project)
    digests = {digest for part in parts.values() for digest in part.recorded("loss")}
    assert len(digests) == 6  # three checkpoints, two subsets, shared by both numbers
    monkeypatch.setattr("studio.landscape.tasks.loss_rows", lambda *_: pytest.fail("measured again"))
    assert measure_numbers(project) == whole


@pytest.mark.parametrize(
    ("numbers", "claim", "message"),
    [
        ("a: {measure: loss}", "at the end {b}", r"titles.claim: no number 'b'; one of a"),
        ("a: {measure: loss}", "no number", r"titles.claim: claims no number; name one of the scene's in braces"),
        ("", "at the end {b}", r"titles.claim: no number 'b'; say it under `numbers`"),
        ("a: {measure: barrier}", "", r"numbers.a.sweep: a barrier lies between two networks"),
        ("a: {measure: loss, show: x}", "", r"numbers.a: no landscape 'x'"),
        (
            "a: {measure: loss, sweep: {kind: epochs, at: [7]}}",
            "",
            r"numbers.a.sweep: epoch 7: the run has no checkpoint",
        ),
        (
            "a: {measure: relief, directions: pca, vary: directions}",
            "",
            r"numbers.a: directions: pca has no seed to vary",
        ),
        ("a: {measure: lossy}", "", r"numbers.a.measure: "),
    ],
)
def test_check_refuses_numbers_that_cannot_be_measured(tiny, numbers, claim, message):
    with pytest.raises(SceneError, match=message):
        claiming(tiny, numbers, claim)


@pytest.mark.parametrize(("take", "count"), [("each", 22), ("largest", 22), ("first", 11), ("last", 11)])
def test_a_mixture_of_twins_is_what_a_barrier_asks_for(tiny, take, count):
    sweep = "{kind: spawn, at: [0, 1], match: true}"
    project = claiming(tiny, f"a: {{measure: barrier, take: {take}, directions: random, sweep: {sweep}, times: 1}}")
    [part] = number_parts(project).values()
    keyframes = part.scene.keyframes()
    assert len(keyframes) == count and all(isinstance(k.centre, Mixture) for k in keyframes[1:10])
    assert all(k.grid.size == 1 for k in keyframes)
