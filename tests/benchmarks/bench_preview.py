"""How few points a preview measures, and how far it is from the same surface measured whole.

Run as a script, it prints `figures()`. 101 x 101 points of a perceptron on 256 digits and of a convolutional net on 32
larger ones, eval mode; the error is the largest of all points, in log loss, as a share of its range.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from nets import net

from studio.field import Grid
from studio.landscape.network.weight_loss import WeightLoss
from studio.landscape.values.evaluator import Evaluator
from studio.landscape.values.preview import preview
from studio.training.device import deterministic

NETS = {"mlp": ("batched", 256), "cnn": ("folded", 32)}
"""Method and samples."""
GRID = Grid(range=(-1, 1), points=101)


def figures() -> dict[str, float]:
    """`preview.points` and `preview.error`: the worse of the two nets."""
    with deterministic():
        results = [_compare(_evaluator(name, *settings)) for name, settings in NETS.items()]
    points, errors = zip(*results, strict=True)
    return {"preview.points": max(points), "preview.error": max(errors)}


def _evaluator(name: str, method: str, samples: int) -> Evaluator:
    trained = net(name)
    plane = trained.plane()
    weight_loss = WeightLoss(trained.model, dict(trained.model.named_buffers()), *trained.samples(samples))
    return Evaluator(weight_loss, *map(weight_loss.flat, (trained.weights, plane.delta, plane.eta)), method)


def _compare(evaluator: Evaluator) -> tuple[int, float]:
    """The number of measured points, and the error."""

    def measure(alphas: np.ndarray, betas: np.ndarray) -> np.ndarray:
        points = zip(alphas, betas, strict=True)
        return np.array([float(evaluator.row([alpha], beta)["loss"][0]) for alpha, beta in points])

    values, measured = preview(measure, GRID)
    exact = np.log([evaluator.row(GRID.alpha, beta)["loss"].numpy() for beta in GRID.alpha])
    return int(measured.sum()), float(np.abs(np.log(values) - exact).max() / np.ptp(exact))


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{name:40} {value:10.4f}")
