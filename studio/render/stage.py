"""The stage: one off-screen window that is set up once and then only updated, and draws Frames in linear light."""

from __future__ import annotations

import os

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import numpy as np
import pyvista as pv
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
from vtkmodules.vtkRenderingCore import vtkActor
from vtkmodules.vtkRenderingOpenGL2 import vtkOpenGLPolyDataMapper

from ..errors import MachineError
from ..film.colour import linear
from ..film.frame import Frame, View
from ..film.look import HALF_RANGE, Look
from ..film.terrain import filled
from ..spec import LARGEST, Size
from . import bake, block, shading
from .grade import graded
from .told import key_azimuth, told
from .type import set_type

_HOLE = -9.0


class Stage:
    """A window of `size` pixels, drawn at `samples` times the size and averaged in linear light. A context manager."""

    def __init__(self, size: Size, mesh: int, samples: int = 2):
        if max(size) * samples > LARGEST:
            raise MachineError(
                f"{size} with {samples} samples along a side is more than the {LARGEST} GL draws; take fewer samples"
            )
        self.size, self.samples = size, samples
        self._plotter = pv.Plotter(
            off_screen=True, window_size=(size.width * samples, size.height * samples), lighting="none"
        )
        self._plotter.disable_anti_aliasing()
        self._plotter.set_background("black")
        self._plotter.renderer.SetBackgroundAlpha(0.0)
        self._plotter.ren_win.SetAlphaBitPlanes(1)
        self._surface = _Surface(mesh)
        self._block: _Block | None = None  # made when a look asks for it
        self._marker = _actor(pv.Sphere(radius=1.0, theta_resolution=32, phi_resolution=24))
        _shade(self._marker, fragment=(shading.MARKER_DECLARE, shading.MARKER))
        self._add(self._surface.actor, self._marker)
        self._pixels = vtkUnsignedCharArray()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._plotter.close()

    @property
    def renderer(self) -> str:
        """What draws: the GL renderer's own name. Pictures are the same bytes only for the same renderer."""
        self._plotter.ren_win.Start()
        report = self._plotter.ren_win.ReportCapabilities()
        return next(
            (line.partition(":")[2].strip() for line in report.splitlines() if "renderer string" in line), "unknown"
        )

    def draw(self, frame: Frame) -> np.ndarray:
        """The finished picture of a frame [H, W, 3], uint8 sRGB, first row on top."""
        light = sum(np.float32(view.weight) * self.light(view) for view in frame.views)
        return set_type(graded(light, frame.grade, frame.number), frame.overlays)

    def light(self, view: View) -> np.ndarray:
        """The view as linear light [H, W, 3], float32, first row on top."""
        look, width, height = view.look, self.size.width * self.samples, self.size.height * self.samples
        self._surface.dress(look)
        self._surface.show(view)
        actors = self._surface.actor, *self._standing(view)
        values = told(view, self.size.height, self.samples)
        for actor in actors:
            _uniforms(actor, values)
        centre = float(view.height[view.height.shape[0] // 2, view.height.shape[1] // 2])
        self._marker.SetVisibility(bool(np.isfinite(centre)))
        self._marker.SetScale(look.marker.radius)
        self._marker.SetPosition(0, 0, centre + 0.9 * look.marker.radius if np.isfinite(centre) else 0)
        shining = linear(look.marker.colour) * look.marker.light * look.grade.exposure
        _uniforms(self._marker, {"range": HALF_RANGE, "markerLight": shining})
        camera = self._plotter.camera
        camera.position, camera.focal_point, camera.up = view.pose.position, view.pose.focal_point, view.pose.view_up
        camera.view_angle, camera.clipping_range = view.pose.view_angle, (0.02, 12.0)
        self._plotter.ren_win.Render()
        self._plotter.ren_win.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, self._pixels)
        codes = vtk_to_numpy(self._pixels).reshape(height, width, 4)[::-1]
        return self._resolved(codes, look)

    def _standing(self, view: View) -> tuple[vtkActor, ...]:
        """The actors of the wall and the ground, as the view needs them; none, and none seen, without a plinth."""
        if view.look.plinth and self._block is None:
            self._block = _Block()
            self._add(*self._block.actors)
        if self._block is None:
            return ()
        for actor in self._block.actors:
            actor.SetVisibility(view.look.plinth is not None)
        if not view.look.plinth:
            return ()
        self._block.dress(view.look)
        self._block.show(view)
        return self._block.actors

    def _add(self, *actors: vtkActor) -> None:
        for actor in actors:
            self._plotter.renderer.AddActor(actor)

    def _resolved(self, codes: np.ndarray, look: Look) -> np.ndarray:
        """Samples averaged to pixels, in linear light, over the background."""
        s, (width, height) = self.samples, self.size
        whole = codes.view(np.uint32)[..., 0]  # a pixel is one number while samples are picked, which is twice as quick
        pixels = np.zeros((height, width, 4), np.float32)
        for row, column in np.ndindex(s, s):
            sample = (
                np.ascontiguousarray(whole[row::s, column::s]).view(np.uint8).reshape(pixels.shape).astype(np.float32)
            )
            sample *= sample  # a code is the square root of its light
            pixels += sample
        pixels *= np.float32(1 / (255 * s) ** 2)
        up = np.linspace(1, 0, 2 * height + 1, dtype=np.float32)[1::2, None, None]
        behind = linear(look.background.bottom) * (1 - up) + linear(look.background.top) * up
        return pixels[..., :3] * np.float32(HALF_RANGE) + (1 - pixels[..., 3:]) * behind.astype(np.float32)


class _Dressed:
    """An actor with the surface's shader, as a look would have it."""

    def __init__(self, mesh: pv.PolyData):
        self._mesh, self.actor, self._wears = mesh, _actor(mesh, attributes=("paint", "ground")), ""

    def dress(self, look: Look) -> None:
        """Gives it the shader of a look, if it does not wear it."""
        vertex, fragment = shading.vertex(look), shading.fragment(look)
        if self._wears != vertex + fragment:
            self._wears = vertex + fragment
            _shade(self.actor, (shading.VERTEX_DECLARE, vertex), (shading.FRAGMENT_DECLARE, fragment))


class _Surface(_Dressed):
    """The mesh of the drawn disc; only its points and attributes change from frame to frame."""

    def __init__(self, side: int):
        axis = np.linspace(-1, 1, side, dtype=np.float32)
        x, y = np.meshgrid(axis, axis)
        inside = x * x + y * y <= 1.0
        number = np.full(x.shape, -1)
        number[inside] = np.arange(inside.sum())
        corners = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1).reshape(-1, 4)
        quads = corners[(corners >= 0).all(axis=1)]
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        self._inside, self._spacing = inside, float(axis[1] - axis[0])
        super().__init__(_polygons(np.stack([x[inside], y[inside]], axis=1), triangles, paint=3, ground=4))

    def show(self, view: View) -> None:
        light, height = view.look.light, _whole(view.height)
        slope_y, slope_x = np.gradient(height, self._spacing)
        coarse, spacing = height[::2, ::2], 2 * self._spacing
        open_sky = bake.occlusion(coarse, spacing)
        lit = bake.sunlight(coarse, spacing, key_azimuth(view), np.radians(light.key.elevation))
        self._mesh.points[:, 2] = height[self._inside]
        self._mesh["paint"][:] = view.paint[self._inside]
        ground = self._mesh["ground"]
        ground[:, 0], ground[:, 1] = slope_x[self._inside], slope_y[self._inside]
        open_sky = 1 - light.occlusion * (1 - _twice(open_sky, height.shape[0]))
        ground[:, 2] = np.where(np.isnan(view.height), _HOLE, open_sky)[self._inside]
        ground[:, 3] = (1 - light.shadow * (1 - _twice(lit, height.shape[0])))[self._inside]
        _changed(self._mesh)


