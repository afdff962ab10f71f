"""Writes the golden frames anew, as this machine draws them: `python tests/render/golden.py`.

Look at them, then commit."""

import runpy
from pathlib import Path

import imageio.v3 as iio


def write() -> None:
    test = runpy.run_path(str(Path(__file__).with_name("test_stage.py")))
    test["GOLDEN"].mkdir(exist_ok=True)
    for name, picture in test["pictures"]().items():
        iio.imwrite(test["GOLDEN"] / f"{name}.png", picture)


if __name__ == "__main__":
    write()
