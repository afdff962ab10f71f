from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from studio.config.reading import parse
from studio.errors import SceneError
from studio.field import Field, Grid, Surfaces, Trajectory
from studio.film.camera import Camera
from studio.film.format import Format
from studio.film.frame_source import FrameSource
from studio.film.overlays import Titles
from studio.film.pose import project
from studio.film.survey import camera_course
from studio.film.timeline import Shot

GRID = Grid(range=(-2, 2), points=61)
A, B = np.meshgrid(GRID.alpha, GRID.beta)
WELLS = 1.5 + 0.2 * (A**2 + B**2) - np.exp(-((A - 1) ** 2 + B**2) / 0.2) - 0.7 * np.exp(-((A + 1) ** 2 + B**2) / 0.2)
WAY = np.array([(-1.6, -0.8), (-0.5, -0.9), (0.3, -0.4), (0.9, 0.1)])


def film(look, camera: str, seconds: float = 3.0, more: str = "") -> FrameSource:
    text = f"shot: a\nduration: {seconds:g}s\nalong: {{0s: 0}}\ncamera: {camera}\n{more}"
    places = np.broadcast_to(WAY, (4, 4, 2))
    surfaces = Surfaces(
        {"loss": Field((0.0,), GRID, WELLS[None], "log")}, trajectory=Trajectory((0.0, 1.0, 2.0, 3.0), places, 1.0)
    )
    own, notes = look(mesh=121), {"": {"loss": "", "convexity": ""}}
    return FrameSource.of((parse(text, Shot, name="s"),), {"": surfaces}, own, Titles(), Format(), notes)


def focal_point(source: FrameSource, number: int) -> np.ndarray:
    return np.array(source.frame(number).views[0].pose.focal_point)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("minimiser", (0, 0)),
        ("start", (-0.8, -0.4)),
        ("end", (0.45, 0.05)),
        ("lowest", (0.5, 0)),
        ("saddle", (0, 0)),
        ("[1.0, 0.5]", (0.5, 0.25)),
        ("trajectory", (-0.175, -0.2)),
        ("{start: 1, end: 3}", (0.1375, -0.0625)),
        ("centre", (0, 0)),
        ("land", (0, 0)),
        ("[0.1, 0.2, 0.3]", (0.1, 0.2)),
    ],
)
def test_a_target_is_where_its_name_says(look, target, place):
    found = focal_point(film(look, f"{{look_at: {target}}}"), 0)
    assert found[:2] == pytest.approx(place, abs=0.04)


def test_a_target_stands_on_the_land(look):
    source = film(look, "{look_at: lowest}")
    view = source.frame(0).views[0]
    assert focal_point(source, 0)[2] == pytest.approx(np.nanmin(view.height), abs=0.02)


def test_the_camera_turns_from_target_to_target_in_the_time_of_its_moves_and_without_a_step(look):
    moves = "[{look_at: lowest, over: 1s}, {hold: 1s}, {keys: [{at: 0.5s}, {at: 1s, look_at: start}]}]"
    source = film(look, f"{{look_at: highest, moves: {moves}}}")
    points = np.array([focal_point(source, n) for n in range(72)])
    highest, lowest = (focal_point(film(look, f"{{look_at: {name}}}"), 0) for name in ("highest", "lowest"))
    assert points[0] == pytest.approx(highest) and points[24:60] == pytest.approx(np.tile(lowest, (36, 1)))
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert np.abs(np.diff(steps)).max() < 0.3 * steps.max()
    assert points[71, 0] < -0.6


@pytest.mark.parametrize(("frame", "filled"), [("fit", 0.9), ("80%", 0.8), ("50%", 0.5)])
def test_a_frame_fills_its_share_of_the_picture_whatever_the_land(look, frame, filled):
    view = film(look, f"{{look_at: land, start: {{frame: {frame}}}}}").frame(0).views[0]
    axis = np.linspace(-1, 1, len(view.height))
    x, y = np.meshgrid(axis, axis)
    drawn = np.hypot(x, y) <= 0.88  # in the middle of the fade
    across, down = project(np.column_stack([x[drawn], y[drawn], view.height[drawn]]), view.pose, 16 / 9).T
    shares = np.abs(across / (16 / 9) * 2 - 1).max(), np.abs(2 * down - 1).max()
    assert max(shares) == pytest.approx(filled, abs=0.02)


def test_a_key_with_a_frame_leads_to_that_distance(look):
    source = film(look, "{look_at: land, moves: [{keys: [{at: 3s, frame: 60%}]}]}")
    begun = film(look, "{look_at: land, start: {frame: 60%}}")
    assert source.cut.shots[0].camera.moves[0].keys[0].distance == pytest.approx(
        begun.cut.shots[0].camera.start.distance
    )


