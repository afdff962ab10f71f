"""The camera: from a start and moves in orbit coordinates to the Pose of one instant.

    position = focal point + distance (cos elevation cos azimuth, cos elevation sin azimuth, sin elevation)

A camera is interpolated in azimuth, elevation and log distance, never in positions: a straight line between two
positions of an orbit would pass close to its middle. A new kind of movement is a field of `Move` and its effect in
`Move.end`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from studio.config.records import Record
from studio.config.units import Angle, Duration, FocalLength, Positive
from studio.field import Array
from studio.film.easing import Ease, EaseField

Lens = Annotated[FocalLength, Field(gt=0)]
Point = tuple[float, float, float]
MM_PER_UNIT = 100.0
"""Millimetres in a scene unit for depth of field: the drawn square is 200 mm wide, a model on a table."""


def _parse_aperture(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"f/(\d+\.?\d*|\.\d+)", value.strip())
    if match is None:
        raise ValueError(f"'{value}' is no aperture; write it like f/2.8")
    return float(match[1])


Aperture = Annotated[
    float,
    Field(gt=0),
    BeforeValidator(_parse_aperture),
    PlainSerializer(lambda number: f"f/{number:.12g}"),
    WithJsonSchema({"type": "string", "pattern": r"^f/[\d.]+$"}),
]
"""The f-number, focal length over the lens's diameter, written `f/2.8`."""


@dataclass(frozen=True)
class Pose:
    """The camera at one instant, in VTK's words; view_angle is vertical, in degrees.

    lens_radius: scene units, 0 for a pinhole. focus: distance of sharp focus along the line of sight, scene units.
    """

    position: Point
    focal_point: Point
    view_angle: float
    view_up: Point
    lens_radius: float = 0.0
    focus: float = 1.0

    @property
    def axes(self) -> Array:
        """Unit vectors to the right, up and ahead of the camera [3, 3]."""
        ahead = np.subtract(self.focal_point, self.position)
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, self.view_up)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(right, ahead), ahead])


def project(points: Array, pose: Pose, aspect: float) -> Array:
    """Perspective projection of points [n, 3]: places [n, 2] from the top left, in shares of the picture's height.

    aspect: the picture's width over its height. A point behind the camera has no meaningful place.
    """
    right, up, ahead = pose.axes
    offset = points - np.array(pose.position)
    scale = 0.5 / math.tan(math.radians(pose.view_angle / 2)) / np.maximum(offset @ ahead, 1e-6)
    return np.stack([aspect / 2 + scale * (offset @ right), 0.5 - scale * (offset @ up)], axis=1)


@dataclass(frozen=True)
class Orbit:
    """The camera relative to its focal point: azimuth and elevation in degrees, distance in scene units.

    lens: focal length, mm. pan: added to the focal point, and so to the camera. opening: one over the f-number, 0 for a
    pinhole. focus: distance of sharp focus, scene units; None for the focal point. The digests of drawn frames contain
    these names.
    """

    azimuth: float
    elevation: float
    distance: float
    lens: float
    pan: Point = (0.0, 0.0, 0.0)
    opening: float = 0.0
    focus: float | None = None

    @property
    def focus_distance(self) -> float:
        """Distance of sharp focus from the camera, scene units."""
        return self.distance if self.focus is None else self.focus

    @property
    def height(self) -> float:
        """Height of the camera above its focal point, scene units."""
        return self.distance * math.sin(math.radians(self.elevation))

    @property
    def ground_distance(self) -> float:
        """Horizontal distance from the focal point, scene units."""
        return self.distance * math.cos(math.radians(self.elevation))

    def pose(self, focal_point: Point) -> Pose:
        """The pose that looks at `focal_point` moved by `pan`.

        view_angle = 2 atan(12 mm / lens), for a gate 24 mm high.
        """
        x, y, z = (f + p for f, p in zip(focal_point, self.pan, strict=True))
        azimuth, elevation = math.radians(self.azimuth), math.radians(self.elevation)
        position = (
            x + self.ground_distance * math.cos(azimuth),
            y + self.ground_distance * math.sin(azimuth),
            z + self.height,
        )
        # not simply z, which has no upward direction for a camera straight above
        up = (-math.sin(elevation) * math.cos(azimuth), -math.sin(elevation) * math.sin(azimuth), math.cos(elevation))
        angle, radius = math.degrees(2 * math.atan(12.0 / self.lens)), self.lens * self.opening / 2 / MM_PER_UNIT
        return Pose(position, (x, y, z), angle, up, radius, self.focus_distance)

    def interpolate(self, other: Orbit, u: float) -> Orbit:
        """The orbit a share u of the way to another: distance and focus geometrically, everything else linearly."""

        def linear(a: float, b: float) -> float:
            return a + (b - a) * u

        def geometric(a: float, b: float) -> float:
            return math.exp(linear(math.log(a), math.log(b)))

        x, y, z = (linear(a, b) for a, b in zip(self.pan, other.pan, strict=True))
        at_focal_point = self.focus is None and other.focus is None
        return Orbit(
            linear(self.azimuth, other.azimuth),
            linear(self.elevation, other.elevation),
            geometric(self.distance, other.distance),
            linear(self.lens, other.lens),
            (x, y, z),
            linear(self.opening, other.opening),
            None if at_focal_point else geometric(self.focus_distance, other.focus_distance),
        )


