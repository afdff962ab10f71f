"""The speed of a loss grid on one core of this machine against the loop that every tool runs, and its exactness.

The loop: for every point set the parameters, pass the whole subset, read the loss. Ours: a row of the evaluator by the
method that the rule chooses. Nets of `nets.py`, 256 images. They take turns, A B A B, and the medians are compared, in
seconds of this process's own CPU time, so that what else runs on the machine weighs as little as it can. The floor is
what the same number of samples take in plain forwards of one large batch. The deep perceptron, 128 images in train
mode, is compared with the method `loop`, which is two to three times as quick as that loop. The peer, loss-landscapes,
measures part of a 51 x 51 grid of the CNN as its users call it, with torch's own threads, and is scaled to the whole;
ours is measured whole, by two processes, preparation included, in seconds on the clock.

Run as a script, it prints `figures()`.
"""

import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from nets import net
from torch import Tensor, nn
from torch.nn import functional as F

from studio.execution.devices import usable_cores
from studio.execution.local import LocalExecutor
from studio.execution.tasks import run_tasks
from studio.field import Grid
from studio.landscape.loss import Loss, choose_method
from studio.landscape.values.evaluator import Evaluator
from studio.training.device import deterministic

SAMPLES = {"mlp": 256, "cnn": 256, "resnet20": 256, "deep": 128}
POINTS = {"mlp": 51, "cnn": 7, "resnet20": 3, "deep": 151}
"""Of one row, measured in one turn."""
ROUNDS = {"mlp": 15, "cnn": 7, "resnet20": 5, "deep": 7}
USUAL = ("mlp", "cnn", "resnet20")
"""Networks that are measured in eval mode; the deep one is for train mode."""
BETA = 0.3
FLOOR_BATCH = 2048
"""Samples in the floor's batch."""
WHOLE, PART = Grid(points=51), 9
"""The grid that is compared with the peer's, and the points along a side of the part that the peer measures."""


def figures() -> dict[str, float]:
    """Points a second, speedups, floor shares and agreement; `grid.cnn.vs_loss_landscapes` if the peer is there."""
    results = {}
    with deterministic():
        for name in USUAL:
            results |= _eval_figures(name)
        for name in ("cnn", "resnet20"):
            for mode in ("train", "recalibrated"):
                loop, ours = _take_turns(name, [_loop(name, mode), _ours(name, mode)])
                results[f"grid.{name}.{mode}_speedup"] = loop / ours
        loop, ours = _take_turns("deep", [_ours("deep", "train", method="loop"), _ours("deep", "train")])
        results |= {"grid.deep.points_per_s": POINTS["deep"] / ours, "grid.deep.speedup": loop / ours}
        results["grid.agreement"] = max(_disagreement(name, mode) for name in USUAL for mode in ("eval", "train"))
    return results | _peer_figures()


def _eval_figures(name: str) -> dict[str, float]:
    loop, ours, floor = _take_turns(name, [_loop(name, "eval"), _ours(name, "eval"), _floor(name)])
    results = {f"grid.{name}.points_per_s": POINTS[name] / ours, f"grid.{name}.speedup": loop / ours}
    return results if name == "mlp" else results | {f"grid.{name}.floor_share": floor / ours}


def _take_turns(name: str, tasks: list[Callable[[], object]]) -> list[float]:
    """Median CPU seconds of each work; they take turns."""
    seconds = [[] for _ in tasks]
    for turn in range(ROUNDS[name] + 1):
        for times, task in zip(seconds, tasks, strict=True):
            began = time.process_time()
            task()
            if turn > 0:
                times.append(time.process_time() - began)
    return [statistics.median(times) for times in seconds]


def _alphas(name: str) -> list[float]:
    return torch.linspace(-1, 1, POINTS[name]).tolist()


# --- the competitors -------------------------------------------------------------------------------------------------


def _ours(name: str, mode: str, **options) -> Callable[[], Tensor]:
    evaluator, alphas = _evaluator(name, mode, **options), _alphas(name)
    return lambda: evaluator.row(alphas, BETA)["loss"]


def _evaluator(name: str, mode: str, **options) -> Evaluator:
    trained, loss = net(name), Loss(mode=mode, **options)
    weight_loss = loss.weight_loss(trained.model, {}, dict(zip("xy", trained.samples(SAMPLES[name]), strict=True)))
    plane = trained.plane()
    method, _ = choose_method(trained.record, loss, False, "cpu")
    return Evaluator(weight_loss, *map(weight_loss.flat, (trained.weights, plane.delta, plane.eta)), method)


