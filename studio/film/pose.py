"""Where a camera is: the Pose of one instant, and the Orbit, the coordinates in which it moves.

position = focal point + distance (cos elevation cos azimuth, cos elevation sin azimuth, sin elevation)
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from studio.config.records import OMIT_DEFAULT
from studio.field import Array

Point = tuple[float, float, float]
MM_PER_UNIT = 100.0
"""Millimetres in a scene unit for depth of field: the drawn square is 200 mm wide, a model on a table."""


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
        ahead = _unit(*(f - p for f, p in zip(self.focal_point, self.position, strict=True)))
        right = _unit(*_cross(ahead, self.view_up))
        return np.array([right, _cross(right, ahead), ahead])


def _unit(x: float, y: float, z: float) -> Point:
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


def _cross(a: Point, b: Point) -> Point:
    """The vector product; numpy's own takes ten times as long for a single one."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


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
    *("opening", "focus", "pan", "tilt", "roll", "path", "reveal"),
)
"""Names of what a camera is interpolated in, in the order of `Orbit.coordinates`."""
TURNS = ("azimuth", "pan", "roll")
"""Coordinates that are the same after 360 degrees."""
DISTANCE, LENS, FOCUS, TURN, REVEAL = map(COORDINATES.index, ("distance", "lens", "focus", "pan", "reveal"))


@dataclass(frozen=True)
class Orbit:
    """The camera relative to its focal point: azimuth and elevation in degrees, distance in scene units.

    lens: focal length, mm. pan: added to the focal point, and so to the camera. opening: one over the f-number, 0 for a
    pinhole. focus: distance of sharp focus, scene units; None for the focal point. yaw, pitch, roll: how far the camera
    in its place is turned away from the focal point, degrees to the right, up, and clockwise. path: share of a path
    that it has gone. reveal: share of the surface's height that has grown. The digests of drawn frames contain these
    names.
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
    path: float = field(default=0.0, metadata=OMIT_DEFAULT)
    reveal: float = field(default=1.0, metadata=OMIT_DEFAULT)

    @classmethod
    def of(cls, coordinates: Sequence[float]) -> Orbit:
        """The orbit with these coordinates, in the order of `COORDINATES`; an opening below 0 is a pinhole's."""
        azimuth, elevation, distance, lens, x, y, z, opening, focus, *others = coordinates
        return cls(azimuth, elevation, distance, lens, (x, y, z), max(0.0, opening), focus or None, *others)

    @property
    def coordinates(self) -> Sequence[float]:
        """All coordinates in the order of `COORDINATES`; a focus of 0 is at the focal point."""
        place = self.azimuth, self.elevation, self.distance, self.lens, *self.pan
        return *place, self.opening, self.focus or 0.0, self.yaw, self.pitch, self.roll, self.path, self.reveal

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
