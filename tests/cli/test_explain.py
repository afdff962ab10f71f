"""What `studio explain` says of a frame, beside what the film draws there."""

import pytest

from studio.pipeline.film import film_source
from studio.pipeline.project import Project

pytestmark = pytest.mark.usefixtures("in_process")


def said(text: str) -> dict[str, tuple[str, str]]:
    """{name: (value, file:line)} of the lines; of a name that stands twice the last."""
    rows = (line for line in text.splitlines() if line[:1].strip() or line.startswith("  "))
    return {row[:22].strip(): (row[23:67].strip(), row[68:].strip()) for row in rows}


def test_a_frame_is_explained_by_its_values_and_the_lines_they_come_from(measured, invoke):
    found = said(invoke("explain", "tiny.yaml", "0.5s").out)
    lines = measured.scene.read_text().splitlines()
    source = film_source(Project.open(measured.scene))
    [share] = source.shares(4)
    assert found["frame"][0] == "4 of 24, at 0.500 s" and found["shot"][0] == "descent, weight 1.000"
    assert float(found["epoch"][0]) == pytest.approx(share.shot.coordinate(0.5, source.cut.fps), abs=1e-4)
    assert float(found["azimuth"][0]) == pytest.approx(source.camera_orbit(share).azimuth, abs=1e-3)
    for name, word in (("epoch", "along:"), ("azimuth", "orbit:"), ("height", "look:"), ("size, rate", "film:")):
        file, number = found[name][1].split(":")
        assert file == "tiny.yaml" and word in lines[int(number) - 1], name


def test_a_dissolve_is_explained_with_both_of_its_shots(measured, invoke):
    text = invoke("explain", "tiny.yaml", "10f").out
    assert [line.split()[1] for line in text.splitlines() if line.startswith("shot ")] == ["descent,", "curvature,"]
    assert "convexity by lajolla" in text


def test_a_time_after_the_end_is_a_mistake(measured, invoke):
    result = invoke("explain", "tiny.yaml", "9s")
    assert (result.status, result.err) == (2, "tiny.yaml: 9s is after the end of the film\n")


def test_an_inset_is_explained_with_its_own_camera(measured, invoke):
    text = measured.scene.read_text()
    inset = "inset: {camera: {look_at: centre, start: {elevation: 80deg}}}"
    measured.scene.write_text(text.replace("  - shot: descent\n", f"  - shot: descent\n    {inset}\n"))
    lines = invoke("explain", "tiny.yaml", "0.5s").out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("inset "))
    found, line = said("\n".join(lines[start:])), measured.scene.read_text().splitlines().index(f"    {inset}") + 1
    assert found["inset"][0] == "descent, weight 1.000" and found["look at"] == ("centre 100%", f"tiny.yaml:{line}")
    assert found["elevation"] == ("80", f"tiny.yaml:{line}") and found["epoch"][1] != f"tiny.yaml:{line}"
