"""How quick and how true the picture half is on this machine, beside the usual way with PyVista.

The usual way: for every frame a new mesh, `add_mesh`, `write_frame`, with VTK's own supersampling. Ours: the same
surface in the ember look, drawn and encoded by worker processes as a film is. Both take turns, A B A B; medians. CPU
times are of one process and all its threads. What is compared with a reference is compared with 128 samples a pixel
(121 of the usual way's own) of the same picture, in codes of 255.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
from threadpoolctl import threadpool_limits

from studio.config.units import Size
from studio.deliver.movie import Movie
from studio.execution.devices import usable_cores
from studio.execution.local import LocalExecutor
from studio.execution.tasks import run_tasks
from studio.field import Field, Surfaces
from studio.film.colour import encode, lookup_table
from studio.film.format import QUALITIES, subframes
from studio.film.frame import Frame, View, Window
from studio.film.frame_source import FrameSource
from studio.film.light import Background, Grade
from studio.film.look import Look, gallery
from studio.film.pose import Orbit
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading
from studio.scene.scene import Scene

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
SIZES = {"720p": Size(1280, 720), "1080p": Size(1920, 1080)}
SIDE, FRAMES, ROUNDS = 201, 8, 3
LOOK = Look.model_validate({"base": "ember", "mesh": SIDE})
STILL = LOOK.grade.model_copy(update={"grain": 0.0})
FPS = Fraction(24)
SMALL = Size(640, 360)
MASTERS = ("hevc-10", "av1-10", "prores-422hq", "prores-4444", "dnxhr", "ffv1")
SLOW = 0.25
"""Degrees from frame to frame of a slow orbit: a quarter of the way round in fifteen seconds."""
SCENE = Path(__file__).parents[2] / "scenes/first-light.yaml"


def figures() -> dict[str, float]:
    """Figures by name; each part says what its own are."""
    parts = (speed, overhead, grade, bake, tiles, banding, truth, first_light)
    return {name: value for part in parts for name, value in part().items()}


def speed() -> dict[str, float]:
    """`render.<size>.fps` of ours with a worker on each core, and `render.<size>.speedup` against the usual way."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, LocalExecutor(usable_cores()) as executor:
        for name, size in SIZES.items():
            ours, usual = [], []
            for turn in range(ROUNDS + 1):
                usual.append(_usual_way(size, Path(folder) / "usual.mp4"))
                ours.append(_our_way(size, Path(folder), executor))
                if turn == 0:  # windows open and shaders compile in the first
                    usual, ours = [], []
            found[f"render.{name}.fps"] = statistics.median(ours)
            found[f"render.{name}.speedup"] = statistics.median(ours) / statistics.median(usual)
    return found


def overhead() -> dict[str, float]:
    """`render.1080p.overhead_ms`: what a frame of a moving surface costs besides what GL does, before the grade.

    CPU time of the main thread; the median of some frames.
    """
    from studio.render.framebuffer import Framebuffer

    stage, inside, taken = _stage(SIZES["1080p"]), [], []
    codes, download = Framebuffer.codes, Framebuffer._download

    def timed(work: Callable) -> Callable:
        def run(*given):
            began = time.thread_time()
            work(*given)
            inside.append(time.thread_time() - began)

        return run

    def watched(framebuffer: Framebuffer, renderer) -> np.ndarray:
        return codes(framebuffer, SimpleNamespace(Render=timed(renderer.Render)))

    # a software GL draws when it is asked for what it drew
    with patch.object(Framebuffer, "codes", watched), patch.object(Framebuffer, "_download", timed(download)):
        for number in range(17):
            frame = _frame(number)
            inside.clear()
            began = time.thread_time()
            stage.linear_frame(frame)
            taken.append(time.thread_time() - began - sum(inside))
    return {"render.1080p.overhead_ms": 1e3 * statistics.median(taken[1:])}


def grade() -> dict[str, float]:
    """`grade.1080p_ms`: CPU time from a linear frame to eight bits, with bloom, vignette, grain and dither."""
    from studio.render.grade import picture
    from studio.render.linear_frame import encode as encode_light

    kept, frame = encode_light(_stage(SIZES["1080p"]).light(_frame(0))), _frame(0)
    return {"grade.1080p_ms": 1e3 * _cpu(lambda: picture(kept, frame).to_array())}


def bake() -> dict[str, float]:
    """`bake.201_ms`: CPU time of occlusion and shadow on 201x201 points."""
    from studio.render.bake import occlusion, sunlight

    height, spacing = _surface(0), 2 / (SIDE - 1)
    return {"bake.201_ms": 1e3 * _cpu(lambda: (occlusion(height, spacing), sunlight(height, spacing, 0.7, 0.5)))}


