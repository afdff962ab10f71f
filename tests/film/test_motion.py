import itertools
import math
import pickle
import sys
from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError

from studio.config.reading import parse
from studio.config.records import digest
from studio.config.units import Time
from studio.errors import SceneError
from studio.film.camera import Camera, Move, PoseKey, Start
from studio.film.easing import EASES, Ease
from studio.film.motion import Knot, Track
from studio.film.pose import COORDINATES, Orbit
from studio.film.shake import shake
from studio.film.timeline import Cut, Shot
from studio.scene.scene import Scene

FPS = Fraction(24)
SEEDS = range(12)
FAMILIES = ("bezier(0.4, 0, 0.2, 1)", "bezier(0.3, -0.5, 0.7, 1.5)", "steps(5)")
ALL_EASES = (*sorted(EASES), *FAMILIES)
STEP = 1e-4  # seconds of a finite difference
PARTS = {
    "orbit": 40.0,
    "dolly": 0.4,
    "push_in": 30.0,
    "pull_out": 20.0,
    "dolly_zoom": 0.5,
    "crane": 0.3,
    "rise": 0.2,
    "truck": 0.3,
    "pan": 12.0,
    "tilt": -8.0,
    "roll": 5.0,
    "lens": 8.0,
    "rack_focus": 1.3,
    "shake": 0.5,
}


def seconds(amount: float) -> Time:
    return Time(float(amount))


def shot(camera: Camera, duration: float, **more) -> Shot:
    return Shot(shot="a", duration=seconds(duration), along=more.pop("along", {Time(0.0): 0.0}), camera=camera, **more)


def random_track(seed: int, *, eases: tuple[str | None, ...] = (None,)) -> Track:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.2, 3, 9))
    values = rng.uniform(0.5, 5, 9) if seed % 2 else np.cumsum(rng.uniform(0.1, 3, 9))
    names = [rng.choice(np.array(eases, object)) for _ in times]
    knots = (Knot(float(t), float(v), name and Ease(name)) for t, v, name in zip(times, values, names, strict=True))
    return Track(tuple(knots))


def speed(at, time: float, side: int) -> float:
    """The one-sided speed before (-1) or after (1) a time, by a difference of second order."""
    h = side * STEP
    return (4 * at(time + h) - 3 * at(time + side * 1e-12) - at(time + 2 * h)) / (2 * h)


def acceleration(at, time: float, side: int) -> float:
    h = side * 1e-3
    return (at(time + 3 * h) - 2 * at(time + 2 * h) + at(time + h)) / h**2


def inner(track: Track) -> list[Knot]:
    return list(track.knots[1:-1])


