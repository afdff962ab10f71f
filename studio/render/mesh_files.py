"""The land as files of 3-D programs: meshes in time for ParaView, and one painted mesh as glTF."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import numpy as np
import pyvista as pv

from studio.field import Array, Grid
from studio.film.colour import encode
from studio.film.frame import View
from studio.render.mesh import DIAGONALS, disc, fill_all_holes


def write_series(folder: Path, stem: str, planes: Mapping[float, Mapping[str, Array]], facts: str) -> None:
    """Writes STEM-0000.vts, ... and STEM.pvd, which gives each its time, the coordinate, into a new folder.

    planes: by coordinate; alpha [A], beta [B], fields [B, A], and perhaps the drawn `height` [B, A] in scene units.
    """
    folder.mkdir()
    files = {f"{stem}-{number:04d}.vts": coordinate for number, coordinate in enumerate(planes)}
    for name, coordinate in files.items():
        mesh = _sheet(**planes[coordinate])
        mesh.add_field_data([facts], "attributes")
        mesh.save(folder / name)
    entries = "".join(f'<DataSet timestep="{at!r}" part="0" file="{name}"/>\n' for name, at in files.items())
    text = f'<VTKFile type="Collection" version="1.0">\n<Collection>\n{entries}</Collection>\n</VTKFile>\n'
    (folder / f"{stem}.pvd").write_text(text, encoding="utf-8")


def _sheet(alpha: Array, beta: Array, **fields: Array) -> pv.StructuredGrid:
    """Points (alpha, beta, height) in the drawn proportions; holes lie at 0, as all does without a height."""
    y, x = np.meshgrid(beta, alpha)
    z = np.nan_to_num(fields.get("height", 0 * x.T)).T * Grid.over(alpha, beta).unit
    mesh = pv.StructuredGrid(*(axis[..., None] for axis in (x, y, z)))
    for name, values in fields.items():
        mesh.point_data[name] = values.ravel()
    return mesh


def write_gltf(path: Path, view: View, facts: Mapping[str, Any]) -> None:
    """Writes the drawn surface of a view and its camera, y up; colours are a texture, `facts` the asset's extras."""
    # PyVista's decorators hide its types
    plotter, texture = cast("Any", pv.Plotter), cast("Any", pv.Texture)
    picture = texture(np.rint(255 * encode(view.colours[::-1])).astype(np.uint8))  # first row on top
    picture.interpolate, picture.wrap = True, pv.Texture.WrapType.CLAMP_TO_EDGE
    with closing(plotter(off_screen=True)) as stage:
        stage.add_mesh(_land(view), texture=picture, smooth_shading=True)
        stage.camera_position = [
            _y_up(p).tolist() for p in (view.pose.position, view.pose.focal_point, view.pose.view_up)
        ]
        stage.camera.view_angle = view.pose.view_angle
        stage.export_gltf(path, inline_data=True, rotate_scene=False)
    gltf = json.loads(path.read_text())
    gltf["asset"]["extras"] = facts
    path.write_text(json.dumps(gltf), encoding="utf-8")


def _land(view: View) -> Any:
    """The drawn disc without its holes, scene units, y up."""
    side = len(view.height)
    land = disc(side, view.sides)
    known = np.isfinite(view.height).ravel()[land.vertices]
    triangles = land.quads[:, DIAGONALS[0]].reshape(-1, 3)
    heights = fill_all_holes(view.height).ravel()[land.vertices]
    points = _y_up(np.column_stack([land.places, heights]))
    mesh: Any = pv.PolyData.from_regular_faces(points, triangles[known[triangles].all(axis=1)])
    mesh.active_texture_coordinates = (land.places * (side - 1) / side + 1) / 2  # a vertex is the middle of its texel
    return mesh.compute_normals(cell_normals=False, split_vertices=False, consistent_normals=False)


def _y_up(points: Any) -> Array:
    """Points or vectors [..., 3] with z up as glTF has them."""
    return np.asarray(points)[..., [0, 2, 1]] * (1, 1, -1)
