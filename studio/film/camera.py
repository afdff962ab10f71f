"""The camera as records: from a start and moves in orbit coordinates to the Orbit of one instant.

A camera is interpolated in azimuth, elevation and log distance, never in positions: a straight line between two
positions of an orbit would pass close to its middle. Through poses and from move to move it flows
(studio.film.motion). A new kind of movement is a field of `Move` and its effect in `Move._end`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from studio.config.functions import Function, as_users_mistake
from studio.config.messages import explain
from studio.config.records import Record
from studio.config.units import Angle, CueTime, FocalLength, Percent, Positive, Time
from studio.errors import SceneError
from studio.field import Array
from studio.film.easing import Ease, EaseField
from studio.film.motion import Knot, Track
from studio.film.pose import COORDINATES, DISTANCE, FOCUS, LENS, REVEAL, TURN, TURNS, Orbit
from studio.film.shake import shake
from studio.film.targets import OF_TRAJECTORY, LookAt, Place, Target, weights

Lens = Annotated[FocalLength, Field(gt=0)]
FIT = 90.0
"""Percent of the picture that a subject fills with `frame: fit`."""
Filling = Annotated[
    Percent,
    Field(gt=0, le=1000),
    BeforeValidator(lambda value: f"{FIT}%" if value == "fit" else value),
    WithJsonSchema({"type": "string", "description": "share", "pattern": "^fit$|%$", "examples": ["fit", "80%"]}),
]
"""How much of the picture the subject fills: `fit`, or a share such as `80%`."""


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


class Start(Record):
    """The camera at the start of a shot.

    azimuth: 0deg looks from +alpha, 90deg from +beta. elevation: 0deg looks level, 90deg straight down.
    distance: from the focal point, scene units.
    frame: instead of a distance, how much of the picture the land fills, or the trajectory if the camera looks at that:
    `fit`, or a share such as `80%`.
    lens: focal length over a 24 mm high gate.
    rise: camera and focal point up together, scene units; below 0 the subject stands higher in the picture.
    pan, tilt: the camera in its place is turned to the right, and up. roll: clockwise.
    aperture: a pinhole if omitted; blur is that of a model 200 mm wide, and takes sub-frames.
    focus: distance of sharp focus, scene units; the focal point if omitted.
    """

    azimuth: Angle = -60.0
    elevation: Angle = 35.0
    distance: Positive = 2.0
    frame: Filling | None = None
    lens: Lens = 30.0
    rise: float = 0.0
    pan: Angle = 0.0
    tilt: Angle = 0.0
    roll: Angle = 0.0
    aperture: Aperture | None = None
    focus: Positive | None = None

    @model_validator(mode="after")
    def _has_one_distance(self) -> Self:
        return _one_distance(self)

    def to_orbit(self) -> Orbit:
        """The camera as orbit coordinates; a frame counts once a film knows its distance (studio.film.framing)."""
        opening, pan = 1 / self.aperture if self.aperture else 0.0, (0.0, 0.0, self.rise)
        place = self.azimuth, self.elevation, self.distance, self.lens, pan
        return Orbit(*place, opening, self.focus, self.pan, self.tilt, self.roll)


R = TypeVar("R", bound="Start | PoseKey")


def _one_distance(record: R) -> R:
    if record.frame and "distance" in record.model_fields_set:
        raise ValueError("frame chooses the distance; leave one of them out")
    return record


class PoseKey(Record):
    """One pose of a move with `keys`: the fields it names change, the others stay.

    at: from the start of the move. azimuth, elevation, distance, frame, lens, rise, pan, tilt, roll, aperture, focus:
    as at the start of a shot. look_at: the camera turns to this target. ease: how the camera arrives at this pose; it
    flows through if omitted. stop: whether it rests at this pose.
    """

    at: CueTime
    azimuth: Angle | None = None
    elevation: Angle | None = None
    distance: Positive | None = None
    frame: Filling | None = None
    lens: Lens | None = None
    rise: float | None = None
    pan: Angle | None = None
    tilt: Angle | None = None
    roll: Angle | None = None
    aperture: Aperture | None = None
    focus: Positive | None = None
    look_at: LookAt | None = None
    ease: EaseField | None = None
    stop: bool = False

    @model_validator(mode="after")
    def _has_one_distance(self) -> Self:
        return _one_distance(self)

    def apply(self, before: Orbit) -> Orbit:
        """The orbit at this key: `before` with the fields that the key names."""
        named = self.model_dump(
            exclude={"at", "rise", "aperture", "ease", "stop", "frame", "look_at"}, exclude_none=True
        )
        changes = {{"pan": "yaw", "tilt": "pitch"}.get(name, name): value for name, value in named.items()}
        if self.aperture:
            changes["opening"] = 1 / self.aperture
        if self.rise is not None:
            changes["pan"] = (*before.pan[:2], self.rise)
        return replace(before, **changes)


class Arrival(NamedTuple):
    """What a move passes: when, how it gets there, whether it rests there, and what it looks at from then on."""

    at: Time
    orbit: Orbit
    ease: Ease | None
    stop: bool
    look_at: LookAt | None


class Move(Record):
    """One camera movement; its components may be combined. Without any component it is a hold.

    orbit: turn around the focal point; with dolly or crane the trade calls it an arc.
    dolly: scene units towards it (positive) or away. push_in, pull_out: a share of the distance towards it, or away.
    dolly_zoom: a dolly whose lens keeps the subject's size; it goes in-out if no ease is named.
    crane: scene units up, still looking at it. pedestal: scene units up, with the focal point; also written `rise`.
    truck: scene units to the right, with the focal point. pan, tilt: the camera turns in its place, right and up.
    roll: it turns clockwise. lens: change of focal length. rack_focus: to this distance of sharp focus, scene units.
    shake: the camera trembles by up to this angle, a few times a second. seed: of the shake.
    look_at: the camera turns to this target; a blend is `{minimiser: 1, highest: 2}`.
    follow: the subject goes on by this share of the camera's path; azimuths count from its heading, 180deg is behind.
    flythrough: the camera itself flies on by this share of the path, and looks ahead.
    reveal: the surface grows from `flat`, or from its profile along `alpha` or `beta` through the middle.
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
    look_at: LookAt | None = None
    follow: Percent = 0.0
    flythrough: Percent = 0.0
    reveal: Literal["flat", "alpha", "beta"] | None = None
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
        if sum(part.look_at is not None for part in self.together) > 1:
            raise ValueError("two moves together look at targets; one of them can")
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

    def arrivals(self, start: Orbit) -> Iterator[Arrival]:
        """What a move without `together` passes from `start`."""
        for key in self.keys:
            start = key.apply(start)
            yield Arrival(key.at, start, key.ease, key.stop, key.look_at)
        if not self.keys:
            ease = self.ease or (Ease("in-out") if self.dolly_zoom else None)
            yield Arrival(self.over or self.hold or Time(0), self._end(start), ease, self.stop, self.look_at)

    def changed(self, start: Orbit) -> set[int]:
        """Numbers of the coordinates that a move without `together` changes from `start`, beyond rounding."""
        passed, before = [arrival.orbit.coordinates for arrival in self.arrivals(start)], start.coordinates
        return {i for i, value in enumerate(before) if any(abs(there[i] - value) > 1e-9 for there in passed)}

    def end(self, start: Orbit) -> Orbit:
        """The orbit at the end of the move from `start`.

        Raises ValueError if a dolly would reach the focal point, the focal length would not stay above 0, or two moves
        change one coordinate together.
        """
        after, taken = start.coordinates, set[int]()
        for part in self.parts:
            *_, (_, end, *_) = part.arrivals(start)
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
        path = start.path + (self.follow + self.flythrough) / 100
        if not -1e-9 <= path <= 1 + 1e-9:
            raise ValueError(f"{100 * path:g}% of the path is beyond its end; it goes from 0% to 100%")
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
            path=path,
            reveal=1.0 if self.reveal else start.reveal,
        )


