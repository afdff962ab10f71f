"""Shots, and the Cut they make: which shots a frame shows, at what time of each, and with what weight.

frame n  ->  shots with n / fps since their start, and weights  ->  coordinate of the sweep, by `along`
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from scipy.interpolate import PchipInterpolator

from studio.config.records import OMIT_DEFAULT, FrozenDict, Record
from studio.config.units import CUE, Colour, CueTime, Duration, Name, Percent, Time
from studio.film.camera import Camera, motion
from studio.film.easing import Ease, EaseField
from studio.film.fields import ColourMapping
from studio.film.motion import Knot, Track
from studio.film.pose import Orbit
from studio.film.targets import Target

MOST_FRAMES = 1_000_000
"""Frames of a film: eleven hours at 24 a second, and a hundred days of drawing."""
MOST_TIMES = 500
"""Frames of a shot at which its camera is checked: all of 20 seconds, in some hundredths of a second."""
KeyPath = tuple[str | int, ...]  # keys and indices that lead to a value, from the shot or from the list of shots


Region = tuple[float, float, float, float]
"""A part of the picture: its left, top, right and bottom edge, as shares of its sides from the top left."""
EVERYWHERE: Region = (0.0, 0.0, 1.0, 1.0)


class Transition(Record):
    """From a shot to the next: a `cut`, or one of three ways in which both run on and overlap.

    dissolve: how long both are mixed; 0s is a cut. fade: how long the first goes into a colour, and the next comes out
    of it. through: that colour. wipe: how long an edge moves over the picture, with the next shot behind it. towards:
    where it moves. ease: how the next shot's share rises to 1.
    """

    dissolve: Duration = Time(0.0)
    fade: Duration = Time(0.0)
    through: Colour = "#000000"
    wipe: Duration = Time(0.0)
    towards: Literal["right", "left", "down", "up"] = "right"
    ease: EaseField = Ease("in-out-sine")

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        if sum(bool(time.amount) for time in (self.dissolve, self.fade, self.wipe)) > 1:
            raise ValueError("dissolve, fade and wipe are three ways to the next shot; give one of them")
        return self

    def frames(self, fps: Fraction) -> int:
        """Frames in which both shots run."""
        return sum(time.frames(fps) for time in (self.dissolve, self.fade, self.wipe))

    def region(self, share: float) -> Region:
        """The part of the picture that the next shot fills when it has a share of it."""
        match self.towards:
            case "right":
                return 0.0, 0.0, share, 1.0
            case "left":
                return 1 - share, 0.0, 1.0, 1.0
            case "down":
                return 0.0, 0.0, 1.0, share
        return 0.0, 1 - share, 1.0, 1.0


def overlap(one: Region, other: Region) -> Region:
    """What two regions have in common; empty where its right edge is not right of its left, or so with its rows."""
    (a, b, c, d), (e, f, g, h) = one, other
    return max(a, e), max(b, f), min(c, g), min(d, h)


def _parse_transition(value: object) -> object:
    if value == "cut":
        return Transition()
    if isinstance(value, str):
        raise ValueError(f"'{value}' is not understood; write cut, or {{dissolve: 1s}}")
    return value


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(
        lambda value: (value,) if isinstance(value, str) else value, json_schema_input_type=str | list[str]
    ),
]
"""One name, or a list of them."""


class Inset(Record):
    """A second, smaller picture in a shot, of the same instant.

    camera: its own. show: the landscape it is of; the shot's first if omitted. corner: of the picture where it stands.
    size: of its sides, a share of the picture's.
    """

    camera: Camera = Camera()
    show: str | None = None
    corner: Literal["top-left", "top-right", "bottom-left", "bottom-right"] = "top-right"
    size: Annotated[Percent, Field(ge=5, le=50)] = 30.0

    @property
    def region(self) -> Region:
        """The part of the picture that it fills."""
        side, margin = self.size / 100, 0.03
        left = margin if self.corner.endswith("left") else 1 - margin - side
        top = margin if self.corner.startswith("top") else 1 - margin - side
        return left, top, left + side, top + side


class CueCoordinate(float):
    """The coordinate of a computed cue, which has its name."""

    def __new__(cls, value: float, cue: str) -> Self:
        """A number with a name."""
        number = super().__new__(cls, value)
        number.cue = cue
        return number

    def __reduce__(self) -> tuple[Any, ...]:
        return CueCoordinate, (float(self), self.cue)

    cue: str


_COORDINATE = {"anyOf": [{"type": "number"}, {"type": "string", "description": "cue"}]}
Coordinate = Annotated[
    float,
    WrapValidator(
        lambda value, usual: (
            value
            if isinstance(value, CueCoordinate)
            else CueCoordinate(0.0, value)
            if isinstance(value, str) and CUE.fullmatch(value) and value not in ("nan", "inf")
            else usual(value)
        )
    ),
    WithJsonSchema(_COORDINATE),
]
"""A coordinate of the sweep, or the name of a computed cue."""


class Shot(Record):
    """A stretch of film with one camera choreography.

    shot: its name. duration: how long it is shown, dissolves included.
    along: time in the shot -> coordinate of the sweep; a time at or after the shot's last frame means that frame. Equal
    coordinates at two times hold, smaller ones run back.
    pace: between these keys, `monotone` slows down at each where the pace changes much; `flow` keeps its speed as
    smooth as a camera's; `linear` is steady between two; `hold` stays, and jumps at the next. show: the landscape it is
    of; several stand side by side. over: a landscape of the same grid that is drawn as lines over the shown one; both
    have one range of height. inset: a second, smaller picture. colour: replaces the look's.
    loop: camera and `along` lead from the end into the start, in place and in speed.
    match: a match cut: the camera of the shot before goes on, and its moves may last over both; so does the coordinate.
    """

    shot: Name
    duration: CueTime
    show: Names = ()
    over: str | None = None
    along: Annotated[dict[CueTime, Coordinate], Field(min_length=1), AfterValidator(FrozenDict)]
    pace: Literal["monotone", "flow", "linear", "hold"] = "monotone"
    camera: Camera = Camera()
    inset: Inset | None = None
    colour: ColourMapping | None = None
    loop: bool = False
    match: bool = False
    _camera_time: tuple[float, float] | None = PrivateAttr(None)  # seconds since its moves began, and their length
    to_next: Annotated[
        Transition, BeforeValidator(_parse_transition, json_schema_input_type=Transition | Literal["cut"])
    ] = Transition()

    @model_validator(mode="after")
    def _moves_are_possible(self) -> Self:
        for name, part in zip(("camera", "inset.camera"), self.parts, strict=False):
            orbit = part.camera.first_orbit
            for number, move in enumerate(part.camera.moves):
                try:
                    orbit = move.end(orbit)
                except ValueError as error:
                    raise ValueError(f"{name}.moves[{number}]: {error}") from None
        return self

    @property
    def parts(self) -> tuple[Shot, ...]:
        """The shot without its inset, and the inset as a shot by itself."""
        if self.inset is None:
            return (self,)
        show = (self.inset.show,) if self.inset.show else self.show[:1]
        alone = {"camera": self.inset.camera, "inset": None, "show": show, "over": None, "match": False}
        inset = self.model_copy(update=alone)
        inset._camera_time = None
        return self.model_copy(update={"inset": None}), inset

    def length(self, fps: Fraction) -> float:
        """Seconds that the shot's frames are shown."""
        return _seconds(self.duration, fps)

    def some_times(self, fps: Fraction) -> list[float]:
        """Seconds of the shot's frames; of a long shot evenly chosen ones."""
        frames, rate = self.duration.frames(fps), float(fps)
        return [n / rate for n in range(0, frames, max(1, frames // MOST_TIMES))]

    def camera_time(self, fps: Fraction) -> tuple[float, float]:
        """Seconds for which its camera has moved when the shot begins, and for which it moves in all."""
        return self._camera_time or (0.0, self.length(fps))

    def with_camera(self, camera: Camera, since: float, length: float) -> Shot:
        """The shot with a camera that has moved for `since` of `length` seconds when the shot begins."""
        shot = self.model_copy(update={"camera": camera})
        shot._camera_time = (since, length)
        return shot

    def orbit(self, seconds: float, fps: Fraction) -> Orbit:
        """The camera at a time of the shot."""
        since, length = self.camera_time(fps)
        return self.camera.at(since + seconds, fps, length, loop=self.loop)

    def targets(self, seconds: float, fps: Fraction) -> Mapping[Target, float]:
        """What the camera looks at at a time of the shot, with weights that sum to 1."""
        since, length = self.camera_time(fps)
        return self.camera.targets(since + seconds, fps, length, loop=self.loop)

    def coordinate(self, seconds: float, fps: Fraction) -> float:
        """The coordinate of the sweep at a time of the shot, by its pace; constant outside of the keys of `along`.

        The last frame shows the last key: a frame has the time of its beginning, one frame before the shot ends. In a
        loop the frame after it does, the first one.
        """
        length = self.length(fps)
        last = length if self.loop else float((self.duration.frames(fps) - 1) / fps)
        keys = {min(time.seconds(fps), last): value for time, value in self.along.items()}
        if len(keys) > 1 and self.loop:
            keys = {time + turn * length: value for turn in (-1, 0, 1) for time, value in keys.items()}
        times, values = tuple(keys), tuple(keys.values())
        if len(times) == 1:
            return values[0]
        seconds = min(max(seconds, times[0]), times[-1])
        match self.pace:
            case "linear":
                return float(np.interp(seconds, times, values))
            case "hold":
                return values[bisect_right(times, seconds) - 1]
            case "flow":
                return _track(times, values).at(seconds)
        return float(_pchip(times, values)(seconds))

    def mistakes_at(self, fps: Fraction) -> Iterator[tuple[KeyPath, str]]:
        """(path in the shot, message) of every mistake that depends on the frame rate."""
        length = self.duration.frames(fps)
        if length < 1:
            yield ("duration",), f"{self.duration} is less than one frame"
            return
        times = [time.seconds(fps) for time in self.along]
        if any(a >= b for a, b in itertools.pairwise(times)):
            yield ("along",), "the times must rise"
        if len(times) > 1 and Time(times[-1]).frames(fps) < length:
            yield ("along",), f"the last key is at {times[-1]:g}s, but the shot lasts {self.duration}; add a key there"
        for prefix, part in zip(((), ("inset",)), self.parts, strict=False):
            yield from (((*prefix, *path), text) for path, text in part._move_mistakes(fps))

    def _move_mistakes(self, fps: Fraction) -> Iterator[tuple[KeyPath, str]]:
        """Mistakes of the camera's moves in time."""
        moves, (_, length) = sum(move.seconds(fps) for move in self.camera.moves), self.camera_time(fps)
        if Time(moves).frames(fps) > Time(length).frames(fps):
            lasts = f"the shot lasts {self.duration}" if self._camera_time is None else f"its shots last {length:g}s"
            way_out = "lengthen the shot or shorten a move"
            yield ("camera", "moves"), f"the moves take {moves:g}s, but {lasts}; {way_out}"
            return
        for number, move in enumerate(self.camera.moves):
            for part in move.parts:
                times = [key.at.seconds(fps) for key in part.keys]
                if any(a >= b for a, b in itertools.pairwise([0.0, *times])):
                    yield ("camera", "moves", number, "keys"), "the times must rise, from later than 0s"
                    return
        yield from self._camera_mistakes(fps)

    def _camera_mistakes(self, fps: Fraction) -> Iterator[tuple[KeyPath, str]]:
        """Mistakes of moves with their times: an ease that leaves no lens, a loop that does not close."""
        if self.camera.script is None:
            since, length = self.camera_time(fps)
            path = motion(self.camera, fps, length, self.loop)
            if any(path.at(since + time).lens <= 0 for time in self.some_times(fps)):
                yield ("camera", "moves"), "an ease overshoots and leaves no lens; take another, or a smaller change"
            if self.loop and (gaps := "; ".join(path.gaps())):
                yield ("loop",), f"the camera does not close: {gaps}; lead it back with a move, or leave the loop out"
        start, end = (list(self.along.values())[place] for place in (0, -1))
        if self.loop and start != end:
            yield ("along",), f"starts at {start:g} and ends at {end:g}, which is no loop; end it at {start:g}"


@lru_cache(maxsize=1024)  # a fraction takes longer than the camera of a frame
def _seconds(duration: Time, fps: Fraction) -> float:
    return float(duration.frames(fps) / fps)


@lru_cache(maxsize=64)  # evaluated for every frame, and for its digest, as is the next
def _track(times: tuple[float, ...], values: tuple[float, ...]) -> Track:
    return Track(tuple(map(Knot, times, values)))


@lru_cache(maxsize=64)
def _pchip(times: tuple[float, ...], values: tuple[float, ...]) -> PchipInterpolator:
    return PchipInterpolator(times, values)


@dataclass(frozen=True)
class Panel:
    """An upright part of a split screen: its number from the left, and how many there are; or a region for an inset."""

    number: int = 0
    count: int = 1
    region: Region | None = field(default=None, metadata=OMIT_DEFAULT)

    @property
    def edges(self) -> Region:
        """Its left, top, right and bottom edge, as shares of the picture's sides."""
        return self.region or (self.number / self.count, 0.0, (self.number + 1) / self.count, 1.0)

    @property
    def left(self) -> float:
        """Where it begins, as a share of the picture's width."""
        return self.edges[0]

    @property
    def aspect(self) -> float:
        """Its width over its height, as a share of the picture's."""
        return 1.0 if self.region else 1 / self.count

    def columns(self, width: int) -> range:
        """Its columns in a picture of `width` pixels."""
        return range(round(width * self.edges[0]), round(width * self.edges[2]))

    def rows(self, height: int) -> range:
        """Its rows in a picture of `height` pixels."""
        return range(round(height * self.edges[1]), round(height * self.edges[3]))


WHOLE = Panel()
"""The whole screen."""


class ShotShare(NamedTuple):
    """A shot's share in one frame: seconds since the shot began, weight in the mix, landscape and panel.

    region: the part of the picture that it fills; in a wipe the shots lie one over the other, and weights are those of
    their texts. hole: a part that it leaves to an inset. veil: a colour over the whole picture, and how dense it is.
    """

    shot: Shot
    seconds: float
    weight: float
    landscape: str = ""
    panel: Panel = WHOLE
    region: Region = EVERYWHERE
    hole: Region | None = None
    veil: tuple[str, float] = ("#000000", 0.0)


@dataclass(frozen=True)
class Cut:
    """Shots in order at one frame rate. Frame n is shown from n/fps to (n+1)/fps.

    alone: the only shot that is shown, without its transitions, and also before its start and after its end.
    """

    shots: tuple[Shot, ...]
    fps: Fraction
    alone: str | None = None

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First frame of each shot; in a dissolve the next shot begins before the last one has ended."""
        steps = (shot.duration.frames(self.fps) - shot.to_next.frames(self.fps) for shot in self.shots[:-1])
        return tuple(itertools.accumulate(steps, initial=0))

    @cached_property
    def length(self) -> int:
        """Number of frames."""
        return self.starts[-1] + self.shots[-1].duration.frames(self.fps)

    def span(self, name: str) -> tuple[int, int]:
        """First frame, and one past the last, of the shot called `name`. Raises KeyError."""
        starts = {shot.shot: (start, shot) for start, shot in zip(self.starts, self.shots, strict=True)}
        start, shot = starts[name]
        return start, start + shot.duration.frames(self.fps)

    def at(self, number: int) -> tuple[ShotShare, ...]:
        """The shots that frame `number` shows, with weights that sum to 1; empty outside the film."""
        if self.alone is not None:
            start, _ = self.span(self.alone)
            shot = next(shot for shot in self.shots if shot.shot == self.alone)
            return (ShotShare(shot, float(Fraction(number - start) / self.fps), 1.0),)
        shares: list[ShotShare] = []
        for index, (start, shot) in enumerate(zip(self.starts, self.shots, strict=True)):
            frame = number - start
            if not 0 <= frame < shot.duration.frames(self.fps):
                continue
            transition = self.shots[index - 1].to_next if index else Transition()
            frames = transition.frames(self.fps)
            weight = min(1.0, max(0.0, transition.ease((frame + 1) / (frames + 1)))) if shares and frames else 1.0
            share = ShotShare(shot, float(frame / self.fps), weight)
            if shares and transition.fade.amount:
                one = shares[-1] if weight < 0.5 else share
                shares = [one._replace(weight=1.0, veil=(transition.through, 1 - abs(2 * weight - 1)))]
                continue
            shares = [earlier._replace(weight=earlier.weight * (1 - weight)) for earlier in shares]
            shares.append(share)
            if len(shares) > 1 and transition.wipe.amount:  # the later one lies over the earlier
                shares[-1] = share._replace(region=transition.region(weight))
        return tuple(shares)

    def sharing(self, index: int) -> range:
        """The numbers of the shots that share the camera of shot `index` over match cuts, the one that has it first."""
        first, stop = index, index + 1
        while first and self.shots[first].match:
            first -= 1
        while stop < len(self.shots) and self.shots[stop].match:
            stop += 1
        return range(first, stop)

    @cached_property
    def matched(self) -> Cut:
        """The same with the camera of the shot before in every shot that matches it."""
        ends = [start + shot.duration.frames(self.fps) for start, shot in zip(self.starts, self.shots, strict=True)]
        shots = list(self.shots)
        for index, start in enumerate(self.starts):
            sharing = self.sharing(index)
            if len(sharing) > 1:
                begin = self.starts[sharing[0]]
                times = (float(n / self.fps) for n in (start - begin, ends[sharing[-1]] - begin))
                shots[index] = shots[index].with_camera(shots[sharing[0]].camera, *times)
        return replace(self, shots=tuple(shots))

    def mistakes(self) -> Iterator[tuple[KeyPath, str]]:
        """(path in the list of shots, message) of every mistake."""
        if self.length > MOST_FRAMES:
            yield (), f"the film has {self.length} frames, and at most {MOST_FRAMES}; make shots shorter"
        for index, shot in enumerate(self.shots):
            if shot.match:
                yield from (((index, *path), text) for path, text in self._match_mistakes(index))
            for path, message in self.matched.shots[index].mistakes_at(self.fps):
                if not (shot.match and path[:1] == ("camera",)):  # said of the shot whose camera it is
                    yield (index, *path), message
            if dissolve := self._dissolve_mistake(index):
                yield (index, "to_next"), dissolve
            if any(shot.shot == earlier.shot for earlier in self.shots[:index]):
                yield (index, "shot"), f"a second shot called '{shot.shot}'; shots need names of their own"

    def _match_mistakes(self, index: int) -> Iterator[tuple[KeyPath, str]]:
        """What keeps a shot from going on where the one before it is."""
        if not index:
            yield ("match",), "the first shot has none before it that it could match"
            return
        shot, before, camera = self.shots[index], self.shots[index - 1], self.shots[self.sharing(index)[0]].camera
        if shot.camera != Camera():
            yield ("camera",), "a match cut goes on with the camera of the shot before; take `camera` or `match` out"
        if camera.azimuth_from == "open-side" and shot.show != before.show:
            yield ("match",), "the open sides of two landscapes differ; count the azimuth from alpha to match them"
        if shot.loop or before.loop:
            yield ("loop",), "a loop leads into itself, so it matches no other shot"
        seconds = float((self.starts[index] - self.starts[index - 1]) / self.fps)
        there, here = before.coordinate(seconds, self.fps), shot.coordinate(0.0, self.fps)
        if any(isinstance(value, CueCoordinate) for value in (*before.along.values(), next(iter(shot.along.values())))):
            return  # known once measured
        if not math.isclose(there, here, rel_tol=1e-6, abs_tol=1e-9):
            yield (
                ("along",),
                f"begins at {here:g}, but the shot before is at {there:g} then; begin with {{0s: {there:g}}}",
            )

    def _dissolve_mistake(self, index: int) -> str | None:
        frames = self.shots[index].to_next.frames(self.fps)
        if not frames:
            return None
        if index + 1 == len(self.shots):
            return "this is the last shot; there is nothing to lead into"
        shortest = min(shot.duration.frames(self.fps) for shot in self.shots[index : index + 2])
        return "the transition is longer than half of one of its shots; shorten it" if frames > shortest // 2 else None
