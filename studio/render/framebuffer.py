"""What the stage draws on: samples of sixteen bits in GL's own memory, of which GL makes the codes of a plate.

    code = 65535 sqrt(mean of (sample / 65535)^2)

A sample is the square root of light, and so is a plate's code: the mean is taken in linear light, where the samples
are, and only the pixels leave GL.
"""

from __future__ import annotations

import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.util.vtkConstants import VTK_UNSIGNED_SHORT
from vtkmodules.vtkCommonCore import vtkUnsignedShortArray
from vtkmodules.vtkRenderingCore import vtkRenderer
from vtkmodules.vtkRenderingOpenGL2 import (
    vtkOpenGLFramebufferObject,
    vtkOpenGLQuadHelper,
    vtkOpenGLRenderWindow,
    vtkPixelBufferObject,
    vtkTextureObject,
)

from studio.config.units import Size

_GL_RGBA, _GL_RGBA16, _GL_UNSIGNED_SHORT, _GL_BLEND, _GL_DEPTH_TEST = 0x1908, 0x805B, 0x1403, 0x0BE2, 0x0B71

_MEAN = """//VTK::System::Dec
in vec2 texCoord;
uniform sampler2D source;
//VTK::Output::Dec
void main() {
  vec2 first = vec2(texCoord.x, 1.0 - texCoord.y) - (0.5 - 0.5 / SAMPLES) / SIZE;   // the first row is the top one
  vec4 total = vec4(0.0);
  for (int row = 0; row < int(SAMPLES); row++)
    for (int column = 0; column < int(SAMPLES); column++) {
      vec4 root = texture(source, first + vec2(column, row) / (SAMPLES * SIZE));   // the nearest, met in its middle
      total += root * root;
    }
  gl_FragData[0] = sqrt(total / (SAMPLES * SAMPLES));
}
"""


class Canvas:
    """Room for the samples of a picture of `size` pixels, `samples` along each side of one, in a window's GL."""

    def __init__(self, window: vtkOpenGLRenderWindow, size: Size, samples: int):
        self._window, self._size = window, size
        window.Start()
        width, height = size.width * samples, size.height * samples
        self._samples, self._pixels = _colours(window, width, height), _colours(window, *size)
        depths = vtkTextureObject()
        depths.SetContext(window)
        depths.AllocateDepth(width, height, vtkTextureObject.Fixed24)
        self._fine, self._coarse = _target(window, self._samples, depths), _target(window, self._pixels)
        mean = _MEAN.replace("SAMPLES", f"{samples}.0").replace("SIZE", f"vec2({size.width}, {size.height})")
        self._quad = vtkOpenGLQuadHelper(window, None, mean, "")
        self._program = window.GetShaderCache().GetLastShaderBound()
        self._read = vtkPixelBufferObject()
        self._read.SetContext(window)
        self._owned = self._fine, self._coarse, self._samples, self._pixels, depths, self._quad

    def close(self) -> None:
        """Gives the memory back, while the window is still open."""
        self._read.ReleaseMemory()
        for part in self._owned:
            part.ReleaseGraphicsResources(self._window)

    def codes(self, renderer: vtkRenderer) -> np.ndarray:
        """What a renderer draws, as codes of a plate [H, W, 4], first row on top."""
        self._window.Start()
        state = self._window.GetState()
        state.Push()
        state.PushFramebufferBindings()
        _begin(self._fine)
        renderer.Render()
        _begin(self._coarse)
        self._average()
        self._fetch()
        state.PopFramebufferBindings()
        state.Pop()
        return self._copied()

    def _average(self) -> None:
        state = self._window.GetState()
        state.vtkglDisable(_GL_BLEND)
        state.vtkglDisable(_GL_DEPTH_TEST)
        state.vtkglViewport(0, 0, *self._size)
        state.vtkglScissor(0, 0, *self._size)
        self._samples.Activate()
        self._window.GetShaderCache().ReadyShaderProgram(self._program)
        self._program.SetUniformi("source", self._samples.GetTextureUnit())
        self._quad.Render()
        self._samples.Deactivate()

    def _fetch(self) -> None:
        """Waits for what GL is asked to draw, and has the pixels laid where they can be copied from."""
        width, height = self._size
        # the static way: the other one makes a new buffer every time, which nobody frees
        vtkOpenGLFramebufferObject.Download(
            [0, width - 1, 0, height - 1], VTK_UNSIGNED_SHORT, 4, _GL_UNSIGNED_SHORT, _GL_RGBA, self._read
        )

    def _copied(self) -> np.ndarray:
        lent = vtkUnsignedShortArray()
        lent.SetVoidArray(self._read.MapPackedBuffer(), 4 * self._size.width * self._size.height, 1)
        codes = vtk_to_numpy(lent).reshape(self._size.height, self._size.width, 4).copy()
        self._read.UnmapPackedBuffer()
        return codes


def _colours(window: vtkOpenGLRenderWindow, width: int, height: int) -> vtkTextureObject:
    """Room for four numbers of sixteen bits a pixel."""
    texture = vtkTextureObject()
    texture.SetContext(window)
    texture.SetInternalFormat(_GL_RGBA16)
    texture.SetFormat(_GL_RGBA)
    texture.SetDataType(_GL_UNSIGNED_SHORT)
    texture.Allocate2D(width, height, 4, VTK_UNSIGNED_SHORT)
    return texture


def _target(window: vtkOpenGLRenderWindow, colours: vtkTextureObject, depths: vtkTextureObject | None = None):
    """What GL can draw into."""
    target, state = vtkOpenGLFramebufferObject(), window.GetState()
    target.SetContext(window)
    state.PushFramebufferBindings()
    target.Bind()
    target.AddColorAttachment(0, colours)
    if depths:
        target.AddDepthAttachment(depths)
    _begin(target)
    state.PopFramebufferBindings()
    return target


def _begin(target: vtkOpenGLFramebufferObject) -> None:
    target.Bind()
    target.ActivateBuffer(0)
