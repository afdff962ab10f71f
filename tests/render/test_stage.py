import hashlib
import itertools
import math
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from studio.config.units import Size
from studio.errors import MachineError
from studio.film.appearance import Nodes
from studio.film.colour import to_linear
from studio.film.fields import HeightMapping
from studio.film.format import subframes
from studio.film.frame import Frame, LineSheet, View, Window
from studio.film.light import MAX_LIGHT, Background, Fog, Grade, Lamp, Light, Material
from studio.film.lines import Contours, Engraving, Fade, Marker, Plinth, Wire
from studio.film.look import Look, looks
from studio.film.marks import Text
from studio.film.pose import Orbit
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading, resolve_wire
from studio.film.surface import height_at
from studio.film.timeline import Panel
from studio.render import bake, grade, linear_frame
from studio.render.stage import Stage

SIZE, MESH = Size(64, 36), 97
AXIS = np.linspace(-1, 1, MESH)
X, Y = np.meshgrid(AXIS, AXIS)
CRATER = (
    0.5 * np.exp(-((np.hypot(X, Y) - 0.55) ** 2) / 0.04) + 0.15 * X - 0.1 * Y + 0.12 * np.sin(6 * X + 1) * np.cos(5 * Y)
).astype(np.float32)
COLOURS = np.stack([0.15 + 1.2 * CRATER, 0.2 + 0.3 * CRATER, 0.5 - 0.6 * CRATER], axis=-1).clip(0, 1).astype(np.float32)

# Every number is written here: the looks that come with studio may be tuned without making these pictures anew.
LOOK = Look(
    light=Light(
        key=Lamp(azimuth=70.0, elevation=28.0, colour="#ffd0a0", intensity=2.4, glint=0.5, size=12.0),
        rim=Lamp(azimuth=200.0, elevation=16.0, colour="#7a9dff", intensity=1.1, glint=2.0, size=12.0),
        sky="#1a2450",
        horizon="#38406a",
        ground="#0a0608",
        ambient=1.0,
        occlusion=0.7,
        shadow=0.6,
        follow=True,
    ),
    material=Material(metallic=0.15, roughness=0.5),
    marker=Marker(radius=0.04, colour="#fffdf4", glow=0.5, spread=0.1, halo="#ffc070"),
    fade=Fade(start=0.8, end=0.98),
    background=Background(bottom="#03040a", top="#203060"),
    grade=Grade(exposure=1.2, bloom=0.1, threshold=0.8, saturation=1.0, vignette=0.3, grain=0.0),
    mesh=MESH,
)
LINES = LOOK.model_copy(update={"contours": Contours(every=0.1, width=0.5, opacity=0.8, colour="#ffffff")})
# black but for the marker
NIGHT = LOOK.model_copy(
    update={
        "light": Light(
            key=Lamp(azimuth=0.0, elevation=30.0, intensity=0.0, glint=0.0),
            rim=Lamp(azimuth=0.0, elevation=30.0, intensity=0.0, glint=0.0),
            ambient=0.0,
        ),
        "marker": Marker(radius=0.05, colour="#ffffff", glow=0.0),
        "background": Background(bottom="#000000", top="#000000"),
    }
)


def nodes(points: int) -> Nodes:
    return Nodes((0.0, 0.0), (2 / (points - 1), 2 / (points - 1)))


def view(
    azimuth=40.0, elevation=40.0, distance=1.8, look=LOOK, height=CRATER, focus=(0.0, 0.0, 0.1), points=3, **more
) -> View:
    pose = Orbit(azimuth, elevation, distance, 30.0).pose(focus)
    return View(height, COLOURS, pose, resolve_appearance(look, azimuth, nodes=nodes(points)), **more)


def frame(*views: View, number: int = 0, overlays=(), look: Look = LOOK) -> Frame:
    """A frame with the grading and the background of a look."""
    return Frame(number, views, overlays, resolve_grading(look.grade), resolve_background(look.background))


def holed(rows: slice, columns: slice) -> np.ndarray:
    height = CRATER.copy()
    height[rows, columns] = np.nan
    return height


def through_a_lens(shot: View, radius: float, focus: float, count: int) -> Frame:
    """What a lens sees, in so many sub-frames."""
    pose = replace(shot.pose, lens_radius=radius, focus=focus)
    return frame(
        *(
            replace(shot, pose=pose, weight=1 / count, jitter=s.jitter, lens_point=s.lens_point)
            for s in subframes(count)
        ),
        number=5,
    )


FRAMES = {
    "crater": frame(view()),
    "from-above": frame(view(elevation=90.0, distance=2.4), number=1),
    "hole": frame(view(azimuth=200.0, height=holed(slice(20, 40), slice(30, 60))), number=2),
    "lines": frame(view(azimuth=-100.0, elevation=50.0, look=LINES), number=3),
    "dissolve": frame(
        view(weight=0.6),
        view(azimuth=160.0, distance=1.6, weight=0.4),
        number=4,
        overlays=(Text("0.5", 0.1, 0.9, 0.3, 0.9),),
    ),
    "lens": through_a_lens(view(azimuth=10.0, elevation=25.0, look=LINES), radius=0.15, focus=1.25, count=16),
}
GOLDEN = Path(__file__).parent / "golden"


def pictures(order=tuple(FRAMES)) -> dict[str, np.ndarray]:
    """The golden frames as this machine draws them, on a fresh stage."""
    with Stage(SIZE, MESH) as stage:
        return {name: stage.draw(FRAMES[name]) for name in order}


