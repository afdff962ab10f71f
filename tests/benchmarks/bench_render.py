"""How quick the picture half is on this machine, end to end with the encoder, beside the usual way with PyVista.

The usual way: for every frame a new mesh, `add_mesh`, `write_frame`, with VTK's own supersampling. Ours: the same
surface in the ember look, drawn and encoded by worker processes as a film is. Both take turns, A B A B; medians.
"""

import os
import statistics
import tempfile
import time
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from studio import workers
from studio.deliver.movie import Movie
from studio.film.camera import Orbit
from studio.film.colour import table
from studio.film.frame import Frame, View
from studio.film.look import Look
from studio.spec import Size

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
SIZES = {"720p": Size(1280, 720), "1080p": Size(1920, 1080)}
SIDE, FRAMES, ROUNDS = 201, 8, 3
LOOK = Look.model_validate({"base": "ember", "mesh": SIDE})
FPS = Fraction(24)


def figures() -> dict[str, float]:
    """`render.<size>.fps` of ours with a worker on each core, and `render.<size>.speedup` against the usual way."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, workers.pool(workers.default_count()) as run:
        for name, size in SIZES.items():
            ours, usual = [], []
            for turn in range(ROUNDS + 1):
                usual.append(_usual_way(size, Path(folder) / "usual.mp4"))
                ours.append(_our_way(size, Path(folder), run))
                if turn == 0:  # windows open and shaders compile in the first
                    usual, ours = [], []
            found[f"render.{name}.fps"] = statistics.median(ours)
            found[f"render.{name}.speedup"] = statistics.median(ours) / statistics.median(usual)
    return found


def _surface(number: int) -> np.ndarray:
    """Ripples around a crater [SIDE, SIDE], another for every frame."""
    axis = np.linspace(-1, 1, SIDE)
    r = np.hypot(axis[:, None], axis[None])
    return (0.25 * (1 - np.exp(-6 * r**2)) + 0.03 * np.cos(20 * r + 0.2 * number)).astype(np.float32)


def _usual_way(size: Size, path: Path) -> float:
    """Frames per second."""
    import pyvista as pv

    plotter = pv.Plotter(off_screen=True, window_size=tuple(size))
    plotter.enable_anti_aliasing("ssaa")
    plotter.open_movie(str(path), framerate=24)
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, SIDE, dtype=np.float32)])
    began = time.perf_counter()
    for number in range(FRAMES):
        z = _surface(number)
        plotter.clear_actors()
        plotter.add_mesh(pv.StructuredGrid(x, y, z), scalars=z.ravel(order="F"), cmap="inferno", smooth_shading=True)
        plotter.write_frame()
    rate = FRAMES / (time.perf_counter() - began)
    plotter.close()
    return rate


def _our_way(size: Size, folder: Path, run) -> float:
    """Frames per second of all workers together."""
    count = workers.default_count()
    began = time.perf_counter()
    for _ in run([(_piece, (size, folder / f"{index}.mp4")) for index in range(count)]):
        pass
    return count * FRAMES / (time.perf_counter() - began)


def _piece(size: Size, path: Path) -> None:
    Movie().segment((_stage(size).draw(_frame(n)) for n in range(FRAMES)), path, size, FPS)


@lru_cache(maxsize=1)
def _stage(size: Size):
    from studio.render.stage import Stage

    return Stage(size, SIDE)


def _frame(number: int) -> Frame:
    height = _surface(number)
    paint = table(LOOK.colour.map)[(np.clip(height / 0.3, 0, 1) * 1023).astype(int)]
    pose = Orbit(40.0 + number, 40.0, 1.8, 30.0).pose((0.0, 0.0, 0.1))
    return Frame(number, (View(height, paint, pose, 40.0 + number, LOOK),), (), LOOK.grade)


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{name:40} {value:10.2f}")
