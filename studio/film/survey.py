"""What a film's cameras see, in numbers: the size of a measured cell on screen, the camera's height and its turning.

A cell of the measured grid is the smallest detail in a picture; drawn larger than `SOFT` it looks soft, however fine
the mesh. Sizes are pixels of a picture 1080 lines high, of cells laid flat at the middle of the height range: they
depend on grid, camera and lens alone, and are the same for every training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from studio.field import Array, Field, Grid, Instant, Layer, Surfaces, Trajectory
from studio.film.fields import SCALES, measured_fields
from studio.film.frame_source import COARSE_MESH, FrameSource
from studio.film.look import Look
from studio.film.pose import Pose, project
from studio.film.surface import height_at, seam_weight, window_radius
from studio.film.timeline import MOST_TIMES, Shot, ShotShare

LINES = 1080
SOFT = 12.0, 20.0  # pixels of a cell, median and 95th percentile over a frame, beyond which it looks soft
BLUR = 3.0  # pixels of blur up to which a cell counts as in focus
MOST_FRAMES = 60  # of all shots together, about a second of work
MOST_POSES = 2000  # of all shots together, while nothing is measured
MOST_CELLS = 75  # along a side of a grid whose cells are looked at one by one
MOST_ASSUMED = 51  # points along a side of an assumed surface, which is smooth
FASTEST = 60.0  # degrees a second: a 35 mm lens then sees all it saw replaced within a second, as eyes cannot follow
STEEPEST = 90.001  # degrees from level beyond which the camera is upside down
NEAR = 0.12  # radius around the camera, scene units, in which the surface must stay below the camera


class FrameSurvey(NamedTuple):
    """The cells of one frame: the size of one in pixels, median and 95th percentile; NaN if none is visible."""

    cell_median: float
    cell_p95: float

    @property
    def softness(self) -> float:
        """Size of the cells as a multiple of the largest that looks sharp."""
        return max(self.cell_median / SOFT[0], self.cell_p95 / SOFT[1])


class Worst(NamedTuple):
    """The frame of a shot at which something is worst, by its number in the film, and how bad it is there."""

    frame: int
    value: float


@dataclass(frozen=True)
class ShotSurvey:
    """What the camera of one shot sees. frames: cells of some frames, by their numbers in the film.

    Worst over its frames: lowest, height over the highest land near the camera, scene units; turn, degrees a second;
    steepest, how far it looks down or up from level, degrees.
    """

    shot: str
    fps: Fraction
    frames: dict[int, FrameSurvey]
    lowest: Worst
    turn: Worst
    steepest: Worst

    def warnings(self) -> Iterator[str]:
        """A sentence for each fault that a viewer would notice: the shot, the second and the remedy."""
        number, soft = max(self.frames.items(), key=lambda item: np.nan_to_num(item[1].softness))
        if soft.softness > 1:
            cell = f"{soft.cell_median:.0f} pixels of 1080 lines (median; {soft.cell_p95:.0f} at the 95th percentile)"
            yield (
                f"shot {self.shot} is soft, most {self._at(number)}: a measured cell is {cell}, and looks sharp up to "
                f"{SOFT[0]:.0f} ({SOFT[1]:.0f}); give grid, or a detail around the centre, {soft.softness:.1f} times "
                "the points, or stay farther away"
            )
        if self.lowest.value <= 0:
            yield (
                f"shot {self.shot}: {self._at(self.lowest.frame)} the camera is {-self.lowest.value:.2f} below the "
                "surface beside it; raise its elevation or its altitude, or stay farther away"
            )
        if self.turn.value > FASTEST:
            yield (
                f"shot {self.shot} turns by up to {self.turn.value:.0f} degrees a second {self._at(self.turn.frame)}; "
                f"eyes follow up to {FASTEST:.0f}, so give the move {self.turn.value / FASTEST:.1f} times the time, or "
                "a gentler ease"
            )
        if self.steepest.value > STEEPEST:
            yield (
                f"shot {self.shot}: {self._at(self.steepest.frame)} the camera is upside down, beyond the point above "
                "its subject; keep its elevation within 90 degrees"
            )

    def _at(self, number: int) -> str:
        return f"at {float(number / self.fps):.2f} s"


def survey(source: FrameSource, count: int = 9, *, assumed: bool = False) -> list[ShotSurvey]:
    """Surveys of all shots: the cells of `count` frames, of many shots at least two, and the camera of every frame.

    assumed: that the surfaces are; then the camera is looked at in these frames, shots whose camera is a function of
    the user's are left out, and the subject stands while it turns.
    """
    count, surveys = min(count, max(2, MOST_FRAMES // len(source.cut.shots))), []
    source = coarse(source)
    for shot, start in zip(source.cut.shots, source.cut.starts, strict=True):
        if not (shot.camera.script and assumed):
            surveys.append(_shot_survey(source, shot, start, count, assumed))
    return surveys


def _shot_survey(source: FrameSource, shot: Shot, start: int, count: int, assumed: bool) -> ShotSurvey:
    fps = source.cut.fps
    length, aspect = shot.duration.frames(fps), source.size.width / source.size.height
    some = sorted({round(n) for n in np.linspace(0, length - 1, count)})
    course, frames = camera_course(source, shot, some if assumed else None), {}
    for n in some:
        step = course.get(n)
        share, pose = (step.share, step.pose) if step else source.standpoint(shot, n)[::2]
        sizes = cell_pixels(source.instant(share), pose, source.look, aspect * share.panel.aspect, MOST_CELLS)
        median, p95 = np.percentile(sizes, [50, 95]) if sizes.size else (np.nan, np.nan)
        frames[start + n] = FrameSurvey(float(median), float(p95))
    lowest = min(course, key=lambda n: course[n].height)
    steepest = max(course, key=lambda n: course[n].slope)
    turns = (
        _turns(_poses(shot, fps, len(source.cut.shots)), fps)
        if assumed
        else {n: step.turn for n, step in course.items()}
    )
    turn = max(turns, key=lambda n: turns[n])
    return ShotSurvey(
        shot.shot,
        fps,
        frames,
        Worst(start + lowest, course[lowest].height),
        Worst(start + turn, turns[turn]),
        Worst(start + steepest, course[steepest].slope),
    )


def coarse(source: FrameSource) -> FrameSource:
    """The same film on a mesh that shows where its cameras stand."""
    return source.with_mesh(min(COARSE_MESH, source.look.mesh))


class CameraStep(NamedTuple):
    """A camera at one frame. height: over the highest land near it, scene units; inf beside the land.

    turn: to the next frame, degrees a second. slope: how far it looks down or up from level, degrees.
    """

    share: ShotShare
    pose: Pose
    height: float
    turn: float
    slope: float


def camera_course(source: FrameSource, shot: Shot, numbers: Sequence[int] | None = None) -> dict[int, CameraStep]:
    """The camera at frames of a shot, by default at all, of a long one at `MOST_TIMES`; by their numbers in it."""
    fps, length = source.cut.fps, shot.duration.frames(source.cut.fps)
    numbers = numbers or range(0, length, max(1, length // MOST_TIMES))
    shares, poses, heights, slopes, highest = {}, {}, {}, {}, source.look.height.exaggeration + NEAR
    for n in numbers:
        shares[n], height, poses[n] = source.standpoint(shot, n)
        heights[n] = camera_height(height, poses[n]) if poses[n].position[2] < highest else np.inf
        orbit = source.camera_orbit(shares[n])
        slopes[n] = max(abs(orbit.elevation), abs(orbit.elevation - orbit.pitch))
    turns = _turns(poses, fps)
    return {n: CameraStep(shares[n], pose, heights[n], turns[n], slopes[n]) for n, pose in poses.items()}


def _poses(shot: Shot, fps: Fraction, shots: int) -> dict[int, Pose]:
    """The poses of a shot's camera while its subject stands, by frame; of many shots at fewer times."""
    times = shot.some_times(fps)[:-1]
    times = times[:: max(1, len(times) * shots // MOST_POSES)]
    numbers = {round(time * float(fps)) + step for time in times for step in (0, 1)} or {0}
    rate = float(fps)  # a fraction takes longer than a pose
    return {n: shot.orbit(n / rate, fps).pose((0.0, 0.0, 0.0)) for n in sorted(numbers)}


def _turns(poses: Mapping[int, Pose], fps: Fraction) -> dict[int, float]:
    """The angle by which a camera turns from each frame to the next, degrees a second; the last as the one before."""
    turns, axes = dict[int, float](), {n: pose.axes for n, pose in poses.items()}
    for (n, before), (m, after) in pairwise(axes.items()):
        chord = float(np.linalg.norm(after - before))  # sqrt(8) sin(angle / 2)
        turns[n] = float(2 * np.degrees(np.arcsin(min(1.0, chord / 8**0.5))) * fps) / (m - n)
    return turns | {max(poses): turns[max(turns)] if turns else 0.0}


def cell_pixels(instant: Instant, pose: Pose, look: Look, aspect: float, most: int = 2**30) -> Array:
    """The longer edge of each measured cell on screen, inside the fade and in focus, pixels of 1080 lines, flat.

    instant: its layers are those of the look's height. aspect: the picture's width over its height. most: cells along
    a side; of a finer grid, blocks of cells stand for their parts.
    """
    window, found = instant.window, np.empty(0)
    layers = [layer for layer in instant.layers[measured_fields(look.height.field)[0]] if layer.weight > 0.5]
    for number, layer in enumerate(layers):
        grid = layer.grid.measured if isinstance(layer.grid, _Coarse) else layer.grid
        block = -(-max(grid.counts) // most)
        alpha, beta = grid.alpha[::block], grid.beta[::block]
        scene = window.to_scene(np.stack(np.meshgrid(alpha, beta), axis=-1))
        sizes, shown = _edges(scene, window.scene_sides, pose, look, aspect)
        middles = (alpha[:-1] + alpha[1:]) / 2, (beta[:-1] + beta[1:]) / 2
        if number:
            shown &= _is_covered(layer, *middles)
        for finer in layers[number + 1 :]:
            shown &= ~_is_covered(finer, *middles)
        found = np.concatenate([found, sizes[shown] / block])
    return found


def _is_covered(layer: Layer, alpha: Array, beta: Array) -> Array:
    """Whether a finer layer is seen, rather than those below it, at places [B, A] of the plane."""
    (middle, centre), (wide, high) = layer.grid.centre, layer.grid.half_sides
    return seam_weight((beta - centre) / high, (alpha - middle) / wide, layer.seam) > 0.5


def _edges(places: Array, sides: tuple[float, float], pose: Pose, look: Look, aspect: float) -> tuple[Array, Array]:
    """The longer edges of the cells [B - 1, A - 1] between nodes at `places` [B, A, 2], and which cells are visible."""
    corners = np.concatenate([places, np.full((*places.shape[:2], 1), look.height.exaggeration / 2)], axis=-1)
    screen = LINES * project(corners.reshape(-1, 3), pose, aspect).reshape(*corners.shape[:2], 2)
    along, across = (np.linalg.norm(np.diff(screen, axis=axis), axis=-1) for axis in (1, 0))
    longer = np.maximum(np.maximum(along[:-1], along[1:]), np.maximum(across[:, :-1], across[:, 1:]))
    middle = _cell_centres(corners)
    drawn = window_radius(middle, sides) <= look.fade.end
    x, y = np.moveaxis(_cell_centres(screen) / LINES, -1, 0)
    on_screen = (x >= 0) & (x <= aspect) & (y >= 0) & (y <= 1)
    return longer, drawn & on_screen & _in_focus(middle, pose)


def _cell_centres(corners: Array) -> Array:
    """Means over the four corners of each cell, from values [n, n, k] at the nodes."""
    return np.asarray((corners[:-1, :-1] + corners[:-1, 1:] + corners[1:, :-1] + corners[1:, 1:]) / 4)


def _in_focus(points: Array, pose: Pose) -> Array:
    """Whether points [..., 3] before the camera are blurred by the lens by no more than `BLUR`."""
    away = (points - np.array(pose.position)) @ pose.axes[2]
    blur = 2 * pose.lens_radius * np.abs(away - pose.focus) / np.maximum(away, 1e-6) / pose.focus
    return np.asarray((away > 0) & (blur * LINES / 2 / np.tan(np.radians(pose.view_angle / 2)) <= BLUR))


def camera_height(height: Array, pose: Pose, radius: float = NEAR) -> float:
    """Height of the camera over the highest point of a surface [N, N] within `radius` of it; inf beside the surface."""
    x, y, z = pose.position
    axis, turns = np.linspace(-1, 1, len(height)), np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rows, columns = (np.flatnonzero(np.abs(axis - at) <= radius) for at in (y, x))
    near = np.add.outer((axis[rows] - y) ** 2, (axis[columns] - x) ** 2) <= radius**2
    inside = height[np.ix_(rows, columns)][near]  # between vertices it is not higher; only on the rim, and below
    rim = np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1)
    others = np.concatenate([rim, [(x, y)]])
    others = height_at(np.nan_to_num(height), others[np.abs(others).max(axis=1) <= 1])
    return float(z - np.nan_to_num(np.concatenate([inside, others])).max(initial=-np.inf))


def assumed_surfaces(names: Iterable[str], grids: Mapping[str, Mapping[float, Grid]]) -> Surfaces:
    """Surfaces for a film before anything is measured: a crater in a plain, the same at all keyframes.

    names: of the fields. grids: of the keyframes, by the ending of a field's name, "" or `DETAIL`. The crater is
    typical of trained networks: loss 0.4 in the middle, rising to 3.5 at 0.45 of the distance to the edge of the widest
    grid.
    """
    widest = _coarse(max(grids[""].values(), key=lambda grid: grid.half_sides))
    fields: dict[str, Field] = {}
    for ending, by_keyframe in grids.items():
        keyframes, each = tuple(by_keyframe), tuple(map(_coarse, by_keyframe.values()))
        values = tuple(_crater(grid, widest) for grid in each)
        fields |= {name + ending: Field(keyframes, each, values, SCALES.get(name, "linear")) for name in names}
    return Surfaces(fields)


def assumed_trajectory(grids: Mapping[float, Grid]) -> Trajectory:
    """A run that comes straight from the side of the keyframes' grids to their middle."""
    starts = [np.array(grid.centre) + 0.6 * np.array(grid.half_sides) for grid in grids.values()]
    shares = np.linspace(1, 0, len(grids))[:, None]
    places = [grid.centre + shares * (start - grid.centre) for start, grid in zip(starts, grids.values(), strict=True)]
    return Trajectory(tuple(grids), np.stack(places), 1.0)


class _Coarse(Grid):
    """A grid of few points in place of the one to be measured."""

    measured: Grid


def _coarse(grid: Grid) -> Grid:
    points = min(MOST_ASSUMED, grid.counts[0]), min(MOST_ASSUMED, grid.counts[1])
    return grid if points == grid.counts else _Coarse(range=grid.range, points=points, measured=grid)


@lru_cache(maxsize=256)  # a zoom has some a hundred grids
def _crater(grid: Grid, widest: Grid) -> Array:
    """The loss of a crater [B, A] in the middle of the widest grid."""
    places = np.stack(np.meshgrid(grid.alpha, grid.beta), axis=-1) - widest.centre
    radius = np.clip(window_radius(places, widest.half_sides) / 0.45, 0, 1)
    return np.asarray(0.4 + 3.1 * radius * radius * (3 - 2 * radius))
