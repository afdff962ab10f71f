import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from studio.config.reading import parse
from studio.errors import SceneError
from studio.field import Grid
from studio.landscape.centres import AtCheckpoint, Matched, Mixture, Pruned
from studio.landscape.directions import Checkpoints, Pca, Random, Through
from studio.landscape.sweeps.along import Epochs, Trajectory
from studio.landscape.sweeps.between import Chord, Curve, Spawn
from studio.landscape.sweeps.changes import Hyperparameter, Pruning, Rescale
from studio.landscape.sweeps.planes import Rotation, Zoom
from studio.landscape.sweeps.probes import Networks
from studio.landscape.sweeps.sweep import Sweep
from studio.scene.scene import Scene
from studio.training.models import Mlp, Resnet
from studio.training.recipe import Every, Fork, Recipe
from studio.training.runs import FolderRun, RecipeRun

RUN = RecipeRun(recipe=Recipe(epochs=2, checkpoint=Every(every=0.5)))
GRID = Grid(range=(-1.0, 1.0), points=5)
SWEEPS = (
    Epochs(),
    Trajectory(),
    Zoom(),
    Zoom(to=8),
    Rotation(),
    Rotation(through=-90),
    Rotation(seeds=(4, 2)),
    Chord(seed=1),
    Curve(seed=1, epochs=3),
    Curve(seed=1, epochs=3, shape="chain", along="training"),
    Spawn(at=(0.0, 0.5, 1.5)),
    Pruning(),
    Pruning(at=(90.0, 0.0, 50.0), retrain=0.5),
    Rescale(up="a", down="b"),
    Rescale(up="a", down="b", to=0.25),
    Hyperparameter(key="optimizer.lr", values=("0.1", "0.01", "1e-3")),
    Hyperparameter(key="model", values=("mlp", "resnet")),
)


def unroll(sweep, run=RUN, directions=None, grid=GRID):
    return sweep.unroll((run, *sweep.needs(run)), directions or Random(), grid)


def coordinates(keyframes) -> list[float]:
    return [keyframe.coordinate for keyframe in keyframes]


@pytest.mark.parametrize("sweep", SWEEPS, ids=repr)
def test_keyframes_rise_and_can_be_dictionary_keys(sweep):
    keyframes = unroll(sweep)
    assert len(keyframes) > 1 and np.all(np.diff(coordinates(keyframes)) > 0)
    assert len(set(keyframes)) == len(keyframes)


@pytest.mark.parametrize("sweep", SWEEPS, ids=repr)
def test_a_draft_has_fewer_keyframes_between_the_same_ends(sweep):
    runs = (RUN, *sweep.needs(RUN))
    few, all_ = coordinates(unroll(sweep.reduced(runs, 2))), coordinates(unroll(sweep))
    assert (few[0], few[-1]) == (all_[0], all_[-1]) and len(few) == 2


@pytest.mark.parametrize("sweep", SWEEPS, ids=repr)
def test_a_sweep_says_what_its_coordinates_are(sweep):
    axis = sweep.axis((RUN, *sweep.needs(RUN)))
    assert axis.name in axis.label(coordinates(unroll(sweep))[-1])


def test_all_epochs_are_those_the_run_has():
    assert coordinates(unroll(Epochs())) == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_listed_epochs_come_in_order_and_once():
    keyframes = unroll(parse("at: [2, 0, 0.5, 2]", Epochs))
    assert coordinates(keyframes) == [0.0, 0.5, 2.0]
    assert all(k.centre == k.marker == AtCheckpoint(k.coordinate) for k in keyframes)


@pytest.mark.parametrize(
    "sweep", [Epochs(at=(0.7,)), Trajectory(at=(0.7,)), Zoom(centre=0.7), Rotation(centre=0.7)], ids=repr
)
def test_a_missing_epoch_names_its_neighbours(sweep):
    with pytest.raises(SceneError, match=r"epoch 0\.7: .* 0\.5, 1"):
        unroll(sweep)


@pytest.mark.parametrize("text", ["at: al", "at: []", "at: [0, two]", "at: {a: 1}"])
def test_epochs_that_are_not_understood_are_one_mistake_with_a_place(text):
    with pytest.raises(SceneError) as caught:
        parse(text, Epochs)
    assert len(caught.value.mistakes) == 1
    assert caught.value.mistakes[0].startswith("scene:1:") and "[0, 2, 6]" in caught.value.mistakes[0]


def test_a_sweep_may_be_a_bare_word_and_survives_json():
    family = TypeAdapter(Sweep)
    assert family.validate_python("epochs") == Epochs()
    for sweep in SWEEPS:
        assert family.validate_json(family.dump_json(sweep)) == sweep


