"""Every sweep as a film: what is measured, where the network stands, and what the picture says of it."""

import numpy as np
import pytest

from studio.film.overlays import Text
from studio.pipeline.film import film_source, make_film
from studio.pipeline.measure import measure
from studio.pipeline.project import Project
from studio.pipeline.status import status
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
    from studio.storage.mapped_arrays import map_arrays

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
