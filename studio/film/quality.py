"""Quality: how many samples a pixel is made of, in how many sub-frames, and how fine the mesh is.

Each sub-frame has its own time, place on the lens and offset in the picture, so that averaging them in linear light
smooths edges, focuses a lens and blurs what moves.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
from pydantic import BeforeValidator, Field

from studio.config.records import Record, nearest
from studio.film.look import Look

_FEWEST = 33  # vertices along a side


class Quality(Record):
    """samples: along each side of a pixel, in every sub-frame. subframes: pictures that are averaged into a frame.

    mesh: share of the vertices along a side that the look asks for.
    """

    samples: Annotated[int, Field(ge=1, le=8)] = 2
    subframes: Annotated[int, Field(ge=1, le=1024)] = 1
    mesh: Annotated[float, Field(gt=0, le=1)] = 1.0

    def meshed(self, look: Look) -> Look:
        """The look with as many vertices as this quality takes, an odd number."""
        vertices = max(min(look.mesh, _FEWEST), 2 * round(look.mesh * self.mesh / 2 - 0.5) + 1)
        return look if vertices == look.mesh else look.model_copy(update={"mesh": vertices})


Word = Literal["draft", "preview", "final", "master"]
WORDS: dict[Word, Quality] = {
    # most of a picture of one sample is the work for its triangles
    "draft": Quality(samples=1, mesh=0.5),
    "preview": Quality(samples=1, mesh=0.75),
    "final": Quality(samples=2),
    "master": Quality(samples=2, subframes=16),
}


def _named(given):
    if not isinstance(given, str):
        return given
    if given not in WORDS:
        raise ValueError(f"no quality '{given}'{nearest(given, get_args(Word))}")
    return WORDS[given]


Named = Annotated[Quality, BeforeValidator(_named, json_schema_input_type=Quality | Word)]
"""A quality by its word, or by its numbers."""


class Subframe(NamedTuple):
    """jitter: where its samples are, in the squares they stand for, each -0.5 to 0.5. lens: on the disc of radius 1.

    time: between the opening of the shutter, 0, and its closing, 1.
    """

    jitter: tuple[float, float]
    lens: tuple[float, float]
    time: float


@lru_cache(maxsize=16)
def subframes(count: int) -> tuple[Subframe, ...]:
    """So many sub-frames, spread evenly over pixel, lens and shutter; a single one is in the middle of all three.

    Halton (1960), of which each dimension is then divided into equal steps.
    """
    from scipy.stats import qmc

    points = qmc.Halton(5, scramble=False).random(count + 1)[1:]
    x, y, u, v, time = ((np.argsort(np.argsort(points, axis=0), axis=0) + 0.5) / count).T
    lens = _disc(2 * u - 1, 2 * v - 1)
    return tuple(
        Subframe((float(a), float(b)), (float(c), float(d)), float(t))
        for a, b, c, d, t in zip(x - 0.5, y - 0.5, *lens, time, strict=True)
    )


def _disc(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in a square, both from -1 to 1, on the disc of radius 1; squares become rings. Shirley and Chiu (1997)."""
    radius = np.where(np.abs(x) > np.abs(y), x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.where(np.abs(x) > np.abs(y), y / x, 2 - x / y) * np.pi / 4
    turn = np.nan_to_num(turn)
    return radius * np.cos(turn), radius * np.sin(turn)
