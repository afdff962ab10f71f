"""The numbers that a scene claims, measured as its surfaces are: by the same tasks, on the shelf, resumed after a kill.

number  ->  a scene for each of its measures and repetitions  ->  results  ->  values  ->  the number, its spread
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from studio.errors import SceneError
from studio.field import Array
from studio.landscape.sweeps.probes import PATH_STEPS, Networks, Paths
from studio.pipeline.measure import measure_all, results_of
from studio.pipeline.project import Project, repairs
from studio.pipeline.results import Results, known
from studio.pipeline.train import is_trained
from studio.scene.draft import to_draft
from studio.scene.numbers import OF_CHECKPOINT, OF_CURVATURE, Interval, Number
from studio.scene.scene import Scene

DRAFT_REPETITIONS = 2
"""Of a number in a draft, at most."""
Key = tuple[str, str, int]
"""A number's name, what is measured for it, and the repetition."""


@dataclass(frozen=True)
class MeasuredNumber:
    """A number with its values: one, or by the labels of the keyframes with `take: each`."""

    number: Number
    values: dict[str, Interval]

    def __str__(self) -> str:
        """As the picture shows it."""
        return ", ".join(self.number.text(value) + f" at {at}" * bool(at) for at, value in self.values.items())


@repairs
def measure_numbers(project: Project, names: Iterable[str] | None = None) -> dict[str, MeasuredNumber]:
    """The scene's numbers, or some of them, by name; measures what the shelf lacks.

    Raises SceneError for one that is not finite.
    """
    return _numbers(project, measure_all, names)


def stored_numbers(project: Project, names: Iterable[str]) -> dict[str, MeasuredNumber] | None:
    """Some of the scene's numbers, by name; None if the shelf lacks something they are taken from."""
    parts = number_parts(project, names).values()
    if not all(map(is_trained, parts)) or not all(results_of(part).complete for part in parts):
        return None
    return _numbers(project, lambda parts: list(map(results_of, parts)), names)


def with_claim(scene: Scene, numbers: Mapping[str, MeasuredNumber]) -> Scene:
    """The scene with its titles' claim filled in."""
    claim = scene.titles.claim and scene.titles.claim.format_map({name: str(n) for name, n in numbers.items()})
    return scene.model_copy(update={"titles": scene.titles.model_copy(update={"claim": claim})})


def number_parts(project: Project, names: Iterable[str] | None = None) -> dict[Key, Project]:
    """What is measured for the scene's numbers, or some of them: a project for each measure and repetition."""
    numbers, parts = project.scene.numbers, {}
    for name in numbers if names is None else names:
        number = numbers[name]
        times = min(number.times, DRAFT_REPETITIONS) if project.draft else number.times
        for measure in number.measures:
            for repetition in range(1 if measure in OF_CHECKPOINT else times):
                scene = project.scene.probe(number, measure, repetition)
                scene, landscape = to_draft(scene) if project.draft else scene, f"numbers/{name}/{measure}/{repetition}"
                parts[name, measure, repetition] = replace(project, scene=scene, landscape=landscape)
    return parts


def _numbers(
    project: Project, results_of_all: Callable[[Sequence[Project]], list[Results]], names: Iterable[str] | None
) -> dict[str, MeasuredNumber]:
    parts = number_parts(project, names)
    results = dict(zip(parts, results_of_all(tuple(parts.values())), strict=True))
    measured = {}
    for name in dict.fromkeys(name for name, *_ in parts):
        number = project.scene.numbers[name]
        arrays = [
            np.stack([_values(part, measure) for (of, own, _), part in results.items() if (of, own) == (name, measure)])
            for measure in number.measures
        ]
        scene = parts[name, number.measure, 0].scene
        sweep = scene.sweep.of if isinstance(scene.sweep, Networks | Paths) else scene.sweep
        keyframes, axis = sweep.unroll(scene.runs, scene.directions, scene.grid), scene.axis
        values, *against = arrays
        taken = number.of(values, *against, reaches=[keyframe.grid.unit for keyframe in keyframes])
        labels = [axis.label(keyframe.coordinate) for keyframe in keyframes] if number.take == "each" else [""]
        if not np.isfinite(taken).all():
            raise SceneError(f"{project.path}: numbers.{name}: is not finite where it was measured; take it out")
        measured[name] = MeasuredNumber(number, dict(zip(labels, taken, strict=True)))
    return measured


def _values(results: Results, measure: str) -> Array:
    """What a number takes at each keyframe [K]; of a trajectory one value."""
    if measure == "share_in_plane":
        trajectory = results.surfaces().trajectory
        return np.array([trajectory.share_in_plane if trajectory else np.nan])
    if measure in OF_CHECKPOINT:
        coordinates, metrics = results.metrics()
        chosen = [coordinates.index(at) for at in results.stored("loss") if at in coordinates]
        pairs = zip(metrics["test_loss"], metrics["train_loss"], strict=True)
        values = [test - train for test, train in pairs] if measure == "gap" else metrics[measure]
        return np.array([values[i] for i in chosen])
    if measure in (*OF_CURVATURE, "taylor_radius", "trace"):
        return np.array([facts[measure] for facts in results.curvature().values()])
    if measure in ("lambda_min", "lambda_max", "sharpness"):
        name = "kappa_max" if measure == "sharpness" else measure
        return np.array([known(dataset, name).item() for dataset in results.datasets("convexity")])
    losses = [dataset["loss"].values for dataset in results.datasets("loss")]
    if measure == "relief":
        return np.array([np.ptp(loss[np.isfinite(loss)]) for loss in losses])
    if measure == "change":
        return np.array([np.abs(loss - losses[0]).max() / np.ptp(losses[0]) for loss in losses])
    if measure == "barrier":
        ways = np.array(losses).reshape(-1, PATH_STEPS + 1)
        return np.asarray(ways.max(1) - (ways[:, 0] + ways[:, -1]) / 2)
    return np.array([dataset[measure].item() for dataset in results.datasets("loss")])
