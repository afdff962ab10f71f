from fractions import Fraction

import pytest
from pydantic import TypeAdapter

from studio.config.units import FrameRate, Time


@pytest.mark.parametrize(
    ("text", "seconds", "frames"),
    [
        ("12s", 12, 300),
        ("12 s", 12, 300),
        ("30f", 1.2, 30),
        ("1:30", 90, 2250),
        ("1:00:00", 3600, 90000),
        ("0:01.5", 1.5, 38),
        ("0s", 0, 0),
    ],
)
def test_a_time_is_seconds_or_frames_or_a_timecode(text, seconds, frames):
    time = Time.parse(text)
    assert (time.seconds(Fraction(25)), time.frames(Fraction(25))) == (seconds, frames)


@pytest.mark.parametrize("word", ["12", "s", "1m", "1:2:3:4", "twelve", "1..2s", "1:30f", "--1s", ""])
def test_a_time_without_a_unit_is_refused(word):
    with pytest.raises(ValueError, match="12s, 288f or 1:30"):
        Time.parse(word)


@pytest.mark.parametrize("time", [Time(3600.125), Time(0.1), Time(1234567, "f")])
def test_a_time_survives_being_written_and_read(time):
    assert Time.parse(str(time)) == time


def test_the_rates_of_video_are_exact():
    read = TypeAdapter(FrameRate).validate_python
    rates = [read(text) for text in ("23.976", "29.97", "59.94", "24000/1001", "25", "12.5")]
    assert rates == [
        Fraction(24000, 1001),
        Fraction(30000, 1001),
        Fraction(60000, 1001),
        Fraction(24000, 1001),
        25,
        Fraction(25, 2),
    ]
