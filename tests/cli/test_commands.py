import json
import re
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from studio.config.reading import load_raw
from studio.config.units import Size
from studio.deliver.image_files import ImageOptions, verify
from studio.deliver.media import probe
from studio.deliver.movie import Movie
from studio.film.gallery import gallery
from studio.film.look import Look, assets_folder, looks
from studio.landscape import profiling
from studio.pipeline.measure import measure
from studio.pipeline.project import Project
from studio.scene.draft import to_draft
from studio.scene.scene import Scene

REPOSITORY = assets_folder().parent
SCENES = sorted((REPOSITORY / "scenes").glob("*.yaml"))
HEAVY = {"torch", "sklearn", "pyvista", "vtkmodules", "matplotlib", "xarray", "zarr", "av", "imageio"}
COMMANDS = (
    *("new", "check", "plan", "tune", "train", "compute", "film", "deliver", "still", "looks"),
    *("storyboard", "status", "clean", "doctor", "schema"),
)


def imported(said) -> set[str]:
    """Top-level modules that a command run with `-X importtime` has loaded."""
    return {
        line.rpartition("|")[2].strip().partition(".")[0] for line in said.err.splitlines() if "import time:" in line
    }


# --- what is answered at once ----------------------------------------------------------------------------------------


def test_help_names_every_command_and_loads_nothing_heavy(run):
    said = run("--help", python=("-X", "importtime"))
    assert said.status == 0 and all(re.search(rf"\b{name}\b", said.out) for name in COMMANDS)
    assert "cyclopts" in imported(said) and imported(said) & (HEAVY | {"numpy", "scipy", "pydantic", "yaml"}) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(say, name):
    said = say(name, "--help")
    assert said.status == 0 and f"Usage: studio {name}" in said.out and said.err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_explained(say, name):
    lines = [line.strip("│* ") for line in say(name, "--help").out.splitlines()]
    options = [line for line in lines if line.startswith("--")]
    # an option, the kind of its value in capitals, and words
    assert [line for line in options if not re.search("[a-z]", re.sub("--[a-z-]+", "", line))] == []


def test_version_is_the_one_that_is_installed(say):
    assert say("--version") == (0, version("landscape-studio") + "\n", "")


# --- from nothing to a film ------------------------------------------------------------------------------------------


def test_check_says_what_would_be_made_and_loads_neither_torch_nor_vtk(run, tiny):
    said = run("check", tiny.name, python=("-X", "importtime"))
    assert said.status == 0 and imported(said) & (HEAVY - {"matplotlib"}) == set()  # matplotlib knows colormaps
    *lines, first, second, third = said.out.splitlines()
    for line, shot in ((first, "descent"), (second, "curvature"), (third, "closing")):  # of nine points a side
        assert line.startswith(f"warning: shot {shot} is soft: a measured cell is ")
        assert line.endswith(" times the points, or stay farther away (on an assumed crater)")
    assert lines == [
        "Tiny: 3.0 s, 24 frames of 64x36 at 8 fps",
        "surfaces: 3 keyframes, epochs 0 to 2, 9x9 points each, 243 loss values",
        "convexity: 2 keyframes, 3x3 points each, 18 pairs of extreme eigenvalues",
        "shot descent: from 0.00 s, 1.5s, 1 move",
        "shot curvature: from 1.00 s, 1s, 0 moves",
        "shot closing: from 2.00 s, 1s, 1 move",
        "deliver: tiny.mp4",
        "deliver: tiny-frames",
    ]


def test_a_new_scene_is_one_that_check_accepts(say, tmp_path):
    assert say("new", "my-film") == (
        0,
        "my-film.yaml is a scene. See what it would make: studio check my-film.yaml\n",
        "",
    )
    said = say("check", "my-film.yaml")
    assert said.status == 0 and said.out.startswith("My film: ")
    schema = re.match(r"# yaml-language-server: \$schema=file://(\S+)\n", (tmp_path / "my-film.yaml").read_text())
    assert json.loads(Path(schema[1]).read_text(encoding="utf-8"))["title"] == "Scene"


