import pytest

from studio.config.reading import parse
from studio.errors import SceneError
from studio.film.lines import Contours, Fade, Marker, Wire


@pytest.mark.parametrize(
    ("text", "record", "message"),
    [
        ("{labels: true}", Contours, "labels need round numbers: set `step` and `index`"),
        ("{labels: true, step: 0.5}", Contours, "labels need round numbers"),
        ("{along: gamma}", Wire, "no along 'gamma'"),
        ("{start: 0.9, end: 0.5}", Fade, "fade from 0.9 to 0.5 is empty or reversed"),
        ("{halo: '#fff'}", Marker, "'#fff' is not a colour"),
    ],
)
def test_invalid_lines_are_one_mistake(text, record, message):
    with pytest.raises(SceneError, match=message) as caught:
        parse(text, record)
    assert len(caught.value.mistakes) == 1


def test_contours_with_a_step_and_an_index_may_have_labels():
    assert parse("{labels: true, step: 0.5, index: 2}", Contours).labels
