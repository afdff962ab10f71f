from dataclasses import replace

import numpy as np
import pytest

from studio.config.units import Size
from studio.film.colour import to_linear
from studio.film.frame import Frame, View
from studio.film.light import Grade, Lamp, Light, Material, Panel
from studio.film.lines import Contours, Engraving, Fade, Marker, Plinth, TrajectoryLine
from studio.film.look import Look
from studio.film.pose import Orbit, Pose, project
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading
from studio.render import plinth
from studio.render.stage import Stage

SIZE, MESH = Size(192, 108), 97
CODE = 2e-4
"""Two codes of sixteen bits of light of about 1, of MAX_LIGHT 4, which are 2 sqrt(4) / 65535, and the shader's own."""


def dark(**more) -> Light:
    """No light but the lamps in `more`."""
    off = Lamp(azimuth=0.0, elevation=60.0, intensity=0.0, glint=0.0)
    return Light(**{"key": off, "rim": off, "ambient": 0.0, "occlusion": 0.0, "shadow": 0.0} | more)


def lit(intensity: float) -> Light:
    return dark(key=Lamp(azimuth=0.0, elevation=90.0, intensity=intensity, glint=0.0))


def make_look(light: Light, **more) -> Look:
    plain = {"material": Material(metallic=0.0, roughness=1.0), "fade": Fade(start=0.8, end=0.98)}
    marker = Marker(radius=0.001, glow=0.0)
    return Look(light=light, mesh=MESH, marker=marker, grade=Grade(exposure=1.0), **plain | more)


def light(look: Look, orbit: Orbit, height: float = 0.0, focus=(0.3, 0.2, 0.0), size: Size = SIZE) -> np.ndarray:
    """Light of a flat white surface [H, W, 4]."""
    surface = np.full((MESH, MESH), height, np.float32)
    with Stage(size, MESH, 3) as stage:
        return stage.light(frame_of(look, surface, orbit.pose(focus), orbit.azimuth))


def frame_of(look: Look, height: np.ndarray, pose: Pose, azimuth: float = 0.0, trajectory=None) -> Frame:
    """A frame of a white surface in a look."""
    white = np.ones((MESH, MESH, 3), np.float32)
    view = View(height, white, pose, resolve_appearance(look, azimuth), trajectory=trajectory)
    return Frame(0, (view,), (), resolve_grading(look.grade), resolve_background(look.background))


def test_a_panel_is_reflected_where_the_line_of_sight_bounces_into_it_and_nowhere_else():
    panel = Panel(azimuth=170.0, elevation=45.0, width=14.0, height=6.0, colour="#ff8000", glint=0.8)
    look = make_look(dark(environment=(panel,)), material=Material(metallic=1.0, roughness=0.05))
    orbit = Orbit(40.0, 42.0, 1.2, 30.0)
    drawn = light(look, orbit)
    pose = orbit.pose((0.3, 0.2, 0.0))
    eye, focus, up = map(np.array, (pose.position, pose.focal_point, pose.view_up))
    ahead = (focus - eye) / np.linalg.norm(focus - eye)
    right = np.cross(ahead, up) / np.linalg.norm(np.cross(ahead, up))
    across, down = np.meshgrid(np.arange(SIZE.width) + 0.5, np.arange(SIZE.height) + 0.5)
    x, y = (across - SIZE.width / 2)[..., None], (SIZE.height / 2 - down)[..., None]
    sight = ahead + np.tan(np.radians(pose.view_angle / 2)) / (SIZE.height / 2) * (
        x * right + y * np.cross(right, ahead)
    )
    bounced = sight * [1, 1, -1]
    turn, rise = np.radians([40.0 + 170.0, 45.0])
    toward = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    level = np.array([-np.sin(turn), np.cos(turn), 0.0])
    away = bounced @ toward
    off = np.abs([bounced @ level / away, bounced @ np.cross(toward, level) / away])
    half = np.tan(np.radians([7.0, 3.0]))[:, None, None]
    covered = drawn[..., 3] > 0.999
    inside = drawn[(off < half - 0.03).all(axis=0) & covered][:, :3]
    assert len(inside) > 100 and np.abs(inside - 0.8 * to_linear("#ff8000")).max() < CODE
    outside = (off > half + 0.03).any(axis=0) & covered
    assert outside.sum() > 5000 and drawn[outside][:, :3].max() < 1e-6


