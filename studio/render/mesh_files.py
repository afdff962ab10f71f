"""The land as files of 3-D programs: meshes in time for ParaView, and one painted mesh as glTF."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import numpy as np
import pyvista as pv

from studio.field import Array, Grid
from studio.film.colour import encode
from studio.film.frame import View
from studio.render.mesh import DIAGONALS, disc, fill_all_holes


@dataclass(frozen=True)
class Sheet:
    """One measured grid: its axes [A] and [B], its drawn height [B, A] in scene units or None, and fields [B, A]."""

    alpha: Array
    beta: Array
    height: Array | None
    fields: Mapping[str, Array]

    def mesh(self, facts: Mapping[str, str]) -> pv.StructuredGrid:
        """Points (alpha, beta, height), the drawn proportions kept; holes lie at 0, as all does without a height."""
        x, y = np.meshgrid(self.alpha, self.beta, indexing="ij")
        z = np.zeros_like(x) if self.height is None else np.nan_to_num(self.height.T)
        mesh = pv.StructuredGrid(*(axis[..., None] for axis in (x, y, z * Grid.over(self.alpha, self.beta).unit)))
        for name, values in self.fields.items():
            mesh.point_data[name] = values.ravel()
        for name, text in facts.items():
            mesh.add_field_data([text], name)
        return mesh


def write_series(folder: Path, stem: str, sheets: Iterable[tuple[float, Sheet]], facts: Mapping[str, str]) -> None:
    """Writes STEM-0000.vts, ... and STEM.pvd, which gives each its time, the coordinate, into a new folder."""
    folder.mkdir()
    entries = []
    for number, (coordinate, sheet) in enumerate(sheets):
        name = f"{stem}-{number:04d}.vts"
        sheet.mesh(facts).save(folder / name)
        entries.append(f'    <DataSet timestep="{coordinate!r}" part="0" file="{name}"/>\n')
    text = f'<VTKFile type="Collection" version="1.0">\n  <Collection>\n{"".join(entries)}  </Collection>\n</VTKFile>\n'
    (folder / f"{stem}.pvd").write_text(text, encoding="utf-8")


def write_gltf(path: Path, view: View, facts: Mapping[str, Any]) -> None:
    """Writes the drawn surface of a view and its camera, y up; colours are a texture, `facts` the asset's extras."""
    plotter: Any = pv.Plotter(off_screen=True)
    try:
        plotter.add_mesh(_surface(view), texture=_texture(view.colours), smooth_shading=True)
        camera, pose = plotter.camera, view.pose
        camera.position, camera.focal_point = _y_up(pose.position).tolist(), _y_up(pose.focal_point).tolist()
        camera.up, camera.view_angle = _y_up(pose.view_up).tolist(), pose.view_angle
        plotter.export_gltf(path, inline_data=True, rotate_scene=False)
    finally:
        plotter.close()
    gltf = json.loads(path.read_text())
    gltf["asset"]["extras"] = dict(facts)
    path.write_text(json.dumps(gltf), encoding="utf-8")


def _surface(view: View) -> Any:
    """The drawn disc without its holes, scene units."""
    side = len(view.height)
    land = disc(side, view.sides)
    flat = view.height.ravel()[land.vertices]
    triangles = land.quads[:, DIAGONALS[0]].reshape(-1, 3)
    whole = triangles[np.isfinite(flat[triangles]).all(axis=1)]
    heights = fill_all_holes(view.height).ravel()[land.vertices]
    mesh = pv.PolyData.from_regular_faces(_y_up(np.column_stack([land.places, heights])), whole)
    # a vertex lies in the middle of its texel
    mesh.active_texture_coordinates = (land.places * (side - 1) / side + 1) / 2
    return mesh.compute_normals(cell_normals=False, split_vertices=False, consistent_normals=False)


def _y_up(points: Any) -> Array:
    """Points or vectors [..., 3] with z up as glTF has them."""
    return np.asarray(points)[..., [0, 2, 1]] * (1, 1, -1)


def _texture(colours: Array) -> Any:
    """Linear colours [N, N, 3], first row at the lowest y, as a picture in sRGB."""
    texture: Any = pv.Texture(np.rint(255 * encode(colours[::-1])).astype(np.uint8))  # type: ignore[no-untyped-call]  # PyVista's decorator
    texture.interpolate = True
    texture.wrap = pv.Texture.WrapType.CLAMP_TO_EDGE
    return texture
