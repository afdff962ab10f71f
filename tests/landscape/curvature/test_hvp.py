import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from studio.errors import MachineError
from studio.landscape.curvature import hvp
from studio.landscape.curvature.autograd_engine import AutogradEngine, AutogradGradient
from studio.landscape.curvature.hvp import HessianOperator
from studio.landscape.curvature.pearlmutter.engine import PearlmutterEngine, PearlmutterGradient
from studio.landscape.network.weight_loss import WeightLoss, fixed_masks
from studio.training.losses import sample_numbers
from studio.training.models import Gan, Mlp, Resnet, Transformer, move_only
from studio.training.objectives import Wasserstein

N, CLASSES = 7, 3


class Recurrent(nn.Module):
    """Reads a picture as a sequence of pixels."""

    def __init__(self):
        super().__init__()
        self.read, self.classify = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, CLASSES)

    def forward(self, x):
        return self.classify(self.read(x.flatten(2).mT)[0][:, -1])


class Attentive(nn.Module):
    """Lets the pixels of a picture look at each other."""

    def __init__(self):
        super().__init__()
        self.look, self.classify = nn.MultiheadAttention(2, 1, batch_first=True), nn.Linear(2, CLASSES)

    def forward(self, x):
        pixels = x.flatten(2).mT
        return self.classify(self.look(pixels, pixels, pixels, need_weights=False)[0].mean(1))


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 2, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.Conv2d(4, 3, 2, stride=2, dilation=2, padding=2),
        nn.Softplus(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(3, CLASSES),
    )


def deep(skip: bool = False) -> nn.Module:
    return Mlp(depth=5, width=4, norm="batch", activation="tanh", skip=skip).build((2, 2, 2), CLASSES)


def chain() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, CLASSES)
    )


NETS = {
    **{name: name for name in ("convolution", "layer norm", "tied weights", "unused layer", "number")},
    "groups, strides and dilation": grouped,
    "batch norms between linear layers": deep,
    "shortcuts between them": partial(deep, True),
    "a chain of layers": chain,
    "lstm": Recurrent,
    "attention": Attentive,
}


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 2, 2, 2, dtype=torch.float64, generator=generator)
    return x, torch.randint(CLASSES, (N,), generator=generator)


def loss_of(model: nn.Module, x, y):
    """The loss written out once more, as a function of the flat weights."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    buffers = {name: b.clone() for name, b in model.named_buffers()}

    def loss(vector):
        parts = vector.split([p.numel() for p in named.values()])
        weights = {name: part.view(p.shape) for part, (name, p) in zip(parts, named.items(), strict=True)}
        with fixed_masks("cpu"), sdpa_kernel(SDPBackend.MATH):
            return F.cross_entropy(torch.func.functional_call(model, {**buffers, **weights}, (x,)), y)

    return loss


def dense(hessian: HessianOperator, point: torch.Tensor) -> torch.Tensor:
    """The matrix, column by column."""
    product = hessian.products(point[None])
    return torch.cat([product(v[None]) for v in torch.eye(hessian.size, dtype=point.dtype)])


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_products_and_gradients_are_those_of_dense_differentiation(make, mode, samples, net, theta):
    model = net(make)
    hessian = HessianOperator(WeightLoss(model, {}, *samples, mode))
    loss, point = loss_of(model.train(mode == "train"), *samples), theta(model)
    # float64 on both sides: differences are rounding
    torch.testing.assert_close(
        dense(hessian, point), torch.autograd.functional.hessian(loss, point), rtol=1e-9, atol=1e-11
    )
    torch.testing.assert_close(
        hessian.gradients(point[None])[0], torch.autograd.functional.jacobian(loss, point), rtol=1e-9, atol=1e-11
    )


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(8, 5)), nn.Tanh(), nn.Linear(5, CLASSES)
    )


def test_products_through_weight_norm_are_the_gradients_own_differences(samples, net, near):
    model = net(normed)
    hessian, (point, step) = HessianOperator(WeightLoss(model, {}, *samples)), near(model, 2)
    step = 1e-5 * (step - point)
    apart = hessian.gradients(torch.stack([point + step, point - step]))
    torch.testing.assert_close(
        hessian.products(point[None])(step[None])[0], (apart[0] - apart[1]) / 2, rtol=1e-5, atol=1e-12
    )
    assert hessian.asymmetry(point) < 1e-12


class HalfDerivative(torch.autograd.Function):
    """a b, whose backward forgets that it depends on b."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * b.detach(), (g * a).sum(0)


