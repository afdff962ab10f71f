"""Quantities: measured numbers by name against the coordinate of the sweep, such as `loss`, `test_accuracy` or `2/lr`.

A field is read where the network is, at the keyframes that measured it; a metric at the checkpoints.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from studio.config.records import nearest
from studio.field import Instant, Surfaces
from studio.film.surface import value_at

FORM = r"(?:([-+]?[\d.]+(?:e[-+]?\d+)?)\s*([*/])\s*)?([A-Za-z_]\w*)"
"""An optional number before * or /, and a name."""
SHORT = {"lr": "learning_rate"}


class Quantity(str):
    """A number's name, or that times a constant, or a constant over it. Raises ValueError for anything else."""

    def __init__(self, text: str) -> None:
        if re.fullmatch(FORM, text.strip()) is None:
            raise ValueError(f"'{text}' is no number's name; write it like loss, test_accuracy or 2/lr")

    @property
    def measured(self) -> str:
        """The name of the number in it."""
        name = self._parts[2]
        return SHORT.get(name, name)

    @property
    def _parts(self) -> tuple[str, str, str]:
        found = re.fullmatch(FORM, self.strip())
        assert found is not None  # since __init__
        return found[1] or "1", found[2] or "*", found[3]

    def series(self, surfaces: Surfaces) -> dict[float, float]:
        """Its values by the coordinates at which it was measured. Raises ValueError if it was not."""
        number, operation, _ = self._parts
        factor = float(number)
        values = _measured(surfaces, self.measured)
        if operation == "*":
            return {at: factor * value for at, value in values.items()}
        return {at: factor / value if value else math.inf for at, value in values.items()}


def _measured(surfaces: Surfaces, name: str) -> Mapping[float, float]:
    if name in surfaces.fields:
        measured = surfaces.fields[name].coordinates
        if len(measured) == 1 and surfaces.markers:  # a plane that stands still, over which the network goes
            measured = surfaces.markers.coordinates
        return {at: _where_the_network_is(surfaces.at(at), name) for at in measured}
    if name in surfaces.metrics:
        return dict(zip(surfaces.metric_coordinates, surfaces.metrics[name], strict=True))
    raise ValueError(f"no number '{name}'{nearest(name, [*surfaces.fields, *surfaces.metrics])}")


def _where_the_network_is(instant: Instant, name: str) -> float:
    """A field at the marker, else in the middle; measured at one point, it is known there alone."""
    layer = instant.layers[name][0]
    if layer.grid.size == 1:
        return float(layer.values[0, 0])
    return value_at(instant, name, instant.marker or instant.window.centre)


_SCHEMA = {"type": "string", "description": "number", "examples": ["loss", "2/lr"]}
QuantityField = Annotated[
    Quantity, BeforeValidator(lambda text: Quantity(str(text))), PlainSerializer(str), WithJsonSchema(_SCHEMA)
]
