"""What was measured of a scene, read off the shelf: the surfaces of its film, a dataset, and what the numbers say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from studio.config.records import FrozenDict
from studio.errors import SceneError
from studio.field import DETAIL, Field, Grid, Surfaces, Trajectory
from studio.film.surface import SCALES
from studio.landscape import slices
from studio.landscape.convexity import Convexity
from studio.landscape.curvature.plane import centre, compared
from studio.landscape.curvature.spectrum import trace
from studio.landscape.trajectory import projected
from studio.pipeline.measure import Portrait, of, slices_of
from studio.scene.scene import Scene
from studio.storage.shelf import Shelf
from studio.training import checkpoints

_INPUTS = (
    *("scene", "what", "version", "model", "data", "samples_used", "epoch", "weights", "directions"),
    *("found_by", "loss", "grid", "device"),
)


@dataclass(frozen=True)
class Measured:
    """The slices of a scene on a shelf, by their keys alone: small, and picklable. folder: of the run.

    keys: {(what, epoch): key}. portrait: the keyframe that a still shows on a grid of its own.
    """

    scene: Scene
    shelf: Shelf
    folder: Path
    keys: FrozenDict
    portrait: Portrait | None = None

    def surfaces(self) -> Surfaces:
        """The surfaces, by the names that a look gives them. A Hessian point that did not converge is NaN."""
        found = self._fields("loss") | self._fields("convexity")
        found |= {name + DETAIL: field for name, field in self._fields("detail").items()}
        way = self._way() if self.scene.look.trajectory else None
        return Surfaces(found, checkpoints.epochs(self.folder), checkpoints.metrics(self.folder), way)

    def pinned(self, surfaces: Surfaces) -> Surfaces:
        """The surfaces of a film as its portrait shows them: always at its keyframe, on its own grid."""
        coarse = {name: field for name, field in surfaces.fields.items() if not name.endswith(DETAIL)}
        return replace(surfaces, fields=coarse | self._fields("portrait"), pinned=self.portrait.epoch)

    def _fields(self, what: str) -> dict[str, Field]:
        """The fields of one kind of slices, by name; only the loss flows in time."""
        keys = of(what, self.keys)
        if not keys:
            return {}
        measured, found = [self.shelf.slice(key).read() for key in keys.values()], {}
        axis = measured[0]["alpha"].values
        grid = Grid(range=(float(axis[0]), float(axis[-1])), points=len(axis))
        own = dict(zip(self.scene.loss.field_names[2:], map(str, self.scene.loss.fields), strict=True))
        for name in filter(measured[0].__contains__, (*SCALES, *own, "measured")):
            values = np.stack([data[name].values for data in measured])
            if name in ("lambda_min", "lambda_max"):
                values = np.where(np.stack([data["converged"].values for data in measured]) > 0, values, np.nan)
            between = self.scene.film.interpolation if name == "loss" else "monotone"
            found[own.get(name, name)] = Field(tuple(keys), grid, values, SCALES.get(name, "linear"), between)
        return found

    def _way(self) -> Trajectory:
        """The way through the scene's keys, in the planes of its loss."""
        drawn = of("loss", slices_of(self.scene, self.shelf, self.folder))
        return projected(tuple(drawn), [slices.plane(slice_).arrays for slice_ in drawn.values()])

    def dataset(self, what: str):
        """What was measured, raw, as an xarray.Dataset; see `Studio.dataset`."""
        keys = of(what, self.keys)
        if not keys:
            raise SceneError(f"{self.scene.title}: nothing measures the {what}")
        at = [checkpoints.epochs(self.folder).index(epoch) for epoch in keys]
        metrics = checkpoints.metrics(self.folder)
        over_keys = {name: ("key", [values[i] for i in at]) for name, values in metrics.items()}
        return self.shelf.concat(keys).assign(over_keys)

    def facts(self) -> dict[str, str]:
        """What is known of the last slice beside its values: parameters, samples, path, the directions' cosine."""
        attributes = self.shelf.slice(list(of("loss", self.keys).values())[-1]).read().attrs
        return {name: attributes[name] for name in attributes if name not in _INPUTS}

    def curvature(self) -> dict[float, dict[str, Any]]:
        """What the measured curvature says of the picture, by epoch; see `Studio.curvature`."""
        found: dict[float, dict[str, Any]] = {}
        for (what, epoch), key in self.keys.items():
            # a spectrum may be kept while the convexity beside it is to be measured anew: then there is nothing to say
            if (what == "convexity" or epoch in found) and (data := self.shelf.slice(key).complete()) is not None:
                found.setdefault(epoch, {}).update(_said(what, data, self.scene.convexity))
        return found


def _said(what: str, data, convexity: Convexity) -> dict[str, float | str]:
    """What the curvature at one key says, from the dataset of its slice."""
    if what == "spectrum":
        total, error = trace(data["ritz"].values, data["weight"].values, int(data.attrs["parameters"]))
        return {"trace": total, "trace_error": error}
    known = data.where(data["converged"] > 0)
    ends = [known[name].values for name in ("lambda_min", "lambda_max", "kappa_min", "kappa_max")]
    middle = tuple(n // 2 for n in ends[0].shape)
    facts = float(data.attrs["gradient_norm"]), float(data.attrs["centre_loss"])
    return {
        "centre": centre(*facts, ends[0][middle], ends[1][middle], convexity.tol),
        **compared(*ends, convexity.tol),
    }
