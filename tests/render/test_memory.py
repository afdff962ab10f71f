"""Memory over a film, on every path of a worker; `tests/benchmarks/soak.py` draws ten thousand frames the same way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
_SOAK = """
import soak
LEAK
first, second, third = (resident for _, resident in soak.soaked(300, (100, 200, 300)))
print(min(second - first, third - second))
"""
_LEAK = """
import numpy as np
from studio.render.stage import Stage
kept, plate = [], Stage.plate
Stage.plate = lambda *given: (found := plate(*given), kept.append(np.ones(SIZE)))[0]
"""
KEPT = 2**20
"""Bytes that the deliberate leak keeps of every frame: far more than the holes that other allocations leave."""
BOUND = 2 * 2**20
"""Bytes in 100 frames, which hold twice that in plates of 96x54 pixels, and eight times in their linear light."""


@pytest.fixture(scope="module")
def grown():
    """Bytes that 100 frames leave behind, after the 100 that show everything once: as they are, and with a leak.

    Each in a process of its own. The fewer of two hundreds: an allocator may take a large step once, what is left
    behind grows in both.
    """
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _SOAK.replace("LEAK", leak)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_BENCHMARKS), *sys.path])},
            stdout=subprocess.PIPE,
            text=True,
        )
        for leak in ("", _LEAK.replace("SIZE", str(KEPT // 8)))
    ]
    printed = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    return [int(text) for text in printed]


def test_memory_stays_as_it_is_from_frame_to_frame(grown):
    assert grown[0] < BOUND


def test_frames_that_are_left_behind_are_seen_to_grow(grown):
    assert grown[1] > 100 * KEPT / 2
