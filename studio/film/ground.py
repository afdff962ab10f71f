"""The ground under a camera: where its targets and its path are on a drawn surface, and what fits into its picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from studio.field import Array, Instant
from studio.film import surface
from studio.film.camera import Camera
from studio.film.framing import land_points
from studio.film.look import Look
from studio.film.path import Path
from studio.film.pose import Orbit, Point
from studio.film.surface import window_radius
from studio.film.targets import Landmark, Place, Target


@dataclass(frozen=True)
class Ground:
    """A surface [N, N] as it is drawn at an instant. landmark: places of the land at the shot's end, by name."""

    height: Array
    instant: Instant
    look: Look
    landmark: Callable[[Landmark], Place]

    def aim(self, camera: Camera, orbit: Orbit, targets: Mapping[Target, float]) -> tuple[Orbit, Point]:
        """The orbit of a camera as it stands on this ground, and its focal point."""
        if camera.travels == "follow":
            return self._path(camera).follow(orbit, self.height)
        if camera.travels == "flythrough":
            return self._path(camera).fly(orbit, self.height, camera.altitude)
        if len(targets) == 1:
            return orbit, self.point(next(iter(targets)))
        x, y, z = np.average(list(map(self.point, targets)), axis=0, weights=list(targets.values())).tolist()
        return orbit, (x, y, z)

    def point(self, target: Target) -> Point:
        """A target in scene units."""
        if isinstance(target, tuple):
            return target if len(target) == 3 else self._on_land(self._within(np.array(target)))
        match target:
            case "lowest" | "highest" | "saddle":
                return self._on_land(self.landmark(target))
            case "minimiser":
                return self._on_land(surface.drawn_marker(self.instant, self.look) or (0.0, 0.0))
            case "start" | "end":
                return self._on_land(self._within(self._whole_way[0 if target == "start" else -1]))
            case "trajectory":
                places = np.array([self._within(place) for place in self._whole_way])
                x, y = (places.min(axis=0) + places.max(axis=0)) / 2
                return self._on_land((float(x), float(y)))
        known = target == "land" and np.isfinite(self.height).any()
        return 0.0, 0.0, float(np.nanmean(self.height)) if known else self.look.height.exaggeration / 2

    def subject(self, targets: Mapping[Target, float]) -> Array:
        """Points [n, 3] that a picture shows: the trajectory if the camera looks at that, or else the land."""
        if set(targets) == {"trajectory"}:
            return np.array([self._on_land(self._within(place)) for place in self._whole_way])
        fade = self.look.fade
        return land_points(self.height, self.instant.window.scene_sides, (fade.start + fade.end) / 2)  # as it is seen

    @property
    def _whole_way(self) -> Array:
        if self.instant.whole_way is None or not np.isfinite(self.instant.whole_way).all():
            raise ValueError("the camera needs the run's trajectory, and this sweep marks no networks")
        return self.instant.whole_way

    def _path(self, camera: Camera) -> Path:
        if camera.path == "trajectory":
            way = self.instant.window.to_scene(self._whole_way)
            inside = window_radius(way, self.instant.window.scene_sides) <= self.look.fade.end
            first = int(np.flatnonzero(~inside)[-1]) + 1 if not inside.all() else 0
            return Path.through(way[first:], is_curve=False)
        return Path.through(self.instant.window.to_scene(np.array(camera.path)), is_curve=True)

    def _within(self, place: Array) -> Place:
        """A place (alpha, beta) in scene units, drawn in to the edge of the land if it lies beyond."""
        scene = self.instant.window.to_scene(place)
        radius = float(window_radius(scene, self.instant.window.scene_sides))
        x, y = scene / max(1.0, radius / self.look.fade.end)
        return float(x), float(y)

    def _on_land(self, place: Place) -> Point:
        z = surface.marker_height(self.height, place)
        return *place, z if np.isfinite(z) else self.look.height.exaggeration / 2