def tiles() -> dict[str, float]:
    """`tile.bad_pixel_share`: of 4K in one piece and in tiles, pixels off by more than a code; the worst of all looks.

    At final quality, as films and stills are drawn.
    """
    from studio.render.grade import picture
    from studio.render.linear_frame import encode as encode_light
    from studio.render.stage import Stage

    whole, part, shares = Size(3840, 2160), Size(1280, 720), []
    source = replace(_first_light(), size=whole, quality=QUALITIES["final"])
    for look in gallery().values():
        frame = source.with_look(look).frame(96)
        with Stage(whole, look.mesh, source.quality.samples) as stage:
            direct = picture(encode_light(stage.light(frame)), frame).to_array()
        kept = np.zeros((whole.height, whole.width, 4), np.uint16)
        with Stage(part, look.mesh, source.quality.samples) as stage:
            for top in range(0, whole.height, part.height):
                for left in range(0, whole.width, part.width):
                    tile = encode_light(stage.light(frame, Window(left, top, whole)))
                    kept[top : top + part.height, left : left + part.width] = tile
        tiled = picture(kept, frame).to_array()
        apart = np.maximum(direct, tiled) - np.minimum(direct, tiled)
        shares.append(float((apart > 1).any(axis=2).mean()))
    return {"tile.bad_pixel_share": max(shares)}


