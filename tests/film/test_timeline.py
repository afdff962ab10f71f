import itertools
import pickle
from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError

from studio.config.reading import parse
from studio.config.units import Time
from studio.film.camera import Camera, Move, PoseKey
from studio.film.timeline import EVERYWHERE, Cut, Shot, Transition

FPS = Fraction(24)


def shot(name: str, seconds: float = 2.0, dissolve: float = 0.0, **more) -> Shot:
    return Shot(
        **{
            "shot": name,
            "duration": Time(seconds),
            "along": {Time(0.0): 0.0},
            "to_next": Transition(dissolve=Time(dissolve)),
        }
        | more
    )


def cut(*shots: Shot, fps=FPS) -> Cut:
    return Cut(tuple(shots), Fraction(fps))


def mistakes(*shots: Shot) -> list[tuple[tuple, str]]:
    return list(cut(*shots).mistakes())


def test_shots_follow_one_another_without_gap_and_a_dissolve_shortens_the_film():
    film = cut(shot("a", 2), shot("b", 3, dissolve=1), shot("c", 4))
    assert film.starts == (0, 48, 96) and film.length == 96 + 96
    assert film.span("b") == (48, 120)
    with pytest.raises(KeyError):
        film.span("d")


def test_frames_are_counted_at_the_rate_of_the_film():
    film = cut(shot("a", 10), fps=Fraction(24000, 1001))
    assert film.length == 240
    assert film.at(239)[0].seconds == pytest.approx(239 * 1001 / 24000)


@pytest.mark.parametrize("fps", [12, 24, Fraction(24000, 1001)])
@pytest.mark.parametrize("keys", [{0.0: 0, 1.0: 2.0}, {0.0: 0, 0.99: 1.0, 1.0: 2.0}, {0.0: 2.0}, {0.0: 0, 9.0: 2.0}])
def test_the_last_frame_of_a_shot_shows_the_last_key_and_the_first_the_first(keys, fps):
    fall = shot("fall", 1.0, along={Time(seconds): value for seconds, value in keys.items()})
    film = cut(fall, fps=fps)
    [last], [first] = film.at(film.length - 1), film.at(0)
    assert fall.coordinate(last.seconds, film.fps) == 2.0
    assert fall.coordinate(first.seconds, film.fps) == keys[0.0]


def test_a_cut_shows_one_shot_whole_at_every_frame():
    film = cut(shot("a", 1), shot("b", 1))
    assert [(share.shot.shot, share.weight) for n in (0, 23, 24, 47) for share in film.at(n)] == [
        ("a", 1),
        ("a", 1),
        ("b", 1),
        ("b", 1),
    ]
    assert film.at(24)[0].seconds == 0.0
    assert film.at(-1) == film.at(48) == ()


def test_an_ease_that_goes_beyond_its_ends_gives_no_negative_weight():
    film = cut(shot("a", 4, to_next=Transition(dissolve=Time(1.0), ease="in-out-back")), shot("b", 4))
    assert all(0 <= share.weight <= 1 for n in range(film.length) for share in film.at(n))


@pytest.mark.parametrize("ease", ["linear", "in-out-sine", "in-out"])
def test_the_weights_of_a_dissolve_sum_to_one_and_pass_without_a_jump(ease):
    film = cut(shot("a", 4, to_next=Transition(dissolve=Time(1.0), ease=ease)), shot("b", 4))
    incoming = []
    for n in range(film.length):
        shares = film.at(n)
        assert sum(share.weight for share in shares) == pytest.approx(1.0, abs=1e-15)
        incoming.append(sum(share.weight for share in shares if share.shot.shot == "b"))
    assert len([w for w in incoming if 0 < w < 1]) == 24
    # the steepest of these eases rises 1.875 times as fast as a straight line over 25 steps
    assert (np.diff(incoming) >= 0).all() and np.diff(incoming).max() < 1.9 / 25
    assert np.diff(incoming[71:97]) == pytest.approx(np.diff(incoming[71:97])[::-1])  # symmetric in and out


def test_both_shots_run_on_through_their_dissolve():
    film = cut(shot("a", 2, dissolve=0.5), shot("b", 2))
    before, after = film.at(40)
    assert (before.shot.shot, after.shot.shot) == ("a", "b")
    assert (before.seconds, after.seconds) == pytest.approx((40 / 24, 4 / 24))


