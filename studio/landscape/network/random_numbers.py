"""One fixed stream of torch's random numbers for every forward pass, so that every point has the same dropout mask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from studio.training.device import restored_random_numbers, seed


@contextlib.contextmanager
def fixed_masks(device: str) -> Iterator[None]:
    """A context in which torch's random numbers start from one fixed state; restores the generators' states."""
    kind = torch.device(device).type
    with restored_random_numbers(kind):
        reseed(kind)
        yield


def reseed(device_kind: str) -> None:
    """Sets torch's generators of the CPU and of the current device to the fixed state."""
    seed(device_kind, 0)


def generator_state(device_kind: str) -> torch.Tensor:
    """The state of the generator that dropout draws from on a kind of device."""
    module: Any = torch if device_kind == "cpu" else getattr(torch, device_kind)
    state: torch.Tensor = module.get_rng_state()
    return state
