"""What a scene measured, draws or films, as files for other programs.

    nc, zarr             the measured numbers for xarray, with units and attributes
    csv, npz             the same as a table and as arrays by name
    li-h5                a folder of surfaces for the scripts of Li et al. (2018)
    vtk                  a folder of meshes in time, and their .pvd, for ParaView; z is the drawn height
    gltf                 the land at one moment as the look paints it, for 3-D programs and web pages
    camera-csv, usda     the camera at every frame; otio, the cut

`run: {kind: surfaces}` reads nc, zarr, csv, npz and li-h5, to the bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from studio.config.units import Time
from studio.deliver import exchange
from studio.errors import SceneError
from studio.field import Array
from studio.film.fields import FIELDS
from studio.film.frame_source import FrameSource
from studio.film.surface import to_height
from studio.pipeline.film import film_source, frame_at
from studio.pipeline.measure import measure
from studio.pipeline.project import Project, repairs
from studio.pipeline.render_job import RenderJob, provenance
from studio.pipeline.results import Results, SliceKind
from studio.storage.files import atomic_write, check_writable
from studio.training import surface_formats
from studio.training.surfaces_file import ATTRIBUTES

UNITS = {"alpha": "lengths of delta", "beta": "lengths of eta", "accuracy": "percent"}
"""Of what is no plain number, by the end of its name."""
_OVER = ("keyframe", "beta", "alpha")


@repairs
def export(project: Project, out: Path, to: str, of: SliceKind = "loss", at: Time | None = None) -> list[Path]:
    """Files of one format in the folder `out`, one for each landscape; measures what they need. Returns their paths.

    of: which of the measured slices. at: the film time that `gltf` shows; its end if None. Raises SceneError for an
    unknown format, and for numbers that the format cannot hold.
    """
    if to not in FORMATS:
        raise SceneError(f"no format '{to}' to export to; one of {', '.join(FORMATS)}")
    check_writable(out)
    if to == "gltf":
        return [_export_land(project, out, at)]
    if to not in _WRITERS:
        return [_export_camera(project, out, to)]
    return [_export_numbers(project, part, out, to, of) for part in project.parts]


def _export_camera(project: Project, out: Path, to: str) -> Path:
    source, (width, height) = film_source(project), project.scene.film.size
    frames = [exchange.CameraFrame(number, *source.camera(number)) for number in range(source.cut.length)]
    suffix, write = exchange.FORMATS[to]
    with atomic_write(path := out / f"{project.name}{suffix}") as temporary:
        footage = exchange.Footage(project.scene.title, source.cut, frames, width / height)
        temporary.write_text(write(footage), encoding="utf-8")
    return path


def _export_land(project: Project, out: Path, at: Time | None) -> Path:
    from studio.render.mesh_files import write_gltf

    number = project.scene.cut.length - 1 if at is None else frame_at(project, at)
    source, results = film_source(project), tuple(map(measure, project.parts))
    facts = {"frame": number, "shown": source.label(number), **_provenance(project, *results)}
    with atomic_write(path := out / f"{project.name}.gltf") as temporary:
        write_gltf(temporary, source.aov_frame(number).views[0], facts)
    return path


def _export_numbers(project: Project, part: Project, out: Path, to: str, of: SliceKind) -> Path:
    suffix, write = _WRITERS[to]
    words = filter(None, (project.name, part.landscape, of if of != "loss" else ""))
    stem, results = "-".join(words), measure(part)
    data = labelled(part, results, of)
    with atomic_write(path := out / f"{stem}{suffix}") as temporary:
        write(temporary, Numbers(stem, part, data, results))
    return path


def labelled(project: Project, results: Results, of: SliceKind = "loss") -> xr.Dataset:
    """The measurements with names and units, and with all that is known of them in the attributes.

    What differs from keyframe to keyframe, such as the cosine of the directions, is a JSON list, `by_keyframe`.
    """
    data, axis = results.dataset(of), results.scene.axis
    facts = [stored.read().attrs for stored in results.stored(of).values()]
    differing = [{str(name): value for name, value in own.items() if name not in data.attrs} for own in facts]
    for name in map(str, data.variables):
        label = f"along {'delta' if name == 'alpha' else 'eta'}" if name in _OVER else FIELDS.get(name, name)
        unit = UNITS.get(name.rpartition("_")[2])
        data[name].attrs = {"long_name": label} | ({"units": unit} if unit else {})
    words = {"long_name": axis.name, "units": axis.unit.strip(), "base": "" if axis.base is None else str(axis.base)}
    data["keyframe"].attrs = {name: word for name, word in words.items() if word}
    return data.assign_attrs(by_keyframe=json.dumps(differing), provenance=json.dumps(_provenance(project, results)))


def _provenance(project: Project, *results: Results) -> dict[str, Any]:
    facts = provenance(RenderJob(project.scene, results, project.draft, ""))
    return {name: fact for name, fact in facts.items() if name != "renderer"}


# --- the measured numbers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Numbers:
    """What a writer gets: the file's name without suffix, the landscape's project, its labelled data and results."""

    stem: str
    project: Project
    data: xr.Dataset
    results: Results

    @property
    def fields(self) -> list[str]:
        """Names of what is measured at every point. Raises SceneError if nothing is, as of a spectrum."""
        over = [dims for dims in (_OVER, ("keyframe", "row", "column")) if set(dims) <= set(self.data.dims)]
        names = [str(name) for name, array in self.data.items() if array.dims in over]
        if not names:
            raise SceneError(f"{self.stem}: is over {', '.join(map(str, self.data.dims))}; export it to nc or zarr")
        return names

    @property
    def metrics(self) -> dict[str, Array]:
        """Numbers [K] of the run."""
        return {str(name): array.values for name, array in self.data.items() if array.dims == ("keyframe",)}

    def planes(self) -> Iterator[tuple[float, Array, Array, dict[str, Array]]]:
        """(coordinate, alpha [A], beta [B], fields [B, A]) of every keyframe."""
        names = self.fields
        for k, coordinate in enumerate(self.data["keyframe"].values):
            plane = self.data.isel(keyframe=k)
            fields = {name: plane[name].values for name in names}
            yield float(coordinate), plane["alpha"].values, plane["beta"].values, fields


def _write_nc(path: Path, numbers: Numbers) -> None:
    numbers.data.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")


def _write_zarr(path: Path, numbers: Numbers) -> None:
    numbers.data.to_zarr(path, zarr_format=3, consolidated=False, write_empty_chunks=True)


def _write_csv(path: Path, numbers: Numbers) -> None:
    """The attributes as comments; every number in as many digits as it takes to read it back."""
    metrics = {name: f"{surface_formats.METRIC}{name}" for name in numbers.metrics}
    data = numbers.data.drop_dims([*set(numbers.data.dims) - {*_OVER, "row", "column"}])
    names = {"keyframe": "coordinate", **metrics}
    columns = ["coordinate", "beta", "alpha", *numbers.fields, *metrics.values()]
    table = data.to_dataframe().reset_index().rename(columns=names)[columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {name}: {json.dumps(value)}\n" for name, value in _attributes(data).items())
        table.to_csv(file, index=False, na_rep="nan", lineterminator="\n")


def _attributes(data: xr.Dataset) -> dict[str, Any]:
    """Those of the dataset, and those of its variables."""
    return {**data.attrs, "variables": {str(name): dict(data[name].attrs) for name in data.variables}}


def _write_npz(path: Path, numbers: Numbers) -> None:
    data, fields = numbers.data, numbers.fields
    axes = {"coordinate": data["keyframe"].values, "alpha": data["alpha"].values, "beta": data["beta"].values}
    arrays: dict[str, Any] = axes | {name: data[name].values for name in fields} | numbers.metrics
    arrays[ATTRIBUTES] = json.dumps(_attributes(data))
    np.savez(path, **arrays)


def _write_li(path: Path, numbers: Numbers) -> None:
    path.mkdir()
    directions = str(numbers.data.attrs.get("directions", numbers.results.scene.title))
    for k, (coordinate, alpha, beta, fields) in enumerate(numbers.planes()):
        for name, values in fields.items():
            if (values == (mark := surface_formats.unfinished(name))).any():
                text = f"{name} is exactly {mark:g} somewhere, which in this format means not measured"
                raise SceneError(f"{numbers.stem}: {text}; export it to nc, zarr, csv or npz")
        file = path / f"surface-{k:04d}-at-{coordinate:g}.h5"
        surface_formats.write_li(file, coordinate, alpha, beta, fields, directions)


def _write_vtk(path: Path, numbers: Numbers) -> None:
    from studio.render.mesh_files import Sheet, write_series

    source, facts = film_source(numbers.project), {"attributes": json.dumps(_attributes(numbers.data))}
    sheets = ((at, Sheet(a, b, _height(source, at, fields), fields)) for at, a, b, fields in numbers.planes())
    write_series(path, numbers.stem, sheets, facts)


def _height(source: FrameSource, coordinate: float, fields: Mapping[str, Array]) -> Array | None:
    """The drawn height of measured values, scene units; None if the look draws something else."""
    values = fields.get(source.look.height.field)
    return None if values is None else to_height(values, source.look, source.ranges.at(coordinate))


_WRITERS: Mapping[str, tuple[str, Callable[[Path, Numbers], None]]] = {
    "nc": (".nc", _write_nc),
    "zarr": (".zarr", _write_zarr),
    "csv": (".csv", _write_csv),
    "npz": (".npz", _write_npz),
    "li-h5": ("-li", _write_li),
    "vtk": ("-vtk", _write_vtk),
}
FORMATS = (*_WRITERS, "gltf", *exchange.FORMATS)
"""What `export` writes."""