def test_new_writes_over_nothing_and_wants_a_name_for_files(say, tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")
    assert say("new", "mine") == (2, "", "mine.yaml: is there already; choose another name, or remove it\n")
    assert say("new", "mi ne").status == 2 and (tmp_path / "mine.yaml").read_text() == "mine"


def test_film_makes_everything_the_scene_delivers(finished, pictures):
    movie = probe(finished.out / "tiny.mp4")
    assert (movie.frames, movie.fps, movie.size) == (24, 8, Size(64, 36))
    assert pictures(finished.out / "tiny-frames").shape == (24, 36, 64, 3)


def test_the_movie_shows_the_pictures_that_were_drawn(finished, pictures, tmp_path):
    drawn, movie, pieces = pictures(finished.out / "tiny-frames"), Movie(), []
    for first, last in ((0, 16), (16, 24)):
        pieces.append(tmp_path / f"{first}.mp4")
        movie.write_segment(drawn[first:last], pieces[-1], Size(64, 36), Fraction(8), first)
    movie.join(pieces, tmp_path / "again.mp4", frames=24, size=Size(64, 36), fps=Fraction(8), provenance={})
    # one encoder, whose bytes follow from its pictures
    assert np.array_equal(pictures(finished.out / "tiny.mp4"), pictures(tmp_path / "again.mp4"))


def test_a_film_that_is_made_is_only_joined_again_without_torch(run, copy):
    before = {path: path.stat().st_mtime_ns for path in (copy.shelf.root / "segments").rglob("*")}
    (copy.out / "tiny.mp4").unlink()
    said = run("film", "tiny.yaml", python=("-X", "importtime"))
    assert said.status == 0 and said.out == "out/tiny/tiny.mp4\nout/tiny/tiny-frames\n"
    assert "torch" not in imported(said) and "draw ..." not in said.err and "encode ..." not in said.err
    assert before == {path: path.stat().st_mtime_ns for path in (copy.shelf.root / "segments").rglob("*")}


# --- parts of it, other places ---------------------------------------------------------------------------------------


def test_delivering_says_that_it_encodes_and_filming_that_it_draws(say, copy):
    assert "draw ..." in say("film", "tiny.yaml", "--frames", "0:4", "--shelf", copy.shelf.root.parent / "new").err
    said = say("deliver", "tiny.yaml", "--preset", "prores-422hq")
    assert "encode ..." in said.err and "draw" not in said.err


def test_some_frames_and_a_shot_are_the_same_pictures_as_in_the_whole_film(say, measured, finished, pictures):
    whole = pictures(finished.out / "tiny-frames")
    said = say("film", "tiny.yaml", "--frames", "14:18")
    assert said.out == "out/tiny/tiny-frames-14-18.mp4\nout/tiny/tiny-frames-14-18-frames\n"
    part = measured.out / "tiny-frames-14-18-frames"
    assert [p.name for p in sorted(part.iterdir())] == [f"frame-{n:06d}.png" for n in range(14, 18)]
    assert np.array_equal(pictures(part), whole[14:18])
    said = say("film", "tiny.yaml", "--shot", "curvature")
    assert said.status == 0 and np.array_equal(pictures(measured.out / "tiny-curvature-frames"), whole[8:16])


def test_a_still_is_a_frame_of_the_film_and_may_be_larger(say, measured, finished, pictures):
    said = say("still", "tiny.yaml", "--at", "1s")
    assert said[:2] == (0, "out/tiny/tiny-at-1s.png\n")
    assert np.array_equal(iio.imread(measured.out / "tiny-at-1s.png"), pictures(finished.out / "tiny-frames")[8])
    said = say("still", "tiny.yaml", "--at", "8f", "--size", "96x54", "--out", "elsewhere")
    assert said[:2] == (0, "elsewhere/tiny-96x54-at-8f.png\n")
    path = measured.scene.parent / "elsewhere" / "tiny-96x54-at-8f.png"
    assert iio.imread(path).shape == (54, 96, 3)
    assert json.loads(iio.immeta(path)["provenance"])["scene"] == "Tiny"


def test_a_draft_is_named_one_and_says_so_on_the_picture(say, measured, finished, pictures):
    said = say("film", "tiny.yaml", "--draft", "--frames", "0:2")
    assert said.status == 0 and "out/tiny/tiny-draft-frames-0-2.mp4" in said.out
    # this scene is smaller than any draft, so only the type can differ
    draft = pictures(measured.out / "tiny-draft-frames-0-2-frames")
    assert draft.shape == (2, 36, 64, 3) and not np.array_equal(draft, pictures(finished.out / "tiny-frames")[:2])


def test_a_draft_of_a_large_scene_is_small():
    draft = to_draft(Scene.load(REPOSITORY / "scenes" / "first-light.yaml"))
    assert draft.film.size == (640, 360) and draft.film.fps == 12
    assert (
        len(draft.keyframes()) <= 8 and draft.grid.points <= 21 and draft.keyframes()[-1] == 40 and draft.detail is None
    )


def test_the_shelf_is_where_it_is_told_to_be(say, tiny, tmp_path, monkeypatch):
    assert say("train", "tiny.yaml", "--shelf", "there").out.startswith(str(tmp_path / "there" / "runs"))
    monkeypatch.setenv("STUDIO_SHELF", str(tmp_path / "there"))
    assert say("status", "tiny.yaml").out.startswith("train      done     5 of 5 checkpoints\nloss       missing")
    assert not (tmp_path / ".studio").exists()


# --- reports ---------------------------------------------------------------------------------------------------------


def test_train_and_compute_say_what_they_have(say, measured):
    folder = say("train", "tiny.yaml").out.strip()
    assert folder.startswith(str(measured.shelf.root)) and len(list((measured.shelf.root / "runs").iterdir())) == 1
    said = say("compute", "tiny.yaml")
    assert said.status == 0 and said.err == ""
    lines = dict(line.split(": ", 1) for line in said.out.splitlines())
    fields = measure(Project.open(measured.scene)).surfaces().fields
    for name, size in (
        ("loss", "3 keyframes, 9x9"),
        ("lambda_min", "2 keyframes, 3x3"),
        ("lambda_max", "2 keyframes, 3x3"),
    ):
        assert lines[name] == f"{size}, {fields[name].values.min():.4g} to {fields[name].values.max():.4g}"


def test_status_names_every_stage(say, copy):
    said = say("status", "tiny.yaml")
    lines = said.out.splitlines()
    assert said.status == 0 and lines[:5] == [
        "train      done     5 of 5 checkpoints",
        "loss       done     3 of 3 slices",
        "convexity  done     2 of 2 slices",
        "deliver    done     out/tiny/tiny.mp4",
        "deliver    done     out/tiny/tiny-frames",
    ]
    assert [line.split(":")[0] for line in lines[5:]] == ["curvature at epoch 0", "curvature at epoch 2"]
    assert all("convex in the picture but not in the space at" in line for line in lines[5:])


def test_the_subset_is_checked_on_demand(say, copy):
    said = say("compute", "tiny.yaml", "--check-subset")
    lines = said.out.splitlines()
    assert said.status == 0 and len(lines) == 10 and lines[-1].startswith("the subset's loss is within ")


def test_tuning_prints_every_way_and_writes_the_quickest_into_the_scene(say, tiny, monkeypatch):
    monkeypatch.setattr(
        profiling, "candidate_methods", profiling.applicable_methods
    )  # without torch's compiler, which takes half a minute
    before = tiny.read_text()
    dry = say("tune", "tiny.yaml", "--dry-run")
    assert dry.status == 0 and tiny.read_text() == before
    said = say("tune", "tiny.yaml")
    found = [line.split()[0].rstrip("*") for line in said.out.splitlines()]
    assert said.status == 0 and {"loop", "shared-first-layer"} <= set(found)
    best = said.out.splitlines()[-1].rpartition("method: ")[2].rstrip("}")
    assert best in found and tiny.read_text() == before.replace("mode: eval}", f"mode: eval, method: {best}}}")
    assert say("check", "tiny.yaml").status == 0


def test_plan_counts_exactly_and_makes_nothing(say, tiny, tmp_path):
    said = say("plan", "tiny.yaml")
    assert said.status == 0
    for words in (
        "train      46 steps, 5 checkpoints",
        "loss       243 values of 32 images",
        "convexity  18 points",
        "draw       24 frames of 64x36",
        "in all     about",
    ):
        assert f"\n{words}" in f"\n{said.out}"
    assert list(tmp_path.iterdir()) == [tiny]


def test_clean_says_how_large_the_shelf_is_and_needs_one(say, copy, tmp_path):
    said = say("clean", "tiny.yaml", "--dry-run")
    assert said.status == 0 and re.fullmatch(rf"{re.escape(str(copy.shelf.root))}: \d+ KiB, of which .*\n", said.out)
    assert say("clean", "--shelf", "nowhere") == (
        2,
        "",
        f"{tmp_path}/nowhere: no shelf here; name the scene it stands beside, or --shelf FOLDER\n",
    )


def test_clean_removes_nothing_from_a_folder_that_is_no_shelf(say, tiny, tmp_path, monkeypatch):
    project = tmp_path / "project"
    for path in (".git/config", ".venv/pyvenv.cfg", "runs/1/weights.pt", "slices/data.csv"):
        (project / path).parent.mkdir(parents=True)
        (project / path).write_text("mine")
    before = sorted(project.rglob("*"))
    said = say("clean", "--shelf", "project")
    assert said.status == 2 and said.err.startswith(f"{project}: has no shelf.json, so studio did not make it")
    monkeypatch.setenv("STUDIO_SHELF", str(project))
    assert say("clean", "--frames").status == 2
    said = say("train", "tiny.yaml")  # nor is it made one by the next command
    assert said.status == 2 and "is not a shelf of studio: it holds .git, .venv" in said.err
    assert sorted(project.rglob("*")) == before


def test_a_still_for_print_has_its_depth_its_colours_and_its_inches(say, copy, tmp_path):
    said = say("still", "tiny.yaml", "--at", "1s", "--format", "tiff16", "--profile", "display-p3", "--dpi", "300")
    assert (said.status, said.out) == (0, "out/tiny/tiny-at-1s-display-p3.tif\n")
    path = tmp_path / "out" / "tiny" / "tiny-at-1s-display-p3.tif"
    wanted = ImageOptions(format="tiff16", profile="display-p3", dpi=300)
    found = verify(path, wanted, Size(64, 36))
    assert (found.size, found.bits, found.profile, found.dpi) == (Size(64, 36), 16, "display-p3", 300)
    assert say("still", "tiny.yaml", "--at", "1s", "--dpi", "0")[::2] == (
        2,
        "--dpi: expected at least 1, found '0'\n",
    )


def test_looks_draws_the_frame_in_every_look_with_those_of_ones_own_first(say, copy, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text("base: plaster\n")
    said = say("looks", "tiny.yaml", "--at", "1s", "--folder", "own")
    assert (said.status, said.out) == (0, "out/tiny/tiny-looks.png\n")
    sheet = iio.imread(tmp_path / "out" / "tiny" / "tiny-looks.png")
    cells = len(gallery(tmp_path / "own"))
    # two columns of cells 640 wide; a row of 360 lines with its words, for every two looks
    assert sheet.shape[1] > 1280 and sheet.shape[0] > 360 * -(-cells // 2)
    assert say("looks", "tiny.yaml", "--at", "9s")[::2] == (2, "tiny.yaml: 9s is after the end of the film\n")
    assert say("looks", "tiny.yaml", "--at", "1s", "--folder", "none")[::2] == (2, "--folder none: no such folder\n")


def test_a_storyboard_is_drawn_from_what_is_measured_and_says_where_it_comes_from(say, measured, tmp_path):
    said = say("storyboard", "tiny.yaml")
    assert (said.status, said.out) == (0, "out/tiny/tiny-storyboard.png\n")
    path = tmp_path / "out" / "tiny" / "tiny-storyboard.png"
    board, provenance = iio.imread(path), json.loads(iio.immeta(path)["provenance"])
    # three columns of pictures 480 wide; a row 270 high for each of three shots, with its words
    assert board.shape[1] > 3 * 480 and board.shape[0] > 3 * 270
    assert provenance["scene"] == "Tiny" and len(provenance["slices"]) == 5
    assert not (measured.shelf.root / "frames").exists()  # it is not a stage of the film


def test_a_storyboard_measures_first_what_is_missing(say, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace("convexity: {", "# {").replace("field: convexity", "field: loss"))
    said = say("storyboard", "tiny.yaml", "--out", "boards")
    assert (said.status, said.out) == (0, "boards/tiny-storyboard.png\n")
    assert say("status", "tiny.yaml").out.startswith("train      done     5 of 5 checkpoints\nloss       done ")


def test_doctor_finds_everything_a_film_needs(say):
    said = say("doctor")
    assert said.status == 0
    assert [line[:15].split() for line in said.out.splitlines()] == [
        ["ok", name] for name in ("OpenGL", "GPU", "ffmpeg", "fonts", "disk")
    ]


# --- mistakes on the command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "nope",
            'Unknown command "nope". Available commands: new, check, plan, tune, train, compute, film, deliver, ...',
        ),
        ("film", 'Command "film" parameter --scene requires an argument.'),
        ("film tiny.yaml --nope", "Unknown option: --nope."),
        ("film tiny.yaml other.yaml", "Unused Tokens: ['other.yaml']."),
        ("film tiny.yaml --workers two", 'Invalid value for --workers: unable to convert "two" into int.'),
    ],
)
def test_a_command_that_cannot_be_read_is_one_plain_line(say, tiny, line, words):
    assert say(*line.split()) == (2, "", f"{words} See studio --help\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("check other.yaml", "other.yaml: cannot be read: No such file or directory"),
        ("check .", ".: cannot be read: Is a directory"),
        ("film tiny.yaml --workers 0", "--workers 0: expected at least 1"),
        ("film tiny.yaml --frames 5", "--frames 5: write it like 48:96, from 48 to before 96"),
        ("film tiny.yaml --frames 9:5", "tiny.yaml: frames 9:5 are not in the film, which has 0:24"),
        ("film tiny.yaml --frames 0:25", "tiny.yaml: frames 0:25 are not in the film, which has 0:24"),
        (
            "film tiny.yaml --frames 0:4 --shot closing",
            "--frames and --shot are two ways to say which part; give one of them",
        ),
        ("film tiny.yaml --shot closng", "tiny.yaml: no shot 'closng'; one of descent, curvature, closing"),
        ("still tiny.yaml --at 3s", "tiny.yaml: 3s is after the end of the film, which lasts 3s"),
        ("still tiny.yaml --at soon", "--at: 'soon' is not understood; write it like 12s, 288f or 1:30"),
        (
            "still tiny.yaml --at 1s --size big",
            "--size: 'big' is not a picture size; write it like 1920x1080, at most 100000 a side",
        ),
    ],
)
def test_a_command_that_cannot_be_done_says_why_before_anything_is_made(say, tiny, tmp_path, line, words):
    assert say(*line.split()) == (2, "", f"{words}\n")
    assert list(tmp_path.iterdir()) == [tiny]


