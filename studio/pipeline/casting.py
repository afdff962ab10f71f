"""Casting: small pictures of one instant of a scene with other directions, trainings or ranges, and what they show.

    scene, shot  ->  a candidate for each seed or range  ->  results of one keyframe each  ->  numbers, a ranked sheet

Candidates are measured as all surfaces are, on the shelf. A pick is one value of one key, written into the scene.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from studio.config.editing import set_values
from studio.config.reading import from_options, load_raw, parse
from studio.config.records import FrozenDict
from studio.config.units import Time
from studio.errors import SceneError
from studio.field import Grid
from studio.film.fields import ColourMapping, grid_of
from studio.film.morphometry import Morphometry, morphometry
from studio.film.overlays import Titles
from studio.film.timeline import Shot, ShotShare, Transition
from studio.landscape.directions import Random
from studio.landscape.sweeps.probes import Single
from studio.pipeline import render_job
from studio.pipeline.film import draw_sheet, frame_at, nearest_keyframe, resolved_cut
from studio.pipeline.measure import measure_all
from studio.pipeline.project import Project, repairs
from studio.pipeline.results import Results
from studio.scene.draft import POINTS
from studio.scene.landscape import KEYS, Landscape
from studio.scene.scene import Scene
from studio.storage.files import check_writable, rewrite
from studio.training.runs import SurfacesRun, recipe_run

Over = Literal["directions", "training", "range"]
By = Literal["relief", "ruggedness", "asymmetry", "negative"]
PLACES: Mapping[Over, tuple[str, ...]] = {
    "directions": ("directions", "seed"),
    "training": ("run", "recipe", "seed"),
    "range": ("grid", "range"),
}
"""The keys of what is varied."""
CANDIDATES, MOST_CANDIDATES = 24, 100
RANGES = 4.0
"""The widest range is nearly so many times the scene's own, and the narrowest that part of it."""
POINTS_ALONG = 31
"""Points along each side of a candidate's grid."""


@dataclass(frozen=True)
class Candidate:
    """A candidate's number, what is its own in words, and what it shows."""

    number: int
    label: str
    measures: Morphometry

    @property
    def caption(self) -> str:
        """Its measures, for under its picture."""
        relief, ruggedness, asymmetry, negative = self.measures
        return f"relief {relief:.2f}   rugged {ruggedness:.3f}   asym {asymmetry:.2f}   neg {negative:.0%}"


class Moment(NamedTuple):
    """What is cast: the end of a shot, or a film time, the film's end if neither; of a landscape, the first if None."""

    shot: str | None = None
    at: Time | None = None
    landscape: str | None = None


@repairs
def cast(
    project: Project, out: Path, over: Over, by: By, count: int, moment: Moment, points: int | None = None
) -> tuple[Path, list[Candidate]]:
    """A sheet of candidates, best first by a measure, as a PNG in the folder `out`, and the candidates as ranked.

    points: along each side of their grids. The heights of all have one range, as in one film, but with other ranges of
    the grid each has its own. Raises SceneError if there is nothing to vary.
    """
    if not 1 <= count <= MOST_CANDIDATES:
        raise SceneError(f"--seeds {count}: expected 1 to {MOST_CANDIDATES}")
    scene, share = project.scene, _share(project, moment)
    name = moment.landscape or (share.shot.show or scene.names)[0]
    if name not in scene.names:
        known = ", ".join(filter(None, scene.names)) or "one, without a name"
        raise SceneError(f"{project.path}: no landscape '{name}'; it has {known}")
    alone, place = _alone(project, name, share, from_options(Grid, points=points or _points(project)).counts[0])
    own = scene.only(name)
    values = _ladder(own.grid, count) if over == "range" else list(range(count))
    try:
        scenes = [alone.model_copy(update=change(alone, over, value)) for value in values]
        scenes[0].keyframes()  # some sweeps have planes of their own
    except SceneError as error:
        raise SceneError(f"{project.path}: --over {over}: {error}") from None
    check_writable(out)
    project.manifest.update(**{key: [] for key in project.manifest.read() if key.startswith("cast/")})
    parts = [replace(project, scene=one, landscape=f"cast/{n}") for n, one in enumerate(scenes)]
    candidates = [
        Candidate(n, f"{n}: {one.grid.reach}" if over == "range" else f"seed {n}", _measures(results))
        for n, (one, results) in enumerate(zip(scenes, measure_all(parts), strict=True))
    ]
    candidates.sort(key=lambda one: -np.nan_to_num(getattr(one.measures, by), nan=-np.inf))
    ranked = {f"cast/{one.number}": scenes[one.number] for one in candidates}
    film = alone.model_copy(
        update={
            "landscapes": FrozenDict((key, _landscape(one)) for key, one in ranked.items()),
            "shots": tuple(one.model_copy(update={"show": (key,)}) for key in ranked for one in alone.shots),
        }
    )
    instant_shown = alone.axis.label(alone.keyframes()[0].coordinate)
    facts = f"{name}{': ' * bool(name)}{over} by {by}   {instant_shown}   {alone.grid.points} points"
    texts = tuple((one.label, one.caption) for one in candidates)
    every, number = slice(place, None, len(alone.shots)), round(share.seconds * scene.film.fps)
    of_sheet = replace(project, scene=film)
    path = draw_sheet(of_sheet, out, "cast", render_job.cast_sheet, every, number, texts, facts, over == "range")
    project.manifest.update(cast={"over": over, "landscape": name, "values": values})
    return path, candidates


