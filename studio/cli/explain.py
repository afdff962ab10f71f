"""What a frame is made of: every resolved value, and the line of the scene that it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.config.reading import compose, line_of, read_text
from studio.film.frame_source import FrameSource
from studio.film.marks import Text
from studio.film.timeline import Shot, ShotShare
from studio.scene.scene import Scene

TEXT_WIDTH = 100
"""Letters of a text on the picture that are printed."""


def explain(scene: Scene, path: Path, source: FrameSource, number: int) -> Iterator[str]:
    """Lines `name  value  file:line` of frame `number`."""
    root, fps = compose(read_text(path), str(path)), source.cut.fps

    def line(name: str, value: Any, *keys: Any) -> str:
        shown = " ".join(f"{part:.6g}" for part in value) if isinstance(value, tuple) else value
        shown = f"{shown:.6g}" if isinstance(shown, float) else shown
        place = f"{path.name}:{line_of(root, keys)}" if keys else ""
        return f"{name:22} {shown!s:44} {place}".rstrip()

    frame = source.frame(number)
    yield line("frame", f"{number} of {source.cut.length}, at {float(number / fps):.3f} s", "film")
    yield line("size, rate", f"{scene.film.size} at {float(fps):g} fps", "film")
    names = [shot.shot for shot in source.cut.shots]
    for share in source.shares(number):
        index, inset = names.index(share.shot.shot), ("inset",) if share.panel.region else ()
        owner = source.cut.sharing(index)[0]
        yield line(
            "inset" if inset else "shot", f"{share.shot.shot}, weight {share.weight:.3f}", "shots", index, *inset
        )
        for name, value, keys in _of_shot(source, share):
            camera = keys[:1] == ("camera",)  # all else is the shot's
            of = (index, *inset) if camera and inset else (owner,) if camera else (index,)
            yield line(name, value, "shots", *of, *keys)
        colour = ("shots", index, "colour") if share.shot.colour else ("look", "colour")
        mapping, ranges = share.shot.colour or source.look.colour, source.ranges.at(_coordinate(source, share))
        yield line("colour", f"{mapping.field} by {mapping.map}", *colour)
        yield line("colour range", tuple(map(float, ranges.colour_ends(mapping))), *colour)
        height = source.look.height
        yield line("height", f"{height.field} by {height.scale}, cap {height.cap}", "look", "height")
        yield line("height range", tuple(map(float, ranges.height)), "look", "height")
    for name in ("position", "focal_point", "view_up", "view_angle", "lens_radius", "focus"):
        yield line(f"pose.{name}", getattr(frame.views[0].pose, name))
    if frame.veil[1]:
        yield line("veil", f"density {frame.veil[1]:.3f}", "shots")
    for text in (overlay.text for overlay in frame.overlays if isinstance(overlay, Text)):
        yield line("text", text[:TEXT_WIDTH], "titles")


def _coordinate(source: FrameSource, share: ShotShare) -> float:
    return share.shot.coordinate(share.seconds, source.cut.fps)


def _of_shot(source: FrameSource, share: ShotShare) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """(name, value, keys in the shot) of what a shot alone decides, and of the surface at its coordinate."""
    shot, surfaces = share.shot, source.surfaces[share.landscape]
    coordinate = _coordinate(source, share)
    instant, orbit = surfaces.at(coordinate), source.camera_orbit(share)
    yield "  seconds in it", float(share.seconds), ()
    yield f"  {surfaces.axis.name}", coordinate, ("along",)
    moves = _move(shot, share.seconds, source)
    for name in ("azimuth", "elevation", "distance", "lens", "pan", "yaw", "pitch", "roll", "opening"):
        yield f"  {name}", getattr(orbit, name), ("camera", *moves)
    targets = ", ".join(f"{target} {weight:.0%}" for target, weight in source.targets(share).items())
    yield "  look at", targets, ("camera", "look_at")
    yield "  marker", instant.marker or "nowhere", ()
    for name, value in instant.metrics.items():
        yield f"  {name}", value, ()


def _move(shot: Shot, seconds: float, source: FrameSource) -> tuple[Any, ...]:
    """Keys of the move that goes on at a time of a shot, of the last one after it, or of the start without any."""
    seconds += shot.camera_time(source.cut.fps)[0]
    for index, move in enumerate(shot.camera.moves):
        seconds -= move.seconds(source.cut.fps)
        if seconds < 0:
            return "moves", index
    return ("moves", len(shot.camera.moves) - 1) if shot.camera.moves else ("start",)
