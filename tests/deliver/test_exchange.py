"""The camera and the cut for other programs; the readers of usda and otio are those programs' own."""

import csv
import io
import math
from fractions import Fraction

import numpy as np
import pytest

from studio.deliver.exchange import CameraFrame, Footage, camera_csv, camera_usda, cut_otio
from studio.film.camera import Camera, Move, Start
from studio.film.pose import Orbit, project
from studio.film.timeline import Cut, Shot

ORBIT = Orbit(azimuth=-60, elevation=35, distance=2.5, lens=36, opening=1 / 2.8)


@pytest.fixture
def footage() -> Footage:
    camera = Camera(start=Start(azimuth="-60deg"), moves=(Move(orbit="90deg", over="2s"),))
    first = {
        "shot": "a",
        "duration": "2s",
        "along": {"0s": 0, "2s": 4},
        "camera": camera,
        "to_next": {"dissolve": "0.5s"},
    }
    shots = Shot.model_validate(first), Shot(shot="b", duration="1s", along={"0s": 4})
    cut, poses = Cut(shots, Fraction(24)), [ORBIT.pose((0.1 * n, 0.0, 0.2)) for n in range(60)]
    frames = [CameraFrame(n, "a" if n < 42 else "b", n / 10, poses[n]) for n in range(cut.length)]
    return Footage('Say "film"', cut, frames, 16 / 9)


def test_csv_has_a_row_a_frame_with_its_pose(footage):
    rows = list(csv.DictReader(io.StringIO(camera_csv(footage))))
    assert len(rows) == footage.cut.length == 60
    row, pose = rows[12], footage.frames[12].pose
    assert (row["frame"], row["seconds"], row["shot"], row["coordinate"]) == ("12", "0.500000", "a", "1.2")
    position = [float(row[f"position_{axis}"]) for axis in "xyz"]
    assert position == pytest.approx(pose.position) and float(row["view_angle"]) == pytest.approx(pose.view_angle)


@pytest.mark.extras
def test_usda_is_a_camera_that_sees_what_ours_sees(footage, tmp_path):
    from pxr import Gf, Usd, UsdGeom

    path = tmp_path / "camera.usda"
    path.write_text(camera_usda(footage))
    stage = Usd.Stage.Open(str(path))
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode(), stage.GetTimeCodesPerSecond()) == (0, 59, 24)
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    for number in (0, 31, 59):
        pose = footage.frames[number].pose
        camera = UsdGeom.Camera(stage.GetDefaultPrim()).GetCamera(number)
        frustum = camera.frustum
        assert list(frustum.position) == pytest.approx(pose.position)
        assert camera.GetFieldOfView(Gf.Camera.FOVVertical) == pytest.approx(pose.view_angle)
        assert camera.fStop == pytest.approx(2.8) and camera.focusDistance == pytest.approx(pose.focus)
        for point in np.random.default_rng(number).uniform(-0.5, 0.5, (5, 3)):
            seen = frustum.ComputeProjectionMatrix()
            clip = Gf.Vec4d(*point, 1) * frustum.ComputeViewMatrix() * seen
            x, y = clip[0] / clip[3], clip[1] / clip[3]
            place = project(point[None], pose, footage.aspect)[0]
            assert (footage.aspect / 2 * (1 + x), (1 - y) / 2) == pytest.approx(tuple(place), abs=1e-5)


@pytest.mark.extras
def test_otio_has_every_shot_and_dissolve_and_the_films_length(footage):
    import opentimelineio as otio

    timeline = otio.adapters.read_from_string(cut_otio(footage), "otio_json")
    [track] = timeline.tracks
    assert timeline.name == 'Say "film"' and timeline.duration().value == footage.cut.length
    first, dissolve, second = track
    assert (first.name, second.name) == ("a", "b")
    assert (dissolve.in_offset.value, dissolve.out_offset.value) == (6, 6)
    # both clips run on under the dissolve, as far as their shots go
    assert first.source_range.duration.value + dissolve.out_offset.value == 48
    assert second.source_range.start_time.value - dissolve.in_offset.value == 0
    assert second.source_range.duration.value + 6 == 24


def test_a_pinhole_has_no_depth_of_field(footage):
    frames = [CameraFrame(0, "a", 0.0, Orbit(0, 30, 2, 36).pose((0, 0, 0)))]
    text = camera_usda(Footage("x", footage.cut, frames, 1.0))
    assert "float fStop.timeSamples = {\n        0: 0,\n" in text
    lens = 12 / math.tan(math.radians(frames[0].pose.view_angle / 2))
    assert f"float focalLength.timeSamples = {{\n        0: {lens / 10:.9g}" in text
