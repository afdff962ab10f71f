import numpy as np
import pytest

from studio.render.mesh import DIAGONALS, disc, fill_all_holes, second_diagonal, slopes, upsample

N = 33
AXIS = np.linspace(-1, 1, N, dtype=np.float32)
X, Y = np.meshgrid(AXIS, AXIS)


def test_a_disc_has_all_vertices_inside_the_circle_and_no_other():
    mesh = disc(N)
    assert len(mesh.places) == np.count_nonzero(X**2 + Y**2 <= 1) and mesh.spacing == pytest.approx(2 / (N - 1))
    assert np.array_equal(mesh.places, np.stack([X, Y], axis=-1).reshape(-1, 2)[mesh.vertices])


def test_the_disc_of_an_oblong_window_is_an_ellipse_of_two_vertices_more():
    mesh = disc(N, (0.5, 1.0))
    assert len(mesh.places) == np.count_nonzero((X / 0.625) ** 2 + Y**2 <= 1) and mesh.spacing == 2 / (N - 1)


def test_every_cell_inside_the_circle_is_a_quad_of_its_own_corners():
    mesh = disc(N)
    inside = X**2 + Y**2 <= 1
    whole = inside[:-1, :-1] & inside[:-1, 1:] & inside[1:, :-1] & inside[1:, 1:]
    assert sorted(mesh.cells) == np.flatnonzero(whole).tolist()
    row, column = np.divmod(mesh.cells, N - 1)
    corners = mesh.places[mesh.quads]
    assert np.allclose(corners[:, 0], np.stack([AXIS[column], AXIS[row]], axis=1))
    assert np.allclose(corners[:, 2], np.stack([AXIS[column + 1], AXIS[row + 1]], axis=1))


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_both_triangles_of_a_quad_run_anticlockwise_and_cover_it(diagonal):
    mesh = disc(N)
    a, b, c = np.moveaxis(mesh.places[mesh.quads[:, diagonal].reshape(-1, 3)].astype(float), 1, 0)
    (x, y), (u, v) = (b - a).T, (c - a).T
    area = (x * v - y * u) / 2
    assert np.allclose(area, mesh.spacing**2 / 2, rtol=1e-4)  # float32 places


def test_a_hole_is_as_high_as_its_rim_and_a_surface_of_holes_is_flat():
    height = np.full((N, N), 0.5, np.float32)
    height[10:14, 10:14] = np.nan
    assert (fill_all_holes(height) == 0.5).all() and not fill_all_holes(height * np.nan).any()


def test_upsampling_keeps_what_is_linear():
    assert upsample((0.5 * X - 0.2 * Y)[::2, ::2], N) == pytest.approx(0.5 * X - 0.2 * Y, abs=1e-6)


def test_slopes_of_a_plane_are_its_own():
    x, y, length = slopes(0.5 * X - 0.2 * Y, float(AXIS[1] - AXIS[0]))
    assert x == pytest.approx(0.5, abs=1e-5) and y == pytest.approx(-0.2, abs=1e-5)  # float32
    assert length == pytest.approx(np.sqrt(1.29), abs=1e-5)


def test_a_slope_is_cut_along_its_level_lines():
    for height, second in ((X - Y, False), (X + Y, True)):
        cut = second_diagonal(height, slopes(height, 2 / (N - 1)), np.ones_like(height), 0.0, np.pi / 2)
        assert (cut == second).all()
