"""Which measured numbers are the height and which the colour of a picture, and on what scales."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, WithJsonSchema, model_validator

from studio.config.functions import SCHEMA as OWN
from studio.config.records import Record, nearest
from studio.config.units import Colour, Positive, Share
from studio.film.colour import known

FIELDS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "entropy": "entropy",
    "lambda_min": "smallest Hessian eigenvalue",
    "lambda_max": "largest Hessian eigenvalue",
    "kappa_min": "smallest curvature in the plane",
    "kappa_max": "largest curvature in the plane",
    "convexity": "share of negative curvature",
    "plane-convexity": "negative curvature in the plane",
    "hidden": "convex in the picture only",
}
"""What may be drawn, and how a legend names it; a metric of the user's goes by its own name, `package.module:name`."""
SIGNED = ("lambda_min", "lambda_max", "kappa_min", "kappa_max")


def _drawable(*words: str) -> tuple:
    """What makes a text one of some words, or the name of a metric of the user's."""

    def named(name: str) -> str:
        if name not in words and ":" not in name:
            raise ValueError(f"no field '{name}'{nearest(name, words)}")
        return name

    return AfterValidator(named), WithJsonSchema({"anyOf": [{"enum": list(words)}, OWN]})


class HeightMapping(Record):
    """Which field is the height, and on what scale; `signed-log` is arcsinh.

    cap: values above it are drawn at it (in the field's units). exaggeration: drawn height of the film's full range.
    smoothing: of the sheet between the measured points, none of which it moves; 0 is straight from one to the next.
    """

    field: Annotated[str, *_drawable(*(name for name in FIELDS if name != "hidden"))] = "loss"
    scale: Literal["log", "sqrt", "linear", "signed-log"] = "log"
    cap: Positive | None = None
    exaggeration: Positive = 0.56
    smoothing: Share = 1.0

    @model_validator(mode="after")
    def _makes_sense(self):
        _has_a_scale(self.field, self.scale)
        return self

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values on the height scale; inf becomes the cap (if there is one), NaN stays NaN."""
        capped = values if self.cap is None else np.minimum(values, self.cap)
        if self.scale == "log":
            return np.log(np.maximum(capped, np.finfo(np.float64).tiny))
        if self.scale == "signed-log":
            return np.arcsinh(capped)
        return np.sqrt(np.maximum(capped, 0.0)) if self.scale == "sqrt" else capped


Stops = tuple[tuple[Share, Colour], ...]


class ColourMapping(Record):
    """Which field is the colour, its range (film-wide if not given) and the colormap.

    map: a colormap of matplotlib, cmocean, colorcet or cmcrameri (`_r` turns it round), or stops [[0, "#..."], ...].
    scale: `height` follows the drawn height; the others are as for height. range: in the field's units. centre: the
    value in the middle of the map, which then reaches as far down as up; 0 if not given, where a map that diverges
    shows what may be negative.
    """

    field: Annotated[str, *_drawable(*FIELDS)] = "loss"
    map: Annotated[str, AfterValidator(known)] | Stops = "inferno"
    scale: Literal["height", "log", "sqrt", "linear", "signed-log"] = "height"
    range: tuple[float, float] | None = None
    centre: float | None = None

    @model_validator(mode="after")
    def _makes_sense(self):
        _has_a_scale(self.field, self.scale)
        lies_on(self.scale, "range", *(self.range or ()))
        lies_on(self.scale, "centre", *(() if self.centre is None else (self.centre,)))
        if self.range is not None and self.centre is not None:
            raise ValueError("range and centre are two ways to say where the map ends; give one of them")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range [{self.range[0]:g}, {self.range[1]:g}] is empty or reversed")
        if not isinstance(self.map, str):
            places = [place for place, _ in self.map]
            if (
                len(places) < 2
                or places[0] != 0
                or places[-1] != 1
                or any(a >= b for a, b in itertools.pairwise(places))
            ):
                raise ValueError("map: stops must rise from 0 to 1")
        return self


def _has_a_scale(field: str, scale: str) -> None:
    if field in SIGNED and scale in ("log", "sqrt"):
        raise ValueError(f"{field} may be negative, which has no {scale}; take `scale: signed-log` or `linear`")


def lies_on(scale: str, name: str, *values: float) -> None:
    """Raises ValueError if one of the values, which the user calls `name`, has no place on a scale."""
    for value in values:
        if (value < 0 and scale in ("log", "sqrt")) or (value == 0 and scale == "log"):
            raise ValueError(f"{name} {value:g} has no {scale}; write one above 0, or take another scale")
