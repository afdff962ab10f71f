from dataclasses import replace

import numpy as np
import pytest

from studio.config.reading import parse
from studio.film.chart import Chart
from studio.film.format import Format
from studio.film.frame_source import FrameSource
from studio.film.marks import Curve, Text
from studio.film.overlays import Titles
from studio.film.timeline import Shot
from studio.render.text import glyph_masks

CHART = "numbers: {loss: loss, '2/rate': 2/lr}\nscale: log"


@pytest.fixture
def measured(surfaces, bowl):
    """The loss at the centre is 4, 2, 1, 0.5; the rate is 0.5."""
    return replace(
        surfaces(*(bowl() + loss - 0.1 for loss in (4, 2, 1, 0.5))),
        metric_coordinates=(0.0, 1.0, 2.0, 3.0),
        metrics={"learning_rate": (0.5,) * 4},
    )


def marks(chart: Chart, measured, coordinate: float) -> tuple[list[Curve], list[Text]]:
    drawn = chart.draw(chart.series(measured), coordinate, 16 / 9, 0.02, "#ffffff")
    return [m for m in drawn if isinstance(m, Curve)], [m for m in drawn if isinstance(m, Text)]


def test_a_chart_has_a_curve_a_number_and_a_dot_where_the_film_is(measured):
    curves, texts = marks(parse(CHART, Chart, name="c"), measured, 1.5)
    loss, rate = curves
    slopes = np.diff(loss.points[:, 1])
    assert (
        slopes == pytest.approx([slopes[0]] * 3) and slopes[0] > 0
    )  # halved each time: a straight fall on a log scale
    assert np.ptp(rate.points[:, 1]) == 0 and rate.points[0, 1] == loss.points[0, 1]  # both 4
    dots = [text for text in texts if text.text == "\u2022"]
    assert (dots[0].x, dots[0].y) == pytest.approx(loss.points[1:3].mean(axis=0))
    assert {"loss", "2/rate", "4", "0.5"} <= {text.text for text in texts}
    everything = np.concatenate([curve.points for curve in curves])
    assert everything.min() > 0 and everything[:, 0].max() < 16 / 9 - 0.06


def test_the_past_alone_grows_with_the_film(measured):
    chart = parse(CHART + "\npast: true", Chart, name="c")
    lengths = [np.ptp(marks(chart, measured, at)[0][0].points[:, 0]) for at in (0.5, 1.5, 3.0)]
    assert lengths == pytest.approx([lengths[2] / 6, lengths[2] / 2, lengths[2]])


def test_names_never_lie_over_one_another(measured):
    chart = parse("numbers: {a: loss, b: 1*loss, c: 1.01*loss, d: 2*loss}", Chart, name="c")
    heights = sorted(text.y for text in marks(chart, measured, 1.0)[1] if text.text in "abcd")
    assert np.diff(heights).min() >= 0.0249


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numbers: {a: los}", "no number 'los'; did you mean 'loss'?"),
        ("numbers: {a: 0*loss}\nscale: log", "titles.chart: a has no value to show on a log scale"),
    ],
)
def test_a_number_that_cannot_be_shown_is_said(measured, text, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        parse(text, Chart, name="c").series(measured)


def test_a_film_shows_its_chart_and_a_curve_becomes_pixels(measured, look):
    shot = parse("shot: a\nduration: 1s\nalong: {0s: 0, 1s: 3}", Shot, name="s")
    titles = Titles(chart=parse(CHART, Chart, name="c"))
    source = FrameSource.of((shot,), {"": measured}, look(), titles, Format(), {"": {"loss": "", "convexity": ""}})
    curves = [mark for mark in source.frame(12).overlays if isinstance(mark, Curve)]
    assert len(curves) == 2
    [mask] = [m for m in glyph_masks((curves[0],), 1080) if m.mask.shape[0] > 20]
    assert mask.mask.max() > 200 and 0.001 < (mask.mask > 128).mean() < 0.1
