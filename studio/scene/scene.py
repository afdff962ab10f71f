"""Scene: the whole YAML as one record, assembled from the rooms' records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from studio.config.reading import read
from studio.config.records import FrozenDict, merge
from studio.config.units import Name, Time
from studio.deliver.deliverable import Deliverable
from studio.deliver.movie import Movie
from studio.errors import RunError, SceneError
from studio.field import Grid
from studio.film.cues import CueField, CueName, film_time, resolve
from studio.film.fields import SCALES, SIGNED
from studio.film.format import Format
from studio.film.look import Look
from studio.film.overlays import Titles, claim_mistake, names_in
from studio.film.timeline import Cut, Shot
from studio.scene import checks
from studio.scene.landscape import KEYS, Landscape
from studio.scene.numbers import Number
from studio.training.runs import SurfacesRun

MOST_SHOTS, MOST_FILES, MOST_LANDSCAPES, MOST_NUMBERS = 150, 50, 8, 50
"""Of a scene: `check` looks through every shot, and measuring a landscape takes hours. A longer film is two scenes."""


_TITLE_TIMES = ("title_for", "claim_from")


class Portrait(NamedTuple):
    """A keyframe that is measured once more, for a still: its coordinate, and the points along each side."""

    coordinate: float
    points: int

    def grid(self, grid: Grid) -> Grid:
        """The film's grid with the portrait's points."""
        return grid.model_copy(update={"points": self.points})


# an editor cannot know what a part of a record is completed to
_PARTS_OF_LANDSCAPES = WithJsonSchema(
    {"type": "object", "additionalProperties": {"type": "object", "propertyNames": {"enum": list(KEYS)}}}
)


class Scene(Landscape):
    """A film: what is measured (run to convexity), how it is shown (look to titles), and what is delivered.

    title: of the film; it names nothing on disk. run: the training run. directions: the two directions in weight space.
    sweep: what changes from keyframe to keyframe. grid: the sample points of the loss. detail: a finer grid around the
    centre. loss: which loss. convexity: where Hessian eigenvalues are measured. landscapes: several of these by name,
    each with its own keys beside those that stand here and hold for all. look: how numbers become a picture. film:
    size, rate and quality. cues: instants by name, which may stand for times: of the film, such as `3.2s`, or computed,
    such as `loss < 0.1`, `largest-jump`, `lr-drop` or `last`. shots: in order. titles: the text on the picture.
    numbers: that the picture or the table of claims shows, by name. deliver: the files to make.
    """

    former: ClassVar[Mapping[str, str]] = {"type": "titles"}

    title: str
    landscapes: Annotated[
        dict[Name, Landscape], Field(max_length=MOST_LANDSCAPES), AfterValidator(FrozenDict), _PARTS_OF_LANDSCAPES
    ] = FrozenDict()
    look: Look = Look.model_validate({"base": "ember"})
    film: Format = Format()
    cues: Annotated[dict[CueName, CueField], Field(max_length=MOST_NUMBERS), AfterValidator(FrozenDict)] = FrozenDict()
    shots: tuple[Shot, ...] = Field(min_length=1, max_length=MOST_SHOTS)
    titles: Titles = Titles()
    numbers: Annotated[dict[Name, Number], Field(max_length=MOST_NUMBERS), AfterValidator(FrozenDict)] = FrozenDict()
    deliver: tuple[Deliverable, ...] = Field((Movie(),), min_length=1, max_length=MOST_FILES)

    @classmethod
    def load(cls, path: str | Path, *, safe: bool = False) -> Scene:
        """The scene in a YAML file. Raises SceneError with every mistake in it. safe: a function is a mistake."""
        return read(path, cls, safe=safe)

    @model_validator(mode="before")
    @classmethod
    def _say_once(cls, data: Any) -> Any:
        """Adds the scene's own keys to every named landscape; the first one is also the scene's own."""
        if not isinstance(data, dict) or not isinstance(named := data.get("landscapes"), dict) or not named:
            return data
        shared = {key: data[key] for key in KEYS if key in data}
        merged = {name: merge(shared, {} if own is None else own) for name, own in named.items()}
        first = next(iter(merged.values()))
        return {**data, **(first if isinstance(first, dict) else {}), "landscapes": merged}

    @classmethod
    def place(cls, loc: tuple[Any, ...], data: Mapping[str, Any]) -> tuple[Any, ...]:
        """Where the file says a landscape's key: in the landscape, or in the scene for all."""
        named = data.get("landscapes")
        if not isinstance(named, dict) or not named or not loc:
            return loc
        name, path = (loc[1], loc[2:]) if loc[0] == "landscapes" and len(loc) > 1 else (next(iter(named)), loc)
        if not path or path[0] not in KEYS:
            return loc
        return max(path, ("landscapes", name, *path), key=lambda place: _depth(place, data))

    @model_validator(mode="after")
    def _know_cues(self) -> Self:
        """Gives the times that are cues their amounts; what is wrong with them, `mistakes` says."""
        times = {name: film_time(getattr(self.titles, name), self.cues)[0] for name in _TITLE_TIMES}
        deliver = tuple(
            one.model_copy(update={"at": film_time(at, self.cues)[0]}) if (at := getattr(one, "at", None)) else one
            for one in self.deliver
        )
        known = resolve(self.shots, self.cues, self.film.fps)[0], self.titles.model_copy(update=times), deliver
        for name, value in zip(("shots", "titles", "deliver"), known, strict=True):
            object.__setattr__(self, name, value)
        return self

    @property
    def cut(self) -> Cut:
        """The shots in time, at the film's rate."""
        return Cut(self.shots, self.film.fps)

    @property
    def needs_trajectory(self) -> bool:
        """Whether the film shows the way of the run's checkpoints, or its cameras go by it."""
        return self.look.trajectory is not None or any(
            part.camera.needs_trajectory for shot in self.shots for part in shot.parts
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the landscapes; of the only one, the empty text."""
        return tuple(self.landscapes) or ("",)

    @property
    def claimed(self) -> tuple[str, ...]:
        """Names of the numbers that the titles claim."""
        return tuple(dict.fromkeys(names_in(self.titles.claim or "")))

    def only(self, name: str) -> Scene:
        """The scene as if it had this landscape alone."""
        if not self.landscapes:
            return self
        landscape = self.landscapes[name]
        return self.model_copy(update={"landscapes": FrozenDict(), **{key: getattr(landscape, key) for key in KEYS}})

    def probe(self, number: Number, measure: str, repetition: int) -> Scene:
        """The scene that is measured for a number, for one of its measures. Raises SceneError as `Number.changes`."""
        if number.show is not None and number.show not in self.names:
            known = ", ".join(filter(None, self.names)) or "one, without a name"
            raise SceneError(f"no landscape '{number.show}'; the scene has {known}")
        own = self.only(number.show or self.names[0])
        return own.model_copy(update=number.changes(own, measure, repetition))

    def mistakes(self) -> Iterator[checks.Mistake]:
        """(path of keys, what is wrong) for every mistake that takes several records to see."""
        yield from self._cue_mistakes()
        yield from ((("shots", *path), text) for path, text in self.cut.mistakes())
        yield from checks.deliverable_mistakes(self.deliver, self.title, self.film, self.cut)
        yield from checks.aperture_mistakes(self.shots, self.film)
        yield from checks.show_mistakes(self.shots, self.names)
        yield from checks.reverse_mistakes(self.look, self.names)
        if self.look.trajectory and all(isinstance(self.only(name).run, SurfacesRun) for name in self.names):
            yield ("look", "trajectory"), "is of networks, and run.kind: surfaces has none; take it out"
        for index, shot in enumerate(self.shots):
            if shot.over in self.names and any(
                self.only(name).grid != self.only(shot.over).grid for name in shot.show if name in self.names
            ):
                yield ("shots", index, "over"), f"'{shot.over}' has another grid, so it does not lie over the shown one"
            shown = [name for name in shot.show or self.names[:1] if name in self.names]
            needs = any(part.camera.needs_trajectory for part in shot.parts)
            if needs and any(isinstance(self.only(name).run, SurfacesRun) for name in shown):
                yield ("shots", index, "camera"), "goes by networks, and run.kind: surfaces has none; look elsewhere"
        if (claim := self.titles.claim) is not None and (text := claim_mistake(claim, self.numbers)):
            yield ("titles", "claim"), text
        yield from self._claim_mistakes()
        for name in self.names:
            scene = self.only(name)
            prefix = ("landscapes", name) if self.landscapes else ()
            yield from (((*prefix, *path), text) for path, text in scene.landscape_mistakes())
            run = scene.run
            yield from scene.number_mistakes(None if isinstance(run, SurfacesRun) else run.objective.numbers())
            yield from self._along_mistakes(name, scene)

    def number_mistakes(
        self, numbers: checks.Numbers, parts: Sequence[str] = ("train", "test")
    ) -> Iterator[checks.Mistake]:
        """Fields and numbers that are shown and that the only landscape lacks. parts: of the data that there are."""
        fields = (*checks.aov_fields(self.deliver), *checks.drawn_fields(self.look, self.shots))
        yield from checks.unmeasured_fields(fields, self.loss, self.convexity, self.run, numbers)
        try:
            axis, scored = self.axis, self.sweep.scored(self.runs, self.keyframes())
        except (RunError, SceneError):  # said before
            return
        used: list[tuple[checks.Path, str]] = []
        for name, cue in self.cues.items():
            used += [(("cues", name), number) for number in cue.names]
        if chart := self.titles.chart:
            used += [(("titles", "chart", "numbers", name), of.measured) for name, of in chart.numbers.items()]
        for path, number in used:
            if number in SIGNED and self.convexity:  # at one point, too
                continue
            if number in SCALES:
                field = [(path, number)]
                yield from checks.unmeasured_fields(field, self.loss, self.convexity, self.run, numbers)
            elif text := checks.live_line_mistake(f"{{{number}}}", axis, self.run, scored, numbers, parts):
                yield path, text
        live = self.titles.live
        if live and (text := checks.live_line_mistake(live, axis, self.run, scored, numbers, parts)):
            yield ("titles", "live"), text

    def _cue_mistakes(self) -> Iterator[checks.Mistake]:
        """Times that are no cues, cues at the wrong place, and those of numbers that nothing records."""
        yield from ((("shots", *path), text) for path, text in resolve(self.shots, self.cues, self.film.fps)[1])
        times: dict[checks.Path, Time] = {("titles", name): getattr(self.titles, name) for name in _TITLE_TIMES}
        times |= {("deliver", i, "at"): one.at for i, one in enumerate(self.deliver) if hasattr(one, "at")}
        for path, time in times.items():
            if text := film_time(time, self.cues)[1]:
                yield path, text

    def _claim_mistakes(self) -> Iterator[checks.Mistake]:
        """Numbers that cannot be measured."""
        for name, number in self.numbers.items():
            for measure in number.measures:
                try:
                    scene = self.probe(number, measure, 0)
                    mistakes = [] if scene == self else list(scene.landscape_mistakes())
                except (RunError, SceneError) as error:
                    mistakes = [((), str(error))]
                yield from ((("numbers", name, *keys[:1]), text) for keys, text in mistakes)

    def _along_mistakes(self, name: str, scene: Landscape) -> Iterator[checks.Mistake]:
        """Coordinates of a landscape that shots show and it does not measure."""
        shown = [
            (index, shot) for index, shot in enumerate(self.shots) if name in (*(shot.show or self.names), shot.over)
        ]
        try:
            coordinates, axis = [keyframe.coordinate for keyframe in scene.keyframes()], scene.axis
        except (RunError, SceneError):  # said before
            return
        yield from checks.along_mistakes(shown, coordinates, axis)


def _depth(path: tuple[Any, ...], data: Any) -> int:
    """How many steps of a path lead to something in the file; tags of unions lead nowhere."""
    depth = 0
    for step in path:
        if isinstance(data, Mapping) and step in data:
            data, depth = data[step], depth + 1
    return depth


def output_name(path: Path, draft: bool) -> str:
    """Name of the output files of the scene at `path`, without suffix."""
    return path.stem + ("-draft" if draft else "")
