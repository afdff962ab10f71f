"""What a camera makes of the land, in numbers: how large a measured cell is drawn, and how high the camera stands.

A cell of the measured grid is the smallest thing that a picture knows; drawn larger than `SOFT` it looks soft, however
fine the mesh. Sizes are pixels of a picture 1080 lines high, and of cells laid flat at the middle of the height range:
so they tell of grid, camera and lens alone, and are the same for every training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from studio.field import DETAIL, Field, Grid, Instant, Surfaces
from studio.film.camera import Pose
from studio.film.frame import COARSE, FrameSource, View
from studio.film.labels import clearance, on_land, seen
from studio.film.surface import inner, parts, reach

LINES = 1080
SOFT = 12.0, 20.0
"""Pixels of a cell, median and 95th percentile over a frame, beyond which it looks soft."""
BLUR = 3.0
"""Pixels of blur up to which a cell counts as in focus."""
NEAR = 0.12
"""Around the camera, scene units: no land there may be higher than it."""


class Sight(NamedTuple):
    """What one frame shows. median, most: pixels of a cell, median and 95th percentile; NaN where none is seen.

    above: how far the camera is above the highest land near it, scene units. rim: the share of the land's edge, amid
    its fade, that is in the picture. minimiser: whether nothing stands before it.
    """

    median: float
    most: float
    above: float
    rim: float
    minimiser: bool

    @property
    def size(self) -> float:
        """Of the cells, as a share of what looks sharp."""
        return max(self.median / SOFT[0], self.most / SOFT[1])


@dataclass(frozen=True)
class Survey:
    """The frames of one shot that were looked at, by their numbers in the film."""

    shot: str
    frames: dict[int, Sight]

    def warnings(self) -> Iterator[str]:
        """What a viewer would notice, and the cure."""
        soft = max(self.frames.values(), key=lambda sight: np.nan_to_num(sight.size))
        if soft.size > 1:
            yield (
                f"shot {self.shot} is soft: a measured cell is {soft.median:.0f} pixels of 1080 lines (median; "
                f"{soft.most:.0f} at the 95th percentile), and looks sharp up to {SOFT[0]:.0f} ({SOFT[1]:.0f}); give "
                f"grid, or a detail around the centre, {soft.size:.1f} times the points, or stay farther away"
            )
        low = min(self.frames, key=lambda number: self.frames[number].above)
        if self.frames[low].above <= 0:
            yield (
                f"shot {self.shot}: at frame {low} the camera is {-self.frames[low].above:.2f} below land that is "
                "beside it; raise its elevation, or stay farther away"
            )


def survey(reel: FrameSource, count: int = 9) -> list[Survey]:
    """So many frames of each shot, evenly from its first to its last, on the surfaces of a reel."""
    coarse = reel.with_mesh(min(COARSE, reel.look.mesh))
    found = []
    for shot, start in zip(reel.cut.shots, reel.cut.starts, strict=True):
        inside = sorted({round(n) for n in np.linspace(0, shot.duration.frames(reel.cut.fps) - 1, count)})
        found.append(Survey(shot.shot, {start + n: _sight(coarse, *coarse.alone(shot, n)) for n in inside}))
    return found


def _sight(reel: FrameSource, instant: Instant, view: View) -> Sight:
    aspect = reel.size.width / reel.size.height
    sizes = cell_pixels(instant, view, aspect)
    median, most = np.percentile(sizes, [50, 95]) if sizes.size else (np.nan, np.nan)
    turn = np.linspace(0, 2 * np.pi, 181)[:-1]
    middle_of_fade = (view.look.fade.start + view.look.fade.end) / 2
    rim = middle_of_fade * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    land = np.nan_to_num(view.height)
    edge = seen(np.column_stack([rim, on_land(land, *rim.T)]), view.pose, aspect)
    middle = np.array([0.0, 0.0, land[len(land) // 2, len(land) // 2] + view.look.marker.radius])
    return Sight(
        float(median),
        float(most),
        above(land, view.pose),
        float(np.mean(_on_screen(edge, aspect))),
        clearance(land, middle, view.pose) > 0,
    )


def cell_pixels(instant: Instant, view: View, aspect: float) -> np.ndarray:
    """The longer edge of each measured cell on screen, inside the fade and in focus, pixels of 1080 lines, flat.

    instant: whose grids the view's height stands on. aspect: the picture's width over its height.
    """
    name = parts(view.look.height.field)[0]
    coarse, fine = instant.grids[name], instant.grids.get(name + DETAIL)
    share = reach(fine, coarse) if fine and instant.detail > 0.5 else 0.0
    axis = coarse.axis / coarse.range[1]
    sizes, counts = _edges(axis, view, aspect)
    if not share:
        return sizes[counts]
    finer = share * fine.axis / fine.range[1]
    smaller, counted = _edges(finer, view, aspect)
    inside = inner(_between(finer) / share) > 0.5
    return np.concatenate([sizes[counts & (inner(_between(axis) / share) <= 0.5)], smaller[counted & inside]])


def _edges(axis: np.ndarray, view: View, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """The longer edges of the cells [n, n] between nodes at `axis` along both sides, and which of them are seen."""
    x, y = np.meshgrid(axis, axis)
    corners = np.stack([x, y, np.full_like(x, view.look.height.exaggeration / 2)], axis=-1)
    screen = LINES * seen(corners.reshape(-1, 3), view.pose, aspect).reshape(*corners.shape[:2], 2)
    along, across = (np.linalg.norm(np.diff(screen, axis=axis), axis=-1) for axis in (1, 0))
    longer = np.maximum(np.maximum(along[:-1], along[1:]), np.maximum(across[:, :-1], across[:, 1:]))
    middle = _middles(corners)
    drawn = np.hypot(middle[..., 0], middle[..., 1]) <= view.look.fade.end
    return longer, drawn & _on_screen(_middles(screen) / LINES, aspect) & _in_focus(middle, view.pose)


def _between(axis: np.ndarray) -> np.ndarray:
    return (axis[:-1] + axis[1:]) / 2


def _middles(corners: np.ndarray) -> np.ndarray:
    """The middles of cells, from the values [n, n, k] at their corners."""
    return (corners[:-1, :-1] + corners[:-1, 1:] + corners[1:, :-1] + corners[1:, 1:]) / 4


def _on_screen(places: np.ndarray, aspect: float) -> np.ndarray:
    """Whether places [..., 2], in shares of the picture's height from the top left, are in the picture."""
    x, y = places[..., 0], places[..., 1]
    return (x >= 0) & (x <= aspect) & (y >= 0) & (y <= 1)