def test_the_surface_is_dark_from_below_where_no_lamp_is():
    above, below = (light(make_look(lit(0.8)), Orbit(0.0, rise, 1.0, 30.0)) for rise in (60.0, -60.0))
    centre = np.index_exp[40:68, 60:130, :3]
    assert above[centre] == pytest.approx(0.8, abs=CODE) and below[centre] == pytest.approx(0.2 * 0.8, abs=CODE)


def test_a_ridge_that_is_cut_open_shows_no_underside_to_an_eye_above_the_surface():
    # the eye is 0.005 above the flank of a ridge and looks into it, so that the near plane takes off its skin
    axis = np.linspace(-1, 1, MESH, dtype=np.float32)
    x, _ = np.meshgrid(axis, axis)
    ridge = (0.5 * np.exp(-((x - 0.5) ** 2) / 0.01)).astype(np.float32)
    look = make_look(lit(0.8))
    pose = replace(Orbit(0.0, 0.0, 0.5, 30.0).pose((0.0, 0.0, 0.3)), position=(0.56, 0.0, 0.354))
    with Stage(SIZE, MESH, 3) as stage:
        drawn = stage.light(frame_of(look, ridge, pose))
    seen = drawn[..., 3] > 0.999
    assert seen.sum() > 500 and drawn[seen][:, 0].min() > 0.25  # an underside has a fifth of 0.8 at most