def names_of(drawn: dict[str, np.ndarray]) -> dict[str, str]:
    """A hash of every picture's bytes."""
    return {name: hashlib.sha256(picture.tobytes()).hexdigest() for name, picture in sorted(drawn.items())}


def apart(picture: np.ndarray, golden: np.ndarray) -> tuple[float, float]:
    """Mean absolute difference in codes, and the share of pixels of which a channel is off by more than 12 codes."""
    off = np.abs(picture.astype(int) - golden)
    return float(off.mean()), float((off.max(axis=-1) > 12).mean())


def alike(picture: np.ndarray, golden: np.ndarray) -> bool:
    """Whether two GL drivers may have drawn the same frame.

    They may round a shaded light to the code beside, and put a sample on a silhouette on its other side: one of four,
    so up to a quarter of the contrast, on the few per cent of pixels that are silhouette. For a scale: nine samples a
    pixel instead of four are 0.5 codes and 1.4 % of pixels, a camera turned by 1.5 degrees is 1.5 codes.
    """
    mean, share = apart(picture, golden)
    return mean < 1.0 and share < 0.04


@pytest.fixture(scope="module")
def stage():
    with Stage(SIZE, MESH) as open_stage:
        yield open_stage


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    return pictures()


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_looks_as_it_did_when_it_was_approved(name, drawn):
    # `python tests/render/golden.py` writes them anew; look at them before committing
    golden = iio.imread(GOLDEN / f"{name}.png")
    assert drawn[name].shape == golden.shape == (36, 64, 3) and drawn[name].dtype == np.uint8
    assert alike(drawn[name], golden), (
        f"mean difference {apart(drawn[name], golden)[0]:.2f} codes, {apart(drawn[name], golden)[1]:.1%} of pixels off"
    )


def relit(**lamp) -> Look:
    return LOOK.model_copy(
        update={"light": LOOK.light.model_copy(update={"key": LOOK.light.key.model_copy(update=lamp)})}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        frame(view(azimuth=41.5)),
        frame(view(elevation=36.5)),
        frame(view(distance=2.45)),
        frame(view(focus=(0.0, 0.0, 0.13))),
        frame(view(look=relit(azimuth=60.0))),
        frame(view(look=relit(intensity=2.2))),
        frame(view(height=1.1 * CRATER)),
        frame(view(height=CRATER[::-1].copy())),
        frame(view(look=LINES)),
        frame(view(), overlays=(Text("0.5", 0.1, 0.9, 0.3, 0.9),)),
        frame(view(look=LOOK.model_copy(update={"fade": Fade(start=0.7, end=0.9)}))),
        frame(view(height=holed(slice(66, 76), slice(66, 76)))),
        through_a_lens(view(), radius=0.2, focus=1.25, count=16),
    ],
    ids=[
        "turned",
        "raised",
        "further",
        "higher",
        "key lamp moved",
        "key lamp dimmer",
        "steeper",
        "mirrored",
        "lines",
        "text",
        "faded",
        "holed",
        "blurred",
    ],
)
def test_a_wrong_picture_is_caught(wrong, stage):
    assert not alike(stage.draw(wrong), iio.imread(GOLDEN / "crater.png"))


def test_the_same_frame_is_the_same_bytes_in_any_order_and_after_any_other(drawn, stage):
    assert names_of(pictures(tuple(reversed(FRAMES)))) == names_of(drawn)
    for name in ("dissolve", "crater", "crater", "hole", "lines", "from-above", "crater"):
        assert np.array_equal(stage.draw(FRAMES[name]), drawn[name])
    assert np.array_equal(stage.draw(pickle.loads(pickle.dumps(FRAMES["hole"]))), drawn["hole"])


