from studio.pipeline.measure import measure
from studio.pipeline.project import Project


def test_train_and_compute_say_what_they_have(invoke, measured):
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
    assert [line.split(":")[0] for line in lines[5:]] == ["curvature at epoch 0", "curvature at epoch 2"]
    assert all("convex in the picture but not in the space at" in line for line in lines[5:])


def test_the_subset_is_checked_on_demand(invoke, copy):
    result = invoke("compute", "tiny.yaml", "--check-subset")
    lines = result.out.splitlines()
    assert result.status == 0 and len(lines) == 10 and lines[-1].startswith("the subset's loss is within ")
