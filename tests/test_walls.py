import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import studio

ROOT = Path(studio.__file__).parent

# Each room may import those on the lines above its own.
ORDER = [
    {"errors"},
    {"config"},
    {"field", "execution"},
    {"storage"},
    {"training"},
    {"landscape", "film"},
    {"render", "deliver"},
    {"scene"},
    {"pipeline"},
    {"cli"},
]
APART = [("film", "training"), ("render", "training"), ("deliver", "training"), ("landscape", "film")]

HOMES = {
    "torch": {"training", "landscape", "cli"},
    "safetensors": {"training"},
    "h5py": {"training"},
    "sklearn": {"training"},
    "mlxtend": {"training"},
    "lightning": {"training"},
    "pytorch_lightning": {"training"},
    "transformers": {"training"},
    "pyvista": {"render"},
    "vtkmodules": {"render"},
    "ffmpeg": {"deliver"},
    "imageio_ffmpeg": {"deliver"},
    "av": {"deliver"},
    "imageio": {"deliver"},
    "PIL": {"render", "pipeline"},
    "OpenImageIO": {"deliver"},
    "matplotlib": {"film", "render"},
    "cmcrameri": {"film"},
    "cmocean": {"film"},
    "colorcet": {"film"},
    "yaml": {"config"},
    "xarray": {"storage", "pipeline", "training"},
    "pandas": {"training"},
    "zarr": {"storage"},
    "numcodecs": {"storage"},
    "filelock": {"storage"},
    "rich": {"execution", "cli"},
    "cyclopts": {"cli"},
}
EVERYWHERE = {"numpy", "scipy", "pydantic"}


@cache
def imports() -> dict[str, set[str]]:
    """Names that every module of studio imports, at any depth, such as `studio.field` or `torch`."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("studio", *path.relative_to(ROOT).with_suffix("").parts)
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = (
                    ".".join([*parts[: -node.level], *([node.module] if node.module else [])])
                    if node.level
                    else node.module
                )
                names |= {f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base for alias in node.names}
        found[".".join(parts)] = names
    return found


def is_module(name: str) -> bool:
    path = ROOT.parent.joinpath(*name.split("."))
    return name.startswith("studio.") and (path.with_suffix(".py").is_file() or path.is_dir())


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def pairs():
    """(room, room it imports, module, import) for every import of one room by another."""
    for module, names in imports().items():
        for name in names:
            if name.startswith("studio.") and not module.endswith("__init__") and room(name) != room(module):
                yield room(module), room(name), module, name


def test_every_room_has_its_place_in_the_order():
    rooms = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    rooms -= {"__init__"}
    assert rooms == set().union(*ORDER)


def test_imports_point_one_way():
    place = {name: level for level, names in enumerate(ORDER) for name in names}
    assert [f"{module} imports {name}" for a, b, module, name in pairs() if place[a] <= place[b]] == []


def test_film_and_what_follows_it_know_nothing_of_training_nor_of_landscapes():
    assert [f"{module} imports {name}" for a, b, module, name in pairs() if (a, b) in APART] == []


def test_no_module_imports_itself_by_a_detour():
    graph = {module: {name for name in names if name in imports()} for module, names in imports().items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_a_heavy_library_stays_in_its_room():
    found = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in names
        if (top := name.split(".")[0]) not in sys.stdlib_module_names
        and top != "studio"
        and top not in EVERYWHERE
        and room(module) not in HOMES.get(top, set())
    ]
    assert found == []


def test_yaml_is_read_in_one_file_pictures_are_drawn_in_one_and_meshes_written_in_one():
    for library, *homes in (
        ("yaml", "studio.config.reading"),
        ("pyvista", "studio.render.mesh_files", "studio.render.stage"),
        (
            "xarray",
            "studio.pipeline.exports",
            "studio.pipeline.production",
            "studio.pipeline.results",
            "studio.storage.slices",
            "studio.training.surface_formats",
        ),
    ):
        assert [module for module, names in imports().items() if library in names] == homes


@pytest.mark.parametrize("name", ["film", "render"])
def test_a_picture_depends_on_no_clock_and_no_dice(name):
    found = {
        module: names & {"time", "datetime", "random", "secrets", "uuid"}
        for module, names in imports().items()
        if room(module) == name
    }
    assert not set().union(*found.values())
    for path in (ROOT / name).glob("*.py"):
        drawn = [
            node.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "random"
        ]
        assert set(drawn) <= {"Generator", "SFC64"}, (
            f"{path.name}: numpy's own generators only, seeded by the frame's number"
        )


def loaded_by(code: str) -> set[str]:
    """Names of the modules in a fresh Python after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


HEAVY = {"torch", "sklearn", "pyvista", "vtkmodules", "matplotlib.pyplot", "av", "imageio", "safetensors"}


def test_reading_a_scene_and_its_records_loads_no_heavy_library():
    records = (
        "studio.training.recipe, studio.training.optimizers, studio.training.checkpoints, studio.landscape.directions,"
        " studio.landscape.loss, studio.landscape.sweeps, studio.landscape.convexity, studio.film.frame,"
        " studio.deliver.deliverable"
    )
    loaded = loaded_by(f"import {records}\nfrom studio.scene.scene import Scene\nScene.model_json_schema()")
    assert loaded & (HEAVY | {"matplotlib", "xarray", "rich", "cyclopts"}) == set() and "studio.scene.scene" in loaded


def test_the_command_line_loads_no_heavy_library_to_say_what_it_can():
    assert loaded_by("import studio.cli.commands") & HEAVY == set()


def test_a_worker_that_draws_loads_no_torch():
    loaded = loaded_by("from studio.pipeline.render_job import render_segments\nimport studio.render.stage")
    assert "pyvista" in loaded and loaded & {"torch", "sklearn"} == set()


def test_a_training_loop_that_is_recorded_loads_no_renderer_and_no_scene():
    loaded = loaded_by("from studio import Recorder")
    assert "torch" in loaded and loaded & {"pyvista", "vtkmodules", "matplotlib", "yaml", "studio.scene.scene"} == set()


def test_a_worker_that_measures_loads_no_renderer():
    loaded = loaded_by("import studio.landscape.network.weight_loss, studio.landscape.slices")
    assert "torch" in loaded and loaded & {"pyvista", "vtkmodules", "matplotlib.pyplot", "imageio"} == set()
