from dataclasses import replace

import numpy as np
import pytest

from studio.film.appearance import Nodes
from studio.film.frame import View
from studio.film.light import Fog, Lamp, Light, Panel
from studio.film.lines import Contours, Engraving, Wire
from studio.film.look import Look, gallery
from studio.film.pose import Orbit
from studio.film.resolve import resolve_appearance
from studio.render import shading
from studio.render.uniforms import constants, per_view

LAMP = Lamp(azimuth=10.0, elevation=30.0)
FULL = Look(
    light=Light(key=LAMP, rim=LAMP, fill=LAMP, environment=2 * (Panel(azimuth=20.0, elevation=40.0),)),
    contours=Contours(step=0.2, index=5),
    wire=Wire(along="view"),
    engraving=Engraving(),
    fog=Fog(),
    nodes=True,
)
HEIGHT = np.full((5, 5), 0.25, np.float32)
NODES = Nodes((0.0, 0.0), (0.2, 0.2))


def view_of(look: Look, azimuth: float = 30.0) -> View:
    pose = Orbit(azimuth, 40.0, 2.0, 30.0).pose((0.0, 0.0, 0.1))
    return View(HEIGHT, np.zeros((5, 5, 3), np.float32), pose, resolve_appearance(look, azimuth, (0.0, 1.0), NODES))


def test_constants_do_not_depend_on_the_camera():
    first, second = (view_of(FULL, azimuth).appearance for azimuth in (0.0, 77.0))
    assert shading.declare_constants(constants(first, 1080, 2)) == shading.declare_constants(constants(second, 1080, 2))


def test_no_value_is_both_constant_and_of_a_view():
    view = view_of(FULL)
    assert not set(constants(view.appearance, 1080, 2)) & set(per_view(view, 1080, 2))


@pytest.mark.parametrize("look", [*gallery().values(), FULL], ids=[*gallery(), "full"])
def test_every_value_is_used_in_a_shader_of_its_look(look):
    view = view_of(look)
    values = constants(view.appearance, 1080, 2) | per_view(view, 1080, 2)
    shaders = shading.vertex(view.appearance, ""), shading.fragment(view.appearance, "")
    text = " ".join(part for shader in shaders for part in shader)
    always = {"dimming", "dimmingSpread", "contourEvery", "contourStep", "contourIndex", "valueLow", "valueSlope"}
    assert [name for name in values if name not in text and name not in always] == []


def test_lines_keep_their_share_of_the_picture_but_are_half_a_pixel_wide_at_least():
    appearance = view_of(FULL.model_copy(update={"wire": Wire(width=2.0)})).appearance
    widths = [constants(appearance, lines, samples)["wireWidth"] for lines, samples in ((1080, 1), (2160, 2), (27, 2))]
    assert widths == [2.0, 8.0, 1.0]


def test_the_minimiser_in_a_hole_is_at_height_0():
    view = view_of(FULL)
    assert per_view(view, 1080, 1)["minimiser"] == (0.0, 0.0, 0.25)
    assert per_view(replace(view, height=HEIGHT * np.nan), 1080, 1)["minimiser"] == (0.0, 0.0, 0.0)
    assert per_view(replace(view, marker=(0.5, -0.5)), 1080, 1)["minimiser"] == (0.5, -0.5, 0.25)
    assert per_view(replace(view, marker=None), 1080, 1)["minimiser"][2] > 1e3  # its light reaches nothing


def test_the_axes_of_a_panel_are_perpendicular():
    values = per_view(view_of(FULL), 1080, 1)
    axes = np.array([values[f"panel{name}1"] for name in ("Direction", "Right", "Up")])
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-12)
