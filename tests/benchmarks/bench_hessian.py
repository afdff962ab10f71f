"""How fast and accurate both ends of the Hessian's spectrum are, against the usual method.

The usual method is two calls of `scipy.sparse.linalg.eigsh`, one for each end, on products by a double backward that is
built anew every time, with vectors going to numpy's float64 and back. Its tolerance is tightened until its true errors
are no larger than the 1e-3 that is promised here. To save time its products are counted with quick ones, and priced by
slow ones that are measured in turns with ours. The deep perceptron is measured in train mode, at 1e-2. Costs are CPU
seconds on one thread. Run as a script, it prints `figures()`.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from nets import Net, net
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.nn import functional as F

from studio.landscape.curvature.extremes import MIN_EIGENVALUE_SCALE, batched_extremes
from studio.landscape.curvature.hvp import HessianOperator
from studio.landscape.network.weight_loss import WeightLoss
from studio.training.device import deterministic

SAMPLES, TOL = 128, 1e-3
MODES, TOLS = {"deep": "train"}, {"deep": 1e-2}
"""Others than eval mode and `TOL`."""
POINTS = {"mlp": 16, "cnn": 2, "resnet20": 1, "deep": 9}
"""Where the speed is measured: the centre, then points of the plane. All of one network are measured together."""
CASES = {"mlp": (100, 128), "cnn": (30, 64), "resnet20": (10, 8)}
"""How many random points are checked against float64, over how many samples: of the CNN enough for a sketch to find the
start; of the ResNet that would take ten minutes."""
LADDER = 10.0 ** -np.arange(1, 10)
ROUNDS = {"mlp": 15, "cnn": 3, "resnet20": 2, "deep": 5}


def figures() -> dict[str, float]:
    """`hessian.<net>.speedup`, points a second, products and their price, and `.coverage`; `hessian.coverage`."""
    results: dict[str, float] = {}
    with deterministic():
        for name in POINTS:
            results |= {f"hessian.{name}.{quantity}": value for quantity, value in _speed(name).items()}
        within = {name: _coverage(name) for name in CASES}
    results |= {f"hessian.{name}.coverage": float(np.mean(shares)) for name, shares in within.items()}
    results["hessian.coverage"] = float(np.mean(np.concatenate(list(within.values()))))
    return results


# --- speed -----------------------------------------------------------------------------------------------------------


def _speed(name: str) -> dict[str, float]:
    trained, mode, tol = net(name), MODES.get(name, "eval"), TOLS.get(name, TOL)
    weight_loss = WeightLoss(trained.model, {}, *trained.samples(SAMPLES), mode)
    hessian, points = HessianOperator(weight_loss), _points(trained, weight_loss, POINTS[name], seed=0)
    products = [hessian.products(point[None]) for point in points]
    truths = [_ends(product, hessian.size, 1e-6, seed=1) for product in products]
    usual = [_usual(product, hessian.size, truth, tol) for product, truth in zip(products, truths, strict=True)]
    counts, overheads = zip(*usual, strict=True)

    v = torch.randn(hessian.size, generator=torch.Generator().manual_seed(0))
    ours, product, fresh, forward = _interleaved_seconds(
        ROUNDS[name],
        lambda: _hessian_extremes(hessian, points, tol),
        lambda: products[0](v[None]),
        lambda: _usual_product(trained, v.double().numpy(), mode),
        lambda: _forward(trained),
    )
    ends = _hessian_extremes(hessian, points, tol)
    for end, truth in zip(ends, truths, strict=True):
        assert _error((end.lambda_min, end.lambda_max), truth) <= tol, f"{name}: {end} is not {truth}"
    return {
        "speedup": (sum(overheads) + fresh * sum(counts)) / ours,
        "points_per_s": len(points) / ours,
        "products_per_point": statistics.mean(end.products for end in ends),
        "usual_products_per_point": statistics.mean(counts),
        "forwards_per_product": product / forward,
    }


def _points(trained: Net, weight_loss: WeightLoss, count: int, seed: int) -> Tensor:
    """The centre and random points of a random plane, weights [count, P]."""
    plane = trained.plane(seed)
    theta, delta, eta = (weight_loss.flat(part) for part in (trained.weights, plane.delta, plane.eta))
    steps = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (count, 2))).to(theta)
    steps[0] = 0
    return theta + steps @ torch.stack([delta, eta])


def _hessian_extremes(hessian: HessianOperator, points: Tensor, tol: float = TOL, seed: int = 0) -> list:
    """Ours, graphs included, as a film does it: points in batches or one by one, by the engine's rule."""
    extremes, sketch = [], hessian.sketch
    for batch in points.split(hessian.engine.batch_points):
        extremes += batched_extremes(
            lambda operators, batch=batch: hessian.products(batch[operators]),
            len(batch),
            hessian.size,
            seed,
            tol,
            sketch=sketch and sketch.products(batch),
        )
    return extremes


