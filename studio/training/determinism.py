"""The settings with which torch gives the same bytes every time.

A CPU uses one thread: sums keep their order whatever the load, and on a shared machine it is faster too. Importing
this module loads no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


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
