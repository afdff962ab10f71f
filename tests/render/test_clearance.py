import numpy as np
import pytest
import pyvista as pv

from studio.film.pose import Pose
from studio.film.survey import NEAR, camera_height

AXIS = np.linspace(-1, 1, 101)
X, Y = np.meshgrid(AXIS, AXIS)
LAND = 0.3 + 0.2 * np.sin(5 * X) * np.cos(4 * Y) + 0.01 * np.sin(11 * X + 17 * Y)


def pose(position: np.ndarray) -> Pose:
    return Pose(tuple(position.tolist()), (0.0, 0.0, 0.0), 30.0, (0.0, 0.0, 1.0))


@pytest.mark.parametrize("seed", range(40))
def test_the_cameras_height_is_that_of_rays_cast_on_the_drawn_triangles(seed):
    rng = np.random.default_rng(seed)
    mesh = pv.StructuredGrid(X, Y, LAND).extract_surface(algorithm="dataset_surface").triangulate()
    position = np.array([*rng.uniform(-0.8, 0.8, 2), rng.uniform(-0.2, 0.8)])

    def ground(x: float, y: float) -> float:
        hits, _ = mesh.ray_trace((x, y, 5.0), (x, y, -5.0))
        return float(hits[0][2])

    below = position[2] - ground(*position[:2])
    assert camera_height(LAND, pose(position), radius=0.0) == pytest.approx(below, abs=2e-3)  # of a bent quad
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rings = [(r * np.cos(t), r * np.sin(t)) for r in NEAR * np.linspace(0.1, 0.99, 8) for t in turns]
    highest = max(ground(position[0] + dx, position[1] + dy) for dx, dy in rings)
    assert camera_height(LAND, pose(position)) == pytest.approx(position[2] - highest, abs=4e-3)


def test_beside_the_land_there_is_nothing_below():
    assert camera_height(LAND, pose(np.array([1.5, 0.0, -1.0]))) == np.inf
