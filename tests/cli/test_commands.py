import json
import re
from fractions import Fraction
from importlib.metadata import version

import imageio.v3 as iio
import numpy as np
import pytest
from OpenImageIO import ImageInput

from studio.config.units import Size
from studio.deliver.colour_spaces import icc
from studio.deliver.media import probe
from studio.deliver.movie import Movie
from studio.film.look import gallery
from studio.landscape import profiling

HEAVY = {"torch", "sklearn", "pyvista", "vtkmodules", "matplotlib", "xarray", "zarr", "av", "imageio"}


COMMANDS = (
    *("new", "check", "plan", "tune", "train", "compute", "numbers", "film", "deliver", "still", "looks"),
    *("storyboard", "cast", "watch", "explain", "export", "status", "clean", "doctor", "schema"),
)


def imported(result) -> set[str]:
    """Top-level modules that a command run with `-X importtime` has loaded."""
    return {
        line.rpartition("|")[2].strip().partition(".")[0] for line in result.err.splitlines() if "import time:" in line
    }


def test_help_names_every_command_and_loads_nothing_heavy(run):
    result = run("--help", python=("-X", "importtime"))
    assert result.status == 0 and all(re.search(rf"\b{name}\b", result.out) for name in COMMANDS)
    assert (
        "cyclopts" in imported(result) and imported(result) & (HEAVY | {"numpy", "scipy", "pydantic", "yaml"}) == set()
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(invoke, name):
    result = invoke(name, "--help")
    assert result.status == 0 and f"Usage: studio {name}" in result.out and result.err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_explained(invoke, name):
    lines = [line.strip("│* ") for line in invoke(name, "--help").out.splitlines()]
    options = [line for line in lines if line.startswith("--")]
    # an option, the kind of its value in capitals, and words
    assert [line for line in options if not re.search("[a-z]", re.sub("--[a-z-]+", "", line))] == []


def test_version_is_the_one_that_is_installed(invoke):
    assert invoke("--version") == (0, version("landscape-studio") + "\n", "")


def test_check_lists_the_films_parts_and_loads_neither_torch_nor_vtk(run, tiny):
    result = run("check", tiny.name, python=("-X", "importtime"))
    assert result.status == 0 and imported(result) & (HEAVY - {"matplotlib"}) == set()  # matplotlib knows colormaps
    *lines, first, second, third = result.out.splitlines()
    for line, shot in ((first, "descent"), (second, "curvature"), (third, "closing")):  # of nine points a side
        assert line.startswith(f"warning: shot {shot} is soft, most at ")
        assert line.endswith(" times the points, or stay farther away (on an assumed crater)")
    assert lines == [
        "Tiny: 3.0 s, 24 frames of 64x36 at 8 fps",
        "surfaces: 3 keyframes, epoch 0 to 2, 9x9 points each, 243 loss values",
        "convexity: 2 keyframes, 3x3 points each, 18 pairs of extreme eigenvalues",
        "shot descent: from 0.00 s, 1.5s, 1 move, turns by up to 49 degrees a second",
        "shot curvature: from 1.00 s, 1s, 0 moves",
        "shot closing: from 2.00 s, 1s, 1 move",
        "deliver: tiny.mp4",
        "deliver: tiny-frames",
    ]


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
    result = run("film", "tiny.yaml", python=("-X", "importtime"))
    assert result.status == 0 and result.out == "out/tiny/tiny.mp4\nout/tiny/tiny-frames\n"
    assert "torch" not in imported(result) and "draw ..." not in result.err and "encode ..." not in result.err
    assert before == {path: path.stat().st_mtime_ns for path in (copy.shelf.root / "segments").rglob("*")}


def test_film_shows_progress_of_drawing_and_deliver_of_encoding(invoke, copy):
    assert "draw ..." in invoke("film", "tiny.yaml", "--frames", "0:4", "--shelf", copy.shelf.root.parent / "new").err
    result = invoke("deliver", "tiny.yaml", "--preset", "prores-422hq")
    assert "encode ..." in result.err and "draw" not in result.err


def test_some_frames_and_a_shot_are_the_same_pictures_as_in_the_whole_film(invoke, measured, finished, pictures):
    whole = pictures(finished.out / "tiny-frames")
    result = invoke("film", "tiny.yaml", "--frames", "14:18")
    assert result.out == "out/tiny/tiny-frames-14-18.mp4\nout/tiny/tiny-frames-14-18-frames\n"
    part = measured.out / "tiny-frames-14-18-frames"
    assert [p.name for p in sorted(part.iterdir())] == [f"frame-{n:06d}.png" for n in range(14, 18)]
    assert np.array_equal(pictures(part), whole[14:18])
    result = invoke("film", "tiny.yaml", "--shot", "curvature")
    assert result.status == 0 and np.array_equal(pictures(measured.out / "tiny-curvature-frames"), whole[8:16])


def test_a_still_is_a_frame_of_the_film_and_may_be_larger(invoke, measured, finished, pictures):
    result = invoke("still", "tiny.yaml", "--at", "1s")
    assert result[:2] == (0, "out/tiny/tiny-at-1s.png\n")
    assert np.array_equal(iio.imread(measured.out / "tiny-at-1s.png"), pictures(finished.out / "tiny-frames")[8])
    result = invoke("still", "tiny.yaml", "--at", "8f", "--size", "96x54", "--out", "elsewhere")
    assert result[:2] == (0, "elsewhere/tiny-96x54-at-8f.png\n")
    path = measured.scene.parent / "elsewhere" / "tiny-96x54-at-8f.png"
    assert iio.imread(path).shape == (54, 96, 3)
    assert json.loads(iio.immeta(path)["provenance"])["scene"] == "Tiny"


def test_a_draft_has_draft_in_its_name_and_on_the_picture(invoke, measured, finished, pictures):
    result = invoke("film", "tiny.yaml", "--draft", "--frames", "0:2")
    assert result.status == 0 and "out/tiny/tiny-draft-frames-0-2.mp4" in result.out
    # this scene is smaller than any draft, so only the type can differ
    draft = pictures(measured.out / "tiny-draft-frames-0-2-frames")
    assert draft.shape == (2, 36, 64, 3) and not np.array_equal(draft, pictures(finished.out / "tiny-frames")[:2])


def test_the_shelf_is_the_folder_of_the_option_or_of_the_environment(invoke, tiny, tmp_path, monkeypatch):
    assert invoke("train", "tiny.yaml", "--shelf", "there").out.startswith(str(tmp_path / "there" / "runs"))
    monkeypatch.setenv("STUDIO_SHELF", str(tmp_path / "there"))
    assert invoke("status", "tiny.yaml").out.startswith("train      done     5 of 5 checkpoints\nloss       missing")
    assert not (tmp_path / ".studio").exists()


def test_tune_prints_every_method_and_writes_the_fastest_into_the_scene(invoke, tiny, monkeypatch):
    monkeypatch.setattr(
        profiling, "candidate_methods", profiling.applicable_methods
    )  # without torch's compiler, which takes half a minute
    before = tiny.read_text()
    dry = invoke("tune", "tiny.yaml", "--dry-run")
    assert dry.status == 0 and tiny.read_text() == before
    result = invoke("tune", "tiny.yaml")
    methods = [line.split()[0].rstrip("*") for line in result.out.splitlines()]
    assert result.status == 0 and {"loop", "batched"} <= set(methods)
    best = result.out.splitlines()[-1].rpartition("method: ")[2].rstrip("}")
    assert best in methods and tiny.read_text() == before.replace("mode: eval}", f"mode: eval, method: {best}}}")
    assert invoke("check", "tiny.yaml").status == 0


def test_clean_prints_the_size_of_the_shelf_and_refuses_a_missing_one(invoke, copy, tmp_path):
    result = invoke("clean", "tiny.yaml", "--dry-run")
    assert result.status == 0 and re.fullmatch(
        rf"{re.escape(str(copy.shelf.root))}: \d+ KiB, of which .*\n", result.out
    )
    assert invoke("clean", "--shelf", "nowhere") == (
        2,
        "",
        f"{tmp_path}/nowhere: no shelf here; name the scene it stands beside, or --shelf FOLDER\n",
    )


def test_clean_removes_nothing_from_a_folder_that_is_no_shelf(invoke, tiny, tmp_path, monkeypatch):
    project = tmp_path / "project"
    for path in (".git/config", ".venv/pyvenv.cfg", "runs/1/weights.pt", "slices/data.csv"):
        (project / path).parent.mkdir(parents=True)
        (project / path).write_text("mine")
    before = sorted(project.rglob("*"))
    result = invoke("clean", "--shelf", "project")
    assert result.status == 2 and result.err.startswith(f"{project}: has no shelf.json, so studio did not make it")
    monkeypatch.setenv("STUDIO_SHELF", str(project))
    assert invoke("clean", "--frames").status == 2
    result = invoke("train", "tiny.yaml")  # nor is it made one by the next command
    assert result.status == 2 and "is not a shelf of studio: it holds .git, .venv" in result.err
    assert sorted(project.rglob("*")) == before


def test_a_still_for_print_has_its_depth_its_colours_and_its_inches(invoke, copy, tmp_path):
    result = invoke("still", "tiny.yaml", "--at", "1s", "--format", "tiff16", "--profile", "display-p3", "--dpi", "300")
    assert (result.status, result.out) == (0, "out/tiny/tiny-at-1s-display-p3.tif\n")
    path = tmp_path / "out" / "tiny" / "tiny-at-1s-display-p3.tif"
    spec = ImageInput.open(str(path)).spec()
    assert (spec.width, spec.height, str(spec.format)) == (64, 36, "uint16")
    assert (spec["XResolution"], spec["ResolutionUnit"]) == (300, "in")
    assert bytes(spec["ICCProfile"]) == icc("display-p3")
    assert invoke("still", "tiny.yaml", "--at", "1s", "--dpi", "0")[::2] == (
        2,
        "--dpi: expected at least 1, found '0'\n",
    )


def test_looks_draws_the_frame_in_every_look_the_users_first(invoke, copy, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text("base: plaster\n")
    result = invoke("looks", "tiny.yaml", "--at", "1s", "--folder", "own")
    assert (result.status, result.out) == (0, "out/tiny/tiny-looks.png\n")
    sheet = iio.imread(tmp_path / "out" / "tiny" / "tiny-looks.png")
    cells = len(gallery(tmp_path / "own"))
    # two columns of cells 640 wide; a row of 360 lines with its words, for every two looks
    assert sheet.shape[1] > 1280 and sheet.shape[0] > 360 * -(-cells // 2)
    assert invoke("looks", "tiny.yaml", "--at", "9s")[::2] == (2, "tiny.yaml: 9s is after the end of the film\n")
    assert invoke("looks", "tiny.yaml", "--at", "1s", "--folder", "none")[::2] == (2, "--folder none: no such folder\n")


def test_a_storyboard_is_drawn_from_measured_slices_and_carries_its_provenance(invoke, measured, tmp_path):
    result = invoke("storyboard", "tiny.yaml")
    assert (result.status, result.out) == (0, "out/tiny/tiny-storyboard.png\n")
    path = tmp_path / "out" / "tiny" / "tiny-storyboard.png"
    board, provenance = iio.imread(path), json.loads(iio.immeta(path)["provenance"])
    # three columns of pictures 480 wide; a row 270 high for each of three shots, with its words
    assert board.shape[1] > 3 * 480 and board.shape[0] > 3 * 270
    assert provenance["scene"] == "Tiny" and len(provenance["slices"]) == 5
    assert not (measured.shelf.root / "frames").exists()  # it is not a stage of the film


def test_a_storyboard_measures_first_what_is_missing(invoke, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace("convexity: {", "# {").replace("field: convexity", "field: loss"))
    result = invoke("storyboard", "tiny.yaml", "--out", "boards")
    assert (result.status, result.out) == (0, "boards/tiny-storyboard.png\n")
    assert invoke("status", "tiny.yaml").out.startswith("train      done     5 of 5 checkpoints\nloss       done ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "nope",
            'Unknown command "nope". Available commands: new, check, plan, tune, train, compute, numbers, film, ...',
        ),
        ("film", 'Command "film" parameter --scene requires an argument.'),
        ("film tiny.yaml --nope", "Unknown option: --nope."),
        ("film tiny.yaml other.yaml", "Unused Tokens: ['other.yaml']."),
        ("film tiny.yaml --workers two", 'Invalid value for --workers: unable to convert "two" into int.'),
    ],
)
def test_a_command_that_cannot_be_read_is_one_plain_line(invoke, tiny, line, words):
    assert invoke(*line.split()) == (2, "", f"{words} See studio --help\n")


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
        ("still tiny.yaml --at soon", "tiny.yaml: no cue 'soon'; write a time like 12s, or name one under `cues`"),
        ("still tiny.yaml --at 3_s", "--at: '3_s' is not understood; write it like 12s, 288f or 1:30"),
        (
            "still tiny.yaml --at 1s --size big",
            "--size: 'big' is not a picture size; write it like 1920x1080, at most 100000 a side",
        ),
    ],
)
def test_an_impossible_command_fails_with_its_reason_before_anything_is_made(invoke, tiny, tmp_path, line, words):
    assert invoke(*line.split()) == (2, "", f"{words}\n")
    assert list(tmp_path.iterdir()) == [tiny]


