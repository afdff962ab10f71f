"""AOVs against the geometry they must have: planes, spheres and the way back into the picture."""

import numpy as np
import pytest

from studio.config.units import Size
from studio.film.frame import Frame, View
from studio.film.light import Lamp, Light
from studio.film.lines import Fade, Marker, Plinth
from studio.film.look import Look
from studio.film.pose import Orbit, project
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading
from studio.render.aovs import FAR, GROUND, MARKER, SURFACE, WALL, render_aovs
from studio.render.stage import Stage

SIZE, MESH = Size(64, 36), 97
X, Y = np.meshgrid(*2 * [np.linspace(-1, 1, MESH)])
HILLS = (0.15 * np.sin(4 * X + 1) * np.cos(3 * Y) + 0.2).astype(np.float32)
PLANE = (0.1 * X - 0.2 * Y).astype(np.float32)
LOOK = Look(
    light=Light(key=Lamp(azimuth=70.0, elevation=30.0), rim=Lamp(azimuth=200.0, elevation=15.0)),
    marker=Marker(radius=0.08),
    fade=Fade(start=0.8, end=0.9),
    mesh=MESH,
)
CAST = LOOK.model_copy(update={"plinth": Plinth(depth=0.3)})
NAMES = ("depth", "normal", "position", "mask")
HALF = 2**-11
"""The step of half floats below 1: rounding, and the depth's own error, are off by less."""
PIXEL = 2 * np.tan(np.radians(Orbit(0, 0, 2, 30).pose((0, 0, 0)).view_angle) / 2) / SIZE.height  # at distance 1


def frame(height=HILLS, look=LOOK, azimuth=40.0, elevation=40.0, distance=2.0, **parts) -> Frame:
    view = View(
        height,
        np.zeros((*height.shape, 3), np.float32),
        Orbit(azimuth, elevation, distance, 30.0).pose((0.0, 0.0, 0.1)),
        resolve_appearance(look, azimuth),
        **parts,
    )
    return Frame(0, (view,), (), resolve_grading(look.grade), resolve_background(look.background))


@pytest.fixture(scope="module", params=[1, 2])
def stage(request):
    with Stage(SIZE, MESH, request.param) as open_stage:
        yield open_stage


def aovs_of(stage: Stage, shown: Frame, *names: str, size: Size = SIZE, **fields) -> dict[str, np.ndarray]:
    return {
        name: values.astype(float) for name, values in render_aovs(stage, shown, names or NAMES, fields, size).items()
    }


def test_the_place_of_a_pixel_projects_to_the_centre_of_its_pixel(stage):
    aovs, shown = aovs_of(stage, frame()), frame()
    rows, columns = np.nonzero(aovs["mask"][..., 0])
    places = project(aovs["position"][rows, columns].astype(float), shown.views[0].pose, SIZE.width / SIZE.height)
    centres = np.stack([columns + 0.5, rows + 0.5], axis=1)
    assert np.abs(places * SIZE.height - centres).max() < 1e-4  # float32 of numbers up to 2, in pixels of 0.04
    assert len(rows) > 1000


def test_depth_is_along_the_axis_of_the_camera_and_not_along_the_ray(stage):
    flat = np.zeros((MESH, MESH), np.float32)
    aovs = aovs_of(stage, frame(flat, elevation=90.0, distance=1.5))
    surface = aovs["mask"][..., 0] == SURFACE
    # the camera stands 1.5 over z = 0.1; the depth buffer has 24 bits, and the near plane is at 0.02
    assert np.abs(aovs["depth"][surface] - 1.6).max() < 1e-5 * 1.6**2


def test_the_surface_is_where_the_heights_are(stage):
    aovs = aovs_of(stage, frame(PLANE))
    surface = aovs["mask"][..., 0] == SURFACE
    x, y, z = np.moveaxis(aovs["position"][surface], -1, 0)
    assert np.abs(z - (0.1 * x - 0.2 * y)).max() < 1e-4
    assert np.allclose(aovs["normal"][surface], np.array([-0.1, 0.2, 1]) / np.linalg.norm([0.1, 0.2, 1]), atol=HALF)
    assert np.hypot(x, y).max() < 0.9 + 2 * PIXEL  # nothing is beyond the edge of the fade


def test_the_marker_is_a_sphere_with_its_own_normals(stage):
    place = X[0, 60], Y[40, 0]
    aovs = aovs_of(stage, frame(marker=place))
    marker = aovs["mask"][..., 0] == MARKER
    centre = np.array([*place, HILLS[40, 60] + 0.9 * 0.08])
    away = aovs["position"][marker] - centre
    assert np.allclose(np.linalg.norm(away, axis=1), 0.08, atol=0.0015)  # of 32 by 24 flat faces
    assert np.allclose(aovs["normal"][marker], away / np.linalg.norm(away, axis=1, keepdims=True), atol=HALF)
    # from its size: a disc of so many pixels, less what is sunk, and a rim of half pixels
    assert marker.sum() == pytest.approx(np.pi * (0.08 / 1.9 / PIXEL) ** 2, rel=0.35)


