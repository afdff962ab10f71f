import math
from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError

from studio.config.units import Time
from studio.film.camera import Camera, Move, PoseKey, Start
from studio.film.easing import EASES
from studio.film.pose import Orbit

FPS = Fraction(24)
START = Start(azimuth=30.0, elevation=20.0, distance=2.0, lens=30.0)
HERE = START.to_orbit()


def seconds(amount: float) -> Time:
    return Time(float(amount))


def run(move: Move, time: float, start: Start = START) -> Orbit:
    """The camera at a time of a shot that lasts as long as its only move."""
    return Camera(start=start, moves=(move,)).at(time, FPS, move.seconds(FPS))


def position(orbit: Orbit) -> np.ndarray:
    return np.array(orbit.pose((0.0, 0.0, 0.0)).position)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "expected"),
    [
        (0, 0, (3, 0, 0)),
        (90, 0, (0, 3, 0)),
        (180, 0, (-3, 0, 0)),
        (0, 90, (0, 0, 3)),
        (45, 0, (3 / 2**0.5, 3 / 2**0.5, 0)),
        (0, 30, (3 * 3**0.5 / 2, 0, 1.5)),
    ],
)
def test_azimuth_0_looks_from_alpha_and_90_from_beta_and_elevation_is_the_angle_over_the_ground(
    azimuth, elevation, expected
):
    assert position(Orbit(azimuth, elevation, 3.0, 30.0)) == pytest.approx(expected, abs=1e-12)


def test_a_pose_stands_at_its_distance_from_what_it_looks_at():
    pose = HERE.pose((1.0, 2.0, 3.0))
    assert math.dist(pose.position, pose.focal_point) == pytest.approx(2.0) and pose.focal_point == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("elevation", [-90, -30, 0, 35, 89.9, 90, 100])
def test_up_is_upright_and_square_to_the_line_of_sight_even_straight_above(elevation):
    pose = Orbit(40.0, elevation, 2.0, 30.0).pose((0.0, 0.0, 0.0))
    up, sight = np.array(pose.view_up), np.array(pose.position)
    assert np.linalg.norm(up) == pytest.approx(1.0) and up @ sight == pytest.approx(0.0, abs=1e-12)
    assert up[2] == pytest.approx(math.cos(math.radians(elevation)))


def test_the_view_angle_is_twice_the_arctangent_of_half_the_gate_over_the_lens():
    assert Orbit(0, 0, 1, 12.0).pose((0.0, 0.0, 0.0)).view_angle == pytest.approx(90.0)
    assert Orbit(0, 0, 1, 24.0).pose((0.0, 0.0, 0.0)).view_angle == pytest.approx(53.130102354)
    assert Orbit(0, 0, 1, 50.0).pose((0.0, 0.0, 0.0)).view_angle == pytest.approx(2 * math.degrees(math.atan(12 / 50)))


@pytest.mark.parametrize("ease", sorted(EASES))
def test_an_orbit_keeps_its_radius_and_its_height_all_the_way(ease):
    move = Move(orbit=135.0, over=seconds(4), ease=ease)
    for t in np.linspace(0, 4, 33):
        orbit = run(move, t)
        assert orbit.distance == pytest.approx(2.0, rel=1e-14) and orbit.elevation == 20.0  # rounding of exp(log 2)


def test_a_straight_line_between_the_same_two_positions_would_dive_to_0_38_of_the_radius():
    start, end = position(Orbit(0, 0, 1, 30)), position(Orbit(135, 0, 1, 30))
    assert np.linalg.norm((start + end) / 2) == pytest.approx(0.3827, abs=1e-4)
    half = run(Move(orbit=135.0, over=seconds(2)), 1.0, Start(azimuth=0.0, elevation=0.0, distance=1.0))
    assert half.azimuth == 67.5 and np.linalg.norm(position(half)) == pytest.approx(1.0)


