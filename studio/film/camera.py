"""The camera: orbit coordinates around what it looks at, moves between them, and the Pose they come to.

A camera is interpolated in azimuth, elevation and log distance, never in positions: a straight line between two
positions of an orbit would dive towards its middle. The ease of a move describes how it arrives at its own end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from studio.config.records import Record
from studio.config.units import Angle, Duration, Focal, Positive
from studio.film.easing import Curve, Ease

Lens = Annotated[Focal, Field(gt=0)]
Point = tuple[float, float, float]
UNIT = 100.0
"""Millimetres of a scene unit, as a lens sees them: the drawn square is 200 mm wide, a model on a table."""


def _stop(given):
    if not isinstance(given, str):
        return given
    try:
        return float(re.fullmatch(r"f/([\d.]+)", given.strip())[1])
    except (TypeError, ValueError):
        raise ValueError(f"'{given}' is no aperture; write it like f/2.8") from None


Aperture = Annotated[
    float,
    Field(gt=0),
    BeforeValidator(_stop),
    PlainSerializer(lambda number: f"f/{number:.12g}"),
    WithJsonSchema({"type": "string", "pattern": r"^f/[\d.]+$"}),
]
"""The focal length over the width of the lens, written `f/2.8`."""


@dataclass(frozen=True)
class Pose:
    """The camera at one instant, in VTK's words; view_angle is vertical, in degrees.

    lens: its radius in scene units, 0 for a pinhole. focus: how far along the line of sight it is sharp, scene units.
    """

    position: Point
    focal_point: Point
    view_angle: float
    view_up: Point
    lens: float = 0.0
    focus: float = 1.0

    @property
    def axes(self) -> np.ndarray:
        """To the right, up and ahead of the camera [3, 3], of length 1."""
        ahead = np.subtract(self.focal_point, self.position)
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, self.view_up)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(right, ahead), ahead])


@dataclass(frozen=True)
class Orbit:
    """Where the camera stands around its focal point: degrees, degrees, scene units; and its focal length in mm.

    opening: one over the f-number, 0 for a pinhole. focus: how far away it is sharp; None at the focal point.
    """

    azimuth: float
    elevation: float
    distance: float
    lens: float
    pan: tuple[float, float, float] = (0.0, 0.0, 0.0)
    opening: float = 0.0
    focus: float | None = None

    @property
    def sharp(self) -> float:
        """How far away it is sharp, scene units."""
        return self.distance if self.focus is None else self.focus

    @property
    def height(self) -> float:
        return self.distance * math.sin(math.radians(self.elevation))

    @property
    def reach(self) -> float:
        return self.distance * math.cos(math.radians(self.elevation))

    def pose(self, focal_point: Point) -> Pose:
        x, y, z = (f + p for f, p in zip(focal_point, self.pan, strict=True))
        turn, tilt = math.radians(self.azimuth), math.radians(self.elevation)
        position = (x + self.reach * math.cos(turn), y + self.reach * math.sin(turn), z + self.height)
        # not simply z, which is no up at all for a camera straight above
        up = (-math.sin(tilt) * math.cos(turn), -math.sin(tilt) * math.sin(turn), math.cos(tilt))
        angle, radius = math.degrees(2 * math.atan(12.0 / self.lens)), self.lens * self.opening / 2 / UNIT
        return Pose(position, (x, y, z), angle, up, radius, self.sharp)

    def toward(self, other: Orbit, u: float) -> Orbit:
        """The orbit a share u of the way to another."""

        def mix(a, b):
            return a + (b - a) * u

        def far(a, b):
            return math.exp(mix(math.log(a), math.log(b)))

        return Orbit(
            mix(self.azimuth, other.azimuth),
            mix(self.elevation, other.elevation),
            far(self.distance, other.distance),
            mix(self.lens, other.lens),
            tuple(mix(a, b) for a, b in zip(self.pan, other.pan, strict=True)),
            mix(self.opening, other.opening),
            None if self.focus is None and other.focus is None else far(self.sharp, other.sharp),
        )


class Start(Record):
    """Where a shot's camera begins. azimuth: 0deg looks from +alpha, 90deg from +beta. lens: over a 24 mm high gate.

    rise: camera and what it looks at, up together, scene units; below 0 the subject stands higher in the picture.
    aperture: a pinhole if not given; what is out of focus blurs as in a model 200 mm wide; it takes sub-frames. focus:
    how far away it is sharp, scene units; what it looks at if not given.
    """

    azimuth: Angle = -60.0
    elevation: Angle = 35.0
    distance: Positive = 2.0
    lens: Lens = 30.0
    rise: float = 0.0
    aperture: Aperture | None = None
    focus: Positive | None = None

    def orbit(self) -> Orbit:
        opening, pan = 1 / self.aperture if self.aperture else 0.0, (0.0, 0.0, self.rise)
        return Orbit(self.azimuth, self.elevation, self.distance, self.lens, pan, opening, self.focus)


class Key(Record):
    """One pose of a `keys` move: what is given changes, what is not stays. at: from the start of the move."""

    at: Duration
    azimuth: Angle | None = None
    elevation: Angle | None = None
    distance: Positive | None = None
    lens: Lens | None = None
    aperture: Aperture | None = None
    focus: Positive | None = None
    ease: Ease = Curve("in-out")

    def orbit(self, before: Orbit) -> Orbit:
        given = {
            name: value
            for name in ("azimuth", "elevation", "distance", "lens", "focus")
            if (value := getattr(self, name)) is not None
        }
        return replace(before, **given, **({"opening": 1 / self.aperture} if self.aperture else {}))


class Move(Record):
    """A stretch of camera movement; its components may be combined, and one without any is a hold.

    orbit: turn around the focal point. dolly: scene units towards it (positive) or away. crane: scene units up, still
    looking at it. rise: camera and focal point up together. lens: change of focal length. hold: how long to stay.
    keys: poses at times instead of components; `over` is then the last of them. ease: how the move arrives at its end.
    """

    former: ClassVar[Mapping[str, str]] = {"zoom": "lens"}

    orbit: Angle = 0.0
    dolly: float = 0.0
    crane: float = 0.0
    rise: float = 0.0
    lens: Focal = 0.0
    over: Duration | None = None
    hold: Duration | None = None
    keys: tuple[Key, ...] = ()
    ease: Ease = Curve("in-out")

    @model_validator(mode="after")
    def _is_one_thing(self):
        if (self.over is not None) + (self.hold is not None) + bool(self.keys) != 1:
            raise ValueError("a move takes one of 'over' (how long), 'hold' (stand still so long) or 'keys'")
        moving = any((self.orbit, self.dolly, self.crane, self.rise, self.lens))
        if moving and self.over is None:
            raise ValueError("orbit, dolly, crane, rise and lens go with 'over', not with 'hold' or 'keys'")
        return self

    @property
    def length(self) -> Duration:
        return self.over or self.hold or self.keys[-1].at

    def end(self, start: Orbit) -> Orbit:
        """Where the move arrives from `start`. Raises ValueError if a dolly or a lens goes too far."""
        if self.keys:
            end = start
            for key in self.keys:
                end = key.orbit(end)
            return end
        dollied = start.distance - self.dolly
        if dollied <= 0.02:
            raise ValueError(
                f"a dolly of {self.dolly:g} from a distance of {start.distance:.2f} runs into what it looks at"
            )
        if start.lens + self.lens <= 0:
            raise ValueError(f"a change of {self.lens:g}mm from a lens of {start.lens:g}mm leaves no lens")
        near = replace(start, distance=dollied)
        height = near.height + self.crane
        return replace(
            near,
            azimuth=start.azimuth + self.orbit,
            elevation=math.degrees(math.atan2(height, near.reach)),
            distance=math.hypot(height, near.reach),
            lens=start.lens + self.lens,
            pan=(start.pan[0], start.pan[1], start.pan[2] + self.rise),
        )

    def at(self, start: Orbit, seconds: float, fps) -> Orbit:
        """The orbit some seconds after the move began at `start`."""
        if self.keys:
            return self._between_keys(start, seconds, fps)
        length = self.length.seconds(fps)
        return start.toward(self.end(start), self.ease(min(1.0, seconds / length) if length else 1.0))

    def _between_keys(self, start: Orbit, seconds: float, fps) -> Orbit:
        before, since = start, 0.0
        for key in self.keys:
            after, until = key.orbit(before), key.at.seconds(fps)
            if seconds < until:
                return before.toward(after, key.ease((seconds - since) / (until - since)))
            before, since = after, until
        return before


class Camera(Record):
    """A shot's choreography: a start and moves, one after the other; after the last one it holds.

    look_at: `minimiser` follows the marker down; `land` is over it, at the mean height of the land; `centre` at the
    middle of the film's height range, where it stays; or a point.
    azimuth_from: what azimuth 0deg is: `alpha`, or the `open-side`, on which the land around the minimiser is lowest at
    the end of the film; a shot that names it shows the minimiser whatever course a training took.
    """

    look_at: Literal["minimiser", "land", "centre"] | Point = "minimiser"
    azimuth_from: Literal["alpha", "open-side"] = "alpha"
    start: Start = Start()
    moves: tuple[Move, ...] = ()

    def at(self, seconds: float, fps) -> Orbit:
        """The orbit at a time of the shot, in seconds."""
        orbit = self.start.orbit()
        for move in self.moves:
            length = move.length.seconds(fps)
            if seconds < length:
                return move.at(orbit, seconds, fps)
            orbit, seconds = move.end(orbit), seconds - length
        return orbit
