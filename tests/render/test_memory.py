"""Memory over a film, on every path of a worker; `tests/benchmarks/soak.py` draws ten thousand frames the same way."""

import os
import subprocess
import sys
from pathlib import Path

_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
_SOAK = """
import soak
KEPT
first, second, third = (resident for _, resident in soak.soaked(300, (100, 200, 300)))
print(min(second - first, third - second))
"""
_LEAK = """
from studio.render.stage import Stage
kept, plate = [], Stage.plate
Stage.plate = lambda *given: (found := plate(*given), kept.append(found.astype(float)))[0]
"""
BOUND = 2 * 2**20
"""Bytes in 100 frames, which hold twice that in plates of 96x54 pixels, and eight times in their linear light."""


def grown(kept: str = "") -> int:
    """Bytes that 100 frames leave behind, in a process of their own, after the 100 that show everything once.

    The fewer of two hundreds: an allocator may take a large step once, what is left behind grows in both.
    """
    done = subprocess.run(
        [sys.executable, "-c", _SOAK.replace("KEPT", kept)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_BENCHMARKS), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_memory_stays_as_it_is_from_frame_to_frame():
    assert grown() < BOUND


def test_frames_that_are_left_behind_are_seen_to_grow():
    assert grown(_LEAK) > BOUND
