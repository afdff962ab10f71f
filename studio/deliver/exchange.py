"""The camera and the cut of a film, as text that other programs read.

camera-csv   a row a frame: time, shot, coordinate, and the pose in VTK's words
usda         a camera with a sample a frame, for 3-D programs; the surface is not part of it
otio         the shots and their dissolves on one track, for editors (OpenTimelineIO)
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from studio.film.pose import MM_PER_UNIT, Pose
from studio.film.timeline import Cut

GATE = 24.0
"""Millimetres of the gate's height, as `Orbit.pose` has it."""


@dataclass(frozen=True)
class CameraFrame:
    """One frame of a film: the shot of largest weight, the coordinate that it shows, and its pose."""

    number: int
    shot: str
    coordinate: float
    pose: Pose


@dataclass(frozen=True)
class Footage:
    """What is handed over: a title, the cut, the camera at every frame, the picture's width over its height."""

    title: str
    cut: Cut
    frames: Sequence[CameraFrame]
    aspect: float


def camera_csv(footage: Footage) -> str:
    """A row a frame; positions in scene units, angles in degrees, x along alpha, y along beta, z up."""
    names = [f"{name}_{axis}" for name in ("position", "focal_point", "view_up") for axis in "xyz"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", "seconds", "shot", "coordinate", *names, "view_angle", "lens_radius", "focus"])
    for frame in footage.frames:
        pose, seconds = frame.pose, float(frame.number / footage.cut.fps)
        numbers = (*pose.position, *pose.focal_point, *pose.view_up, pose.view_angle, pose.lens_radius, pose.focus)
        row = [frame.number, f"{seconds:.6f}", frame.shot, f"{frame.coordinate:.9g}"]
        writer.writerow([*row, *(f"{number:.9g}" for number in numbers)])
    return text.getvalue()


def camera_usda(footage: Footage) -> str:
    """A USD layer with one camera; a scene unit is a unit of the stage, and lenses are in tenths of it."""
    lens = {frame.number: GATE / 2 / np.tan(np.radians(frame.pose.view_angle / 2)) for frame in footage.frames}
    tenths, fps = 10 / MM_PER_UNIT, footage.cut.fps
    samples = {
        "float focalLength": {number: f"{mm * tenths:.9g}" for number, mm in lens.items()},
        "float focusDistance": {f.number: f"{f.pose.focus:.9g}" for f in footage.frames},
        "float fStop": {
            f.number: f"{lens[f.number] / (2 * f.pose.lens_radius * MM_PER_UNIT) if f.pose.lens_radius else 0:.9g}"
            for f in footage.frames
        },
        "matrix4d xformOp:transform": {f.number: _usd_matrix(f.pose) for f in footage.frames},
    }
    timed = ""
    for name, at in samples.items():
        rows = "".join(f"        {number}: {value},\n" for number, value in at.items())
        timed += f"    {name}.timeSamples = {{\n{rows}    }}\n"
    return (
        f'#usda 1.0\n(\n    defaultPrim = "camera"\n    doc = {json.dumps(footage.title)}\n'
        f"    startTimeCode = 0\n    endTimeCode = {footage.cut.length - 1}\n"
        f"    timeCodesPerSecond = {float(fps):.9g}\n    framesPerSecond = {float(fps):.9g}\n"
        f'    metersPerUnit = {MM_PER_UNIT / 1000:g}\n    upAxis = "Z"\n)\n\n'
        f'def Camera "camera"\n{{\n    float2 clippingRange = (0.001, 1000)\n'
        f"    float horizontalAperture = {GATE * tenths * footage.aspect:.9g}\n"
        f"    float verticalAperture = {GATE * tenths:.9g}\n{timed}"
        f'    uniform token[] xformOpOrder = ["xformOp:transform"]\n}}\n'
    )


def _usd_matrix(pose: Pose) -> str:
    """From the camera's space, which looks along -z with y up, to the stage's; vectors are rows."""
    right, up, ahead = pose.axes
    rows = np.column_stack([np.vstack([right, up, -ahead, pose.position]), [0, 0, 0, 1]])
    return f"( {', '.join('(' + ', '.join(f'{x:.12g}' for x in row) + ')' for row in rows)} )"


def cut_otio(footage: Footage) -> str:
    """A timeline: a clip a shot, which meet in the middle of their dissolves."""
    cut, rate = footage.cut, float(footage.cut.fps)

    def time(frames: int) -> dict[str, Any]:
        return {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": float(frames)}

    dissolves = [shot.to_next.frames(cut.fps) for shot in cut.shots[:-1]]
    edges = [0, *(start + d // 2 for start, d in zip(cut.starts[1:], dissolves, strict=True)), cut.length]
    children: list[dict[str, Any]] = []
    for i, (shot, (first, end)) in enumerate(zip(cut.shots, pairwise(edges), strict=True)):
        span = {"start_time": time(first - cut.starts[i]), "duration": time(end - first)}
        media = {"OTIO_SCHEMA": "MissingReference.1"}
        clip = {"OTIO_SCHEMA": "Clip.1", "name": shot.shot, "media_reference": media}
        children.append(clip | {"source_range": {"OTIO_SCHEMA": "TimeRange.1", **span}})
        if i < len(dissolves) and (d := dissolves[i]):
            offsets = {"in_offset": time(d // 2), "out_offset": time(d - d // 2)}
            kind = "SMPTE_Dissolve" if shot.to_next.dissolve.amount else "Custom_Transition"
            children.append({"OTIO_SCHEMA": "Transition.1", "transition_type": kind, **offsets})
    track = {"OTIO_SCHEMA": "Track.1", "name": "film", "kind": "Video", "children": children}
    stack = {"OTIO_SCHEMA": "Stack.1", "name": "tracks", "children": [track]}
    return json.dumps({"OTIO_SCHEMA": "Timeline.1", "name": footage.title, "tracks": stack}, indent=1) + "\n"