class Camera(Record):
    """A shot's choreography: a start and moves in order; after the last move the camera holds.

    look_at: a target, or a blend of some, such as `{minimiser: 1, highest: 2}`. `minimiser` is the marker, or the
    middle of the surface where there is none; `start`, `end` and `trajectory` the run's first and last network and the
    middle of its way; `lowest`, `highest` and `saddle` (between the two deepest basins) places of the land as it is at
    the shot's end; `land` is above the middle, at the mean height; `centre` in the middle of the height range, which is
    fixed; [alpha, beta] a place of the plane, and [x, y, z] a point in scene units.
    azimuth_from: the direction of azimuth 0deg: `alpha`, or the `open-side`, where the surface around the marker is
    lowest at the end of the film. From the open side the minimiser is visible whatever course a training took.
    path: of the moves `follow` and `flythrough`: the run's `trajectory`, or a curve through places [alpha, beta].
    altitude: of a flight, over the highest land near the path, scene units.
    script: a function of yours instead of moves: of the share of the shot, 0 to 1, to a mapping with keys of `start`.
    """

    look_at: LookAt = "minimiser"
    azimuth_from: Literal["alpha", "open-side"] = "alpha"
    start: Start = Start()
    moves: tuple[Move, ...] = ()
    path: Annotated[
        Annotated[Literal["trajectory"], Tag("path")]
        | Annotated[tuple[Place, ...], Field(min_length=2, max_length=1000), Tag("curve")],
        Discriminator(lambda value: "path" if isinstance(value, str) else "curve"),
    ] = "trajectory"
    altitude: Positive = 0.12
    script: Function | None = None

    @model_validator(mode="after")
    def _has_one_choreography(self) -> Self:
        if self.script and self.moves:
            raise ValueError("a script is the whole choreography; leave the moves or the script out")
        if all(any(getattr(part, name) for part in self._parts) for name in ("follow", "flythrough")):
            raise ValueError("a shot either follows or flies through; make two shots of it")
        if sum(part.reveal is not None for part in self._parts) > 1:
            raise ValueError("a second reveal; the land grows once in a shot")
        return self

    @property
    def _parts(self) -> list[Move]:
        return [part for move in self.moves for part in move.parts]

    @property
    def travels(self) -> Literal["follow", "flythrough"] | None:
        """How the camera uses its path, from the first frame of the shot to the last."""
        names: tuple[Literal["follow", "flythrough"], ...] = ("follow", "flythrough")
        return next((name for name in names if any(getattr(part, name) for part in self._parts)), None)

    @property
    def grows_from(self) -> Literal["flat", "alpha", "beta"] | None:
        """What the land grows from; None if it stands as it is."""
        return next((part.reveal for part in self._parts if part.reveal), None)

    @property
    def needs_trajectory(self) -> bool:
        """Whether the places of the run's checkpoints must be known."""
        looks = [self.look_at, *(part.look_at for part in self._parts)]
        looks += [key.look_at for part in self._parts for key in part.keys]
        named = {target for look_at in looks if look_at is not None for target in weights(look_at)}
        return (self.travels is not None and self.path == "trajectory") or not named.isdisjoint(OF_TRAJECTORY)

    @property
    def first_orbit(self) -> Orbit:
        """The orbit at the start, before the land has grown if it does."""
        return replace(self.start.to_orbit(), reveal=0.0 if self.grows_from else 1.0)

    def targets(self, seconds: float, fps: Fraction, length: float, *, loop: bool = False) -> Mapping[Target, float]:
        """What the camera looks at, with weights that sum to 1, at a time of a shot as in `at`."""
        return weights(self.look_at) if self.script else motion(self, fps, length, loop).targets_at(seconds)

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
        if "frame" in values:
            raise SceneError(f"{place}: frame: is of `start` alone; return a distance")
        try:
            return Start.model_validate({**dict(self.start), **values}).to_orbit()
        except ValidationError as error:
            [mistake, *_] = error.errors()
            raise SceneError(f"{place}: {mistake['loc'][0]}: {explain(mistake, Start)}") from error


