import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from studio.errors import RunError
from studio.landscape.centres import AtCheckpoint
from studio.landscape.directions import (
    Checkpoints,
    Directions,
    Hessian,
    Mixed,
    Pca,
    Random,
    Through,
    WeightSource,
    dot,
    flat,
    gaussian,
    misfit,
    norm,
)
from studio.landscape.network.weight_loss import WeightLoss
from studio.training.models import Vgg

EPOCHS = tuple(map(AtCheckpoint, (0.0, 1.0, 2.0, 3.0)))


def weights(epoch: float) -> dict[str, torch.Tensor]:
    shapes = {"conv": torch.empty(4, 3, 3, 3), "bias": torch.empty(4), "fc": torch.empty(5, 4)}
    drawn = gaussian(shapes, 100, int(epoch))
    drawn["conv"][2] = 0  # a dead filter, as trained nets have them
    return drawn


CHECKPOINTS = WeightSource(EPOCHS, lambda at: weights(at.checkpoint))


def filters(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten(1).norm(dim=1)


def test_every_filter_gets_the_norm_of_its_weights():
    plane = Random(seed=1).plane(CHECKPOINTS, AtCheckpoint(2.0))
    for direction in (plane.delta, plane.eta):
        for name in ("conv", "fc"):
            # float32 sums of a few numbers
            torch.testing.assert_close(filters(direction[name]), filters(weights(2.0)[name]), rtol=1e-5, atol=1e-8)
        assert not direction["bias"].any()


def test_a_dead_filter_does_not_move_and_nothing_is_divided_by_zero():
    plane = Random().plane(CHECKPOINTS, AtCheckpoint(0.0))
    assert not plane.delta["conv"][2].any() and flat(plane.delta).isfinite().all()


def test_layers_get_the_norm_of_theirs():
    plane = Random(normalize="layer").plane(CHECKPOINTS, AtCheckpoint(1.0))
    assert float(plane.eta["conv"].norm()) == pytest.approx(float(weights(1.0)["conv"].norm()), rel=1e-5)
    assert not torch.allclose(filters(plane.eta["fc"]), filters(weights(1.0)["fc"]), rtol=1e-2)


def test_single_weights_are_multiplied_by_their_draw():
    plane = Random(normalize="weight", seed=2).plane(CHECKPOINTS, AtCheckpoint(1.0))
    drawn = gaussian(weights(1.0), 2, 0)
    assert torch.equal(plane.delta["fc"], drawn["fc"] * weights(1.0)["fc"])


def test_without_normalisation_directions_are_the_draw():
    plane = Random(normalize="none", ignore="nothing", seed=2).plane(CHECKPOINTS, AtCheckpoint(1.0))
    assert all(torch.equal(plane.eta[name], d) for name, d in gaussian(weights(1.0), 2, 1).items())


def test_biases_that_are_not_ignored_move_along_themselves():
    plane = Random(ignore="nothing").plane(CHECKPOINTS, AtCheckpoint(3.0))
    assert torch.equal(plane.delta["bias"], weights(3.0)["bias"])


def test_the_draw_is_the_same_at_every_epoch():
    early, late = (Random(seed=5).plane(CHECKPOINTS, AtCheckpoint(epoch)).delta["fc"] for epoch in (0.0, 3.0))
    cosines = torch.nn.functional.cosine_similarity(early, late, dim=1)
    torch.testing.assert_close(cosines, torch.ones(5), rtol=1e-5, atol=0)


def test_scaling_by_the_last_epoch_fixes_the_plane():
    early, late = (Random(scale_by="last").plane(CHECKPOINTS, AtCheckpoint(epoch)) for epoch in (0.0, 3.0))
    assert torch.equal(flat(early.delta), flat(late.delta))
    assert torch.equal(flat(late.eta), flat(Random().plane(CHECKPOINTS, AtCheckpoint(3.0)).eta))
    assert Random(scale_by="last").required(EPOCHS, AtCheckpoint(0.0)) == (AtCheckpoint(3.0),)
    assert Random().required(EPOCHS, AtCheckpoint(0.0)) == (AtCheckpoint(0.0),)


def test_seeds_and_streams_differ_and_zero_is_a_seed():
    drawn = [flat(gaussian(weights(0.0), seed, stream)) for seed in (0, 1) for stream in (0, 1)]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert abs(float(torch.dot(a, b)) / len(a)) < 0.4  # 132 numbers: 0.4 is more than 4 deviations
    assert torch.equal(drawn[0], flat(gaussian(weights(0.0), 0, 0)))


def test_random_directions_are_nearly_perpendicular_and_leave_the_generator_alone():
    big = {"fc": torch.ones(200, 200)}
    random = torch.get_rng_state()
    cosine = Random().plane(WeightSource((AtCheckpoint(0.0),), lambda _: big), AtCheckpoint(0.0)).cosine
    assert abs(cosine) < 0.025  # 5 deviations of 1 / sqrt(40000)
    assert torch.equal(torch.get_rng_state(), random)


def on_a_plane(epoch: float) -> dict[str, torch.Tensor]:
    """A spiral in the plane of two coordinates of one tensor, ending at (1, 0)."""
    w = torch.zeros(3, 4)
    w[0, 1], w[2, 2] = ((0.0, 2.0), (-6.0, 0.0), (3.0, -1.0), (1.0, 0.0))[int(epoch)]
    return {"fc": w, "bias": torch.full((3,), epoch)}


def test_principal_directions_span_a_trajectory_within_a_plane():
    plane = Pca(scale="unit").plane(WeightSource(EPOCHS, lambda at: on_a_plane(at.checkpoint)), AtCheckpoint(0.0))
    assert sum(plane.facts.values()) == pytest.approx(1, abs=1e-12)
    assert norm(plane.delta) == pytest.approx(1, abs=1e-6) and norm(plane.eta) == pytest.approx(1, abs=1e-6)
    assert plane.cosine == pytest.approx(0, abs=1e-6) and not plane.delta["bias"].any()


def test_principal_directions_agree_with_a_singular_value_decomposition():
    moving = [{name: w for name, w in weights(e).items() if name != "bias"} for e in (0.0, 1.0, 2.0, 3.0)]
    points = np.stack([flat(w).numpy() for w in moving]).astype(float)
    _, values, rows = np.linalg.svd(points - points.mean(0), full_matrices=False)
    plane = Pca(scale="unit").plane(CHECKPOINTS, AtCheckpoint(0.0))
    moved = flat({k: d for k, d in plane.delta.items() if k != "bias"}).double().numpy()
    assert abs(moved @ rows[0]) == pytest.approx(1, abs=1e-6)
    shares = (values**2 / (values**2).sum())[:2]
    assert list(plane.facts.values()) == pytest.approx(list(shares), rel=1e-6)


def test_the_reach_contains_the_whole_trajectory():
    plane = Pca().plane(WeightSource(EPOCHS, lambda at: on_a_plane(at.checkpoint)), AtCheckpoint(1.0))
    last = on_a_plane(3.0)
    steps = [{name: w - last[name] for name, w in on_a_plane(e).items()} for e in (0.0, 1.0, 2.0, 3.0)]
    places = np.array([[dot(step, d) / dot(d, d) for d in (plane.delta, plane.eta)] for step in steps])
    assert np.hypot(*places.T).max() == pytest.approx(1, rel=1e-6)


def test_a_straight_trajectory_has_no_second_principal_direction():
    with pytest.raises(RunError, match="one line"):
        Pca().plane(WeightSource(EPOCHS, lambda at: {"fc": torch.ones(3, 3) * at.checkpoint}), AtCheckpoint(0.0))


def test_the_first_checkpoint_stands_at_alpha_one():
    plane = Checkpoints(at=(1, 3)).plane(CHECKPOINTS, AtCheckpoint(2.0))
    for name, w in weights(1.0).items():
        torch.testing.assert_close(weights(2.0)[name] + plane.delta[name], w, rtol=0, atol=1e-6)
    assert plane.cosine == pytest.approx(0, abs=1e-6) and norm(plane.eta) == pytest.approx(norm(plane.delta), rel=1e-6)


def test_the_second_checkpoint_lies_in_the_plane():
    plane = Checkpoints(at=(1, 3)).plane(CHECKPOINTS, AtCheckpoint(2.0))
    step = {name: w - weights(2.0)[name] for name, w in weights(3.0).items()}
    inside = [dot(step, d) / norm(d) for d in (plane.delta, plane.eta)]
    assert np.hypot(*inside) == pytest.approx(norm(step), rel=1e-6)


def test_a_centre_that_is_one_of_the_two_spans_no_plane():
    for epoch in (1.0, 3.0):
        with pytest.raises(RunError, match="span no plane"):
            Checkpoints(at=(1, 3)).plane(CHECKPOINTS, AtCheckpoint(epoch))
    with pytest.raises(ValidationError, match="two different"):
        Checkpoints(at=(2, 2))


@pytest.mark.parametrize("centre", EPOCHS, ids=str)
def test_a_plane_through_three_checkpoints_is_the_same_at_every_centre_and_holds_them_all(centre):
    plane = Through(at=(0, 1, "last")).plane(CHECKPOINTS, centre)
    assert plane.cosine == pytest.approx(0, abs=1e-6) and norm(plane.eta) == pytest.approx(norm(plane.delta), rel=1e-6)
    steps = [{name: w - weights(0.0)[name] for name, w in weights(at).items()} for at in (1.0, 3.0)]
    squares = norm(plane.delta) ** 2
    places = [[dot(step, d) / squares for d in (plane.delta, plane.eta)] for step in steps]
    assert places[0] == pytest.approx([1, 0], abs=1e-6)
    inside = [x * plane.delta["fc"] + y * plane.eta["fc"] for x, y in places]
    for step, point in zip(steps, inside, strict=True):
        torch.testing.assert_close(point, step["fc"], rtol=0, atol=1e-5)  # float32 sums of a few numbers
    assert Through(at=(0, 1, "last")).required(EPOCHS, centre) == (EPOCHS[0], EPOCHS[1], EPOCHS[3])
    assert Through(at=(0, 1, "last")).caption == "plane through the checkpoints at 0, 1 and last"


def test_three_checkpoints_on_a_line_span_no_plane_also_where_they_are_rounded():
    first, last = {"fc": torch.rand(99, 9) + 100}, {"fc": torch.rand(99, 9) + 100}
    line = {0.0: first, 1.0: {"fc": first["fc"].lerp(last["fc"], 0.3)}, 2.0: last}
    source = WeightSource(EPOCHS[:3], lambda at: line[at.checkpoint])
    with pytest.raises(RunError) as caught:
        Through(at=(0, 1, 2)).plane(source, EPOCHS[2])
    assert str(caught.value) == (
        "directions: the checkpoint at 1 and the checkpoint at 2 span no plane with the checkpoint at 0: all three lie "
        "on one line; name others"
    )
    with pytest.raises(RunError, match="with the centre, the checkpoint at 0: .* or leave this centre out of the"):
        Checkpoints(at=(1, 2)).plane(source, EPOCHS[0])
    with pytest.raises(ValidationError, match="2 are 2; three different checkpoints span a plane"):
        Through(at=(2, 1, 2))


def test_a_mixture_has_the_first_kinds_delta_and_the_seconds_eta():
    first, second = Pca(), Random(seed=3)
    plane = Mixed(delta=first, eta=second).plane(CHECKPOINTS, EPOCHS[1])
    assert torch.equal(flat(plane.delta), flat(first.plane(CHECKPOINTS, EPOCHS[1]).delta))
    assert torch.equal(flat(plane.eta), flat(second.plane(CHECKPOINTS, EPOCHS[1]).eta))
    assert plane.facts.keys() == {"delta_explained_variance_delta", "delta_explained_variance_eta"}
    right = Mixed(delta=first, eta=second, orthogonal=True).plane(CHECKPOINTS, EPOCHS[1])
    assert abs(right.cosine) < 1e-6 < abs(plane.cosine)
    assert norm(right.eta) == pytest.approx(norm(plane.eta), rel=1e-6)


def test_a_mixture_needs_says_and_lacks_what_its_parts_do():
    mixed = Mixed(delta=Random(scale_by="last"), eta=Checkpoints(at=(0, 1)), orthogonal=True)
    assert mixed.required(EPOCHS, EPOCHS[2]) == (EPOCHS[3], *EPOCHS[:3])
    assert mixed.caption == (
        "delta of filter-normalised random directions, orthogonal eta of directions toward the checkpoints at 0 and 1"
    )
    assert misfit(mixed, EPOCHS, EPOCHS[2]) is None and "is one of the two" in misfit(mixed, EPOCHS, EPOCHS[1])
    assert "at least 3 checkpoints" in misfit(Mixed(delta="random", eta="pca"), EPOCHS[:2], EPOCHS[0])
    assert mixed.ignore == "nothing" and Mixed(delta="random", eta="hessian").ignore == "bias-and-norm"
    with pytest.raises(ValidationError):
        Mixed(delta=mixed, eta=Random())


@pytest.fixture(scope="module")
def curved() -> WeightSource:
    """Two epochs of a small convolutional network, untrained, and its loss on eight random pictures."""
    networks = {epoch: Vgg(widths=(3, 4)).build((1, 6, 6), 3, seed=int(epoch)) for epoch in (0.0, 1.0)}
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 1, 6, 6, generator=generator), torch.randint(3, (8,), generator=generator)

    def parameters(at):
        return {name: p.detach() for name, p in networks[at.checkpoint].named_parameters()}

    return WeightSource((FIRST, SECOND), parameters, lambda at: WeightLoss(networks[at.checkpoint], {}, x, y))


