"""Scenes of a GAN, of a language model's word, of dropout, and of a run that starts from another's checkpoint."""

import pytest
import torch

from studio.errors import SceneError
from studio.pipeline.film import film_source
from studio.pipeline.measure import measure, results_of
from studio.pipeline.project import Project
from studio.pipeline.train import train
from studio.scene.scene import Scene
from studio.training import checkpoints
from studio.training.losses import cross_entropy

SCENE = """\
title: Recipes
run:
  recipe:
    model: {kind: gan, depth: 1, width: 8}
    data: {kind: latents, size: 4}
    epochs: 2
    batch: 256
    optimizer: {kind: adam, lr: 1e-3}
sweep: {kind: epochs, at: [0, 2]}
grid: {range: [-1, 1], points: 3}
look: {base: ember, mesh: 65, height: {scale: signed-log, reverse: [generator]}}
film: {size: 64x36, fps: 8}
shots: [{shot: only, duration: 1s, show: [generator, critic], along: {0s: 0, 1s: 2}}]
titles: {live: "{train_critic:.2f} {train_generator:.2f} {energy_margin:.2f}"}
deliver: [{kind: sequence}]
landscapes:
  generator: {run: {objective: {kind: wasserstein, of: generator, turns: 2}, parameters: ["generator.*"]}}
  critic: {run: {objective: {kind: wasserstein, turns: 2}, parameters: ["critic.*"]}}
"""
WORD = (
    ("{kind: gan, depth: 1, width: 8}", "{kind: transformer, depth: 1, width: 8, heads: 2}"),
    ("{kind: latents, size: 4}", "{kind: text, file: words.txt, context: 12}"),
    ("look:", "loss: {word: {prompt: 'the cat', next: ' sat'}}\nlook:"),
    (", reverse: [generator]", ""),
    ("show: [generator, critic], ", ""),
    ('"{train_critic:.2f} {train_generator:.2f} {energy_margin:.2f}"', '"{loss:.2f} {bigram_margin:.2f}"'),
    (SCENE[SCENE.index("landscapes:") :], ""),
)