class _Block(_Dressed):
    """The wall under the edge of a cast, and the ground it throws its shadow on."""

    def __init__(self):
        self._outward, triangles = block.wall()
        super().__init__(_polygons(np.concatenate([self._outward, self._outward]), triangles, paint=3, ground=4))
        slopes = self._mesh["ground"].reshape(2, block.AROUND, 4)
        slopes[..., :2] = -1e4 * self._outward  # of what stands upright
        slopes[0, :, 2], slopes[1, :, 2], slopes[..., 3] = 1.0, 0.6, 1.0
        self._ground = _polygons(*block.ground(), shade=1)
        ground = _actor(self._ground, attributes=("shade",))
        _shade(ground, (shading.GROUND_VERTEX_DECLARE, shading.GROUND_VERTEX), (shading.GROUND_DECLARE, shading.GROUND))
        self.actors = self.actor, ground

    def show(self, view: View) -> None:
        depth, radius, height = view.look.plinth.depth, view.look.fade.end, _whole(view.height)
        places = radius * self._outward
        points = self._mesh.points.reshape(2, block.AROUND, 3)
        points[..., :2], points[0, :, 2], points[1, :, 2] = places, block.rim(height, places), -depth
        self._mesh["paint"][:] = linear(view.look.plinth.colour)
        self._ground.points[:, 2] = -depth
        self._ground["shade"][:] = block.shade(height, radius, depth, view.look.light, key_azimuth(view))
        _changed(self._mesh)
        _changed(self._ground)


