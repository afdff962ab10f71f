import pytest
from pydantic import ValidationError

from studio.field import Grid
from studio.landscape.detail import Detail


def test_the_finer_grid_has_the_details_range_and_points():
    assert Detail(range=(-0.2, 0.2), points=21).grid == Grid(range=(-0.2, 0.2), points=21)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"range": (-1, 1), "points": 2}, "at least 3"),
        ({"range": (1, -1)}, "reversed"),
        ({"range": (-1, 1), "at": []}, "empty list"),
    ],
    ids=str,
)
def test_a_detail_that_makes_no_grid_is_a_mistake(keys, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Detail(**keys)