@pytest.mark.parametrize("line", ["film", "deliver", "still --at 1s", "looks --at 1s", "storyboard", "cast"])
def test_a_folder_that_cannot_be_written_fails_before_anything_is_made(invoke, tiny, tmp_path, line):
    (tmp_path / "full").write_text("a file, not a folder")
    word, *options = line.split()
    assert invoke(word, "tiny.yaml", *options, "--out", "full/deep") == (
        3,
        "",
        "full/deep: cannot be written: Not a directory\n",
    )
    assert sorted(tmp_path.iterdir()) == [tmp_path / "full", tiny]  # no shelf: nothing was trained


def test_a_mistake_is_neither_wrapped_nor_coloured_without_a_terminal(run, tiny):
    long = "x" * 300
    tiny.write_text(tiny.read_text().replace("title: Tiny", f"title: Tiny\n{long}: 1", 1))
    result = run("film", "tiny.yaml", env={"COLUMNS": "40", "FORCE_COLOR": "1"})
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"tiny.yaml:2:1: {long}: unknown key '{long}'; ") and result.err.count("\n") == 1
    result = run("film", "tiny.yaml", "--frames", long, "--nope", env={"COLUMNS": "40", "FORCE_COLOR": "1"})
    assert (result.status, result.out, result.err) == (2, "", "Unknown option: --nope. See studio --help\n")