def banding() -> dict[str, float]:
    """`banding.<preset>_lsb`, without hyphens: of a dark slope in a master, the error in blocks of 16x16, rms.

    In steps of 10 bits.
    """
    import av

    from studio.render.grade import picture
    from studio.render.linear_frame import encode as encode_light

    size, count, found = SIZES["720p"], 6, {}
    across = np.linspace(0.004, 0.05, size.width)[None] * np.linspace(1, 0.6, size.height)[:, None]
    light = np.ones((size.height, size.width, 4), np.float32)
    light[..., :3] = across[..., None]
    grading = resolve_grading(Grade(bloom=0.0, vignette=0.0, grain=0.0))
    flat = Frame(0, (), (), grading, resolve_background(Background()))
    exact = 64 + 876 * encode(across)  # the luma of a grey, in the 10 bits of BT.709
    with tempfile.TemporaryDirectory() as folder:
        for preset in MASTERS:
            movie = Movie(preset=preset)
            shown = picture(encode_light(light), flat, bits=16, alpha=movie.picture_spec.alpha)
            path = Path(folder) / f"{preset}{movie.segment_suffix}"
            movie.write_segment(count * [shown], path, size, FPS)
            with av.open(path) as media:
                rows = [_luma(frame) for frame in media.decode(video=0)]
            error = (np.mean(rows, axis=0) - exact).reshape(size.height // 16, 16, size.width // 16, 16)
            found[f"banding.{preset.replace('-', '')}_lsb"] = float(np.sqrt((error.mean(axis=(1, 3)) ** 2).mean()))
    return found


def _luma(frame) -> np.ndarray:
    """Of a decoded frame of a grey, in steps of 10 bits."""
    plane = np.frombuffer(frame.planes[0], "<u2").reshape(frame.height, -1)[:, : frame.width]
    if frame.format.name.startswith("gbr"):
        return 64 + 876 * (plane / 65535)
    return plane / 2 ** (frame.format.components[0].bits - 10)


def truth() -> dict[str, float]:
    """`psnr.*`: of a frame to its reference, in dB. `flicker.*`: what crawls in a slow orbit, in codes.

    An error that stays where it is does not flicker: what crawls is the change, from a frame to the next, of what is
    wrong with it; its rms.
    """
    found = {}
    for name, drawn in (("ours", _ours), ("naive", _usual)):
        first, second = (drawn(number) - drawn(number, reference=True) for number in (0, 1))
        found[f"psnr.{name}"] = 20 * np.log10(255 / np.sqrt((first**2).mean()))
        found[f"flicker.{name}"] = float(np.sqrt(((second - first) ** 2).mean()))
    return found


def first_light() -> dict[str, float]:
    """`render.first_light.cpu_s`: CPU time of a 1080p frame of first-light at final quality, surface to picture."""
    from studio.render.stage import Stage

    source = _first_light()
    with Stage(source.size, source.look.mesh, source.quality.samples) as stage:
        numbers = iter(np.linspace(0, source.cut.length - 1, 8).astype(int).tolist())
        return {"render.first_light.cpu_s": _cpu(lambda: stage.draw(source.frame(next(numbers))))}


def _cpu(work: Callable[[], object], rounds: int = 7) -> float:
    """CPU seconds on one thread, as in a worker; the median of some rounds after a first."""
    with threadpool_limits(1):
        work()
        taken = []
        for _ in range(rounds):
            began = time.process_time()
            work()
            taken.append(time.process_time() - began)
        return statistics.median(taken)


def _surface(number: int) -> np.ndarray:
    """Ripples around a crater [SIDE, SIDE], another for every frame."""
    axis = np.linspace(-1, 1, SIDE)
    r = np.hypot(axis[:, None], axis[None])
    return (0.25 * (1 - np.exp(-6 * r**2)) + 0.03 * np.cos(20 * r + 0.2 * number)).astype(np.float32)


@lru_cache(maxsize=1)
def _first_light() -> FrameSource:
    """First-light's film of a surface made up on its grid: a rough sheet that opens into a crater."""
    scene = Scene.load(SCENE)
    x, y = np.meshgrid(scene.grid.alpha, scene.grid.alpha)
    r, keys = np.hypot(x, y) / scene.grid.alpha[-1], tuple(float(key) for key in scene.sweep.at)
    rough = 0.1 * (np.sin(9 * x + 4 * y) + np.cos(7 * y - 5 * x * x))
    crater = 6 * (1 - np.exp(-5 * r**2)) * np.exp(-((r - 0.7) ** 2)) + 0.2 + rough * r
    values = np.stack([2.4 + rough + (crater - 2.4 - rough) * key / keys[-1] for key in keys])
    fields = {"loss": Field(keys, scene.grid, values, "log")}
    fields |= {
        name: Field(keys, scene.grid, sign * np.exp(rough + shift * r)[None] * np.ones((len(keys), 1, 1)), "signed-log")
        for name, sign, shift in (("lambda_min", -1, 2.0), ("lambda_max", 1, 1.0))
    }
    notes = {"loss": "made up", "convexity": "made up"}
    return FrameSource.of(scene.shots[:1], {"": Surfaces(fields)}, scene.look, scene.titles, scene.film, {"": notes})


# --- ours ------------------------------------------------------------------------------------------------------------


def _our_way(size: Size, folder: Path, executor: LocalExecutor) -> float:
    """Frames per second of all workers together."""
    count = usable_cores()
    began = time.perf_counter()
    for _ in run_tasks(executor, [(_segment, (size, folder / f"{index}.mp4")) for index in range(count)], count):
        pass
    return count * FRAMES / (time.perf_counter() - began)


def _segment(size: Size, path: Path) -> None:
    Movie().write_segment((_stage(size).draw(_frame(n)) for n in range(FRAMES)), path, size, FPS)


@lru_cache(maxsize=1)
def _stage(size: Size, samples: int = QUALITIES["final"].samples):
    from studio.render.stage import Stage

    return Stage(size, SIDE, samples)


def _frame(number: int, turn: float = 1.0, surface: int | None = None) -> Frame:
    """A frame of an orbit of so many degrees a frame, around a surface that moves with it or is held."""
    height = _surface(number if surface is None else surface)
    colours = lookup_table(LOOK.colour.map)[(np.clip(height / 0.3, 0, 1) * 1023).astype(int)]
    orbit = Orbit(40.0 + turn * number, 40.0, 1.8, 30.0)
    view = View(height, colours, orbit.pose((0.0, 0.0, 0.1)), resolve_appearance(LOOK, orbit.azimuth))
    return Frame(number, (view,), (), resolve_grading(LOOK.grade), resolve_background(LOOK.background))


def _ours(number: int, reference: bool = False) -> np.ndarray:
    """Codes [H, W, 3] of a slow orbit around a held surface, without grain."""
    from studio.render.grade import picture
    from studio.render.linear_frame import encode as encode_light

    frame = replace(_frame(number, SLOW, surface=0), grading=resolve_grading(STILL))
    if not reference:
        return picture(encode_light(_stage(SMALL).light(frame)), frame).to_array().astype(float)
    (view,) = frame.views
    views = tuple(replace(view, weight=1 / 8, jitter=sub.jitter) for sub in subframes(8))
    return picture(encode_light(_stage(SMALL, 4).light(replace(frame, views=views))), frame, bits=16).to_array() / 257


# --- the usual way ---------------------------------------------------------------------------------------------------


def _usual_way(size: Size, path: Path) -> float:
    """Frames per second."""
    with _plotter(size) as plotter:
        plotter.enable_anti_aliasing("ssaa")
        plotter.open_movie(str(path), framerate=24)
        began = time.perf_counter()
        for number in range(FRAMES):
            plotter.clear_actors()
            _add(plotter, _surface(number))
            plotter.write_frame()
        return FRAMES / (time.perf_counter() - began)


def _usual(number: int, reference: bool = False) -> np.ndarray:
    """Codes [H, W, 3] of the same orbit."""
    times = 11 if reference else 1
    with _plotter(Size(times * SMALL.width, times * SMALL.height)) as plotter:
        if not reference:
            plotter.enable_anti_aliasing("ssaa")
        _add(plotter, _surface(0), show_scalar_bar=False)
        pose = Orbit(40.0 + SLOW * number, 40.0, 1.8, 30.0).pose((0.0, 0.0, 0.1))
        plotter.camera_position = pose.position, pose.focal_point, pose.view_up
        plotter.camera.view_angle = pose.view_angle
        codes = plotter.screenshot(return_img=True)
    return codes.reshape(SMALL.height, times, SMALL.width, times, 3).mean(axis=(1, 3))


@contextmanager
def _plotter(size: Size) -> Iterator:
    import pyvista as pv

    plotter = pv.Plotter(off_screen=True, window_size=tuple(size))
    try:
        yield plotter
    finally:
        plotter.close()


def _add(plotter, z: np.ndarray, **how) -> None:
    import pyvista as pv

    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, SIDE, dtype=np.float32)])
    mesh = pv.StructuredGrid(x, y, z)
    plotter.add_mesh(mesh, scalars=z.ravel(order="F"), cmap="inferno", smooth_shading=True, **how)


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{name:40} {value:10.3g}")
