"""The measure stage: puts the values of every slice of a scene on the shelf.

    scene, trained run  ->  resolved slices  ->  samples and planes  ->  tasks of a few rows each  ->  results

A row that is on the shelf is not measured again. Workers return values; only this stage writes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import numpy as np

from studio.errors import SceneError
from studio.execution.tasks import Task
from studio.field import Grid
from studio.landscape import tasks
from studio.landscape.loss import Loss
from studio.landscape.slices import Quantity, Slice, SliceResolver, axes, fields
from studio.landscape.sweeps.keyframe import Keyframe
from studio.pipeline.project import Project, Workers, repairs
from studio.pipeline.results import KINDS, Results, SliceKey, SliceKind, of_kind
from studio.pipeline.train import train, try_batch
from studio.storage.mapped_arrays import map_arrays, save_arrays
from studio.storage.shelf import Shelf
from studio.training.runs import SurfacesRun


@repairs
def measure(project: Project) -> Results:
    """Trains if need be, measures what the shelf lacks, and returns the results."""
    if isinstance(run := project.scene.run, SurfacesRun):
        return copy_surfaces(project, run)
    [results] = measure_all((project,))
    return results


def measure_all(projects: Sequence[Project]) -> list[Results]:
    """The results of several projects on one shelf, trained and measured together; none brings its own surfaces."""
    for project in projects:
        train(project)
    slices = list(map(resolve_slices, projects))
    measured = [Results.of(*pair) for pair in zip(projects, slices, strict=True)]
    for project, resolved, results in zip(projects, slices, measured, strict=True):
        project.record(**digests_used(resolved, results))
    if all(results.complete for results in measured):
        return measured
    try_batch(project := projects[0])
    with ExitStack() as stack:
        for run in sorted({project.run_digests[0] for project in projects}):
            stack.enter_context(project.shelf.lock(f"compute-{run}", project.progress))
        workers = stack.enter_context(project.open_workers(gpus=True))
        for kind in KINDS:
            distinct = {slice_.digest: slice_ for resolved in slices for slice_ in of_kind(kind, resolved).values()}
            _measure(project, workers, kind, list(distinct.values()))
        for resolved, results in zip(slices, measured, strict=True):
            _find_positions(project, workers, resolved, results)
    return measured


def results_of(project: Project) -> Results:
    """The project's results, measured or not; the runs must be trained."""
    if isinstance(run := project.scene.run, SurfacesRun):
        return Results.of_file(project, run)
    return Results.of(project, resolve_slices(project))


def copy_surfaces(project: Project, run: SurfacesRun) -> Results:
    """Puts a file of the user's on the shelf; returns the results. Raises SceneError for a portrait."""
    if project.portrait:
        raise SceneError(f"--points {project.portrait.points}: {run.file} is not measured here; leave it out")
    results, content = Results.of_file(project, run), run.content
    stored = results.stored("loss")
    project.record(loss=[slice_.path.stem for slice_ in stored.values()])
    axes, over = {"beta": content.grid.beta, "alpha": content.grid.alpha}, ("beta", "alpha")
    with project.shelf.lock(f"compute-{content.digest}", project.progress):
        for at, slice_ in stored.items():
            if not slice_.complete:
                k = content.coordinates.index(at)
                facts = {"scene": project.scene.title, "file": run.file.name}
                slice_.create(axes, dict.fromkeys(content.fields, over), facts)
                slice_.write(0, {name: values[k] for name, values in content.fields.items()})
    return results