def _in_focus(points: np.ndarray, pose: Pose) -> np.ndarray:
    """Whether points [..., 3] before the camera are blurred by the lens by no more than `BLUR`."""
    away = (points - np.array(pose.position)) @ pose.axes[2]
    blur = 2 * pose.lens * np.abs(away - pose.focus) / np.maximum(away, 1e-6) / pose.focus
    return (away > 0) & (blur * LINES / 2 / np.tan(np.radians(pose.view_angle / 2)) <= BLUR)


def above(land: np.ndarray, pose: Pose) -> float:
    """How far the camera is above the highest land [N, N] within `NEAR` of it, scene units; inf where there is none."""
    x, y, z = pose.position
    axis = np.linspace(-1, 1, len(land))
    near = np.add.outer((axis - y) ** 2, (axis - x) ** 2) <= NEAR**2
    return float(z - land[near].max()) if near.any() else np.inf


def pulse(reel: FrameSource, per_key: int = 12, window: int = 24) -> float:
    """How unevenly the land moves: 1 is an even flow; a sheet that rests at every key has much more.

    The root mean square over the measured points of the change of drawn height from frame to frame, the largest over
    the smallest in each window of frames, median over windows, at so many frames from key to key.
    """
    name, look = parts(reel.look.height.field)[0], reel.look.height
    keys = reel.surfaces.fields[name].coordinates
    along = np.interp(np.arange(per_key * (len(keys) - 1) + 1) / per_key, range(len(keys)), keys)
    before, speeds = None, []
    for coordinate in along:
        now = look.of(np.minimum(reel.surfaces.at(coordinate).values[name], reel.ranges.cap))
        if before is not None:
            speeds.append(np.sqrt(np.nanmean((now - before) ** 2)))
        before = now
    windows = np.lib.stride_tricks.sliding_window_view(speeds, window)
    return float(np.median(windows.max(axis=1) / windows.min(axis=1)))


def assumed(names: Iterable[str], grids: Mapping[str, tuple[Grid, Sequence[float]]]) -> Surfaces:
    """Surfaces for a film of which nothing is measured yet: a crater in a plain, at all keys the same.

    names: of the fields. grids: by the ending of a field's name, "" or `DETAIL`, with their keys. The crater is what
    many trained networks show: loss 0.4 in the middle, rising to 3.5 at 0.45 of the way to the edge.
    """
    fields = {}
    for ending, (grid, keys) in grids.items():
        axis = grid.axis / grids[""][0].range[1]
        away = np.clip(np.hypot(*np.meshgrid(axis, axis)) / 0.45, 0, 1)
        land = np.broadcast_to(0.4 + 3.1 * away * away * (3 - 2 * away), (len(keys), *away.shape))
        fields |= {name + ending: Field(tuple(keys), grid, land) for name in names}
    return Surfaces(fields)