# --- one coordinate --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_coordinate_passes_every_knot_at_its_time(seed):
    track = random_track(seed, eases=(None, "in-out", "linear", "out-back"))
    assert [track.at(knot.time) for knot in track.knots] == pytest.approx(
        [knot.value for knot in track.knots], abs=1e-15
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_coordinate_that_flows_has_one_speed_on_both_sides_of_every_knot(seed):
    track = random_track(seed)
    for knot in inner(track):
        # third derivatives of up to some hundreds times STEP squared
        assert speed(track.at, knot.time, -1) == pytest.approx(speed(track.at, knot.time, 1), abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_coordinate_that_flows_stays_between_its_two_knots(seed):
    track = random_track(seed)
    for before, after in itertools.pairwise(track.knots):
        values = [track.at(t) for t in np.linspace(before.time, after.time, 200)]
        way = np.diff(values) * np.sign(after.value - before.value)
        assert way.min() >= -1e-12  # rounding


def test_without_the_limit_and_without_a_turn_the_acceleration_has_no_step():
    track = Track(tuple(Knot(float(t), v) for t, v in enumerate((0.0, 1.0, 2.2, 3.6, 4.8, 5.7))))
    for knot in inner(track):
        assert acceleration(track.at, knot.time, -1) == pytest.approx(acceleration(track.at, knot.time, 1), abs=0.02)
    ends = track.knots[0].time, track.knots[-1].time - 1e-9
    assert [acceleration(track.at, end, side) for end, side in zip(ends, (1, -1), strict=True)] == pytest.approx(
        [0, 0], abs=0.01
    )  # natural ends; the difference is taken 2 ms inside


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slope_that_the_limit_does_not_touch_keeps_its_acceleration(seed):
    track = random_track(2 * seed)
    for i, knot in enumerate(inner(track), 1):
        means = [(b.value - a.value) / (b.time - a.time) for a, b in itertools.pairwise(track.knots[i - 1 : i + 2])]
        slope = speed(track.at, knot.time, 1)
        if 1e-3 < slope < 3 * min(means) - 1e-3:
            jump = acceleration(track.at, knot.time, 1) - acceleration(track.at, knot.time, -1)
            assert abs(jump) < 0.3 + 0.01 * max(means) / min(
                b.time - a.time for a, b in itertools.pairwise(track.knots)
            )


def test_a_coordinate_rests_where_it_turns_and_where_a_knot_says_so_and_nowhere_else():
    turn = Track((Knot(0.0, 0.0), Knot(1.0, 1.0), Knot(3.0, -1.0)))
    assert speed(turn.at, 1.0, 1) == pytest.approx(0, abs=1e-5)
    knots = Knot(0.0, 0.0), Knot(1.0, 1.0), Knot(2.0, 2.0)
    assert speed(Track(knots).at, 1.0, 1) == pytest.approx(1.0) == speed(Track(knots).at, 0.0, 1)
    rest = Track((knots[0], knots[1]._replace(rest=True), knots[2]))
    assert [speed(rest.at, 1.0, side) for side in (-1, 1)] == pytest.approx([0, 0], abs=1e-5)


@pytest.mark.parametrize("ease", ALL_EASES)
def test_a_flow_meets_the_speed_of_an_ease_beside_it(ease):
    # the flows are five times as fast on average, so the limit, three times that, is beyond every ease's end speed
    track = Track((Knot(0.0, 0.0), Knot(1.0, 5.0), Knot(2.0, 6.0, Ease(ease)), Knot(3.0, 11.0)))
    start, end = (Ease(ease).speed(u) for u in (0, 1))
    assert speed(track.at, 1.0, -1) == pytest.approx(max(0.0, start), abs=1e-4)
    assert speed(track.at, 2.0, 1) == pytest.approx(max(0.0, end), abs=1e-4)
    if "back" in ease or "bezier(0.3" in ease or "step" in ease or "circ" in ease:
        return  # leaves [0, 1], jumps or is upright
    assert speed(track.at, 1.0, 1) == pytest.approx(start, abs=1e-3) and speed(track.at, 2.0, -1) == pytest.approx(
        end, abs=1e-3
    )


def test_an_ease_that_is_too_fast_for_the_flow_after_it_does_not_make_it_overshoot():
    track = Track((Knot(0.0, 0.0), Knot(1.0, 9.0, Ease("in-cubic")), Knot(2.0, 10.0)))
    assert max(track.at(t) for t in np.linspace(1, 2, 200)) <= 10.0 + 1e-12
    assert speed(track.at, 1.0, 1) == pytest.approx(3.0, abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loop_leads_into_itself_in_place_and_in_speed(seed):
    knots = random_track(seed).knots
    values = (*(knot.value for knot in knots[:-1]), knots[0].value)
    closed = Track(tuple(k._replace(value=v) for k, v in zip(knots, values, strict=True)), seed % 3 == 0, loop=True)
    assert closed.at(knots[0].time) == pytest.approx(closed.at(knots[-1].time))
    start, end = speed(closed.at, knots[0].time, 1), speed(closed.at, knots[-1].time - 1e-9, -1)
    assert start == pytest.approx(end, abs=1e-3) and closed.end_speeds[0] == closed.end_speeds[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_track_goes_on_at_the_speed_of_its_ends(seed):
    track = random_track(seed, eases=(None, "linear", "in-out"))
    for geometric in (False, True):
        own = Track(track.knots, geometric)
        for knot, end, sign in ((own.knots[0], own.end_speeds[0], -1), (own.knots[-1], own.end_speeds[1], 1)):
            value = (lambda t, own=own: math.log(own.at(t))) if geometric else own.at
            outside = [value(knot.time + sign * t) for t in (0.0, 1.0, 2.0)]
            assert np.diff(outside) == pytest.approx([sign * end] * 2)


def test_a_loop_goes_round_outside_of_its_knots():
    knots = (Knot(0.0, 10.0), Knot(1.0, 200.0), Knot(3.0, 370.0))
    track = Track(knots, loop=True)
    for t in (0.2, 1.0, 2.9):
        assert track.at(t - 3) + 360 == pytest.approx(track.at(t)) == pytest.approx(track.at(t + 6) - 720)


# --- a shot's camera -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ease", [None, *ALL_EASES])
@pytest.mark.parametrize("part", PARTS)
def test_every_move_starts_where_it_is_and_arrives_at_its_end_with_every_ease(part, ease):
    start, move = Start(aperture="f/8", focus=2.0), Move(**{part: PARTS[part]}, over=seconds(2), ease=ease)
    film = shot(Camera(start=start, moves=(Move(hold=seconds(1)), move)), 5)
    assert film.orbit(1.0, FPS).coordinates == pytest.approx(start.to_orbit().coordinates)
    end = move.end(start.to_orbit())
    assert film.orbit(3.0, FPS) == film.orbit(4.5, FPS) == end
    assert (part == "shake") == (end == start.to_orbit())
    between = [film.orbit(float(t), FPS) for t in np.linspace(1, 3, 49)]
    assert all(orbit.distance > 0 and orbit.lens > 0 and orbit.opening >= 0 for orbit in between)


@pytest.mark.parametrize("part", sorted({*PARTS} - {"dolly_zoom"}))
def test_between_two_moves_of_one_kind_the_camera_does_not_stop(part):
    change = PARTS[part] / 2 if part != "rack_focus" else 0
    moves = (Move(**{part: change or 1.6}, over=seconds(2)), Move(**{part: change or 1.2}, over=seconds(1)))
    film = shot(Camera(start=Start(focus=2.0), moves=moves), 3)
    for index, name in enumerate(COORDINATES):
        before, after = (speed(lambda t, i=index: film.orbit(t, FPS).coordinates[i], 2.0, side) for side in (-1, 1))
        assert before == pytest.approx(after, abs=2e-2 if part == "shake" else 1e-3), name
    path = np.array([film.orbit(2.0 + h, FPS).coordinates for h in (-0.01, 0.01)])
    assert part == "shake" or np.abs(path[1] - path[0]).max() > 1e-4


def test_a_lone_move_without_an_ease_is_even_and_one_before_a_stand_still_comes_to_rest():
    even = shot(Camera(moves=(Move(orbit=80.0, over=seconds(4)),)), 4)
    assert [even.orbit(t, FPS).azimuth for t in (0.0, 1.0, 3.0, 4.0)] == pytest.approx([-60, -40, 0, 20])
    rests = shot(Camera(moves=(Move(orbit=80.0, over=seconds(4)),)), 5)
    azimuth = lambda t: rests.orbit(t, FPS).azimuth  # noqa: E731
    assert speed(azimuth, 4.0, -1) == pytest.approx(0, abs=1e-4) and speed(azimuth, 0.0, 1) == pytest.approx(30)
    stop = shot(Camera(moves=(Move(orbit=80.0, over=seconds(4), stop=True), Move(orbit=9.0, over=seconds(1)))), 5)
    assert speed(lambda t: stop.orbit(t, FPS).azimuth, 4.0, 1) == pytest.approx(0, abs=1e-4)


def test_a_hold_stands_still_and_its_neighbours_meet_it_at_rest():
    moves = Move(dolly=0.5, over=seconds(1)), Move(hold=seconds(1)), Move(dolly=0.5, over=seconds(1))
    film = shot(Camera(moves=moves), 3)
    assert {film.orbit(t, FPS).distance for t in (1.0, 1.3, 1.9)} == {math.exp(math.log(1.5))}
    assert speed(lambda t: film.orbit(t, FPS).distance, 1.0, -1) == pytest.approx(0, abs=1e-5)
    assert speed(lambda t: film.orbit(t, FPS).distance, 2.0, 1) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_poses_are_met_at_their_times_without_a_stop_and_the_distance_stays_between_them(seed):
    rng = np.random.default_rng(seed)
    times, distances = np.cumsum(rng.uniform(0.5, 2, 6)), rng.uniform(1, 4, 6)
    keys = tuple(
        PoseKey(at=seconds(t), distance=d, azimuth=30.0 * i)
        for i, (t, d) in enumerate(zip(times, distances, strict=True))
    )
    film = shot(Camera(start=Start(distance=2.0), moves=(Move(keys=keys),)), float(times[-1]))
    assert [film.orbit(t, FPS).distance for t in times] == pytest.approx(distances)
    for (t0, t1), (a, b) in zip(itertools.pairwise([0, *times]), itertools.pairwise([2, *distances]), strict=True):
        passed = [film.orbit(t, FPS).distance for t in np.linspace(t0, t1, 60)]
        assert min(a, b) - 1e-9 <= min(passed) <= max(passed) <= max(a, b) + 1e-9
        assert speed(lambda t: film.orbit(t, FPS).azimuth, t1 - 1e-9, -1) > 5  # it turns on and never rests


def test_an_orbit_keeps_its_distance_through_every_key():
    keys = tuple(PoseKey(at=seconds(i), azimuth=float(a)) for i, a in enumerate((30, 80, 20, 300), 1))
    film = shot(Camera(start=Start(distance=1.7), moves=(Move(keys=keys),)), 4)
    assert [film.orbit(t, FPS).distance for t in np.linspace(0, 4, 97)] == pytest.approx(97 * [1.7], rel=1e-14)


@pytest.mark.parametrize("ease", [None, "linear", "out-back", "in-quint"])
def test_a_dolly_zoom_keeps_the_size_of_its_subject(ease):
    moves = Move(orbit=20.0, dolly=0.5, over=seconds(1)), Move(dolly_zoom=1.0, over=seconds(2), ease=ease)
    film = shot(Camera(start=Start(distance=3.0), moves=moves), 4)
    sizes = [orbit.lens / orbit.distance for orbit in (film.orbit(t, FPS) for t in np.linspace(1, 3.5, 61))]
    assert sizes == pytest.approx(61 * [30 / 2.5], rel=1e-12)
    with pytest.raises(ValidationError, match="dolly_zoom sets distance and lens"):
        Move(dolly_zoom=1.0, crane=0.2, over=seconds(1))


def test_a_camera_that_is_not_turned_away_has_the_digest_it_had_before_cameras_could_be():
    names = ("azimuth", "elevation", "distance", "lens", "pan", "opening", "focus")
    orbit = Orbit(1.0, 2.0, 3.0, 4.0)
    assert digest(orbit) == digest([[name, getattr(orbit, name)] for name in names])
    assert digest(Orbit(1.0, 2.0, 3.0, 4.0, roll=1.0)) != digest(orbit)


def test_pan_and_tilt_turn_the_camera_in_its_place_and_roll_turns_the_picture():
    orbit = Start(azimuth=0.0, elevation=0.0, distance=2.0).to_orbit()
    end = Move(pan=90.0, over=seconds(1)).end(orbit).pose((0.0, 0.0, 0.0))
    # at (2, 0, 0), looking at -alpha, the right is +beta
    assert end.position == (2.0, 0.0, 0.0) and end.focal_point == pytest.approx((2, 2, 0)) and end.view_up[2] == 1.0
    up = Move(tilt=90.0, over=seconds(1)).end(orbit).pose((0.0, 0.0, 0.0))
    assert up.focal_point == pytest.approx((2, 0, 2)) and up.axes[1] == pytest.approx((1, 0, 0))
    clockwise = Move(roll=90.0, over=seconds(1)).end(orbit).pose((0.0, 0.0, 0.0))
    assert clockwise.focal_point == (0.0, 0.0, 0.0) and clockwise.axes[1] == pytest.approx((0, 1, 0))


def test_a_truck_goes_sideways_with_its_focal_point_whatever_side_azimuths_count_from():
    orbit = Start(azimuth=0.0, elevation=30.0, distance=2.0).to_orbit()
    moved = Move(truck=0.5, pedestal=0.1, over=seconds(1)).end(orbit)
    assert moved.pan == pytest.approx((0, 0.5, 0.1)) and moved.distance == pytest.approx(2.0)
    assert moved.rotate(90.0).pan == pytest.approx((-0.5, 0, 0.1)) and moved.rotate(90.0).azimuth == 90.0


def test_push_in_and_pull_out_are_shares_of_the_distance():
    move = parse("{push_in: 25%, over: 1s}", Move)
    assert move.end(Orbit(0, 0, 2.0, 30)).distance == pytest.approx(1.5)
    assert parse("{pull_out: 50%, over: 1s}", Move).end(Orbit(0, 0, 2.0, 30)).distance == pytest.approx(3.0)


def test_rise_is_the_former_word_of_pedestal():
    assert (
        parse("{rise: 0.2, over: 1s}", Move) == parse("{pedestal: 0.2, over: 1s}", Move) == Move(rise=0.2, over=Time(1))
    )


def test_moves_together_run_each_for_its_own_time_and_the_step_for_the_longest():
    parts = Move(orbit=40.0, over=seconds(4)), Move(push_in=50.0, over=seconds(2)), Move(roll=5.0, over=seconds(1))
    film = shot(Camera(start=Start(azimuth=0.0), moves=(Move(together=parts), Move(orbit=10.0, over=seconds(1)))), 5)
    assert [film.orbit(t, FPS).azimuth for t in (2.0, 4.0, 5.0)] == pytest.approx([20, 40, 50])
    assert [film.orbit(t, FPS).distance for t in (2.0, 4.0)] == pytest.approx([1, 1])
    assert film.orbit(1.0, FPS).roll == film.orbit(5.0, FPS).roll == 5.0
    with pytest.raises(ValidationError, match="together change the azimuth"):
        shot(Camera(moves=(Move(together=(parts[0], Move(orbit=1.0, over=seconds(1)))),)), 5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hold": Time(1), "ease": "linear"}, "ease: with 'over' alone"),
        ({"together": (Move(hold=Time(1)),)}, "takes moves with 'over' or 'keys'"),
        ({"over": Time(1), "together": (Move(over=Time(1)),)}, "a move takes one of"),
    ],
    ids=str,
)
def test_keys_of_a_move_that_say_nothing_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Move(**wrong)


# --- shake -----------------------------------------------------------------------------------------------------------


def test_a_shake_is_seeded_stays_in_its_amplitude_and_has_no_mean():
    times = np.arange(0, 5, 1 / 240)
    still = {"fade_in": False, "fade_out": False}
    first, again, other = (np.array([shake(t, 5.0, 0.5, seed, **still) for t in times]) for seed in (0, 0, 1))
    assert (first == again).all() and np.abs(first - other).max() > 0.1
    assert np.abs(first).max() <= 0.5 and np.abs(first).max() > 0.2 and np.abs(first[:, 2]).max() <= 0.15
    assert first.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)


def test_a_shake_inside_a_shot_fades_in_and_out():
    moves = Move(hold=seconds(1)), Move(shake=1.0, over=seconds(2)), Move(hold=seconds(1))
    film = shot(Camera(moves=moves), 4)
    yaws = np.array([film.orbit(t, FPS).yaw for t in np.arange(0, 4, 1e-3)])
    assert yaws[:1000].any() == yaws[3000:].any() == False and np.abs(yaws).max() > 0.2  # noqa: E712
    # 5 sinusoids of up to 3.5 Hz and 1 degree, plus the fade: at most 22 + 4 degrees a second
    assert np.abs(np.diff(yaws)).max() < 0.026


# --- loops, scripts, chunks ------------------------------------------------------------------------------------------

AROUND = Camera(moves=(Move(orbit=100.0, dolly=1.0, over=seconds(5)), Move(orbit=260.0, dolly=-1.0, over=seconds(7))))


def test_a_shot_that_loops_closes_in_camera_and_in_time():
    film = shot(AROUND, 12, loop=True, along={Time(0.0): 0.0, Time(5.0): 3.0, Time(12.0): 0.0})
    assert list(Cut((film,), FPS).mistakes()) == []
    for at in (
        lambda t: film.orbit(t, FPS).azimuth,
        lambda t: film.orbit(t, FPS).distance,
        lambda t: film.coordinate(t, FPS),
    ):
        assert speed(at, 0.0, 1) == pytest.approx(speed(at, 12.0 - 1e-9, -1), abs=1e-3)
    last, first = film.orbit(12.0, FPS), film.orbit(0.0, FPS)
    assert last.azimuth - first.azimuth == pytest.approx(360) and last.distance == pytest.approx(first.distance)
    assert film.coordinate(12.0, FPS) == film.coordinate(0.0, FPS) == 0.0 != film.coordinate(12 - 1 / 24, FPS)


@pytest.mark.parametrize(
    ("moves", "along", "message"),
    [
        ((Move(orbit=340.0, over=seconds(2)),), {0: 0}, "azimuth ends 20 below its start"),
        ((Move(orbit=360.0, dolly=0.5, over=seconds(2)),), {0: 0}, "distance ends 0.5 below its start"),
        ((Move(orbit=360.0, over=seconds(2), ease="in-cubic"),), {0: 0}, "azimuth ends at a speed of 540 a second and"),
        ((Move(orbit=360.0, over=seconds(2)),), {0: 0, 2: 1}, "starts at 0 and ends at 1, which is no loop"),
    ],
    ids=str,
)
def test_a_loop_that_does_not_close_is_refused_with_what_is_missing(moves, along, message):
    film = shot(Camera(moves=moves), 2, loop=True, along={seconds(t): float(v) for t, v in along.items()})
    [(_, text)] = Cut((film,), FPS).mistakes()
    assert message in text


def test_an_ease_that_leaves_no_lens_is_a_mistake():
    film = shot(Camera(moves=(Move(lens=-29.0, over=seconds(2), ease="out-back"),)), 2)
    [(path, text)] = Cut((film,), FPS).mistakes()
    assert path == (0, "camera", "moves") and "leaves no lens" in text


def test_the_camera_of_a_frame_does_not_depend_on_which_frames_were_made_before():
    film = shot(AROUND, 12)
    whole = [film.orbit(n / 24, FPS) for n in range(288)]
    other = pickle.loads(pickle.dumps(film))
    assert [other.orbit(n / 24, FPS) for n in reversed(range(288))] == whole[::-1]


SCRIPT = """
def spiral(u):
    return {"azimuth": 360 * u, "distance": 3 - u, "rise": 0.1, "roll": "2deg"}

def fails(u):
    return {"azimuth": 1 / (u - 0.5)}

def wrong(u):
    return {"distanse": 1.0}

def low(u):
    return {"distance": -u}

def number(u):
    return u

def framed(u):
    return {"frame": "fit"}
"""


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "moves_of_mine", raising=False)
    (tmp_path / "moves_of_mine.py").write_text(SCRIPT)
    text = "{shot: a, duration: 2s, along: {0s: 0}, camera: {start: {lens: 40mm}, script: moves_of_mine:%s}}"
    return lambda name: parse(text % name, Shot, folder=tmp_path)


def test_a_script_is_a_function_of_the_share_of_the_shot_and_what_it_leaves_out_is_the_start(scripted):
    film = scripted("spiral")
    half = film.orbit(1.0, FPS)
    assert (half.azimuth, half.distance, half.pan, half.roll, half.lens) == (180.0, 2.5, (0.0, 0.0, 0.1), 2.0, 40.0)
    assert film.orbit(0.0, FPS).azimuth == 0.0 and list(Cut((film,), FPS).mistakes()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", r"moves_of_mine.py:6: fails fails on u = 0.5: ZeroDivisionError"),
        ("wrong", r"moves_of_mine:wrong at u = 0.5: distanse: unknown key 'distanse'; did you mean 'distance'"),
        ("low", r"moves_of_mine:low at u = 0.5: distance: expected more than 0, found '-0.5'"),
        ("framed", r"moves_of_mine:framed at u = 0.5: frame: is of `start` alone; return a distance"),
        ("number", r"moves_of_mine:number at u = 0.5: expected a mapping such as .*: 'float' object is not iterable"),
    ],
)
def test_what_a_script_does_wrong_is_one_sentence_with_its_place(scripted, name, message):
    with pytest.raises(SceneError, match=message):
        scripted(name).orbit(1.0, FPS)


