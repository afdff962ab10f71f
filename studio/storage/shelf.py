"""The shelf: what was computed, by the digest of what it was computed from.

    runs/<digest>/              a training run (see studio.training.checkpoints)
    planes/<digest>/            theta, delta and eta of a slice; samples/<digest>/ the images of a loss
    slices/<digest>.zarr        measured values of one slice, over (beta, alpha); row by row, with a mask `done`
    plates/<digest>.zarr        one drawn frame before its grade, tile by tile
    pieces/<digest>.<suffix>    encoded pieces of film
    scenes/<name>.json          what a scene last used, so that `clean` and `status` know
    locks/                      one owner at a time for each digest that is being written
    shelf.json                  the mark that makes the folder a shelf; without it nothing is ever removed

A file that exists is whole. A row of a slice counts once `done` says so, and `done` is written after the values.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.errors import ContainsArrayError

from studio.config.records import digest
from studio.config.units import Size
from studio.errors import MachineError, SceneError
from studio.execution.progress import Progress
from studio.storage.files import atomic_write, is_temporary, read_json, translate_os_errors, write_json

ROOMS = ("runs", "planes", "samples", "slices", "plates", "pieces")
MARK = "shelf.json"
_OURS = re.compile(r"[0-9a-f]{32,64}(\.[a-z0-9.]+)?")
"""The names of what is kept: a digest, with or without a suffix."""
TILE = 2048
"""Pixels along a side of what is drawn, and kept, at once."""


@dataclass(frozen=True)
class Shelf:
    """A folder. Everything on it can be deleted and made again; nothing on it is ever changed in meaning."""

    root: Path

    @classmethod
    def beside(cls, scene: Path, chosen: Path | None = None) -> Shelf:
        """The chosen one, else the one STUDIO_SHELF names, else `.studio` beside the scene."""
        return cls(Path(chosen or os.environ.get("STUDIO_SHELF") or Path(scene).resolve().parent / ".studio").resolve())

    @property
    def marked(self) -> bool:
        """Whether studio made this folder, or adopted it while it held nothing but our own rooms."""
        return (self.root / MARK).is_file()

    def mark(self) -> None:
        """Makes the folder a shelf. Raises SceneError if it already holds anything that is not ours."""
        if self.marked:
            return
        known = {*ROOMS, "scenes", "locks"}
        others = sorted(path.name for path in self.root.glob("*") if path.name not in known)
        if others:
            raise SceneError(
                f"{self.root}: is no shelf of studio's: it holds {', '.join(others[:3])}"
                f"{' ...' if len(others) > 3 else ''}; name a new or an empty folder (--shelf, STUDIO_SHELF)"
            )
        write_json(self.root / MARK, {"made_by": "studio", "version": 1})

    def run(self, key: str) -> Path:
        return self.root / "runs" / key

    def slice(self, key: str) -> StoredSlice:
        return StoredSlice(self.root / "slices" / f"{key}.zarr")

    def plate(self, key: str, size: Size) -> LinearFrame:
        return LinearFrame(self.root / "plates" / f"{key}.zarr", size)

    def piece(self, key: str, suffix: str) -> Path:
        return self.root / "pieces" / f"{key}{suffix}"

    @contextmanager
    def lock(self, key: str, progress: Progress) -> Iterator[None]:
        """Sole ownership of a key among all processes; tells if it has to wait for another. Death releases it."""
        from filelock import FileLock, Timeout

        self.mark()
        lock = self.root / "locks" / f"{key}.lock"
        with translate_os_errors(lock):
            lock.parent.mkdir(parents=True, exist_ok=True)
            held = FileLock(lock)
            try:
                held.acquire(timeout=0)
            except Timeout:
                with progress(f"waiting for another studio at work on {key[:12]}", 0):
                    held.acquire()
        try:
            yield
        finally:
            held.release()

    def manifest(self, scene: Path, name: str) -> Manifest:
        return Manifest(self.root, scene, name)

    def concat(self, keys: Mapping[float, str]) -> xr.Dataset:
        """Several slices of one kind, with a further axis `key`. keys: {coordinate of the sweep: key}."""
        found = [self.slice(key).read().drop_vars("done") for key in keys.values()]
        return xr.concat(
            found,
            xr.Variable("key", list(keys)),
            data_vars="all",
            coords="minimal",
            join="exact",
            compat="override",
            combine_attrs="drop_conflicts",
        )

    def unused(self) -> list[Path]:
        """What no existing scene used when it was last made, and what killed processes left half written."""
        notes = [read_json(path) for path in (self.root / "scenes").glob("[!.]*.json")]
        lists = [
            keys
            for manifest in notes
            if (self.root / manifest["scene"]).is_file()
            for keys in manifest.values()
            if isinstance(keys, list)
        ]
        used = {key for keys in lists for key in keys}
        things = [path for room in ROOMS for path in self._kept(room)]
        unused = [path for path in things if path.name.partition(".")[0] not in used]
        left = () if self.busy() else [path for room in self._rooms((*ROOMS, "scenes")) for path in _half_written(room)]
        return unused + [path for path in left if set(unused).isdisjoint(path.parents)]

    def plates(self) -> list[Path]:
        """All drawn frames."""
        return sorted(self._kept("plates"))

    def _rooms(self, names: Iterable[str]) -> Iterator[Path]:
        """The rooms that are folders of the shelf itself, not links out of it; none without the mark."""
        rooms = (self.root / name for name in names) if self.marked else ()
        return (room for room in rooms if room.is_dir() and not room.is_symlink())

    def _kept(self, room: str) -> Iterator[Path]:
        """What is kept in a room under a name that studio gives."""
        return (
            path
            for folder in self._rooms([room])
            for path in folder.iterdir()
            if _OURS.fullmatch(path.name) and not path.is_symlink()
        )

    def busy(self) -> bool:
        """Whether some process is at work here; then what is half written is its own."""
        from filelock import FileLock, Timeout

        for path in (self.root / "locks").glob("*.lock"):
            try:
                with FileLock(path, timeout=0):
                    pass
            except Timeout:
                return True
        return False

    def size(self, paths: Iterable[Path] | None = None) -> int:
        """Bytes of some paths, or of everything on the shelf."""
        roots = [self.root] if paths is None else paths
        return sum(
            file.stat().st_size
            for root in roots
            for file in (root.rglob("*") if root.is_dir() else [root])
            if file.is_file() and not file.is_symlink()
        )

    def remove(self, paths: Iterable[Path]) -> None:
        """Removes what `unused` or `plates` named. Raises SceneError if the folder has no mark."""
        if not self.marked:
            raise SceneError(f"{self.root}: has no {MARK}, so it is no shelf of studio's; nothing is removed here")
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Manifest:
    """What a scene last used, so that `clean` and `status` know.

    scene: its file. name: of what is made of it; scenes of one name in two folders have two notes.
    """

    root: Path
    scene: Path
    name: str

    @property
    def path(self) -> Path:
        return self.root / "scenes" / f"{self.name}-{digest(self.spelt(self.scene))[:8]}.json"

    def read(self) -> dict[str, Any]:
        return read_json(self.path) if self.path.is_file() else {}

    def add(self, **used: Any) -> None:
        """Notes what was used, over what was noted before."""
        Shelf(self.root).mark()
        write_json(self.path, {**self.read(), "scene": self.spelt(self.scene), **used})

    def spelt(self, path: Path) -> str:
        """A path as seen from the shelf: both can be moved together."""
        return os.path.relpath(path.resolve(), self.root)


def _half_written(folder: Path) -> Iterator[Path]:
    """Temporaries of ours (see studio.storage.files) and of zarr's, in a room of the shelf; links are not followed."""
    for path in folder.iterdir():
        if path.is_symlink():
            continue
        if is_temporary(path) or path.suffix == ".partial":
            yield path
        elif path.is_dir():
            yield from _half_written(path)


