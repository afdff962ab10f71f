"""Shots, and the Cut they make: which shots a frame shows, how far into each, and with what weight."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from scipy.interpolate import PchipInterpolator

from studio.config.records import FrozenDict, Record
from studio.config.units import Duration, Time
from studio.film.camera import Camera
from studio.film.easing import Curve, Ease
from studio.film.fields import ColourMapping


class Transition(Record):
    """How a shot hands over to the next: a `cut`, or a dissolve in which both run on and overlap."""

    dissolve: Duration = Time(0.0)
    ease: Ease = Curve("in-out-sine")


def _cut(given):
    if given == "cut":
        return Transition()
    if isinstance(given, str):
        raise ValueError(f"'{given}' is not understood; write cut, or {{dissolve: 1s}}")
    return given


class Shot(Record):
    """A stretch of film with one camera choreography.

    along: film time in the shot -> coordinate of the sweep (the epoch), monotone between; a time at or after the shot's
    last frame means that frame. colour: replaces the look's.
    """

    shot: str
    duration: Duration
    along: Annotated[dict[Duration, float], Field(min_length=1), AfterValidator(FrozenDict)]
    camera: Camera = Camera()
    colour: ColourMapping | None = None
    to_next: Annotated[Transition, BeforeValidator(_cut, json_schema_input_type=Transition | Literal["cut"])] = (
        Transition()
    )

    @model_validator(mode="after")
    def _moves_fit(self):
        orbit = self.camera.start.orbit()
        for number, move in enumerate(self.camera.moves):
            try:
                orbit = move.end(orbit)
            except ValueError as error:
                raise ValueError(f"camera.moves[{number}]: {error}") from None
        return self

    def coordinate(self, seconds: float, fps: Fraction) -> float:
        """The coordinate of the sweep at a time of the shot; PCHIP between the keys of `along`, constant outside.

        The last frame shows the last key: its time is that of the frame's beginning, a frame before the shot ends.
        """
        last = float((self.duration.frames(fps) - 1) / fps)
        keys = {min(time.seconds(fps), last): value for time, value in self.along.items()}
        times, values = tuple(keys), tuple(keys.values())
        if len(times) == 1:
            return values[0]
        return float(_through(times, values)(min(max(seconds, times[0]), times[-1])))

    def mistakes_at(self, fps: Fraction):
        """(path in the shot, what is wrong) for what only the frame rate can tell."""
        length = self.duration.frames(fps)
        if length < 1:
            yield ("duration",), f"{self.duration} is less than one frame"
        times = [time.seconds(fps) for time in self.along]
        if any(a >= b for a, b in itertools.pairwise(times)):
            yield ("along",), "the times must rise"
        if len(times) > 1 and Time(times[-1]).frames(fps) < length:
            yield ("along",), f"the last key is at {times[-1]:g}s, but the shot lasts {self.duration}; add a key there"
        moves = sum(move.length.seconds(fps) for move in self.camera.moves)
        if Time(moves).frames(fps) > length:
            yield (
                ("camera", "moves"),
                f"the moves take {moves:g}s, but the shot lasts {self.duration}; lengthen the shot or shorten a move",
            )
        for number, move in enumerate(self.camera.moves):
            at = [key.at.seconds(fps) for key in move.keys]
            if any(a >= b for a, b in zip([0.0, *at], at, strict=False)):
                yield ("camera", "moves", number, "keys"), "the times must rise, from later than 0s"


@lru_cache(maxsize=64)  # asked for every frame, and for its plate's key
def _through(times: tuple[float, ...], values: tuple[float, ...]) -> PchipInterpolator:
    return PchipInterpolator(times, values)


class ShotShare(NamedTuple):
    """A shot's share in one frame."""

    shot: Shot
    seconds: float
    weight: float


@dataclass(frozen=True)
class Cut:
    """Shots in order at one frame rate. Frame n is shown from n/fps to (n+1)/fps."""

    shots: tuple[Shot, ...]
    fps: Fraction

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First frame of each shot; a dissolve lets the next one begin before the shot has ended."""
        starts, at = [], 0
        for shot in self.shots:
            starts.append(at)
            at += shot.duration.frames(self.fps) - shot.to_next.dissolve.frames(self.fps)
        return tuple(starts)

    @cached_property
    def length(self) -> int:
        """Number of frames."""
        return self.starts[-1] + self.shots[-1].duration.frames(self.fps)

    def span(self, name: str) -> tuple[int, int]:
        """First frame and one past the last of the shot called `name`. Raises KeyError."""
        for start, shot in zip(self.starts, self.shots, strict=True):
            if shot.shot == name:
                return start, start + shot.duration.frames(self.fps)
        raise KeyError(name)

    def at(self, number: int) -> tuple[ShotShare, ...]:
        """The shots that frame `number` shows, with weights that sum to 1."""
        parts: list[ShotShare] = []
        for index, (start, shot) in enumerate(zip(self.starts, self.shots, strict=True)):
            inside = number - start
            if not 0 <= inside < shot.duration.frames(self.fps):
                continue
            overlap = self.shots[index - 1].to_next if index else Transition()
            frames = overlap.dissolve.frames(self.fps)
            weight = overlap.ease((inside + 1) / (frames + 1)) if parts and frames else 1.0
            parts = [part._replace(weight=part.weight * (1 - weight)) for part in parts]
            parts.append(ShotShare(shot, float(inside / self.fps), weight))
        return tuple(parts)

    def mistakes(self):
        """(path, what is wrong) in the shots."""
        for index, shot in enumerate(self.shots):
            for path, what in shot.mistakes_at(self.fps):
                yield (index, *path), what
            frames = shot.to_next.dissolve.frames(self.fps)
            if frames and index + 1 == len(self.shots):
                yield (index, "to_next"), "this is the last shot; there is nothing to dissolve into"
            elif (
                frames
                and frames > min(shot.duration.frames(self.fps), self.shots[index + 1].duration.frames(self.fps)) // 2
            ):
                yield (index, "to_next"), "the dissolve is longer than half of one of its shots; shorten it"
        names = [shot.shot for shot in self.shots]
        for index in np.flatnonzero([name in names[:i] for i, name in enumerate(names)]):
            yield (int(index), "shot"), f"a second shot called '{names[index]}'; shots need names of their own"
