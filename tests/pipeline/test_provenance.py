import json

import imageio.v3 as iio
import pytest

from studio.deliver.media import probe
from studio.pipeline.measure import results_of
from studio.pipeline.project import Project
from studio.render.gl import gl_renderer

pytestmark = pytest.mark.usefixtures("in_process")


def test_every_output_carries_the_provenance(finished):
    project = Project.open(finished.scene)
    recorded = json.loads(probe(finished.out / "tiny.mp4").comment)
    assert recorded["scene"] == "Tiny" and recorded["draft"] is False and recorded["seed"] == 0
    assert recorded["runs"] == list(project.run_digests) and recorded["slices"] == sorted(
        results_of(project).digests.values()
    )
    assert recorded["renderer"] == gl_renderer() and {"torch", "vtk", "numpy", "landscape-studio"} <= set(
        recorded["versions"]
    )
    assert json.loads(iio.immeta(finished.out / "tiny-frames" / "frame-000000.png")["provenance"]) == recorded