def test_two_fresh_processes_draw_the_same_bytes_with_any_number_of_threads(drawn):
    code = "import runpy, sys; m = runpy.run_path(sys.argv[1]); print(m['names_of'](m['pictures']()))"
    hashes = []
    for threads in ("0", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, __file__],
            env={**os.environ, "LP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.append(done.stdout.strip())
    assert hashes == [str(names_of(drawn))] * 2


def light_of(stage: Stage, *views: View, look: Look = LOOK) -> np.ndarray:
    """The light of some views [H, W, 3] over the background of a look."""
    light = stage.light(frame(*views))
    return light[..., :3] + (1 - light[..., 3:]) * behind(look, len(light))[:, None]


def behind(look: Look = LOOK, lines: int = 36) -> np.ndarray:
    """The background [lines, 3] in linear light, from top to bottom."""
    up = (lines - 0.5 - np.arange(lines))[:, None] / lines
    return to_linear(look.background.bottom) * (1 - up) + to_linear(look.background.top) * up


def projected(point, pose) -> tuple[float, float]:
    """Pixel coordinates (x, y) of a point, from the top left, by a pinhole camera."""
    eye, focus, up = map(np.array, (pose.position, pose.focal_point, pose.view_up))
    ahead = (focus - eye) / np.linalg.norm(focus - eye)
    right = np.cross(ahead, up)
    seen = np.array(point) - eye
    scale = 18 / math.tan(math.radians(pose.view_angle / 2)) / (seen @ ahead)
    return 32 + scale * (seen @ right), 18 - scale * (seen @ np.cross(right, ahead))


@pytest.mark.parametrize(
    ("azimuth", "elevation", "distance", "focus"),
    [
        (0.0, 35.0, 2.0, (0.0, 0.0, 0.0)),
        (130.0, 60.0, 1.5, (0.2, -0.1, 0.1)),
        (-75.0, 89.0, 2.5, (0.3, 0.3, 0.0)),
        (10.0, 90.0, 2.0, (-0.2, 0.1, 0.0)),
    ],
)
@pytest.mark.parametrize(("depth", "place"), [(0.0, (0.0, 0.0)), (0.3, (0.0, 0.0)), (0.1, (0.15, -0.25))])
def test_the_marker_stands_where_its_place_is_projected(azimuth, elevation, distance, focus, depth, place, stage):
    height = (depth + 0.1 * (X**2 + Y**2)).astype(np.float32)
    shot = view(azimuth, elevation, distance, NIGHT, height, focus, marker=place)
    light = light_of(stage, shot, look=NIGHT).sum(axis=-1)
    rows, columns = np.indices(light.shape)
    centre = (light * (columns + 0.5)).sum() / light.sum(), (light * (rows + 0.5)).sum() / light.sum()
    # a ball a few pixels wide, sampled four times a pixel, its foot under the surface
    x, y = place
    middle = projected((x, y, depth + 0.1 * (x * x + y * y) + 0.9 * 0.05), shot.pose)
    assert centre == pytest.approx(middle, abs=0.5)
    assert light.max() > 1


def test_without_a_marker_there_is_neither_a_ball_nor_its_light(stage):
    glowing = NIGHT.model_copy(update={"marker": Marker(radius=0.05, glow=3.0, lamp=1.0, dimming=0.5)})
    assert light_of(stage, view(look=glowing, marker=None), look=glowing).max() < 1e-6
    assert light_of(stage, view(look=glowing), look=glowing).max() > 1


def test_alpha_is_x_and_beta_is_y_seen_from_above_with_beta_to_the_right(stage):
    # azimuth 0 looks from +alpha: +beta is on the right, +alpha is below
    for name, where, expected in (
        ("alpha", (MESH // 2, MESH * 3 // 4), (0, 1)),
        ("beta", (MESH * 3 // 4, MESH // 2), (1, 0)),
    ):
        colours = np.zeros_like(COLOURS)
        colours[where[0] - 3 : where[0] + 4, where[1] - 3 : where[1] + 4] = 1.0
        lit = LOOK.model_copy(update={"marker": Marker(radius=0.001, glow=0.0), "background": NIGHT.background})
        flat = np.zeros_like(CRATER)
        shot = View(flat, colours, Orbit(0.0, 90.0, 2.4, 30.0).pose((0.0, 0.0, 0.0)), resolve_appearance(lit, 0.0))
        dark = light_of(stage, replace(shot, colours=np.zeros_like(COLOURS)))
        row, column, _ = np.unravel_index(np.argmax(light_of(stage, shot) - dark), dark.shape)
        assert (
            np.sign(column - 31.5) * (abs(column - 31.5) > 4),
            np.sign(row - 17.5) * (abs(row - 17.5) > 4),
        ) == expected, name


def test_a_hole_shows_the_background(stage):
    height = holed(slice(20, 40), slice(30, 60))
    light = light_of(stage, view(elevation=80.0, height=height))
    x, y = projected((AXIS[45], AXIS[30], 0.1), view(elevation=80.0).pose)
    # only rounding: nothing is drawn there
    assert light[int(y), int(x)] == pytest.approx(behind()[int(y)], abs=1e-6)
    assert light[int(y), int(x)] != pytest.approx(light_of(stage, view(elevation=80.0))[int(y), int(x)], abs=0.05)


def test_where_nothing_was_measured_there_is_only_the_background_and_no_marker(stage):
    light = light_of(stage, view(height=np.full_like(CRATER, np.nan)))
    assert light == pytest.approx(np.broadcast_to(behind()[:, None], light.shape), abs=1e-6)


def test_outside_the_disc_is_the_background_and_its_edge_fades_into_it(stage):
    light = light_of(stage, view(elevation=90.0, distance=2.4))
    assert light[:, :8] == pytest.approx(np.broadcast_to(behind()[:, None], (36, 8, 3)), abs=1e-6)
    edge = light_of(
        stage, view(elevation=90.0, distance=2.4, look=LOOK.model_copy(update={"fade": Fade(start=0.1, end=0.12)}))
    )
    ring = np.ones((36, 64), bool)
    ring[12:24, 26:38] = False
    assert edge[ring] == pytest.approx(np.broadcast_to(behind()[:, None], light.shape)[ring], abs=1e-6)


def test_an_oblong_window_fades_out_in_an_ellipse_and_leaves_nothing_behind(stage, drawn):
    oblong = View(FLAT, COLOURS, ABOVE, resolve_appearance(LOOK, 0.0), sides=(1.0, 0.5))
    with Stage(Size(256, 144), MESH) as large:
        cover = large.light(frame(oblong))[..., 3]
    scale = 72 / (2.4 * math.tan(math.atan(12 / 30)))
    row, column = np.indices(cover.shape)
    radius = np.hypot((row + 0.5 - 72) / scale, (column + 0.5 - 128) / scale / 0.5)
    share = np.clip((LOOK.fade.end - radius) / (LOOK.fade.end - LOOK.fade.start), 0, 1)
    # linear between the vertices of a mesh of 2 / 64, which are 0.06 of the half side apart along beta
    assert cover == pytest.approx(share * share * (3 - 2 * share), abs=0.08)
    stage.draw(frame(oblong))
    assert np.array_equal(stage.draw(FRAMES["crater"]), drawn["crater"])


def test_light_is_linear_in_the_exposure(stage):
    def exposed(exposure: float) -> np.ndarray:
        dark = LOOK.model_copy(
            update={
                "grade": LOOK.grade.model_copy(update={"exposure": exposure}),
                "background": NIGHT.background,
                "marker": Marker(radius=0.001, glow=0.0),
            }
        )
        return light_of(stage, view(look=dark), look=dark)

    dim, bright = exposed(0.4), exposed(0.8)
    assert 0.1 < dim.max() < MAX_LIGHT / 2
    # a code of a root is 2 * sqrt(4 * light) / 65535 of light: one of the dimmer, doubled, and one of the brighter
    assert (np.abs(bright - 2 * dim) < 6 * np.sqrt(MAX_LIGHT * np.maximum(bright, 1e-3)) / 65535).all()


def test_a_dissolve_is_a_mixture_of_light_before_the_grading(stage):
    first, second = view(), view(azimuth=160.0)
    alone = 0.3 * stage.light(frame(first)) + 0.7 * stage.light(frame(second))
    mixed = stage.light(frame(replace(first, weight=0.3), replace(second, weight=0.7)))
    assert mixed == pytest.approx(alone, abs=1e-6)  # sums in float32


def test_lamps_follow_the_camera_unless_follow_is_false(stage):
    hill = (0.4 * np.exp(-(X**2 + Y**2) / 0.1)).astype(np.float32)
    still = LOOK.model_copy(update={"light": LOOK.light.model_copy(update={"follow": False})})

    def change(look: Look) -> float:
        a, b = (
            replace(view(azimuth, look=look, height=hill), colours=np.full_like(COLOURS, 0.5))
            for azimuth in (40.0, 130.0)
        )
        return float(np.abs(light_of(stage, a) - light_of(stage, b)).mean())

    # a round hill looks the same from all sides; a quarter turn takes the square mesh onto itself
    assert change(LOOK) < 1e-3 and change(still) > 2e-2


def test_more_samples_change_only_the_edges(stage):
    with Stage(SIZE, MESH, samples=4) as finer:
        few, many = light_of(stage, view()), light_of(finer, view())
    assert np.median(np.abs(few - many)) < 0.01 and 1e-4 < np.abs(few - many).mean() < 0.02


def test_shadow_and_occlusion_darken_and_only_as_much_as_asked(stage):
    means = []
    for share in (0.0, 0.5, 1.0):
        light = LOOK.light.model_copy(update={"shadow": share, "occlusion": share})
        means.append(float(light_of(stage, view(look=LOOK.model_copy(update={"light": light}))).mean()))
    assert means[0] > means[1] > means[2] > 0


# --- what a look may add


def make_look(**parts) -> Look:
    return LOOK.model_copy(update=parts)


def matt(colour: str = "#808080", **parts) -> Look:
    """A look lit evenly from everywhere, without glints, fading or a marker to speak of."""
    lamp = Lamp(azimuth=0.0, elevation=90.0, intensity=0.0, glint=0.0)
    even = {"sky": "#ffffff", "horizon": "#ffffff", "ground": "#ffffff", "occlusion": 0.0, "shadow": 0.0}
    return make_look(
        light=Light(key=lamp, rim=lamp, ambient=1.0, **even),
        material=Material(metallic=0.0, roughness=1.0),
        marker=Marker(radius=0.001, glow=0.0),
        grade=LOOK.grade.model_copy(update={"exposure": 1.0}),
        **parts,
    )


FLAT = np.zeros_like(CRATER)
ABOVE = Orbit(0.0, 90.0, 2.4, 30.0).pose((0.0, 0.0, 0.0))


def above(look: Look, height: np.ndarray = FLAT, azimuth=0.0, ends=(0.0, 1.0), points=3) -> View:
    return View(height, np.full_like(COLOURS, 0.2), ABOVE, resolve_appearance(look, azimuth, ends, nodes(points)))


@pytest.fixture(scope="module")
def large():
    with Stage(Size(256, 144), MESH) as open_stage:
        yield open_stage


def pixel(light: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """The light at a place of the plane, seen from straight above with +alpha below and +beta to the right."""
    scale = 72 / (2.4 * math.tan(math.atan(12 / 30)))
    return light[int(72 + scale * alpha), int(128 + scale * beta)]


@pytest.mark.parametrize(
    "part",
    [
        {"contours": Contours(step=0.2, index=5)},
        {"wire": Wire()},
        {"engraving": Engraving()},
        {"fog": Fog()},
        {"plinth": Plinth()},
        {"nodes": True},
        {"light": LOOK.light.model_copy(update={"fill": Lamp(azimuth=0.0, elevation=60.0)})},
    ],
    ids=lambda part: next(iter(part)),
)
def test_a_part_is_seen_and_gone_without_a_trace_when_the_look_changes_back(part, stage, drawn):
    # the same window draws one look after another
    assert not alike(stage.draw(frame(view(look=make_look(**part), points=11))), drawn["crater"])
    assert np.array_equal(stage.draw(FRAMES["crater"]), drawn["crater"])


def test_lines_of_a_wire_lie_where_they_run_and_nowhere_else(large):
    for along, on, off in (("alpha", (0.1, 0.25), (0.25, 0.1)), ("beta", (0.25, 0.1), (0.1, 0.25))):
        light = light_of(large, above(matt(wire=Wire(along=along, every=0.25, width=8.0, colour="#ffffff"))))
        assert pixel(light, *on).min() > 0.9 and pixel(light, *off).max() < 0.4


def lined(shot: View, height: np.ndarray, **wire) -> View:
    """A view with a second surface as lines over the first."""
    lines = resolve_wire(Wire(**{"every": 0.25, "colour": "#ffffff", **wire}), 0.0)
    return replace(shot, over=LineSheet(np.asarray(height, np.float32), lines, (0.4, 0.4)))


def test_of_a_second_surface_only_the_lines_are_drawn_and_only_where_it_is_not_below_the_first(large):
    alone, high = above(matt()), FLAT + 0.01
    plain, drawn = (light_of(large, shot) for shot in (alone, lined(alone, high, along="alpha", width=8.0)))
    assert pixel(drawn, 0.1, 0.25).min() > 0.9 and np.array_equal(pixel(drawn, 0.25, 0.1), pixel(plain, 0.25, 0.1))
    assert np.array_equal(light_of(large, lined(alone, FLAT - 0.01)), plain)
    nothing = light_of(large, lined(alone, np.full_like(FLAT, np.nan)))
    assert np.array_equal(nothing, plain)


def test_a_second_surface_is_gone_without_a_trace_and_has_a_marker_of_its_own(stage, drawn):
    shot = view()
    assert not alike(stage.draw(frame(lined(shot, CRATER + 0.1))), drawn["crater"])
    assert np.array_equal(stage.draw(FRAMES["crater"]), drawn["crater"])
    with_marker = lined(shot, CRATER, opacity=0.0)
    without = replace(with_marker, over=replace(with_marker.over, marker=None))
    apart = np.abs(light_of(stage, with_marker) - light_of(stage, without)).max(axis=-1) > 0.05
    stands = float(height_at(CRATER, np.array([[0.4, 0.4]]))[0]) + 0.9 * LOOK.marker.radius
    ahead = projected((0.4, 0.4, stands), shot.pose)
    rows, columns = np.nonzero(apart)
    assert np.hypot(columns.mean() - ahead[0], rows.mean() - ahead[1]) < 1.5


def test_lines_of_a_second_surface_have_no_seams_in_tiles(both):
    full, part = both
    look = Look.model_validate({"base": "ember", "mesh": MESH})
    shot = frame(lined(view(look=look, elevation=25.0), CRATER + 0.05, every=0.06), look=look)
    direct, tiles = full.light(shot), tiled(part, shot)
    # a sample is drawn or not, so the last digit decides some; a seam of 270 pixels would be 2e-3
    assert (np.abs(direct - tiles).max(axis=-1) > 1e-3).mean() <= 1e-4


def test_profiles_turn_with_the_camera(large):
    wire = matt(wire=Wire(along="view", every=0.25, width=8.0, colour="#ffffff"))
    light = light_of(large, above(wire))
    turned = light_of(large, above(wire, azimuth=90.0))
    # from azimuth 0 they run along beta; the camera's place is left as it was
    assert pixel(light, 0.25, 0.1).min() > 0.9 > 0.4 > pixel(light, 0.1, 0.25).max()
    assert pixel(turned, 0.1, 0.25).min() > 0.9 > 0.4 > pixel(turned, 0.25, 0.1).max()


@pytest.mark.parametrize(("scale", "of"), [("linear", float), ("sqrt", math.sqrt), ("log", math.log)])
def test_a_contour_lies_at_a_whole_step_of_the_loss_on_any_scale(scale, of, large):
    # a cone whose height scale runs from 1 at the middle to 9 at radius 1
    low, high = of(1.0), of(9.0)
    cone = (0.5 * np.hypot(X, Y)).astype(np.float32)
    lines = Contours(step=2.0, width=8.0, opacity=1.0, colour="#ffffff")
    look = matt(contours=lines, height=HeightMapping(scale=scale, exaggeration=0.5))
    light = light_of(large, above(look, cone, ends=(low, high)))
    seen = light[:, :, 0] > 0.3

    def at(loss: float) -> bool:
        """On the screen: the cone comes nearer to the eye as it rises."""
        radius = (of(loss) - low) / (high - low)
        scale_ = 72 / ((2.4 - 0.5 * radius) * math.tan(math.atan(12 / 30)))
        return bool(seen[72, int(128 + scale_ * radius)])

    assert [at(loss) for loss in (2.0, 4.0, 6.0)] == [True] * 3
    assert [at(loss) for loss in (3.0, 5.0)] == [False] * 2


def test_every_index_contour_is_twice_as_wide(large):
    ramp = (0.25 * (X + 1)).astype(np.float32)
    lines = Contours(every=0.08, width=16.0, opacity=1.0, colour="#ffffff", index=2)
    row = light_of(large, above(matt(contours=lines), ramp))[:, 128, 0] > 0.5
    lengths = [len(run) for run in "".join("x" if on else " " for on in row).split() if run]
    inner = lengths[1:-1]
    assert len(inner) >= 3
    for first, second in itertools.pairwise(inner):
        assert 1.4 < max(first, second) / min(first, second) < 2.7  # widths of few pixels


def test_an_engraving_is_ink_on_paper_and_has_more_of_it_where_it_is_dark(large):
    look = Engraving(every=0.2, ink="#000000", paper="#ffffff")
    dark, bright = (
        light_of(large, replace(above(matt(engraving=look)), colours=np.full_like(COLOURS, tone)))
        for tone in (0.05, 0.5)
    )
    middle = slice(52, 92), slice(108, 148)
    assert 0.1 < dark[middle].mean() < bright[middle].mean() < 0.95
    for light in (dark, bright):
        # pixels that are all ink and all paper
        assert (light[middle] < 1e-4).mean() > 0.02 and light[middle].max() > 0.97


def test_fog_takes_the_light_of_what_is_far_and_leaves_what_is_near(large):
    fog = Fog(start=2.0, reach=0.5, colour="#0000ff")
    light = light_of(large, above(matt(fog=fog), height=np.where(X > 0, 0.8, 0.0).astype(np.float32)))
    near, far = pixel(light, 0.3, 0.0), pixel(light, -0.3, 0.0)
    # 1.6 away there is none; at 2.42, the slant of 2.4, its share is 1 - exp(-0.42 / 0.5)
    assert near[0] == pytest.approx(near[2], abs=0.02)
    share = 1 - math.exp(-(math.hypot(2.4, 0.3) - 2.0) / 0.5)
    assert far[2] - far[0] == pytest.approx(share, abs=0.05)


def test_nodes_are_dots_on_the_measured_points_and_stay_round_on_a_slope(large):
    for height in (FLAT, (0.4 * X).astype(np.float32)):
        light = light_of(large, above(matt(nodes=True), height, points=11))
        bare = light_of(large, above(matt(), height))
        changed = np.abs(light - bare).max(axis=-1) > 0.03
        x, y = projected((0.2, 0.4, float(0.4 * 0.2) if height.any() else 0.0), ABOVE)
        row, column = int(4 * y), int(4 * x)
        near = changed[row - 6 : row + 7, column - 6 : column + 7]
        rows, columns = np.nonzero(near)
        # a dot of two pixels, counted in whole ones
        expected = 4 * y - row - 0.5, 4 * x - column - 0.5
        assert (rows.mean() - 6, columns.mean() - 6) == pytest.approx(expected, abs=0.8)
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 1 and 1 <= np.ptp(rows) <= 4


def test_a_cast_ends_in_a_sharp_edge_and_a_shadow_on_the_side_away_from_the_lamp(large):
    light = LOOK.light.model_copy(update={"follow": False})
    look = make_look(plinth=Plinth(depth=0.1), background=Background(bottom="#808080", top="#808080"), light=light)
    cast = View(0 * CRATER + 0.3, 0 * COLOURS, ABOVE, resolve_appearance(look, 0.0))
    drawn = light_of(large, cast, look=look)
    ground = to_linear("#808080")[0]
    away = np.radians(LOOK.light.key.azimuth + 180)
    shadow, free = (pixel(drawn, 0.9 * s * np.cos(away), 1.28 * s * np.sin(away)) for s in (1, -1))
    assert shadow.max() < 0.8 * ground and free == pytest.approx([ground] * 3, abs=0.02)


def test_a_cast_hides_no_hole_and_its_wall_stands_where_the_disc_ends(stage):
    look = make_look(plinth=Plinth(depth=0.2, colour="#ffffff"))
    side = light_of(stage, view(elevation=8.0, distance=2.6, look=look, height=0 * CRATER + 0.2))
    without = light_of(stage, view(elevation=8.0, distance=2.6, height=0 * CRATER + 0.2))
    assert np.abs(side - without).max(axis=-1)[20:26, 26:38].min() > 0.01  # the wall covers the middle below the rim
    hole = light_of(stage, view(look=look, height=holed(slice(20, 40), slice(30, 60))))
    assert not np.array_equal(hole, light_of(stage, view(look=look)))


def test_a_line_is_as_wide_on_a_poster_as_on_its_proof_but_never_thinner_than_half_a_pixel():
    wire = matt(wire=Wire(along="alpha", every=0.5, width=30.0, colour="#ffffff"))
    shares = []
    for size in (Size(128, 72), Size(256, 144)):
        with Stage(size, MESH) as fresh:
            light = light_of(fresh, above(wire))
            shares.append(float((light[..., 0] > 0.5).mean()))
    assert shares[0] == pytest.approx(shares[1], rel=0.1)  # the edges of lines four pixels wide
    with Stage(Size(128, 72), MESH) as fresh:
        hair = light_of(fresh, above(matt(wire=Wire(along="alpha", every=0.5, width=0.01, colour="#ffffff"))))
    assert hair[..., 0].max() > 0.3


def test_a_stage_larger_than_gl_can_draw_says_so_instead_of_drawing_black():
    with pytest.raises(MachineError, match=r"15360x8640 with 2 samples .* take fewer samples"):
        Stage(Size(15360, 8640), MESH, samples=2)


def test_the_renderer_has_a_name_that_is_known_without_drawing(capfd):
    with Stage(Size(16, 16), 33, 1) as fresh:
        assert fresh.renderer not in ("", "unknown")
    assert "ERR" not in capfd.readouterr().err  # a shader without its uniforms fills the screen


# --- parts of a picture, depth


WHOLE, PART = Size(480, 270), Size(160, 90)


@pytest.fixture(scope="module", params=[1, 2], ids=["one sample", "four samples"])
def both(request):
    with Stage(WHOLE, MESH, request.param) as full, Stage(PART, MESH, request.param) as part:
        yield full, part


def tiled(part: Stage, shot: Frame, drawn=Stage.light) -> np.ndarray:
    """A frame of nine parts."""
    rows = [
        np.concatenate([drawn(part, shot, Window(left, top, WHOLE)) for left in range(0, 480, 160)], axis=1)
        for top in range(0, 270, 90)
    ]
    return np.concatenate(rows)


@pytest.mark.parametrize("name", looks())
def test_a_picture_of_tiles_is_the_picture_in_every_look(name, both):
    full, part = both
    look = Look.model_validate({"base": name, "mesh": MESH})
    shot = frame(
        view(look=look, elevation=25.0, jitter=(0.3, -0.2), lens_point=(0.5, 0.5), points=11, weight=0.5),
        view(130.0, 70.0, look=look, points=11, weight=0.5),
        look=look,
    )
    shot = replace(shot, views=tuple(replace(v, pose=replace(v.pose, lens_radius=0.02, focus=1.5)) for v in shot.views))
    direct, tiles = (
        grade.picture(linear_frame.encode(light), shot).to_array() for light in (full.light(shot), tiled(part, shot))
    )
    assert direct.std() > 3 and (np.abs(direct.astype(int) - tiles).max(axis=-1) > 1).mean() <= 1e-5


def test_depth_is_the_distance_along_the_line_of_sight_through_the_middle_of_every_pixel():
    for samples in (1, 2, 3):
        with Stage(SIZE, MESH, samples) as fresh:
            depth = fresh.depth(frame(view(80.0, 50.0, look=matt(), height=FLAT, focus=(0.0, 0.0, 0.0))))
        # the plane z = 0 from 1.8 * sin(50 deg) above it, by rays through the middles of pixels
        up = (18 - (np.arange(36) + 0.5))[:, None] / 18 * math.tan(math.atan(12 / 30))
        tilt = math.radians(50.0)
        expected = 1.8 * math.sin(tilt) / (math.sin(tilt) - up * math.cos(tilt)) * np.ones((1, 64))
        inside = ~np.isnan(depth)
        assert inside.mean() > 0.3 and depth[inside] == pytest.approx(expected[inside], abs=1e-4)  # 24 bits of depth


def test_depth_ends_where_the_disc_does_and_tiles_have_the_same(both):
    full, part = both
    shot = frame(view(elevation=30.0, jitter=(0.4, 0.4)))
    depth = full.depth(shot)
    assert np.array_equal(np.isnan(depth), np.isnan(tiled(part, shot, Stage.depth)))
    cover = full.light(frame(view(elevation=30.0)))[..., 3]
    # the outermost of the fade covers less than half a code
    assert not np.isnan(depth[cover == 1]).any() and np.isnan(depth[cover == 0]).mean() > 0.99


# --- alpha


def test_what_is_drawn_covers_wholly_a_hole_not_at_all_and_the_edge_in_between(stage):
    light = stage.light(frame(view(elevation=80.0, height=holed(slice(20, 40), slice(30, 60)))))
    x, y = projected((AXIS[45], AXIS[30], 0.1), view(elevation=80.0).pose)
    assert (light[int(y), int(x)] == 0).all()
    x, y = projected((0.3, 0.4, 0.1), view(elevation=80.0).pose)
    assert light[int(y), int(x), 3] == 1 and light[int(y), int(x), :3].min() > 0
    edge = light[..., 3][(light[..., 3] > 0.05) & (light[..., 3] < 0.95)]
    assert len(edge) > 20


def test_light_is_multiplied_by_what_it_covers(stage):
    faded = matt(fade=Fade(start=0.1, end=0.9))
    light, full = (stage.light(frame(above(look))) for look in (faded, matt(fade=Fade(start=0.95, end=0.99))))
    inside = full[..., 3] == 1
    # the mean of four products is the product of two means but for how both change across a pixel
    assert light[inside][:, :3] == pytest.approx(full[inside][:, :3] * light[inside][:, 3:], abs=1e-4)
    assert light[inside][:, 3].min() < 0.2


def test_the_ground_under_a_cast_is_its_shadow_alone(large):
    look = make_look(plinth=Plinth(depth=0.1), light=LOOK.light.model_copy(update={"follow": False}))
    light = large.light(frame(View(0 * CRATER + 0.3, 0 * COLOURS, ABOVE, resolve_appearance(look, 0.0))))
    away = np.radians(LOOK.light.key.azimuth + 180)
    shadow, free = (pixel(light, 0.9 * s * np.cos(away), 1.28 * s * np.sin(away)) for s in (1, -1))
    assert 0.2 < shadow[3] < 0.9 and free[3] < 0.05
    assert max(shadow[:3].max(), free[:3].max()) == 0


# --- sub-frames


def centroid(light: np.ndarray) -> np.ndarray:
    weight = light[..., :3].sum(axis=-1)
    rows, columns = np.indices(weight.shape) + 0.5
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


SPARK = NIGHT.model_copy(update={"marker": Marker(radius=0.05, colour="#ffffff", glow=0.0)})


def test_a_jitter_moves_the_samples_by_its_share_of_a_sample(large):
    still = centroid(large.light(frame(view(look=SPARK))))
    for jitter in ((0.5, 0.0), (0.0, -0.5), (-0.25, 0.25)):
        moved = centroid(large.light(frame(view(look=SPARK, jitter=jitter))))
        # samples go one way, so the picture goes the other; there are two a side; the ball is drawn by 300 samples
        assert moved - still == pytest.approx(-np.array(jitter) / 2, abs=0.05)


@pytest.mark.parametrize("focus", [0.9, 1.8, 5.0])
def test_a_thin_lens_spreads_what_is_out_of_focus_as_it_should(focus, large):
    small = SPARK.model_copy(update={"marker": SPARK.marker.model_copy(update={"radius": 0.02})})
    shot, radius = view(look=small, focus=(0.0, 0.0, 0.0), height=FLAT), 0.03
    shot = replace(shot, pose=replace(shot.pose, lens_radius=radius, focus=focus))
    left, right, low, high = (
        centroid(large.light(frame(replace(shot, lens_point=place)))) for place in ((-1, 0), (1, 0), (0, -1), (0, 1))
    )
    eye = np.array(shot.pose.position)
    away = -(np.array([0, 0, 0.9 * 0.02]) - eye) @ eye / np.linalg.norm(eye)
    # a point at `away` is seen from two ends of the lens, 2 * radius apart, on a film that both shift to `focus`
    spread = 2 * radius * (1 / focus - 1 / away) * 72 / math.tan(math.atan(12 / 30))
    # a ball that is six pixels wide, of two samples each
    assert right - left == pytest.approx([spread, 0.0], abs=0.12)
    assert high - low == pytest.approx([0.0, -spread], abs=0.12)


@pytest.mark.parametrize("exposure", [1e-7, 1e-4, 1e-2, 1.0])
def test_light_is_kept_to_a_code_of_sixteen_bits_and_has_no_noise_however_dark_it_is(exposure, large):
    look = matt()
    dark = look.model_copy(update={"grade": look.grade.model_copy(update={"exposure": exposure})})
    codes = large.linear_frame(frame(above(dark)))[52:92, 108:148, :3]
    # light of 1 from everywhere on a colour of 0.2, and a reflectance of 0.04 besides
    exact = 65535 * math.sqrt(exposure * 0.24 / MAX_LIGHT)
    assert np.abs(codes - exact).max() <= 1  # half a code of a sample, half a code of the mean


def test_a_linear_frame_is_the_codes_of_its_light(stage):
    for shot in (frame(view()), frame(view(weight=0.5), view(azimuth=70.0, weight=0.5))):
        apart = stage.linear_frame(shot).astype(int) - linear_frame.encode(stage.light(shot))
        assert np.abs(apart).max() <= 1  # a square of a root in float32, and its root


def test_subframes_of_one_sample_come_to_the_picture_of_many_samples():
    with Stage(SIZE, MESH, samples=1) as single, Stage(SIZE, MESH, samples=8) as many:
        exact = many.light(frame(view()))
        errors = []
        for count in (1, 4, 16):
            views = (view(weight=1 / count, jitter=place.jitter) for place in subframes(count))
            errors.append(float(np.sqrt(np.mean((single.light(frame(*views)) - exact) ** 2))))
    assert errors[0] > 1.8 * errors[1] > 1.8 * 1.8 * errors[2]  # at least as the root of the count


def test_what_stays_the_same_is_baked_once(stage, monkeypatch):
    baked = []
    for name in ("occlusion", "sunlight"):
        original = getattr(bake, name)
        monkeypatch.setattr(bake, name, lambda *a, _n=name, _f=original, **k: baked.append(_n) or _f(*a, **k))
    height = CRATER.copy()
    stage.light(frame(*(view(height=height, weight=1 / 4, jitter=place.jitter) for place in subframes(4))))
    assert baked == ["occlusion", "sunlight"]
    stage.light(frame(view(azimuth=50.0, height=height)))  # the lamps follow the camera
    assert baked == ["occlusion", "sunlight", "sunlight"]
    stage.light(frame(view(azimuth=50.0, height=height.copy())))
    assert baked[3:] == ["occlusion", "sunlight"]


def test_a_panel_shows_what_a_stage_of_its_size_draws_and_nothing_beside_it():
    left, right = view(azimuth=20.0, panel=Panel(0, 2)), view(azimuth=80.0, panel=Panel(1, 2))
    with Stage(SIZE, MESH) as stage:
        split = stage.linear_frame(frame(left, right))
    for half, shot in ((split[:, :32], left), (split[:, 32:], right)):
        with Stage(Size(32, 36), MESH) as stage:
            alone = stage.linear_frame(frame(replace(shot, panel=Panel()), replace(shot, panel=Panel(), weight=0.0)))
        # the same rays, through a window at another place: a few samples fall on the other side of an edge
        assert (np.abs(half.astype(int) - alone) > 600).mean() < 0.01


def test_tiles_of_a_split_screen_join():
    shots = view(azimuth=20.0, panel=Panel(0, 2)), view(azimuth=80.0, panel=Panel(1, 2))
    with Stage(SIZE, MESH) as stage:
        whole = stage.linear_frame(frame(*shots))
    with Stage(Size(24, 36), MESH) as stage:  # the middle tile holds a part of both panels
        tiles = [stage.linear_frame(frame(*shots), Window(column, 0, SIZE)) for column in (0, 24, 48)]
    joined = np.concatenate(tiles, axis=1)[:, :64]
    assert (np.abs(joined.astype(int) - whole) > 600).mean() < 0.01


def test_in_a_wipe_one_view_lies_over_the_other_in_its_region_alone(stage):
    first, second = view(), view(10.0, 60.0, 2.2)
    alone = [light_of(stage, one) for one in (first, second)]
    wiped = light_of(stage, first, replace(second, region=(0.0, 0.0, 0.25, 1.0)))
    assert np.array_equal(wiped[:, 16:], alone[0][:, 16:]) and np.array_equal(wiped[:, :16], alone[1][:, :16])
    halves = replace(second, region=(0.0, 0.5, 1.0, 1.0), weight=0.5)
    summed = light_of(stage, first, halves, halves)  # as its sub-frames are
    assert np.array_equal(summed[:18], alone[0][:18])
    np.testing.assert_allclose(summed[18:], alone[1][18:], rtol=1e-6)


@pytest.mark.parametrize("density", [0.0, 0.4, 1.0])
def test_a_veil_is_its_colour_over_the_graded_picture_and_not_over_the_text(stage, density):
    bare, words = frame(view()), (Text("x", 0.1, 0.9, 0.4, 1.0),)
    veiled = replace(bare, veil=((1.0, 0.5, 0.0), density))
    before, after = (stage.draw(one).astype(float) for one in (bare, veiled))
    mixed = before + density * (np.array([255, 127.5, 0]) - before)
    assert np.abs(after - mixed).max() <= 2  # both are rounded and dithered
    assert stage.draw(replace(veiled, overlays=words)).max() == 255
