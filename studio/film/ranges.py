"""Ranges of height and colour, resolved once from all keyframes: the film's, or one that follows the keyframes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from studio.field import DETAIL, Array, Scale, Surfaces, from_scale, has_negatives, interval, to_scale, zoom
from studio.film.colour import is_diverging
from studio.film.fields import (
    CATEGORIES,
    DERIVED,
    FIELDS,
    SIGNED,
    ColourMapping,
    HeightMapping,
    derive,
    measured_fields,
    missing_advice,
)
from studio.film.look import Look

Range = tuple[float, float]


@dataclass(frozen=True)
class MovingRange:
    """The ends of a scale at each keyframe. Between two, its length goes geometrically, as in a zoom."""

    coordinates: tuple[float, ...]
    ends: tuple[Range, ...]

    def at(self, coordinate: float) -> Range:
        """Both ends at a coordinate; constant before the first keyframe and after the last."""
        k, share = interval(self.coordinates, coordinate)
        return zoom(self.ends[k], self.ends[k + 1], share) if share else self.ends[k]


@dataclass(frozen=True)
class Ranges:
    """The scales of a film. height: both ends of the height scale. cap: highest drawn value of its field.

    colours: each colour mapping with both ends, on its own scale. moving_height, moving_colours: of those that follow
    the keyframes; `at` puts them in place.
    """

    height: Range
    colours: tuple[tuple[ColourMapping, Range], ...]
    cap: float
    moving_height: MovingRange | None = None
    moving_colours: tuple[tuple[ColourMapping, MovingRange], ...] = ()

    def at(self, coordinate: float) -> Ranges:
        """The scales at a coordinate."""
        if not self.moving_height and not self.moving_colours:
            return self
        height = self.moving_height.at(coordinate) if self.moving_height else self.height
        moved = dict(self.colours) | {mapping: moving.at(coordinate) for mapping, moving in self.moving_colours}
        return Ranges(height, tuple(moved.items()), self.cap)

    def upside_down(self) -> Ranges:
        """The same scales, with the ends of the heights exchanged."""
        return replace(self, height=self.height[::-1])

    def colour_ends(self, mapping: ColourMapping) -> Range:
        """Both ends of a colour mapping, on its own scale. Raises KeyError."""
        return dict(self.colours)[mapping]


def ranges(surfaces: Iterable[Surfaces], look: Look, mappings: tuple[ColourMapping, ...]) -> Ranges:
    """Ranges over the measured values inside the drawn part of each keyframe, of all landscapes together.

    Raises ValueError if a field was not measured, none of its values is finite, or they are negative on a scale that
    has no negative values.
    """
    surfaces = tuple(surfaces)
    heights = _by_keyframe(surfaces, look.height.field, look.fade.end)
    values = np.concatenate([*heights.values()])
    _check_sign(values, look.height.field, look.height.scale, "look.height")
    if look.height.scale == "log":
        heights = {k: drawn[drawn > 0] for k, drawn in heights.items()}
        values = values[values > 0]
    if not values.size:
        raise ValueError(f"not one finite value of '{look.height.field}' was measured, so there is nothing to draw")
    cap = float(min(values.max(), look.height.cap or np.inf))

    def height_ends(values: Array) -> Range:
        return _ends(look.height.to_scale(np.minimum(values, cap)))

    fixed, moving = {}, {}
    for mapping in dict.fromkeys(mappings):
        by_keyframe = _by_keyframe(surfaces, mapping.field, look.fade.end)
        colour_ends = partial(_colour_ends, look=look, mapping=mapping, cap=cap)
        fixed[mapping] = colour_ends(np.concatenate([*by_keyframe.values()]))
        if mapping.range == "keyframe":
            moving[mapping] = _moving_range(by_keyframe, colour_ends)
    moving_height = _moving_range(heights, height_ends) if look.height.range == "keyframe" else None
    return Ranges(height_ends(values), tuple(fixed.items()), cap, moving_height, tuple(moving.items()))


def _moving_range(by_keyframe: Mapping[float, Array], ends: Callable[[Array], Range]) -> MovingRange:
    known = {k: values for k, values in by_keyframe.items() if values.size}
    return MovingRange(tuple(known), tuple(map(ends, known.values())))


def _check_sign(values: Array, field: str, scale: str, key: str) -> None:
    if scale in ("log", "sqrt") and has_negatives(values):
        raise ValueError(
            f"the {field} falls to {values.min():.3g}, and what is below 0 has no {scale}; write "
            f"`scale: signed-log` or `scale: linear` under `{key}`"
        )


def _colour_ends(values: Array, look: Look, mapping: ColourMapping, cap: float) -> Range:
    """Both ends of a colour mapping, on its own scale, from finite values of its field."""
    if isinstance(mapping.range, tuple):
        return _ends(on_colour_scale(np.array(mapping.range), mapping, look.height))
    if mapping.field in DERIVED:  # a share: its scale begins at 0, and that of categories has all of them
        values = np.append(values, list(CATEGORIES.get(mapping.field, (0.0,))))
    if not values.size:
        raise ValueError(f"not one finite value of '{mapping.field}' was measured, so there is nothing to colour by")
    _check_sign(values, mapping.field, mapping.scale, "colour")
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


def cuts(surfaces: Surfaces, look: Look, mapping: ColourMapping, scales: Ranges) -> list[str]:
    """Lines that say at how many measured points a drawn field is beyond the ends of its scale, and how far.

    Such points lie outside the drawn part, or beyond a cap or a range of the look.
    """
    height, lines = look.height, []
    own: Scale = height.scale if mapping.field == height.field else "linear"
    own = own if mapping.scale == "height" else mapping.scale
    shown = (height.field, height.scale, scales.height), (mapping.field, own, scales.colour_ends(mapping))
    for field, scale, (low, high) in dict.fromkeys(shown):
        parts = (_by_keyframe([surfaces], field, radius).values() for radius in (np.inf, look.fade.end))
        # a plane that stands still is the same at every keyframe, and counts once
        measured, drawn = (np.concatenate([*{values.tobytes(): values for values in part}.values()]) for part in parts)
        for word, sign, end, extreme in (("higher, up", 1.0, high, np.max), ("lower, down", -1.0, low, np.min)):
            scaled = (to_scale(values, scale) for values in (measured, drawn))
            beyond, seen = (sign * (values - end) > 1e-9 * (high - low) for values in scaled)
            if beyond.any():
                where = "" if seen.any() else ", all outside the drawn part"
                lines.append(
                    f"{FIELDS.get(field, field)}: cut at {from_scale(np.array(end), scale):.3g}, {beyond.sum()} of "
                    f"{beyond.size} points are {word} to {extreme(measured[beyond]):.3g}{where}"
                )
    return [*dict.fromkeys(lines)]


def on_colour_scale(values: Array, mapping: ColourMapping, height: HeightMapping) -> Array:
    """Field values on the scale over which a mapping spreads its colours."""
    if mapping.scale == "height":
        return height.to_scale(values) if mapping.field == height.field else values
    return to_scale(values, mapping.scale)


def _by_keyframe(surfaces: Iterable[Surfaces], field: str, radius: float) -> Mapping[float, Array]:
    """{keyframe: finite values of a field on the drawn surfaces, flat}. Raises ValueError if it was not measured."""
    found: dict[float, list[Array]] = {}
    for landscape in surfaces:
        if advice := missing_advice(field, landscape.fields):
            raise ValueError(advice)
        detail = [(field + DETAIL,)] if field + DETAIL in landscape.fields else []
        for measured in (measured_fields(field), *detail):
            for k, values in _drawn_nodes(landscape, field, measured, radius):
                found.setdefault(k, []).append(values)
    return {k: np.concatenate(found[k]) for k in sorted(found)}


def _drawn_nodes(
    surfaces: Surfaces, field: str, measured: tuple[str, ...], radius: float
) -> Iterator[tuple[float, Array]]:
    """(keyframe, finite values at the nodes on the drawn surface, flat). radius: where that ends, in the window."""
    first = surfaces.fields[measured[0]]
    for k, (coordinate, grid) in enumerate(zip(first.coordinates, first.grids, strict=True)):
        values = derive(field, [np.asarray(surfaces.fields[name].values[k], np.float64) for name in measured])
        window = surfaces.window(coordinate)
        (half, across), (alpha, beta) = window.half_sides, window.centre
        x, y = grid.alpha - alpha, (grid.beta - beta) * (half / across)
        inside = values[y[:, None] ** 2 + x[None, :] ** 2 <= (radius * half) ** 2]
        yield coordinate, inside[np.isfinite(inside)]


def _ends(values: Array) -> Range:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)
