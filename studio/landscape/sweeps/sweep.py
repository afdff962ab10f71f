"""The kinds of sweeps.

    runs, directions, grid  ->  keyframes

A new sweep is a record with `own_axis` and `unroll`, in the union below; `needs` names trainings beside the scene's.
"""

from __future__ import annotations

from typing import Annotated

from studio.config.records import BY_KIND
from studio.landscape.sweeps.along import Epochs, Trajectory
from studio.landscape.sweeps.between import Chord, Curve, Spawn
from studio.landscape.sweeps.changes import Hyperparameter, Pruning, Rescale
from studio.landscape.sweeps.planes import Rotation, Zoom

Sweep = Annotated[
    Epochs | Trajectory | Zoom | Rotation | Chord | Curve | Spawn | Pruning | Rescale | Hyperparameter, *BY_KIND
]
