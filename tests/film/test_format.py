import pytest
from pydantic import ValidationError

from studio.film.format import Format


def test_an_open_shutter_without_subframes_is_refused_with_the_way_out():
    with pytest.raises(ValidationError, match="needs sub-frames: write `quality: master`"):
        Format(shutter="180deg")
    assert Format(shutter="180deg", quality="master").shutter == 180.0
    with pytest.raises(ValidationError, match="less than or equal to 360"):
        Format(shutter="361deg", quality="master")
