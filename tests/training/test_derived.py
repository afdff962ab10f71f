"""Runs that fork, move some weights only, are pruned and trained again, or join two networks by a curve."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from studio.errors import SceneError
from studio.training import checkpoints, derived
from studio.training.derived import CurveRun, PrunedRun, kept_by_magnitude
from studio.training.evaluate import evaluate
from studio.training.models import Mlp
from studio.training.optimizers import Adam
from studio.training.recipe import Every, Fork, Recipe
from studio.training.runs import RecipeRun

RECIPE = Recipe(model=Mlp(width=24), epochs=4, checkpoint=Every(every=1), optimizer=Adam(lr=3e-3))
RUN = RecipeRun(recipe=RECIPE)
DATA = RECIPE.data.load()


def changed(**changes) -> RecipeRun:
    return RUN.model_copy(update={"recipe": RECIPE.model_copy(update=changes)})


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Trains a run beside the others; its folder."""
    root = tmp_path_factory.mktemp("runs")

    def make(run):
        folder = root / run.digest(DATA.digest)
        if not checkpoints.epochs(folder):
            run.make(folder, lambda *_: None)
        return folder

    return make


def weights(folder, epoch):
    return checkpoints.load(folder, epoch).weights


def equal(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_fork_is_its_run_up_to_an_epoch_and_another_from_there(shelf):
    twin = shelf(changed(fork=Fork(at=2.0, seed=1)))
    assert [equal(weights(shelf(RUN), e), weights(twin, e)) for e in (0.0, 1.0, 2.0, 3.0)] == [True, True, True, False]


def test_training_moves_the_weights_that_match_a_pattern_and_no_others(shelf):
    names = list(weights(shelf(RUN), 0.0))
    folder = shelf(changed(train=(names[0],)))
    first, last = weights(folder, 0.0), weights(folder, 4.0)
    assert [name for name in names if not torch.equal(first[name], last[name])] == [names[0]]


def test_recipes_without_the_new_keys_keep_their_digests():
    assert "fork" not in RECIPE.determinants and "train" not in RECIPE.determinants
    assert changed(fork=Fork(at=1.0)).digest("d") != RUN.digest("d") != changed(train=("x",)).digest("d")


@pytest.mark.parametrize("kept", ["rewound", "kept"])
def test_what_is_pruned_stays_zero_while_the_rest_trains_on(shelf, kept):
    parent = shelf(RUN)
    run = PrunedRun(recipe=RECIPE, of=RUN, sparsity=0.8, start=2.0, weights=kept)
    folder = shelf(run)
    assert checkpoints.epochs(folder) == run.instants() == (2.0, 3.0, 4.0)
    masks = kept_by_magnitude(weights(parent, 4.0), 0.8, "network")
    origin, first, last = weights(parent, 4.0 if kept == "kept" else 2.0), weights(folder, 2.0), weights(folder, 4.0)
    for name, mask in masks.items():
        assert torch.equal(first[name], origin[name] * mask)
        assert (last[name][mask == 0] == 0).all() and not torch.equal(last[name], first[name])
    shares = [float((w == 0).float().mean()) for w in last.values() if w.dim() > 1]
    assert np.average(shares, weights=[w.numel() for w in last.values() if w.dim() > 1]) == pytest.approx(0.8, abs=1e-3)


def loss_at(mixed) -> float:
    model = RECIPE.model.build(DATA.shape, DATA.classes)
    model.load_state_dict(mixed)
    return evaluate(model.eval(), torch.from_numpy(DATA.train_x), torch.from_numpy(DATA.train_y))["loss"]


@pytest.mark.parametrize("shape", ["bezier", "chain"])
def test_the_loss_is_low_on_the_curve_and_high_on_the_chord(shelf, shape):
    other = changed(seed=7)
    curve = CurveRun(recipe=RECIPE.model_copy(update={"epochs": 12}), first=RUN, second=other, shape=shape)
    ends = [weights(shelf(run), 4.0) for run in (RUN, other)]
    bends = [weights(shelf(curve), epoch) for epoch in (0.0, 12.0)]
    for name in ends[0]:
        torch.testing.assert_close(bends[0][name], (ends[0][name] + ends[1][name]) / 2)
    highest = []
    for bend in bends:
        points = [
            {name: a * ends[0][name] + b * bend[name] + c * ends[1][name] for name in bend}
            for a, b, c in map(curve.shares, np.linspace(0, 1, 11))
        ]
        assert equal(points[0], ends[0]) and equal(points[-1], ends[1])
        highest.append(max(map(loss_at, points)))
    # with the bend at its first place, half-way, the curve is the chord
    assert highest[0] > 5 * highest[1]


def test_a_killed_curve_goes_on_to_the_same_bytes(shelf, tmp_path, monkeypatch):
    other = changed(seed=7)
    curve = CurveRun(recipe=RECIPE.model_copy(update={"epochs": 2}), first=RUN, second=other)
    whole = shelf(curve)
    for run in (RUN, other):
        (tmp_path / run.digest(DATA.digest)).symlink_to(shelf(run))
    folder = tmp_path / curve.digest(DATA.digest)

    def stop(done, total, text):
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curve.make(folder, stop)
    curve.make(folder, lambda *_: None)
    assert equal(weights(folder, 2.0), weights(whole, 2.0))


def test_networks_of_other_shapes_are_not_joined(shelf, monkeypatch):
    narrow = changed(model=Mlp(width=8))
    shelf(RUN), shelf(narrow)
    with pytest.raises(derived.SceneError, match="other names or shapes"):
        shelf(CurveRun(recipe=RECIPE, first=RUN, second=narrow))


# --- from a checkpoint -----------------------------------------------------------------------------------------------

CONTINUED = {"recipe": {**RECIPE.model_dump(by_alias=True), "optimizer": {"kind": "sam", "lr": 0.05}}}
CONTINUED["from"] = {"epoch": 2, "recipe": {"optimizer": {"kind": "adam", "lr": 3e-3}}}


def test_a_run_that_starts_from_a_checkpoint_has_it_first_and_goes_its_own_way(shelf):
    run = RecipeRun.model_validate(CONTINUED)
    assert run.parent == RUN and run.instants() == (2.0, 3.0, 4.0)
    parent, folder = shelf(RUN), shelf(run)
    assert checkpoints.epochs(folder) == run.instants()
    assert equal(weights(folder, 2.0), weights(parent, 2.0)) and not equal(weights(folder, 3.0), weights(parent, 3.0))
    assert checkpoints.metrics(folder)["train_loss"][0] == checkpoints.metrics(parent)["train_loss"][2]


def test_what_a_run_starts_from_is_part_of_its_digest():
    run = RecipeRun.model_validate(CONTINUED)
    earlier = RecipeRun.model_validate({**CONTINUED, "from": {**CONTINUED["from"], "epoch": 1}})
    other = RecipeRun.model_validate({**CONTINUED, "from": {"epoch": 2, "recipe": {"seed": 5}}})
    alone = RecipeRun.model_validate({"recipe": CONTINUED["recipe"]})
    assert len({each.digest(DATA.digest) for each in (run, earlier, other, alone)}) == 4


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"epoch": 2.5}, "no checkpoint at epoch 2.5; the nearest is 2"),
        ({"epoch": 4}, "must be one of its own checkpoints before its last, 4"),
        ({"epoch": 2, "recipe": {"model": {"width": 9}}}, "have other models"),
        ({"epoch": 2, "recipe": {"epoch": 3}}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_start_that_is_none_is_refused(start, message):
    with pytest.raises(ValidationError, match=message):
        RecipeRun.model_validate({**CONTINUED, "from": start})


def test_a_sweep_over_another_model_cannot_start_from_the_same_checkpoint(shelf):
    run = RecipeRun.model_validate(CONTINUED)
    wider = run.model_copy(update={"recipe": run.recipe.model_copy(update={"model": Mlp(width=25)})})
    shelf(RUN)
    with pytest.raises(SceneError, match="run.from: the weights there have other names or shapes"):
        shelf(wider)
