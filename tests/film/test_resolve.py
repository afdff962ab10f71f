"""A look's numbers, resolved: linear colours, radians, and lamps that follow the camera or stand still."""

import math

import numpy as np
import pytest

from studio.film.appearance import Nodes
from studio.film.colour import to_linear
from studio.film.light import Background, Grade, Lamp, Light, Lut, Panel
from studio.film.lines import Contours, Engraving, Marker, Plinth, Wire
from studio.film.look import Look, gallery
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading

LIGHT = Light(
    key=Lamp(azimuth=70.0, elevation=30.0, colour="#ff8000", intensity=2.0, glint=0.5, size=12.0),
    rim=Lamp(azimuth=200.0, elevation=15.0),
    environment=(Panel(azimuth=10.0, elevation=45.0, width=40.0, height=20.0, glint=3.0),),
)
LOOK = Look(light=LIGHT)
NODES = Nodes((0.0, 0.0), (0.2, 0.2))


def changed(**parts) -> Look:
    return LOOK.model_copy(update=parts)


@pytest.mark.parametrize("name", gallery())
def test_the_same_look_and_azimuth_resolve_to_equal_materials(name):
    look = gallery()[name]
    assert resolve_appearance(look, 33.0) == resolve_appearance(look, 33.0)


def test_lamps_follow_the_camera_unless_the_look_holds_them():
    still = changed(light=LIGHT.model_copy(update={"follow": False}))
    for look, turn in ((LOOK, 25.0), (still, 0.0)):
        lighting = resolve_appearance(look, 25.0).lighting
        assert lighting.key.azimuth == pytest.approx(math.radians(70.0 + turn))
        assert lighting.rim.azimuth == pytest.approx(math.radians(200.0 + turn))
        assert lighting.panels[0].azimuth == pytest.approx(math.radians(10.0 + turn))


def test_the_light_of_a_lamp_is_its_linear_colour_times_its_intensity():
    key = resolve_appearance(LOOK, 0.0).lighting.key
    assert key.light == tuple(2.0 * to_linear("#ff8000")) and key.glint == tuple(0.5 * to_linear("#ff8000"))
    assert key.size == pytest.approx(math.radians(12.0))


def test_a_panel_has_the_tangents_of_half_its_angles():
    [panel] = resolve_appearance(LOOK, 0.0).lighting.panels
    assert panel.half_size == pytest.approx((math.tan(math.radians(20.0)), math.tan(math.radians(10.0))))
    assert panel.glint == (3.0, 3.0, 3.0)


def test_what_a_look_leaves_out_is_none():
    appearance = resolve_appearance(LOOK, 0.0, nodes=NODES)
    parts = ("trajectory", "contours", "wire", "engraving", "fog", "plinth", "nodes")
    assert all(getattr(appearance, name) is None for name in parts)
    assert appearance.lighting.fill is None and appearance.marker.lamp is None and appearance.marker.limb is None


def test_profiles_turn_with_the_camera_and_other_wires_do_not():
    axes = {}
    for along in ("alpha", "beta", "both", "view"):
        wire = resolve_appearance(changed(wire=Wire(along=along)), 90.0).wire
        axes[along] = wire.axis, wire.families
    assert axes["alpha"] == ((1.0, 0.0), (False, True)) and axes["beta"] == ((1.0, 0.0), (True, False))
    assert axes["both"] == ((1.0, 0.0), (True, True)) and axes["view"][1] == (True, False)
    assert axes["view"][0] == pytest.approx((0.0, 1.0))


def test_strokes_are_counted_across_their_direction():
    engraving = resolve_appearance(changed(engraving=Engraving(every=0.02, angle=30.0)), 0.0).engraving
    assert np.hypot(*engraving.across) == pytest.approx(1 / 0.02)
    assert np.dot(engraving.across, (math.cos(math.radians(30)), math.sin(math.radians(30)))) == pytest.approx(0.0)


def test_the_height_scale_has_the_looks_scale_and_the_films_ends():
    scale = resolve_appearance(LOOK, 0.0, (-2.0, 1.0)).height_scale
    assert (scale.scale, scale.low, scale.high) == ("log", -2.0, 1.0)
    assert scale.exaggeration == LOOK.height.exaggeration


def test_numbers_that_need_no_resolving_are_the_looks_own():
    look = changed(contours=Contours(step=0.2, index=5), plinth=Plinth(depth=0.3), marker=Marker(lamp=0.5), nodes=True)
    appearance = resolve_appearance(look, 0.0, nodes=NODES)
    assert (appearance.contours.step, appearance.contours.index, appearance.plinth.depth) == (0.2, 5, 0.3)
    assert appearance.nodes == NODES and appearance.marker.lamp == tuple(0.5 * to_linear(look.marker.halo))
    assert (appearance.fade_start, appearance.fade_end, appearance.exposure) == (0.78, 0.98, look.grade.exposure)


def test_the_grading_is_the_grade_without_its_exposure():
    grade = Grade(exposure=3.0, contrast=1.2, bloom=0.1)
    grading = resolve_grading(grade)
    names = grading.__dataclass_fields__
    assert set(names) == set(Grade.model_fields) - {"exposure"}
    assert all(getattr(grading, name) == getattr(grade, name) for name in names)


def test_a_look_up_table_keeps_its_path_and_its_hash(tmp_path):
    corners = "\n".join(f"{r} {g} {b}" for b in (0, 1) for g in (0, 1) for r in (0, 1))
    (tmp_path / "a.cube").write_text(f"LUT_3D_SIZE 2\n{corners}\n")
    lut = Lut.model_validate(str(tmp_path / "a.cube"))
    resolved = resolve_grading(Grade(lut=lut)).lut
    assert (resolved.path, resolved.sha256) == (tmp_path / "a.cube", lut.sha256)


def test_the_background_is_linear_light():
    gradient = resolve_background(Background(bottom="#000000", top="#808080"))
    assert gradient.bottom == (0.0, 0.0, 0.0) and gradient.top == tuple(to_linear("#808080"))