def resolve_slices(project: Project) -> dict[SliceKey, Slice]:
    """Every slice of the scene, resolved; the runs must be trained. Raises SceneError for several landscapes."""
    scene, resolver = project.scene, _resolver(project)
    if scene.landscapes:
        raise SceneError(f"{project.path}: has several landscapes, {', '.join(scene.names)}; take one of project.parts")

    def resolve(
        kind: SliceKind, keyframes: Iterable[Keyframe], grid: Callable[[Grid], Grid], loss: Loss
    ) -> dict[SliceKey, Slice]:
        # detail and portrait are the loss on other grids
        quantity: Quantity = "loss" if kind == "detail" or kind == "portrait" else kind
        curvature = scene.convexity if quantity != "loss" else None
        return {(kind, k.coordinate): resolver.resolve(quantity, k, grid(k.grid), loss, curvature) for k in keyframes}

    keyframes = scene.keyframes()
    slices = resolve("loss", keyframes, lambda grid: grid, scene.loss)
    if detail := scene.detail:
        slices |= resolve("detail", scene.detail_keyframes(), lambda _: detail.grid, scene.loss)
    if portrait := project.portrait:
        shown = [keyframe for keyframe in keyframes if keyframe.coordinate == portrait.coordinate]
        slices |= resolve("portrait", shown, portrait.grid, scene.loss)
    if convexity := scene.convexity:
        chosen, loss = scene.convexity_keyframes(), convexity.loss(scene.loss).without_extras
        slices |= resolve("convexity", chosen, convexity.grid, loss)
        if convexity.spectrum:
            slices |= resolve("spectrum", chosen, convexity.grid, loss)
    return slices


def _resolver(project: Project) -> SliceResolver:
    scene = project.scene
    return SliceResolver(project.shelf, (scene.network, *scene.networks[1:]), project.run_digests, scene.loss)


def digests_used(slices: Mapping[SliceKey, Slice], results: Results) -> dict[str, list[str]]:
    """Digests of everything the shelf keeps for these slices, by kind, for the manifest."""
    positions = [results.positions] if results.positions else []
    planes = sorted({slice_.plane_digest for slice_ in slices.values()})
    samples = sorted({digest for slice_ in slices.values() for digest in slice_.losses_by_samples})
    by_kind = {str(kind): [slice_.digest for slice_ in of_kind(kind, slices).values()] for kind in KINDS}
    return {"planes": planes, "samples": samples, "positions": positions, **by_kind}


# --- measuring one kind ----------------------------------------------------------------------------------------------


def _measure(project: Project, workers: Workers, kind: SliceKind, slices: list[Slice]) -> None:
    shelf = project.shelf
    unfinished = [slice_ for slice_ in slices if not shelf.slice(slice_.digest).complete]
    _make_planes(project, workers, kind, unfinished)
    _prepare(project, workers, kind, [slice_ for slice_ in unfinished if not shelf.slice(slice_.digest).path.is_dir()])
    stored = [shelf.slice(slice_.digest) for slice_ in unfinished]
    pairs = zip(stored, unfinished, strict=True)
    work = [(at, *row_task) for at, slice_ in pairs for row_task in row_tasks(shelf, slice_, at.missing())]
    counts = [points for _, _, points, _ in work]
    for index, values in workers.run(f"measure the {kind}", [task for *_, task in work], counts):
        at, first, *_ = work[index]
        at.write(first, values)


def _make_planes(project: Project, workers: Workers, kind: SliceKind, slices: Iterable[Slice]) -> None:
    """Puts on the shelf what it lacks of the samples and planes of slices."""
    shelf = project.shelf
    for slice_ in slices:
        save_samples(shelf, slice_)
    lacking = {slice_.plane_digest: slice_ for slice_ in slices if not shelf.plane(slice_.plane_digest).is_dir()}
    planes = list(lacking.values())
    plane_tasks: list[Task] = [(tasks.make_plane, (shelf, slice_)) for slice_ in planes]
    for index, (arrays, facts) in workers.run(f"compute the planes of the {kind}", plane_tasks, [1] * len(planes)):
        save_arrays(shelf.plane(planes[index].plane_digest), arrays, facts)


def _prepare(project: Project, workers: Workers, kind: SliceKind, slices: list[Slice]) -> None:
    """Creates slices on the shelf, with their facts."""
    shelf = project.shelf
    facts_tasks: list[Task] = [(tasks.slice_facts, (shelf, slice_)) for slice_ in slices]
    for index, facts in workers.run(f"prepare the {kind}", facts_tasks, [1] * len(slices)):
        slice_, loss_fields = slices[index], facts.pop("fields", ())
        samples = len(map_arrays(shelf.samples(slice_.samples_digest)).arrays["x"])
        provenance = {"scene": project.scene.title, "quantity": slice_.quantity, **json.loads(slice_.inputs), **facts}
        shelf.slice(slice_.digest).create(axes(slice_, samples), fields(slice_, loss_fields), provenance)


