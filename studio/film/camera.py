"""The camera: from a start and moves in orbit coordinates to the Pose of one instant.

    position = focal point + distance (cos elevation cos azimuth, cos elevation sin azimuth, sin elevation)

A camera is interpolated in azimuth, elevation and log distance, never in positions: a straight line between two
positions of an orbit would pass close to its middle. Through poses and from move to move it flows
(studio.film.motion). A new kind of movement is a field of `Move` and its effect in `Move._end`.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from studio.config.functions import Function, as_users_mistake
from studio.config.messages import explain
from studio.config.records import OMIT_DEFAULT, Record
from studio.config.units import Angle, CueTime, FocalLength, Percent, Positive, Time
from studio.errors import SceneError
from studio.field import Array
from studio.film.easing import Ease, EaseField
from studio.film.motion import Knot, Track
from studio.film.shake import shake

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


COORDINATES = (
    *("azimuth", "elevation", "distance", "lens", "alpha", "beta", "height"),
    *("opening", "focus", "pan", "tilt", "roll"),
)
"""Names of what a camera is interpolated in, in the order of `Orbit.coordinates`."""
TURNS = ("azimuth", "pan", "roll")
"""Coordinates that are the same after 360 degrees."""
DISTANCE, FOCUS = COORDINATES.index("distance"), COORDINATES.index("focus")


@dataclass(frozen=True)
class Orbit:
    """The camera relative to its focal point: azimuth and elevation in degrees, distance in scene units.

    lens: focal length, mm. pan: added to the focal point, and so to the camera. opening: one over the f-number, 0 for a
    pinhole. focus: distance of sharp focus, scene units; None for the focal point. yaw, pitch, roll: how far the camera
    in its place is turned away from the focal point, degrees to the right, up, and clockwise. The digests of drawn
    frames contain these names.
    """

    azimuth: float
    elevation: float
    distance: float
    lens: float
    pan: Point = (0.0, 0.0, 0.0)
    opening: float = 0.0
    focus: float | None = None
    yaw: float = field(default=0.0, metadata=OMIT_DEFAULT)
    pitch: float = field(default=0.0, metadata=OMIT_DEFAULT)
    roll: float = field(default=0.0, metadata=OMIT_DEFAULT)

    @classmethod
    def of(cls, coordinates: Sequence[float]) -> Orbit:
        """The orbit with these coordinates, in the order of `COORDINATES`; an opening below 0 is a pinhole's."""
        azimuth, elevation, distance, lens, x, y, z, opening, focus, *turns = coordinates
        return cls(azimuth, elevation, distance, lens, (x, y, z), max(0.0, opening), focus or None, *turns)

    @property
    def coordinates(self) -> Sequence[float]:
        """All coordinates in the order of `COORDINATES`; a focus of 0 is at the focal point."""
        place = self.azimuth, self.elevation, self.distance, self.lens, *self.pan
        return *place, self.opening, self.focus or 0.0, self.yaw, self.pitch, self.roll

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

    @property
    def _offset(self) -> Point:
        """From the focal point to the camera, as if it looked there."""
        azimuth = math.radians(self.azimuth)
        return self.ground_distance * math.cos(azimuth), self.ground_distance * math.sin(azimuth), self.height

    def rotate(self, degrees: float) -> Orbit:
        """The orbit turned around the vertical through the origin of its focal point's `pan`."""
        turned = complex(*self.pan[:2]) * cmath.rect(1.0, math.radians(degrees))
        pan = (turned.real, turned.imag, self.pan[2]) if turned else self.pan
        return replace(self, azimuth=self.azimuth + degrees, pan=pan)

    def pose(self, focal_point: Point) -> Pose:
        """The pose that looks at `focal_point` moved by `pan`, or beside it if the camera is turned away.

        view_angle = 2 atan(12 mm / lens), for a gate 24 mm high.
        """
        x, y, z = (f + p for f, p in zip(focal_point, self.pan, strict=True))
        dx, dy, dz = self._offset
        position = x + dx, y + dy, z + dz
        azimuth, elevation = math.radians(self.azimuth - self.yaw), math.radians(self.elevation - self.pitch)
        # not simply z, which has no upward direction for a camera straight above
        up = (-math.sin(elevation) * math.cos(azimuth), -math.sin(elevation) * math.sin(azimuth), math.cos(elevation))
        if self.yaw or self.pitch:
            ahead = replace(self, azimuth=self.azimuth - self.yaw, elevation=self.elevation - self.pitch)
            x, y, z = (place - way for place, way in zip(position, ahead._offset, strict=True))
        if self.roll:
            c, s = math.cos(math.radians(self.roll)), math.sin(math.radians(self.roll))
            up = (c * up[0] - s * math.sin(azimuth), c * up[1] + s * math.cos(azimuth), c * up[2])
        angle, radius = math.degrees(2 * math.atan(12.0 / self.lens)), self.lens * self.opening / 2 / MM_PER_UNIT
        return Pose(position, (x, y, z), angle, up, radius, self.focus_distance)


