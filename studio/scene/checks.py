"""Mistakes that take several records to see: shots that do not fit, unmeasured fields, missing keyframes.

Each is (path of keys, message with the way out).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from studio.config.records import nearest
from studio.errors import RunError, SceneError
from studio.field import Axis, Grid
from studio.film.fields import FIELDS, SCALES, SIGNED, measured_fields, missing_advice
from studio.film.format import Format
from studio.film.look import Look
from studio.film.overlays import live_mistake
from studio.film.timeline import Cut, Shot
from studio.landscape.convexity import Convexity
from studio.landscape.detail import Detail
from studio.landscape.directions import Directions, File, parts, require_moving
from studio.landscape.loss import Loss, Word, applicable_methods
from studio.training.data import Layout, Text
from studio.training.direction_file import read_directions
from studio.training.models import Gan, Python, Transformer, misfit, move_only, without_values
from studio.training.objectives import CROSS_ENTROPY, OF_LABELS, drawn_name
from studio.training.recipe import MOVE_ALL
from studio.training.runs import NetworkRun, Run, SurfacesRun

Path = tuple[Any, ...]
Mistake = tuple[Path, str]
Numbers = Sequence[str] | None
"""What the objective gives for each sample, `loss` first; None for the user's function before it was called."""


def drawn_fields(look: Look, shots: Iterable[Shot]) -> Iterator[tuple[Path, str]]:
    """The path of keys and the name of every field that a look or a shot draws."""
    yield ("look", "height", "field"), look.height.field
    yield ("look", "colour", "field"), look.colour.field
    for index, shot in enumerate(shots):
        if shot.colour:
            yield ("shots", index, "colour", "field"), shot.colour.field


def unmeasured_fields(
    fields: Iterable[tuple[Path, str]], loss: Loss, convexity: Convexity | None, run: Run, numbers: Numbers
) -> Iterator[Mistake]:
    """Fields that nothing measures, and what to add."""
    if isinstance(run, SurfacesRun):
        brought = run.content.fields
        for path, field in fields:
            if lacking := [name for name in measured_fields(field) if name not in brought]:
                yield path, f"{run.file} has no {' and no '.join(lacking)}; its fields: {', '.join(brought)}"
        return
    objective, prefix = run.objective, f"{run.objective}."
    metrics = {drawn_name(objective, number) for number in numbers or ()}
    exact = {*metrics, *map(str, loss.fields), *(["taylor"] if convexity else ())}
    measured = {"loss"} | exact | (set(SIGNED) if convexity and convexity.points > 1 else set())
    for path, field in fields:
        is_metric = field == "accuracy" or field.startswith(prefix)
        if loss.sampling == "preview" and field != "loss" and (is_metric or field in exact):
            yield path, f"a preview measures the loss alone, not {field}; write `sampling: exact` under `loss`"
        elif is_metric:
            if numbers is not None and field not in metrics:
                yield path, f"the objective {objective} has no {field}{nearest(field, metrics)}"
        elif text := missing_advice(field, measured):
            yield path, text
        elif field == "taylor" and convexity and convexity.loss(loss) != loss:
            yield ("convexity", "subset"), "taylor compares the drawn loss with its own Hessian; leave the subset out"


def file_mistakes(run: SurfacesRun) -> Iterator[Mistake]:
    """Fields of the user's file that no look can draw."""
    for name in run.content.fields:
        if name not in SCALES:
            yield ("run", run.kind, "file"), f"{run.file}: {name} is no measured field{nearest(name, SCALES)}"


def deliverable_mistakes(deliverables: Sequence[Any], title: str, film: Format, cut: Cut) -> Iterator[Mistake]:
    """Two deliverables with one file, sizes and rates that a format lacks, times after the end."""
    names = [deliverable.file_name(title) for deliverable in deliverables]
    for index, deliverable in enumerate(deliverables):
        if names[index] in names[:index]:
            yield ("deliver", index), f"the same file as deliver[{names.index(names[index])}]; take one of them out"
        if text := deliverable.mistake_at(film.size, film.fps):
            yield ("film", "size"), f"deliver[{index}]: {text}"
        if (at := getattr(deliverable, "at", None)) and at.frames(film.fps) >= cut.length:
            seconds = float(cut.length / film.fps)
            yield ("deliver", index, "at"), f"{at} is after the end of the film, which lasts {seconds:g}s"


