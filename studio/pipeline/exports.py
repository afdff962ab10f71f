"""What a scene measured, draws or films, as files for other programs; their list is at the foot.

`run: {kind: surfaces}` reads nc, zarr, csv, npz and li-h5, to the bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from studio.config.units import Time
from studio.deliver import exchange
from studio.errors import SceneError
from studio.field import Array
from studio.film.fields import FIELDS
from studio.film.surface import to_height
from studio.pipeline.film import film_source, frame_at, make_page
from studio.pipeline.measure import measure
from studio.pipeline.project import Project, repairs
from studio.pipeline.render_job import RenderJob, provenance
from studio.pipeline.results import Results, SliceKind
from studio.storage.files import atomic_write, check_writable
from studio.training.surface_formats import METRIC, NOT_MEASURED, UNFINISHED, write_li
from studio.training.surfaces_file import ATTRIBUTES

UNITS = {"alpha": "lengths of delta", "beta": "lengths of eta", "accuracy": "percent"}
"""Of what is no plain number, by the end of its name."""


@repairs
def export(project: Project, out: Path, to: str, of: SliceKind = "loss", at: Time | None = None) -> list[Path]:
    """Files of one format in the folder `out`, measurements of each landscape in one of its own; returns their paths.

    of: which measurements. at: the film time that `gltf` shows and `html` opens with; its end if None. Measures what is
    missing. Raises SceneError for an unknown format, and for numbers that the format cannot hold.
    """
    if to not in FORMATS:
        raise SceneError(f"no format '{to}' to export to; one of {', '.join(FORMATS)}")
    if to == "html":
        return [make_page(project, out, at)]
    check_writable(out)
    paths, of_film = list[Path](), to in _OF_FILM
    for part in (project,) if of_film else project.parts:
        words = project.name, part.landscape, "" if of_film or of == "loss" else of
        suffix, write = _OF_FILM[to] if of_film else _OF_NUMBERS[to]
        content: Any = at if of_film else labelled(part, measure(part), of)
        with atomic_write(path := out / f"{'-'.join(filter(None, words))}{suffix}") as temporary:
            write(temporary, part, content)
        paths.append(path)
    return paths


def labelled(project: Project, results: Results, of: SliceKind = "loss") -> xr.Dataset:
    """The measurements with names and units, and with all that is known of them in the attributes.

    What differs from keyframe to keyframe, such as the cosine of the directions, is a JSON list, `by_keyframe`.
    """
    data, axis = results.dataset(of), results.scene.axis
    facts = [stored.read().attrs for stored in results.stored(of).values()]
    differing = [{str(name): value for name, value in own.items() if name not in data.attrs} for own in facts]
    for name in map(str, data.variables):
        unit = UNITS.get(name.rpartition("_")[2])
        data[name].attrs = {"long_name": FIELDS.get(name, name)} | ({"units": unit} if unit else {})
    words = {"long_name": axis.name, "units": axis.unit.strip(), "base": str(axis.base or "")}
    data["keyframe"].attrs = {name: word for name, word in words.items() if word}
    return data.assign_attrs(by_keyframe=json.dumps(differing), provenance=json.dumps(_provenance(project, results)))


def _provenance(project: Project, *results: Results) -> dict[str, Any]:
    return provenance(RenderJob(project.scene, results, project.draft, "none"))


def _attributes(data: xr.Dataset) -> str:
    """The attributes of the dataset, and those of its variables, as JSON."""
    return json.dumps({**data.attrs, "variables": {str(name): dict(data[name].attrs) for name in data.variables}})


def _planes(data: xr.Dataset) -> Iterator[tuple[float, dict[str, Array]]]:
    """(coordinate, alpha [A], beta [B] and fields [B, A] by name). Raises SceneError for a spectrum, over no plane."""
    if "alpha" not in data.variables:
        raise SceneError("a spectrum is over no plane; export it to nc, zarr, csv or npz")
    for k, coordinate in enumerate(data["keyframe"].values):
        plane = data.isel(keyframe=k).reset_coords()
        axes = {"alpha": plane["alpha"].values, "beta": plane["beta"].values}
        yield float(coordinate), axes | {str(name): array.values for name, array in plane.items() if array.ndim == 2}


def _write_csv(path: Path, _: Project, data: xr.Dataset) -> None:
    """A row a point, in as many digits as it takes to read the same numbers back; the attributes are a comment."""
    data = data.drop_dims("sample", errors="ignore")
    metrics = {str(name): f"{METRIC}{name}" for name, array in data.items() if array.ndim == 1}
    table = data.to_dataframe().reset_index().rename(columns={"keyframe": "coordinate", **metrics})
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {_attributes(data)}\n")
        table.to_csv(file, index=False, na_rep="nan", lineterminator="\n")


def _write_npz(path: Path, _: Project, data: xr.Dataset) -> None:
    data = data.drop_dims("sample", errors="ignore")
    arrays = {str(name): array.values for name, array in data.rename(keyframe="coordinate").variables.items()}
    np.savez(path, allow_pickle=False, **arrays, **{ATTRIBUTES: np.array(_attributes(data))})


def _write_li(path: Path, _: Project, data: xr.Dataset) -> None:
    path.mkdir()
    for k, (coordinate, plane) in enumerate(_planes(data)):
        for name in map(str, data.data_vars.keys() & plane.keys()):
            if (plane[name] == (mark := UNFINISHED.get(name, NOT_MEASURED))).any():
                text = f"{name} is exactly {mark:g} somewhere, which in this format means not measured"
                raise SceneError(f"{text}; export it to nc, zarr, csv or npz")
        write_li(path / f"surface-{k:04d}-at-{coordinate:g}.h5", coordinate, plane, _attributes(data))


def _write_vtk(path: Path, project: Project, data: xr.Dataset) -> None:
    from studio.render.mesh_files import write_series

    source, planes = film_source(project), dict(_planes(data))
    for coordinate, plane in planes.items():
        if (values := plane.get(source.look.height.field)) is not None:
            plane["height"] = to_height(values, source.look, source.scales(project.landscape, coordinate))
    write_series(path, project.name, planes, _attributes(data))


def _write_land(path: Path, project: Project, at: Time | None) -> None:
    from studio.render.mesh_files import write_gltf

    number = project.scene.cut.length - 1 if at is None else frame_at(project, at)
    source, results = film_source(project), tuple(map(measure, project.parts))
    facts = {"frame": number, "shown": source.label(number), **_provenance(project, *results)}
    write_gltf(path, source.aov_frame(number).views[0], facts)


def _write_camera(text: Callable[[exchange.Footage], str], path: Path, project: Project, _: Time | None) -> None:
    source, (width, height) = film_source(project), project.scene.film.size
    frames = [exchange.CameraFrame(number, *source.camera(number)) for number in range(source.cut.length)]
    footage = exchange.Footage(project.scene.title, source.cut, frames, width / height)
    path.write_text(text(footage), encoding="utf-8")


_OF_NUMBERS: Mapping[str, tuple[str, Callable[[Path, Project, xr.Dataset], object]]] = {
    "nc": (".nc", lambda path, _, data: data.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")),
    "zarr": (".zarr", lambda path, _, data: data.to_zarr(path, zarr_format=3, consolidated=False)),
    "csv": (".csv", _write_csv),
    "npz": (".npz", _write_npz),
    "li-h5": ("-li", _write_li),
    "vtk": ("-vtk", _write_vtk),
}
_OF_FILM: Mapping[str, tuple[str, Callable[[Path, Project, Time | None], None]]] = {
    "gltf": (".gltf", _write_land),
    "camera-csv": ("-camera.csv", partial(_write_camera, exchange.camera_csv)),
    "usda": (".usda", partial(_write_camera, exchange.camera_usda)),
    "otio": (".otio", partial(_write_camera, exchange.cut_otio)),
}
FORMATS = (*_OF_NUMBERS, *_OF_FILM, "html")
"""What `export` writes."""