def test_a_script_and_moves_are_two_choreographies(scripted):
    with pytest.raises(ValidationError, match="leave the moves or the script out"):
        Camera(script=scripted("spiral").camera.script, moves=(Move(hold=Time(1)),))


def test_outside_of_a_shot_the_camera_goes_on_unless_it_rests():
    flying = shot(Camera(moves=(Move(orbit=48.0, lens=-20.0, shake=0.5, over=seconds(4), ease=Ease("linear")),)), 4)
    before, start, end, after = (flying.orbit(t, FPS) for t in (-1.0, 0.0, 4.0, 5.0))
    assert start.azimuth - before.azimuth == pytest.approx(12) == pytest.approx(after.azimuth - end.azimuth)
    assert after.lens == pytest.approx(5.0) and flying.orbit(9.0, FPS).lens == 1.0  # and never none
    turns = [flying.orbit(t, FPS).yaw for t in (-1 / 24, 0.0, 1 / 24)]
    assert max(abs(np.diff(turns))) < 0.2 and len(set(turns)) == 3  # the hand trembles on
    resting = shot(Camera(moves=(Move(orbit=48.0, over=seconds(2)),)), 4)
    assert resting.orbit(5.0, FPS) == resting.orbit(4.0, FPS) == resting.orbit(2.5, FPS)


