"""Exports: read back to the bit by `run: {kind: surfaces}`, and by the libraries of the programs that they are for."""

import base64
import io
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import xarray as xr

from studio.film.colour import encode
from studio.film.surface import to_height
from studio.pipeline import exports
from studio.pipeline.film import film_source
from studio.pipeline.project import Project
from studio.training.surfaces_file import read_surfaces

SCENE = """\
title: Heat
run: {kind: surfaces, file: heat.npz, axis: {name: temperature, unit: " K"}}
look: {base: ember, mesh: 33}
film: {size: 64x36, fps: 8}
shots: [{shot: warm, duration: 1s, along: {0s: 100, 1s: 300}}]
"""
SHAPES = {"square": (6, 6), "wide": (7, 4), "high": (4, 7)}
READABLE = ("nc", "zarr", "csv", "npz")
PATHS = {"li-h5": "out/heat/heat-li", "vtk": "out/heat/heat-vtk"}


def save(folder, counts, **more) -> None:
    alpha, beta = np.linspace(-1, 1, counts[0]), np.linspace(0, 3, counts[1])
    loss = np.random.default_rng(0).lognormal(size=(3, counts[1], counts[0]))
    loss[1].flat[:6] = 1e36, np.inf, np.nan, 5e-324, -0.0, np.nextafter(1, 2)
    axes = {"coordinate": [100.0, 200.0, 1e3 / 3], "alpha": alpha, "beta": beta}
    np.savez(folder / "heat.npz", **axes, loss=loss, lambda_min=-loss, energy=[1.0, np.nan, 3.0], **more)


@pytest.fixture
def heat(tmp_path, request):
    save(tmp_path, SHAPES[getattr(request, "param", "wide")])
    (tmp_path / "heat.yaml").write_text(SCENE, encoding="utf-8")
    return tmp_path / "heat.yaml"


def assert_same(path, original, metrics=True) -> None:
    back = read_surfaces(path)
    assert back.coordinates == original.coordinates and back.grid == original.grid
    assert back.fields.keys() == original.fields.keys()
    for name, values in original.fields.items():
        assert np.array_equal(back.fields[name], values, equal_nan=True), name
        assert np.array_equal(np.signbit(back.fields[name][values == 0]), np.signbit(values[values == 0]))
    assert not metrics or np.array_equal(back.metrics["energy"], original.metrics["energy"], equal_nan=True)


@pytest.mark.parametrize("heat", SHAPES, indirect=True)
def test_what_is_exported_is_imported_to_the_bit(heat, invoke):
    original = read_surfaces(heat.parent / "heat.npz")
    for to in READABLE:
        result = invoke("export", "heat.yaml", "--to", to)
        assert (result.status, result.out) == (0, f"out/heat/heat.{to}\n"), result.err
        assert_same(heat.parent / "out" / "heat" / f"heat.{to}", original)
    assert len(list((heat.parent / "out" / "heat").iterdir())) == len(READABLE)


@pytest.mark.extras
@pytest.mark.parametrize("heat", SHAPES, indirect=True)
def test_the_surfaces_of_li_et_al_come_back_to_the_bit(heat, invoke):
    import h5py

    assert invoke("export", "heat.yaml", "--to", "li-h5").out == f"{PATHS['li-h5']}\n"
    original = read_surfaces(heat.parent / "heat.npz")
    assert_same(heat.parent / PATHS["li-h5"], original, metrics=False)
    with h5py.File(heat.parent / PATHS["li-h5"] / "surface-0002-at-333.333.h5") as file:
        assert file["train_loss"].shape == (len(file["xcoordinates"]), len(file["ycoordinates"]))
        # their scripts look at it flat, along meshgrid(x, y)
        assert np.array_equal(file["train_loss"][()].ravel(), original.fields["loss"][2].ravel())
        assert set(file) == {"xcoordinates", "ycoordinates", "train_loss", "min_eig", "dir_file", "attributes"}


@pytest.mark.extras
def test_a_loss_that_means_not_measured_is_not_handed_to_li_et_al(heat, invoke):
    alpha = np.linspace(-1, 1, 4)
    loss = -np.ones((3, 4, 4))
    np.savez(heat.parent / "heat.npz", coordinate=[100, 200, 300], alpha=alpha, beta=alpha, loss=loss)
    result = invoke("export", "heat.yaml", "--to", "li-h5")
    assert result.status == 2 and "loss is exactly -1 somewhere, which in this format means not measured" in result.err
    assert list((heat.parent / "out" / "heat").iterdir()) == []  # nothing half done


