"""Every sweep as a film: what is measured, where the network stands, and what the picture says of it."""

import numpy as np
import pytest

from studio.errors import StudioError
from studio.film.marks import Text
from studio.pipeline.film import film_source, make_film
from studio.pipeline.measure import measure
from studio.pipeline.project import Project
from studio.pipeline.status import status
from studio.storage.mapped_arrays import map_arrays
from studio.training import checkpoints

pytestmark = pytest.mark.usefixtures("in_process")
SWEEP = "sweep: {kind: epochs, at: [0, 1, 2]}"


def swept(tiny, sweep: str, last: float, *changes: tuple[str, str]) -> Project:
    """The tiny scene with another sweep, whose shots walk from 0 to its last coordinate."""
    text = tiny.read_text().replace(SWEEP, f"sweep: {sweep}").replace("convexity: {points: 3", "# {")
    text = text.replace("1.5s: 2}", f"1.5s: {last}}}").replace("{0s: 2}", f"{{0s: {last}}}")
    text = text.replace("    colour: {field: convexity, map: lajolla}\n", "")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    tiny.write_text(text)
    return Project.open(tiny)


def texts(project: Project, number: int) -> str:
    return "\n".join(
        overlay.text for overlay in film_source(project).frame(number).overlays if isinstance(overlay, Text)
    )


def test_a_trajectory_measures_one_plane_and_moves_the_marker_to_the_networks_nearest_points(tiny):
    live = ("titles: {title: Tiny}", 'titles: {live: "{coordinate} {train_loss:.2f} {distance:.2f}"}')
    project = swept(tiny, "trajectory", 2, ("{kind: random, seed: 1}", "pca"), live)
    results = measure(project)
    assert len(set(results.digests.values())) == 1 and len(results.digests) == 5
    surfaces = results.surfaces()
    plane = {name: np.asarray(array, np.float64) for name, array in plane_of(results).items()}
    basis = np.stack([plane["delta"], plane["eta"]], 1)
    names = [name for name, _ in sorted_weights(project, 0.0)]
    for k, epoch in enumerate(surfaces.markers.coordinates):
        offset = np.concatenate([dict(sorted_weights(project, epoch))[n].ravel() for n in names]) - plane["theta"]
        place, *_ = np.linalg.lstsq(basis, offset, rcond=None)
        # float32 weights
        np.testing.assert_allclose(surfaces.markers.places[k], place, atol=1e-5)
        distance = np.linalg.norm(offset - basis @ place) / np.linalg.norm(plane["delta"])
        assert surfaces.markers.distances[k] == pytest.approx(distance, abs=1e-5)
    assert surfaces.markers.places[-1] == pytest.approx([0, 0], abs=1e-9)
    assert "9\u00d79 points of one plane" in texts(project, 0) and "|delta| away" in texts(project, 0)
    scores = checkpoints.metrics(project.run_folders[0])["train_loss"]
    assert f"epoch 2.0 {scores[-1]:.2f} 0.00" in texts(project, 20)


def plane_of(results) -> dict[str, np.ndarray]:
    [plane] = set(results.planes.values())
    return map_arrays(results.shelf.plane(plane)).arrays


def sorted_weights(project: Project, epoch: float) -> list[tuple[str, np.ndarray]]:
    recipe = project.scene.run.recipe
    data, weights = recipe.data.load(), checkpoints.load(project.run_folders[0], epoch).weights
    order = [name for name, _ in recipe.model.build(data.shape, data.classes).named_parameters()]
    return [(name, weights[name].numpy()) for name in order]


def test_a_zoom_has_the_same_loss_in_the_middle_of_grids_of_its_own(tiny):
    project = swept(tiny, "{kind: zoom, to: 0.25, steps: 2}", 2)
    data = measure(project).dataset()
    assert data["alpha"].dims == ("keyframe", "column") and data["alpha"].values[:, -1].tolist() == [1, 0.5, 0.25]
    middle = data["loss"].values[:, 4, 4]
    assert (middle == middle[0]).all()
    # every second node of a grid is a node of the one before
    np.testing.assert_allclose(data["loss"].values[1, ::2, ::2], data["loss"].values[0, 2:7, 2:7], rtol=1e-6)
    assert "zoom 1\u00d7" in texts(project, 0) and "zoom 4\u00d7" in texts(project, 20)
    assert "range \u00b11 to \u00b10.25" in texts(project, 0)