def test_every_checkpoint_has_metrics_also_between_the_keyframes():
    sweep = Epochs(at=(0.0, 2.0))
    assert list(sweep.scored((RUN,), unroll(sweep))) == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_trajectory_has_one_plane_and_a_marker_that_moves():
    keyframes = unroll(Trajectory(at=(0.0, 1.0, 2.0)))
    assert {(k.centre, k.directions, k.grid) for k in keyframes} == {(AtCheckpoint(2.0), Random(), GRID)}
    assert [k.marker for k in keyframes] == [AtCheckpoint(0.0), AtCheckpoint(1.0), AtCheckpoint(2.0)]


def test_a_zoom_shrinks_the_range_by_a_constant_factor_and_counts_halvings():
    keyframes = unroll(Zoom(to=1 / 64, steps=6, centre=1.0))
    assert coordinates(keyframes) == [0, 1, 2, 3, 4, 5, 6]
    assert [k.grid.sides[0][1] for k in keyframes] == pytest.approx([2.0**-k for k in range(7)], rel=1e-12)
    assert {k.grid.points for k in keyframes} == {5} and {k.centre for k in keyframes} == {AtCheckpoint(1.0)}
    assert Zoom().axis((RUN,)).label(3.0) == "zoom 8\u00d7"


def test_a_zoom_out_has_the_widest_range_first():
    keyframes = unroll(Zoom(to=4, steps=2))
    assert coordinates(keyframes) == [-2, -1, 0] and [k.grid.sides[0][1] for k in keyframes] == [4, 2, 1]


def test_a_zoom_goes_towards_the_centre_of_the_plane_from_any_grid():
    last = unroll(Zoom(to=0.5, steps=1), grid=Grid(range=((-1.0, 3.0), (-1.0, 1.0)), points=(9, 5)))[-1].grid
    assert last.sides == ((-0.5, 1.5), (-0.5, 0.5)) and last.counts == (9, 5)


def test_no_zoom_is_refused():
    with pytest.raises(SceneError, match="to: 1 is no zoom"):
        parse("{kind: zoom, to: 1}", Zoom)


def test_a_rotation_turns_the_draw_and_a_full_turn_ends_on_the_first_plane():
    keyframes = unroll(Rotation(through=360, steps=4))
    assert coordinates(keyframes) == [0, 90, 180, 270, 360]
    assert [k.directions.angle for k in keyframes] == [0, 90, 180, 270, 0]
    assert keyframes[0].directions == Random()


def test_a_rotation_may_step_through_seeds():
    keyframes = unroll(Rotation(seeds=(7, 3)))
    assert coordinates(keyframes) == [0, 1] and [k.directions.seed for k in keyframes] == [7, 3]


def test_only_random_directions_turn():
    with pytest.raises(SceneError, match="turns random directions"):
        unroll(Rotation(), directions=Pca())


def test_a_network_that_stands_still_keeps_its_metrics():
    sweep = Zoom(steps=2)
    assert set(sweep.scored((RUN,), unroll(sweep)).values()) == {AtCheckpoint(2.0)}


def test_a_chord_needs_a_second_training_and_goes_from_end_to_end():
    sweep = Chord(seed=5, steps=4)
    (other,) = sweep.needs(RUN)
    assert other.recipe.seed == 5 and other.recipe.model_copy(update={"seed": 0}) == RUN.recipe
    ends, keyframes = (AtCheckpoint(2.0), AtCheckpoint(2.0, 1)), unroll(sweep)
    assert coordinates(keyframes) == [0, 0.25, 0.5, 0.75, 1]
    assert [k.centre for k in keyframes] == [ends[0], *(Mixture.between(*ends, s) for s in (0.25, 0.5, 0.75)), ends[1]]
    # a network between two trained ones is none of theirs
    assert sweep.scored((RUN, other), keyframes) == {}


def test_two_models_are_not_connected():
    other = RecipeRun(recipe=Recipe(model=Mlp()))
    with pytest.raises(SceneError, match="different models"):
        unroll(Chord(to=other))


@pytest.mark.parametrize("text", ["{kind: chord}", "{kind: chord, seed: 1, to: {recipe: {}}}"])
def test_a_chord_leads_to_one_run(text):
    with pytest.raises(SceneError, match="either `seed: 1`"):
        parse(text, Chord)


def test_checkpoints_of_ones_own_are_not_trained_from_another_seed(tmp_path):
    run = FolderRun(checkpoints=tmp_path, recipe=Recipe())
    with pytest.raises(SceneError, match="name the other run"):
        Chord(seed=1).needs(run)