class Start(Record):
    """The camera at the start of a shot.

    azimuth: 0deg looks from +alpha, 90deg from +beta. elevation: 0deg looks level, 90deg straight down.
    distance: from the focal point, scene units. lens: focal length over a 24 mm high gate.
    rise: camera and focal point up together, scene units; below 0 the subject stands higher in the picture.
    aperture: a pinhole if omitted; blur is that of a model 200 mm wide, and takes sub-frames.
    focus: distance of sharp focus, scene units; the focal point if omitted.
    """

    azimuth: Angle = -60.0
    elevation: Angle = 35.0
    distance: Positive = 2.0
    lens: Lens = 30.0
    rise: float = 0.0
    aperture: Aperture | None = None
    focus: Positive | None = None

    def to_orbit(self) -> Orbit:
        """The camera as orbit coordinates."""
        opening, pan = 1 / self.aperture if self.aperture else 0.0, (0.0, 0.0, self.rise)
        return Orbit(self.azimuth, self.elevation, self.distance, self.lens, pan, opening, self.focus)


class PoseKey(Record):
    """One pose of a move with `keys`: the fields it names change, the others stay.

    at: from the start of the move. azimuth, elevation, distance, lens, aperture, focus: as at the start of a shot.
    ease: how the camera arrives at this pose.
    """

    at: Duration
    azimuth: Angle | None = None
    elevation: Angle | None = None
    distance: Positive | None = None
    lens: Lens | None = None
    aperture: Aperture | None = None
    focus: Positive | None = None
    ease: EaseField = Ease("in-out")

    def apply(self, before: Orbit) -> Orbit:
        """The orbit at this key: `before` with the fields that the key names."""
        changes = self.model_dump(exclude={"at", "aperture", "ease"}, exclude_none=True)
        if self.aperture:
            changes["opening"] = 1 / self.aperture
        return replace(before, **changes)


class Move(Record):
    """One camera movement; its components may be combined. Without any component it is a hold.

    orbit: turn around the focal point.
    dolly: scene units towards it (positive) or away. crane: scene units up, still looking at it.
    rise: scene units up, with the focal point. lens: change of focal length.
    over: how long it takes. hold: stand still so long.
    keys: poses at times instead of components; the last one ends the move. ease: how the move arrives at its end.
    """

    former: ClassVar[Mapping[str, str]] = {"zoom": "lens"}

    orbit: Angle = 0.0
    dolly: float = 0.0
    crane: float = 0.0
    rise: float = 0.0
    lens: FocalLength = 0.0
    over: Duration | None = None
    hold: Duration | None = None
    keys: tuple[PoseKey, ...] = ()
    ease: EaseField = Ease("in-out")

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if (self.over is not None) + (self.hold is not None) + bool(self.keys) != 1:
            raise ValueError("a move takes one of 'over' (how long), 'hold' (stand still so long) or 'keys'")
        moving = any((self.orbit, self.dolly, self.crane, self.rise, self.lens))
        if moving and self.over is None:
            raise ValueError("orbit, dolly, crane, rise and lens go with 'over', not with 'hold' or 'keys'")
        return self

    @property
    def length(self) -> Duration:
        """How long the move takes."""
        return self.over or self.hold or self.keys[-1].at

    def end(self, start: Orbit) -> Orbit:
        """The orbit at the end of the move from `start`.

        Raises ValueError if a dolly would reach the focal point or the focal length would not stay above 0.
        """
        if self.keys:
            return reduce(lambda orbit, key: key.apply(orbit), self.keys, start)
        distance = start.distance - self.dolly
        if distance <= 0.02:
            raise ValueError(
                f"a dolly of {self.dolly:g} from a distance of {start.distance:.2f} runs into what it looks at"
            )
        if start.lens + self.lens <= 0:
            raise ValueError(f"a change of {self.lens:g}mm from a lens of {start.lens:g}mm leaves no lens")
        dollied = replace(start, distance=distance)
        height = dollied.height + self.crane
        return replace(
            dollied,
            azimuth=start.azimuth + self.orbit,
            elevation=math.degrees(math.atan2(height, dollied.ground_distance)),
            distance=math.hypot(height, dollied.ground_distance),
            lens=start.lens + self.lens,
            pan=(start.pan[0], start.pan[1], start.pan[2] + self.rise),
        )

    def at(self, start: Orbit, seconds: float, fps: Fraction) -> Orbit:
        """The orbit `seconds` after the move began at `start`."""
        if not self.keys:
            length = self.length.seconds(fps)
            return start.interpolate(self.end(start), self.ease(min(1.0, seconds / length) if length else 1.0))
        before, since = start, 0.0
        for key in self.keys:
            after, until = key.apply(before), key.at.seconds(fps)
            if seconds < until:
                return before.interpolate(after, key.ease((seconds - since) / (until - since)))
            before, since = after, until
        return before


class Camera(Record):
    """A shot's choreography: a start and moves in order; after the last move the camera holds.

    look_at: `minimiser` follows the marker, or is the middle of the surface where there is none; `land` is above that
    middle, at the surface's mean height; `centre` is at the middle of the height range, which is fixed; or a point.
    azimuth_from: the direction of azimuth 0deg: `alpha`, or the `open-side`, where the surface around the marker is
    lowest at the end of the film. From the open side the minimiser is visible whatever course a training took.
    """

    look_at: Literal["minimiser", "land", "centre"] | Point = "minimiser"
    azimuth_from: Literal["alpha", "open-side"] = "alpha"
    start: Start = Start()
    moves: tuple[Move, ...] = ()

    def at(self, seconds: float, fps: Fraction) -> Orbit:
        """The orbit `seconds` after the shot began, its azimuth counted from `azimuth_from`."""
        orbit = self.start.to_orbit()
        for move in self.moves:
            length = move.length.seconds(fps)
            if seconds < length:
                return move.at(orbit, seconds, fps)
            orbit, seconds = move.end(orbit), seconds - length
        return orbit
