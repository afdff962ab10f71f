"""The format of a film: the size of its pictures, their rate, and how well they are drawn.

A picture has samples in a pixel, sub-frames, and a mesh of some fineness. Each sub-frame has its own time, point on the
lens and offset in the pixel. Averaging sub-frames in linear light smooths edges, gives depth of field and blurs motion.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from studio.config.records import Record, nearest
from studio.config.units import Angle, FrameRate, PixelSize, Size
from studio.field import Array, Interpolation
from studio.film.look import SMALLEST_MESH, Look


class Quality(Record):
    """How well a frame is drawn. samples: along each side of a pixel, in every sub-frame.

    subframes: pictures averaged into a frame. mesh: share of the vertices along a side that the look asks for.
    """

    samples: Annotated[int, Field(ge=1, le=8)] = 2
    subframes: Annotated[int, Field(ge=1, le=1024)] = 1
    mesh: Annotated[float, Field(gt=0, le=1)] = 1.0

    def scale_mesh(self, look: Look) -> Look:
        """The look with this quality's share of its vertices along a side, an odd number."""
        vertices = max(min(look.mesh, SMALLEST_MESH), 2 * round(look.mesh * self.mesh / 2 - 0.5) + 1)
        return look if vertices == look.mesh else look.model_copy(update={"mesh": vertices})


QualityName = Literal["draft", "preview", "final", "master"]
QUALITIES: dict[str, Quality] = {
    # at one sample a pixel, most of the time goes into triangles
    "draft": Quality(samples=1, mesh=0.5),
    "preview": Quality(samples=1, mesh=0.75),
    "final": Quality(samples=2),
    "master": Quality(samples=2, subframes=16),
}


def _parse(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in QUALITIES:
        raise ValueError(f"no quality '{value}'{nearest(value, QUALITIES)}")
    return QUALITIES[value]


QualityField = Annotated[Quality, BeforeValidator(_parse, json_schema_input_type=Quality | QualityName)]
"""A quality by its name, or by its numbers."""


class Format(Record):
    """Size, rate and quality of a film's pictures.

    size: width x height, pixels. fps: frames per second, such as 24, 23.976 or 24000/1001.
    quality: a word, or the numbers behind it.
    shutter: 360deg is open as long as a frame is shown. A frame's time is the middle of its shutter.
    interpolation: of the loss between two keyframes. `cubic` flows: its speed is continuous, and it may overshoot the
    two measurements a little, but never falls below the film's least; `monotone` stays between them, and rests at every
    keyframe.
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


class Subframe(NamedTuple):
    """One of the pictures averaged into a frame. jitter: offset in the pixel, -0.5 to 0.5 along each side.

    lens_point: on the lens, a disc of radius 1. time: from 0, when the shutter opens, to 1, when it closes.
    """

    jitter: tuple[float, float]
    lens_point: tuple[float, float]
    time: float


@lru_cache(maxsize=16)
def subframes(count: int) -> tuple[Subframe, ...]:
    """`count` sub-frames, spread evenly over pixel, lens and shutter; a single one is in the middle of all three.

    Points of Halton (1960); then each dimension is divided into equal steps, in the order of the points.

    >>> subframes(1)
    (Subframe(jitter=(0.0, 0.0), lens_point=(0.0, 0.0), time=0.5),)
    """
    from scipy.stats import qmc

    points = qmc.Halton(5, scramble=False).random(count + 1)[1:]
    x, y, u, v, time = ((np.argsort(np.argsort(points, axis=0), axis=0) + 0.5) / count).T
    lens_points = _square_to_disc(2 * u - 1, 2 * v - 1)
    return tuple(
        Subframe((float(a), float(b)), (float(c), float(d)), float(t))
        for a, b, c, d, t in zip(x - 0.5, y - 0.5, *lens_points, time, strict=True)
    )


def _square_to_disc(x: Array, y: Array) -> tuple[Array, Array]:
    """Places of a square, -1 to 1, mapped to the disc of radius 1: squares become rings. Shirley and Chiu (1997)."""
    radius = np.where(np.abs(x) > np.abs(y), x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(np.abs(x) > np.abs(y), y / x, 2 - x / y) * np.pi / 4
    angle = np.nan_to_num(angle)
    return radius * np.cos(angle), radius * np.sin(angle)
