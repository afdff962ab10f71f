"""The format of a film: the size of its pictures, their rate, and how well they are drawn."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Self

from pydantic import Field, model_validator

from studio.config.records import Record
from studio.config.units import Angle, FrameRate, PixelSize, Size
from studio.field import Interpolation
from studio.film.quality import QUALITIES, QualityField


class Format(Record):
    """Size, rate and quality of a film's pictures.

    size: width x height, pixels. fps: frames per second, such as 24, 23.976 or 24000/1001.
    quality: a word, or the numbers behind it.
    shutter: 360deg is open as long as a frame is shown. A frame's time is the middle of its shutter.
    interpolation: of the loss between two keyframes. `cubic` flows: its
    speed is continuous, and it may overshoot the two measurements a little, but never falls below the film's least;
    `monotone` stays between them, and rests at every keyframe.
    """

    size: PixelSize = Size(1920, 1080)
    fps: FrameRate = Fraction(24)
    quality: QualityField = QUALITIES["final"]
    shutter: Annotated[Angle, Field(ge=0, le=360)] = 0.0
    interpolation: Interpolation = "cubic"

    @model_validator(mode="after")
    def _an_open_shutter_has_subframes(self) -> Self:
        if self.shutter and self.quality.subframes == 1:
            raise ValueError(
                "an open shutter needs sub-frames: write `quality: master` or "
                "`quality: {samples: 2, subframes: 8}`, or leave the shutter out"
            )
        return self
