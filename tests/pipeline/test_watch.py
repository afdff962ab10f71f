"""Watching a scene: what is said and drawn after every save."""

import imageio.v3 as iio
import pytest

from studio.errors import SceneError
from studio.pipeline.film import storyboard, watch
from studio.pipeline.project import Project

pytestmark = pytest.mark.usefixtures("in_process")


def test_every_save_is_answered_by_its_mistakes_or_by_the_shot_that_changed(measured):
    lines = watch(lambda: Project.open(measured.scene), measured.out, measured.scene)
    text = measured.scene.read_text()
    assert ": shot descent, " in next(lines)
    first = iio.imread(measured.out / "tiny-watch.png")
    measured.scene.write_text(text.replace("along: {0s: 2}\n    colour", "along: {0s: 1}\n    colour"))
    assert ": shot curvature, " in next(lines)
    second = iio.imread(measured.out / "tiny-watch.png")
    assert first.shape == second.shape and (first != second).any()
    measured.scene.write_text(text.replace("ember", "embers "))
    assert "tiny.yaml:14:7: look: no look" in next(lines)
    # a look is of no shot: the one that was shown is drawn again
    measured.scene.write_text(
        text.replace("along: {0s: 2}\n    colour", "along: {0s: 1}\n    colour").replace("ember", "gold")
    )
    assert ": shot curvature, " in next(lines)
    assert (iio.imread(measured.out / "tiny-watch.png") != second).any()


def test_a_strip_has_twelve_frames_of_one_shot(measured):
    project = Project.open(measured.scene)
    whole, strip = (iio.imread(storyboard(project, measured.out, shot)) for shot in (None, "descent"))
    # three shots of three pictures each, and twelve in three rows of four
    assert strip.shape[0] == whole.shape[0] and strip.shape[1] > 1.3 * whole.shape[1]
    with pytest.raises(SceneError, match="no shot 'fall'; one of descent, curvature, closing"):
        storyboard(project, measured.out, "fall")