@pytest.mark.parametrize("line", ["film", "deliver", "still --at 1s", "looks --at 1s", "storyboard"])
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_made(say, tiny, tmp_path, line):
    (tmp_path / "full").write_text("a file, not a folder")
    word, *options = line.split()
    assert say(word, "tiny.yaml", *options, "--out", "full/deep") == (
        3,
        "",
        "full/deep: cannot be written: Not a directory\n",
    )
    assert sorted(tmp_path.iterdir()) == [tmp_path / "full", tiny]  # no shelf: nothing was trained


def test_a_mistake_is_plain_and_unwrapped_where_nobody_looks(run, tiny):
    long = "x" * 300
    tiny.write_text(tiny.read_text().replace("title: Tiny", f"title: Tiny\n{long}: 1", 1))
    said = run("film", "tiny.yaml", env={"COLUMNS": "40", "FORCE_COLOR": "1"})
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"tiny.yaml:2:1: {long}: unknown key '{long}'; ") and said.err.count("\n") == 1
    said = run("film", "tiny.yaml", "--frames", long, "--nope", env={"COLUMNS": "40", "FORCE_COLOR": "1"})
    assert (said.status, said.out, said.err) == (2, "", "Unknown option: --nope. See studio --help\n")


# --- the scenes and the schema ---------------------------------------------------------------------------------------