def test_a_lamp_at_the_marker_lights_the_walls_that_face_it_and_hardly_the_floor():
    axis = np.linspace(-1, 1, MESH, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    bowl = (0.6 * (x**2 + y**2)).astype(np.float32)
    marker = Marker(radius=0.01, glow=0.0, lamp=1.0, reach=0.5, halo="#ffffff")
    look = make_look(dark()).model_copy(update={"marker": marker})
    lights = []
    for height in (bowl, np.zeros_like(bowl), -bowl):
        pose = Orbit(0.0, 90.0, 2.4, 30.0).pose((0.0, 0.0, 0.0))
        with Stage(SIZE, MESH, 3) as stage:
            lights.append(float(stage.light(frame_of(look, height, pose))[24:30, 96, 0].mean()))
    assert lights[0] > 2 * lights[1] > 0 and lights[2] == pytest.approx(0.0, abs=1e-6)


def test_the_surface_is_dimmed_close_to_the_marker_and_its_limb_has_another_colour():
    marker = Marker(radius=0.06, light=1.0, colour="#ffffff", glow=0.0)
    plain = make_look(lit(0.5)).model_copy(update={"marker": marker})
    parted = plain.model_copy(update={"marker": marker.model_copy(update={"dimming": 0.8, "limb": "#ff0000"})})
    first, second = (light(look, Orbit(0.0, 90.0, 1.2, 30.0), focus=(0.0, 0.0, 0.0)) for look in (plain, parted))
    middle = SIZE.height // 2, SIZE.width // 2
    assert second[middle][:3] == pytest.approx(1.0, abs=2 * CODE)
    ball = (first[..., 1] > 0.9) & (second[..., 1] < 0.3)
    assert ball.any() and (second[ball][:, 0] > 0.9).all()  # red at its edge
    surface = (first[..., 1] > 0.4) & (first[..., 1] < 0.6)
    assert (second / first)[surface][:, 1].min() < 0.6 and second[2, 90] == pytest.approx(first[2, 90], abs=1e-3)


@pytest.mark.parametrize("distance", [0.5, 1.0, 1.7, 2.6])
def test_strokes_keep_their_tone_at_any_distance_and_never_crowd(distance):
    strokes = Engraving(every=0.01, angle=90.0, ink="#000000", paper="#ffffff")
    look = make_look(lit(0.3), engraving=strokes, fade=Fade(start=0.95, end=0.98))
    drawn = light(look, Orbit(0.0, 90.0, distance, 30.0), focus=(0.0, 0.0, 0.0), size=Size(384, 216))
    inside = drawn[60:-60, 110:-110, 0]
    # the paper that is left between the strokes: 1 - (0.92 - tone), with a root of 2.2 of the light as tone
    assert inside.mean() == pytest.approx(0.08 + 0.3 ** (1 / 2.2), abs=0.03)  # a stroke more or less at the edges
    ink = inside[:, 40] < 0.5
    strokes = np.count_nonzero(ink[1:] & ~ink[:-1])
    # 3 pixels is the finest; drawn a little wider apart while every second stroke thins out
    assert 2 < strokes <= len(ink) / 3


def test_strokes_taper_off_before_the_surface_ends():
    look = make_look(lit(0.1), engraving=Engraving(ink="#000000", paper="#ffffff"), fade=Fade(start=0.7, end=0.9))
    orbit = Orbit(0.0, 90.0, 3.0, 30.0)
    drawn = light(look, orbit, focus=(0.0, 0.0, 0.0))
    x, y = np.meshgrid(np.arange(SIZE.width) + 0.5 - 96, np.arange(SIZE.height) + 0.5 - 54)
    radius = np.hypot(x, y) / 54 * 3.0 * np.tan(np.radians(orbit.pose((0.0, 0.0, 0.0)).view_angle / 2))
    assert drawn[radius < 0.45][:, 0].min() < 0.5
    ring = (radius > 0.73) & (radius < 0.87)
    assert drawn[ring][:, 0] == pytest.approx(drawn[ring][:, 3], abs=CODE)  # white paper, as far as it covers


def test_lines_of_height_run_round_the_wall_of_a_cast_down_to_the_lowest_height():
    plain = make_look(lit(0.5), plinth=Plinth(depth=0.3), fade=Fade(start=0.7, end=0.8))
    ruled = plain.model_copy(update={"contours": Contours(every=0.1, width=1.5, opacity=1.0, colour="#000000")})
    orbit, focus = Orbit(0.0, 8.0, 2.6, 30.0), (0.0, 0.0, 0.05)
    first, second = (light(look, orbit, 0.36, focus) for look in (plain, ruled))
    middle = np.index_exp[:, SIZE.width // 2, 0]
    changed = np.flatnonzero(second[middle] < 0.7 * first[middle])
    levels = np.array([[0.8, 0.0, z] for z in (0.3, 0.2, 0.1, 0.0)])
    rows = project(levels, orbit.pose(focus), 16 / 9)[:, 1] * SIZE.height - 0.5
    assert all(np.abs(changed - row).min() < 1 for row in rows)
    assert all(np.abs(rows - row).min() < 2.5 for row in changed)  # a line is two or three pixels wide


def test_the_ground_is_darkest_at_the_foot_of_a_cast_with_no_light_leaking_from_its_top():
    look = make_look(lit(1.0).model_copy(update={"occlusion": 1.0, "shadow": 1.0}))
    surface, lighting = np.full((MESH, MESH), 0.3, np.float32), resolve_appearance(look, 0.0).lighting
    places, _ = plinth.ground()
    shade = plinth.ground_light(surface, 0.9, 0.1, lighting)
    radius = np.hypot(*places.T)
    at = [shade[(radius > r) & (radius < r + 0.04)].mean() for r in np.arange(0.92, 1.3, 0.04)]
    assert (np.diff(at) > -1e-3).all() and at[-1] > at[0] + 0.1


def test_a_trajectory_shines_on_the_surface_where_the_weights_went_and_only_in_its_view():
    look = make_look(dark(), trajectory=TrajectoryLine(width=0.06, light=1.5, colour="#ff0000"))
    pose, surface = Orbit(30.0, 60.0, 2.0, 30.0).pose((0.0, 0.0, 0.0)), np.zeros((MESH, MESH), np.float32)
    trajectory = np.stack([np.linspace(-0.5, 0.0, 30), np.linspace(0.3, 0.0, 30)], axis=1)
    with Stage(SIZE, MESH, 3) as stage:
        drawn, without = (
            stage.light(frame_of(look, surface, pose, 30.0, places))[..., 0] for places in (trajectory, None)
        )
    at = project(np.column_stack([trajectory[:-3], np.full(27, 0.03)]), pose, 16 / 9) * SIZE.height
    across, down = at.astype(int).T
    assert drawn[down, across] == pytest.approx(1.5, abs=2 * CODE)  # codes lie wider apart where it is lighter
    lit_places = np.stack(np.nonzero(drawn > 0.7), axis=1)[:, ::-1] + 0.5
    apart = np.hypot(*(lit_places[:, None] - at).T).min(axis=0)
    # the line is 4 pixels wide, and goes on beyond the last of these places for as many, to the marker
    assert apart.max() < 7 and without.max() < 0.7
