"""The stage: one off-screen window that is set up once and then only updated, and draws Frames in linear light."""

from __future__ import annotations

import math
import os
from dataclasses import replace

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import numpy as np
import pyvista as pv
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkFloatArray
from vtkmodules.vtkRenderingCore import vtkActor
from vtkmodules.vtkRenderingOpenGL2 import vtkOpenGLPolyDataMapper

from studio.config.units import LARGEST, Size
from studio.errors import MachineError
from studio.film.colour import to_linear as linear
from studio.film.frame import Frame, View, Window
from studio.film.look import Look
from studio.film.surface import fill_holes as filled
from studio.render import bake, grade, linear_frame, plinth, shading
from studio.render.framebuffer import Canvas
from studio.render.uniforms import Values, key_azimuth, told

_HOLE = -9.0
_ROWS = 16  # of pixels
_NEAR = 16  # vertices
_NEAREST = 0.004  # that is drawn, scene units
_ARC = 0.25  # of the land's edge to either side of an eye that is outside, radians
_FINE = 401  # vertices along a side: of a finer mesh every second one is baked
_DIAGONALS = [0, 1, 2, 0, 2, 3], [0, 1, 3, 1, 2, 3]
"""Corners of the two triangles of a quad, against the clock, cut along either diagonal."""
_GL_BLEND = 0x0BE2


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
        self._way = _actor(pv.PolyData())
        lit = (
            (shading.MARKER_VERTEX_DECLARE, shading.MARKER_VERTEX),
            (shading.MARKER_DECLARE, shading.MARKER),
        )
        for actor in (self._marker, self._way):
            _shade(actor, *lit)
        self._add(self._surface.actor, self._marker, self._way)
        self._canvas: Canvas | None = None  # made when it is drawn on
        self._depths = vtkFloatArray()
        self._plotter.camera.UseExplicitProjectionTransformMatrixOn()
        state = self._plotter.ren_win.GetState
        # alpha is how much of a pixel is covered, not how much of what lies behind shines through
        self._plotter.renderer.AddObserver("StartEvent", lambda *_: state().vtkglDisable(_GL_BLEND))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._canvas:
            self._canvas.close()
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
        return grade.picture(self.plate(frame), frame).whole()

    def plate(self, frame: Frame, window: Window | None = None) -> np.ndarray:
        """The plate of a frame [H, W, 4], uint16, first row on top: `linear_frame.coded` of its light.

        window: as for the light.
        """
        if len(frame.views) > 1:
            return linear_frame.coded(self.light(frame, window))
        return self._codes(frame.views[0], window or Window(0, 0, self.size))

    def light(self, frame: Frame, window: Window | None = None) -> np.ndarray:
        """Linear light times the alpha beside it [H, W, 4], float32, first row on top: no background, no grade.

        window: where the stage's picture lies in the frame's; all of it if None.
        """
        window = window or Window(0, 0, self.size)
        pixels = np.zeros((self.size.height, self.size.width, 4), np.float32)
        for view in frame.views:
            codes, worth = self._codes(view, window), np.float32(view.weight) * linear_frame.SCALE
            for top in range(0, len(codes), _ROWS):  # in bands that stay in the processor's cache
                light = codes[top : top + _ROWS].astype(np.float32)
                light *= light
                light *= worth
                pixels[top : top + _ROWS] += light
        return pixels

    def depth(self, frame: Frame, window: Window | None = None) -> np.ndarray:
        """How far from the eye, along its line of sight, lies what is seen at the pixels' centres [H, W], float32.

        Scene units; NaN where nothing is. Of the frame's first view, through a pinhole.
        """
        s, (width, height) = self.samples, self.size
        on_a_sample = 0.0 if s % 2 else 0.5  # an even number of samples has none in the middle
        view = replace(frame.views[0], jitter=(on_a_sample, on_a_sample), lens=(0.0, 0.0))
        self._show(view, window or Window(0, 0, self.size))
        self._plotter.ren_win.Render()
        self._plotter.ren_win.GetZbufferData(0, 0, width * s - 1, height * s - 1, self._depths)
        found = vtk_to_numpy(self._depths).reshape(height * s, width * s)[::-1][(s - 1) // 2 :: s, (s - 1) // 2 :: s]
        near, far = self._clip
        away = near * far / (far - found.astype(np.float64) * (far - near))
        return np.where(found < 1, away, np.nan).astype(np.float32)

    def _codes(self, view: View, window: Window) -> np.ndarray:
        """Codes of a plate [H, W, 4] of one view."""
        self._show(view, window)
        if self._canvas is None:
            self._canvas = Canvas(self._plotter.ren_win, self.size, self.samples)
        return self._canvas.codes(self._plotter.renderer)

    def _show(self, view: View, window: Window) -> None:
        """Makes the stage stand as a view has it."""
        look, s = view.look, self.samples
        fixed, moving = told(view, window.whole.height, s)
        self._surface.dress(look, fixed)
        self._surface.show(view)
        actors = self._surface.actor, *self._standing(view, fixed)
        place = {
            "whole": (s * window.whole.width, s * window.whole.height, 0),
            "part": (s * self.size.width, s * self.size.height, 0),
            "corner": (s * window.left, s * (window.whole.height - window.top - self.size.height), 0),
        }
        for actor in actors:
            _uniforms(actor, moving | place | {"buried": float(self._surface.hides(view.pose.position, look))})
        centre = float(view.height[view.height.shape[0] // 2, view.height.shape[1] // 2])
        self._marker.SetVisibility(bool(np.isfinite(centre)))
        self._marker.SetScale(look.marker.radius)
        self._marker.SetPosition(0, 0, centre + 0.9 * look.marker.radius if np.isfinite(centre) else 0)
        shining = linear(look.marker.colour) * look.marker.light * look.grade.exposure
        limb = shining if look.marker.limb is None else linear(look.marker.limb) * look.grade.exposure
        eye = np.array(view.pose.position) - self._marker.GetPosition()
        toward = eye / max(np.linalg.norm(eye), 1e-9)
        _uniforms(self._marker, {"markerLight": shining, "limbLight": limb, "toEye": toward} | place)
        self._lay(view, place)
        self._aim(view, window.whole)

    def _lay(self, view: View, place: dict) -> None:
        """Lays the way on the land, if the view has one."""
        self._way.SetVisibility(view.trajectory is not None and len(view.trajectory) > 1)
        if self._way.GetVisibility():
            trail, land = view.look.trajectory, _whole(view.height)
            heights = plinth.rim(land, view.trajectory) + trail.width / 2
            thread = pv.lines_from_points(np.column_stack([view.trajectory, heights]).astype(np.float32))
            self._way.GetMapper().SetInputData(thread.tube(radius=trail.width / 2, n_sides=10, capping=True))
            shining = linear(trail.colour) * trail.light * view.look.grade.exposure
            _uniforms(self._way, {"markerLight": shining, "limbLight": shining, "toEye": (0, 0, 1)} | place)

    def _aim(self, view: View, whole: Size) -> None:
        """Points the camera: from the view's place on the lens, at the whole picture, moved by the view's jitter."""
        pose, camera = view.pose, self._plotter.camera
        eye, (right, up, ahead) = np.array(pose.position), pose.axes
        aside = pose.lens * np.array(view.lens)
        moved = eye + aside[0] * right + aside[1] * up
        # by VTK's own setters: PyVista's look through the whole mesh for a range of depths, which is given below
        camera.SetPosition(*moved)
        camera.SetFocalPoint(*(moved + ahead))
        camera.SetViewUp(*pose.view_up)
        half = math.tan(math.radians(pose.view_angle / 2))
        pixel = 2 * half / whole.height
        left, top = (
            pixel * (view.jitter[0] / self.samples - whole.width / 2) - aside[0] / pose.focus,
            pixel * (whole.height / 2 - view.jitter[1] / self.samples) - aside[1] / pose.focus,
        )
        corner = math.hypot(1, half, half * whole.width / whole.height)
        self._clip = self._ends_of_sight(eye, corner, view.look)
        matrix = _frustum(left, left + pixel * whole.width, top - pixel * whole.height, top, *self._clip)
        camera.SetExplicitProjectionTransformMatrix(pv.vtkmatrix_from_array(matrix))

    def _ends_of_sight(self, eye: np.ndarray, corner: float, look: Look) -> tuple[float, float]:
        """Distances along the line of sight between which everything lies: the narrower, the finer is the depth buffer.

        corner: how much longer a ray through the picture's corner is than the line of sight.
        """
        low, high = self._surface.low, self._surface.high + 2 * look.marker.radius
        reach = plinth.REACH if look.plinth else 1.0
        low = min(low, -look.plinth.depth) if look.plinth else low
        outside = math.hypot(max(math.hypot(eye[0], eye[1]) - reach, 0), max(low - eye[2], eye[2] - high, 0))
        return max(_NEAREST, 0.9 * outside / corner), float(np.linalg.norm(eye)) + math.hypot(reach, low, high)

    def _standing(self, view: View, fixed: Values) -> tuple[vtkActor, ...]:
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
        self._block.dress(view.look, fixed)
        self._block.show(view)
        return self._block.actors

    def _add(self, *actors: vtkActor) -> None:
        for actor in actors:
            self._plotter.renderer.AddActor(actor)


def _frustum(left: float, right: float, bottom: float, top: float, near: float, far: float) -> np.ndarray:
    """The projection [4, 4] through a window at distance 1 from the eye."""
    return np.array(
        [
            [2 / (right - left), 0, (right + left) / (right - left), 0],
            [0, 2 / (top - bottom), (top + bottom) / (top - bottom), 0],
            [0, 0, (near + far) / (near - far), 2 * near * far / (near - far)],
            [0, 0, -1, 0],
        ]
    )


class _Dressed:
    """An actor with the surface's shader, as a look would have it."""

    def __init__(self, mesh: pv.PolyData):
        self._mesh, self.actor, self._wears = mesh, _actor(mesh, attributes=("paint", "ground")), None

    def dress(self, look: Look, fixed: Values) -> None:
        """Gives it the shader of a look and of what is fixed in it, if it does not wear it."""
        constants = shading.constants(fixed)
        wanted = shading.vertex(look, constants), shading.fragment(look, constants)
        if self._wears != wanted:
            self._wears = wanted
            _shade(self.actor, *wanted)


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
        quads = quads[_near_one_another(inside.nonzero(), quads[:, 0])]
        self._inside, self._spacing = inside, float(axis[1] - axis[0])
        self._quads, self._other, triangles = quads, np.zeros(len(quads), bool), quads[:, _DIAGONALS[0]].reshape(-1, 3)
        row, column = (place[quads[:, 0]] for place in inside.nonzero())
        self._cells = row * (side - 1) + column
        self._places, self._stride = np.flatnonzero(inside), 1 if side <= _FINE else 2
        self._height = self._paint = self._lit = None  # what it shows: the arrays of a view, its lamps
        super().__init__(_polygons(np.stack([x[inside], y[inside]], axis=1), triangles, paint=3, ground=4))
        # looked up once: PyVista takes its time
        self._points, self._paints, self._ground = self._mesh.points, self._mesh["paint"], self._mesh["ground"]
        self._faces = vtk_to_numpy(self._mesh.GetPolys().GetConnectivityArray()).reshape(-1, 6)

    def show(self, view: View) -> None:
        """Gives the mesh the heights, the baked light and the paint of a view, as far as it has others."""
        light, lamp = view.look.light, (key_azimuth(view), np.radians(view.look.light.key.elevation))
        if view.height is not self._height:
            self._raise(view.height)
        if self._lit != (light, lamp):
            self._lit = light, lamp
            ground, side = self._ground, len(view.height)
            open_sky = 1 - light.occlusion * (1 - _twice(self._open_sky, side))
            ground[:, 2] = np.where(np.isnan(view.height), _HOLE, open_sky).take(self._places)
            lit = bake.sunlight(self._sunned, self._stride * self._spacing, *lamp)
            lit = lit if self._stride == 1 else _twice(lit, side)
            ground[:, 3] = (1 - light.shadow * (1 - lit)).take(self._places)
            _changed(self._mesh, "ground")
            self._split(lit, *lamp)
        if view.paint is not self._paint:
            self._paint = view.paint
            self._paints[:] = view.paint.reshape(-1, 3).take(self._places, axis=0)
            _changed(self._mesh, "paint")

    def hides(self, eye: tuple[float, float, float], look: Look) -> bool:
        """Whether the land lies over an eye; beyond its edge, whether the mean of the edge before it does."""
        away, end = math.hypot(eye[0], eye[1]), look.fade.end
        turns = math.atan2(eye[1], eye[0]) + (0 if away < end else np.linspace(-_ARC, _ARC, 31))
        places = min(away, end) * np.stack([np.cos(turns), np.sin(turns)], axis=-1).reshape(-1, 2)
        return eye[2] < plinth.rim(self._whole, places).mean()

    def _raise(self, height: np.ndarray) -> None:
        """Gives the mesh other heights, and what the light needs of them."""
        self._height, self._lit, whole = height, None, _whole(height)
        slope_y, slope_x = np.gradient(whole, self._spacing)
        self._slopes, self._lengths = (slope_x, slope_y), np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
        self._points[:, 2] = whole.take(self._places)
        self.low, self.high, self._whole = float(whole.min()), float(whole.max()), whole
        self._ground[:, 0], self._ground[:, 1] = slope_x.take(self._places), slope_y.take(self._places)
        self._sunned = whole if self._stride == 1 else np.ascontiguousarray(whole[::2, ::2])
        self._open_sky = bake.occlusion(np.ascontiguousarray(whole[::2, ::2]), 2 * self._spacing)
        self._mesh.GetPoints().Modified()

    def _split(self, lit: np.ndarray, azimuth: float, elevation: float) -> None:
        """Cuts every quad along the diagonal on which light and height change less, so that no edge is a saw.

        lit [N, N]: the share of the key lamp that is seen. azimuth, elevation: of the lamp, radians.
        """
        slope_x, slope_y = self._slopes
        x, y, z = math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)
        light = np.float32(z) - np.float32(x) * slope_x - np.float32(y) * slope_y
        np.maximum(light, 0, out=light)
        light /= self._lengths
        light *= lit
        light += 2 * self._whole
        other = np.abs(light[:-1, 1:] - light[1:, :-1]) < np.abs(light[:-1, :-1] - light[1:, 1:])
        other = other.take(self._cells)
        changed = np.flatnonzero(other != self._other)
        if changed.size:
            self._other = other
            for way in (0, 1):
                turned = changed[other[changed] == way]
                self._faces[turned] = self._quads[turned][:, _DIAGONALS[way]]
            self._mesh.GetPolys().Modified()
            self._mesh.Modified()


class _Block(_Dressed):
    """The wall under the edge of a cast, and the ground it throws its shadow on."""

    def __init__(self):
        self._outward, triangles = plinth.wall()
        super().__init__(_polygons(np.concatenate([self._outward, self._outward]), triangles, paint=3, ground=4))
        slopes = self._mesh["ground"].reshape(2, plinth.AROUND, 4)
        slopes[..., :2] = -1e4 * self._outward  # of what stands upright
        slopes[0, :, 2], slopes[1, :, 2], slopes[..., 3] = 1.0, 0.6, 1.0
        self._ground = _polygons(*plinth.ground(), shade=1)
        ground = _actor(self._ground, attributes=("shade",))
        _shade(ground, (shading.GROUND_VERTEX_DECLARE, shading.GROUND_VERTEX), (shading.GROUND_DECLARE, shading.GROUND))
        self.actors = self.actor, ground
        self._height = self._lit = None  # what they show

    def show(self, view: View) -> None:
        """Gives wall and ground the shape, the paint and the shadow of a view, if they have another."""
        light, azimuth, plinth = view.look.light, key_azimuth(view), view.look.plinth
        if view.height is self._height and self._lit == (light, azimuth, plinth, view.look.fade):
            return
        self._height, self._lit = view.height, (light, azimuth, plinth, view.look.fade)
        depth, radius, height = plinth.depth, view.look.fade.end, _whole(view.height)
        places = radius * self._outward
        points = self._mesh.points.reshape(2, plinth.AROUND, 3)
        points[..., :2], points[0, :, 2], points[1, :, 2] = places, plinth.rim(height, places), -depth
        self._mesh["paint"][:] = linear(plinth.colour)
        self._ground.points[:, 2] = -depth
        self._ground["shade"][:] = plinth.shade(height, radius, depth, light, azimuth)
        for mesh, name in ((self._mesh, "paint"), (self._ground, "shade")):
            mesh.GetPoints().Modified()
            _changed(mesh, name)


def _near_one_another(places: tuple[np.ndarray, np.ndarray], corners: np.ndarray) -> np.ndarray:
    """An order of quads, by their first corners, in blocks: a vertex is shaded once while GL still knows it.

    places: row and column of every vertex.
    """
    row, column = (place[corners] for place in places)
    return np.lexsort((column % _NEAR, row % _NEAR, column // _NEAR, row // _NEAR))


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


def _changed(mesh: pv.PolyData, name: str) -> None:
    """Tells VTK that the numbers of an array in a mesh are new."""
    mesh.GetPointData().GetArray(name).Modified()
    mesh.Modified()


def _shade(actor: vtkActor, vertex: tuple[str, str], fragment: tuple[str, str]) -> None:
    """Lays declarations and a body of ours into an actor's shaders, in place of what we laid there before."""
    shader = actor.GetShaderProperty()
    shader.ClearAllVertexShaderReplacements()
    shader.ClearAllFragmentShaderReplacements()
    shader.AddVertexShaderReplacement("//VTK::PositionVC::Dec", True, vertex[0], False)
    shader.AddVertexShaderReplacement("//VTK::PositionVC::Impl", True, vertex[1], False)
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