def _whole(height: np.ndarray) -> np.ndarray:
    """Heights without holes: one lies as high as its rim, so that the light on the rim is right."""
    known = ~np.isnan(height)
    return filled(height, known) if known.any() else np.zeros_like(height)


def _polygons(places: np.ndarray, triangles: np.ndarray, **attributes: int) -> pv.PolyData:
    """A mesh over places [n, 2], at height 0, with arrays of so many numbers a vertex."""
    mesh = pv.PolyData.from_regular_faces(np.column_stack([places, np.zeros(len(places), np.float32)]), triangles)
    for name, width in attributes.items():
        mesh[name] = np.zeros((len(places), width) if width > 1 else len(places), np.float32)
    return mesh


def _changed(mesh: pv.PolyData) -> None:
    """Tells VTK that the numbers in a mesh are new."""
    mesh.GetPoints().Modified()
    for name in mesh.point_data.keys():
        mesh.GetPointData().GetArray(name).Modified()
    mesh.Modified()


def _shade(actor: vtkActor, vertex: tuple[str, str] | None = None, fragment: tuple[str, str] | None = None) -> None:
    """Lays declarations and a body of ours into an actor's shaders, in place of what we laid there before."""
    shader = actor.GetShaderProperty()
    shader.ClearAllVertexShaderReplacements()
    shader.ClearAllFragmentShaderReplacements()
    if vertex:
        shader.AddVertexShaderReplacement("//VTK::PositionVC::Dec", True, vertex[0], False)
        shader.AddVertexShaderReplacement("//VTK::PositionVC::Impl", True, vertex[1], False)
    if fragment:
        shader.AddFragmentShaderReplacement("//VTK::PositionVC::Dec", True, fragment[0], False)
        shader.AddFragmentShaderReplacement("//VTK::Light::Impl", True, fragment[1], False)


def _twice(coarse: np.ndarray, side: int) -> np.ndarray:
    """Values at every second point filled in linearly [side, side]."""
    fine = np.empty((side, side), coarse.dtype)
    fine[::2, ::2] = coarse
    fine[1::2, ::2] = (coarse[1:] + coarse[:-1]) / 2
    fine[:, 1::2] = (fine[:, :-1:2] + fine[:, 2::2]) / 2
    return fine


def _actor(mesh: pv.PolyData, attributes: tuple[str, ...] = ()) -> vtkActor:
    mapper = vtkOpenGLPolyDataMapper()
    mapper.SetInputData(mesh)
    mapper.ScalarVisibilityOff()
    for name in attributes:
        mapper.MapDataArrayToVertexAttribute(name, name, 0, -1)
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().LightingOff()
    return actor


def _uniforms(actor: vtkActor, values: dict) -> None:
    """Sets numbers and vectors that both of an actor's shaders know by name."""
    shader = actor.GetShaderProperty()
    for uniforms in (shader.GetVertexCustomUniforms(), shader.GetFragmentCustomUniforms()):
        for name, value in values.items():
            if isinstance(value, (float, int, np.floating)):
                uniforms.SetUniformf(name, value)
            else:
                uniforms.SetUniform3f(name, [float(x) for x in value])