SHORTEST = 1.0
"""Millimetres of a lens outside of a shot, where it might go on to none."""
CLOSED = 1e-6
"""Difference of a coordinate, or of its speed a second, up to which a loop closes."""


@dataclass(frozen=True)
class Motion:
    """A shot's camera in time. tracks: of `COORDINATES`. focused: when the focus leaves the focal point for good.

    shakes: each of them gives yaw, pitch and roll [3] at a time. targets: weights of what the camera looks at.
    """

    tracks: tuple[Track, ...]
    focused: float
    shakes: tuple[Callable[[float], Array], ...]
    targets: Mapping[Target, Track]

    def at(self, seconds: float) -> Orbit:
        """The orbit at a time since the shot began; outside of the shot the camera goes on."""
        values = [track.at(seconds) for track in self.tracks]
        if not 0 <= seconds <= self.tracks[0].knots[-1].time:
            values[LENS], values[REVEAL] = max(SHORTEST, values[LENS]), max(0.0, values[REVEAL])
        if seconds < self.focused:
            values[FOCUS] = 0.0
        for turns in self.shakes:
            values[TURN : TURN + 3] = (values[TURN : TURN + 3] + turns(seconds)).tolist()
        return Orbit.of(values)

    def targets_at(self, seconds: float) -> Mapping[Target, float]:
        """The targets at a time, with weights that sum to 1."""
        shares = {target: max(0.0, track.at(seconds)) for target, track in self.targets.items()}
        total = sum(shares.values())
        return {target: share / total for target, share in shares.items() if share}

    def gaps(self) -> Iterator[str]:
        """What does not close where the end leads into the start: coordinates, and those whose speeds differ."""
        if self.targets_at(0.0) != self.targets_at(self.tracks[0].knots[-1].time):
            yield "it looks at another target at its end"
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
    orbit, time, shakes = camera.first_orbit, 0.0, list[Callable[[float], Array]]()
    knots = [[Knot(0.0, value)] for value in orbit.coordinates]
    looks = [(Knot(0.0, 1.0), weights(camera.look_at))]
    for move in camera.moves:
        after, end = move.end(orbit), time + move.seconds(fps)
        for part in move.parts:
            own, since = part.changed(orbit) if move.together else range(len(knots)), time
            for at, passed, ease, stop, look_at in part.arrivals(orbit):
                for i in own:
                    knots[i].append(Knot(time + at.seconds(fps), passed.coordinates[i], ease, stop))
                if look_at is not None:
                    looks.append((Knot(since, 1.0), looks[-1][1]))  # until then it looks where it did
                    looks.append((Knot(time + at.seconds(fps), 1.0, ease, stop or move.stop), weights(look_at)))
                since = time + at.seconds(fps)
            if part.shake and (over := part.seconds(fps)):
                shakes.append(part.to_shake(time, over, last))
        for track, value in zip(knots, after.coordinates, strict=True):
            if track[-1].time < end:
                track.append(Knot(end, value))
            track[-1] = track[-1]._replace(rest=track[-1].rest or move.stop)
        orbit, time = after, end
    if looks[-1][0].time < last:
        looks.append((Knot(length, 1.0), looks[-1][1]))  # so that the turn to it comes to rest
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
    return Motion(tuple(tracks), focused, tuple(shakes), _target_tracks(looks))


def _target_tracks(looks: list[tuple[Knot, Mapping[Target, float]]]) -> Mapping[Target, Track]:
    """The weight of each target over time, from the instants at which the camera looks at a blend of some."""
    named = dict.fromkeys(target for _, blend in looks for target in blend)
    return {target: Track(tuple(k._replace(value=blend.get(target, 0.0)) for k, blend in looks)) for target in named}
