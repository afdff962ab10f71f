"""Cues: instants with names, at a time of the film or where a measured number says so.

    drop: 3.2s             a time of the film
    learned: loss < 0.1    the first keyframe at which it holds; also `test_accuracy > 95`, `lambda_max > 2/lr`
    jump: largest-jump     the keyframe after which nothing falls or rises as far, by the logarithm of the loss
    decay: lr-drop         the checkpoint at which the learning rate falls most, by a tenth at least
    now: last              the last keyframe

A cue that is computed is a coordinate of the sweep: in `along` it stands for that, and in a move for the instant at
which the shot reaches it. Where a length stands, such as `over`, a cue means until then. Before anything is measured, a
computed cue is assumed in the middle of its shot.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from studio.config.records import FrozenDict, nearest
from studio.config.units import CUE, Time
from studio.field import Surfaces
from studio.film.camera import Camera, Move
from studio.film.quantities import Quantity
from studio.film.timeline import CueCoordinate, KeyPath, Shot

EVENTS = ("largest-jump", "lr-drop", "last")
LEAST_DROP = 0.9
"""A learning rate that falls to more than this share of itself has no drop."""
_SLACK = 1e-9  # of a coordinate that interpolation reaches
Known = Callable[[Shot, str], float | None]
"""The coordinate of a computed cue in the landscape of a shot; None before it is measured."""
_CONDITION = re.compile(r"([A-Za-z_]\w*)\s*([<>])\s*(.+)")


class Cue(str):
    """What a scene says of a cue. Raises ValueError if it is no time, no event and no comparison of two numbers."""

    def __init__(self, text: str) -> None:
        if self._condition is None:
            try:
                Time.parse(text)
            except ValueError:
                forms = f"3.2s, loss < 0.1, lambda_max > 2/lr, {', '.join(EVENTS)}"
                raise ValueError(f"'{text}' is no cue; write it like {forms}") from None

    @property
    def time(self) -> Time | None:
        """The time of the film; None if the cue is computed."""
        return None if self._condition else Time.parse(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The measured numbers that decide it."""
        sides = self._condition[::2] if self._condition else ()
        return tuple(dict.fromkeys(side.measured for side in sides if isinstance(side, Quantity)))

    @property
    def _condition(self) -> tuple[Quantity, str, Quantity | float] | None:
        """(a number, < or >, another or a constant)."""
        if self in EVENTS:
            return Quantity("lr" if self == "lr-drop" else "loss"), "", 0.0
        if (found := _CONDITION.fullmatch(self.strip())) is None:
            return None
        with contextlib.suppress(ValueError):
            return Quantity(found[1]), found[2], float(found[3])
        with contextlib.suppress(ValueError):
            return Quantity(found[1]), found[2], Quantity(found[3])
        return None

    def coordinate(self, surfaces: Surfaces) -> float:
        """Where a computed cue is on the sweep. Raises ValueError if it never comes, or a number is not measured."""
        if self._condition is None:
            raise ValueError(f"'{self}' is a time of the film")
        left, relation, right = self._condition
        values = left.series(surfaces)
        if self in EVENTS:
            return self._event(values)
        limits = right.series(surfaces) if isinstance(right, Quantity) else dict.fromkeys(values, right)
        for coordinate, value in values.items():
            limit = limits.get(coordinate, math.nan)
            if value < limit if relation == "<" else value > limit:
                return coordinate
        finite = [value for value in values.values() if math.isfinite(value)]
        found = f"; {left} is {min(finite):.3g} to {max(finite):.3g}" if finite else ""
        raise ValueError(f"'{self}' never holds at {len(values)} keyframes{found}")

    def _event(self, by_at: Mapping[float, float]) -> float:
        if self == "last":
            return list(by_at)[-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.nan_to_num(np.diff(np.log(np.array(list(by_at.values())))), posinf=0, neginf=0)
        changes, least = (np.abs(steps), 0.0) if self == "largest-jump" else (-steps, -np.log(LEAST_DROP))
        if not changes.size or changes.max() <= least:
            raise ValueError(f"'{self}' never comes at {len(by_at)} keyframes")
        return list(by_at)[int(changes.argmax()) + 1]


def _parse_name(text: str) -> str:
    if not CUE.fullmatch(text):
        raise ValueError(f"'{text}' is no name of a cue; start with a letter, then letters, digits, _ and -")
    return text


CueName = Annotated[str, BeforeValidator(_parse_name)]
_CUE = {"type": "string", "description": "cue", "examples": ["3.2s", "loss < 0.1", "largest-jump"]}
CueField = Annotated[Cue, BeforeValidator(lambda text: Cue(str(text))), PlainSerializer(str), WithJsonSchema(_CUE)]


def resolve(
    shots: Sequence[Shot], cues: Mapping[str, Cue], fps: Fraction, known: Known = lambda shot, name: None
) -> tuple[tuple[Shot, ...], list[tuple[KeyPath, str]]]:
    """The shots with the amounts of all times that are cues, and (path in the list of shots, message) of mistakes."""
    resolved, mistakes, first = list[Shot](), list[tuple[KeyPath, str]](), 0
    if not cues and not any(map(_names_cues, shots)):
        return tuple(shots), mistakes
    for index, shot in enumerate(shots):
        resolver = _Resolver(shot, cues, fps, float(first / fps), known)
        resolved.append(resolver.resolve())
        mistakes += [((index, *path), text) for path, text in resolver.mistakes]
        first += resolved[-1].duration.frames(fps) - shot.to_next.frames(fps)
    return tuple(resolved), mistakes


def film_time(time: Time, cues: Mapping[str, Cue]) -> tuple[Time, str | None]:
    """A time of the film that may be a cue, and what is wrong with it."""
    if not time.cue or (cue := cues.get(time.cue)) is None:
        return time, None if not time.cue else _unknown(time.cue, cues)
    if cue.time is None:
        return time, f"the cue '{time.cue}' is computed, and this is a time of the film; write the time"
    return replace(cue.time, cue=time.cue), None


def _unknown(name: str, cues: Mapping[str, Cue]) -> str:
    return f"no cue '{name}'{nearest(name, cues) if cues else '; write a time like 12s, or name one under `cues`'}"


class _Resolver:
    """One shot, which begins at a time of the film in seconds."""

    def __init__(self, shot: Shot, cues: Mapping[str, Cue], fps: Fraction, start: float, known: Known) -> None:
        self.shot, self.cues, self.fps, self.start, self.known = shot, cues, fps, start, known
        self.mistakes: list[tuple[KeyPath, str]] = []

    def resolve(self) -> Shot:
        """The shot with all of its times; a time that is a mistake is 0."""
        shot = self.shot
        if shot.duration.cue:
            shot = shot.model_copy(update={"duration": self._until(shot.duration, 0.0, ("duration",))})
        self.shot = shot
        plain = [value for value in shot.along.values() if not isinstance(value, CueCoordinate)]
        middle = (min(plain) + max(plain)) / 2 if plain else 0.0
        along = {
            self._at(time, ("along",)) if time.cue else time: self._coordinate(value, middle)
            for time, value in shot.along.items()
        }
        self.shot = shot = shot.model_copy(update={"along": FrozenDict(along)})
        changes: dict[str, Any] = {"camera": self._camera(shot.camera, ("camera",))}
        if shot.inset:
            camera = self._camera(shot.inset.camera, ("inset", "camera"))
            changes["inset"] = shot.inset.model_copy(update={"camera": camera})
        return shot.model_copy(update=changes)

    def _camera(self, camera: Camera, path: KeyPath) -> Camera:
        if not any(time.cue for move in camera.moves for time in _times(move)):
            return camera
        moves, seconds = [], 0.0
        for number, move in enumerate(camera.moves):
            moves.append(self._move(move, seconds, (*path, "moves", number)))
            seconds += moves[-1].seconds(self.fps)
        return camera.model_copy(update={"moves": tuple(moves)})

    def _move(self, move: Move, seconds: float, path: KeyPath) -> Move:
        """A move that begins so many seconds after its shot."""
        lengths = {name: getattr(move, name) for name in ("over", "hold")}
        changes: dict[str, Any] = {
            name: self._until(time, seconds, (*path, name)) for name, time in lengths.items() if time and time.cue
        }
        changes["keys"] = tuple(
            key.model_copy(update={"at": self._until(key.at, seconds, (*path, "keys", n, "at"))}) if key.at.cue else key
            for n, key in enumerate(move.keys)
        )
        changes["together"] = tuple(
            self._move(part, seconds, (*path, "together", n)) for n, part in enumerate(move.together)
        )
        return move.model_copy(update=changes)

    def _until(self, time: Time, seconds: float, path: KeyPath) -> Time:
        """The length from `seconds` after the shot began to a cue."""
        at = self._at(time, path)
        if at.amount <= seconds and not self.mistakes:
            self.mistakes.append((path, f"the cue '{time.cue}' is at {at.amount:g}s of the shot, before this begins"))
        return Time(max(0.0, at.amount - seconds), cue=time.cue)

    def _at(self, time: Time, path: KeyPath) -> Time:
        """A cue as a time of the shot."""
        cue = self._cue(time.cue, path)
        if cue is None:
            return time
        if cue.time is None:
            return Time(self._reached(time.cue, path), cue=time.cue)
        amount = float(cue.time.frames(self.fps) / self.fps) - self.start
        length = self.shot.length(self.fps)
        if path != ("duration",) and not 0 <= amount <= length + 1e-9:
            shown = f"from {self.start:g}s to {self.start + length:g}s"
            self.mistakes.append((path, f"the cue '{time.cue}' is at {cue}, and the shot is shown {shown}"))
        return Time(max(0.0, amount), cue=time.cue)

    def _reached(self, name: str, path: KeyPath) -> float:
        """When the shot reaches the coordinate of a computed cue, in seconds."""
        if path in (("duration",), ("along",)):
            text = f"the cue '{name}' is computed; it may stand in `along` for a coordinate, and in a move for a time"
            self.mistakes.append((path, text))
            return 0.0
        target, times = self.known(self.shot, name), np.arange(self.shot.duration.frames(self.fps)) / float(self.fps)
        if target is None:
            return self.shot.length(self.fps) / 2
        shown = [self.shot.coordinate(float(t), self.fps) for t in times]
        for time, (before, after) in zip(times, pairwise([shown[0], *shown]), strict=True):
            if min(before, after) - _SLACK <= target <= max(before, after) + _SLACK:
                return float(time)
        ends = f"{min(shown):g} to {max(shown):g}"
        self.mistakes.append((path, f"the cue '{name}' is at {target:g}, and the shot shows {ends}; change `along`"))
        return 0.0

    def _coordinate(self, value: float, middle: float) -> float:
        if not isinstance(value, CueCoordinate):
            return value
        cue = self._cue(value.cue, ("along",))
        if cue is not None and cue.time is not None:
            self.mistakes.append((("along",), f"the cue '{value.cue}' is a time of the film, not a coordinate"))
        found = None if cue is None or cue.time else self.known(self.shot, value.cue)
        return CueCoordinate(middle if found is None else found, value.cue)

    def _cue(self, name: str, path: KeyPath) -> Cue | None:
        if name not in self.cues:
            self.mistakes.append((path, _unknown(name, self.cues)))
        return self.cues.get(name)


def _names_cues(shot: Shot) -> bool:
    cameras = [shot.camera, *([shot.inset.camera] if shot.inset else [])]
    times = [
        shot.duration,
        *shot.along,
        *(time for camera in cameras for move in camera.moves for time in _times(move)),
    ]
    return any(time.cue for time in times) or any(isinstance(at, CueCoordinate) for at in shot.along.values())


def _times(move: Move) -> Iterator[Time]:
    """All times of a move."""
    yield from filter(None, (move.over, move.hold, *(key.at for key in move.keys)))
    for part in move.together:
        yield from _times(part)
