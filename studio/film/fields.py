"""Drawable fields: which are measured and which derived, and how a look maps one to height and one to colour."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from studio.config.functions import SCHEMA as FUNCTION_SCHEMA
from studio.config.records import Record, nearest
from studio.config.units import Colour, Name, Positive, Share
from studio.field import Array, Scale, definiteness, hidden_curvature, negative_share, to_scale
from studio.film.colour import check_colormap

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
    "eigenvalue-ratio": "eigenvalue ratio |min / max|",
    "definiteness": "signs of the Hessian",
    "taylor": "error of the quadratic model",
}
"""Drawable fields and their labels in a legend; a metric of the user's has its own name, `package.module:name`."""
SIGNED = ("lambda_min", "lambda_max", "kappa_min", "kappa_max")
SCALES: dict[str, Scale] = {
    "loss": "log",
    "accuracy": "linear",
    "entropy": "linear",
    **dict.fromkeys(SIGNED, "signed-log"),
}
"""The scale on which a measured field is refined and blended; a metric of the user's is linear."""
DERIVED: dict[str, tuple[tuple[str, ...], Callable[..., Array]]] = {
    "convexity": (("lambda_min", "lambda_max"), negative_share),
    "plane-convexity": (("kappa_min", "kappa_max"), negative_share),
    "hidden": (SIGNED, hidden_curvature),
    "eigenvalue-ratio": (SIGNED[:2], lambda low, high: np.abs(low / np.where(high == 0, np.nan, high))),
    "definiteness": (SIGNED[:2], definiteness),
}
"""Fields computed from measured ones, after these were blended in time and refined in space."""
CATEGORIES: dict[str, dict[float, str]] = {
    "hidden": {0: "no", 1: "yes"},
    "definiteness": {-1: "negative", 0: "mixed", 1: "positive"},
}
"""Derived fields of a few values, and the name of each, in rising order."""


def measured_fields(field: str) -> tuple[str, ...]:
    """The measured fields that a drawable one is computed from; itself if it is measured."""
    return DERIVED[field][0] if field in DERIVED else (field,)


def derive(field: str, values: Sequence[Array]) -> Array:
    """A drawable field from the values of its `measured_fields`, in their order."""
    return DERIVED[field][1](*values) if field in DERIVED else values[0]


def grid_of(field: str) -> Literal["loss", "convexity"]:
    """Which of the scene's two grids a drawable field is measured on."""
    return "convexity" if field in (*SIGNED, *DERIVED, "taylor") else "loss"


def missing_advice(field: str, measured: Container[str]) -> str | None:
    """What to add to a scene so that a field can be drawn, in words; None if everything it needs is measured."""
    if all(name in measured for name in measured_fields(field)):
        return None
    if field == "accuracy":
        return "a preview measures no accuracy; set `sampling: exact` in the scene's loss"
    if grid_of(field) == "convexity":
        return f"nothing measures the {field}; add `convexity: {{points: 11}}` to the scene"
    return f"nothing measures the {field}; add `fields: [{field}]` to the scene's loss"


def _field_name(*names: str) -> tuple[AfterValidator, WithJsonSchema]:
    """Annotations of a text that is one of `names`, or the name of a metric of the user's."""

    def check(name: str) -> str:
        if name not in names and ":" not in name:
            raise ValueError(f"no field '{name}'{nearest(name, names)}")
        return name

    return AfterValidator(check), WithJsonSchema({"anyOf": [{"enum": list(names)}, FUNCTION_SCHEMA]})