def _ends(product: Callable[[Tensor], Tensor], size: int, tol: float, seed: int) -> tuple[float, float]:
    (end,) = batched_extremes(lambda operators: product, 1, size, seed, tol)
    assert end.converged
    return end.lambda_min, end.lambda_max


def _error(ends: tuple[float, float], true: tuple[float, float]) -> float:
    """The larger of both ends' errors, relative to the end or to a thousandth of the larger one."""
    sizes = np.maximum(np.abs(true), MIN_EIGENVALUE_SCALE * np.abs(true).max())
    return float((np.abs(np.subtract(ends, true)) / sizes).max())


def _usual(
    product: Callable[[Tensor], Tensor], size: int, truth: tuple[float, float], enough: float
) -> tuple[int, float]:
    """Products of both calls of `eigsh`, and CPU seconds beside them, at the loosest tolerance that is enough."""
    start = np.random.default_rng(0).standard_normal(size)
    for tol in LADDER:
        inside, began = [], time.process_time()

        def times(v: np.ndarray, inside=inside) -> np.ndarray:
            entered = time.process_time()
            image = product(torch.from_numpy(v).reshape(1, -1).float())[0].double().numpy()
            inside.append(time.process_time() - entered)
            return image

        operator = LinearOperator((size, size), dtype=np.float64, matvec=times)
        ends = tuple(
            float(eigsh(operator, k=1, which=which, tol=tol, v0=start, return_eigenvectors=False)[0])
            for which in ("SA", "LA")
        )
        if _error(ends, truth) <= enough:
            return len(inside), time.process_time() - began - sum(inside)
    raise AssertionError(f"eigsh reaches {enough:g} at no tolerance")


def _usual_product(trained: Net, v: np.ndarray, mode: str) -> np.ndarray:
    trained.model.train(mode == "train")
    x, y = trained.x[:SAMPLES], trained.y[:SAMPLES]
    weights = list(trained.model.parameters())
    gradient = torch.autograd.grad(F.cross_entropy(trained.model(x), y), weights, create_graph=True)
    flat = torch.cat([part.reshape(-1) for part in gradient])
    product = torch.autograd.grad(flat @ torch.from_numpy(v).float(), weights)
    trained.model.eval()
    return torch.cat([part.reshape(-1) for part in product]).double().numpy()


@torch.no_grad()
def _forward(trained: Net) -> None:
    trained.model(trained.x[:SAMPLES])


def _interleaved_seconds(rounds: int, *work: Callable[[], object]) -> list[float]:
    """Median CPU seconds of each, measured in turns so that a busy moment falls on all of them alike."""
    taken = [[] for _ in work]
    for _ in range(rounds):
        for run, times in zip(work, taken, strict=True):
            began = time.process_time()
            run()
            times.append(time.process_time() - began)
    return [statistics.median(times) for times in taken]


# --- accuracy --------------------------------------------------------------------------------------------------------


def _coverage(name: str) -> list[bool]:
    """Whether both ends are within `TOL` of a float64 run to 1e-7, at random points, planes, starts and modes.

    A rectified network's Hessian jumps where a unit is about to switch: there float32 may stand on another side of the
    jump than float64 does, and that counts as a miss.
    """
    count, samples = CASES[name]
    trained, within = net(name), []
    for case in range(count):
        mode = ("eval", "train")[case % 2]
        single, double = (
            WeightLoss(trained.model, {}, *trained.samples(samples), mode, precision=precision)
            for precision in ("float32", "float64")
        )
        point = _points(trained, single, 2, seed=case)[1:]
        ours, exact = (HessianOperator(weight_loss) for weight_loss in (single, double))
        (end,) = _hessian_extremes(ours, point, seed=case)
        truth = _ends(exact.products(point.double()), single.size, 1e-7, seed=count + case)
        within.append(end.converged and _error((end.lambda_min, end.lambda_max), truth) <= TOL)
    return within


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{name:40} {value:10.3f}")