class Forgetful(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.scale = nn.Linear(8, CLASSES), nn.Parameter(torch.ones(CLASSES))

    def forward(self, x):
        return HalfDerivative.apply(self.layer(x.flatten(1)), self.scale)


def test_a_wrong_second_derivative_is_not_symmetric(samples, net, theta):
    model = net(Forgetful)
    assert HessianOperator(WeightLoss(model, {}, *samples, "train")).asymmetry(theta(model)) > 0.01


@pytest.mark.parametrize("make", ["convolution", chain], ids=["pictures", "chain"])
def test_batched_points_have_the_products_of_single_ones(make, samples, net, near):
    model = net(make)
    hessian, points = HessianOperator(WeightLoss(model, {}, *samples)), near(net(make), 20)
    v = torch.randn(points.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    assert hessian.engine.batch_points > 1
    single = torch.cat([hessian.products(point[None])(part[None]) for point, part in zip(points, v, strict=True)])
    torch.testing.assert_close(hessian.products(points)(v), single, rtol=1e-10, atol=1e-12)
    slopes = torch.cat([hessian.gradients(point[None]) for point in points])
    torch.testing.assert_close(hessian.gradients(points), slopes, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_networks_on_small_images_have_the_same_products_in_batches(mode, near):
    generator = torch.Generator().manual_seed(5)
    model = Resnet(depth=8, width=2).build((1, 8, 8), 3).double()
    x, y = torch.randn(7, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(7) % 3
    hessian, points = HessianOperator(WeightLoss(model, {}, x, y, mode)), near(model, 5)
    v = torch.randn(points.shape, generator=generator, dtype=torch.float64)
    assert hessian.engine.batch_points >= len(points)
    single = torch.cat([hessian.products(point[None])(part[None]) for point, part in zip(points, v, strict=True)])
    # float64 on both sides, in another order
    torch.testing.assert_close(hessian.products(points)(v), single, rtol=1e-8, atol=1e-10)


def test_recalibrating_on_the_samples_themselves_equals_train_mode(samples, net, theta):
    model = net("convolution")
    train, recalibrated = (HessianOperator(WeightLoss(model, {}, *samples, mode)) for mode in ("train", "recalibrated"))
    torch.testing.assert_close(dense(recalibrated, theta(model)), dense(train, theta(model)), rtol=1e-9, atol=1e-11)


def test_softmax_regression_has_its_closed_form(samples, net, theta):
    x, y = samples
    model = net("linear")
    p = F.softmax(model(x), 1).detach()
    blocks = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    expected = torch.einsum("nab,ni,nj->aibj", blocks, x.flatten(1), x.flatten(1)).reshape(24, 24) / N
    result = dense(HessianOperator(WeightLoss(model, {}, x, y)), theta(model))
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)


def test_a_criterion_of_the_users_is_differentiated_too(samples, net, theta):
    x, y = samples
    weight_loss = WeightLoss(
        net("linear"), {}, x, y, criterion=lambda outputs, y: (outputs - F.one_hot(y, CLASSES)).square().sum(1)
    )
    expected = torch.block_diag(*[2 / N * x.flatten(1).mT @ x.flatten(1)] * CLASSES)
    torch.testing.assert_close(
        dense(HessianOperator(weight_loss), theta(net("linear"))), expected, rtol=1e-10, atol=1e-12
    )


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature(samples, net, theta):
    weight_loss = WeightLoss(net("linear"), {}, *samples, criterion=lambda outputs, y: outputs.sum(1))
    assert not dense(HessianOperator(weight_loss), theta(net("linear"))).any()


def test_ignoring_biases_and_norms_leaves_the_rest_of_the_matrix(samples, net, theta):
    model = net("convolution")
    weight_loss = WeightLoss(model, {}, *samples)
    full, part = HessianOperator(weight_loss), HessianOperator(weight_loss, "bias-and-norm")
    moving = part.embed(torch.ones(part.size)).bool()
    assert part.size == sum(p.numel() for p in model.parameters() if p.dim() > 1) < full.size
    expected = dense(full, theta(model))[moving][:, moving]
    torch.testing.assert_close(dense(part, theta(model)), expected, rtol=1e-10, atol=1e-12)


def test_restricting_and_embedding_loses_only_the_fixed_weights(samples, net, near):
    model = net("convolution")
    hessian = HessianOperator(WeightLoss(model, {}, *samples), "bias-and-norm")
    points = near(model, 3)
    moving = hessian.restrict(points)
    assert torch.equal(hessian.restrict(hessian.embed(moving)), moving)
    lost = points - hessian.embed(moving)
    assert (lost == 0).sum() == 3 * hessian.size


def test_short_last_batches_weigh_by_their_samples(samples, net, theta):
    model = net("convolution")
    weight_loss, pieces = (WeightLoss(model, {}, *samples) for _ in range(2))
    pieces.chunk_size = 3  # 3 + 3 + 1
    assert [len(y) for _, y in pieces.chunks] == [3, 3, 1] and len(weight_loss.chunks) == 1
    torch.testing.assert_close(
        dense(HessianOperator(pieces), theta(model)),
        dense(HessianOperator(weight_loss), theta(model)),
        rtol=1e-10,
        atol=1e-12,
    )


@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
def test_keeping_the_graphs_or_not_gives_the_same_bytes(mode, samples, net, monkeypatch, theta):
    model = net("convolution")
    weight_loss, v = WeightLoss(model, {}, *samples, mode), torch.ones(1, len(theta(model)))
    retained = HessianOperator(weight_loss).products(theta(model)[None])(v)
    monkeypatch.setattr(hvp, "MAX_RETAINED_SAMPLES", 0)
    rebuilt = HessianOperator(weight_loss).products(theta(model)[None])(v)
    assert torch.equal(retained, rebuilt)


def test_many_samples_rebuild_the_graph_for_every_product(samples, monkeypatch, net, near):
    weight_loss = WeightLoss(net("convolution"), {}, *samples)
    monkeypatch.setattr(hvp, "MAX_RETAINED_SAMPLES", N - 1)
    losses = []
    monkeypatch.setattr(
        HessianOperator, "_loss", lambda *args, loss=HessianOperator._loss: losses.append(1) or loss(*args)
    )
    product = HessianOperator(weight_loss).products(near(net("convolution"), 1))
    product(torch.ones(1, weight_loss.size)), product(torch.ones(1, weight_loss.size))
    assert len(losses) == 2


@pytest.fixture(params=[AutogradGradient, PearlmutterGradient], ids=["autograd", "pearlmutter"])
def gradient_class(request, monkeypatch):
    """The class of the gradients that HessianOperator works with, once for each engine."""
    if request.param is AutogradGradient:
        monkeypatch.setattr(hvp, "choose_engine", AutogradEngine)
    return request.param


def test_a_graph_that_does_not_fit_is_rebuilt_for_every_product(samples, gradient_class, monkeypatch, net, theta):
    model = net("convolution")
    product = HessianOperator(WeightLoss(model, {}, *samples)).products(theta(model)[None])
    v = torch.ones(1, len(theta(model)))
    expected, original, failures = product(v), gradient_class.hvp, []

    def fails_once(*args, **kwargs):
        if not failures:
            failures.append(1)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return original(*args, **kwargs)

    monkeypatch.setattr(gradient_class, "hvp", fails_once)
    assert torch.equal(product(v), expected) and failures


def test_a_graph_that_never_fits_says_what_to_do(samples, gradient_class, monkeypatch, net, theta):
    def fails(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gradient_class, "hvp", fails)
    model = net("convolution")
    with pytest.raises(MachineError, match="subset"):
        HessianOperator(WeightLoss(model, {}, *samples)).products(theta(model)[None])(torch.ones(1, len(theta(model))))


def test_an_error_in_a_criterion_is_not_taken_for_a_lack_of_memory(samples, net, theta):
    def broken(outputs, y):
        raise RuntimeError("broken")

    weight_loss = WeightLoss(net("linear"), {}, *samples, criterion=broken)
    with pytest.raises(RuntimeError, match="broken"):
        HessianOperator(weight_loss).products(theta(net("linear"))[None])


@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
def test_the_model_and_the_random_state_stay_as_they_were(mode, samples, net, theta):
    model = net(grouped)
    model[3].bias.requires_grad_(False)
    model.train(mode == "eval")
    state, flags = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    random = torch.get_rng_state()
    hessian = HessianOperator(WeightLoss(model, {}, *samples, mode))
    assert hessian.size == sum(p.numel() for p in model.parameters()) - 3  # the frozen bias
    hessian.products(theta(model)[None] + 1)(torch.ones(1, hessian.size))
    hessian.gradients(theta(model)[None] + 1)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == flags and model.training == (mode == "eval")
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_both_engines_give_the_same_products(make, samples, net, near):
    weight_loss = WeightLoss(net(make), {}, *samples)
    engine = PearlmutterEngine.of(weight_loss)
    if engine is None:
        assert type(hvp.choose_engine(weight_loss)) is AutogradEngine
        return
    points = near(net(make), 2)
    v = torch.randn(points.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    first, second = (
        HessianOperator(weight_loss, engine=e).products(points)(v) for e in (engine, AutogradEngine(weight_loss))
    )
    # float64 on both sides, in another order
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("mode", "precision"), [("recalibrated", "float32"), ("eval", "bf16")])
def test_recalibrated_statistics_and_bf16_are_left_to_torch(mode, precision, samples, net):
    x, y = samples
    weight_loss = WeightLoss(net("convolution").float(), {}, x.float(), y, mode, precision=precision)
    assert type(hvp.choose_engine(weight_loss)) is AutogradEngine


@pytest.mark.parametrize("of", ["critic", "generator"])
def test_products_of_the_losses_of_a_gan_are_those_of_dense_differentiation(of):
    # the critic's loss holds a derivative by its samples, so its Hessian is a third derivative
    model = Gan(depth=1, width=3).build((2,), 4).double().eval()
    z, x = (torch.randn(5, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (2, 4))
    objective, patterns = Wasserstein(of=of), [f"{of}.*"]
    weight_loss = WeightLoss(
        move_only(patterns, model), {}, z, x, numbers=sample_numbers(objective), precision="float64"
    )
    hessian, moving = HessianOperator(weight_loss), [name for name, w in model.named_parameters() if w.requires_grad]
    point = weight_loss.flat(dict(model.named_parameters()))

    def loss(vector):
        # written out by hand, in one graph
        named = dict(zip(moving, vector.split([model.get_parameter(n).numel() for n in moving]), strict=True))
        named = {name: part.view(model.get_parameter(name).shape) for name, part in named.items()}

        def part(name, inputs):
            own = {n.partition(".")[2]: w for n, w in named.items() if n.startswith(name)}
            return torch.func.functional_call(getattr(model, name), own, (inputs,))

        made = part("generator", z)
        if of == "generator":
            return -part("critic", made).mean()
        share = torch.special.ndtr(z[:, :1])
        between = (share * x + (1 - share) * made).detach().requires_grad_()
        [slope] = torch.autograd.grad(part("critic", between).sum(), between, create_graph=True)
        return (part("critic", made) - part("critic", x)).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()

    # float64 on both sides: differences are rounding, and the 1e-12 under the root of the slope
    torch.testing.assert_close(
        dense(hessian, point), torch.autograd.functional.hessian(loss, point), rtol=1e-7, atol=1e-9
    )


def test_products_of_the_loss_of_a_word_are_those_of_dense_differentiation():
    model = Transformer(depth=1, width=4, heads=2).build((6,), 5).double().eval()
    for weight in model.parameters():
        weight.data.mul_(10)  # of 0.02 at first, so that nothing would curve
    x, y = torch.tensor([[0, 3, 1, 4, 2]]), torch.tensor([[4, 2]])
    weight_loss = WeightLoss(model, {}, x, y)
    named = dict(model.named_parameters())
    point = weight_loss.flat(named)

    def loss(vector):
        parts = vector.split([w.numel() for w in named.values()])
        weights = {n: part.view(w.shape) for part, (n, w) in zip(parts, named.items(), strict=True)}
        with sdpa_kernel(SDPBackend.MATH):
            return F.cross_entropy(torch.func.functional_call(model, weights, (x,))[0, -2:], y[0])

    torch.testing.assert_close(
        dense(HessianOperator(weight_loss), point),
        torch.autograd.functional.hessian(loss, point),
        rtol=1e-8,
        atol=1e-10,
    )