FIRST, SECOND = AtCheckpoint(0.0), AtCheckpoint(1.0)


def rayleigh(source: WeightSource, centre: AtCheckpoint, direction) -> float:
    """The curvature of the loss along a direction of length 1, by differences of its gradient in float64."""
    weight_loss = source.weight_loss(centre).with_precision("float64")
    theta, d = (weight_loss.flat(part) for part in (source.weights(centre), direction))
    d = d / d.norm()

    def slope(t):
        weights = (theta + t * d).requires_grad_()
        x, y = weight_loss.chunks[0]
        loss = weight_loss.losses(weight_loss.outputs(weight_loss.split(weights), x), y).mean()
        return float(torch.autograd.grad(loss, weights)[0] @ d)

    return (slope(1e-5) - slope(-1e-5)) / 2e-5


def test_curvature_along_the_directions_of_the_hessian_is_its_extreme_eigenvalues(curved):
    plane = Hessian().plane(curved, FIRST)
    assert plane.facts["lambda_min"] < plane.facts["lambda_max"]
    for direction, name in ((plane.delta, "lambda_max"), (plane.eta, "lambda_min")):
        # eigenvalues to 1e-6, vectors to 1e-3, whose square is the error here; differences of a smooth loss
        assert rayleigh(curved, FIRST, direction) == pytest.approx(plane.facts[name], rel=1e-4)
        assert not direction["1.bias"].any() and not direction["1.weight"].any()
    assert plane.cosine == pytest.approx(0, abs=1e-6)