def test_a_full_turn_measures_its_first_plane_once(tiny):
    results = measure(swept(tiny, "{kind: rotation, through: 360deg, steps: 4}", 360))
    digests = list(results.digests.values())
    assert digests[0] == digests[-1] and len(set(digests)) == 4
    losses = results.dataset()["loss"].values
    # half a turn is the same line the other way round
    np.testing.assert_allclose(losses[2], losses[0][:, ::-1], rtol=1e-5)
    assert (losses[:, 4, 4] == losses[0, 4, 4]).all() and np.ptp(losses[:, 4, 6]) > 0


def test_a_chord_trains_a_second_run_and_goes_from_one_network_to_the_other(tiny):
    project = swept(tiny, "{kind: chord, seed: 3, steps: 2}", 1)
    assert next(row.details for row in status(project, project.out)) == "0 of 10 checkpoints"
    losses = measure(project).dataset()["loss"].values[:, 4, 4]
    assert len(set(project.run_digests)) == 2
    import torch

    from studio.landscape.network.weight_loss import WeightLoss

    recipe = project.scene.run.recipe
    data, states = recipe.data.load(), [checkpoints.load(folder, 2.0) for folder in project.run_folders]
    chosen = project.scene.loss.sample_indices(data)
    x, y = (torch.from_numpy(part[chosen]) for part in (data.train_x, data.train_y))
    for share, loss in zip((0.0, 0.5, 1.0), losses, strict=True):
        mixed = {name: (1 - share) * a + share * states[1].weights[name] for name, a in states[0].weights.items()}
        exact = WeightLoss(recipe.model.build(data.shape, data.classes), mixed, x, y, precision="float64")
        expected = exact.losses(exact.forward_all(exact.flat(mixed)), exact.targets).mean()
        assert loss == pytest.approx(float(expected), rel=1e-5)


def loss_of(project: Project, mixed: dict) -> float:
    """The scene's loss at some weights, in float64."""
    import torch

    from studio.landscape.network.weight_loss import WeightLoss

    recipe = project.scene.run.recipe
    data = recipe.data.load()
    chosen = project.scene.loss.sample_indices(data)
    x, y = (torch.from_numpy(part[chosen]) for part in (data.train_x, data.train_y))
    exact = WeightLoss(recipe.model.build(data.shape, data.classes), mixed, x, y, precision="float64")
    return float(exact.losses(exact.forward_all(exact.flat(mixed)), exact.targets).mean())


OWN_PLANE = ("directions: {kind: random, seed: 1}\n", "")


def test_a_curve_is_measured_in_the_one_plane_that_holds_it(tiny):
    project = swept(tiny, "{kind: curve, seed: 3, epochs: 3, steps: 4}", 1, OWN_PLANE)
    results = measure(project)
    assert len(set(results.digests.values())) == 1 and "of one plane" in texts(project, 0)
    first, second, bend = (checkpoints.load(f, e).weights for f, e in zip(project.run_folders, (2, 2, 3), strict=True))
    markers = results.surfaces().markers
    np.testing.assert_allclose(markers.places[[0, -1]], [[-1, 0], [1, 0]], atol=1e-5)
    np.testing.assert_allclose(markers.distances, 0, atol=1e-5)
    # halfway the curve has gone half the way towards its bend
    plane = {name: np.asarray(array, np.float64) for name, array in plane_of(results).items()}
    order = [name for name, _ in sorted_weights(project, 0.0)]
    centre, far = ((first[n] + second[n]).double() / 2 for n in order), (bend[n].double() for n in order)
    offset = np.concatenate([(b - c).numpy().ravel() for b, c in zip(far, centre, strict=True)])
    in_plane = [offset @ plane[name] / (plane[name] @ plane[name]) for name in ("delta", "eta")]
    np.testing.assert_allclose(markers.places[2], np.divide(in_plane, 2), atol=1e-5)
    data = results.dataset()
    row = data["loss"].sel(beta=0).values[0]
    for alpha, weights in ((-1, first), (1, second), (0, {n: (first[n] + second[n]) / 2 for n in first})):
        assert row[list(data["alpha"].values).index(alpha)] == pytest.approx(loss_of(project, weights), rel=1e-5)


def test_twins_stand_at_one_either_side_of_the_middle(tiny):
    project = swept(tiny, "{kind: spawn, at: [0, 1]}", 1, OWN_PLANE)
    losses = measure(project).dataset()["loss"].sel(beta=0).values
    end, *twins = (checkpoints.load(folder, 2.0).weights for folder in project.run_folders)
    for row, twin in zip(losses, twins, strict=True):
        assert row[0] == pytest.approx(loss_of(project, end), rel=1e-5)
        assert row[-1] == pytest.approx(loss_of(project, twin), rel=1e-5)
    assert project.run_digests[1] != project.run_digests[2]


