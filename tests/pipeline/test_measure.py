import numpy as np
import pytest

from studio.pipeline.film import film_source
from studio.pipeline.measure import measure, results_of, subset_errors
from studio.pipeline.project import Project
from studio.pipeline.status import status
from studio.pipeline.train import is_trained
from studio.scene.captions import captions

pytestmark = pytest.mark.usefixtures("in_process")


def compute_digests(project: Project) -> list[str]:
    return [*project.run_digests, *results_of(project).digests.values()]


LOOKS = [
    ("base: ember", "base: ember, height: {scale: linear, cap: 3}"),
    ("map: lajolla", "map: viridis"),
    ("orbit: 40deg", "orbit: 90deg"),
    ("{dissolve: 0.5s}", "cut"),
    ("duration: 1s", "duration: 2s"),
    ("64x36, fps: 8", "32x18, fps: 12"),
    ("titles: {title: Tiny}", "titles: {title: Other, legend: false}"),
    ("  - {kind: sequence}\n", ""),
    ("title: Tiny\nrun", "title: Another name\nrun"),
]


@pytest.mark.parametrize("change", LOOKS, ids=[new for _, new in LOOKS])
def test_no_key_of_the_look_the_shots_or_the_deliverables_changes_a_digest_of_a_measurement(measured, change, edited):
    before = compute_digests(Project.open(measured.scene))
    after = edited(measured, change)
    assert compute_digests(after) == before
    assert [row[:2] for row in status(after, after.out)][:3] == [
        ("train", "done"),
        ("loss", "done"),
        ("convexity", "done"),
    ]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("subset: 32", "subset: 31"), 1),
        (("points: 9", "points: 11"), 3),
        (("tol: 1e-1", "tol: 1e-2"), 4),
        (("seed: 1", "seed: 2"), 1),
        (("lr: 0.1", "lr: 0.2"), 0),
    ],
)
def test_a_change_of_the_numbers_changes_their_digests_and_no_others(measured, change, same, edited):
    before = compute_digests(Project.open(measured.scene))
    after = edited(measured, change)
    if is_trained(after):
        assert sum(a == b for a, b in zip(before, compute_digests(after), strict=True)) == same
    else:
        assert same == 0 and after.run_digests[0] != before[0]


def test_another_source_of_a_function_is_another_slice(measured, edited):
    mine = measured.scene.parent / "mine.py"
    mine.write_text("def margin(outputs, y):\n    return outputs[:, 0]\n")
    change = ("subset: 32", "subset: 32, fields: [mine:margin]")
    before = results_of(edited(measured, change)).digests
    mine.write_text("def margin(outputs, y):\n    return outputs[:, 1]\n")
    after = results_of(Project.open(measured.scene)).digests
    assert all((before[key] != digest) == (key[0] == "loss") for key, digest in after.items())


def test_a_preview_has_its_own_digests_and_a_caption(measured, edited):
    exact = Project.open(measured.scene)
    project = edited(measured, ("subset: 32", "subset: 32, sampling: preview"), ("points: 9", "points: 31"))
    assert "preview of 31\u00d731 points" in captions(project.scene)["loss"]
    data = measure(project).dataset()
    share = float(data["measured"].mean())
    assert 0 < share < 0.5 and any(
        "are interpolated" in line for line in film_source(project).notes[""]["loss"].splitlines()
    )
    assert not {digest for (kind, _), digest in results_of(project).digests.items() if kind == "loss"} & set(
        results_of(exact).digests.values()
    )


def test_a_grid_off_the_centre_is_measured_drawn_and_captioned_as_it_is(measured, edited):
    film = edited(measured, ("range: [-1, 1], points: 9", "range: [[-0.5, 1], [-1, 1]], points: [6, 8]"))
    results = measure(film)
    loss = results.surfaces().fields["loss"]
    assert loss.grid == film.scene.grid and loss.values.shape == (3, 8, 6)
    assert (
        "range -0.5 to 1 by \u00b11" in captions(film.scene)["loss"]
        and "6\u00d78 points" in captions(film.scene)["loss"]
    )
    assert {facts["centre"] for facts in results.curvature().values()} == {"not a node of the grid"}
    [view] = film_source(film).frame(0).views
    assert view.sides == (0.75, 1.0) and view.marker == pytest.approx((-0.25, 0.0))


def test_a_detail_is_a_second_slice_of_an_epoch_and_changes_the_picture_only_near_the_centre(measured, edited):
    detail = "\ndetail: {range: [-0.5, 0.5], points: 11, at: [1, 2]}\nloss:"
    plain, fine = Project.open(measured.scene), edited(measured, ("\nloss:", detail))
    before, after = results_of(plain).digests, results_of(fine).digests
    assert before.items() <= after.items() and set(after) - set(before) == {("detail", 1.0), ("detail", 2.0)}
    surfaces = measure(fine).surfaces()
    coarse, close = surfaces.fields["loss"], surfaces.fields["loss@detail"]
    assert close.grid.range == (-0.5, 0.5) and close.coordinates == (1.0, 2.0)
    # every fifth node of the one is every other of the other: the same weights, in rows of another length
    assert close.values[:, ::5, ::5] == pytest.approx(coarse.values[1:, 2:7:2, 2:7:2], rel=1e-5)
    assert "11\u00d711 within \u00b10.5 at 2" in captions(fine.scene)["loss"]
    shown = [film_source(project).frame(23).views[0].height for project in (plain, fine)]
    axis = np.linspace(-1, 1, len(shown[0]))
    near = np.maximum(*np.abs(np.meshgrid(axis, axis))) < 0.5
    assert np.array_equal(shown[0][~near], shown[1][~near]) and not np.array_equal(*shown)


def test_the_subset_is_compared_with_all_images_at_nine_points(measured):
    project = Project.open(measured.scene)
    by_quantity = subset_errors(project)
    rows = by_quantity["loss"]
    assert [row[:2] for row in rows][::4] == [(-1.0, -1.0), (0.0, 0.0), (1.0, 1.0)] and len(rows) == 9
    data = measure(project).dataset().isel(keyframe=-1)
    at_centre = next(row for row in rows if row[:2] == (0.0, 0.0))
    # float32 sums over all images, in other batches
    assert at_centre[2] == pytest.approx(float(data["loss"].sel(alpha=0, beta=0)), rel=1e-6)
    assert at_centre[3] == pytest.approx(float(data["train_loss"]), rel=1e-5)
    curved = measure(project).dataset("convexity").isel(keyframe=-1)
    for name in ("lambda_min", "lambda_max"):
        for alpha, beta, part, _ in by_quantity[name]:
            # the tolerance of each eigenvalue, on the scale of the largest
            measured_there = float(curved[name].sel(alpha=alpha, beta=beta))
            assert part == pytest.approx(measured_there, rel=1e-3, abs=1e-6 * float(curved["lambda_max"].max()))
        assert any(abs(part - whole) > 1e-2 * abs(whole) for _, _, part, whole in by_quantity[name])
