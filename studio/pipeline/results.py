"""Results: the measured slices of a scene, read from the shelf as surfaces, as a dataset, or as facts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from studio.config.records import FrozenDict, digest
from studio.errors import SceneError
from studio.field import DETAIL, Array, Field, Grid, Markers, Surfaces, Trajectory
from studio.film.fields import SCALES
from studio.landscape.centres import Centre
from studio.landscape.convexity import Convexity
from studio.landscape.curvature.plane import classify_centre, compare_curvatures
from studio.landscape.curvature.spectrum import trace
from studio.landscape.curvature.taylor import taylor_error, taylor_radius
from studio.landscape.loss import field_name
from studio.landscape.slices import Slice
from studio.landscape.trajectory import share_in_plane
from studio.pipeline.project import Project
from studio.scene.scene import Portrait, Scene
from studio.storage.mapped_arrays import map_arrays
from studio.storage.shelf import Shelf
from studio.storage.slices import StoredSlice, concat_slices
from studio.training import checkpoints
from studio.training.objectives import RESERVED_NAMES, FunctionLoss, drawn_name
from studio.training.runs import SurfacesRun

SliceKind = Literal["loss", "detail", "portrait", "convexity", "spectrum"]
KINDS: tuple[SliceKind, ...] = ("loss", "detail", "portrait", "convexity", "spectrum")
"""Kinds of slices, in the order they are measured; detail and portrait are the loss on finer grids."""
SliceKey = tuple[SliceKind, float]
"""A kind of slice and the coordinate of its keyframe."""

_INPUT_ATTRIBUTES = (
    *("scene", "quantity", "version", "model", "data", "sample_selection", "centre", "required", "directions"),
    *("direction_loss", "loss", "grid", "device", "objective", "moving"),
)


@dataclass(frozen=True)
class Results:
    """The slices of a scene on a shelf, by digest; small and picklable. `complete` says whether all are measured.

    runs: digests of the training runs. digests, grids: of the slices. planes: digests of the planes of the loss, by
    coordinate. positions: digest of the markers' places in these planes, if the film shows any. portrait: the keyframe
    that a still shows on a grid of its own.
    """

    scene: Scene
    shelf: Shelf
    runs: tuple[str, ...]
    digests: FrozenDict[SliceKey, str]
    grids: FrozenDict[SliceKey, Grid]
    planes: FrozenDict[float, str]
    positions: str | None = None
    portrait: Portrait | None = None

    @classmethod
    def of(cls, project: Project, slices: Mapping[SliceKey, Slice]) -> Results:
        """The results of a project's resolved slices."""
        scene = project.scene
        digests = FrozenDict((key, slice_.digest) for key, slice_ in slices.items())
        grids = FrozenDict((key, slice_.grid) for key, slice_ in slices.items())
        planes = FrozenDict((at, slice_.plane_digest) for at, slice_ in of_kind("loss", slices).items())
        shelf, runs = project.shelf, project.run_digests
        results = cls(scene, shelf, runs, digests, grids, planes, portrait=project.portrait)
        moving = any(keyframe.marker not in (None, keyframe.centre) for keyframe in scene.keyframes())
        if not moving and not scene.needs_trajectory:
            return results
        facts = [checkpoints.facts_by_epoch(folder) for folder in project.run_folders]
        weights = [marker.inputs(lambda at: str(facts[at.run][at.checkpoint]["weights"])) for marker in results.markers]
        return replace(results, positions=digest("positions", 1, list(dict.fromkeys(results.planes.values())), weights))

    @classmethod
    def of_file(cls, project: Project, run: SurfacesRun) -> Results:
        """The results that a file of the user's surfaces brings."""
        scene, shelf, file = project.scene, project.shelf, run.content.digest
        at = [keyframe.coordinate for keyframe in scene.keyframes()]
        digests: dict[SliceKey, str] = {("loss", k): digest("surfaces", 1, file, k) for k in at}
        grids = dict.fromkeys(digests, scene.grid)
        return cls(scene, shelf, (file,), FrozenDict(digests), FrozenDict(grids), FrozenDict())

    @property
    def markers(self) -> tuple[Centre, ...]:
        """The networks that the film's keyframes mark, each once."""
        return tuple(dict.fromkeys(k.marker for k in self.scene.keyframes() if k.marker is not None))

    def stored(self, kind: SliceKind) -> dict[float, StoredSlice]:
        """The slices of one kind on the shelf, by coordinate."""
        return {at: self.shelf.slice(digest) for at, digest in of_kind(kind, self.digests).items()}

    @property
    def complete(self) -> bool:
        """Whether every slice is measured."""
        measured = all(self.shelf.slice(digest).complete for digest in set(self.digests.values()))
        return measured and (self.positions is None or self.shelf.positions(self.positions).is_dir())

    def so_far(self) -> Results:
        """The results of the slices that are measured already; networks have their places once all slices are."""
        if self.complete:
            return self
        done = {key for key, digest in self.digests.items() if self.shelf.slice(digest).complete}
        digests = FrozenDict((key, name) for key, name in self.digests.items() if key in done)
        grids = FrozenDict((key, grid) for key, grid in self.grids.items() if key in done)
        planes = FrozenDict((at, plane) for at, plane in self.planes.items() if ("loss", at) in done)
        return replace(self, digests=digests, grids=grids, planes=planes, positions=None)

    # --- surfaces

    def surfaces(self) -> Surfaces:
        """The measured fields, by the names that a look gives them. A Hessian point that did not converge is NaN."""
        losses, curved = self.datasets("loss"), self.datasets("convexity")
        fields = self._fields("loss", losses) | self._fields("convexity", curved)
        pairs = ((of_kind("loss", self.digests), losses), (of_kind("convexity", self.digests), curved))
        if errors := self._taylor_errors(*(dict(zip(at, read, strict=True)) for at, read in pairs)):
            grids = tuple(self.grids["loss", at] for at in errors)
            fields["taylor"] = Field(tuple(errors), grids, tuple(errors.values()))
        details = self._fields("detail", self.datasets("detail"))
        fields |= {name + DETAIL: field for name, field in details.items()}
        trajectory, markers = self._trajectory_and_markers()
        cosine = max(abs(float(dataset.attrs.get("cosine", 0))) for dataset in losses)
        skew = float(np.degrees(np.arcsin(min(1.0, cosine))))
        return Surfaces(fields, *self.metrics(), trajectory, axis=self.scene.axis, markers=markers, skew=skew)

    @property
    def _models_drawn_loss(self) -> bool:
        """Whether the quadratic models of the planes, measured with the curvature, are of the loss that is drawn."""
        loss, convexity = self.scene.loss, self.scene.convexity
        return convexity is not None and convexity.loss(loss) == loss and loss.sampling == "exact"

    def _taylor_errors(
        self, losses: Mapping[float, xr.Dataset], curved: Mapping[float, xr.Dataset]
    ) -> dict[float, Array]:
        """Errors [B, A] of the planes' quadratic models, by the coordinates of both, if they are of the drawn loss."""
        both = [at for at in curved if at in losses] if self._models_drawn_loss else []
        models = {at: json.loads(curved[at].attrs["quadratic_model"]) for at in both}
        return {
            at: taylor_error(losses[at]["loss"].values, self.grids["loss", at], model) for at, model in models.items()
        }

    def metrics(self) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
        """Coordinates at which the network shown is a checkpoint, and the metrics there, by name."""
        if isinstance(run := self.scene.run, SurfacesRun):
            return run.content.coordinates, dict(run.content.metrics)
        scored = self.scene.sweep.scored(self.scene.runs, self.scene.keyframes())
        if not scored:
            return (), {}
        folders = {at.run: self.shelf.run(self.runs[at.run]) for at in scored.values()}
        existing = {run: checkpoints.epochs(folder) for run, folder in folders.items()}
        metrics = {run: checkpoints.metrics(folder) for run, folder in folders.items()}
        places = [(at.run, existing[at.run].index(at.checkpoint)) for at in scored.values()]
        names = [name for name in next(iter(metrics.values())) if all(name in values for values in metrics.values())]
        return tuple(scored), {name: tuple(metrics[run][name][i] for run, i in places) for name in names}

    def _trajectory_and_markers(self) -> tuple[Trajectory | None, Markers | None]:
        """The way of the markers through the planes, if the look draws it; their places, if they leave the centres."""
        if isinstance(self.scene.run, SurfacesRun) and not all(low <= 0 <= high for low, high in self.scene.grid.sides):
            at = tuple(of_kind("loss", self.digests))
            return None, Markers(at, np.full((len(at), 2), np.nan))  # (0, 0) is not in the picture
        if self.positions is None:
            return None, None
        found = map_arrays(self.shelf.positions(self.positions)).arrays
        keyframes = self.scene.keyframes()
        planes, markers = list(dict.fromkeys(self.planes.values())), self.markers
        rows = [planes.index(self.planes[keyframe.coordinate]) for keyframe in keyframes]
        columns = [markers.index(keyframe.marker) if keyframe.marker else -1 for keyframe in keyframes]
        coordinates = tuple(keyframe.coordinate for keyframe in keyframes)
        trajectory = None
        if self.scene.needs_trajectory and -1 not in columns:
            names = ("places", "distances", "lengths")
            places, distances, lengths = (found[name][np.ix_(rows, columns)] for name in names)
            trajectory = Trajectory(coordinates, places, share_in_plane(distances, lengths))
        if all(keyframe.marker == keyframe.centre for keyframe in keyframes):
            return trajectory, None
        own, distances = found["places"][rows, columns], found["distances"][rows, columns] / found["units"][rows]
        own[[column < 0 for column in columns]] = np.nan
        return trajectory, Markers(coordinates, own, distances)

    def hold_portrait(self, surfaces: Surfaces) -> Surfaces:
        """The film's surfaces held at the portrait's keyframe, with the loss on the portrait's grid."""
        if not of_kind("portrait", self.digests) or self.portrait is None:
            return surfaces
        fields = {name: field for name, field in surfaces.fields.items() if not name.endswith(DETAIL)}
        portrait = self._fields("portrait", self.datasets("portrait"))
        return replace(surfaces, fields=fields | portrait, held_at=self.portrait.coordinate)

    def datasets(self, kind: SliceKind) -> list[xr.Dataset]:
        """The slices of one kind, by coordinate; one that several keyframes share is read once."""
        names = of_kind(kind, self.digests).values()
        datasets = {name: self.shelf.slice(name).read() for name in dict.fromkeys(names)}
        return [datasets[name] for name in names]

    def _fields(self, kind: SliceKind, datasets: Sequence[xr.Dataset]) -> dict[str, Field]:
        """The fields of one kind of slices, by name; only the loss is interpolated as the film says."""
        if not datasets:
            return {}
        coordinates, grids = map(tuple, zip(*of_kind(kind, self.grids).items(), strict=True))
        if len(set(of_kind(kind, self.digests).values())) == 1:  # a plane that stands still is held once
            coordinates, grids, datasets = coordinates[:1], grids[:1], datasets[:1]
        grid = grids[0] if len(set(grids)) == 1 else grids
        names = {field_name(field): str(field) for field in self.scene.loss.fields}
        objective = None if isinstance(self.scene.run, SurfacesRun) else self.scene.run.objective
        if isinstance(objective, FunctionLoss) and kind != "convexity":
            own = [str(name) for name in datasets[0] if name not in RESERVED_NAMES]
            names |= {name: drawn_name(objective, name) for name in own}
        fields = {}
        for name in filter(datasets[0].__contains__, dict.fromkeys((*SCALES, *names, "measured"))):
            arrays = [known(dataset, name) for dataset in datasets]
            values = np.stack(arrays) if isinstance(grid, Grid) else tuple(arrays)
            interpolation = self.scene.film.interpolation if name == "loss" else "monotone"
            scale = SCALES.get(name, "linear")
            fields[names.get(name, name)] = Field(coordinates, grid, values, scale, interpolation)
        return fields

    # --- numbers

    def dataset(self, kind: SliceKind = "loss") -> xr.Dataset:
        """Raw measurements over (keyframe, beta, alpha), with the run's metrics over keyframe.

        A spectrum is over (keyframe, probe, step). Raises SceneError if the scene does not measure this.
        """
        stored = self.stored(kind)
        if not stored:
            raise SceneError(f"{self.scene.title}: nothing measures the {kind}")
        coordinates, metrics = self.metrics()
        at = [coordinates.index(coordinate) for coordinate in stored] if metrics else []
        by_keyframe = {name: ("keyframe", [values[i] for i in at]) for name, values in metrics.items()}
        return concat_slices(stored).assign(by_keyframe)

    def facts(self) -> dict[str, str]:
        """Facts of the last slice of the loss: parameters, samples, method, the cosine of the directions."""
        attributes = list(self.stored("loss").values())[-1].read().attrs
        return {str(name): attributes[name] for name in attributes if name not in _INPUT_ATTRIBUTES}

    def curvature(self) -> dict[float, dict[str, Any]]:
        """Facts from the measured curvature, by coordinate; complete slices only.

        `centre`: minimum, saddle, maximum or not stationary. `rank_correlation`: between the plane's share of negative
        curvature and the space's. `hidden_share`: of points convex in the picture and not in the space.
        `interlacing_share`: of points where the plane's curvatures lie between the space's, as they must.
        `taylor_radius`: up to which the quadratic model holds, where its loss is drawn. `trace` of the Hessian and its
        standard error, where a spectrum was measured.
        """
        summary: dict[float, dict[str, Any]] = {}
        if (convexity := self.scene.convexity) is None:
            return summary
        curved = {at: stored.read() for at, stored in self.stored("convexity").items() if stored.complete}
        summary |= {at: _convexity_summary(dataset, convexity) for at, dataset in curved.items()}
        of_loss = self.stored("loss") if self._models_drawn_loss else {}
        losses = {at: stored.read() for at, stored in of_loss.items() if at in curved and stored.complete}
        for at, errors in self._taylor_errors(losses, curved).items():
            summary[at]["taylor_radius"] = taylor_radius(errors, self.grids["loss", at])
        for at, stored in self.stored("spectrum").items():
            # a spectrum may be complete while the convexity beside it is still to be measured
            if at in summary and stored.complete:
                dataset = stored.read()
                total, error = trace(dataset["ritz"].values, dataset["weight"].values, int(dataset.attrs["parameters"]))
                summary[at] |= {"trace": total, "trace_error": error}
        return summary


