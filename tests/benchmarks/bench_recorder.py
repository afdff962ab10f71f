"""How much slower a training loop is while a `Recorder` records it.

A perceptron of 9.6 million weights (38 MB a checkpoint) is trained with checkpoints and without, in turns.
`recorder.checkpoint_s`: seconds that a checkpoint adds, until it is on disk. `recorder.slowdown`: time with a
checkpoint a minute over time without, which follows from it. `recorder.wait_s`: how long the loop stands still for one.
`recorder.step_us`: microseconds of a step that records nothing.
"""

import statistics
import tempfile
import timeit
from time import perf_counter

import torch
from torch import nn
from torch.nn import functional as F

from studio.training.device import device
from studio.training.models import Mlp
from studio.training.recording import Recorder

ROUNDS, STEPS, CHECKPOINTS = 5, 24, 3
"""Turns, and steps and checkpoints of each."""


def figures() -> dict[str, float]:
    """Figures by name."""
    model = Mlp(depth=3, width=2000).build((1, 28, 28), 10, 0).to(device())
    sgd = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    x, y = torch.rand(32, 1, 28, 28, device=device()), torch.randint(10, (32,), device=device())

    def step() -> None:
        sgd.zero_grad()
        F.cross_entropy(model(x), y).backward()
        sgd.step()

    step()
    with tempfile.TemporaryDirectory() as folder:
        turns = [(_turn(model, step, None), _turn(model, step, f"{folder}/{n}")) for n in range(ROUNDS)]
        seconds = statistics.median(recorded[0] - plain[0] for plain, recorded in turns) / CHECKPOINTS
        with Recorder(f"{folder}/idle", model, minutes=60) as recorder:
            idle = min(timeit.repeat(lambda: recorder.step(loss=1.0), number=1000, repeat=5)) / 1000
    return {
        "recorder.checkpoint_s": seconds,
        "recorder.slowdown": 1 + seconds / 60,
        "recorder.wait_s": statistics.median(wait for _, recorded in turns for wait in recorded[1]),
        "recorder.step_us": 1e6 * idle,
    }


def _turn(model: nn.Module, step, folder: str | None) -> tuple[float, list[float]]:
    """Seconds of a turn until all is written, and those that each checkpoint kept the loop waiting."""
    recorder = Recorder(folder, model, steps=STEPS // CHECKPOINTS) if folder else None
    waits, start = [], perf_counter()
    for number in range(1, STEPS + 1):
        step()
        if recorder:
            before = perf_counter()
            recorder.step(number)
            waits += [perf_counter() - before] if number % (STEPS // CHECKPOINTS) == 0 else []
    if recorder:
        recorder.close()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - start, waits
