"""AOVs for compositors: what lies under the centre of every pixel, computed from the depth there.

    place = eye + depth (ahead + x right + y up)

(x, y) is the pixel's centre in a window at distance 1 from the eye. AOVs hold no light, and their edges are not
smoothed: there is no value halfway between two things. An AOV's values are computed in `_values`, and its type is in
`_FORMATS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from studio.config.units import Size
from studio.field import Array
from studio.film.frame import Frame, View, Window
from studio.film.pose import Pose
from studio.film.surface import height_at, window_radius
from studio.render.mesh import fill_all_holes
from studio.render.projection import marker_centre
from studio.render.stage import Stage

SURFACE, MARKER, WALL, GROUND = 1, 2, 3, 4  # values of the mask; 0 is nothing
FAR = 1e10  # the depth of nothing: far away, and still a number that a compositor can blur
_FORMATS: dict[str, tuple[int, type]] = {
    "position": (3, np.float32),
    "normal": (3, np.float16),
    "mask": (1, np.float16),
}
"""Channels and type of an AOV; any other has one channel of float32."""
_TOLERANCE = 1e-3  # of a place, scene units


def render_aovs(
    stage: Stage, frame: Frame, names: Sequence[str], fields: Mapping[str, Array], size: Size
) -> dict[str, Array]:
    """The AOVs of a frame's first view, by name [H, W, 1 or 3]; drawn in tiles where larger than the stage.

    depth: along the camera's axis, FAR where there is nothing. position, normal: in the scene's axes and units. mask:
    which thing it is. Any other name is one of `fields` [N, N], on the surface; NaN where it is unknown. 0 elsewhere.
    Each channel is contiguous in memory, in float32, or in half floats where that is precise enough.
    """
    view = frame.views[0]
    aovs: dict[str, Array] = {}
    for name in names:
        channels, dtype = _FORMATS.get(name, (1, np.float32))
        planes: Array = np.full((channels, size.height, size.width), FAR if name == "depth" else 0, dtype)
        aovs[name] = np.moveaxis(planes, 0, -1)
    corners = product(range(0, size.height, stage.size.height), range(0, size.width, stage.size.width))
    for top, left in corners:
        window = Window(left, top, size)
        depth = stage.depth(frame, window)[: size.height - top, : size.width - left]
        hit = np.isfinite(depth)
        places = _places(depth, view.pose, window)[hit]
        mask = _mask(places, view)
        for name, aov in aovs.items():
            values = depth[hit] if name == "depth" else _values(name, places, mask, view, fields)
            tile = aov[top : top + stage.size.height, left : left + stage.size.width]
            tile[hit] = values.reshape(len(places), aov.shape[-1])
    return aovs


def _values(name: str, places: Array, mask: Array, view: View, fields: Mapping[str, Array]) -> Array:
    """One AOV at places [n, 3]: [n] or [n, 3]."""
    if name == "position":
        return places
    if name == "normal":
        return _normals(places, mask, view)
    if name == "mask":
        return mask
    return np.where(mask == SURFACE, height_at(fields[name], places[:, :2]), 0)


def _places(depth: Array, pose: Pose, window: Window) -> Array:
    """Places in the scene [h, w, 3] from their depth."""
    eye, focus, up = (np.array(part) for part in (pose.position, pose.focal_point, pose.view_up))
    ahead = (focus - eye) / np.linalg.norm(focus - eye)
    right = np.cross(ahead, up)
    pixel = 2 * np.tan(np.radians(pose.view_angle) / 2) / window.picture_size.height
    x = pixel * (window.left + np.arange(depth.shape[1]) + 0.5 - window.picture_size.width / 2)
    y = pixel * (window.picture_size.height / 2 - window.top - np.arange(depth.shape[0]) - 0.5)
    return np.asarray(eye + depth[..., None] * (ahead + x[None, :, None] * right + y[:, None, None] * up))


def _mask(places: Array, view: View) -> Array:
    """Which thing is at each place [n]."""
    appearance = view.appearance
    mask = np.full(len(places), SURFACE)
    if appearance.plinth:
        from_surface = np.abs(places[:, 2] - height_at(fill_all_holes(view.height), places[:, :2]))
        from_wall = np.abs(window_radius(places, view.sides) - appearance.fade_end) * min(view.sides)
        mask[from_wall < from_surface] = WALL
        mask[places[:, 2] < _TOLERANCE - appearance.plinth.depth] = GROUND
    mask[np.linalg.norm(places - marker_centre(view), axis=1) < appearance.marker.radius + _TOLERANCE] = MARKER
    return mask


def _normals(places: Array, mask: Array, view: View) -> Array:
    """Unit normals [n, 3], away from the thing."""
    height = fill_all_holes(view.height)
    along_y, along_x = np.gradient(height, 2 / (len(height) - 1))
    slope_x, slope_y = (height_at(slope, places[:, :2]) for slope in (along_x, along_y))
    normals = np.stack([-slope_x, -slope_y, np.ones(len(places))], axis=1)
    normals[mask == MARKER] = places[mask == MARKER] - marker_centre(view)
    normals[mask == WALL] = places[mask == WALL] * (*np.power(view.sides, -2.0), 0)
    normals[mask == GROUND] = 0, 0, 1
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))
