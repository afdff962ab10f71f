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
        rows, columns = (
            [slice(start, min(start + TILE, side)) for start in range(0, side, TILE)] for side in reversed(self.size)
        )
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
        for tile in self.tiles:
            down, across = _overlap(tile[0], top, bottom), _overlap(tile[1], left, right)
            if down and across:
                part = self._read(tile, down, across)
                codes[down.start - top : down.stop - top, across.start - left : across.stop - left] = part
        return codes

    def _read(self, tile: Tile, rows: slice, columns: slice) -> np.ndarray:
        inside = (
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in zip((rows, columns), tile, strict=True)
        )
        content, sides = read_bytes(path := self._path(tile)), [part.stop - part.start for part in tile]
        with translate_read_errors(path):
            planes = np.frombuffer(Zstd().decode(content), np.uint16).reshape(4, *sides)
        return np.moveaxis(planes[(slice(None), *inside)], 0, -1)

    def _path(self, tile: Tile) -> Path:
        rows, columns = tile
        return self.path / f"{rows.start}-{columns.start}.zst"


def _overlap(side: slice, start: int, stop: int) -> slice | None:
    """The part of a tile's side that lies within start to stop, or None."""
    first, last = max(side.start, start), min(side.stop, stop)
    return slice(first, last) if first < last else None
