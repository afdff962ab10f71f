"""Results: the measured slices of a scene, read from the shelf as surfaces, as a dataset, or as facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from studio.config.records import FrozenDict
from studio.errors import SceneError
from studio.field import DETAIL, Field, Grid, Surfaces, Trajectory
from studio.film.fields import SCALES
from studio.landscape.convexity import Convexity
from studio.landscape.curvature.plane import classify_centre, compare_curvatures
from studio.landscape.curvature.spectrum import trace
from studio.landscape.slices import Slice
from studio.landscape.trajectory import project_trajectory
from studio.pipeline.project import Project
from studio.scene.scene import Portrait, Scene
from studio.storage.mapped_arrays import map_arrays
from studio.storage.shelf import Shelf
from studio.storage.slices import StoredSlice, concat_slices
from studio.training import checkpoints

SliceKind = Literal["loss", "detail", "portrait", "convexity", "spectrum"]
KINDS: tuple[SliceKind, ...] = ("loss", "detail", "portrait", "convexity", "spectrum")
"""Kinds of slices, in the order they are measured; detail and portrait are the loss on finer grids."""
SliceKey = tuple[SliceKind, float]
"""A kind of slice and the epoch of its centre."""

_INPUT_ATTRIBUTES = (
    *("scene", "quantity", "version", "model", "data", "sample_selection", "epoch", "weights", "directions"),
    *("direction_loss", "loss", "grid", "device"),
)


@dataclass(frozen=True)
class Results:
    """The slices of a scene on a shelf, by digest; small and picklable. `complete` says whether all are measured.

    run: digest of the training run. digests: of the slices. planes: digests of the planes of the loss, by epoch.
    portrait: the keyframe that a still shows on a grid of its own.
    """

    scene: Scene
    shelf: Shelf
    run: str
    digests: FrozenDict[SliceKey, str]
    planes: FrozenDict[float, str]
    portrait: Portrait | None = None

    @classmethod
    def of(cls, project: Project, slices: Mapping[SliceKey, Slice]) -> Results:
        """The results of a project's resolved slices."""
        digests = FrozenDict((key, slice_.digest) for key, slice_ in slices.items())
        planes = FrozenDict((epoch, slice_.plane_digest) for epoch, slice_ in of_kind("loss", slices).items())
        return cls(project.scene, project.shelf, project.run_digest, digests, planes, project.portrait)

    def stored(self, kind: SliceKind) -> dict[float, StoredSlice]:
        """The slices of one kind on the shelf, by epoch."""
        return {epoch: self.shelf.slice(digest) for epoch, digest in of_kind(kind, self.digests).items()}

    @property
    def complete(self) -> bool:
        """Whether every slice is measured."""
        return all(self.shelf.slice(digest).complete for digest in self.digests.values())

    # --- surfaces

    def surfaces(self) -> Surfaces:
        """The measured fields, by the names that a look gives them. A Hessian point that did not converge is NaN."""
        fields = self._fields("loss") | self._fields("convexity")
        fields |= {name + DETAIL: field for name, field in self._fields("detail").items()}
        trajectory = self._trajectory() if self.scene.look.trajectory else None
        folder = self.shelf.run(self.run)
        return Surfaces(fields, checkpoints.epochs(folder), checkpoints.metrics(folder), trajectory)

    def hold_portrait(self, surfaces: Surfaces) -> Surfaces:
        """The film's surfaces held at the portrait's keyframe, with the loss on the portrait's grid."""
        if self.portrait is None:
            return surfaces
        fields = {name: field for name, field in surfaces.fields.items() if not name.endswith(DETAIL)}
        return replace(surfaces, fields=fields | self._fields("portrait"), held_at=self.portrait.epoch)

    def _fields(self, kind: SliceKind) -> dict[str, Field]:
        """The fields of one kind of slices, by name; only the loss is interpolated as the film says."""
        stored = self.stored(kind)
        if not stored:
            return {}
        datasets = [slice_.read() for slice_ in stored.values()]
        alpha, beta = (datasets[0][name].values for name in ("alpha", "beta"))
        grid = Grid.over(alpha, beta)
        functions = dict(zip(self.scene.loss.field_names[2:], map(str, self.scene.loss.fields), strict=True))
        fields = {}
        for name in filter(datasets[0].__contains__, (*SCALES, *functions, "measured")):
            values = np.stack([dataset[name].values for dataset in datasets])
            if name in ("lambda_min", "lambda_max"):
                converged = np.stack([dataset["converged"].values for dataset in datasets]) > 0
                values = np.where(converged, values, np.nan)
            interpolation = self.scene.film.interpolation if name == "loss" else "monotone"
            scale = SCALES.get(name, "linear")
            fields[functions.get(name, name)] = Field(tuple(stored), grid, values, scale, interpolation)
        return fields

    def _trajectory(self) -> Trajectory:
        """The run's trajectory through the scene's keyframes, in the planes of its loss."""
        planes = [map_arrays(self.shelf.plane(digest)).arrays for digest in self.planes.values()]
        return project_trajectory(tuple(self.planes), planes)

    # --- numbers

    def dataset(self, kind: SliceKind = "loss") -> xr.Dataset:
        """Raw measurements over (keyframe, beta, alpha), with the run's metrics over keyframe.

        A spectrum is over (keyframe, probe, step). Raises SceneError if the scene does not measure this.
        """
        stored = self.stored(kind)
        if not stored:
            raise SceneError(f"{self.scene.title}: nothing measures the {kind}")
        folder = self.shelf.run(self.run)
        indices = [checkpoints.epochs(folder).index(epoch) for epoch in stored]
        metrics = {
            name: ("keyframe", [values[i] for i in indices]) for name, values in checkpoints.metrics(folder).items()
        }
        return concat_slices(stored).assign(metrics)

    def facts(self) -> dict[str, str]:
        """Facts of the last slice of the loss: parameters, samples, method, the cosine of the directions."""
        attributes = list(self.stored("loss").values())[-1].read().attrs
        return {str(name): attributes[name] for name in attributes if name not in _INPUT_ATTRIBUTES}

    def curvature(self) -> dict[float, dict[str, Any]]:
        """Facts from the measured curvature, by epoch; complete slices only.

        `centre`: minimum, saddle, maximum or not stationary. `rank_correlation`: between the plane's share of negative
        curvature and the space's. `hidden_share`: of points convex in the picture and not in the space.
        `interlacing_share`: of points where the plane's curvatures lie between the space's, as they must. `trace` of
        the Hessian and its standard error, where a spectrum was measured.
        """
        summary: dict[float, dict[str, Any]] = {}
        if (convexity := self.scene.convexity) is None:
            return summary
        for epoch, stored in self.stored("convexity").items():
            if stored.complete:
                summary[epoch] = _convexity_summary(stored.read(), convexity)
        for epoch, stored in self.stored("spectrum").items():
            # a spectrum may be complete while the convexity beside it is still to be measured
            if epoch in summary and stored.complete:
                dataset = stored.read()
                total, error = trace(dataset["ritz"].values, dataset["weight"].values, int(dataset.attrs["parameters"]))
                summary[epoch] |= {"trace": total, "trace_error": error}
        return summary


def of_kind(kind: SliceKind, items: Mapping[SliceKey, Any]) -> dict[float, Any]:
    """The items of one kind, by epoch."""
    return {epoch: item for (item_kind, epoch), item in items.items() if item_kind == kind}


def _convexity_summary(dataset: xr.Dataset, convexity: Convexity) -> dict[str, Any]:
    converged = dataset.where(dataset["converged"] > 0)
    names = ("lambda_min", "lambda_max", "kappa_min", "kappa_max")
    lambda_min, lambda_max, kappa_min, kappa_max = (converged[name].values for name in names)
    middle = tuple(int(np.abs(dataset[name].values).argmin()) for name in ("beta", "alpha"))  # nearest to theta
    at_centre = float(dataset.attrs["gradient_norm"]), float(dataset.attrs["centre_loss"])
    is_node = dataset["beta"].values[middle[0]] == 0 == dataset["alpha"].values[middle[1]]
    kind = classify_centre(*at_centre, lambda_min[middle], lambda_max[middle], convexity.tol)
    return {
        "centre": kind if is_node else "not a node of the grid",
        **compare_curvatures(lambda_min, lambda_max, kappa_min, kappa_max, convexity.tol),
    }