def test_two_dissolves_in_a_row_never_mix_three_shots():
    film = cut(shot("a", 2, dissolve=1), shot("b", 2, dissolve=1), shot("c", 2))
    assert mistakes(*film.shots) == []
    for n in range(film.length):
        assert 1 <= len(film.at(n)) <= 2 and sum(share.weight for share in film.at(n)) == pytest.approx(1.0)


def test_along_passes_through_its_keys_and_never_runs_back():
    walk = shot("a", 10, along={Time(0.0): 0.0, Time(2.0): 1.0, Time(8.0): 1.0, Time(240, "f"): 20.0})
    assert [walk.coordinate(t, FPS) for t in (0, 2, 5, 8, 10, 99)] == pytest.approx([0, 1, 1, 1, 20, 20])
    coordinates = [walk.coordinate(t, FPS) for t in np.linspace(0, 10, 501)]
    assert (np.diff(coordinates) >= -1e-12).all() and max(coordinates) <= 20 + 1e-12  # rounding of the spline at 20


def test_along_with_a_single_key_stands_still():
    assert shot("a", along={Time(0.0): 7.0}).coordinate(1.3, FPS) == 7.0


@pytest.mark.parametrize(
    ("shots", "path", "message"),
    [
        ([shot("a", 0.001)], (0, "duration"), "less than one frame"),
        ([shot("a", 2, along={Time(1.0): 0.0, Time(0.5): 1.0, Time(2.0): 2.0})], (0, "along"), "must rise"),
        ([shot("a", 2, along={Time(1.0): 0.0, Time(24, "f"): 1.0, Time(2.0): 2.0})], (0, "along"), "must rise"),
        (
            [shot("a", 12, along={Time(0.0): 0.0, Time(10.0): 1.0})],
            (0, "along"),
            "last key is at 10s, but the shot lasts 12s",
        ),
        (
            [shot("a", 2, camera=Camera(moves=(Move(hold=Time(3.0)),)))],
            (0, "camera", "moves"),
            "the moves take 3s, but the shot lasts 2s",
        ),
        (
            [shot("a", 9, camera=Camera(moves=(Move(keys=(PoseKey(at=Time(2.0)), PoseKey(at=Time(1.0)))),)))],
            (0, "camera", "moves", 0, "keys"),
            "must rise",
        ),
        (
            [shot("a", 9, camera=Camera(moves=(Move(keys=(PoseKey(at=Time(0.0)),)),)))],
            (0, "camera", "moves", 0, "keys"),
            "later than 0s",
        ),
        ([shot("a", 2, dissolve=1)], (0, "to_next"), "nothing to lead into"),
        ([shot("a", 2, dissolve=1.5), shot("b", 9)], (0, "to_next"), "longer than half"),
        ([shot("a", 9, dissolve=1.5), shot("b", 2)], (0, "to_next"), "longer than half"),
        ([shot("a"), shot("b"), shot("a")], (2, "shot"), "a second shot called 'a'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_in_a_cut_has_its_place(shots, path, message):
    [mistake] = mistakes(*shots)
    assert mistake[0] == path and message in mistake[1]


def test_a_good_cut_has_no_mistakes():
    assert mistakes(shot("a", 2, dissolve=1), shot("b", 2, along={Time(0.0): 0.0, Time(2.0): 5.0})) == []


def test_a_move_that_cannot_arrive_names_its_number():
    with pytest.raises(ValidationError, match=r"camera.moves\[1\]: a dolly of 9"):
        shot("a", camera=Camera(moves=(Move(hold=Time(1.0)), Move(dolly=9.0, over=Time(1.0)))))


@pytest.mark.parametrize(
    ("words", "expected"), [("cut", Transition()), ("{dissolve: 1s}", Transition(dissolve=Time(1.0)))]
)
def test_a_transition_is_the_word_cut_or_a_dissolve(words, expected):
    assert parse(f"{{shot: a, duration: 1s, along: {{0s: 0}}, to_next: {words}}}", Shot).to_next == expected


def test_any_other_word_for_a_transition_is_refused():
    with pytest.raises(Exception, match=r"'wipe' is not understood; write cut, or \{dissolve: 1s\}"):
        parse("{shot: a, duration: 1s, along: {0s: 0}, to_next: wipe}", Shot)


def test_a_cut_is_the_same_in_another_process():
    film = cut(shot("a", 2, dissolve=1), shot("b", 2))
    copy = pickle.loads(pickle.dumps(film))
    assert [copy.at(n) for n in range(film.length)] == [film.at(n) for n in range(film.length)]


def test_shots_are_hashable_and_equal_by_value():
    assert len({shot("a"), shot("a"), shot("b")}) == 2


def test_a_fade_shows_one_shot_at_a_time_under_a_colour_that_is_dense_between_them():
    film = cut(shot("a", 4, to_next=Transition(fade=Time(1.0), through="#ffffff", ease="linear")), shot("b", 4))
    assert film.length == 8 * 24 - 24
    shown = [film.at(number) for number in range(71, 98)]
    assert all(len(shares) == 1 and shares[0].weight == 1 for shares in shown)
    names, density = [shares[0].shot.shot for shares in shown], [shares[0].veil[1] for shares in shown]
    assert names == ["a"] * 13 + ["b"] * 14
    assert density[0] == density[-1] == 0 and max(density) > 0.95
    assert all(abs(b - a) < 0.1 for a, b in itertools.pairwise(density))
    assert {shares[0].veil[0] for shares in shown[1:-2]} == {"#ffffff"}


@pytest.mark.parametrize(
    ("towards", "first", "last"),
    [
        ("right", (0.0, 0.0, 0.04, 1.0), (0.0, 0.0, 0.96, 1.0)),
        ("left", (0.96, 0.0, 1.0, 1.0), (0.04, 0.0, 1.0, 1.0)),
        ("down", (0.0, 0.0, 1.0, 0.04), (0.0, 0.0, 1.0, 0.96)),
        ("up", (0.0, 0.96, 1.0, 1.0), (0.0, 0.04, 1.0, 1.0)),
    ],
)
def test_a_wipe_lays_the_next_shot_over_a_growing_part_of_the_picture(towards, first, last):
    film = cut(shot("a", 4, to_next=Transition(wipe=Time(1.0), towards=towards, ease="linear")), shot("b", 4))
    begins, ends = film.at(72), film.at(95)
    assert [share.shot.shot for share in begins] == ["a", "b"]
    assert begins[0].region == ends[0].region == EVERYWHERE
    assert begins[1].region == pytest.approx(first) and ends[1].region == pytest.approx(last)
    assert [share.shot.shot for share in film.at(96)] == ["b"] and film.at(96)[0].region == EVERYWHERE


def test_a_transition_is_of_one_kind():
    with pytest.raises(ValidationError, match="dissolve, fade and wipe are three ways to the next shot"):
        Transition(dissolve=Time(1.0), fade=Time(1.0))


@pytest.mark.parametrize("pace", ["monotone", "flow", "linear", "hold"])
def test_every_pace_passes_through_its_keys_and_stays_between_them(pace):
    keys = {Time(0.0): 0.0, Time(1.0): 1.0, Time(2.0): 8.0, Time(4.0): 8.0, Time(5.0): 2.0}
    one = shot("a", 6, along=keys, pace=pace)
    times = np.linspace(0, 6, 145)
    values = np.array([one.coordinate(time, FPS) for time in times])
    for time, value in keys.items():
        assert one.coordinate(time.seconds(FPS), FPS) == pytest.approx(value)
    assert values.min() >= 0 and values.max() <= 8 + 1e-12
    assert values[(times >= 2) & (times <= 4)] == pytest.approx(8)
    steps = np.abs(np.diff(values))
    assert (steps.max() > 5) == (pace == "hold")


def test_a_flow_keeps_the_speed_of_an_even_walk_and_a_linear_pace_turns_sharply():
    keys = {Time(float(n)): float(n) for n in range(5)}
    even = [shot("a", 5, along=keys, pace=pace).coordinate(2.5, FPS) for pace in ("flow", "linear", "hold")]
    assert even == pytest.approx([2.5, 2.5, 2.0])
    bent = {Time(0.0): 0.0, Time(1.0): 1.0, Time(2.0): 4.0}
    jumps = {}
    for pace in ("flow", "linear"):
        one = shot("a", 3, along=bent, pace=pace)
        before, after = (
            one.coordinate(1 + side * 0.01, FPS) - one.coordinate(1 + side * 0.02, FPS) for side in (-1, 1)
        )
        jumps[pace] = abs(before + after)
    assert jumps["flow"] < 0.1 * jumps["linear"]
