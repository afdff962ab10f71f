"""One fixed stream of torch's random numbers for every pass, so that every point meets the same dropout mask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def fixed_masks(device: str) -> Iterator[None]:
    """Inside, torch's random numbers start from one fixed state; afterwards they continue as if unused."""
    with torch.random.fork_rng(devices=[torch.device(device)] if device != "cpu" else [], device_type="cuda"):
        reseed(torch.device(device).type)
        yield


def reseed(device_kind: str) -> None:
    """Sets the generators that a pass draws from to the fixed state. device_kind: "cpu" or "cuda"."""
    torch.default_generator.manual_seed(0)
    if device_kind == "cuda":
        torch.cuda.manual_seed(0)


def generator(device_kind: str) -> torch.Generator:
    """The generator that dropout draws from."""
    cuda = torch.cuda.default_generators
    return torch.default_generator if device_kind == "cpu" else cuda[torch.cuda.current_device()]