def test_a_curves_plane_stands_still_with_its_ends_at_one_either_side_and_the_network_goes_along_it():
    sweep = Curve(seed=5, epochs=3, steps=4)
    other, curve = sweep.needs(RUN)
    assert (curve.first, curve.second) == (RUN, other) and curve.recipe.epochs == 3
    keyframes, ends = unroll(sweep), (AtCheckpoint(2.0), AtCheckpoint(2.0, 1))
    bend = AtCheckpoint(3.0, 2)
    assert {k.centre for k in keyframes} == {Mixture.between(*ends, 0.5)}
    assert {k.directions for k in keyframes} == {Checkpoints(at=(ends[1], bend))}
    shares = [k.marker.shares for k in keyframes]
    np.testing.assert_allclose(shares, [[(1 - t) ** 2, 2 * t * (1 - t), t**2] for t in (0, 0.25, 0.5, 0.75, 1)])
    by_training = unroll(Curve(seed=5, epochs=3, along="training", shape="chain"))
    assert [k.marker.centres[1].checkpoint for k in by_training] == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert {k.marker.shares for k in by_training} == {(0.0, 1.0, 0.0)}


def test_two_curves_join_three_networks_in_their_plane():
    sweep = Curve(seed=5, third=6, epochs=3, steps=4)
    second, third, *curves = sweep.needs(RUN)
    assert third.recipe.seed == 6 and [(c.first, c.second) for c in curves] == [(RUN, second), (second, third)]
    keyframes, ends = unroll(sweep), tuple(AtCheckpoint(2.0, number) for number in range(3))
    assert {k.centre for k in keyframes} == {Mixture(ends, (1 / 3,) * 3)}
    assert {k.directions for k in keyframes} == {Through(at=ends)}
    assert [k.coordinate for k in keyframes] == [0, 0.5, 1, 1.5, 2]
    assert [k.marker.centres for k in keyframes[1::2]] == [
        (ends[0], AtCheckpoint(3.0, 3), ends[1]),
        (ends[1], AtCheckpoint(3.0, 4), ends[2]),
    ]
    with pytest.raises(ValidationError, match="along: training shows one curve"):
        Curve(seed=5, third=6, along="training")


def test_twins_part_from_a_checkpoint_and_stand_at_one_either_side():
    sweep = Spawn(at=(1.0, 0.5), seed=9)
    assert [run.recipe.fork for run in sweep.needs(RUN)] == [Fork(at=0.5, seed=9), Fork(at=1.0, seed=9)]
    first, second = unroll(sweep)
    end, twin = AtCheckpoint(2.0), AtCheckpoint(2.0, 2)
    assert second.coordinate == 1 and second.centre == Mixture.between(end, twin, 0.5)
    assert second.directions == Checkpoints(at=(twin, AtCheckpoint(1.0))) and first.marker == end


def test_a_pruned_network_is_trained_again_once_for_every_share():
    sweep = Pruning(at=(0.0, 90.0, 50.0), retrain=0.5, weights="kept")
    assert [(run.sparsity, run.start, run.instants()) for run in sweep.needs(RUN)] == [
        (0.5, 0.5, (0.5, 1.0, 1.5, 2.0)),
        (0.9, 0.5, (0.5, 1.0, 1.5, 2.0)),
    ]
    assert [k.centre for k in unroll(sweep)] == [
        AtCheckpoint(2.0),
        Pruned(AtCheckpoint(2.0, 1), 0.5),
        Pruned(AtCheckpoint(2.0, 2), 0.9),
    ]


def test_a_hyperparameter_trains_once_for_every_value_in_their_order():
    sweep = Hyperparameter(key="optimizer.lr", values=("0.1", "0.001", "0.01"))
    assert [run.recipe.optimizer.lr for run in sweep.needs(RUN)] == [0.1, 0.001, 0.01]
    keyframes = unroll(sweep)
    assert coordinates(keyframes) == [0.001, 0.01, 0.1]
    assert [k.centre for k in keyframes] == [AtCheckpoint(2.0, n) for n in (2, 3, 1)]
    assert sweep.axis((RUN,)).label(0.01) == "lr 0.01"


