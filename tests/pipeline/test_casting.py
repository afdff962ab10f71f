"""Casting: what its candidates are, the sheet, and a pick in the scene's text."""

import json
from dataclasses import replace

import imageio.v3 as iio
import pytest

from studio.config.units import Time
from studio.errors import SceneError
from studio.film.fields import grid_of
from studio.pipeline.casting import Moment, _alone, _ladder, _share, change, take
from studio.pipeline.project import Project
from studio.scene.scene import Scene
from studio.storage.shelf import Shelf

HEAD = "# a film\ntitle: Two\n"
TAIL = "sweep: {kind: epochs, at: [0, 1]}\nshots:\n  - {shot: one, duration: 1s, along: {0s: 1}}   # the only one\n"
RUN = "run:   # quick\n  recipe: {data: digits, epochs: 1}\n"


def cast_of(folder, text, over, values, landscape="") -> Project:
    """A project whose last sheet had these values."""
    path = folder / "two.yaml"
    path.write_bytes(text.encode())
    project = Project(Scene.load(path), path, Shelf(folder / "shelf"))
    project.manifest.update(cast={"over": over, "landscape": landscape, "values": values})
    return project


@pytest.mark.parametrize(
    ("over", "value", "text", "line"),
    [
        (
            "directions",
            7,
            "directions: {seed: 3, kind: random}   # mine\n",
            "directions: {seed: 7, kind: random}   # mine",
        ),
        ("directions", 7, "directions:\n  kind: random   # a\n  seed: 3   # b\n", "  seed: 7   # b"),
        ("directions", 7, "directions: random\n", "directions: {kind: random, seed: 7}"),
        ("directions", 7, "", "directions: {kind: random, seed: 7}"),
        ("training", 7, "", "  recipe: {data: digits, epochs: 1, seed: 7}"),
        ("range", [-0.5, 0.5], "grid: {points: 9, range: [-1, 1]} # r\n", "grid: {points: 9, range: [-0.5, 0.5]} # r"),
        ("range", [[-0.5, 1.0], [0.0, 2.0]], "grid:\n  points: 9\n", "  range: [[-0.5, 1], [0, 2]]"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_pick_changes_one_line_and_keeps_every_comment(tmp_path, over, value, text, line, line_end):
    before = (HEAD + RUN + text + TAIL).replace("\n", line_end)
    project = cast_of(tmp_path, before, over, [None, value])
    take(project, 1)
    after = project.path.read_bytes().decode()
    changed = set(after.split(line_end)) - set(before.split(line_end))
    assert changed == {line}
    assert len(set(before.split(line_end)) - set(after.split(line_end))) <= 1
    own = project.scene.only("")
    assert Scene.load(project.path) == own.model_copy(update=change(own, over, value))


TWINS = "landscapes:\n  a: {directions: {kind: random, seed: 1}}\n  b: {run: {recipe: {seed: 4}}}\n"


@pytest.mark.parametrize(
    ("name", "over", "words", "seeds"),
    [
        ("a", "directions", "landscapes.a.directions.seed: 7", {"a": (7, 0), "b": (2, 4)}),
        ("b", "directions", "directions.seed: 7", {"a": (1, 0), "b": (7, 4)}),  # said for all, and a has its own
        ("b", "training", "landscapes.b.run.recipe.seed: 7", {"a": (1, 0), "b": (2, 7)}),
    ],
)
def test_of_several_landscapes_the_key_that_counts_is_written(tmp_path, name, over, words, seeds):
    project = cast_of(
        tmp_path,
        HEAD + RUN + "directions: {kind: random, seed: 2}\n" + TWINS + TAIL.replace("{0s: 1}", "{0s: 1}, show: a"),
        over,
        [7],
        name,
    )
    assert take(project, 0) == words
    after = Scene.load(project.path).landscapes
    assert {key: (one.directions.seed, one.run.recipe.seed) for key, one in after.items()} == seeds


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        # the same text is the directions of a number
        (
            "directions: &d {kind: random, seed: 3}\nnumbers: {n: {measure: loss, directions: *d}}\n",
            "",
            "its layout leaves no place to write in; write yourself: directions.seed: 7",
        ),
        (
            "landscapes:\n  a: &a {directions: {kind: random, seed: 3}}\n  b: {<<: *a}\n",
            "b",
            "its layout leaves no place to write in; write yourself: landscapes.b.directions.seed: 7",
        ),
        ("directions: {kind: hessian, at: last}\n", "", "hessian has no seed"),  # changed since the sheet was made
        ("", "a", "has no landscape 'a' any more; cast again"),
    ],
)
def test_what_cannot_be_said_in_one_place_is_refused_and_nothing_is_written(tmp_path, text, name, words):
    tail = TAIL.replace("{0s: 1}", f"{{0s: 1}}, show: {name}") if "landscapes" in text else TAIL
    project = cast_of(tmp_path, HEAD + RUN + text + tail, "directions", [7], name)
    before = project.path.read_bytes()
    with pytest.raises(SceneError, match=words):
        take(project, 0)
    assert project.path.read_bytes() == before


def test_only_a_candidate_of_the_last_sheet_can_be_taken(tmp_path):
    project = cast_of(tmp_path, HEAD + RUN + TAIL, "directions", [0, 1])
    with pytest.raises(SceneError, match="--take 2: the last sheet has candidates 0 to 1"):
        take(project, 2)
    with pytest.raises(SceneError, match="nothing was cast yet, .* run: studio cast"):
        take(replace(project, shelf=Shelf(tmp_path / "other")), 0)


def test_ranges_go_up_in_even_ratios_with_the_scenes_own_in_the_middle(tmp_path):
    grid = cast_of(tmp_path, HEAD + RUN + TAIL, "range", []).scene.grid
    ladder = _ladder(grid, 4)
    assert ladder == [(-0.25, 0.25), (-0.5, 0.5), (-1.0, 1.0), (-2.0, 2.0)]


def test_directions_and_runs_without_a_seed_are_said(tmp_path):
    scene = cast_of(tmp_path, HEAD + RUN + "directions: hessian\n" + TAIL, "range", []).scene
    with pytest.raises(SceneError, match="hessian has no seed; cast --over range, or write random"):
        change(scene, "directions", 0)


def test_a_match_cut_brings_the_shots_whose_camera_goes_on(tiny):
    text = (
        tiny.read_text()
        .replace("    to_next: {dissolve: 0.5s}\n", "")
        .replace("  - shot: closing\n", "  - shot: closing\n    match: true\n")
    )
    text = text.replace("    camera: {moves: [{hold: 1s}]}\n", "")
    tiny.write_text(text)
    project = Project.open(tiny)
    scene, place = _alone(project, "", _share(project, Moment(shot="closing")), 9)
    assert ([shot.shot for shot in scene.shots], place) == (["curvature", "closing"], 1)
    scene, place = _alone(project, "", _share(project, Moment(at=Time.parse("0s"))), 9)
    assert ([shot.shot for shot in scene.shots], place, scene.keyframes()[0].coordinate) == (["descent"], 0, 0.0)
    assert grid_of(scene.look.colour.field) == "loss"


def test_a_cast_is_drawn_ranked_taken_and_quick_the_second_time(invoke, measured, tmp_path):
    line = ("cast", "tiny.yaml", "--seeds", "3", "--points", "5", "--shot", "curvature", "--by", "relief")
    result = invoke(*line)
    first, _, *rows, last = result.out.splitlines()
    assert (result.status, first) == (0, "out/tiny/tiny-cast.png")
    assert sorted(row.split()[1] for row in rows) == ["0", "1", "2"]
    reliefs = [float(row.split()[2]) for row in rows]
    assert reliefs == sorted(reliefs, reverse=True) and reliefs[0] > 0
    path, best = tmp_path / "out" / "tiny" / "tiny-cast.png", rows[0].split()[1]
    sheet, facts = iio.imread(path), json.loads(iio.immeta(path)["provenance"])
    # three pictures 480 x 270 in one row
    assert 3 * 480 < sheet.shape[1] < 4 * 480 and 270 < sheet.shape[0] < 2 * 270
    assert len(facts["slices"]) == 3 and last == f"take one: studio cast tiny.yaml --take {best}"
    again = invoke(*line)
    assert again.out == result.out and "measure the loss" not in again.err
    before = measured.scene.read_text()
    assert invoke("cast", "tiny.yaml", "--take", "2").out == "tiny.yaml now says directions.seed: 2\n"
    assert measured.scene.read_text() == before.replace("seed: 1", "seed: 2")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--take 1 --by relief", "--take is of the last sheet, whatever that shows; give it without the options of a"),
        ("--shot closing --at 1s", "--shot and --at are two ways to say when; give one of them"),
        ("--shot closng", "tiny.yaml: no shot 'closng'; one of descent, curvature, closing"),
        ("--at 9s", "tiny.yaml: 9s is after the end of the film"),
        ("--seeds 0", "--seeds 0: expected 1 to 100"),
        ("--points 2", "--points: 2 points: expected at least 3 along each side"),
        ("--landscape two", "tiny.yaml: no landscape 'two'; it has one, without a name"),
        ("--take 0", "tiny.yaml: nothing was cast yet"),
    ],
)
def test_a_cast_that_cannot_be_made_says_so_before_anything_is_made(invoke, tiny, tmp_path, line, words):
    result = invoke("cast", "tiny.yaml", *line.split())
    assert result.status == 2 and words in result.err
    assert list(tmp_path.iterdir()) == [tiny]