def test_schema_prints_what_is_kept_for_editors(say):
    said = say("schema")
    assert (said.status, said.err) == (0, "")
    assert said.out == (assets_folder() / "scene.schema.json").read_text(encoding="utf-8"), (
        "run: studio schema > assets/scene.schema.json"
    )


@pytest.mark.parametrize("path", [*SCENES, assets_folder() / "starter.yaml"], ids=lambda path: path.name)
def test_every_scene_loads_and_its_first_line_leads_editors_to_the_schema(path):
    assert Scene.load(path).cut.length > 0
    words = path.read_text(encoding="utf-8").splitlines()[0]
    assert words in (
        "# yaml-language-server: $schema=../assets/scene.schema.json",
        "# yaml-language-server: $schema=SCHEMA",
    )


def test_there_are_scenes():
    assert "first-light.yaml" in {path.name for path in SCENES}


@pytest.mark.parametrize("name", looks())
def test_every_look_loads(name):
    assert Look.model_validate({"base": name}).base == name


def _as_an_editor_reads(value):
    """YAML 1.2's own idea of which scalars are numbers, where `studio.config.reading.plain` keeps all as text."""
    if isinstance(value, dict):
        return {key: _as_an_editor_reads(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_an_editor_reads(inner) for inner in value]
    if value in ("true", "false"):
        return value == "true"
    try:
        return int(value)
    except ValueError:
        try:
            return float(value)
        except ValueError:
            return value


def _accepts(schema: dict, value, root: dict) -> bool:
    """The part of JSON Schema that the scene's schema is written in."""
    if "$ref" in schema:
        return _accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    unread = set(schema) - _READ
    assert not unread, f"this test does not know {unread}"
    for word in ("anyOf", "oneOf"):
        fits = [_accepts(option, value, root) for option in schema.get(word, ())]
        if fits and (sum(fits) < 1 or (word == "oneOf" and sum(fits) > 1)):
            return False
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        return False
    if "type" in schema and not _TYPES[schema["type"]](value):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, (int, float)):
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and value > schema.get("exclusiveMinimum", float("-inf"))
            and value < schema.get("exclusiveMaximum", float("inf"))
        )
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        rest = schema.get("items", {})
        return (
            schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
            and all(_accepts(option, item, root) for option, item in zip(first, value, strict=False))
            and all(_accepts(rest, item, root) for item in value[len(first) :])
        )
    if isinstance(value, dict):
        known, more = schema.get("properties", {}), schema.get("additionalProperties", {})
        return (
            set(schema.get("required", ())) <= set(value)
            and all(key in known or more is not False for key in value)
            and all(_accepts(known.get(key, more), inner, root) for key, inner in value.items())
        )
    return True


_READ = {
    "$defs",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "discriminator",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "oneOf",
    "pattern",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "title",
    "type",
}
_TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int),
    "number": lambda value: isinstance(value, (int, float)),
}


@pytest.fixture(scope="module")
def schema() -> dict:
    return json.loads((assets_folder() / "scene.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [*SCENES, assets_folder() / "starter.yaml"], ids=lambda path: path.name)
def test_an_editor_finds_nothing_to_complain_of_in_our_scenes(path, schema):
    assert _accepts(schema, _as_an_editor_reads(load_raw(path.read_text(encoding="utf-8"), name=path.name)), schema)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("title: Tiny", "titel: Tiny"),
        ("kind: mlp", "kind: mpl"),
        ("points: 9", "points: many"),
        ("size: 64x36", "size: small"),
        ("orbit: 40deg", "orbit: 40"),
        ("width: 8", "wide: 8"),
    ],
)
def test_an_editor_underlines_a_mistake(tiny, schema, right, wrong):
    text = tiny.read_text()
    assert _accepts(schema, _as_an_editor_reads(load_raw(text, name="tiny")), schema)
    assert not _accepts(schema, _as_an_editor_reads(load_raw(text.replace(right, wrong, 1), name="tiny")), schema)
