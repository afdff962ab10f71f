"""Views that a director captured, as keys of a shot's camera: they are written as YAML, and play as the film will.

A key looks at a point of the scene from orbit coordinates around it, so the film reproduces the view that was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field

from studio.config.records import Record
from studio.config.units import LONGEST_TIME
from studio.film.easing import EaseField
from studio.film.pose import Point
from studio.film.timeline import Shot


class ViewKey(Record):
    """A captured view: when the shot has it, what it shows, and where its camera is.

    at: seconds from the start of the shot. coordinate: of the sweep. position, focal_point: scene units. view_angle:
    vertical, degrees. ease: how the camera arrives; it flows through if omitted.
    """

    at: Annotated[float, Field(ge=0, le=LONGEST_TIME)]
    coordinate: float
    position: Point
    focal_point: Point
    view_angle: Annotated[float, Field(ge=1, le=150)]
    ease: EaseField | None = None


def choreography(keys: Sequence[ViewKey]) -> dict[str, Any]:
    """What a shot that passes these views says, as texts: its `along`, its `camera`, and for several its `duration`.

    Raises ValueError if there is no key, or if the times do not rise from 0.
    """
    times = [key.at for key in keys]
    if not keys:
        raise ValueError("no view is captured yet; capture one first")
    if times[0] != 0 or any(_number(a) == _number(b) or a > b for a, b in pairwise(times)):
        raise ValueError("the times of the keys must rise, and the first is 0; change a time, or the order")
    poses, before = [], 0.0
    for key in keys:
        poses.append(_pose(key, before))
        before = float(poses[-1]["azimuth"].removesuffix("deg"))
    targets = [[_number(place) for place in key.focal_point] for key in keys]
    turns = any(target != targets[0] for target in targets)  # then each key says where: between two that do, it turns
    moves = [
        {
            "at": f"{_number(key.at)}s",
            **pose,
            **({"look_at": target} if turns else {}),
            **({"ease": str(key.ease)} if key.ease else {}),
        }
        for key, pose, target in zip(keys[1:], poses[1:], targets[1:], strict=True)
    ]
    camera = {"look_at": targets[0], "start": poses[0], **({"moves": [{"keys": moves}]} if moves else {})}
    along = {f"{_number(key.at)}s": _number(key.coordinate) for key in keys}
    return {**({"duration": f"{_number(times[-1])}s"} if moves else {}), "along": along, "camera": camera}


def with_keys(shot: Shot, keys: Sequence[ViewKey]) -> Shot:
    """The shot with the camera and the instants of some views. Raises ValueError for what makes no camera."""
    return Shot.model_validate({**dict(shot), **choreography(keys)})


def _pose(key: ViewKey, before: float) -> dict[str, str]:
    """A view as texts of a pose. before: the azimuth of the key before, from which the camera turns the short way."""
    x, y, z = (p - f for p, f in zip(key.position, key.focal_point, strict=True))
    distance = math.hypot(x, y, z)
    azimuth = math.degrees(math.atan2(y, x))
    azimuth += 360 * round((before - azimuth) / 360)
    elevation = math.degrees(math.asin(z / distance)) if distance else 0.0
    lens = 12 / math.tan(math.radians(key.view_angle / 2))  # over a gate 24 mm high
    return {
        "azimuth": f"{_number(azimuth)}deg",
        "elevation": f"{_number(elevation)}deg",
        "distance": _number(distance),
        "lens": f"{_number(lens)}mm",
    }


def _number(value: float) -> str:
    """A number in four decimals: a hundredth of a pixel of a large picture."""
    return f"{round(value, 4) + 0.0:.10g}"
