"""The framebuffer: samples of sixteen bits in GL's own memory, which GL averages to the codes of a linear frame.

    code = 65535 sqrt(mean of (sample / 65535)^2)

Samples and codes are square roots of light, so the mean is taken in linear light; only the pixels leave GL.
"""

from __future__ import annotations

from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.util.vtkConstants import VTK_UNSIGNED_SHORT
from vtkmodules.vtkCommonCore import vtkDataArray, vtkUnsignedShortArray
from vtkmodules.vtkRenderingCore import vtkRenderer
from vtkmodules.vtkRenderingOpenGL2 import (
    vtkOpenGLFramebufferObject,
    vtkOpenGLQuadHelper,
    vtkOpenGLRenderWindow,
    vtkPixelBufferObject,
    vtkTextureObject,
)

from studio.config.units import Size
from studio.field import Array

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
      vec4 root = texture(source, first + vec2(column, row) / (SAMPLES * SIZE));   // the nearest, at its middle
      total += root * root;
    }
  gl_FragData[0] = sqrt(total / (SAMPLES * SAMPLES));
}
"""


class Framebuffer:
    """A framebuffer in a window's GL, for a picture of `size` pixels with `samples` along each side of a pixel."""

    def __init__(self, window: vtkOpenGLRenderWindow, size: Size, samples: int) -> None:
        self._window, self._size = window, size
        window.Start()
        width, height = size.width * samples, size.height * samples
        self._samples, self._pixels = _texture(window, width, height), _texture(window, *size)
        depths = vtkTextureObject()
        depths.SetContext(window)
        depths.AllocateDepth(width, height, vtkTextureObject.Fixed24)
        self._sample_target, self._pixel_target = _target(window, self._samples, depths), _target(window, self._pixels)
        mean = _MEAN.replace("SAMPLES", f"{samples}.0").replace("SIZE", f"vec2({size.width}, {size.height})")
        # None is VTK's own vertex shader
        self._quad = vtkOpenGLQuadHelper(window, None, mean, "")  # type: ignore[arg-type]  # annotated as a text
        self._program = window.GetShaderCache().GetLastShaderBound()
        self._read = vtkPixelBufferObject()
        self._read.SetContext(window)
        self._owned = self._sample_target, self._pixel_target, self._samples, self._pixels, depths, self._quad

    def close(self) -> None:
        """Frees GL's memory; the window must still be open."""
        self._read.ReleaseMemory()
        for resource in self._owned:
            resource.ReleaseGraphicsResources(self._window)

    def codes(self, renderer: vtkRenderer) -> Array:
        """The linear frame [H, W, 4], uint16, that a renderer draws, first row on top."""
        self._window.Start()
        state = self._window.GetState()
        state.Push()
        state.PushFramebufferBindings()
        _bind(self._sample_target)
        renderer.Render()
        _bind(self._pixel_target)
        self._average()
        width, height = self._size
        # waits until GL has drawn; the static method: the other one allocates a new buffer every time and frees none
        vtkOpenGLFramebufferObject.Download(
            [0, width - 1, 0, height - 1], VTK_UNSIGNED_SHORT, 4, _GL_UNSIGNED_SHORT, _GL_RGBA, self._read
        )
        state.PopFramebufferBindings()
        state.Pop()
        mapped = vtkUnsignedShortArray()
        mapped.SetVoidArray(self._read.MapPackedBuffer(), 4 * width * height, 1)
        codes = to_numpy(mapped).reshape(height, width, 4).copy()
        self._read.UnmapPackedBuffer()
        return codes

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


def _texture(window: vtkOpenGLRenderWindow, width: int, height: int) -> vtkTextureObject:
    """A texture of four channels of sixteen bits."""
    texture = vtkTextureObject()
    texture.SetContext(window)
    texture.SetInternalFormat(_GL_RGBA16)
    texture.SetFormat(_GL_RGBA)
    texture.SetDataType(_GL_UNSIGNED_SHORT)
    texture.Allocate2D(width, height, 4, VTK_UNSIGNED_SHORT)
    return texture


def _target(
    window: vtkOpenGLRenderWindow, colours: vtkTextureObject, depths: vtkTextureObject | None = None
) -> vtkOpenGLFramebufferObject:
    """A GL framebuffer object that draws into textures."""
    target, state = vtkOpenGLFramebufferObject(), window.GetState()
    target.SetContext(window)
    state.PushFramebufferBindings()
    target.Bind()
    target.AddColorAttachment(0, colours)
    if depths:
        target.AddDepthAttachment(depths)
    _bind(target)
    state.PopFramebufferBindings()
    return target


def _bind(target: vtkOpenGLFramebufferObject) -> None:
    target.Bind()
    target.ActivateBuffer(0)


def to_numpy(array: vtkDataArray) -> Array:
    """A VTK array as a numpy array that shares its memory."""
    values: Array = vtk_to_numpy(array)  # type: ignore[no-untyped-call]  # VTK does not annotate it
    return values