def test_a_cast_has_a_wall_and_stands_on_the_ground(stage):
    aovs = aovs_of(stage, frame(look=CAST, elevation=25.0, distance=3.0))
    mask, place = aovs["mask"][..., 0], aovs["position"]
    assert {SURFACE, MARKER, WALL, GROUND} <= set(np.unique(mask).astype(int))
    away = np.hypot(place[..., 0], place[..., 1])
    assert np.allclose(away[mask == WALL], 0.9, atol=2e-3)  # a wall of flat pieces
    assert np.allclose(place[mask == GROUND][:, 2], -0.3, atol=2e-4)
    assert np.allclose(aovs["normal"][mask == GROUND], (0, 0, 1))
    outward = aovs["normal"][mask == WALL]
    assert np.allclose(outward[:, :2], place[mask == WALL][:, :2] / away[mask == WALL][:, None], atol=1e-3)
    eye = np.array(frame(look=CAST, elevation=25.0, distance=3.0).views[0].pose.position)
    facing = ((eye - place) * aovs["normal"]).sum(axis=-1)
    assert (facing[mask == WALL] > 0).all() and (facing[mask == GROUND] > 0).all()


def test_an_oblong_cast_has_a_wall_along_an_ellipse(stage):
    aovs = aovs_of(stage, frame(look=CAST, elevation=25.0, distance=2.4, marker=None, sides=(1.0, 0.5)))
    wall, (x, y, _) = aovs["mask"][..., 0] == WALL, np.moveaxis(aovs["position"], -1, 0)
    assert MARKER not in aovs["mask"] and wall.sum() > 100
    assert np.allclose(np.hypot(x, 2 * y)[wall], 0.9, atol=4e-3)
    outward = np.stack([x, 4 * y], axis=-1)[wall]
    expected = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    assert np.allclose(aovs["normal"][wall][:, :2], expected, atol=1e-3)
    surface = aovs["mask"][..., 0] == SURFACE
    assert np.hypot(x, 2 * y)[surface].max() < 0.9 + 4 * PIXEL


def test_where_there_is_nothing_the_depth_is_far_and_the_rest_zero(stage):
    aovs = aovs_of(stage, frame(distance=4.0), *NAMES, "loss", loss=np.ones((MESH, MESH)))
    nothing = aovs["mask"][..., 0] == 0
    assert nothing.sum() > 500 and (aovs["depth"][nothing] == FAR).all()
    for name in ("position", "normal", "loss"):
        assert not aovs[name][nothing].any()


def test_a_field_is_as_measured_over_the_surface_and_nowhere_else(stage):
    convexity = np.where(X > 0.5, np.nan, X)
    aovs = aovs_of(stage, frame(), "loss", "convexity", "position", "mask", loss=3 * X + 100 * Y, convexity=convexity)
    surface, (x, y, _) = aovs["mask"][..., 0] == SURFACE, np.moveaxis(aovs["position"], -1, 0)
    assert np.allclose(aovs["loss"][..., 0][surface], (3 * x + 100 * y)[surface], atol=1e-3)  # float32 of 100
    known = surface & (x < 0.5 - 2 / (MESH - 1))  # a cell that touches what is not known is not known
    assert np.allclose(aovs["convexity"][..., 0][known], x[known], atol=1e-5)
    assert np.isnan(aovs["convexity"][..., 0][surface & (x > 0.5)]).all()
    assert not aovs["loss"][aovs["mask"][..., 0] == MARKER].any()


def test_a_hole_is_nothing(stage):
    height = HILLS.copy()
    height[40:70, 55:85] = np.nan
    whole, holed = (aovs_of(stage, frame(h, elevation=90.0, distance=2.4), "mask") for h in (HILLS, height))
    lost = (whole["mask"] > 0).sum() - (holed["mask"] > 0).sum()
    side = 31 * 2 / (MESH - 1) / (2.4 - 0.1) / PIXEL  # cells that touch it are lost too; from 2.4 over z = 0.1, at 0.2
    assert lost == pytest.approx(side**2, rel=0.15)


def test_the_mask_is_where_the_picture_covers_what_is_behind_it(stage):
    shown = frame(look=LOOK.model_copy(update={"fade": Fade(start=0.899, end=0.9)}))
    cover, mask = stage.light(shown)[..., 3], aovs_of(stage, shown, "mask")["mask"][..., 0] > 0
    assert mask[cover == 1].all() and not mask[cover == 0].any()
    assert 0.2 < (cover == 1).mean() < 0.8 and ((cover > 0) & (cover < 1)).mean() < 0.15  # the pixels of the edge


@pytest.mark.parametrize(("look", "distance"), [(LOOK, 2.0), (CAST, 2.0), (LOOK, 9.0)], ids=["disc", "cast", "far"])
def test_tiles_have_the_same_aovs_as_the_whole(look, distance):
    shown = frame(look=look, elevation=25.0, distance=distance)  # from afar there are tiles that show nothing
    with Stage(SIZE, MESH) as whole, Stage(Size(25, 20), MESH) as tile:
        direct, tiled = (aovs_of(stage, shown, *NAMES, "loss", loss=X) for stage in (whole, tile))
    for name in direct:
        # a centre that lies on an edge may fall on either side of it
        assert (np.abs(direct[name] - tiled[name]) > 2 * HALF).any(axis=-1).mean() < 2e-3, name
