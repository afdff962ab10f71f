"""Film-wide ranges of height and colour, resolved once from all keyframes, so that no scale changes during the film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.field import DETAIL, Array, Surfaces
from studio.film.colour import is_diverging
from studio.film.fields import DERIVED, SIGNED, ColourMapping, HeightMapping, derive, measured_fields, missing_advice
from studio.film.look import Look

Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """The fixed scales of a film. height: both ends of the height scale. cap: highest drawn value of its field.

    colours: each colour mapping with both ends, on its own scale.
    """

    height: Range
    colours: tuple[tuple[ColourMapping, Range], ...]
    cap: float

    def colour_ends(self, mapping: ColourMapping) -> Range:
        """Both ends of a colour mapping, on its own scale. Raises KeyError."""
        return dict(self.colours)[mapping]


def ranges(surfaces: Surfaces, look: Look, mappings: tuple[ColourMapping, ...]) -> Ranges:
    """Film-wide ranges over the measured values inside the drawn disc.

    Raises ValueError if a field was not measured, or none of its values is finite.
    """
    values = _inside(surfaces, look.height.field, look.fade.end)
    if not values.size:
        raise ValueError(f"not one finite value of '{look.height.field}' was measured, so there is nothing to draw")
    cap = float(min(values.max(), look.height.cap or np.inf))
    height = _ends(look.height.to_scale(np.minimum(values[values > 0] if look.height.scale == "log" else values, cap)))
    colours = ((mapping, _colour_ends(surfaces, look, mapping, cap)) for mapping in dict.fromkeys(mappings))
    return Ranges(height, tuple(colours), cap)


def _colour_ends(surfaces: Surfaces, look: Look, mapping: ColourMapping, cap: float) -> Range:
    """Both ends of a colour mapping, on its own scale."""
    values = _inside(surfaces, mapping.field, look.fade.end)
    if mapping.range is not None:
        return _ends(on_colour_scale(np.array(mapping.range), mapping, look.height))
    if mapping.field in DERIVED:  # a share: its scale begins at 0, and that of a yes or no has both
        values = np.append(values, [0.0, 1.0] if mapping.field == "hidden" else 0.0)
    if not values.size:
        raise ValueError(f"not one finite value of '{mapping.field}' was measured, so there is nothing to colour by")
    if mapping.field == look.height.field:
        values = np.minimum(values, cap)
    low, high = _ends(on_colour_scale(values, mapping, look.height))
    centred_on_0 = mapping.centre is None and mapping.field in SIGNED and is_diverging(mapping.map)
    centre = 0.0 if centred_on_0 else mapping.centre
    if centre is None:
        return low, high
    middle = float(on_colour_scale(np.array(centre), mapping, look.height))
    reach = max(middle - low, high - middle)
    return middle - reach, middle + reach


def on_colour_scale(values: Array, mapping: ColourMapping, height: HeightMapping) -> Array:
    """Field values on the scale over which a mapping spreads its colours."""
    if mapping.scale == "height":
        return height.to_scale(values) if mapping.field == height.field else values
    return HeightMapping(scale=mapping.scale).to_scale(values)


def _inside(surfaces: Surfaces, field: str, radius: float) -> Array:
    """The finite values of a field inside the drawn disc, over all keyframes, flat. Raises ValueError if missing."""
    if advice := missing_advice(field, surfaces.fields):
        raise ValueError(advice)
    measured = measured_fields(field)
    reach = radius * surfaces.fields[measured[0]].grid.range[1]
    values = [_nodes_inside(surfaces, field, measured, reach)]
    if field + DETAIL in surfaces.fields:
        values.append(_nodes_inside(surfaces, field, (field + DETAIL,), reach))
    return np.concatenate(values)


def _nodes_inside(surfaces: Surfaces, field: str, measured: Sequence[str], reach: float) -> Array:
    """The finite values of a field at nodes no farther from the centre than `reach`, flat."""
    values = derive(field, [np.asarray(surfaces.fields[name].values, np.float64) for name in measured])
    axis = surfaces.fields[measured[0]].grid.axis
    inside = values[:, axis[:, None] ** 2 + axis[None, :] ** 2 <= reach**2].ravel()
    return inside[np.isfinite(inside)]


def _ends(values: Array) -> Range:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)
