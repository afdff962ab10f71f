import pytest
import torch

from studio.config.reading import parse
from studio.config.records import Record
from studio.errors import SceneError
from studio.training.models import Mlp, move_only
from studio.training.recipe import Recipe
from studio.training.runs import FolderRun, RecipeRun, Run


class Of(Record):
    run: Run


def read(text: str) -> RecipeRun | FolderRun:
    return parse("run:\n" + text, Of).run


def test_a_run_is_trained_here_unless_it_says_that_its_checkpoints_are_the_users(tmp_path):
    run = read("  recipe: {epochs: 3}")
    assert run == RecipeRun(recipe=Recipe(epochs=3)) == read("  kind: recipe\n  recipe: {epochs: 3}")
    assert run.instants() == (0, 1, 2, 3)
    for name in ("epoch-4.pt", "epoch-0.5.pt"):
        torch.save({"w": torch.ones(1)}, tmp_path / name)
    own = read(f"  kind: folder\n  checkpoints: {tmp_path}\n  recipe: {{data: digits}}")
    assert own == FolderRun(checkpoints=tmp_path, recipe=Recipe()) and own.instants() == (0.5, 4)
    flat = read(f"  kind: folder\n  checkpoints: {tmp_path}/*.pt\n  model: resnet\n  data: digits")
    assert flat.recipe == own.recipe and flat.digest("data") == own.digest("data") and flat.axis.name == "epoch"


MISTAKES = {
    "checkpoints without the kind": (
        "  recipe: {}\n  checkpoints: mine",
        "2:3: run: a run of your own checkpoints is a kind: write `kind: folder` beside `checkpoints`",
    ),
    "a word": ("  recipe", "2:3: run: expected keys and values, found 'recipe'"),
    "a key in the recipe": ("  recipe: {epoch: 3}", "2:12: run.recipe.epoch: unknown key 'epoch'; did you mean"),
    "a key beside the recipe": ("  recipe: {}\n  batch: 3", "3:3: run.batch: unknown key 'batch'; one of recipe, kind"),
    "no recipe": ("  kind: recipe", "2:3: run.recipe: the key 'recipe' is missing"),
    "neither model nor recipe": (
        "  kind: folder\n  checkpoints: mine\n  model: vgg",
        "2:3: run: a run of your own checkpoints says what they belong to: write `model` and `data`",
    ),
    "both": (
        "  kind: folder\n  checkpoints: mine\n  model: vgg\n  data: digits\n  recipe: {}",
        "2:3: run: a run has `model` and `data`, or a recipe with both; take one of the two out",
    ),
    "a pattern without a place": (
        "  kind: folder\n  checkpoints: mine\n  recipe: {}\n  named: net_*",
        "5:10: run.named: 'net_*' says not where the number stands; write it like net_{epoch}_*",
    ),
    "a model that is not there": (
        "  kind: folder\n  checkpoints: mine\n  model: 'no_such_module:build'\n  data: digits",
        "4:10: run.model: no module 'no_such_module'",
    ),
    "a value in a folder's recipe": (
        "  kind: folder\n  checkpoints: mine\n  recipe: {model: {kind: resnet, depth: 33}}",
        "4:41: run.recipe.model.depth: a resnet of depth 33",
    ),
    "an unknown kind": ("  kind: foldr\n  recipe: {}", "2:3: run: unknown kind 'foldr'; did you mean 'folder'?"),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_run_has_its_place(text, words):
    with pytest.raises(SceneError) as caught:
        read(text)
    assert str(caught.value).startswith(f"scene:{words}")


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*"], ["1.weight", "1.bias", "3.weight", "3.bias", "5.weight"]),
        (["*.weight"], ["1.weight", "3.weight", "5.weight"]),
        (["[1-3].*"], ["1.weight", "1.bias", "3.weight", "3.bias"]),
        (["5.weight", "1.bias"], ["1.bias", "5.weight"]),
    ],
)
def test_patterns_say_which_weights_move(patterns, names):
    model = Mlp().build((4,), 3)
    dict(model.named_parameters())["5.bias"].requires_grad_(False)
    moved = move_only(patterns, model)
    assert [name for name, weight in moved.named_parameters() if weight.requires_grad] == names


@pytest.mark.parametrize(("pattern", "nearest"), [("3.wieght", "3.weight, "), ("5.bias", "3.bias, 1.bias"), ("", "")])
def test_a_pattern_that_matches_nothing_names_the_nearest(pattern, nearest):
    model = Mlp().build((4,), 3)
    dict(model.named_parameters())["5.bias"].requires_grad_(False)
    with pytest.raises(
        SceneError, match=f"run.parameters: '{pattern}' matches no weight that trains; the nearest: {nearest}"
    ):
        move_only(["1.*", pattern], model)
    assert model[1].weight.requires_grad