@dataclass(frozen=True)
class StoredSlice:
    """What was measured on one slice, a zarr group that xarray opens: fields over axes, `done` over the first."""

    path: Path

    def create(
        self, axes: Mapping[str, np.ndarray], fields: Mapping[str, tuple[str, ...]], provenance: Mapping[str, Any]
    ) -> None:
        """An empty slice, unless it is there already. Values that are not measured yet are NaN; only `done` tells.

        axes: coordinates by name; along the first, values come row by row. fields: the axes of each.
        """
        if self.path.is_dir():
            return
        rows = next(iter(axes))
        sizes = {name: [len(axes[axis]) for axis in over] for name, over in fields.items()}
        empty = xr.Dataset(
            {name: (over, np.full(sizes[name], np.nan)) for name, over in fields.items()}
            | {"done": (rows, np.zeros(len(axes[rows]), bool))},
            coords=dict(axes),
            attrs={key: str(value) for key, value in provenance.items()},
        )
        chunks = {name: {"chunks": (1, *size[1:])} for name, size in sizes.items()}
        # an unmeasured row and a row of NaN must differ on disk too
        with atomic_write(self.path) as beside:
            encoding = chunks | {"done": {"chunks": (len(axes[rows]),)}}
            empty.to_zarr(beside, encoding=encoding, consolidated=False, zarr_format=3, write_empty_chunks=True)

    def write(self, first: int, values: Mapping[str, np.ndarray]) -> None:
        """The measured values of rows from the first on, then their mark. Only the owner of the slice may write."""
        with translate_os_errors(self.path):
            group = zarr.open_group(self.path, mode="r+")
            count = 0
            for name, measured in values.items():
                count = len(measured)
                group[name][first : first + count] = measured
            group["done"][first : first + count] = True

    def missing(self) -> list[int]:
        """Rows that are not measured yet. Raises MachineError if the shelf's file is broken."""
        with self._reading():
            return np.flatnonzero(~zarr.open_group(self.path, mode="r")["done"][:]).tolist()

    @property
    def whole(self) -> bool:
        return self.path.is_dir() and not self.missing()

    def complete(self) -> xr.Dataset | None:
        """All of it; None if something is still to be measured."""
        data = self.read() if self.path.is_dir() else None
        return data if data is not None and data["done"].all() else None

    def read(self) -> xr.Dataset:
        """Everything measured so far. Raises MachineError if the shelf's file is broken."""
        with self._reading():
            return xr.open_zarr(self.path, consolidated=False).load()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise MachineError(f"{self.path}: cannot be read ({error}); remove it and run again") from error