def test_a_shot_alone_is_shown_beyond_its_ends_without_its_neighbours():
    first = Shot.model_validate({"shot": "a", "duration": "2s", "along": {"0s": 0}, "to_next": {"dissolve": "1s"}})
    second = Shot.model_validate({"shot": "b", "duration": "2s", "along": {"0s": 0}})
    alone = Cut((first, second), FPS, "b")
    for number, expected in ((12, -0.5), (24, 0.0), (30, 0.25), (80, 56 / 24)):
        [share] = alone.at(number)
        assert (share.shot, share.weight) == (second, 1.0) and share.seconds == pytest.approx(expected)


def test_a_turn_to_another_target_comes_to_rest_where_it_ends():
    moves = (Move(hold=seconds(1)), Move(orbit=10.0, over=seconds(2), look_at="highest"))
    film = shot(Camera(moves=moves), 5)
    weight = [film.targets(t, FPS).get("highest", 0.0) for t in np.arange(0, 5, STEP)]
    assert np.abs(np.diff(weight, 2)).max() < 4 * STEP**2 and weight[30000:] == [1.0] * 20000


# --- match cuts ------------------------------------------------------------------------------------------------------


def of_shots(*texts: str) -> Cut:
    shots = ", ".join(f"{{shot: s{n}, {text}}}" for n, text in enumerate(texts))
    scene = parse(f"title: a\nrun: {{recipe: {{epochs: 9}}}}\nfilm: {{fps: 24}}\nshots: [{shots}]", Scene)
    return Cut(scene.shots, FPS)