def test_a_dolly_goes_straight_at_what_it_looks_at_and_spends_equal_ratios_in_equal_times():
    move = Move(dolly=1.5, over=seconds(2), ease="linear")
    start, end, half = position(HERE), position(run(move, 2.0)), run(move, 1.0)
    assert np.linalg.norm(end) == pytest.approx(0.5) and np.cross(start, end) == pytest.approx(np.zeros(3), abs=1e-12)
    assert half.distance == pytest.approx(math.sqrt(2.0 * 0.5))


def test_a_negative_dolly_moves_away():
    assert Move(dolly=-1.0, over=seconds(1)).end(HERE).distance == pytest.approx(3.0)


def test_a_crane_goes_straight_up_and_still_looks_at_the_same_point():
    start, end = position(HERE), Move(crane=0.7, over=seconds(1)).end(HERE)
    assert position(end) - start == pytest.approx((0, 0, 0.7), abs=1e-12)
    assert end.pose((0.0, 0.0, 0.0)).focal_point == (0.0, 0.0, 0.0)
    assert end.distance == pytest.approx(
        math.hypot(2 * math.cos(math.radians(20)), 2 * math.sin(math.radians(20)) + 0.7)
    )


def test_a_rise_lifts_the_camera_and_what_it_looks_at_alike():
    before, after = HERE.pose((0.0, 0.0, 0.1)), Move(rise=0.4, over=seconds(1)).end(HERE).pose((0.0, 0.0, 0.1))
    assert np.subtract(after.position, before.position) == pytest.approx((0, 0, 0.4))
    assert np.subtract(after.focal_point, before.focal_point) == pytest.approx((0, 0, 0.4))


def test_components_combined_arrive_where_they_would_one_after_the_other():
    combined = Move(orbit=50.0, dolly=0.5, crane=0.3, lens=10.0, over=seconds(1)).end(HERE)
    sequential = HERE
    for component in ({"dolly": 0.5}, {"crane": 0.3}, {"orbit": 50.0}, {"lens": 10.0}):
        sequential = Move(**component, over=seconds(1)).end(sequential)
    assert position(combined) == pytest.approx(position(sequential)) and combined.lens == sequential.lens == 40.0


@pytest.mark.parametrize(
    ("move", "message"),
    [({"dolly": 1.99}, "dolly of 1.99 from a distance of 2.00 runs into"), ({"lens": -30.0}, "leaves no lens")],
    ids=str,
)
def test_a_move_that_reaches_the_focal_point_or_leaves_no_lens_is_refused(move, message):
    with pytest.raises(ValueError, match=message):
        Move(**move, over=seconds(1)).end(HERE)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"orbit": 1.0},
        {"over": Time(1), "hold": Time(1)},
        {"orbit": 1.0, "hold": Time(1)},
        {"dolly": 1.0, "keys": ({"at": Time(1)},)},
        {"dolly": float("nan"), "over": Time(1)},
    ],
    ids=str,
)
def test_a_move_without_one_clear_length_is_refused(wrong):
    with pytest.raises(ValidationError):
        Move(**wrong)


@pytest.mark.parametrize("wrong", [{"lens": 0.0}, {"distance": 0.0}, {"distance": -1.0}], ids=str)
def test_a_camera_without_a_lens_or_a_distance_is_refused(wrong):
    with pytest.raises(ValidationError):
        Start(**wrong)
    with pytest.raises(ValidationError):
        PoseKey(at=Time(1), **wrong)


def test_a_hold_stands_still():
    move = Move(hold=seconds(3))
    assert all(run(move, t) == move.end(HERE) == run(move, 0.0) for t in (0.5, 1.7, 3.0))


def test_a_move_without_length_arrives_at_once():
    assert Camera(start=START, moves=(Move(orbit=90.0, over=seconds(0)),)).at(0.0, FPS, 1.0).azimuth == 120.0


def test_keys_are_reached_at_their_times_and_keep_what_they_do_not_name():
    move = Move(
        keys=(
            PoseKey(at=seconds(1), azimuth=60.0, ease="linear"),
            PoseKey(at=seconds(3), distance=8.0, lens=50.0, ease="linear"),
        )
    )
    assert run(move, 0.5).azimuth == pytest.approx(45.0)
    assert run(move, 1.0).azimuth == 60.0 and run(move, 1.0).distance == pytest.approx(2.0)
    half = run(move, 2.0)
    assert (half.azimuth, half.lens) == (60.0, 40.0) and half.distance == pytest.approx(
        4.0
    )  # geometric mean of 2 and 8
    assert run(move, 3.0) == move.end(HERE) == Orbit(60.0, 20.0, 8.0, 50.0) and move.seconds(FPS) == 3