@dataclass(frozen=True)
class LinearFrame:
    """One drawn frame [height, width, 4], uint16, kept by tiles that any process may write; it is used like an array.

    A tile counts once it is there: zarr writes it beside its place and renames it.
    """

    path: Path
    size: Size

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.size.height, self.size.width, 4

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Of what is read at once."""
        return TILE, TILE, 4

    def __len__(self) -> int:
        return self.size.height

    @property
    def tiles(self) -> list[tuple[slice, slice]]:
        """Rows and columns of every tile."""
        rows, columns = ([slice(at, min(at + TILE, side)) for at in range(0, side, TILE)] for side in self.size[::-1])
        return [(down, across) for down in rows for across in columns]

    @property
    def whole(self) -> bool:
        return not self.missing()

    def missing(self) -> list[tuple[slice, slice]]:
        """The tiles that are not drawn yet."""
        return [tile for tile in self.tiles if not self._chunk(*tile).is_file()]

    def __setitem__(self, tile: tuple[slice, slice], codes: np.ndarray) -> None:
        with translate_os_errors(self.path):
            self._array()[:, *tile] = np.moveaxis(codes, -1, 0)

    def __getitem__(self, index: slice | tuple[slice, slice]) -> np.ndarray:
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        try:
            return np.moveaxis(zarr.open_array(self.path, mode="r")[:, rows, columns], 0, -1)
        except Exception as error:
            raise MachineError(f"{self.path}: cannot be read ({error}); remove it and run again") from error

    def _array(self) -> zarr.Array:
        """The array, made if it is not there; who makes it first does not matter, for all would make the same."""
        black = {"write_empty_chunks": True}  # it is drawn too
        if not (self.path / "zarr.json").is_file():
            with suppress(ContainsArrayError):  # another worker may just have made it
                zarr.create_array(
                    self.path,
                    shape=(4, *self.size[::-1]),  # channel by channel, which packs smaller
                    chunks=(4, min(TILE, self.size.height), min(TILE, self.size.width)),
                    dtype="uint16",
                    compressors=zarr.codecs.ZstdCodec(level=1),  # Blosc leaks its lock when a worker is killed
                )
        return zarr.open_array(self.path, mode="r+").with_config(black)

    def _chunk(self, rows: slice, columns: slice) -> Path:
        return self.path / "c" / "0" / str(rows.start // TILE) / str(columns.start // TILE)
