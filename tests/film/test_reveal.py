import numpy as np
import pytest

from studio.config.units import Time
from studio.film.camera import Camera, Move
from studio.film.format import Format
from studio.film.frame_source import FrameSource
from studio.film.lines import Contours
from studio.film.marks import Text
from studio.film.overlays import Titles
from studio.film.reveal import grown
from studio.film.timeline import Shot

HEIGHT = np.random.default_rng(0).random((21, 21)).astype(np.float32)


def test_the_land_grows_from_flat_or_from_a_profile_to_what_was_measured():
    for start in ("flat", "alpha", "beta"):
        assert grown(HEIGHT, start, 1.0) == pytest.approx(HEIGHT, abs=1e-6)
    assert np.abs(grown(HEIGHT, "flat", 0.0)).max() <= 1e-3
    assert grown(HEIGHT, "alpha", 0.0) == pytest.approx(np.tile(HEIGHT[10], (21, 1)))
    assert grown(HEIGHT, "beta", 0.0) == pytest.approx(np.tile(HEIGHT[:, 10:11], (1, 21)))
    assert grown(HEIGHT, "flat", 0.5) == pytest.approx(HEIGHT / 2, rel=1e-5)


def film(surfaces, bowl, look, start: str) -> FrameSource:
    shot = Shot(
        shot="a",
        duration=Time(2.0),
        along={Time(0.0): 0.0},
        camera=Camera(moves=(Move(hold=Time(0.5)), Move(reveal=start, over=Time(1.0)))),
    )
    own, notes = look(contours=Contours(step=0.1)), {"": {"loss": "", "convexity": ""}}
    return FrameSource.of((shot,), {"": surfaces(bowl())}, own, Titles(), Format(), notes)


def test_contours_keep_their_values_while_the_land_grows_and_the_picture_says_how_far_it_has(surfaces, bowl, look):
    source = film(surfaces, bowl, look, "flat")
    views = [source.frame(n).views[0] for n in (0, 24, 40)]
    slopes = [np.nanmax(view.height) * view.appearance.height_scale.slope for view in views]
    assert slopes == pytest.approx([slopes[-1]] * 3, rel=1e-3)
    assert np.nanmax(views[0].height) < np.nanmax(views[1].height) < np.nanmax(views[2].height)
    texts = [[text.text for text in source.frame(n).overlays if isinstance(text, Text)] for n in (0, 40)]
    assert any("at 0% of its height" in text for text in texts[0])
    assert not any("of its height" in text for text in texts[1])
    profile = film(surfaces, bowl, look, "alpha").frame(0).views[0]
    assert profile.appearance.contours is None and views[0].appearance.contours is not None


def test_a_land_that_stands_has_the_same_array_at_all_times(surfaces, bowl, look):
    source = film(surfaces, bowl, look, "flat")
    assert source.frame(40).views[0].height is source.frame(47).views[0].height
