"""One fixed stream of torch's random numbers for every forward pass, so that every point has the same dropout mask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def fixed_masks(device: str) -> Iterator[None]:
    """A context in which torch's random numbers start from one fixed state; restores the generators' states."""
    with torch.random.fork_rng(devices=[torch.device(device)] if device != "cpu" else [], device_type="cuda"):
        reseed(torch.device(device).type)
        yield


def reseed(device_kind: str) -> None:
    """Sets torch's generators of the CPU and, for device_kind "cuda", of the current GPU to the fixed state."""
    torch.default_generator.manual_seed(0)
    if device_kind == "cuda":
        torch.cuda.manual_seed(0)


def generator(device_kind: str) -> torch.Generator:
    """The generator that dropout draws from on a kind of device."""
    cuda = torch.cuda.default_generators
    return torch.default_generator if device_kind == "cpu" else cuda[torch.cuda.current_device()]