MOVE = "camera: {moves: [{orbit: 90deg, lens: 10mm, over: 7s}]}"
ORBITING = f"duration: 4s, along: {{0s: 0, 3s: 3, 4s: 3}}, to_next: {{dissolve: 1s}}, {MOVE}"
GOING_ON = "match: true, duration: 4s, along: {0s: 3, 4s: 7}"


def test_over_a_match_cut_the_camera_moves_as_in_one_long_shot():
    cut = of_shots(ORBITING, GOING_ON).matched
    whole = shot(Camera.model_validate({"moves": [{"orbit": "90deg", "lens": "10mm", "over": "7s"}]}), 7)
    for number in range(cut.length):
        orbits = [share.shot.orbit(share.seconds, FPS) for share in cut.at(number)]
        assert all(orbit.coordinates == pytest.approx(whole.orbit(number / 24, FPS).coordinates) for orbit in orbits)
    assert [cut.sharing(index)[0] for index in (0, 1)] == [0, 0]


@pytest.mark.parametrize(
    ("shots", "message"),
    [
        ((GOING_ON,), "the first shot has none before it"),
        ((ORBITING, f"{GOING_ON}, camera: {{look_at: centre}}"), "goes on with the camera of the shot before"),
        ((ORBITING, GOING_ON.replace("0s: 3", "0s: 1")), "begins at 1, but the shot before is at"),
        ((ORBITING.replace("7s", "9s"), GOING_ON), "the moves take 9s, but its shots last 7s"),
        ((ORBITING, GOING_ON.replace("match: true, ", "")), "the moves take 7s, but the shot lasts 4s"),
    ],
)
def test_a_match_that_cannot_be_is_said(shots, message):
    with pytest.raises(SceneError, match=message):
        of_shots(*shots)