@pytest.mark.parametrize(
    ("sweep", "run", "message"),
    [
        (Spawn(at=(0.7,)), RUN, "no checkpoint"),
        (Spawn(at=(2.0,)), RUN, "are the same"),
        (Spawn(), FolderRun(checkpoints="x", recipe=RUN.recipe), "only a run with a recipe"),
        (Pruning(retrain=0.7), RUN, "no checkpoint"),
        (Pruning(retrain=2.0), RUN, "nothing is left to train"),
        (Hyperparameter(key="optimizer.rate", values=("1", "2")), RUN, "no key 'optimizer.rate'"),
        (Hyperparameter(key="optimizer.lr", values=("1", "-2")), RUN, "optimizer.lr: -2: expected more than 0"),
        (Hyperparameter(key="optimizer.lr", values=("1", "1.0")), RUN, "stands twice"),
        (Curve(to=RecipeRun(recipe=Recipe(model=Mlp()))), RUN, "different models"),
    ],
    ids=repr,
)
def test_what_a_sweep_cannot_have_is_said(sweep, run, message):
    with pytest.raises(SceneError, match=message):
        unroll(sweep, run)


@pytest.mark.parametrize("sweep", [Curve(seed=1), Spawn()], ids=repr)
def test_a_sweep_with_a_plane_of_its_own_takes_no_directions(sweep):
    with pytest.raises(SceneError, match="take `directions` out"):
        unroll(sweep, directions=Pca())


@pytest.mark.parametrize("text", ["at: [100%]", "at: [-1%]", "at: []", "{kind: rescale, up: a, down: a}"])
def test_changes_that_change_nothing_or_leave_nothing_are_refused(text):
    with pytest.raises(SceneError):
        parse(text, Rescale if "rescale" in text else Pruning)


@pytest.mark.parametrize("sweep", [Spawn(at=(0,), match=True), Chord(seed=1, match=True)], ids=lambda s: s.kind)
def test_units_are_matched_in_chains_alone(sweep):
    run = RUN.model_copy(update={"recipe": RUN.recipe.model_copy(update={"model": Mlp()})})
    ends = sweep.unroll((run, *sweep.needs(run)), Random(), Grid())[0 if sweep.kind == "spawn" else -1].centre
    matched = ends.centres[1] if sweep.kind == "spawn" else ends
    assert matched == Matched(AtCheckpoint(2.0, 1), AtCheckpoint(2.0))
    recipe = RUN.recipe.model_copy(update={"model": Resnet(depth=8)})
    run = RUN.model_copy(update={"recipe": recipe})
    with pytest.raises(SceneError, match="match: is for layers in a chain"):
        sweep.unroll((run, *sweep.needs(run)), Random(), Grid())


def test_windows_select_the_nearest_checkpoint_inside_to_each_of_their_instants():
    run = RecipeRun(recipe=Recipe(epochs=40))
    for at, expected in (
        ([{"every": 2, "from": 0, "to": 6}, 7, {"every": 0.5, "from": 9.5, "to": 11}], [0, 2, 4, 6, 7, 10, 11]),
        ([0, {"log": 5, "from": 2.5, "to": 40}], [0, 3, 5, 10, 20, 40]),
        ([{"every": 39, "from": 0.1, "to": 39.2}], [1, 39]),
        ("all", list(range(41))),
    ):
        assert coordinates(unroll(Epochs(at=at), run)) == expected
        assert coordinates(unroll(Trajectory(at=at), run)) == expected


def test_a_window_without_a_checkpoint_is_a_mistake():
    with pytest.raises(SceneError, match=r"^epoch 0.6 to 0.9: the run has no checkpoint there$"):
        unroll(Epochs(at=[0, {"every": 0.1, "from": 0.6, "to": 0.9}]))
    text = SCENE.replace("sweep: epochs", "sweep: {at: [1, {every: 1, from: 30, to: 50}], kind: epochs}")
    with pytest.raises(SceneError, match=r"sweep.at: epoch 30 to 50: the run has no checkpoint there"):
        parse(text, Scene)
    text = SCENE.replace("sweep: epochs", "sweep: {at: [1, {every: 1, from: 30, log: 50}], kind: epochs}")
    with pytest.raises(SceneError, match=r"scene:2:\d+: sweep.at\[1\].to: the key 'to' is missing"):
        parse(text, Scene)


SCENE = """title: Windows
sweep: epochs
run: {recipe: {}}
shots: [{shot: a, duration: 1s, along: {0s: 1}}]
deliver: [{kind: still, at: 0s}]
"""


@pytest.mark.parametrize("sides", [(-1, 1), ((-1, 3), (0.5, 2))], ids=str)
def test_a_number_of_a_network_is_measured_at_it_wherever_the_grid_lies(sides):
    run, grid = RecipeRun(recipe=Recipe(epochs=1)), Grid(range=sides, points=5)
    for keyframe in Networks(of=Epochs()).unroll((run,), Random(), grid):
        assert keyframe.grid.counts == (1, 1) and (keyframe.grid.alpha, keyframe.grid.beta) == ([0], [0])
