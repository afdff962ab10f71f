"""The device that torch computes on, and the settings with which it gives the same bytes every time.

A CPU uses one thread: sums keep their order whatever the load, and on a shared machine it is faster too. Importing
this module loads no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """A context in which torch uses one thread and deterministic float32 kernels; restores both settings."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)
