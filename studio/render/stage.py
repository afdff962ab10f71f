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
from ..film.frame import Frame, View
from ..film.look import HALF_RANGE, Look, linear
from ..film.terrain import filled
from ..spec import LARGEST, Size
from . import bake, shading
from .grade import graded
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
        self._marker = _actor(pv.Sphere(radius=1.0, theta_resolution=32, phi_resolution=24))
        self._marker.GetShaderProperty().AddFragmentShaderReplacement(
            "//VTK::PositionVC::Dec", True, shading.MARKER_DECLARE, False
        )
        self._marker.GetShaderProperty().AddFragmentShaderReplacement("//VTK::Light::Impl", True, shading.MARKER, False)
        self._plotter.renderer.AddActor(self._surface.actor)
        self._plotter.renderer.AddActor(self._marker)
        self._pixels = vtkUnsignedCharArray()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._plotter.close()

    @property
    def renderer(self) -> str:
        """What draws: the GL renderer's own name. Pictures are the same bytes only for the same renderer."""
        self._plotter.ren_win.Start()
        told = self._plotter.ren_win.ReportCapabilities()
        return next(
            (line.partition(":")[2].strip() for line in told.splitlines() if "renderer string" in line), "unknown"
        )

    def draw(self, frame: Frame) -> np.ndarray:
        """The finished picture of a frame [H, W, 3], uint8 sRGB, first row on top."""
        light = sum(np.float32(view.weight) * self.light(view) for view in frame.views)
        return set_type(graded(light, frame.grade, frame.number), frame.overlays)

    def light(self, view: View) -> np.ndarray:
        """The view as linear light [H, W, 3], float32, first row on top."""
        look, width, height = view.look, self.size.width * self.samples, self.size.height * self.samples
        self._surface.show(view)
        _uniforms(
            self._surface.actor,
            _lighting(view)
            | {
                "pictureHeight": float(height),
                "contourWidth": look.contours.width * self.samples if look.contours else 1.0,
            },
        )
        centre = float(view.height[view.height.shape[0] // 2, view.height.shape[1] // 2])
        self._marker.SetVisibility(bool(np.isfinite(centre)))
        self._marker.SetScale(look.marker.radius)
        self._marker.SetPosition(0, 0, centre + 0.9 * look.marker.radius if np.isfinite(centre) else 0)
        _uniforms(
            self._marker, {"range": HALF_RANGE, "markerLight": linear(look.marker.colour) * 2.2 * look.grade.exposure}
        )
        camera = self._plotter.camera
        camera.position, camera.focal_point, camera.up = view.pose.position, view.pose.focal_point, view.pose.view_up
        camera.view_angle, camera.clipping_range = view.pose.view_angle, (0.02, 12.0)
        self._plotter.ren_win.Render()
        self._plotter.ren_win.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, self._pixels)
        codes = vtk_to_numpy(self._pixels).reshape(height, width, 4)[::-1]
        return self._resolved(codes, look)

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


class _Surface:
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
        points = np.stack([x[inside], y[inside], np.zeros(inside.sum(), np.float32)], axis=1)
        self._mesh = pv.PolyData.from_regular_faces(points, triangles)
        self._mesh["paint"] = np.zeros((len(points), 3), np.float32)
        self._mesh["ground"] = np.zeros((len(points), 4), np.float32)
        self.actor = _actor(self._mesh, attributes=("paint", "ground"))
        shader = self.actor.GetShaderProperty()
        shader.AddVertexShaderReplacement("//VTK::PositionVC::Dec", True, shading.VERTEX_DECLARE, False)
        shader.AddVertexShaderReplacement("//VTK::PositionVC::Impl", True, shading.VERTEX, False)
        shader.AddFragmentShaderReplacement("//VTK::PositionVC::Dec", True, shading.FRAGMENT_DECLARE, False)
        shader.AddFragmentShaderReplacement("//VTK::Light::Impl", True, shading.FRAGMENT, False)

    def show(self, view: View) -> None:
        light = view.look.light
        known = ~np.isnan(view.height)
        # a hole lies as high as its rim, so that the light on the rim is right
        height = filled(view.height, known) if known.any() else np.zeros_like(view.height)
        slope_y, slope_x = np.gradient(height, self._spacing)
        coarse, spacing = height[::2, ::2], 2 * self._spacing
        open_sky = bake.occlusion(coarse, spacing)
        azimuth = np.radians(light.key.azimuth + (view.azimuth if light.follow else 0))
        lit = bake.sunlight(coarse, spacing, azimuth, np.radians(light.key.elevation))
        self._mesh.points[:, 2] = height[self._inside]
        self._mesh["paint"][:] = view.paint[self._inside]
        ground = self._mesh["ground"]
        ground[:, 0], ground[:, 1] = slope_x[self._inside], slope_y[self._inside]
        open_sky = 1 - light.occlusion * (1 - _twice(open_sky, height.shape[0]))
        ground[:, 2] = np.where(known, open_sky, _HOLE)[self._inside]
        ground[:, 3] = (1 - light.shadow * (1 - _twice(lit, height.shape[0])))[self._inside]
        for array in (
            self._mesh.GetPoints(),
            self._mesh.GetPointData().GetArray("paint"),
            self._mesh.GetPointData().GetArray("ground"),
        ):
            array.Modified()
        self._mesh.Modified()


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


def _lighting(view: View) -> dict:
    look, light = view.look, view.look.light
    turn = view.azimuth if light.follow else 0.0
    centre = view.height[view.height.shape[0] // 2, view.height.shape[1] // 2]
    values = {
        "range": HALF_RANGE,
        "eye": view.pose.position,
        "metallic": look.material.metallic,
        "roughness": look.material.roughness,
        "ambient": light.ambient,
        "sky": linear(light.sky),
        "horizon": linear(light.horizon),
        "groundlight": linear(light.ground),
        "spot": (0.0, 0.0, float(np.nan_to_num(centre))),
        "glow": look.marker.glow * linear(look.marker.halo),
        "spread": look.marker.spread,
        "exposure": look.grade.exposure,
        "bottom": linear(look.background.bottom),
        "top": linear(look.background.top),
        "fadeStart": look.fade.start,
        "fadeEnd": look.fade.end,
        "contourOpacity": look.contours.opacity if look.contours else 0.0,
        "contourEvery": look.contours.every if look.contours else 1.0,
        "contourColour": linear(look.contours.colour) if look.contours else (1.0, 1.0, 1.0),
    }
    for name, lamp in (("key", light.key), ("rim", light.rim)):
        azimuth, elevation = np.radians(lamp.azimuth + turn), np.radians(lamp.elevation)
        values[f"{name}Toward"] = (
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        )
        values[f"{name}Light"] = linear(lamp.colour) * lamp.intensity
        values[f"{name}Glint"] = linear(lamp.colour) * lamp.glint
        values[f"{name}Width"] = (1 - np.cos(np.radians(lamp.size))) + 0.3 * look.material.roughness**2
    return values