def test_a_dataset_says_what_was_measured_and_how(measured):
    [path] = exports.export(Project.open(measured.scene), measured.out, "nc")
    with xr.open_dataset(path, engine="scipy") as data:
        assert data["keyframe"].attrs == {"long_name": "epoch"} and data["alpha"].units == "lengths of delta"
        assert (data["accuracy"].units, data["test_accuracy"].units) == ("percent", "percent")
        assert data.attrs["scene"] == "Tiny" and "'kind': 'random'" in data.attrs["directions"]
        provenance, own = json.loads(data.provenance), json.loads(data.by_keyframe)
        assert len(provenance["slices"]) == 5 and provenance["runs"] and "torch" in provenance["versions"]
        assert [abs(float(facts["cosine"])) < 0.1 for facts in own] == [True] * 3
    [path] = exports.export(Project.open(measured.scene), measured.out, "csv", "convexity")
    assert path.name == "tiny-convexity.csv" and ",lambda_max," in path.read_text()


def test_paraview_gets_a_mesh_at_every_coordinate_with_the_measured_numbers(heat, invoke):
    import pyvista as pv

    assert invoke("export", "heat.yaml", "--to", "vtk").out == f"{PATHS['vtk']}\n"
    folder, original = heat.parent / PATHS["vtk"], read_surfaces(heat.parent / "heat.npz")
    entries = ElementTree.parse(folder / "heat.pvd").getroot().iter("DataSet")
    files = {float(entry.get("timestep")): entry.get("file") for entry in entries}
    assert tuple(files) == original.coordinates
    source = film_source(Project.open(heat))
    for k, (coordinate, name) in enumerate(files.items()):
        mesh, loss = pv.read(folder / name), original.fields["loss"][k]
        assert np.array_equal(mesh["loss"], loss.ravel(), equal_nan=True)
        x, y, z = mesh.points.reshape(*loss.shape, 3).transpose(2, 0, 1)
        np.testing.assert_array_equal(x, np.broadcast_to(original.grid.alpha, loss.shape))
        np.testing.assert_array_equal(y.T, np.broadcast_to(original.grid.beta, loss.T.shape))
        height = to_height(loss, source.look, source.ranges.at(coordinate)) * original.grid.unit
        np.testing.assert_allclose(z, np.nan_to_num(height), rtol=1e-6)
    assert json.loads(mesh.field_data["attributes"][0])["variables"]["keyframe"]["units"] == "K"


def test_gltf_is_the_land_and_its_camera_as_the_look_paints_it(heat, invoke):
    import imageio.v3 as iio

    assert invoke("export", "heat.yaml", "--to", "gltf", "--at", "0s").out == "out/heat/heat.gltf\n"
    gltf = json.loads((heat.parent / "out/heat/heat.gltf").read_text())
    assert gltf["asset"]["extras"]["shown"] == "temperature 100.0 K" and gltf["asset"]["extras"]["scene"] == "Heat"
    buffers = [base64.b64decode(buffer["uri"].partition(",")[2]) for buffer in gltf["buffers"]]
    view, [primitive] = film_source(Project.open(heat)).aov_frame(0).views[0], gltf["meshes"][0]["primitives"]
    points, uv = (
        np.frombuffer(buffers[gltf["accessors"][primitive["attributes"][name]]["bufferView"]], np.float32)
        for name in ("POSITION", "TEXCOORD_0")
    )
    x, up, back = points.reshape(-1, 3).T
    column, row = (np.rint((axis + 1) / 2 * (len(view.height) - 1)).astype(int) for axis in (x, -back))
    np.testing.assert_allclose(up, view.height[row, column], atol=1e-6)
    picture = iio.imread(io.BytesIO(buffers[gltf["images"][0]["bufferView"]]))
    u, v = uv.reshape(-1, 2).T * len(picture)
    assert picture.shape[:2] == view.height.shape and np.array_equal(u.astype(int), column)
    texels = picture[v.astype(int), u.astype(int), :3]
    np.testing.assert_allclose(texels, 255 * encode(view.colours[row, column]), atol=0.51)
    assert gltf["cameras"][0]["perspective"]["yfov"] == pytest.approx(np.radians(view.pose.view_angle))


def test_an_unknown_format_lists_the_formats_and_makes_nothing(heat, invoke):
    known = "nc, zarr, csv, npz, li-h5, vtk, gltf, camera-csv, usda, otio, html"
    assert invoke("export", "heat.yaml", "--to", "mat") == (2, "", f"no format 'mat' to export to; one of {known}\n")
    assert not (heat.parent / "out").exists()


def test_each_landscape_is_a_file_of_its_own(heat, invoke):
    text = SCENE.replace("run:", "landscapes: {a: {}, b: {}}\nrun:").replace("shot: warm", "shot: warm, show: [a, b]")
    heat.write_text(text)
    assert invoke("export", "heat.yaml", "--to", "npz").out == "out/heat/heat-a.npz\nout/heat/heat-b.npz\n"