def of_kind(kind: SliceKind, items: Mapping[SliceKey, Any]) -> dict[float, Any]:
    """The items of one kind, by coordinate."""
    return {at: item for (item_kind, at), item in items.items() if item_kind == kind}


def known(dataset: xr.Dataset, name: str) -> Array:
    """A field's values; NaN where an extreme eigenvalue did not converge."""
    values = dataset[name].values
    is_extreme = name in ("lambda_min", "lambda_max") and "converged" in dataset  # not so in a file of the user's
    return np.where(dataset["converged"].values > 0, values, np.nan) if is_extreme else values


def _convexity_summary(dataset: xr.Dataset, convexity: Convexity) -> dict[str, Any]:
    converged = dataset.where(dataset["converged"] > 0)
    names = ("lambda_min", "lambda_max", "kappa_min", "kappa_max")
    lambda_min, lambda_max, kappa_min, kappa_max = (converged[name].values for name in names)
    middle = tuple(int(np.abs(dataset[name].values).argmin()) for name in ("beta", "alpha"))  # nearest to theta
    at_centre = float(dataset.attrs["gradient_norm"]), float(dataset.attrs["centre_loss"])
    is_node = dataset["beta"].values[middle[0]] == 0 == dataset["alpha"].values[middle[1]]
    kind = classify_centre(*at_centre, lambda_min[middle], lambda_max[middle], convexity.tol)
    shares = compare_curvatures(lambda_min, lambda_max, kappa_min, kappa_max, convexity.tol)
    return {"centre": kind if is_node else "not a node of the grid", **shares}
