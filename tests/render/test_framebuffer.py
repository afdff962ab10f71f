import numpy as np
import pytest
from vtkmodules.vtkCommonCore import vtkFloatArray

from studio.config.units import Size
from studio.render.framebuffer import Framebuffer, to_numpy
from studio.render.stage import Stage

SIZE = Size(8, 6)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_an_even_picture_has_its_own_codes(samples):
    with Stage(SIZE, 33, samples) as stage:
        for actor in (stage._surface.actor, stage._marker, stage._trajectory):
            actor.SetVisibility(False)
        renderer = stage._plotter.renderer
        renderer.GetActiveCamera().UseExplicitProjectionTransformMatrixOff()
        renderer.SetBackground(0.25, 0.5, 1.0)
        renderer.SetBackgroundAlpha(0.75)
        framebuffer = Framebuffer(stage._plotter.ren_win, SIZE, samples)
        codes = framebuffer.codes(renderer)
        framebuffer.close()
    assert codes.shape == (6, 8, 4) and codes.dtype == np.uint16
    # half a code of a sample, and half a code of the root of the mean
    assert np.abs(codes - 65535 * np.array([0.25, 0.5, 1.0, 0.75])).max() <= 1


def test_a_vtk_array_shares_its_memory_with_numpy():
    array = vtkFloatArray()
    array.SetNumberOfTuples(3)
    array.Fill(1.0)
    to_numpy(array)[1] = 5.0
    assert [array.GetValue(i) for i in range(3)] == [1.0, 5.0, 1.0]
