import pytest

from studio.config.reading import parse
from studio.field import Grid
from studio.landscape import profiling
from studio.landscape.directions import Random
from studio.landscape.loss import Loss, applicable_methods
from studio.training.runs import RecipeRun

LOSS = Loss(subset=32)
DIRECTIONS = Random()
GRID = Grid(points=5)


def run(model: str) -> RecipeRun:
    return parse(f"recipe: {{model: {model}, data: digits, epochs: 1}}", RecipeRun)


MLP, VGG = (run(model) for model in ("{kind: mlp, depth: 1, width: 8}", "{kind: vgg, widths: [4]}"))


def test_every_method_that_fits_is_timed_and_agrees_with_the_plain_loop(monkeypatch):
    monkeypatch.setattr(profiling, "candidate_methods", applicable_methods)  # torch's compiler takes half a minute
    timings = profiling.time_methods(MLP, DIRECTIONS, LOSS, GRID)
    assert [timing.method for timing in timings] == list(applicable_methods(MLP.recipe.model, LOSS, "cpu"))
    assert all(timing.value > 0 and timing.preparation >= 0 and not timing.failure for timing in timings)
    assert timings[0].difference == 0 and max(timing.difference for timing in timings) < 1e-5


def test_a_method_that_fails_gives_its_reason_and_the_plain_loop_fails_for_all(monkeypatch):
    monkeypatch.setattr(profiling, "candidate_methods", lambda *_: ("loop", "batched"))
    loop, shared = profiling.time_methods(VGG, DIRECTIONS, LOSS, GRID)
    assert not loop.failure and "networks of linear layers" in shared.failure

    def broken(*_):
        raise ValueError("no such network")

    monkeypatch.setattr(profiling, "_time_row", broken)
    with pytest.raises(ValueError, match="no such network"):
        profiling.time_methods(VGG, DIRECTIONS, LOSS, GRID)


def test_the_compiler_is_the_last_candidate():
    assert profiling.candidate_methods(VGG.recipe.model, LOSS, "cpu")[-1] == "torch-compile"


@pytest.mark.parametrize(("ignore", "moves"), [("bias-and-norm", False), ("nothing", True)])
def test_the_untrained_plane_moves_what_the_scenes_directions_move(ignore, moves):
    weight_loss, theta, delta, eta = profiling.untrained_plane(VGG, Random(ignore=ignore), LOSS, "cpu")
    assert weight_loss.sample_count == 32 and len(theta) == weight_loss.size
    norm_weight = weight_loss.split(delta + eta)["1.weight"]
    assert bool(norm_weight.any()) == moves


def test_costs_name_the_size_of_the_problem_and_the_method():
    cost = profiling.measure_costs(MLP, DIRECTIONS, LOSS, None)
    assert cost.value > 0 and cost.product > 0
    assert cost.samples == 32 and cost.parameters == 64 * 8 + 8 + 8 * 10 + 10
    assert cost.images > 1000 and cost.method == "batched" and cost.reason
