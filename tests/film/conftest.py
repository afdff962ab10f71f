"""Small surfaces and a look of which several files make films: a bowl of 11 x 11 points over [-2, 2]."""

import numpy as np
import pytest

from studio.field import Field, Grid, Surfaces
from studio.film.fields import SCALES
from studio.film.light import Lamp, Light
from studio.film.look import Look

GRID = Grid(range=(-2, 2), points=11)


@pytest.fixture(scope="session")
def look():
    """Makes a look of some parts, on a mesh of 41 vertices along a side."""
    light = Light(key=Lamp(azimuth=70.0, elevation=30.0), rim=Lamp(azimuth=200.0, elevation=15.0))
    return lambda mesh=41, **parts: Look(light=light, mesh=mesh, **parts)


@pytest.fixture(scope="session")
def bowl():
    """Makes the loss of a bowl of some depth [11, 11]: 0.1 in the middle."""
    return lambda depth=1.0: 0.1 + depth * (GRID.alpha[:, None] ** 2 + GRID.alpha[None] ** 2)


@pytest.fixture(scope="session")
def surfaces():
    """Makes surfaces with the loss at keyframes 0, 1, ... and other fields at keyframe 0."""

    def make(*losses: np.ndarray, **others: np.ndarray) -> Surfaces:
        fields = {"loss": Field(tuple(float(k) for k in range(len(losses))), GRID, np.stack(losses), "log")}
        for name, values in others.items():
            fields[name] = Field((0.0,), GRID, values[None], SCALES.get(name, "linear"))
        return Surfaces(fields)

    return make