def test_eigenvectors_are_as_long_as_the_weights_that_may_move_or_of_length_1(curved):
    moving = {name: w * (w.dim() > 1) for name, w in curved.weights(FIRST).items()}
    plane = Hessian().plane(curved, FIRST)
    assert norm(plane.delta) == pytest.approx(norm(moving), rel=1e-6) == pytest.approx(norm(plane.eta), rel=1e-6)
    assert norm(Hessian(scale="unit").plane(curved, FIRST).delta) == pytest.approx(1, rel=1e-6)


def test_eigenvectors_have_a_positive_largest_component_and_the_same_bytes_every_time(curved):
    first, second = (Hessian(ignore="nothing").plane(curved, SECOND) for _ in range(2))
    for a, b in ((first.delta, second.delta), (first.eta, second.eta)):
        assert flat(a)[flat(a).abs().argmax()] > 0 and torch.equal(flat(a), flat(b))
    assert first.delta["1.bias"].any()


def test_the_last_hessian_fixes_the_plane_for_the_whole_film(curved):
    early, late = (Hessian(at="last").plane(curved, centre) for centre in (FIRST, SECOND))
    assert torch.equal(flat(early.delta), flat(late.delta))
    assert Hessian(at="last").required((FIRST, SECOND), FIRST) == (SECOND,)
    assert Hessian().required((FIRST, SECOND), FIRST) == (FIRST,)