def aov_fields(deliverables: Sequence[Any]) -> Iterator[tuple[Path, str]]:
    """The path of keys and the name of every measured field among the deliverables' AOVs."""
    for index, deliverable in enumerate(deliverables):
        for aov in deliverable.picture_spec.aovs:
            if aov in FIELDS:
                yield ("deliver", index, "aovs"), aov


def live_line_mistake(
    live: str, axis: Axis, run: Run, scored: Mapping[float, Any], numbers: Numbers, parts: Sequence[str]
) -> str | None:
    """What is wrong with a live line: a number that nothing records at the film's coordinates.

    scored: checkpoints whose metrics are known, by coordinate. parts: of the data.
    """
    if isinstance(run, SurfacesRun):
        return live_mistake(live, axis, run.content.metrics)
    metrics = [f"{part}_{name}" for part in parts for name in numbers or ()]
    metrics += run.recorded
    return live_mistake(live, axis, metrics if scored else (), any_metric=numbers is None and bool(scored))


def run_mistakes(run: NetworkRun, loss: Loss, layout: Layout | None) -> Iterator[Mistake]:
    """A model or an objective that the data do not fit, if they are known, and keys of the loss that the objective
    does not."""
    objective = run.objective
    if layout:
        yield from _layout_mistakes(run, layout)
    own = objective.calls_model
    if own or (objective.kind != "cross-entropy" and "entropy" in loss.fields):
        of_model = "return further numbers from the function" if objective.kind == "python" else "take them out"
        numbers = of_model if own else "take entropy out, which is of classes"
        for key, is_set, way_out in (
            ("fields", loss.fields, numbers),
            ("method", own and loss.method not in (None, "loop"), "it measures by the method loop alone"),
            ("calibration", own and loss.calibration, "its calibration samples are those of the subset"),
        ):
            if is_set:
                yield ("loss", key), f"not with the objective {objective}: {way_out}"
    if loss.word:
        yield from ((("loss", "word"), text) for text in _word_mistakes(run, loss.word))
    model = run.recipe.model
    if loss.method == "batched":
        if not isinstance(model, Python) and loss.method not in applicable_methods(model, loss, "cpu"):
            yield ("loss", "method"), f"{loss.method} cannot compute this {model.kind}; leave the method out"
        elif run.parameters != MOVE_ALL:
            yield ("loss", "method"), f"{loss.method} moves all weights, not run.parameters; leave the method out"


def _word_mistakes(run: NetworkRun, word: Word) -> Iterator[str]:
    """Why the loss cannot be that of a word."""
    if not isinstance(run.recipe.data, Text) or run.objective != CROSS_ENTROPY:
        yield "is of a network that learns characters: write `data: text` and leave the objective out"
        return
    try:
        run.recipe.data.word(word.prompt, word.next)
    except (RunError, SceneError) as error:
        yield str(error)


def _layout_mistakes(run: NetworkRun, layout: Layout) -> Iterator[Mistake]:
    """What does not fit the data."""
    objective, model = run.objective, run.recipe.model
    if text := objective.misfit(layout):
        yield ("run", run.kind, "objective"), text
    if objective.kind in OF_LABELS and layout.target and not isinstance(model, Python | Transformer):
        shape = "x".join(map(str, layout.target))
        yield ("run", run.kind, "objective"), f"a sample's target here is {shape}, expected one label: save targets [N]"
    if text := misfit(model, layout.shape, layout.is_whole):
        yield run.keys("model"), text
    if (objective.kind == "wasserstein") != isinstance(model, Gan) and not isinstance(model, Python):
        way_out = "write `model: gan`, `data: latents` and `objective: wasserstein`, or none of them"
        yield run.keys("model"), f"the objective {objective} and the model {model.kind} do not fit; {way_out}"
    if run.kind == "recipe":
        yield from ((("run", run.kind, "recipe", *keys), text) for keys, text in run.recipe.misfits(layout.samples))


def weight_mistakes(run: NetworkRun, layout: Layout, directions: Directions) -> Iterator[Mistake]:
    """Patterns that no weight of a built-in model has, and files of directions that do not fit it."""
    recipe, files = run.recipe, [part for part in parts(directions) if isinstance(part, File)]
    is_plain = run.parameters == recipe.train == MOVE_ALL and not files
    if is_plain or isinstance(recipe.model, Python) or misfit(recipe.model, layout.shape, layout.is_whole):
        return
    model = without_values(recipe.model, layout.shape, run.objective.outputs(layout))
    tests: dict[Path, Callable[[], object]] = {
        ("run", run.kind, "recipe", "train"): lambda: move_only(recipe.train, model, "run.recipe.train"),
        ("run", run.kind, "parameters"): lambda: move_only(run.parameters, model.requires_grad_()),
        ("directions",): lambda: [read_directions(part.file).fit(model) for part in files],
        ("directions", directions.kind): lambda: require_moving(
            directions, [w.dim() for w in model.parameters() if w.requires_grad]
        ),
    }
    for keys, test in tests.items():
        try:
            test()
        except (RunError, SceneError) as error:
            yield keys, str(error).removeprefix(f"{'.'.join(keys[:1] + keys[2:])}: ")