class HeightMapping(Record):
    """The field drawn as height, and its scale.

    field: a measured field, one derived from them, or a function of the user's.
    scale: from the field's values to heights; `signed-log` is arcsinh, for values that may be negative.
    range: of the drawn values: that of the `film`; or that of each `keyframe`, so that a zoom shows the scale it has
    reached. cap: higher values are drawn at it, in the field's units. exaggeration: drawn height of the range, scene
    units. smoothing: of the surface between the measured points, which never move; 0 is straight. reverse: draws the
    land upside down, the lowest value highest, which the picture's notes say; or a list of the landscapes so drawn.
    """

    field: Annotated[str, *_field_name(*(name for name in FIELDS if name not in CATEGORIES))] = "loss"
    scale: Literal["log", "sqrt", "linear", "signed-log"] = "log"
    range: Literal["film", "keyframe"] = "film"
    cap: Positive | None = None
    exaggeration: Positive = 0.56
    smoothing: Share = 1.0
    reverse: bool | tuple[Name, ...] = Field(False, exclude_if=lambda reverse: reverse is False)

    @model_validator(mode="after")
    def _has_a_scale(self) -> Self:
        _check_sign(self.field, self.scale)
        return self

    def reverses(self, landscape: str) -> bool:
        """Whether a landscape is drawn upside down."""
        return self.reverse if isinstance(self.reverse, bool) else landscape in self.reverse

    def to_scale(self, values: Array) -> Array:
        """Values on the height scale; inf becomes the cap if there is one, NaN stays NaN.

        >>> HeightMapping(scale="sqrt", cap=16.0).to_scale(np.array([4.0, np.inf])).tolist()
        [2.0, 4.0]
        """
        return to_scale(values if self.cap is None else np.minimum(values, self.cap), self.scale)


Stops = tuple[tuple[Share, Colour], ...]
_SIGNS = {"map": [[0, "#d55e00"], [0.5, "#f0e442"], [1, "#0072b2"]], "scale": "linear", "range": "film"}  # Okabe & Ito


class ColourMapping(Record):
    """The field drawn as colour, its range and its colormap.

    field: as for height; or `hidden`, convex in the picture but not in the network; or `definiteness`, the signs of the
    Hessian's eigenvalues: negative, mixed or positive, in colours of its own unless a map stands beside it.
    map: a colormap of matplotlib, cmocean, colorcet or cmcrameri (`_r` reverses it), or stops [[0, "#..."], ...].
    scale: `height` is that of the drawn height; the others are as for height. range: in the field's units; or
    that of the `film`, or of each `keyframe`. centre: the value at the middle of the map, which then reaches equally
    far down and up; if omitted, 0 for a diverging map of a field that may be negative.
    """

    field: Annotated[str, *_field_name(*FIELDS)] = "loss"
    map: Annotated[str, AfterValidator(check_colormap)] | Stops = "inferno"
    scale: Literal["height", "log", "sqrt", "linear", "signed-log"] = "height"
    range: Annotated[
        Annotated[tuple[float, float], Tag("ends")] | Annotated[Literal["film", "keyframe"], Tag("range")],
        Discriminator(lambda value: "range" if isinstance(value, str) else "ends"),
    ] = "film"
    centre: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_colours_of_its_own(cls, value: Any) -> Any:
        return _SIGNS | value if isinstance(value, dict) and value.get("field") == "definiteness" else value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _check_sign(self.field, self.scale)
        ends = self.range if isinstance(self.range, tuple) else None
        check_on_scale(self.scale, "range", *(ends or ()))
        check_on_scale(self.scale, "centre", *(() if self.centre is None else (self.centre,)))
        if ends and self.centre is not None:
            raise ValueError("range and centre are two ways to say where the map ends; give one of them")
        if ends and not ends[0] < ends[1]:
            raise ValueError(f"range [{ends[0]:g}, {ends[1]:g}] is empty or reversed")
        if not isinstance(self.map, str):
            places = [place for place, _ in self.map]
            if places != sorted({0.0, *places, 1.0}):
                raise ValueError("map: stops must rise from 0 to 1")
        return self


def _check_sign(field: str, scale: str) -> None:
    if field in SIGNED and scale in ("log", "sqrt"):
        raise ValueError(f"{field} may be negative, which has no {scale}; use `scale: signed-log` or `linear`")


def check_on_scale(scale: str, name: str, *values: float) -> None:
    """Raises ValueError if one of the values, called `name` in the message, has no place on a scale."""
    for value in values:
        if (value < 0 and scale in ("log", "sqrt")) or (value == 0 and scale == "log"):
            raise ValueError(f"{name} {value:g} has no {scale}; write one above 0, or use another scale")