@pytest.mark.parametrize("directions", [Random(), Pca(), Checkpoints(at=(1, 3))], ids=lambda d: d.kind)
def test_the_order_of_tensors_in_a_file_changes_nothing(directions):
    def shuffled(epoch):
        names = list(weights(epoch))
        turned = names[int(epoch) :] + names[: int(epoch)]
        return {name: weights(epoch)[name] for name in turned}

    sources = (WeightSource(EPOCHS, lambda at, w=w: w(at.checkpoint)) for w in (weights, shuffled))
    first, second = (directions.plane(source, AtCheckpoint(2.0)) for source in sources)
    for name in weights(2.0):
        assert torch.equal(first.delta[name], second.delta[name]) and torch.equal(first.eta[name], second.eta[name])
    assert first.cosine == second.cosine


def test_a_bare_word_is_a_kind():
    family = TypeAdapter(Directions)
    assert family.validate_python("random") == Random() and family.validate_python("pca") == Pca()
    assert family.validate_python({"kind": "checkpoints", "at": ["0", "20"]}) == Checkpoints(at=(0, 20))


def test_a_turned_direction_goes_from_one_draw_to_another_and_has_the_weights_norms_on_the_way():
    planes = {angle: Random(seed=4, angle=angle).plane(CHECKPOINTS, AtCheckpoint(2.0)) for angle in (0, 30, 90)}
    assert all(torch.equal(flat(plane.eta), flat(planes[0].eta)) for plane in planes.values())
    first, third = (gaussian(weights(2.0), 4, stream)["fc"] for stream in (0, 2))
    for angle, plane in planes.items():
        draw = np.cos(np.radians(angle)) * first + np.sin(np.radians(angle)) * third
        expected = draw * (weights(2.0)["fc"].norm(dim=1) / draw.norm(dim=1))[:, None]
        torch.testing.assert_close(plane.delta["fc"], expected.float(), rtol=1e-5, atol=1e-7)


def test_orthogonal_directions_are_perpendicular_and_as_long_as_before():
    plain, orthogonal = (Random(orthogonal=o).plane(CHECKPOINTS, AtCheckpoint(2.0)) for o in (False, True))
    assert torch.equal(flat(plain.delta), flat(orthogonal.delta)) and abs(plain.cosine) > 1e-3
    assert orthogonal.cosine == pytest.approx(0, abs=1e-6)
    assert norm(orthogonal.eta) == pytest.approx(norm(plain.eta), rel=1e-6)
    assert "orthogonal" in Random(orthogonal=True).caption
