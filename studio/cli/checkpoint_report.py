"""What `studio check` says of the user's own checkpoints: what each is read as, what is changed and left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.config.user_files import shown
from studio.errors import DamageError
from studio.scene.scene import Scene
from studio.training.checkpoints import CHANGES_FILE
from studio.training.models import Python, without_values
from studio.training.runs import FolderRun

MOST_LINES = 24
"""Files that are listed one by one; of more, the first and the last."""


def checkpoint_report(scene: Scene, path: Path, draft: bool) -> Iterator[str]:
    """The lines on a scene's checkpoints that are the user's. Raises RunError for one that does not fit its model."""
    for landscape in scene.names:
        for number, run in enumerate(scene.only(landscape).networks):
            if isinstance(run, FolderRun):
                yield from _lines(run, _fitted(run) or _recorded(scene, path, draft, landscape, number))


def _lines(run: FolderRun, changes: Mapping[str, list[str]]) -> Iterator[str]:
    """A head, and a line for each file, and for each reason to leave some out."""
    found, unknown = run.survey, "names are compared with the model's by `studio train`"
    yield f"checkpoints of {shown(run.checkpoints)}: {len(found.files)} read, {len(found.left_out)} left out"
    rows = []
    for at, file in found.files.items():
        stamp, change = changes.get(file.name, ["", ""])
        what = (change or "as it is") if stamp == file.stamp else unknown
        rows.append((shown(file.name, 60), f"{found.axis} {at:g}, {file.stands[found.axis][1]}", what))
    for reason in dict.fromkeys(found.left_out.values()):
        names = [shown(name, 60) for name, why in found.left_out.items() if why == reason]
        rows.append((f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}", "left out", reason))
    name, stands = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines, half = [f"  {row[0]:{name}}  {row[1]:{stands}}  {row[2]}" for row in rows], MOST_LINES // 2
    more = len(lines) - MOST_LINES
    yield from lines if more <= 0 else [*lines[:half], f"  ... {more} more", *lines[-half:]]


def _fitted(run: FolderRun) -> dict[str, list[str]]:
    """{name of a file: its stamp, what is changed}; empty for a model of the user's, which check does not import."""
    model, layout = run.recipe.model, run.recipe.data.layout()
    if isinstance(model, Python) or layout is None:
        return {}
    from studio.training.import_checkpoints import fit_file

    module = without_values(model, layout.shape, run.objective.outputs(layout))
    return {file.name: [file.stamp, fit_file(file, module, run.weights)[1]] for file in run.survey.files.values()}


def _recorded(scene: Scene, path: Path, draft: bool, landscape: str, number: int) -> dict[str, Any]:
    """The same as it was when the files of a landscape's run were imported; empty before."""
    from studio.pipeline.project import Project
    from studio.storage.files import read_json
    from studio.storage.shelf import Shelf

    project = Project(scene, path, Shelf.beside(path), draft=draft, landscape=landscape if scene.landscapes else "")
    try:
        return read_json(project.shelf.run(project.recorded("run")[number]) / CHANGES_FILE)
    except (IndexError, DamageError):
        return {}
