"""What `studio check` says of the user's own checkpoints: what each is read as, what is changed and left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from studio.config.user_files import shown
from studio.errors import DamageError
from studio.pipeline.project import Project
from studio.storage.files import read_json
from studio.training.checkpoints import CHANGES_FILE
from studio.training.models import Python, without_values
from studio.training.runs import FolderRun

MOST_LINES = 24
"""Files that are listed one by one; of more, the first and the last."""


def checkpoint_report(project: Project) -> Iterator[str]:
    """The lines on a project's checkpoints, if they are the user's. Raises RunError for one that does not fit."""
    for part in project.parts:
        digests = part.recorded("run")
        for number, run in enumerate(part.scene.networks):
            if isinstance(run, FolderRun):
                yield from _lines(run, _changes(project, run, digests[number : number + 1]))


def _lines(run: FolderRun, changes: Mapping[str, str]) -> Iterator[str]:
    found = run.survey
    yield f"checkpoints of {shown(run.checkpoints)}: {len(found.files)} read, {len(found.left_out)} left out"
    rows = []
    for at, file in found.files.items():
        read = changes.get(file.name, "names not compared yet with the model's: `studio train` does that")
        rows.append((shown(file.name, 60), f"{found.axis} {at:g}, {file.stands[found.axis][1]}", read or "as it is"))
    for reason in dict.fromkeys(found.left_out.values()):
        names = [shown(name, 60) for name, why in found.left_out.items() if why == reason]
        rows.append((f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}", "left out", reason))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {name:{widths[0]}}  {stands:{widths[1]}}  {what}" for name, stands, what in rows]
    half = MOST_LINES // 2
    yield from (
        lines if len(lines) <= MOST_LINES else (*lines[:half], f"  ... {len(lines) - 2 * half} more", *lines[-half:])
    )


def _changes(project: Project, run: FolderRun, digests: list[str]) -> dict[str, str]:
    """{name of a file: what is changed}; for a model of the user's, what was when the files were imported."""
    files, model, layout = run.survey.files.values(), run.recipe.model, run.recipe.data.layout()
    if not isinstance(model, Python) and layout is not None:
        from studio.training.import_checkpoints import fit_file

        module = without_values(model, layout.shape, run.objective.outputs(layout))
        return {file.name: fit_file(file, module, run.weights)[1] for file in files}
    recorded: dict[str, Any] = {}
    for path in (project.shelf.run(digest) / CHANGES_FILE for digest in digests):
        try:
            recorded = read_json(path)
        except DamageError:  # it is not imported yet
            continue
    hashes = {file.name: file.sha256 for file in files}
    return {name: text for name, (sha256, text) in recorded.items() if hashes.get(name) == sha256}
