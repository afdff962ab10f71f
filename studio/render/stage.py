"""The stage: one off-screen window, set up once and then only updated, that draws Frames in linear light.

    frame -> for each view: mesh, baked light, uniforms, camera -> samples in GL -> their mean -> linear frame

Surface, marker, trajectory and plinth are actors that stay; of these only what differs from the view before is set.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self, cast

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import numpy as np
import pyvista as pv
from vtkmodules.vtkCommonCore import vtkFloatArray
from vtkmodules.vtkRenderingCore import vtkActor
from vtkmodules.vtkRenderingOpenGL2 import vtkOpenGLPolyDataMapper

from studio.config.units import MAX_WINDOW_SIDE, Size
from studio.errors import MachineError
from studio.field import Array
from studio.film.appearance import Appearance, Plinth
from studio.film.frame import Frame, LineSheet, View, Window
from studio.film.surface import height_at
from studio.film.timeline import EVERYWHERE, Panel, Region
from studio.render import bake, grade, linear_frame, plinth, shading
from studio.render.framebuffer import Framebuffer, to_numpy
from studio.render.mesh import DIAGONALS, disc, fill_all_holes, second_diagonal, slopes, upsample
from studio.render.projection import clip_range, lens_offset, marker_centre, projection
from studio.render.uniforms import Values, constants, per_view

_HOLE = -9.0  # the share of the sky in a hole, which the shader discards
_LIFT = 0.002  # scene units of a surface of lines above its heights, so that it shows where it lies on the other one
_ROWS = 16  # of pixels
_ARC = 0.25  # of the surface's edge to either side of an eye that is outside, radians
_LARGEST_BAKED = 401  # vertices along a side: of a finer mesh every second one is baked
_UPRIGHT = 1e4  # slope of the wall, which stands upright
_GL_BLEND = 0x0BE2


class Stage:
    """A window of `size` pixels, drawn at `samples` times the size and averaged in linear light. A context manager.

    mesh: vertices along a side of the drawn square. Raises MachineError if GL cannot draw so many samples.
    """

    def __init__(self, size: Size, mesh: int, samples: int = 2) -> None:
        if max(size) * samples > MAX_WINDOW_SIDE:
            raise MachineError(
                f"{size} with {samples} samples along a side is more than the {MAX_WINDOW_SIDE} GL draws; "
                "take fewer samples"
            )
        self.size, self.samples = size, samples
        # PyVista annotates the window as optional, and decorated methods without their self
        self._plotter = cast(
            "Any", pv.Plotter(off_screen=True, window_size=[s * samples for s in size], lighting="none")
        )
        self._plotter.disable_anti_aliasing()
        self._plotter.set_background("black")
        self._plotter.renderer.SetBackgroundAlpha(0.0)
        self._plotter.ren_win.SetAlphaBitPlanes(1)
        self._mesh, self._surface = mesh, _SurfaceActor(mesh)
        self._plinth: _PlinthActors | None = None  # made when a look has one
        self._over: _LineSheetActor | None = None  # made when a view has one
        ball = pv.Sphere(radius=1.0, theta_resolution=32, phi_resolution=24)
        self._marker, self._marker_over = _actor(ball), _actor(ball)
        self._trajectory = _actor(pv.PolyData())
        for actor in (self._marker, self._marker_over, self._trajectory):
            _set_shaders(actor, shading.MARKER_VERTEX, shading.MARKER_FRAGMENT)
        self._marker_over.SetVisibility(False)  # until a view has one
        self._add(self._surface.actor, self._marker, self._marker_over, self._trajectory)
        self._framebuffer: Framebuffer | None = None  # made when something is drawn
        self._depths = vtkFloatArray()
        self._plotter.camera.UseExplicitProjectionTransformMatrixOn()
        state = self._plotter.ren_win.GetState
        # alpha is how much of a pixel is covered, not how much of what lies behind shines through
        self._plotter.renderer.AddObserver("StartEvent", lambda *_: state().vtkglDisable(_GL_BLEND))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._framebuffer:
            self._framebuffer.close()
        self._plotter.close()

    @property
    def renderer(self) -> str:
        """The GL renderer's own name. Pictures are the same bytes only for the same renderer."""
        self._plotter.ren_win.Start()
        report = self._plotter.ren_win.ReportCapabilities()
        return next(
            (line.partition(":")[2].strip() for line in report.splitlines() if "renderer string" in line), "unknown"
        )

    def draw(self, frame: Frame) -> Array:
        """The finished picture of a frame [H, W, 3], uint8 sRGB, first row on top."""
        return grade.picture(self.linear_frame(frame), frame).to_array()

    def linear_frame(self, frame: Frame, window: Window | None = None) -> Array:
        """The codes of a frame [H, W, 4], uint16, first row on top: `linear_frame.encode` of its light.

        window: where the stage's picture lies in the frame's; all of it if None.
        """
        if len(frame.views) > 1:
            return linear_frame.encode(self.light(frame, window))
        return self._codes(frame.views[0], window or Window(0, 0, self.size))

    def light(self, frame: Frame, window: Window | None = None) -> Array:
        """Linear light times the alpha beside it [H, W, 4], float32, first row on top: no background, no grading.

        window: where the stage's picture lies in the frame's; all of it if None.
        """
        window = window or Window(0, 0, self.size)
        pixels, covered = np.zeros((self.size.height, self.size.width, 4), np.float32), set[Panel]()
        for view in frame.views:
            panel = view.panel.columns(window.picture_size.width)
            rows_of = view.panel.rows(window.picture_size.height)
            left = window.left - panel.start
            columns = slice(max(0, -left), min(self.size.width, len(panel) - left))  # those that the panel fills
            if columns.start >= columns.stop:
                continue
            inside = Window(left, window.top - rows_of.start, Size(len(panel), len(rows_of)))
            codes, factor = self._codes(view, inside), np.float32(view.weight) * linear_frame.SCALE
            kept = _outside(view.hole, window, self.size)
            if view.region != EVERYWHERE:  # over the views before it
                rows, part = _part(view.region, window, self.size)
                region = rows, slice(max(part.start, columns.start), max(columns.start, min(part.stop, columns.stop)))
                if view.panel.region is None:
                    pixels[region] *= view.panel in covered
                light = codes[region].astype(np.float32) ** 2 * factor
                pixels[region] += light if kept is None else light * kept[region][..., None]
                covered.add(view.panel)
                continue
            for top in range(0, len(codes), _ROWS):  # in bands that stay in the processor's cache
                light = codes[top : top + _ROWS, columns].astype(np.float32)
                light *= light
                light *= factor
                if kept is not None:
                    light *= kept[top : top + _ROWS, columns, None]
                pixels[top : top + _ROWS, columns] += light
        return pixels

    def depth(self, frame: Frame, window: Window | None = None) -> Array:
        """Distances from the eye, along its line of sight, at the centres of the pixels [H, W], float32.

        Scene units; NaN where there is nothing. Of the frame's first view, through a pinhole.
        """
        s, (width, height) = self.samples, self.size
        on_a_sample = 0.0 if s % 2 else 0.5  # an even number of samples has none in the middle
        view = replace(frame.views[0], jitter=(on_a_sample, on_a_sample), lens_point=(0.0, 0.0))
        near, far = self._show(view, window or Window(0, 0, self.size))
        self._plotter.ren_win.Render()
        self._plotter.ren_win.GetZbufferData(0, 0, width * s - 1, height * s - 1, self._depths)
        depths = to_numpy(self._depths).reshape(height * s, width * s)[::-1][(s - 1) // 2 :: s, (s - 1) // 2 :: s]
        distances = near * far / (far - depths.astype(np.float64) * (far - near))
        return np.where(depths < 1, distances, np.nan).astype(np.float32)

    def _codes(self, view: View, window: Window) -> Array:
        """The linear frame [H, W, 4] of one view."""
        self._show(view, window)
        if self._framebuffer is None:
            self._framebuffer = Framebuffer(self._plotter.ren_win, self.size, self.samples)
        return self._framebuffer.codes(self._plotter.renderer)

    def _show(self, view: View, window: Window) -> tuple[float, float]:
        """Updates the scene and the camera to a view; returns the distances of the near and far plane."""
        s, appearance, lines = self.samples, view.appearance, window.picture_size.height
        look_constants = constants(appearance, lines, s)
        if view.sides != self._surface.sides:
            self._plotter.renderer.RemoveActor(self._surface.actor)
            self._surface = _SurfaceActor(self._mesh, view.sides)
            self._add(self._surface.actor)
        self._surface.set_look(appearance, look_constants)
        self._surface.show(view)
        tile: Values = {
            "pictureSize": (s * window.picture_size.width, s * window.picture_size.height, 0),
            "tileSize": (s * self.size.width, s * self.size.height, 0),
            "tileCorner": (s * window.left, s * (window.picture_size.height - window.top - self.size.height), 0),
        }
        uniforms = per_view(view, lines, s) | tile
        uniforms["eyeBelow"] = float(self._surface.hides(view.pose.position, appearance.fade_end))
        for actor in (self._surface.actor, *self._plinth_actors(view, look_constants)):
            _set_uniforms(actor, uniforms)
        low, high = self._surface.low, self._surface.high
        for actor in (self._over.actor, self._marker_over) if self._over else ():
            actor.SetVisibility(False)
        if view.over:
            over = self._show_over(view, view.over, lines, tile)
            low, high = min(low, over.low), max(high, over.high)
        _show_marker(self._marker, view, tile)
        self._show_trajectory(view, tile)
        return self._aim(view, window.picture_size, low, high)

    def _show_over(self, view: View, sheet: LineSheet, lines: int, tile: Values) -> _LineSheetActor:
        """Updates the surface of lines to a view. lines: the picture's height in pixels."""
        if self._over is None or self._over.sides != view.sides:
            if self._over:
                self._plotter.renderer.RemoveActor(self._over.actor)
            self._over = _LineSheetActor(self._mesh, view.sides)
            self._add(self._over.actor)
        s = self.samples
        appearance = replace(view.appearance, wire=sheet.wire, contours=None, engraving=None, nodes=None)
        own = replace(view, height=sheet.height, marker=sheet.marker, appearance=appearance, over=None)
        self._over.set_look(appearance, constants(appearance, lines, s))
        self._over.show(sheet)
        self._over.actor.SetVisibility(True)
        _set_uniforms(self._over.actor, per_view(own, lines, s) | tile)
        _show_marker(self._marker_over, own, tile)
        return self._over

    def _show_trajectory(self, view: View, tile: Values) -> None:
        line, places = view.appearance.trajectory, view.trajectory
        visible = line is not None and places is not None and len(places) > 1
        self._trajectory.SetVisibility(visible)
        if line is None or places is None or not visible:
            return
        heights = height_at(fill_all_holes(view.height), places) + line.width / 2
        path: Any = pv.lines_from_points(np.column_stack([places, heights]).astype(np.float32))  # type: ignore[arg-type]
        mapper: Any = self._trajectory.GetMapper()
        mapper.SetInputData(path.tube(radius=line.width / 2, n_sides=10, capping=True))
        light = np.array(line.light) * view.appearance.exposure
        _set_uniforms(self._trajectory, {"markerLight": light, "limbLight": light, "toEye": (0, 0, 1)} | tile)

    def _aim(self, view: View, picture: Size, low: float, high: float) -> tuple[float, float]:
        """Sets the camera; returns the distances of the near and far plane. low, high: of all surfaces."""
        camera, (right, up, ahead) = self._plotter.camera, view.pose.axes
        offset = lens_offset(view)
        eye = np.array(view.pose.position) + offset[0] * right + offset[1] * up
        # by VTK's own setters: PyVista's search the whole mesh for a range of depths, which is given below
        camera.SetPosition(*eye)
        camera.SetFocalPoint(*(eye + ahead))
        camera.SetViewUp(*view.pose.view_up)
        near, far = clip_range(view, picture, low, high)
        matrix = projection(view, picture, self.samples, near, far)
        camera.SetExplicitProjectionTransformMatrix(pv.vtkmatrix_from_array(matrix))
        return near, far

    def _plinth_actors(self, view: View, look_constants: Values) -> tuple[vtkActor, ...]:
        """The actors of the wall and the ground, updated to a view; empty, and hidden, without a plinth."""
        if view.appearance.plinth and self._plinth is None:
            self._plinth = _PlinthActors()
            self._add(*self._plinth.actors)
        if self._plinth is None:
            return ()
        for actor in self._plinth.actors:
            actor.SetVisibility(view.appearance.plinth is not None)
        if not view.appearance.plinth:
            return ()
        self._plinth.set_look(view.appearance, look_constants)
        self._plinth.show(view, view.appearance.plinth)
        return self._plinth.actors

    def _add(self, *actors: vtkActor) -> None:
        for actor in actors:
            self._plotter.renderer.AddActor(actor)


class _ShadedActor:
    """An actor with the surface's shaders, compiled for a look."""

    fragment = staticmethod(shading.fragment)

    def __init__(self, mesh: Any) -> None:
        self._mesh, self.actor = mesh, _actor(mesh, attributes=("colour", "relief"))
        self._shaders: tuple[shading.Shader, shading.Shader] | None = None

    def set_look(self, appearance: Appearance, look_constants: Values) -> None:
        """Compiles the shaders of a look, with its constants, unless the actor has them."""
        declared = shading.declare_constants(look_constants)
        shaders = shading.vertex(appearance, declared), self.fragment(appearance, declared)
        if self._shaders != shaders:
            self._shaders = shaders
            _set_shaders(self.actor, *shaders)


class _SurfaceActor(_ShadedActor):
    """The mesh of the drawn disc; only its points and attributes change from frame to frame."""

    def __init__(self, side: int, sides: tuple[float, float] = (1.0, 1.0)) -> None:
        self.sides, self._disc, self._stride = sides, disc(side, sides), 1 if side <= _LARGEST_BAKED else 2
        self._cut = np.zeros(len(self._disc.quads), bool)  # whether along the second diagonal
        triangles = self._disc.quads[:, DIAGONALS[0]].reshape(-1, 3)
        self._height: Array | None = None  # of the view that is shown, as are the next two
        self._colours: Array | None = None
        self._baked: tuple[float, ...] | None = None
        super().__init__(_polygons(self._disc.places, triangles, colour=3, relief=4))
        # looked up once, because PyVista is slow at it
        self._points, self._colour, self._relief = self._mesh.points, self._mesh["colour"], self._mesh["relief"]
        self._faces = to_numpy(self._mesh.GetPolys().GetConnectivityArray()).reshape(-1, 6)

    def show(self, view: View) -> None:
        """Updates heights, baked light and colours to a view, as far as they differ."""
        lighting = view.appearance.lighting
        baked = lighting.occlusion, lighting.shadow, lighting.key.azimuth, lighting.key.elevation
        if view.height is not self._height:
            self._set_height(view.height)
        if self._baked != baked:
            self._baked = baked
            self._bake(view.height, *baked)
        if view.colours is not self._colours:
            self._colours = view.colours
            self._colour[:] = view.colours.reshape(-1, 3).take(self._disc.vertices, axis=0)
            _mark_modified(self._mesh, "colour")

    def hides(self, eye: tuple[float, float, float], radius: float) -> bool:
        """Whether the surface lies over an eye; for an eye beyond `radius`, whether its edge there does in the mean."""
        x, y = eye[0] / self.sides[0], eye[1] / self.sides[1]
        distance = math.hypot(x, y)
        angles = math.atan2(y, x) + (0 if distance < radius else np.linspace(-_ARC, _ARC, 31))
        places = min(distance, radius) * np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(-1, 2)
        return bool(eye[2] < height_at(self._filled, places * self.sides).mean())

    def _set_height(self, height: Array) -> None:
        """Raises the mesh to other heights, and computes what the baked light needs of them."""
        self._height, self._baked, filled = height, None, fill_all_holes(height)
        self._slopes = slope_x, slope_y, _ = slopes(filled, self._disc.spacing)
        vertices = self._disc.vertices
        self._points[:, 2] = filled.take(vertices)
        self.low, self.high, self._filled = float(filled.min()), float(filled.max()), filled
        self._relief[:, 0], self._relief[:, 1] = slope_x.take(vertices), slope_y.take(vertices)
        coarse = np.ascontiguousarray(filled[::2, ::2])
        self._sun_height = filled if self._stride == 1 else coarse
        self._sky = bake.occlusion(coarse, 2 * self._disc.spacing)
        self._mesh.GetPoints().Modified()

    def _bake(self, height: Array, occlusion: float, shadow: float, azimuth: float, elevation: float) -> None:
        """Bakes the light of the sky and the key lamp, at its angles in radians."""
        side, vertices = len(height), self._disc.vertices
        sky = 1 - occlusion * (1 - upsample(self._sky, side))
        self._relief[:, 2] = np.where(np.isnan(height), _HOLE, sky).take(vertices)
        sun = bake.sunlight(self._sun_height, self._stride * self._disc.spacing, azimuth, elevation)
        sun = sun if self._stride == 1 else upsample(sun, side)
        self._relief[:, 3] = (1 - shadow * (1 - sun)).take(vertices)
        _mark_modified(self._mesh, "relief")
        second = second_diagonal(self._filled, self._slopes, sun, azimuth, elevation)
        self._cut_quads(second.take(self._disc.cells))

    def _cut_quads(self, cut: Array) -> None:
        """Cuts every quad along its first or second diagonal."""
        changed = np.flatnonzero(cut != self._cut)
        if changed.size:
            self._cut = cut
            for diagonal in (0, 1):
                quads = changed[cut[changed] == diagonal]
                self._faces[quads] = self._disc.quads[quads][:, DIAGONALS[diagonal]]
            self._mesh.GetPolys().Modified()
            self._mesh.Modified()


class _LineSheetActor(_ShadedActor):
    """The mesh of a second surface, of which only lines are drawn, a little above it."""

    fragment = staticmethod(shading.line_sheet)

    def __init__(self, side: int, sides: tuple[float, float]) -> None:
        self.sides, self._disc = sides, disc(side, sides)
        self._height: Array | None = None
        triangles = self._disc.quads[:, DIAGONALS[0]].reshape(-1, 3)
        super().__init__(_polygons(self._disc.places, triangles, colour=3, relief=4))

    def show(self, sheet: LineSheet) -> None:
        """Updates the heights, if they differ."""
        if sheet.height is self._height:
            return
        self._height, filled = sheet.height, fill_all_holes(sheet.height)
        slope_x, slope_y, _ = slopes(filled, self._disc.spacing)
        hole = np.where(np.isnan(sheet.height), _HOLE, 1.0)
        vertices = self._disc.vertices
        self._mesh.points[:, 2] = filled.take(vertices) + _LIFT
        self._mesh["relief"][:, :3] = np.stack([each.take(vertices) for each in (slope_x, slope_y, hole)], axis=-1)
        self.low, self.high = float(filled.min()), float(filled.max())
        self._mesh.GetPoints().Modified()
        _mark_modified(self._mesh, "relief")


class _PlinthActors(_ShadedActor):
    """The wall under the edge of a cast, and the ground with its shadow."""

    def __init__(self) -> None:
        self._outward, triangles = plinth.wall()
        super().__init__(_polygons(np.concatenate([self._outward, self._outward]), triangles, colour=3, relief=4))
        relief = self._mesh["relief"].reshape(2, plinth.AROUND, 4)
        relief[0, :, 2], relief[1, :, 2], relief[..., 3] = 1.0, 0.6, 1.0
        self._ground = _polygons(*plinth.ground(), shade=1)
        ground = _actor(self._ground, attributes=("shade",))
        _set_shaders(ground, shading.GROUND_VERTEX, shading.GROUND_FRAGMENT)
        self.actors = self.actor, ground
        self._shown: tuple[object, ...] | None = None
        self._height: Array | None = None

    def show(self, view: View, shape: Plinth) -> None:
        """Updates shape, colour and shadow to a view, if they differ."""
        lighting, radius = view.appearance.lighting, view.appearance.fade_end
        baked = lighting.occlusion, lighting.shadow, lighting.key.azimuth, lighting.key.elevation
        shown = *baked, shape, radius, view.sides
        if view.height is self._height and self._shown == shown:
            return
        self._height, self._shown, height = view.height, shown, fill_all_holes(view.height)
        sides = np.array(view.sides, np.float32)
        places = radius * self._outward * sides
        self._mesh["relief"].reshape(2, plinth.AROUND, 4)[..., :2] = -_UPRIGHT * (self._outward / sides)
        points = self._mesh.points.reshape(2, plinth.AROUND, 3)
        points[..., :2], points[0, :, 2], points[1, :, 2] = places, height_at(height, places), -shape.depth
        self._mesh["colour"][:] = shape.colour
        self._ground.points[:, 2] = -shape.depth
        self._ground["shade"][:] = plinth.ground_light(height, radius, shape.depth, lighting, view.sides)
        for mesh, name in ((self._mesh, "colour"), (self._mesh, "relief"), (self._ground, "shade")):
            mesh.GetPoints().Modified()
            _mark_modified(mesh, name)


def _show_marker(actor: vtkActor, view: View, tile: Values) -> None:
    """Updates a marker to a view; it is hidden where there is none."""
    marker, exposure = view.appearance.marker, view.appearance.exposure
    centre = marker_centre(view)
    actor.SetVisibility(bool(np.isfinite(centre).all()))
    actor.SetScale(marker.radius)
    actor.SetPosition(*np.nan_to_num(centre))
    light = np.array(marker.light) * exposure
    limb = np.array(marker.limb) * exposure if marker.limb else light
    eye = np.array(view.pose.position) - actor.GetPosition()
    toward_eye = eye / max(float(np.linalg.norm(eye)), 1e-9)
    _set_uniforms(actor, {"markerLight": light, "limbLight": limb, "toEye": toward_eye} | tile)


def _outside(hole: Region | None, window: Window, size: Size) -> Array | None:
    """1 outside a hole, 0 in it, for the pixels of a window of a size [H, W]; None without a hole."""
    if hole is None:
        return None
    kept = np.ones((size.height, size.width), np.float32)
    kept[_part(hole, window, size)] = 0
    return kept


def _part(region: Region, window: Window, size: Size) -> tuple[slice, slice]:
    """Rows and columns of a window, of a size, that a region of the picture fills."""
    (left, top, right, bottom), whole = region, window.picture_size
    rows = (round(edge * whole.height) - window.top for edge in (top, bottom))
    columns = (round(edge * whole.width) - window.left for edge in (left, right))
    return slice(*(min(max(0, row), size.height) for row in rows)), slice(
        *(min(max(0, c), size.width) for c in columns)
    )


def _polygons(places: Array, triangles: Array, **attributes: int) -> Any:
    """A PolyData over places [n, 2], at height 0. attributes: name and width of arrays with a row for every vertex."""
    mesh = pv.PolyData.from_regular_faces(np.column_stack([places, np.zeros(len(places), np.float32)]), triangles)
    for name, width in attributes.items():
        mesh[name] = np.zeros((len(places), width) if width > 1 else len(places), np.float32)
    return mesh


def _mark_modified(mesh: Any, name: str) -> None:
    """Tells VTK that an array of a mesh has changed, so that it is uploaded again."""
    mesh.GetPointData().GetArray(name).Modified()
    mesh.Modified()


def _set_shaders(actor: vtkActor, vertex: shading.Shader, fragment: shading.Shader) -> None:
    """Inserts declarations and bodies into an actor's shaders, in place of those inserted before."""
    shader = actor.GetShaderProperty()
    shader.ClearAllVertexShaderReplacements()
    shader.ClearAllFragmentShaderReplacements()
    for add, source, body in (
        (shader.AddVertexShaderReplacement, vertex, "//VTK::PositionVC::Impl"),
        (shader.AddFragmentShaderReplacement, fragment, "//VTK::Light::Impl"),
    ):
        for place, text in (("//VTK::PositionVC::Dec", source.declarations), (body, source.body)):
            add(place, True, f"{place}\n{text}", False)  # behind what VTK has there


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


def _set_uniforms(actor: vtkActor, values: Mapping[str, Any]) -> None:
    """Sets numbers and vectors, by name, in both shaders of an actor."""
    shader = actor.GetShaderProperty()
    for uniforms in (shader.GetVertexCustomUniforms(), shader.GetFragmentCustomUniforms()):
        for name, value in values.items():
            if isinstance(value, (float, int, np.floating)):
                uniforms.SetUniformf(name, float(value))
            else:
                uniforms.SetUniform3f(name, [float(x) for x in value])