@pytest.fixture
def scene(tmp_path):
    def write(*changes: tuple[str, str]):
        text = SCENE
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (tmp_path / "words.txt").write_text("the cat sat on the mat. " * 20, encoding="utf-8")
        (tmp_path / "recipes.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "recipes.yaml"

    return write


def test_generator_and_critic_are_two_landscapes_of_one_run(scene):
    project = Project.open(scene())
    generator, critic = project.parts
    assert generator.run_digests == critic.run_digests
    source = film_source(project)
    metrics = checkpoints.metrics(critic.run_folders[0])
    for part, name in ((generator, "train_generator"), (critic, "train_critic")):
        # all pairs are measured, as the metrics are: the middle is the checkpoint itself, to float32
        middle = results_of(part).dataset()["loss"].values[:, 1, 1]
        assert middle == pytest.approx([metrics[name][i] for i in (0, -1)], rel=1e-5, abs=1e-6)
    notes = "\n".join(text.text for text in source.frame(0).overlays if hasattr(text, "text")).replace("\u00a0", " ")
    assert "loss of the generator" in notes and "loss of the critic with gradient penalty 10" in notes
    assert notes.count("drawn upside down: the smallest loss stands highest") == 1
    first = source.shot_view(source.cut.shots[0], 0).appearance.height_scale
    assert first.low > first.high  # the generator's panel, on which contours are numbered
    upright = film_source(Project.open(scene((", reverse: [generator]", "")))).shot_view(source.cut.shots[0], 0)
    assert (upright.appearance.height_scale.low, upright.appearance.height_scale.high) == (first.high, first.low)


@pytest.mark.parametrize(("margin", "is_said"), [(-0.1, True), (float("nan"), True), (0.1, False)])
def test_a_network_that_is_no_better_than_its_baseline_is_called_untrained(scene, monkeypatch, margin, is_said):
    monkeypatch.setattr("studio.training.recorder.margins", lambda *_: {"energy_margin": margin})
    overlays = film_source(Project.open(scene())).frame(0).overlays
    notes = " ".join(text.text for text in overlays if hasattr(text, "text")).replace("\u00a0", " ")
    assert ("untrained: at its last checkpoint the network is no better than" in notes) == is_said


def test_the_loss_of_a_word_is_that_of_its_letters_after_the_prompt(scene):
    project = Project.open(scene(*WORD))
    dataset, recipe = measure(project).dataset(), project.scene.run.recipe
    x, y = (torch.from_numpy(part) for part in recipe.data.word("the cat", " sat"))
    data = recipe.data.load()
    model = recipe.model.build(data.shape, data.classes).eval()
    for number, epoch in enumerate((0, 2)):
        model.load_state_dict(checkpoints.load(project.run_folders[0], epoch).weights)
        expected = float(cross_entropy(model(x), y).detach())
        assert float(dataset["loss"][number, 1, 1]) == pytest.approx(expected, rel=1e-5)  # float32
    assert "loss of “ sat” after “the cat”" in film_source(project).notes[""]["loss"]


def test_dropout_in_train_mode_is_another_landscape_of_the_same_run(scene):
    landscapes = "landscapes:\n  eval: {}\n  train: {loss: {mode: train}}\n"
    changes = (
        *WORD[2:],
        ("{kind: gan, depth: 1, width: 8}", "{kind: mlp, depth: 2, width: 8, dropout: 0.3}"),
        ("{kind: latents, size: 4}", "digits"),
        ("loss: {word: {prompt: 'the cat', next: ' sat'}}", landscapes),
        ("along:", "show: [eval, train], along:"),
        (" {bigram_margin:.2f}", ""),
    )
    evals, trains = Project.open(scene(*changes)).parts
    assert evals.run_digests == trains.run_digests
    losses = [measure(part).dataset()["loss"].values for part in (evals, trains)]
    recorded = checkpoints.metrics(evals.run_folders[0])["train_loss"]
    assert losses[0][:, 1, 1] == pytest.approx([recorded[0], recorded[-1]], rel=1e-5)
    # one mask for all points: the surface is another one, and as smooth
    assert (losses[1] != losses[0]).all() and (losses[1][:, 1, 1] > losses[0][:, 1, 1]).all()


def test_a_film_trains_what_its_run_starts_from_and_keeps_it(scene):
    text = "recipe:\n    model: {kind: mlp, depth: 1, width: 8}"
    changes = (
        *WORD[2:],
        (
            "recipe:\n    model: {kind: gan, depth: 1, width: 8}",
            f"from: {{epoch: 1, recipe: {{optimizer: sgd}}}}\n  {text}",
        ),
        ("{kind: latents, size: 4}", "digits"),
        ("loss: {word: {prompt: 'the cat', next: ' sat'}}\n", ""),
        ("at: [0, 2]", "at: [1, 2]"),
        ("{0s: 0, 1s: 2}", "{0s: 1, 1s: 2}"),
        (" {bigram_margin:.2f}", ""),
    )
    project = Project.open(scene(*changes))
    [folder] = train(project)
    parent = project.scene.run.parent
    beside = project.shelf.run(parent.digest(parent.recipe.data.load().digest))
    assert (checkpoints.epochs(beside), checkpoints.epochs(folder)) == ((0, 1, 2), (1, 2))
    first, origin = (checkpoints.load(of, 1).weights for of in (folder, beside))
    assert all(torch.equal(first[name], w) for name, w in origin.items())
    assert beside not in project.shelf.unused()
    # the end of either is another one
    assert not torch.equal(*(checkpoints.load(of, 2).weights["1.weight"] for of in (folder, beside)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [("reverse: [generator]", "reverse: [generatr]")],
            "look.height.reverse[0]: no landscape 'generatr'; did you mean",
        ),
        ([("reverse: [generator]", "reverse: maybe")], "look.height.reverse"),
        ([("{kind: latents, size: 4}", "digits")], "write `data: {kind: latents, to: digits}`"),
        ([("{kind: gan, depth: 1, width: 8}", "{kind: mlp, width: 8}")], "do not fit; write `model: gan`"),
        (
            [*WORD, ("prompt: 'the cat'", "prompt: 'the cat sat on'")],
            "loss.word: prompt and word have 18 characters",
        ),
        ([*WORD, ("next: ' sat'", "next: Q")], "loss.word: 'Q' does not occur"),
        ([*WORD, ("heads: 2", "heads: 3")], "3 heads do not divide a width of 8"),
        ([*WORD, ("context: 12", "context: 90")], "less than 10 rows of 90; take more"),
        ([*WORD, ("words.txt", "no.txt")], "no.txt"),
        ([*WORD, ("{kind: text, file: words.txt, context: 12}", "digits")], "loss.word: is of a network that learns"),
        ([*WORD, ("{kind: transformer, depth: 1, width: 8, heads: 2}", "mlp")], "an mlp takes real numbers"),
        (
            [*WORD, ("grid:", "convexity: {points: 3, subset: 5}\ngrid:")],
            "convexity.subset: the loss is that of a word",
        ),
        ([("kind: adam, lr: 1e-3", "kind: adam, schedule: {120%: 0.1}")], "rise between 0% and 100%"),
        ([("kind: adam, lr: 1e-3", "kind: swa, start: 120%")], "run.recipe.optimizer.start: "),
    ],
    ids=str,
)
def test_a_mistake_names_its_place_and_the_way_out(scene, changes, message):
    with pytest.raises(SceneError) as caught:
        Scene.load(scene(*changes))
    assert message in "\n".join(caught.value.mistakes)
