"""Curves of a shot's camera over time, as a picture: its speed, its turning and its height over the land."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from studio.field import Array
from studio.film.frame_source import FrameSource
from studio.film.survey import FASTEST, camera_course, coarse

INK, PAPER = "#e4e2de", "#181818"


def curves(source: FrameSource, name: str) -> Array:
    """The picture [H, W, 3], uint8, of one shot, by its name."""
    shot = next(shot for shot in source.cut.shots if shot.shot == name)
    course, fps = camera_course(coarse(source), shot), float(source.cut.fps)
    seconds = np.array(list(course)) / fps
    positions = np.array([step.pose.position for step in course.values()])
    rows = {
        "speed, units/s": np.linalg.norm(np.gradient(positions, seconds, axis=0), axis=1),
        "turn, degrees/s": [step.turn for step in course.values()],
        "height over the land, units": [step.height for step in course.values()],
    }
    figure = Figure(figsize=(12, 7), facecolor=PAPER, layout="constrained")
    figure.suptitle(f"{name}: {shot.length(source.cut.fps):g} s", color=INK, x=0.02, ha="left")
    for axes, (label, values) in zip(figure.subplots(3, 1, sharex=True), rows.items(), strict=True):
        axes.plot(seconds, np.where(np.isfinite(values), values, np.nan), color="#ff8a2b")
        axes.set(ylabel=label, facecolor=PAPER, xlim=(seconds[0], seconds[-1]), ylim=(min(0.0, np.min(values)), None))
        axes.axhline(FASTEST if "turn" in label and max(values) > FASTEST else 0.0, color=INK, linewidth=0.5)
        axes.tick_params(colors=INK)
        axes.yaxis.label.set_color(INK)
        moves = [move.seconds(source.cut.fps) for move in shot.camera.moves]
        for start in np.cumsum([-shot.camera_time(source.cut.fps)[0], *moves]):
            axes.axvline(start, color=INK, linewidth=0.5, alpha=0.4)
    axes.set_xlabel("seconds in the shot; upright lines where moves begin and end", color=INK)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib leaves both untyped
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