def _find_positions(project: Project, workers: Workers, slices: Mapping[SliceKey, Slice], results: Results) -> None:
    """Puts on the shelf where the markers stand in the planes, if the film shows them anywhere but at the centres."""
    shelf = project.shelf
    if results.positions and not shelf.positions(results.positions).is_dir():
        by_plane = {slice_.plane_digest: slice_ for slice_ in of_kind("loss", slices).values()}
        _make_planes(project, workers, "loss", by_plane.values())
        task: Task = (tasks.make_positions, (shelf, tuple(by_plane.values()), results.markers))
        for _, (arrays, facts) in workers.run("find the networks in the planes", [task], [1]):
            save_arrays(shelf.positions(results.positions), arrays, facts)


def save_samples(shelf: Shelf, slice_: Slice) -> None:
    """Saves the samples of a slice's loss, and of its directions' loss, if the shelf lacks them."""
    for digest, loss in slice_.losses_by_samples.items():
        if not shelf.samples(digest).is_dir():
            save_arrays(shelf.samples(digest), *tasks.make_samples(slice_.data, loss, slice_.objective))


def row_tasks(shelf: Shelf, slice_: Slice, missing: list[int]) -> Iterator[tuple[int, int, Task]]:
    """(first row, number of points, task) of all that measure missing rows.

    A preview is one task, since its points follow from each other.
    """
    n = slice_.grid.shape[1]
    if slice_.quantity == "convexity":
        for first, last in slice_.row_groups:
            if not set(range(first, last)).isdisjoint(missing):
                yield first, n * (last - first), (tasks.convexity_rows, (shelf, slice_, (first, last)))
    elif slice_.quantity == "spectrum":
        for probe in missing:
            yield probe, 1, (tasks.spectrum_probes, (shelf, slice_, (probe, probe + 1)))
    elif slice_.loss.sampling == "preview":
        if missing:
            yield 0, slice_.grid.size, (tasks.preview_rows, (shelf, slice_))
    else:
        for row in missing:
            yield row, n, (tasks.loss_rows, (shelf, slice_, (row, row + 1)))


@repairs
def subset_errors(project: Project) -> dict[str, list[tuple[float, float, float, float]]]:
    """{quantity: (alpha, beta, over the subset, over all samples) at nine points of the last keyframe's grid}.

    The loss, and lambda_min and lambda_max if the scene measures them: NaN where these did not converge.
    """
    train(project)
    scene, resolver = project.scene, _resolver(project)
    keyframe, convexity, by_subset = scene.keyframes()[-1], scene.convexity, list[Mapping[str, np.ndarray]]()
    (alphas, betas), nine = keyframe.grid.corners, Grid(range=keyframe.grid.range, points=3)
    with project.open_workers(gpus=True) as workers:
        for whole in ({}, {"subset": "100%"}):
            loss = scene.loss.model_copy(update={"keep_samples": False, **whole})
            slices = [resolver.resolve("loss", keyframe, keyframe.grid, loss)]
            if convexity:
                curved = convexity.loss(scene.loss).without_extras.model_copy(update=whole)
                slices.append(resolver.resolve("convexity", keyframe, nine, curved, convexity))
            _make_planes(project, workers, "loss", slices)
            values = {"loss": tasks.loss_at_corners(project.shelf, slices[0])}
            for slice_ in slices[1:]:
                task: Task = (tasks.convexity_rows, (project.shelf, slice_, (0, 3)))
                for _, rows in workers.run(f"measure the curvature over {curved.subset}", [task], [nine.size]):
                    ends = ("lambda_min", "lambda_max")
                    values |= {name: np.where(rows["converged"] > 0, rows[name], np.nan) for name in ends}
            by_subset.append(values)
    part, all_ = by_subset
    points = [(i, j) for i in range(3) for j in range(3)]
    return {
        name: [(alphas[j], betas[i], float(part[name][i, j]), float(all_[name][i, j])) for i, j in points]
        for name in part
    }
