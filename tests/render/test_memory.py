"""Memory over a film, on every path of a worker; `tests/benchmarks/soak.py` draws ten thousand frames the same way.

Counted are the bytes that are allocated and not freed, by the C library's own account: Python's, numpy's, VTK's and
the software GL's. How much of it is resident, and in how many holes, is the allocator's and the machine's affair.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks glibc 2.33 what is allocated")

_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
_SOAK = """
import ctypes, gc, itertools, soak, statistics

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Mallinfo

def allocated():
    gc.collect()
    info = mallinfo()
    return info.uordblks + info.hblkhd

LEAK
# five looks take turns, ten frames each, and all have been there by now
counts = [count for _, count in soak.soak(180, range(81, 181), allocated)]
fewest = [min(counts[i:i + 10]) for i in range(0, 100, 10)]
print(int(statistics.median(after - before for before, after in itertools.pairwise(fewest))))
"""
_LEAK = """
from studio.render.stage import Stage
leaked, linear_frame = [], Stage.linear_frame
Stage.linear_frame = lambda *arguments: (linear_frame(*arguments), leaked.append(bytes(KEPT)))[0]
"""
KEPT = 96 * 54 * 4 * 2
"""Bytes that the deliberate leak keeps of every frame: one linear frame, the smallest of a frame's arrays."""
BOUND = 10 * KEPT / 2
"""Bytes in ten frames, half of what that leak leaves; without it about 0.02 MB stay, a tenth of this.

The GL keeps what it is done with for some frames, and takes or frees megabytes with a look: of ten frames the fewest
bytes count, and of nine such steps the middle one. What is left behind grows in all of them.
"""


@pytest.mark.parametrize("leak", [False, True], ids=["as it is", "with a leak"])
def test_frames_leave_nothing_behind_and_a_leak_is_seen(leak):
    code = _SOAK.replace("LEAK", _LEAK.replace("KEPT", str(KEPT)) if leak else "")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(_BENCHMARKS), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (int(done.stdout) > BOUND) == leak, done.stdout
