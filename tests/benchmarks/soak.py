"""Whether memory stays flat over a long film: ten thousand small frames in one process, on every path of a worker.

Prints the resident memory after so many frames. Looks take turns, with a plinth, a trajectory and strokes among them;
surfaces move, are held and have holes; there are dissolves and sub-frames; frames are graded, with and without alpha.

    python tests/benchmarks/soak.py [frames]
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from studio.config.units import Size
from studio.film.appearance import Nodes
from studio.film.colour import lookup_table
from studio.film.format import subframes
from studio.film.frame import Frame, View
from studio.film.lines import TrajectoryLine
from studio.film.look import Look
from studio.film.marks import Text
from studio.film.pose import Orbit
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading

SIZE, MESH = Size(96, 54), 65
LOOKS = ("ember", "plaster", "blueprint", "atlas", "abyss")
TURN = 10
"""Frames of a look before the next one has its turn."""
_AXIS = np.linspace(-1, 1, MESH)
_NODES = Nodes((0.0, 0.0), (0.2, 0.2))
_TRAJECTORY = np.stack([np.linspace(-0.5, 0.0, 40), 0.3 * np.sin(np.linspace(-3, 0, 40))], axis=1)


def main(frames: int = 10_000) -> None:
    for number, resident in soak(frames, (100, *range(1000, frames + 1, 1000))):
        print(f"{number:6} frames  {resident / 2**20:8.1f} MiB", flush=True)


def soak(frames: int, reports: Sequence[int], count: Callable[[], int] | None = None) -> Iterator[tuple[int, int]]:
    """Draws frames; after those in `reports`, yields the number and the bytes that `count` counts, or resident ones."""
    from studio.render import grade
    from studio.render.stage import Stage

    looks = [Look.model_validate({"base": name, "mesh": MESH, "trajectory": None}) for name in LOOKS]
    looks[0] = looks[0].model_copy(update={"trajectory": TrajectoryLine()})
    with Stage(SIZE, MESH) as stage:
        for number in range(1, frames + 1):
            frame = _frame(number, looks[number // TURN % len(looks)])
            codes = stage.linear_frame(frame)
            grade.picture(codes, frame).to_array()
            if number % 10 == 0:
                stage.light(frame)
                stage.depth(frame)
                grade.picture(codes, frame, bits=16, alpha=True).to_array()
                grade.linear_picture(codes, frame).to_array()
            if number in reports:
                yield number, (count or resident)()


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _frame(number: int, look: Look) -> Frame:
    view = _view(number, look, 30.0 + number)
    if number % 7 == 0:
        views = (replace(view, weight=0.5), replace(_view(number + 40, look, 200.0), weight=0.5))
    elif number % 11 == 0:
        views = tuple(replace(view, weight=1 / 3, jitter=sub.jitter, lens_point=sub.lens_point) for sub in subframes(3))
    else:
        views = (view,)
    texts = (Text(f"epoch {number / 24:.1f}", 0.1, 0.9, 0.1, 0.9),)
    return Frame(number, views, texts, resolve_grading(look.grade), resolve_background(look.background))


def _view(number: int, look: Look, azimuth: float) -> View:
    """Held for three frames out of four; every hundredth surface has a hole."""
    phase = number // 4
    r = np.hypot(_AXIS[:, None], _AXIS[None])
    height = (0.25 * (1 - np.exp(-6 * r**2)) + 0.03 * np.cos(20 * r + 0.2 * phase)).astype(np.float32)
    if phase % 100 == 0:
        height[10:14, 20:30] = np.nan
    colours = lookup_table("inferno")[(np.clip(np.nan_to_num(height) / 0.3, 0, 1) * 1023).astype(int)]
    pose = Orbit(azimuth, 40.0, 1.8, 30.0).pose((0.0, 0.0, 0.1))
    trajectory = _TRAJECTORY[: 2 + number % 38] if look.trajectory else None
    return View(height, colours, pose, resolve_appearance(look, azimuth, nodes=_NODES), trajectory=trajectory)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