def test_a_script_keeps_the_distance_of_its_frame(look, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "turns_of_mine.py").write_text("def turn(u):\n    return {'roll': 5 * u}\n")
    still, scripted = (
        film(look, f"{{look_at: land, start: {{frame: fit}}{script}}}")
        for script in ("", ", script: turns_of_mine:turn")
    )
    begun, turned = (source.camera_orbit(source.shares(36)[0]) for source in (still, scripted))
    assert turned == replace(begun, roll=pytest.approx(2.5)) and begun.distance != 2.0


@pytest.mark.parametrize("move", ["flythrough", "follow"])
@pytest.mark.parametrize("path", ["trajectory", "[[-1, -1], [0, 0.5], [1, 0.2]]"])
def test_a_camera_on_a_path_goes_from_its_start_to_its_end_over_the_land(look, move, path):
    camera = f"{{path: {path}, start: {{azimuth: 180deg, distance: 0.5}}, moves: [{{{move}: 100%, over: 3s}}]}}"
    source = film(look, camera)
    course = camera_course(source, source.cut.shots[0])
    assert all(step.height > 0 for step in course.values())
    places = WAY if path == "trajectory" else np.array([(-1, -1), (1, 0.2)])
    pose = course[0].pose
    start = pose.position if move == "flythrough" else pose.focal_point
    assert start[:2] == pytest.approx(places[0] / 2, abs=0.06)
    turns = np.array([step.turn for step in course.values()])
    assert np.abs(np.diff(turns)).max() < 12  # degrees a second from frame to frame: no jerk


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ("{moves: [{flythrough: 60%, over: 1s}, {flythrough: 60%, over: 1s}]}", "120% of the path is beyond its end"),
        ("{moves: [{flythrough: 60%, over: 1s}, {follow: 60%, over: 1s}]}", "a shot either follows or flies through"),
        ("{moves: [{reveal: flat, over: 1s}, {reveal: alpha, over: 1s}]}", "a second reveal; the land grows once"),
        ("{start: {frame: fit, distance: 2}}", "frame chooses the distance; leave one of them out"),
        ("{start: {frame: fitt}}", "'fitt' is not understood; write it like 90%"),
        ("{look_at: lowst}", "lowst"),
        ("{moves: [{together: [{look_at: end, over: 1s}, {look_at: start, over: 1s}]}]}", "two moves together look at"),
        ("{path: [[0, 0]], moves: [{follow: 10%, over: 1s}]}", "at least 2"),
    ],
)
def test_what_a_camera_cannot_do_is_said(look, camera, message):
    with pytest.raises(SceneError, match=message):
        film(look, camera)


def test_a_land_without_a_saddle_is_said_with_the_shot(look, surfaces, bowl):
    shot = parse("shot: a\nduration: 1s\nalong: {0s: 0}\ncamera: {look_at: saddle}", Shot, name="s")
    source = FrameSource.of(
        (shot,), {"": surfaces(bowl())}, look(), Titles(), Format(), {"": {"loss": "", "convexity": ""}}
    )
    with pytest.raises(ValueError, match=r"shot a: camera.look_at: the land has a single basin"):
        source.frame(0)


def test_an_inset_is_a_second_camera_on_the_same_instant_in_its_corner(look):
    source = film(look, "{}", more="inset: {camera: {look_at: centre, start: {elevation: 80deg}}, size: 30%}")
    main, inset = source.frame(0).views
    assert inset.height is main.height and inset.panel.region == main.hole == inset.region
    assert inset.region == pytest.approx((0.67, 0.03, 0.97, 0.33))
    assert inset.pose != main.pose and source.camera(0)[2] == main.pose


def test_paths_and_targets_need_only_the_camera_that_names_them():
    assert not Camera().needs_trajectory
    for text in ("{look_at: end}", "{moves: [{follow: 10%, over: 1s}]}", "{moves: [{look_at: start, over: 1s}]}"):
        assert parse(f"camera: {text}\nshot: a\nduration: 1s\nalong: {{0s: 0}}", Shot, name="s").camera.needs_trajectory
    curve = "{path: [[0, 0], [1, 1]], moves: [{follow: 10%, over: 1s}]}"
    shot = parse(f"camera: {curve}\nshot: a\nduration: 1s\nalong: {{0s: 0}}", Shot, name="s")
    assert not shot.camera.needs_trajectory
    assert replace(shot.orbit(1.0, Fraction(24)), path=0.0) == shot.orbit(0.0, Fraction(24))
