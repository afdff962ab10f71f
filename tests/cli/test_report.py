import math

import pytest

from studio.cli.report import curvature, subset_errors, summary
from studio.config.reading import parse
from studio.field import Axis
from studio.pipeline.measure import measure
from studio.pipeline.project import Project
from studio.scene.scene import Scene


def test_train_prints_the_folder_of_the_run_and_compute_the_range_of_every_field(invoke, measured):
    folder = invoke("train", "tiny.yaml").out.strip()
    assert folder.startswith(str(measured.shelf.root)) and len(list((measured.shelf.root / "runs").iterdir())) == 1
    result = invoke("compute", "tiny.yaml")
    assert result.status == 0 and result.err == ""
    lines = dict(line.split(": ", 1) for line in result.out.splitlines())
    fields = measure(Project.open(measured.scene)).surfaces().fields
    for name, size in (
        ("loss", "3 keyframes, 9x9"),
        ("lambda_min", "2 keyframes, 3x3"),
        ("lambda_max", "2 keyframes, 3x3"),
    ):
        assert lines[name] == f"{size}, {fields[name].values.min():.4g} to {fields[name].values.max():.4g}"


def test_status_names_every_stage(invoke, copy):
    result = invoke("status", "tiny.yaml")
    lines = result.out.splitlines()
    assert result.status == 0 and lines[:5] == [
        "train      done     5 of 5 checkpoints",
        "loss       done     3 of 3 slices",
        "convexity  done     2 of 2 slices",
        "deliver    done     out/tiny/tiny.mp4",
        "deliver    done     out/tiny/tiny-frames",
    ]
    assert [line.split(":")[0] for line in lines[5:]] == ["curvature at epoch 0.0", "curvature at epoch 2.0"]
    assert all("convex in the picture but not in the space at" in line for line in lines[5:])


def test_check_subset_prints_nine_points_and_the_largest_difference_of_the_loss_and_both_eigenvalues(invoke, copy):
    result = invoke("compute", "tiny.yaml", "--check-subset")
    lines = result.out.splitlines()
    assert result.status == 0 and len(lines) == 30
    for last, name in zip(lines[9::10], ("loss", "lambda_min", "lambda_max"), strict=True):
        assert last.startswith(f"the subset's {name} is within ") and "at these points: " in last


def test_the_largest_relative_difference_of_a_subset_is_the_last_line():
    lines = list(subset_errors({"loss": [(0.0, 0.0, 1.04, 1.0), (1.0, 0.0, 2.0, 2.0)]}))
    assert lines[0].endswith("4.00%") and lines[1].endswith("0.00%")
    at = "of that of all training images at these points"
    assert lines[-1] == f"the subset's loss is within 4.00% {at}: no more than 5%"
    assert f"within inf% {at}: more than 5%" in list(subset_errors({"loss": [(0.0, 0.0, 1.0, 0.0)]}))[-1]


def test_an_eigenvalue_near_0_is_compared_on_the_scale_of_the_largest_and_one_that_is_unknown_is_no_less_than_far():
    rows = {"loss": [(0.0, 0.0, 1.0, 1.0)], "lambda_min": [(0.0, 0.0, -0.01, 0.0)], "lambda_max": [(0.0, 0.0, 20, 20)]}
    lines = list(subset_errors(rows))
    assert lines[2].endswith("50.00%") and lines[5].endswith("no more than 5%")  # 0.01 of 20 / 1000
    rows["lambda_min"] = [(0.0, 0.0, float("nan"), -1.0)]
    assert list(subset_errors(rows))[3].endswith(
        "within inf% of that of all training images at these points: more than 5%"
    )


def test_a_line_of_curvature_says_the_kind_of_the_centre_and_what_the_picture_hides():
    facts = {"centre": "saddle", "hidden_share": 0.25, "rank_correlation": 0.5, "interlacing_share": 1.0}
    assert list(curvature({2.0: facts}, Axis(name="epoch"))) == [
        "curvature at epoch 2.0: the centre is a saddle; convex in the picture but not in the space at 25 % of points; "
        "rank correlation of plane and space 0.50"
    ]
    [line] = curvature({2.0: facts | {"interlacing_share": 0.9, "trace": 12.0, "trace_error": 0.5}}, Axis(name="epoch"))
    assert line.endswith("the plane's curvatures lie outside the space's at 10.0% of points; trace 12 +- 0.5")


@pytest.mark.parametrize(("radius", "words"), [(0.1234, "up to 0.12 from the centre"), (math.inf, "on the whole grid")])
def test_a_line_of_curvature_says_how_far_the_quadratic_model_holds(radius, words):
    facts = {"centre": "saddle", "hidden_share": 0.25, "rank_correlation": 0.5, "interlacing_share": 1.0}
    [line] = curvature({2.0: facts | {"taylor_radius": radius}}, Axis(name="epoch"))
    assert line.endswith(f"; the quadratic model is within 10 % {words}")


def test_check_prints_the_fastest_turn_of_a_shot_and_runs_no_script(tiny, tmp_path):
    (tmp_path / "moves.py").write_text("raise RuntimeError('imported')\ndef spiral(u): ...\n")
    text = tiny.read_text().replace("{moves: [{hold: 1s}]}", "{script: moves:spiral}")
    lines = summary(parse(text, Scene, folder=tmp_path), "tiny").splitlines()
    # in-out is 1.875 times as fast as even; the frames, 8 a second, see a little less
    assert any("shot descent" in line and "1 move, turns by up to 49 degrees a second" in line for line in lines)
    assert any("shot closing" in line and line.endswith("the script moves:spiral") for line in lines)
