import numpy as np
import pytest

from studio.errors import SceneError
from studio.film.surface import drawn_trajectory
from studio.pipeline.film import film_source
from studio.pipeline.measure import measure, results_of
from studio.pipeline.project import Project

pytestmark = pytest.mark.usefixtures("in_process")


def losses(project: Project, epoch: float) -> np.ndarray:
    """The loss of each image of the scene's subset at a checkpoint, by torch alone."""
    import torch

    from studio.training import checkpoints

    recipe, checkpoint = project.scene.run.recipe, checkpoints.load(project.run_folders[0], epoch)
    data = recipe.data.load()
    model = recipe.model.build(data.shape, data.classes)
    model.load_state_dict({**checkpoint.weights, **checkpoint.buffers})
    indices = project.scene.loss.sample_indices(data)
    x, y = (torch.from_numpy(part[indices]) for part in (data.train_x, data.train_y))
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(model.eval()(x), y, reduction="none").double().numpy()


def test_the_dataset_holds_the_measured_values_and_the_metrics(finished):
    project = Project.open(finished.scene)
    data = measure(project).dataset()
    assert data["loss"].dims == ("keyframe", "beta", "alpha") and dict(data.sizes) == {
        "keyframe": 3,
        "beta": 9,
        "alpha": 9,
    }
    assert list(data["keyframe"].values) == [0, 1, 2] and data["alpha"].values[4] == 0
    assert set(data.data_vars) == {
        "loss",
        "accuracy",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "learning_rate",
    }
    fields = measure(project).surfaces().fields
    assert np.array_equal(data["loss"].values, fields["loss"].values)
    centre = [float(losses(project, epoch).mean()) for epoch in (0.0, 1.0, 2.0)]
    # float32 sums over 32 images in another order
    assert np.allclose(data["loss"].sel(alpha=0, beta=0).values, centre, rtol=1e-5)
    curvature = measure(project).dataset("convexity")
    assert set(curvature["lambda_min"].dims) == {"keyframe", "beta", "alpha"} and list(
        curvature["keyframe"].values
    ) == [0, 2]
    assert bool((curvature["lambda_min"] < curvature["lambda_max"]).all())


def test_a_scene_without_convexity_has_no_dataset_of_it(measured):
    text = measured.scene.read_text().replace("convexity: {", "# {").replace("field: convexity", "field: loss")
    measured.scene.write_text(text)
    with pytest.raises(SceneError, match="nothing measures the convexity"):
        measure(Project.open(measured.scene)).dataset("convexity")


def test_more_fields_and_every_samples_loss_do_not_change_the_loss(measured, edited):
    (measured.scene.parent / "margins.py").write_text(
        "def margin(outputs, y):\n    top = outputs.double().topk(2).values\n    return top[:, 0] - top[:, 1]\n"
    )
    before = Project.open(measured.scene)
    plain, curvature = (
        measure(before).dataset(),
        {digest for (kind, _), digest in results_of(before).digests.items() if kind != "loss"},
    )
    after = edited(measured, ("subset: 32", "subset: 32, fields: [entropy, margins:margin], keep_samples: true"))
    data = measure(after).dataset()
    assert np.array_equal(data["loss"].values, plain["loss"].values)
    assert dict(data["losses"].sizes) == {"keyframe": 3, "beta": 9, "alpha": 9, "sample": 32}
    # the mean is of float64 numbers, in another order
    assert np.allclose(data["losses"].mean("sample"), data["loss"], rtol=1e-12)
    # ten classes: the entropy of a guess among all is ln 10, and a margin is never negative
    assert ((data["entropy"] >= 0) & (data["entropy"] < np.log(10) + 1e-9)).all() and (data["margin"] >= 0).all()
    # float32 logits of about 10, and what is left of them in a small loss
    assert np.allclose(data["losses"].sel(keyframe=2.0, alpha=0, beta=0), losses(after, 2.0), rtol=1e-4, atol=1e-5)
    # Hessians are of the loss alone, whatever else is counted
    assert {digest for (kind, _), digest in results_of(after).digests.items() if kind != "loss"} == curvature
    assert "margins:margin" in measure(after).surfaces().fields


def test_the_curvature_has_facts_of_every_complete_slice(measured, edited):
    project = edited(measured, ("tol: 1e-1", "tol: 1e-1, spectrum: {probes: 3, steps: 5}"))
    measure(project)
    by_epoch = results_of(project).curvature()
    assert list(by_epoch) == [0, 2]
    for facts in by_epoch.values():
        assert facts["centre"] in ("minimum", "saddle", "maximum", "not stationary")
        assert facts["interlacing_share"] == 1 and 0 <= facts["hidden_share"] <= 1
        assert np.isfinite(facts["trace"]) and facts["trace_error"] >= 0
    assert dict(measure(project).dataset("spectrum")["ritz"].sizes) == {"keyframe": 2, "probe": 3, "step": 5}
    # at another accuracy the spectrum still stands, and the convexity does not: there are no facts of either
    assert results_of(edited(measured, ("tol: 1e-1", "tol: 1e-2"))).curvature() == {}


def test_the_error_of_the_quadratic_model_is_known_where_loss_and_model_are_of_the_same_samples(measured, edited):
    project = Project.open(measured.scene)
    surfaces, facts = measure(project).surfaces(), results_of(project).curvature()
    error = surfaces.fields["taylor"]
    assert error.coordinates == (0, 2) == tuple(facts) and error.grid == surfaces.fields["loss"].grid
    assert np.isfinite(error.values).all() and (error.values[:, 4, 4] < 0.1).all()
    # a grid of 9 x 9 over -1 to 1 has distances of 0.25
    assert all(facts[at]["taylor_radius"] >= 0.25 for at in facts)
    other = edited(measured, ("tol: 1e-1", "tol: 1e-1, subset: 16"))
    assert "taylor" not in measure(other).surfaces().fields
    assert all("taylor_radius" not in each for each in results_of(other).curvature().values())


def test_the_trajectory_is_read_from_the_planes_only_where_a_look_draws_it(copy, edited):
    plain, drawn = (
        film_source(edited(copy, *change)) for change in ((), (("base: ember", "base: ember, trajectory: {}"),))
    )
    trajectory, keyframes = drawn.surfaces[""].trajectory, plain.surfaces[""].fields["loss"].coordinates
    assert (
        plain.surfaces[""].trajectory is None
        and trajectory.coordinates == keyframes
        and 0 < trajectory.share_in_plane < 1
    )
    assert all((trajectory.places[k, k] == 0).all() for k in range(len(keyframes)))
    assert "of its length lies in the plane" in drawn.notes[""]["loss"] and plain.frame(9).views[0].trajectory is None
    [part] = drawn.cut.at(7)  # the last before the dissolve
    expected = drawn_trajectory(drawn.surfaces[""].at(part.shot.coordinate(part.seconds, drawn.cut.fps)), drawn.look)
    assert len(expected) > 1 and np.array_equal(
        drawn.frame(7).views[0].trajectory, expected
    )  # it ends on the land, at 0
