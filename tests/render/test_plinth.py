import math

import numpy as np
import pytest

from studio.film.appearance import Lighting
from studio.film.light import Lamp, Light
from studio.film.look import Look
from studio.film.resolve import resolve_appearance
from studio.render import plinth

N = 101
FLAT = np.full((N, N), 0.3, np.float32)


def lighting(azimuth=0.0, elevation=45.0, **more) -> Lighting:
    """A key lamp at an azimuth in radians and an elevation in degrees."""
    key = Lamp(azimuth=math.degrees(azimuth), elevation=elevation)
    light = Light(**{"key": key, "rim": key, "shadow": 1.0, "occlusion": 0.0} | more)
    return resolve_appearance(Look(light=light), 0.0).lighting


def shaded(azimuth=0.0, depth=0.1, **more) -> tuple[np.ndarray, np.ndarray]:
    """Distances along the light's direction [n] of the ground outside the cast, and its light [n]."""
    places, _ = plinth.ground()
    light = plinth.ground_light(FLAT, 0.9, depth, lighting(azimuth, **more))
    along = -(places @ [math.cos(azimuth), math.sin(azimuth)])
    ahead = np.abs(places @ [-math.sin(azimuth), math.cos(azimuth)]) < 0.02
    return along[ahead & (np.hypot(*places.T) > 0.95)], light[ahead & (np.hypot(*places.T) > 0.95)]


def test_the_wall_goes_once_around_and_its_triangles_use_every_vertex_three_times():
    outward, triangles = plinth.wall()
    assert np.hypot(*outward.T) == pytest.approx(1.0) and outward.sum(axis=0) == pytest.approx([0, 0], abs=1e-3)
    assert (np.bincount(triangles.ravel(), minlength=2 * plinth.AROUND) == 3).all()


@pytest.mark.parametrize("azimuth", [0.0, math.pi / 2, math.pi])
def test_the_shadow_falls_away_from_the_lamp_as_far_as_the_cast_is_high(azimuth):
    along, lit = shaded(azimuth)
    # at 45 degrees it reaches 0.4 from the edge; its own edge is as soft as half the softness, and steps lie 12 % apart
    assert lit[(along > 0.95) & (along < 1.15)].max() < 0.35
    assert lit[along > 1.6].min() > 0.95 and lit[along < -1.0].min() > 0.99


def test_the_shadow_of_an_oblong_cast_begins_at_its_edge():
    places, _ = plinth.ground()
    light = plinth.ground_light(FLAT, 0.9, 0.1, lighting(math.pi / 2), (1.0, 0.5))  # the lamp is at +beta
    ahead = np.abs(places[:, 0]) < 0.02
    y, lit = places[ahead, 1], light[ahead]
    assert lit[(y < -0.55) & (y > -0.7)].max() < 0.35 and lit[y < -1.2].min() > 0.95


def test_without_a_shadow_or_an_occlusion_the_ground_is_in_full_light():
    assert shaded(shadow=0.0)[1] == pytest.approx(1.0)


def test_the_foot_is_darkest_by_occlusion_and_the_light_returns_with_the_distance():
    along, lit = shaded(shadow=0.0, occlusion=1.0)
    order = np.argsort(np.abs(along))
    assert lit[order][0] < 0.8 and lit[np.abs(along) > 1.4].min() > 0.99


def test_the_ground_ends_in_full_light_whatever_stands_on_it():
    places, _ = plinth.ground()
    light = plinth.ground_light(FLAT, 0.9, 0.4, lighting(elevation=8.0))
    edge = np.abs(places).max(axis=1) > 2.59
    assert light[edge] == pytest.approx(1.0) and light.min() < 0.2