def subset_mistakes(loss: Loss, convexity: Convexity | None, available: int) -> Iterator[Mistake]:
    """Subsets that are larger than the data."""
    for key, text in loss.oversized_subsets(available):
        yield ("loss", key), text
    if convexity and convexity.subset is not None and loss.word:
        yield ("convexity", "subset"), "the loss is that of a word, which is one sample; take it out"
    elif convexity and convexity.subset is not None:
        for key, text in convexity.loss(loss).oversized_subsets(available):
            if key == "subset":
                yield ("convexity", key), text


def aperture_mistakes(shots: Iterable[Shot], film: Format) -> Iterator[Mistake]:
    """Apertures that cannot blur, because a frame has one sub-frame."""
    for index, shot in enumerate(shots):
        camera = shot.camera
        keys = (key for move in camera.moves for part in move.parts for key in part.keys)
        apertures = camera.start.aperture, *(key.aperture for key in keys)
        if any(apertures) and film.quality.subframes == 1:
            yield (
                ("shots", index, "camera", "start", "aperture"),
                "an aperture blurs only in sub-frames: write `quality: master` under `film`, or "
                "`quality: {samples: 2, subframes: 16}`, or leave the aperture out",
            )


def show_mistakes(shots: Iterable[Shot], names: Sequence[str]) -> Iterator[Mistake]:
    """Shots that show no landscape of the scene, or do not say which of several."""
    for index, shot in enumerate(shots):
        if len(names) > 1 and not shot.show:
            yield (
                ("shots", index),
                f"which landscape is shown? write `show: {names[0]}`, or `show: [{', '.join(names)}]`",
            )
        named: list[tuple[tuple[str, ...], str]] = [(("show",), name) for name in shot.show]
        named += [(("over",), shot.over)] if shot.over else []
        named += [(("inset", "show"), shot.inset.show)] if shot.inset and shot.inset.show else []
        for path, name in named:
            if name not in names:
                known = nearest(name, names) if any(names) else "; the scene has one, without a name"
                yield ("shots", index, *path), f"no landscape '{name}'{known}"


def reverse_mistakes(look: Look, names: Sequence[str]) -> Iterator[Mistake]:
    """Landscapes to be drawn upside down that the scene lacks."""
    for index, name in enumerate(() if isinstance(look.height.reverse, bool) else look.height.reverse):
        if name not in names:
            known = nearest(name, names) if any(names) else "; the scene has one, without a name: write `reverse: true`"
            yield ("look", "height", "reverse", index), f"no landscape '{name}'{known}"


def detail_mistakes(detail: Detail, grid: Grid, loss: Loss) -> Iterator[Mistake]:
    """A finer grid that is not inside the first one, or not finer."""
    if loss.sampling == "preview":
        yield ("detail",), "a finer grid is measured point by point; write `sampling: exact` under `loss`"
    if not grid.contains(detail.grid) or detail.grid.contains(grid):
        yield ("detail", "range"), f"is not inside the grid's, which is {grid.reach}"
    elif not max(detail.grid.spacing) < min(grid.spacing):
        yield (
            ("detail", "points"),
            f"{max(detail.grid.counts)} points over this range are no finer than the grid; the distance between two is "
            f"{max(detail.grid.spacing):.2g}, the grid's {min(grid.spacing):.2g}",
        )


def along_mistakes(shots: Iterable[tuple[int, Shot]], coordinates: Sequence[float], axis: Axis) -> Iterator[Mistake]:
    """Coordinates shown that lie outside the measured ones. shots: with their numbers."""
    for index, shot in shots:
        for time, coordinate in shot.along.items():
            if not coordinates[0] <= coordinate <= coordinates[-1]:
                yield (
                    ("shots", index, "along", str(time)),
                    f"{axis.name} {coordinate:g} is outside the measured ones, {coordinates[0]:g} to "
                    f"{coordinates[-1]:g}",
                )