@pytest.mark.parametrize("retrain", ["", ", retrain: 1"])
def test_a_pruned_network_keeps_its_zeros_all_over_its_plane(tiny, retrain):
    live = ("titles: {title: Tiny}", 'titles: {live: "{coordinate} {train_accuracy:.2f}"}') if retrain else OWN_PLANE
    project = swept(tiny, f"{{kind: pruning, at: [0%, 80%]{retrain}}}", 80, live)
    results = measure(project)
    planes = [map_arrays(results.shelf.plane(plane)).arrays for plane in results.planes.values()]
    pruned = planes[1]["theta"] == 0
    assert not (planes[0]["theta"] == 0).any() and 0.7 < pruned.mean() < 0.8
    assert (planes[1]["delta"][pruned] == 0).all() and np.count_nonzero(planes[1]["delta"]) > 0
    for plane in planes[1:]:  # filter by filter, directions are as long as what is left
        assert np.linalg.norm(plane["delta"]) == pytest.approx(np.linalg.norm(plane["eta"]), rel=1e-4)
    assert "sparsity 80 %" in texts(project, 20)


def test_layers_scaled_against_each_other_leave_the_loss_and_what_does_not_is_refused(tiny):
    names = [name.rpartition(".")[0] for name, w in sorted_weights_of_a_build(tiny) if w.ndim > 1]
    project = swept(tiny, f"{{kind: rescale, up: {names[0]}, down: {names[1]}, steps: 2}}", 3)
    losses = measure(project).dataset()["loss"].values
    np.testing.assert_allclose(losses[:, 4, 4], losses[0, 4, 4], rtol=1e-5)
    # the filter-normalised picture stays too (Dinh et al. 2017; Li et al. 2018)
    np.testing.assert_allclose(losses[-1], losses[0], rtol=1e-3)
    wrong = project.with_scene(sweep=project.scene.sweep.model_copy(update={"up": names[1], "down": names[0]}))
    with pytest.raises(StudioError, match="the loss changes from"):
        measure(wrong)


def sorted_weights_of_a_build(scene) -> list[tuple[str, np.ndarray]]:
    recipe = Project.open(scene).scene.run.recipe
    data = recipe.data.load()
    model = recipe.model.build(data.shape, data.classes)
    return [(name, p.detach().numpy()) for name, p in model.named_parameters()]


def test_a_hyperparameter_shows_networks_of_other_depths_with_their_own_metrics(tiny):
    live = ("titles: {title: Tiny}", 'titles: {live: "{coordinate} {train_loss:.3f}"}')
    project = swept(tiny, "{kind: hyperparameter, key: model.depth, values: [1, 2]}", 2, live, ("0s: 0,", "0s: 1,"))
    measure(project)
    scores = [checkpoints.metrics(folder)["train_loss"][-1] for folder in project.run_folders]
    assert f"depth 1 {scores[1]:.3f}" in texts(project, 0) and f"depth 2 {scores[2]:.3f}" in texts(project, 20)


PAIR = """\
landscapes:
  narrow: {}
  again: {}
  wide: {run: {recipe: {model: {width: 16}}}}
"""


def test_several_landscapes_share_ranges_and_a_split_screen_shows_them_side_by_side(tiny, pictures):
    text = tiny.read_text().replace("duration: 1.5s", "show: [narrow, again]\n    duration: 1.5s")
    text = text.replace("duration: 1s", "show: wide\n    duration: 1s")
    tiny.write_text(text + PAIR)
    project = Project.open(tiny)
    make_film(project, project.path.parent / "out")
    source = film_source(project)
    assert list(source.surfaces) == ["narrow", "again", "wide"]
    left, right = source.frame(3).views
    assert (left.panel.number, right.panel.number, left.panel.count) == (0, 1, 2) and left.weight == 1.0
    assert np.array_equal(left.height, right.height)  # the same landscape twice, measured once
    assert {"narrow", "again"} <= {o.text for o in source.frame(3).overlays if isinstance(o, Text)}
    losses = [surfaces.fields["loss"].values for surfaces in source.surfaces.values()]
    assert source.ranges.cap == max(values[:, inside].max() for values in losses for inside in [disc()])
    rows = status(project, project.path.parent / "out")
    assert [row.details.partition(":")[0] for row in rows if row.stage == "loss"] == ["narrow", "again", "wide"]
    assert all(row.state == "done" for row in rows)
    assert project.shelf.unused() == []


def disc() -> np.ndarray:
    axis = np.linspace(-1, 1, 9)
    return np.hypot(*np.meshgrid(axis, axis)) <= 0.98
