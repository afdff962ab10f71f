"""The cost of a scene: exact counts, and times from a short measurement on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

from studio.cli.report import assumed_warnings, format_bytes, loss_values
from studio.config.units import Size
from studio.errors import MachineError
from studio.landscape.profiling import Cost, measure_costs
from studio.render.gl import gl_renderer
from studio.scene.captions import assumed_film
from studio.scene.scene import Scene
from studio.training.derived import AnyRun
from studio.training.device import describe
from studio.training.runs import SurfacesRun

PRODUCTS = 20
"""Hessian products a point typically takes: 14 at least, seldom more than 25, and 2 for the plane."""
SLICE_SECONDS = 0.15
"""Of preparing a slice, which for a number is often all the work."""
MOVIE_BYTES = 0.35
"""Bytes per pixel of a finished H.264 frame with grain."""
FRAME_BYTES = 2.0
"""Bytes per pixel of a stored linear frame."""


def estimate(scene: Scene, workers: int) -> Iterator[str]:
    """Lines of counts and rough times, one or more a stage, and the sum."""
    total = disk = 0.0
    if scene.networks:
        yield f"device     {describe()}"
    for name in scene.names:
        part = scene.only(name)
        if name:
            yield f"{name}:"
        if isinstance(part.run, SurfacesRun):
            many, file = len(part.keyframes()), part.run.file.name
            yield f"surfaces   {many} keyframes of {file}, nothing to train or to measure"
            disk += 8 * _loss_values(part) * len(part.run.content.fields)
            continue
        cost = measure_costs(part.run, part.directions, part.loss, part.convexity)
        for seconds, lines in (
            _train(part.networks, cost),
            _loss(part, cost, workers),
            _curvature(part, cost, workers),
        ):
            total += seconds
            yield from lines
        disk += sum(len(run.instants()) for run in part.runs) * 4 * cost.parameters + 16 * _loss_values(part)
    seconds, lines = _numbers(scene, workers)
    total += seconds
    yield from lines
    frames, size = scene.cut.length, scene.film.size
    try:
        seconds = frames * _seconds_per_frame(scene) / workers
        total += seconds
        yield f"draw       {frames} frames of {size}, {_duration(seconds)}"
    except MachineError as error:
        yield f"draw       {frames} frames of {size}; {error}"
    disk += frames * size.width * size.height * (2 * MOVIE_BYTES + FRAME_BYTES)
    count = f"{workers} worker{'s' * (workers > 1)}"
    yield f"in all     {_duration(total)} with {count}, {format_bytes(round(disk))} of disk"
    yield from assumed_warnings(scene)


def _train(runs: Iterable[AnyRun], cost: Cost) -> tuple[float, list[str]]:
    """Seconds of training some runs, and their lines."""
    from studio.training.recorder import seconds_per_step

    total, lines = 0.0, []
    for run in runs:
        if run.kind != "folder":
            steps = math.ceil((run.recipe.epochs - run.instants()[0]) * math.ceil(cost.images / run.recipe.batch))
            seconds = steps * seconds_per_step(run.recipe, run.objective)
            total += seconds
            lines.append(f"train      {steps} steps, {len(run.instants())} checkpoints, {_duration(seconds)}")
    return total, lines


def _loss(scene: Scene, cost: Cost, workers: int) -> tuple[float, list[str]]:
    """Seconds of measuring the loss, and its lines."""
    seconds = (values := _loss_values(scene)) * cost.value / workers
    at_most, each = "at most " * (scene.loss.sampling == "preview"), f"{1e3 * cost.value:.1f} ms each"
    counts = f"loss       {at_most}{values} values of {cost.samples} images, {each}, {_duration(seconds)}"
    return seconds, [counts, f"           computed by the method {cost.method}: {cost.reason}"]


def _loss_values(scene: Scene) -> int:
    from studio.landscape.values.preview import max_points

    values = loss_values(scene)
    if scene.loss.sampling == "preview":
        values = values // scene.grid.size * max_points(scene.grid)
    return values + (len(scene.detail_keyframes()) * scene.detail.grid.size if scene.detail else 0)


def _curvature(scene: Scene, cost: Cost, workers: int) -> tuple[float, list[str]]:
    """Seconds of measuring curvature, and its lines."""
    if (convexity := scene.convexity) is None:
        return 0.0, []
    keyframes = len(scene.convexity_keyframes())
    points = keyframes * convexity.points**2
    products = points * PRODUCTS
    total = seconds = products * cost.product / workers
    each = f"{1e3 * cost.product:.0f} ms each"
    lines = [f"convexity  {points} points, about {products} products, {each}, {_duration(seconds)}"]
    if spectrum := convexity.spectrum:
        products = keyframes * spectrum.probes * spectrum.steps
        seconds = products * cost.product / workers
        total += seconds
        lines.append(f"spectrum   {products} products, {_duration(seconds)}")
    return total, lines


def _numbers(scene: Scene, workers: int) -> tuple[float, list[str]]:
    """Seconds of measuring the scene's numbers, and their lines."""
    total, lines, costs = 0.0, [], cache(measure_costs)  # many numbers are of the same network and loss
    known = {run for name in scene.names for run in scene.only(name).networks}
    for name, number in scene.numbers.items():
        seconds, slices = 0.0, 0
        for measure in number.measures:
            probe = scene.probe(number, measure, 0)
            cost = costs(probe.network, probe.directions, probe.loss, probe.convexity)
            once = [_loss(probe, cost, workers)[0], _curvature(probe, cost, workers)[0]]
            count = number.times * len(probe.keyframes())
            training = _train([run for run in probe.networks if run not in known], cost)[0]
            known |= {*probe.networks}
            seconds += training + number.times * sum(once) + count * SLICE_SECONDS / workers
            slices += count
        total += seconds
        lines.append(f"number     {name}: {slices} slices, {_duration(seconds)}")
    return total, lines


def _seconds_per_frame(scene: Scene) -> float:
    """Seconds to draw and grade a frame, measured on an assumed landscape; beyond 1080p in proportion to the pixels."""
    gl_renderer()
    from studio.render.stage import Stage

    film = scene.film
    size = min(film.size, Size(1920, 1080), key=math.prod)
    source = replace(assumed_film(scene), size=size)
    first, second = source.frame(0), source.frame(1)
    with Stage(size, source.look.mesh, film.quality.samples) as stage:
        stage.draw(first)
        start = time.perf_counter()
        stage.draw(second)
        return (time.perf_counter() - start) * math.prod(film.size) / math.prod(size)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
