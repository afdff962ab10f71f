import pickle
import re
from dataclasses import replace
from fractions import Fraction

import pytest

from studio.config.reading import parse
from studio.film.cues import Cue, resolve
from studio.film.timeline import Shot

FPS = Fraction(24)
SHOT = """
shot: a
duration: 4s
along: {0s: 0, 4s: 4}
pace: linear
camera: {moves: [{hold: CUE}, {orbit: 20deg, over: 1s}]}
"""


@pytest.fixture
def measured(surfaces, bowl):
    """The loss at the centre is 3, 2, 1.5, 0.4, 0.3; the rate falls tenfold at 2; lambda_max is measured at 0 and 4."""
    losses = surfaces(*(bowl() + loss - 0.1 for loss in (3, 2, 1.5, 0.4, 0.3)))
    rates = {"learning_rate": (0.1, 0.1, 0.01, 0.01, 0.01), "test_accuracy": (10.0, 50.0, 80.0, 97.0, 98.0)}
    return replace(losses, metric_coordinates=(0.0, 1.0, 2.0, 3.0, 4.0), metrics=rates)


def shot(text: str = SHOT, **words: str) -> Shot:
    for name, word in words.items():
        text = text.replace(name, word)
    return parse(text, Shot, name="s")


@pytest.mark.parametrize(
    ("cue", "coordinate"),
    [
        ("loss < 0.5", 3.0),
        ("loss<2.5", 1.0),
        ("test_accuracy > 60", 2.0),
        ("largest-jump", 3.0),
        ("last", 4.0),
        ("lr-drop", 2.0),
        ("loss < 21*lr", 1.0),
        ("loss > 0.02/lr", 0.0),
        ("lr < 0.05", 2.0),
    ],
)
def test_a_computed_cue_is_at_the_first_keyframe_at_which_it_holds(measured, cue, coordinate):
    assert Cue(cue).coordinate(measured) == coordinate


@pytest.mark.parametrize(
    ("cue", "message"),
    [
        ("loss < 0.01", "'loss < 0.01' never holds at 5 keyframes; loss is 0.3 to 3"),
        ("los < 0.01", "no number 'los'; did you mean 'loss'?"),
        ("entropy > 2", "no number 'entropy'; one of loss, learning_rate, test_accuracy"),
    ],
)
def test_a_cue_that_never_comes_says_what_was_measured(measured, cue, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Cue(cue).coordinate(measured)


def test_a_rate_that_falls_slowly_has_no_drop(measured):
    slow = replace(measured, metrics={"learning_rate": tuple(0.1 * 0.95**k for k in range(5))})
    with pytest.raises(ValueError, match="'lr-drop' never comes at 5 keyframes"):
        Cue("lr-drop").coordinate(slow)


@pytest.mark.parametrize("text", ["soon", "loss = 3", "loss < ", "loss < 2 lr", "3 < loss", "loss < 2/", "-3s"])
def test_what_is_no_cue_is_refused_with_the_forms(text):
    with pytest.raises(ValueError, match=f"'{text}' is no cue; write it like 3.2s, loss < 0.1"):
        Cue(text)


def test_a_cue_of_the_film_means_until_then_where_a_length_stands():
    first = shot(duration_="", CUE="1s")
    second = shot(CUE="drop").model_copy(update={"shot": "b"})
    (_, b), mistakes = resolve((first, second), {"drop": Cue("5.5s")}, FPS)
    assert not mistakes and b.camera.moves[0].hold.seconds(FPS) == 1.5


def test_a_computed_cue_is_where_the_shot_reaches_it_and_before_measuring_in_its_middle():
    cues = {"learned": Cue("loss < 0.5")}
    (measured,), none = resolve((shot(CUE="learned"),), cues, FPS, lambda shot, name: 3.0)
    assert not none and measured.camera.moves[0].hold.seconds(FPS) == pytest.approx(3.0, abs=1 / 24)
    (assumed,), none = resolve((shot(CUE="learned"),), cues, FPS)
    assert not none and assumed.camera.moves[0].hold.seconds(FPS) == 2.0
    waits = shot(CUE="1s").model_copy(
        update={"along": shot("shot: a\nduration: 4s\nalong: {0s: 0, 4s: learned}").along}
    )
    (found,), none = resolve((waits,), cues, FPS, lambda shot, name: 3.0)
    assert not none and found.coordinate(3.99, FPS) == 3.0
    assert pickle.loads(pickle.dumps(found)) == found and resolve((found,), cues, FPS)[0][0].along.values()


@pytest.mark.parametrize(
    ("changes", "cue", "message"),
    [
        ({"CUE": "dorp"}, "1s", "no cue 'dorp'; did you mean 'drop'?"),
        ({"CUE": "drop"}, "9s", "the cue 'drop' is at 9s, and the shot is shown from 0s to 4s"),
        ({"duration: 4s": "duration: drop", "CUE": "1s"}, "lr-drop", "the cue 'drop' is computed; it may stand in"),
        ({"4s: 4": "4s: drop", "CUE": "1s"}, "1s", "the cue 'drop' is a time of the film, not a coordinate"),
        ({"hold: CUE": "hold: 2s", "over: 1s": "over: drop"}, "1s", "the cue 'drop' is at 1s of the shot, before this"),
        ({"CUE": "drop"}, "loss > 7", "the cue 'drop' is at 9, and the shot shows 0 to 4; change `along`"),
    ],
)
def test_a_cue_at_the_wrong_place_says_so(changes, cue, message):
    _, mistakes = resolve((shot(**changes),), {"drop": Cue(cue)}, FPS, lambda shot, name: 9.0)
    assert next(text for _, text in mistakes).startswith(message)