def table(candidates: list[Candidate]) -> Iterator[str]:
    """The lines of a table, as ranked."""
    yield "".join(f"{word:>12}" for word in ("candidate", *Morphometry._fields))
    for one in candidates:
        yield f"{one.label:>12}" + "".join(f"{value:12.3f}" for value in one.measures)


def change(landscape: Landscape, over: Over, value: Any) -> dict[str, Any]:
    """The key of a landscape that a candidate changes. Raises SceneError if it has none to vary."""
    if isinstance(landscape.run, SurfacesRun):
        raise SceneError(f"{landscape.run.file} is measured already, and nothing of it can be cast")
    match over:
        case "training":
            return {"run": recipe_run(landscape.run, "cast over training seeds; write --over directions", seed=value)}
        case "range":
            return {"grid": Grid.model_validate({"range": value, "points": landscape.grid.points})}
    if not isinstance(landscape.directions, Random):
        raise SceneError(f"directions: {landscape.directions.kind} has no seed; cast --over range, or write random")
    return {"directions": landscape.directions.model_copy(update={"seed": value})}


def take(project: Project, number: int) -> str:
    """Writes a candidate of the last sheet into the scene's file; returns the keys. All other text stays.

    Raises SceneError if there is none, or if the file cannot say it in one place; then nothing is written.
    """
    path, listed = project.path, project.manifest.read().get("cast")
    if listed is None:
        raise SceneError(f"{path}: nothing was cast yet, so there is nothing to take; run: studio cast {path}")
    over, name, values = listed["over"], listed["landscape"], listed["values"]
    if not 0 <= number < len(values):
        raise SceneError(f"--take {number}: the last sheet has candidates 0 to {len(values) - 1}")
    target, before = path.resolve(), Scene.load(path)  # a link stays a link
    if name not in before.names:
        raise SceneError(f"{path}: has no landscape '{name}' any more; cast again")
    text = target.read_bytes().decode()  # not read_text, which would change the ends of lines
    raw, value = load_raw(text, name=str(path)), _text(values[number])
    place = Scene.place((*(("landscapes", name) if name else ()), *PLACES[over]), raw)
    words = f"{'.'.join(place)}: {value}".replace("'", "")
    *keys, last = place
    new = {last: value}
    while not (isinstance(parent := _at(raw, keys), dict) and parent):  # absent, empty, or a word such as `random`
        key = keys.pop()
        new = {key: {"kind": "random", **new} if key == "directions" else new}
    refusal = SceneError(f"{path}: its layout leaves no place to write in; write yourself: {words}")
    intended = before.only(name)
    intended = intended.model_copy(update=change(intended, over, values[number]))
    try:
        changed = set_values(text, tuple(keys), new, name=str(path))
    except SceneError:  # an alias, or a merge key
        raise refusal from None
    after = parse(changed, Scene, name=str(path), folder=path.parent)
    others = {*Scene.model_fields} - {*KEYS, "landscapes"}
    same = all(getattr(after, key) == getattr(before, key) for key in others)
    if not same or _landscape(after.only(name)) != _landscape(intended):
        raise refusal
    rewrite(target, changed.encode())
    return words


# --- one instant -----------------------------------------------------------------------------------------------------