CAMERA = Camera(
    start=Start(azimuth=0.0, elevation=10.0, distance=3.0),
    moves=(
        Move(orbit=90.0, over=seconds(2), ease="in-out"),
        Move(hold=seconds(1)),
        Move(dolly=1.0, over=Time(48, "f")),
    ),
)


def test_moves_follow_one_another_and_after_the_last_the_camera_holds():
    assert [CAMERA.at(t, FPS, 6.0).azimuth for t in (0.0, 2.0, 2.5, 3.0, 99.0)] == pytest.approx([0, 90, 90, 90, 90])
    assert [CAMERA.at(t, FPS, 6.0).distance for t in (0.0, 2.5, 3.0, 5.0, 99.0)] == pytest.approx([3, 3, 3, 2, 2])


def test_an_aperture_is_the_focal_length_over_the_lens_diameter_in_a_model_200_mm_wide():
    start = Start(lens="50mm", aperture="f/2", distance=2.5)
    pose = start.to_orbit().pose((0.0, 0.0, 0.0))
    assert start.aperture == 2.0 and pose.lens_radius == pytest.approx(0.125)  # 25 mm wide, of which 100 are a unit
    assert Start(lens="50mm").to_orbit().pose((0.0, 0.0, 0.0)).lens_radius == 0


def test_the_camera_focuses_on_its_focal_point_unless_a_distance_is_set():
    assert Start(distance=2.5).to_orbit().pose((0.3, 0.0, 0.0)).focus == 2.5
    assert Start(distance=2.5, focus=1.5).to_orbit().pose((0.3, 0.0, 0.0)).focus == 1.5
    dollied = Move(dolly=1.0, over=seconds(1)).end(Start(distance=2.5).to_orbit())
    assert dollied.pose((0.0, 0.0, 0.0)).focus == pytest.approx(1.5)


def test_the_focus_is_racked_by_equal_ratios_and_the_aperture_opens_evenly():
    start = Start(distance=4.0, aperture="f/8")
    move = Move(keys=(PoseKey(at=seconds(1), focus=1.0, aperture="f/2", ease="linear"),))
    half, end = run(move, 0.5, start), run(move, 1.0, start)
    assert half.focus_distance == pytest.approx(2.0) and half.opening == pytest.approx((1 / 8 + 1 / 2) / 2)
    assert (end.focus_distance, end.opening) == (1.0, 0.5) and move.end(start.to_orbit()).distance == 4.0
    nearer = run(Move(keys=(PoseKey(at=seconds(1), distance=1.0),)), 0.5, start)
    assert nearer.focus is None  # it stays at the focal point


@pytest.mark.parametrize("wrong", ["2.8", "f/0", "f/-2", "f2.8", "f/1.2.3", "f/"])
def test_what_is_no_aperture_is_refused(wrong):
    with pytest.raises(ValidationError, match=r"write it like f/2.8|greater than 0"):
        Start(aperture=wrong)


def test_a_camera_never_jumps():
    times = np.arange(0, 6, 1e-3)
    steps = np.linalg.norm(np.diff([position(CAMERA.at(t, FPS, 6.0)) for t in times], axis=0), axis=1)
    # in-out is at most 1.875 times as fast as linear: 3 * pi/2 in 2 s, in steps of 1 ms
    assert steps.max() < 1.01 * 1.875 * 3 * math.pi / 2 / 2 * 1e-3


def test_an_ease_describes_the_arrival_at_the_end_of_its_own_move():
    move = Move(orbit=90.0, over=seconds(1), ease="out-cubic")
    early, late = (run(move, b).azimuth - run(move, a).azimuth for a, b in ((0.0, 0.1), (0.9, 1.0)))
    assert early > 20 and late < 0.2
