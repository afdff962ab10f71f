import numpy as np
import pytest

from studio.errors import SceneError
from studio.scene.scene import Scene


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ("{range: [-2, 2], points: 101}", r"detail.range: is not inside the grid's"),
        ("{range: [-0.5, 0.5], points: 3}", "detail.points: 3 points over this range are no finer"),
        (
            "{range: [-0.5, 0.5], at: [0.5]}",
            "detail.at: epoch 0.5: the sweep has no keyframe there; the nearest it has: 0, 1",
        ),
        ("{range: [-0.5, 0.5], points: 2}", r":38: detail.points: 2 points: expected at least 3"),
    ],
)
def test_a_detail_that_makes_no_finer_grid_is_refused(tiny, detail, message):
    tiny.write_text(tiny.read_text().replace("\nloss:", f"\ndetail: {detail}\nloss:"))
    with pytest.raises(SceneError, match=message):
        Scene.load(tiny)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  - {kind: sequence}", "  - {kind: movie}", r"deliver\[1\]: the same file as deliver\[0\]; take one"),
        ("  - {kind: sequence}", "  - {kind: still, at: 3s}", r"deliver\[1\].at: 3s is after the end of the film"),
        ("\ntitles: {", "\ntitles: {live: '{epoc}', ", r"titles.live: no number called 'epoc'; did you mean 'epoch'\?"),
        ("mode: eval}", "mode: eval, sampling: preview}", "a preview measures the loss alone, not accuracy"),
    ],
)
def test_mistakes_between_records_are_found(tiny, old, new, message):
    tiny.write_text(tiny.read_text().replace(old, new).replace("field: convexity", "field: accuracy"))
    with pytest.raises(SceneError, match=message):
        Scene.load(tiny)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tol: 1e-1", "subset: 16", r":13:44: convexity.subset: taylor compares the drawn loss with its own Hessian"),
        (
            "\nconvexity: {",
            "\n# {",
            r"shots\[1\].colour.field: nothing measures the taylor; add `convexity: {points: 11}`",
        ),
        ("mode: eval}", "mode: eval, sampling: preview}", "a preview measures the loss alone, not taylor"),
        ("at: [0, 2], tol", "at: [0.5], tol", "convexity.at: epoch 0.5: the sweep has no keyframe there"),
    ],
)
def test_a_quadratic_model_needs_the_hessian_of_the_drawn_loss_at_keyframes(tiny, old, new, message):
    text = tiny.read_text().replace("field: convexity, map: lajolla", "field: taylor")
    assert old in text
    tiny.write_text(text)
    assert [look.colour.field for look in Scene.load(tiny).shots if look.colour] == ["taylor"]
    tiny.write_text(text.replace(old, new))
    with pytest.raises(SceneError, match=message):
        Scene.load(tiny)


def test_an_aperture_needs_subframes(tiny):
    tiny.write_text(tiny.read_text().replace("{moves: [{orbit", "{start: {aperture: f/4}, moves: [{orbit"))
    with pytest.raises(SceneError, match="an aperture blurs only in sub-frames"):
        Scene.load(tiny)
    tiny.write_text(tiny.read_text().replace("fps: 8}", "fps: 8, quality: master}"))
    assert Scene.load(tiny).film.quality.subframes == 16


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("every: 0.5", "every: 2", ":9:13: directions: pca needs at least 3 checkpoints, the run has 2;"),
        ("kind: random, seed: 1", "kind: checkpoints, at: [0, 2]", "the checkpoint at 0 is one of the two that"),
        ("kind: epochs, at: [0, 1, 2]", "kind: chord, seed: 0", "sweep: both ends are the same run"),
        ("kind: epochs, at: [0, 1, 2]", "kind: rotation, through: 0deg", "sweep: two keyframes fall on one coordinate"),
        ("every: 0.5", "every: 0.001", "checkpoint.every: 0.001 is shorter than a step; an epoch has 23"),
        (
            "width: 8}",
            "width: 8, norm: batch}\n    batch: 1436",
            "recipe.batch: the last batch of an epoch has 1 sample",
        ),
        ("subset: 32", "subset: 32, fields: ['own:nope']", "own has no 'nope'; did you mean 'none'"),
        ("subset: 32", "subset: 32, method: batched", "loss.method: batched cannot compute this resnet; leave the"),
    ],
)
def test_what_would_fail_after_training_is_said_before(tiny, old, new, message):
    (tiny.parent / "own.py").write_text("def none(outputs, y):\n    return outputs[:, 0]\n")
    text = tiny.read_text().replace(old, new)
    assert old in tiny.read_text()
    if "batched" in message:
        text = text.replace("kind: mlp, depth: 1, width: 8", "kind: resnet, depth: 8")
    if "pca" in message:
        text = text.replace("kind: random, seed: 1", "kind: pca").replace("[0, 1, 2]", "[0, 2]")
    tiny.write_text(text)
    with pytest.raises(SceneError, match=message):
        Scene.load(tiny)


WEIGHTS = """title: Weights
directions: {{kind: file, file: v.npz}}
run: {{recipe: {{model: {{kind: mlp, depth: 1, width: {width}}}, train: ['{train}']}}, parameters: ['{moves}']}}
shots: [{{shot: a, duration: 1s, along: {{0s: 1}}}}]
deliver: [{{kind: still, at: 0s}}]
"""


@pytest.mark.parametrize("directions", ["random", "pca", "{kind: mixed, delta: random, eta: hessian}"])
def test_directions_that_move_no_weight_are_found_without_training(tmp_path, directions):
    scene = tmp_path / "weights.yaml"
    text = WEIGHTS.format(width=8, train="*", moves="*.bias").splitlines()
    text[1] = f"directions: {directions}"
    scene.write_text("\n".join(text))
    with pytest.raises(SceneError, match=r"yaml:2:\d+: directions: no weight moves, since those that may are of one"):
        Scene.load(scene)


def test_patterns_and_files_that_do_not_fit_a_built_in_model_are_found_of_any_size_without_building_it(tmp_path):
    scene, width = tmp_path / "weights.yaml", 2**16
    numbers = 64 * width + width + 10 * width + 10
    np.savez(tmp_path / "v.npz", delta=np.ones(9), eta=np.ones(9))
    scene.write_text(WEIGHTS.format(width=width, train="1.wieght", moves="2.*"))
    with pytest.raises(SceneError) as caught:
        Scene.load(scene)
    directions, train, moves = str(caught.value).splitlines()
    sizes = f"the model has 4 weights of {numbers} numbers, 4 tensors with its buffers"
    assert directions == f"{scene}:2:13: directions: {tmp_path / 'v.npz'}: delta is [9], {sizes}"
    assert "run.recipe.train: '1.wieght' matches no weight that trains; the nearest: 1.weight, " in train
    assert "run.parameters: '2.*' matches no weight that trains; the nearest: " in moves
    np.savez(tmp_path / "v.npz", **{f"{name}/3.bias": np.arange(10) for name in ("delta", "eta")})
    scene.write_text(WEIGHTS.format(width=width, train="1.*", moves="3.*"))
    assert Scene.load(scene).directions.caption == "directions of v.npz"