def _loop(name: str, mode: str) -> Callable[[], list[float]]:
    trained = net(name)
    model, (x, y), plane = (
        copy.deepcopy(trained.model).train(mode == "train"),
        trained.samples(SAMPLES[name]),
        trained.plane(),
    )
    moves = [(p, trained.weights[key], plane.delta[key], plane.eta[key]) for key, p in model.named_parameters()]
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # running statistics are then the mean of the passes since they were reset

    @torch.no_grad()
    def measure() -> list[float]:
        losses = []
        for alpha in _alphas(name):
            for p, theta, delta, eta in moves:
                p.copy_(theta + alpha * delta + BETA * eta)
            if mode == "recalibrated":
                for norm in norms:
                    norm.reset_running_stats()
                model.train()(x)
                model.eval()
            losses.append(F.cross_entropy(model(x), y).item())
        return losses

    return measure


def _floor(name: str) -> Callable[[], None]:
    """As many samples as a turn passes through the network, in large batches."""
    trained = net(name)
    whole = trained.samples(SAMPLES[name])[0].repeat(POINTS[name], *(1,) * (trained.x.dim() - 1))

    @torch.no_grad()
    def forward() -> None:
        for x in whole.split(FLOOR_BATCH):
            trained.model(x)

    return forward


def _disagreement(name: str, mode: str) -> float:
    """The largest difference from a loop in float64, relative to its value, over three points."""
    trained, alphas = net(name), _alphas(name)[:: POINTS[name] // 2]
    model, plane = copy.deepcopy(trained.model).double().train(mode == "train"), trained.plane()
    x, y = trained.samples(SAMPLES[name])
    exact = []
    with torch.no_grad():
        for alpha in alphas:
            for key, p in model.named_parameters():
                parts = trained.weights[key], plane.delta[key], plane.eta[key]
                theta, delta, eta = (part.double() for part in parts)
                p.copy_(theta + alpha * delta + BETA * eta)
            exact.append(float(F.cross_entropy(model(x.double()), y)))
    exact = torch.tensor(exact, dtype=torch.float64)
    return float(((_evaluator(name, mode).row(alphas, BETA)["loss"] - exact) / exact).abs().max())


# --- against loss-landscapes -----------------------------------------------------------------------------------------


def _peer_figures() -> dict[str, float]:
    """How much longer the peer takes for the whole grid; nothing if it is not installed."""
    try:
        import loss_landscapes
        from loss_landscapes.metrics import Loss as Metric
    except ImportError:
        print("loss-landscapes is not installed: pip install 'landscape-studio[bench]'")
        return {}
    trained = net("cnn")
    metric = Metric(nn.CrossEntropyLoss(), *trained.samples(SAMPLES["cnn"]))

    def theirs() -> None:
        loss_landscapes.random_plane(trained.model, metric, 1, PART, normalization="filter", deepcopy_model=True)

    threads = torch.get_num_threads()
    torch.set_num_threads(usable_cores())
    try:
        part = [_seconds(theirs)]
        whole = _seconds(_whole_grid)
        part.append(_seconds(theirs))
    finally:
        torch.set_num_threads(threads)
    return {"grid.cnn.vs_loss_landscapes": statistics.mean(part) * WHOLE.size / PART**2 / whole}


def _whole_grid() -> None:
    """The CNN's whole grid, by a process on each core."""
    with tempfile.TemporaryDirectory() as folder:
        trained, plane = net("cnn"), net("cnn").plane()
        path = Path(folder) / "slice.pt"
        torch.save((trained.model, trained.samples(SAMPLES["cnn"]), trained.weights, plane.delta, plane.eta), path)
        with LocalExecutor(usable_cores()) as executor:
            rows = [(_row, (path, beta)) for beta in WHOLE.alpha.tolist()]
            for _ in run_tasks(executor, rows, 2 * usable_cores()):
                pass


def _row(path: Path, beta: float) -> Tensor:
    with deterministic():
        return _load_evaluator(path).row(WHOLE.alpha, beta)["loss"]


@lru_cache(maxsize=1)
def _load_evaluator(path: Path) -> Evaluator:
    model, (x, y), *vectors = torch.load(path, weights_only=False)
    weight_loss = Loss().weight_loss(model, {}, {"x": x, "y": y})
    return Evaluator(weight_loss, *map(weight_loss.flat, vectors), "folded")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{name:40} {value:12.3g}")