def _share(project: Project, moment: Moment) -> ShotShare:
    """The shot that is cast, and the time in it."""
    cut, (shot, at, _) = project.scene.cut, moment
    if shot is None:
        number = cut.length - 1 if at is None else frame_at(project, at)
        return max(resolved_cut(project).at(number), key=lambda share: share.weight)
    if shot not in (names := [one.shot for one in cut.shots]):
        raise SceneError(f"{project.path}: no shot '{shot}'; one of {', '.join(names)}")
    one = resolved_cut(project).shots[names.index(shot)]
    return ShotShare(one, float((one.duration.frames(cut.fps) - 1) / cut.fps), 1.0)


def _alone(project: Project, name: str, share: ShotShare, points: int) -> tuple[Scene, int]:
    """The scene of one landscape with the keyframe and the shot of an instant alone, and the place of that shot.

    Match cuts bring the shots along whose camera goes on. What a casting does not measure is not drawn: curvature,
    trajectory, text.
    """
    scene, own = project.scene, project.scene.only(name)
    cut, index = scene.cut, [shot.shot for shot in scene.shots].index(share.shot.shot)
    sharing = cut.sharing(index)
    shots = cut.shots[sharing.start : sharing.stop]
    if any(shot.camera.needs_trajectory for shot in shots):
        way_out = "which a casting does not measure; name another --shot"
        raise SceneError(f"{project.path}: the camera of shot '{share.shot.shot}' goes by the trajectory, {way_out}")
    if grid_of(scene.look.height.field) == "convexity":
        raise SceneError(f"{project.path}: look.height.field: a casting measures the loss alone; take its heights")
    at = nearest_keyframe(scene, name, share)

    def still(shot: Shot) -> Shot:
        to_next = Transition() if shot == shots[-1] else shot.to_next
        plain = {"inset": None, "over": None, "show": (), "colour": _of_loss(shot.colour), "to_next": to_next}
        return shot.model_copy(update={**plain, "along": FrozenDict({Time(0.0): at})})

    look = {"trajectory": None, "colour": _of_loss(scene.look.colour) or ColourMapping(map="viridis")}
    changes: dict[str, Any] = {
        "sweep": Single(of=own.sweep, at=at),
        "grid": own.grid.model_copy(update={"points": points}),
        **dict.fromkeys(("detail", "convexity")),
        **dict.fromkeys(("cues", "numbers"), FrozenDict()),
        "deliver": (),
        "titles": Titles(live=None, notes=False, legend=False),
        "look": scene.look.model_copy(update=look),
        "shots": tuple(map(still, shots)),
    }
    return own.model_copy(update=changes), index - sharing.start


def _of_loss(colour: ColourMapping | None) -> ColourMapping | None:
    """A mapping of what is measured with the loss; None for one of the curvature."""
    return None if colour and grid_of(colour.field) == "convexity" else colour


def _points(project: Project) -> int:
    return POINTS if project.draft else POINTS_ALONG


def _ladder(grid: Grid, count: int) -> list[Any]:
    """Ranges from narrow to wide in even ratios, rounded to three digits, the grid's own in the middle."""
    factors = (RANGES ** (2 * (n - count // 2) / count) for n in range(count))
    return [
        grid.range
        if factor == 1
        else Grid(range=tuple(tuple(float(f"{end:.3g}") for end in side) for side in grid.scaled(factor).sides)).range
        for factor in factors
    ]


def _measures(results: Results) -> Morphometry:
    """What the results of one keyframe show."""
    fields, height = results.surfaces().fields, results.scene.look.height
    drawn, loss = (np.asarray(fields[name].values[0], np.float64) for name in (height.field, "loss"))
    return morphometry(height.to_scale(drawn), loss, fields["loss"].grids[0])


def _landscape(scene: Landscape) -> Landscape:
    """What is measured of a scene, alone."""
    return Landscape.model_construct(**{key: getattr(scene, key) for key in KEYS})


# --- the text of a scene ---------------------------------------------------------------------------------------------


def _at(raw: Any, keys: list[Any]) -> Any:
    """What a path of keys leads to in a file; None if it leads nowhere."""
    for key in keys:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


def _text(value: Any) -> Any:
    """A value as YAML says it."""
    return list(map(_text, value)) if isinstance(value, list | tuple) else f"{value:.15g}"
