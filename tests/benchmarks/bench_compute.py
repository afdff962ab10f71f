"""How quick the compute half is on this machine: loss values a second, and Hessian products a point needs.

Run as a script, it prints `figures()`. Nets and points take turns, so that a busy moment falls on all of them alike.
"""

import statistics
import tempfile
import time
from pathlib import Path

from studio.field import Grid
from studio.landscape.directions import Random
from studio.landscape.objective import Loss
from studio.landscape.slices import Slice, extremes_points, loss_rows
from studio.training.models import Mlp, Resnet, Vgg
from studio.training.recipe import Recipe, Run
from studio.training.recorder import train

MODELS = {"mlp": Mlp(depth=2, width=64), "cnn": Vgg(widths=(32, 64, 64)), "resnet20": Resnet(depth=20, width=16)}
GRID, COARSE = Grid(points=21), Grid(points=3)
ROUNDS = 7


def figures() -> dict[str, float]:
    """`grid.<net>.points_per_s` in eval mode on 256 digits, medians; `hessian.<net>.products_per_point` at tol 1e-3."""
    with tempfile.TemporaryDirectory() as folder:
        slices = {name: _slice(model, Path(folder) / name) for name, model in MODELS.items()}
        rates = {name: [] for name in MODELS}
        for _ in range(ROUNDS + 1):
            for name, slice in slices.items():
                start = time.perf_counter()
                loss_rows(slice, (10, 11))
                rates[name].append(GRID.points / (time.perf_counter() - start))  # the first includes preparation
        found = {f"grid.{name}.points_per_s": statistics.median(rates[name][1:]) for name in MODELS}
        for name, slice in slices.items():
            measured = extremes_points(slice.model_copy(update={"grid": COARSE}), tol=1e-3, seed=0, points=(3, 6))
            found[f"hessian.{name}.products_per_point"] = float(measured["products"].mean())
        return found


def _slice(model, folder: Path) -> Slice:
    recipe = Recipe(model=model, epochs=2)
    train(recipe, folder)
    return Slice(
        run=Run(recipe=recipe), folder=str(folder), epoch=2.0, directions=Random(), loss=Loss(subset=256), grid=GRID
    )


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{name:40} {value:10.1f}")
