"""The status of a project: which stages are done, stale or missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from studio.pipeline.measure import results_of
from studio.pipeline.numbers import stored_numbers, with_claim
from studio.pipeline.project import Project
from studio.pipeline.render import content_digest
from studio.pipeline.render_job import RenderJob
from studio.pipeline.results import KINDS, Results, of_kind
from studio.pipeline.train import is_trained
from studio.training import checkpoints

State = Literal["done", "stale", "missing"]
"""Stale: made, but from something else."""


class StageStatus(NamedTuple):
    """A stage, or a kind of slices, or a deliverable; its state; and a few words."""

    stage: str
    state: State
    details: str


def status(project: Project, out: Path) -> list[StageStatus]:
    """The status of every stage, landscape by landscape. out: folder of the finished files."""
    rows, results = [], []
    for part in project.parts:
        measured = results_of(part) if is_trained(part) else None
        named = [*_train(part), *_slices(part, measured)]
        prefix = f"{part.landscape}: " if part.landscape else ""
        rows += [row._replace(details=prefix + row.details) for row in named]
        results += [measured] if measured else []
    numbers = stored_numbers(project, project.scene.claimed) if len(results) == len(project.parts) else None
    if claimed := project.scene.claimed:
        state: State = "missing" if numbers is None else "done"
        rows.append(StageStatus("numbers", state, ", ".join(claimed)))
    manifest, ready = project.manifest.read(), all(row.state == "done" for row in rows)
    film = with_claim(project.scene, numbers or {})
    job = RenderJob(film, tuple(results), project.draft, manifest.get("renderer", ""))
    for own, span, suffix in job.parts():
        deliverables = [(i, one) for i, one in enumerate(project.scene.deliver) if own.shows(i)]
        paths = {i: out / deliverable.file_name(project.name + suffix) for i, deliverable in deliverables}
        segments = own.segments(span) if ready and any(path.exists() for path in paths.values()) else None
        for i, path in paths.items():
            made = manifest.get("made", {}).get(project.manifest.relative(path))
            up_to_date = segments is not None and content_digest(segments[i]) == made
            state = "missing" if not path.exists() else "done" if up_to_date else "stale"
            rows.append(StageStatus("deliver", state, str(path)))
    return rows


def _train(project: Project) -> list[StageStatus]:
    """The row of the runs; none if the scene has no network."""
    wanted = [set(run.instants()) for run in project.scene.networks]
    existing = [set(checkpoints.epochs(folder)) for folder in project.run_folders]
    count, total = sum(len(a & b) for a, b in zip(wanted, existing, strict=True)), sum(map(len, wanted))
    state = _state(count, total, project.run_digests, project.recorded("run"))
    return [StageStatus("train", state, f"{count} of {total} checkpoints")] if wanted else []


def _slices(project: Project, results: Results | None) -> list[StageStatus]:
    scene = project.scene
    planned = {"loss": scene.keyframes(), "detail": scene.detail_keyframes(), "convexity": scene.convexity_keyframes()}
    if scene.convexity and scene.convexity.spectrum:
        planned["spectrum"] = scene.convexity_keyframes()
    rows = []
    for kind in KINDS:
        if total := len(planned.get(kind, ())):
            digests = list(of_kind(kind, results.digests).values()) if results else []
            count = sum(project.shelf.slice(digest).complete for digest in digests)
            state = _state(count, total, digests, project.recorded(kind))
            rows.append(StageStatus(kind, state, f"{count} of {total} slices"))
    return rows


def _state(count: int, total: int, digests: Sequence[str], listed: Sequence[str]) -> State:
    """digests: of the present scene. listed: in the manifest, when the scene was last made."""
    if count == total:
        return "done"
    return "stale" if not count and set(listed) - set(digests) else "missing"