class Start(Record):
    """The camera at the start of a shot.

    azimuth: 0deg looks from +alpha, 90deg from +beta. elevation: 0deg looks level, 90deg straight down.
    distance: from the focal point, scene units. lens: focal length over a 24 mm high gate.
    rise: camera and focal point up together, scene units; below 0 the subject stands higher in the picture.
    pan, tilt: the camera in its place is turned to the right, and up. roll: clockwise.
    aperture: a pinhole if omitted; blur is that of a model 200 mm wide, and takes sub-frames.
    focus: distance of sharp focus, scene units; the focal point if omitted.
    """

    azimuth: Angle = -60.0
    elevation: Angle = 35.0
    distance: Positive = 2.0
    lens: Lens = 30.0
    rise: float = 0.0
    pan: Angle = 0.0
    tilt: Angle = 0.0
    roll: Angle = 0.0
    aperture: Aperture | None = None
    focus: Positive | None = None

    def to_orbit(self) -> Orbit:
        """The camera as orbit coordinates."""
        opening, pan = 1 / self.aperture if self.aperture else 0.0, (0.0, 0.0, self.rise)
        place = self.azimuth, self.elevation, self.distance, self.lens, pan
        return Orbit(*place, opening, self.focus, self.pan, self.tilt, self.roll)


class PoseKey(Record):
    """One pose of a move with `keys`: the fields it names change, the others stay.

    at: from the start of the move. azimuth, elevation, distance, lens, rise, pan, tilt, roll, aperture, focus: as at
    the start of a shot. ease: how the camera arrives at this pose; it flows through if omitted. stop: whether it rests
    at this pose.
    """

    at: CueTime
    azimuth: Angle | None = None
    elevation: Angle | None = None
    distance: Positive | None = None
    lens: Lens | None = None
    rise: float | None = None
    pan: Angle | None = None
    tilt: Angle | None = None
    roll: Angle | None = None
    aperture: Aperture | None = None
    focus: Positive | None = None
    ease: EaseField | None = None
    stop: bool = False

    def apply(self, before: Orbit) -> Orbit:
        """The orbit at this key: `before` with the fields that the key names."""
        named = self.model_dump(exclude={"at", "rise", "aperture", "ease", "stop"}, exclude_none=True)
        changes = {{"pan": "yaw", "tilt": "pitch"}.get(name, name): value for name, value in named.items()}
        if self.aperture:
            changes["opening"] = 1 / self.aperture
        if self.rise is not None:
            changes["pan"] = (*before.pan[:2], self.rise)
        return replace(before, **changes)


