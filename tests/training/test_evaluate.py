import pytest
import torch
from torch.nn import functional as F

from studio.training.evaluate import CHUNK_SIZE, evaluate, scores
from studio.training.models import Vgg

N, CLASSES = CHUNK_SIZE + 3, 4


def network() -> torch.nn.Module:
    return Vgg(widths=(2,)).build((1, 4, 4), CLASSES)


def samples(seed: int, count: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 4, 4, generator=generator), torch.randint(CLASSES, (count,), generator=generator)


def test_loss_and_accuracy_are_means_over_samples_not_over_chunks():
    model, (x, y) = network().eval(), samples(0)
    with torch.no_grad():
        logits = model(x)
    loss, accuracy = evaluate(model, x, y).values()
    # float32 sums in another order
    assert loss == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)
    assert accuracy == pytest.approx(100 * (logits.argmax(1) == y).double().mean().item())


def test_scores_are_of_train_and_test_samples_in_eval_mode():
    model, train, test = network().train(), samples(0), samples(1, 7)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    results = scores(model, (*train, *test))
    assert list(results) == ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    parts = [*evaluate(model, *train).values(), *evaluate(model, *test).values()]
    assert list(results.values()) == parts and not model.training
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
