"""Layers for compositors: what lies under the centre of every pixel, worked out from how far away it is.

    place = eye + depth (ahead + x right + y up)

x and y are where the pixel's centre is in a window at distance 1 from the eye. No light is in them, and no edge is
smoothed: halfway between two things there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from studio.config.units import Size
from studio.film.camera import Pose
from studio.film.frame import Frame, View, Window
from studio.film.surface import fill_holes as filled
from studio.render.plinth import rim
from studio.render.stage import Stage

SURFACE, MARKER, WALL, GROUND = 1, 2, 3, 4
"""What the mask says of a pixel; 0 is nothing."""
FAR = 1e10
"""The depth of nothing: far away, and still a number that a compositor can blur."""
_KINDS = {"position": (3, np.float32), "normal": (3, np.float16), "mask": (1, np.float16)}
_HAIR = 1e-3  # scene units by which a place may be off


def render_aovs(
    stage: Stage, frame: Frame, names: Sequence[str], fields: Mapping[str, np.ndarray], size: Size
) -> dict[str, np.ndarray]:
    """The layers of a frame's first view, by name [H, W, 1 or 3]; drawn in tiles where larger than the stage.

    depth: along the camera's axis, FAR where nothing is. position, normal: in the scene's axes and units. mask: which
    thing it is. Any other name is one of `fields` [N, N], over the surface; NaN where it is not known. 0 elsewhere.
    Channels lie one after the other in memory, in float32, or in half floats where that is fine enough.
    """
    view, made = frame.views[0], {}
    for name in names:
        channels, dtype = _KINDS.get(name, (1, np.float32))
        whole = np.full((channels, size.height, size.width), FAR if name == "depth" else 0, dtype)
        made[name] = np.moveaxis(whole, 0, -1)
    for window, rows, columns in _tiles(stage.size, size):
        depth = stage.depth(frame, window)[: size.height - rows.start, : size.width - columns.start]
        seen = np.isfinite(depth)
        places = _places(depth, view.pose, window)[seen]
        mask = _things(places, view)
        for name in names:
            values = depth[seen] if name == "depth" else _values(name, places, mask, view, fields)
            made[name][rows, columns][seen] = values.reshape(len(places), -1)
    return made


def _values(
    name: str, places: np.ndarray, mask: np.ndarray, view: View, fields: Mapping[str, np.ndarray]
) -> np.ndarray:
    """One layer at places [n] or [n, 3]."""
    if name == "position":
        return places
    if name == "normal":
        return _normals(places, mask, view)
    if name == "mask":
        return mask
    return np.where(mask == SURFACE, rim(fields[name], places[:, :2]), 0)


def _tiles(tile: Size, size: Size) -> Iterator[tuple[Window, slice, slice]]:
    """Windows that cover a picture, each with its rows and columns."""
    for top in range(0, size.height, tile.height):
        for left in range(0, size.width, tile.width):
            rows, columns = slice(top, top + tile.height), slice(left, left + tile.width)
            yield Window(left, top, size), rows, columns


def _places(depth: np.ndarray, pose: Pose, window: Window) -> np.ndarray:
    """Where in the scene lies what is so far away [h, w, 3]."""
    eye, focus, up = (np.array(part) for part in (pose.position, pose.focal_point, pose.view_up))
    ahead = (focus - eye) / np.linalg.norm(focus - eye)
    right = np.cross(ahead, up)
    pixel = 2 * np.tan(np.radians(pose.view_angle) / 2) / window.whole.height
    x = pixel * (window.left + np.arange(depth.shape[1]) + 0.5 - window.whole.width / 2)
    y = pixel * (window.whole.height / 2 - window.top - np.arange(depth.shape[0]) - 0.5)
    return eye + depth[..., None] * (ahead + x[None, :, None] * right + y[:, None, None] * up)


def _things(places: np.ndarray, view: View) -> np.ndarray:
    """Which thing is at each place [n]."""
    found = np.full(len(places), SURFACE)
    if view.look.plinth:
        from_sheet = np.abs(places[:, 2] - rim(_whole(view), places[:, :2]))
        from_wall = np.abs(np.hypot(places[:, 0], places[:, 1]) - view.look.fade.end)
        found[from_wall < from_sheet] = WALL
        found[places[:, 2] < _HAIR - view.look.plinth.depth] = GROUND
    found[np.linalg.norm(places - _marker(view), axis=1) < view.look.marker.radius + _HAIR] = MARKER
    return found


def _normals(places: np.ndarray, mask: np.ndarray, view: View) -> np.ndarray:
    """Of length 1 [n, 3], away from the thing."""
    height = _whole(view)
    slopes = np.gradient(height, 2 / (len(height) - 1))
    found = np.stack([-rim(slopes[1], places[:, :2]), -rim(slopes[0], places[:, :2]), np.ones(len(places))], axis=1)
    found[mask == MARKER] = places[mask == MARKER] - _marker(view)
    found[mask == WALL] = places[mask == WALL] * (1, 1, 0)
    found[mask == GROUND] = 0, 0, 1
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _marker(view: View) -> np.ndarray:
    """The middle of the marker [3]; NaN where there is none, for the minimiser lies in a hole."""
    half = len(view.height) // 2
    return np.array([0, 0, view.height[half, half] + 0.9 * view.look.marker.radius])


def _whole(view: View) -> np.ndarray:
    known = np.isfinite(view.height)
    return filled(view.height, known) if known.any() else np.zeros_like(view.height)