class Move(Record):
    """One camera movement; its components may be combined. Without any component it is a hold.

    orbit: turn around the focal point; with dolly or crane the trade calls it an arc.
    dolly: scene units towards it (positive) or away. push_in, pull_out: a share of the distance towards it, or away.
    dolly_zoom: a dolly whose lens keeps the subject's size; it goes in-out if no ease is named.
    crane: scene units up, still looking at it. pedestal: scene units up, with the focal point; also written `rise`.
    truck: scene units to the right, with the focal point. pan, tilt: the camera turns in its place, right and up.
    roll: it turns clockwise. lens: change of focal length. rack_focus: to this distance of sharp focus, scene units.
    shake: the camera trembles by up to this angle, a few times a second. seed: of the shake.
    over: how long it takes. hold: stand still so long.
    keys: poses at times instead of components; the last one ends the move.
    together: moves that run at the same time, each with its own length; the longest one ends the step.
    ease: how the move arrives at its end; if omitted, the camera flows into the next move, and is already moving at
    the first frame of a shot and still at its last. stop: whether it rests at the end.
    """

    former: ClassVar[Mapping[str, str]] = {"zoom": "lens"}

    orbit: Angle = 0.0
    dolly: float = 0.0
    push_in: Percent = 0.0
    pull_out: Percent = 0.0
    dolly_zoom: float = 0.0
    crane: float = 0.0
    pedestal: float = Field(0.0, validation_alias=AliasChoices("pedestal", "rise"))
    truck: float = 0.0
    pan: Angle = 0.0
    tilt: Angle = 0.0
    roll: Angle = 0.0
    lens: FocalLength = 0.0
    rack_focus: Positive | None = None
    shake: Annotated[Angle, Field(ge=0)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    over: CueTime | None = None
    hold: CueTime | None = None
    keys: tuple[PoseKey, ...] = ()
    together: tuple[Move, ...] = ()
    ease: EaseField | None = None
    stop: bool = False

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if (self.over is not None) + (self.hold is not None) + bool(self.keys) + bool(self.together) != 1:
            raise ValueError("a move takes one of 'over' (how long), 'hold' (so long), 'keys' or 'together'")
        others = {"hold", "keys", "together", "stop"}
        lost = [name for name in type(self).model_fields if name not in others and getattr(self, name)]
        if lost and self.over is None:
            raise ValueError(f"{', '.join(lost)}: with 'over' alone, not with 'hold', 'keys' or 'together'")
        if any(part.hold or part.together for part in self.together):
            raise ValueError("'together' takes moves with 'over' or 'keys'")
        if self.dolly_zoom and any((self.dolly, self.push_in, self.pull_out, self.crane, self.lens)):
            raise ValueError("dolly_zoom sets distance and lens; without dolly, push_in, pull_out, crane or lens")
        return self

    @property
    def parts(self) -> tuple[Move, ...]:
        """The moves that run at the same time: those of `together`, or this one."""
        return self.together or (self,)

    def seconds(self, fps: Fraction) -> float:
        """How long the move takes, at a frame rate in frames per second."""
        if self.together:
            return max(part.seconds(fps) for part in self.together)
        return (self.over or self.hold or self.keys[-1].at).seconds(fps)

    def to_shake(self, start: float, over: float, last: float) -> Callable[[float], Array]:
        """The shake of the move, from `start` on in a shot that ends at `last` seconds; inside the shot it fades."""
        fades = {"fade_in": start > 0, "fade_out": start + over < last}
        return lambda seconds: shake(seconds - start, over, self.shake, self.seed, **fades)

    def arrivals(self, start: Orbit) -> Iterator[tuple[Time, Orbit, Ease | None, bool]]:
        """What a move without `together` passes from `start`: when, how it gets there, and whether it rests there."""
        for key in self.keys:
            start = key.apply(start)
            yield key.at, start, key.ease, key.stop
        if not self.keys:
            ease = self.ease or (Ease("in-out") if self.dolly_zoom else None)
            yield self.over or self.hold or Time(0), self._end(start), ease, self.stop

    def changed(self, start: Orbit) -> set[int]:
        """Numbers of the coordinates that a move without `together` changes from `start`, beyond rounding."""
        passed, before = [orbit.coordinates for _, orbit, _, _ in self.arrivals(start)], start.coordinates
        return {i for i, value in enumerate(before) if any(abs(there[i] - value) > 1e-9 for there in passed)}

    def end(self, start: Orbit) -> Orbit:
        """The orbit at the end of the move from `start`.

        Raises ValueError if a dolly would reach the focal point, the focal length would not stay above 0, or two moves
        change one coordinate together.
        """
        after, taken = start.coordinates, set[int]()
        for part in self.parts:
            *_, (_, end, _, _) = part.arrivals(start)
            if not self.together:
                return end
            changed = part.changed(start)
            if both := " and ".join(COORDINATES[i] for i in sorted(changed & taken)):
                raise ValueError(f"two moves together change the {both}; make one move of them, or two in a row")
            after = [end.coordinates[i] if i in changed else value for i, value in enumerate(after)]
            taken |= changed
        return Orbit.of(after)

    def _end(self, start: Orbit) -> Orbit:
        """The orbit that the components lead to."""
        approach = self.dolly + self.dolly_zoom + start.distance * (self.push_in - self.pull_out) / 100
        distance = start.distance - approach
        if distance <= 0.02:
            raise ValueError(f"a dolly of {approach:g} from a distance of {start.distance:.2f} runs into its subject")
        lens = (start.lens * distance / start.distance if self.dolly_zoom else start.lens) + self.lens
        if lens <= 0:
            raise ValueError(f"a change of {self.lens:g}mm from a lens of {start.lens:g}mm leaves no lens")
        dollied, azimuth, (x, y, z) = replace(start, distance=distance), math.radians(start.azimuth), start.pan
        height = dollied.height + self.crane
        return replace(
            dollied,
            azimuth=start.azimuth + self.orbit,
            elevation=math.degrees(math.atan2(height, dollied.ground_distance)),
            distance=math.hypot(height, dollied.ground_distance),
            lens=lens,
            pan=(x - self.truck * math.sin(azimuth), y + self.truck * math.cos(azimuth), z + self.pedestal),
            focus=self.rack_focus or start.focus,
            yaw=start.yaw + self.pan,
            pitch=start.pitch + self.tilt,
            roll=start.roll + self.roll,
        )


class Camera(Record):
    """A shot's choreography: a start and moves in order; after the last move the camera holds.

    look_at: `minimiser` follows the marker, or is the middle of the surface where there is none; `land` is above that
    middle, at the surface's mean height; `centre` is at the middle of the height range, which is fixed; or a point.
    azimuth_from: the direction of azimuth 0deg: `alpha`, or the `open-side`, where the surface around the marker is
    lowest at the end of the film. From the open side the minimiser is visible whatever course a training took.
    script: a function of yours instead of moves: of the share of the shot, 0 to 1, to a mapping with keys of `start`.
    """

    look_at: Literal["minimiser", "land", "centre"] | Point = "minimiser"
    azimuth_from: Literal["alpha", "open-side"] = "alpha"
    start: Start = Start()
    moves: tuple[Move, ...] = ()
    script: Function | None = None

    @model_validator(mode="after")
    def _has_one_choreography(self) -> Self:
        if self.script and self.moves:
            raise ValueError("a script is the whole choreography; leave the moves or the script out")
        return self

    def at(self, seconds: float, fps: Fraction, length: float, *, loop: bool = False) -> Orbit:
        """The orbit `seconds` after a shot of a length in seconds began, its azimuth counted from `azimuth_from`.

        Raises SceneError if the script fails, or returns what is no camera.
        """
        if self.script:
            return self._scripted(self.script, min(1.0, max(0.0, seconds / length)))
        return motion(self, fps, length, loop).at(seconds)

    def _scripted(self, script: Function, u: float) -> Orbit:
        """The orbit that the script gives; what it leaves out is that of `start`."""
        function, place = script.load(), f"{script} at u = {u:g}"
        try:
            values = dict(function(u))
        except Exception as error:  # the user's code
            expected = SceneError(f"{place}: expected a mapping such as {{'azimuth': 30.0}}: {error}")
            raise as_users_mistake(error, f"u = {u:g}") or expected from error
        try:
            return Start.model_validate({**dict(self.start), **values}).to_orbit()
        except ValidationError as error:
            [mistake, *_] = error.errors()
            raise SceneError(f"{place}: {mistake['loc'][0]}: {explain(mistake, Start)}") from error


CLOSED = 1e-6
"""Difference of a coordinate, or of its speed a second, up to which a loop closes."""


@dataclass(frozen=True)
class Motion:
    """A shot's camera in time. tracks: of `COORDINATES`. focused: when the focus leaves the focal point for good.

    shakes: each of them gives yaw, pitch and roll [3] at a time.
    """

    tracks: tuple[Track, ...]
    focused: float
    shakes: tuple[Callable[[float], Array], ...]

    def at(self, seconds: float) -> Orbit:
        """The orbit at a time since the shot began."""
        values = [track.at(seconds) for track in self.tracks]
        if seconds < self.focused:
            values[FOCUS] = 0.0
        for turns in self.shakes:
            values[-3:] = (values[-3:] + turns(seconds)).tolist()
        return Orbit.of(values)

    def gaps(self) -> Iterator[str]:
        """What does not close where the end leads into the start: coordinates, and those whose speeds differ."""
        for name, track in zip(COORDINATES, self.tracks, strict=True):
            gap, (start, end) = track.knots[-1].value - track.knots[0].value, track.end_speeds
            if name == "focus" and self.focused == math.inf:
                continue  # said of the distance
            if abs(gap := math.remainder(gap, 360) if name in TURNS else gap) > CLOSED:
                yield f"{name} ends {abs(gap):.3g} {'above' if gap > 0 else 'below'} its start"
            elif abs(end - start) > CLOSED:
                yield f"{name} ends at a speed of {end:.3g} a second and starts at {start:.3g}"


@lru_cache(maxsize=256)  # evaluated for every frame, and for its digest
def motion(camera: Camera, fps: Fraction, length: float, loop: bool = False) -> Motion:
    """The moves of a camera in a shot of a length in seconds. loop: the end of the shot leads into its start."""
    last = length - float(1 / fps) / 2  # a move that ends later ends with the shot
    orbit, time, shakes = camera.start.to_orbit(), 0.0, list[Callable[[float], Array]]()
    knots = [[Knot(0.0, value)] for value in orbit.coordinates]
    for move in camera.moves:
        after, end = move.end(orbit), time + move.seconds(fps)
        for part in move.parts:
            own = part.changed(orbit) if move.together else range(len(knots))
            for at, passed, ease, stop in part.arrivals(orbit):
                for i in own:
                    knots[i].append(Knot(time + at.seconds(fps), passed.coordinates[i], ease, stop))
            if part.shake and (over := part.seconds(fps)):
                shakes.append(part.to_shake(time, over, last))
        for track, value in zip(knots, after.coordinates, strict=True):
            if track[-1].time < end:
                track.append(Knot(end, value))
            track[-1] = track[-1]._replace(rest=track[-1].rest or move.stop)
        orbit, time = after, end
    for track in knots:
        if loop and time < last:
            track.append(Knot(length, track[-1].value))
        track[-1] = track[-1]._replace(time=length if loop else time, rest=track[-1].rest or time < last)
    distance, follows = Track(tuple(knots[DISTANCE]), True, loop), [k.time for k in knots[FOCUS] if not k.value]
    focused = max(follows, default=0.0) if knots[FOCUS][-1].value else math.inf
    knots[FOCUS] = [knot if knot.value else knot._replace(value=distance.at(knot.time)) for knot in knots[FOCUS]]
    zooms = any(part.dolly_zoom for move in camera.moves for part in move.parts)
    ratios = {"distance", "focus", "lens" if zooms else ""}
    tracks = (Track(tuple(own), name in ratios, loop) for name, own in zip(COORDINATES, knots, strict=True))
    return Motion(tuple(tracks), focused, tuple(shakes))
