"""What a scene costs: counts that are exact, and times from a short probe of this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from studio.cli.report import bytes_, outlook
from studio.config.units import Size
from studio.errors import MachineError
from studio.film.frame import Frame, View
from studio.film.resolve import resolve_background, resolve_grading, resolve_material
from studio.scene.scene import Scene

PRODUCTS = 20  # Hessian products a point takes, typically: 14 at least, seldom more than 25, and 2 for the plane
BYTES_PER_PIXEL = 0.35  # of a finished H.264 frame with grain
KEPT_PER_PIXEL = 2.0  # of a plate


def estimate(scene: Scene, workers: int) -> Iterator[str]:
    """Lines that say what each stage counts and, roughly, takes."""
    from studio.landscape.profiling import probe
    from studio.landscape.values.preview import most
    from studio.training.recorder import seconds_per_step

    recipe, found = scene.run.recipe, probe(scene.run, scene.directions, scene.loss, scene.convexity)
    total = 0.0
    if scene.run.checkpoints is None:
        steps = recipe.epochs * math.ceil(found.images / recipe.batch)
        total += (took := steps * seconds_per_step(recipe))
        yield f"train      {steps} steps, {len(scene.epochs())} checkpoints, {_duration(took)}"
    preview = scene.loss.sampling == "preview"
    values = len(scene.keys()) * (most(scene.grid) if preview else scene.grid.size)
    if scene.detail:
        values += len(scene.detail_keys()) * scene.detail.grid.size
    total += (took := values * found.value / workers)
    count = "at most " if preview else ""
    each = f"{1e3 * found.value:.1f} ms each"
    yield f"loss       {count}{values} values of {found.samples} images, {each}, {_duration(took)}"
    yield f"           computed the {found.method} way: {found.why}"
    if scene.convexity:
        points = len(scene.convexity_keys()) * scene.convexity.points**2
        total += (took := points * PRODUCTS * found.product / workers)
        products, each = points * PRODUCTS, f"{1e3 * found.product:.0f} ms each"
        yield f"convexity  {points} points, about {products} products, {each}, {_duration(took)}"
        if probes := scene.convexity.spectrum:
            products = len(scene.convexity_keys()) * probes.probes * probes.steps
            total += (took := products * found.product / workers)
            yield f"spectrum   {products} products, {_duration(took)}"
    frames, size = scene.cut.length, scene.film.size
    try:
        total += (took := frames * _seconds_per_frame(scene) / workers)
        yield f"draw       {frames} frames of {size}, {_duration(took)}"
    except MachineError as error:
        yield f"draw       {frames} frames of {size}; {error}"
    disk = (
        len(scene.epochs()) * 4 * found.parameters
        + 16 * values
        + frames * size.width * size.height * (2 * BYTES_PER_PIXEL + KEPT_PER_PIXEL)
    )
    yield f"in all     {_duration(total)} with {workers} worker{'s' * (workers > 1)}, {bytes_(round(disk))} of disk"
    yield from outlook(scene)


def _seconds_per_frame(scene: Scene) -> float:
    """One frame of a bowl, drawn and graded; a picture larger than 1080p takes longer as it has more pixels."""
    from studio.render.gl import gl_renderer

    gl_renderer()
    from studio.render.stage import Stage

    film = scene.film
    look = film.quality.meshed(scene.look)
    size = min(film.size, Size(1920, 1080), key=math.prod)
    axis = np.linspace(-1, 1, look.mesh, dtype=np.float32)
    bowl = 0.3 * (axis[:, None] ** 2 + axis[None] ** 2)
    pose = scene.shots[0].camera.start.orbit().pose((0.0, 0.0, 0.1))
    grey, weight = np.full((*bowl.shape, 3), 0.3, np.float32), 1 / film.quality.subframes
    view = View(bowl, grey, pose, resolve_material(look, azimuth=0.0), weight)
    grading, background = resolve_grading(look.grade), resolve_background(look.background)

    def frame(number: int) -> Frame:
        return Frame(number, film.quality.subframes * (view,), (), grading, background)

    with Stage(size, look.mesh, film.samples) as stage:
        stage.draw(frame(0))
        return _timed(lambda: stage.draw(frame(1))) * math.prod(film.size) / math.prod(size)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
