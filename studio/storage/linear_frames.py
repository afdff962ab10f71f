"""Drawn frames on the shelf: linear light before the grade, in tiles.

Each tile is a file of its own, written atomically: a tile that exists is whole. So any process may draw any tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numcodecs.zstd import Zstd

from studio.config.units import Size
from studio.storage.files import read_bytes, translate_read_errors, write_bytes

TILE = 2048
"""Pixels along a side of a tile."""

Tile = tuple[slice, slice]
"""Rows and columns of a part of a frame."""


@dataclass(frozen=True)
class LinearFrame:
    """A drawn frame [height, width, 4], uint16 codes, indexed like an array by rows, or by rows and columns.

    codes: linear light as `studio.render.linear_frame` encodes it. path: a folder of tiles. Reading raises DamageError
    if a tile is missing, or not what was written.
    """

    path: Path
    size: Size

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 4."""
        return self.size.height, self.size.width, 4

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Shape of the largest part that is read at once."""
        return TILE, TILE, 4

    def __len__(self) -> int:
        return self.size.height

    @property
    def tiles(self) -> list[Tile]:
        """Rows and columns of every tile, row by row."""
        rows, columns = ([slice(at, min(at + TILE, side)) for at in range(0, side, TILE)] for side in self.shape[:2])
        return [(down, across) for down in rows for across in columns]

    def missing(self) -> list[Tile]:
        """The tiles that are not drawn."""
        return [tile for tile in self.tiles if not self._path(tile).is_file()]

    @property
    def complete(self) -> bool:
        """Whether every tile is drawn."""
        return not self.missing()

    def write(self, tile: Tile, codes: np.ndarray) -> None:
        """Writes one of `tiles` [rows, columns, 4]. Raises MachineError if the disk is full or unwritable."""
        planes = np.moveaxis(codes, -1, 0)  # channel by channel, which packs smaller
        # not Blosc, which leaks its lock when a worker is killed
        write_bytes(self._path(tile), Zstd(level=1).encode(np.ascontiguousarray(planes)))

    def __getitem__(self, index: slice | Tile) -> np.ndarray:
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        top, bottom, _ = rows.indices(self.size.height)
        left, right, _ = columns.indices(self.size.width)
        codes = np.empty((bottom - top, right - left, 4), np.uint16)
        for down, across in self.tiles:
            y = range(max(top, down.start), min(bottom, down.stop))
            x = range(max(left, across.start), min(right, across.stop))
            if y and x:
                part = self._read((down, across))[y[0] - down.start :, x[0] - across.start :][: len(y), : len(x)]
                codes[y[0] - top :, x[0] - left :][: len(y), : len(x)] = part
        return codes

    def _read(self, tile: Tile) -> np.ndarray:
        content, sides = read_bytes(path := self._path(tile)), [part.stop - part.start for part in tile]
        with translate_read_errors(path):
            planes = np.frombuffer(Zstd().decode(content), np.uint16).reshape(4, *sides)
        return np.moveaxis(planes, 0, -1)

    def _path(self, tile: Tile) -> Path:
        rows, columns = tile
        return self.path / f"{rows.start}-{columns.start}.zst"
