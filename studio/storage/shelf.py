"""The shelf: a folder of everything computed, stored by the digest of its inputs.

    runs/<digest>/               a training run (studio.training.checkpoints)
    planes/<digest>/             theta, delta and eta of a slice; samples/<digest>/ the samples of a loss
    positions/<digest>/          where networks stand in planes
    slices/<digest>.zarr         measured values of one slice over (beta, alpha)
    frames/<digest>/             one drawn frame before its grade, tile by tile
    segments/<digest>.<suffix>   encoded segments of deliverables; beside each, in .json, its checksums
    scenes/<name>.json           manifests: what each scene last used, for `clean` and `status`
    locks/                       one owner at a time for each digest that is being written
    shelf.json                   marks the folder as a shelf; without it nothing is ever removed
    studio.log                   tracebacks of errors that had no sentence of their own

Everything here can be deleted and made again; nothing here ever changes its meaning.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from studio.config.records import digest
from studio.config.units import Size
from studio.errors import DamageError, SceneError
from studio.execution.progress import Progress
from studio.storage import files
from studio.storage.linear_frames import LinearFrame
from studio.storage.mapped_arrays import map_arrays
from studio.storage.slices import StoredSlice

KINDS = ("runs", "planes", "positions", "samples", "slices", "frames", "segments")
"""Folders of computed things."""
FORMER_KINDS = ("plates", "pieces", *(f"{kind}-1" for kind in (*KINDS, "scenes")))
"""Folders of former layouts; their contents, which have other names or no checksums, are unused."""
MARK, LOG = "shelf.json", "studio.log"
LAYOUT = 2
"""Raised by hand when older contents cannot be read any more."""
logger = logging.getLogger("studio")
_STORED_NAME = re.compile(r"[0-9a-f]{32,64}(\.[a-z0-9.]+)?")


@dataclass(frozen=True)
class Shelf:
    """A folder for everything computed, addressed by digests."""

    root: Path

    @classmethod
    def beside(cls, scene: Path, folder: Path | None = None) -> Shelf:
        """The shelf of a scene, as `shelf_folder` chooses it."""
        return cls(files.shelf_folder(Path(scene), folder))

    @property
    def is_marked(self) -> bool:
        """Whether studio created this folder, or adopted it while it held nothing but a shelf's own folders."""
        return (self.root / MARK).is_file()

    def mark(self) -> None:
        """Makes the folder a shelf. Raises SceneError if it holds anything that studio did not put there."""
        mark = self.root / MARK
        if self.is_marked and f'"version": {LAYOUT}' in (text := mark.read_text(errors="replace")):
            return
        if self.is_marked and '"version": 1\n' in text:
            logger.warning("%s: is a shelf of an older version, without checksums; all is made again", self.root)
            for folder in self._folders((*KINDS, "scenes")):
                folder.rename(f"{folder}-1")
        known = {*KINDS, *FORMER_KINDS, "scenes", "locks", MARK, LOG, f"{LOG}.1"}  # another process may mark it now
        found = (path for path in self.root.glob("*") if not files.is_temporary(path))
        others = sorted({path.name for path in found} - known)
        if others:
            held = ", ".join([*others[:3], *["..."] * (len(others) > 3)])
            text = f"it holds {held}; name a new or an empty folder (--shelf, STUDIO_SHELF)"
            raise SceneError(f"{self.root}: is not a shelf of studio: {text}")
        files.write_json(self.root / MARK, {"made_by": "studio", "version": LAYOUT})

    def run(self, digest: str) -> Path:
        """Folder of a training run."""
        return self.root / "runs" / digest

    def plane(self, digest: str) -> Path:
        """Folder of a plane: theta, delta and eta."""
        return self.root / "planes" / digest

    def positions(self, digest: str) -> Path:
        """Folder of networks' places in planes."""
        return self.root / "positions" / digest

    def samples(self, digest: str) -> Path:
        """Folder of a loss's samples."""
        return self.root / "samples" / digest

    def slice(self, digest: str) -> StoredSlice:
        """A measured slice."""
        return StoredSlice(self.root / "slices" / f"{digest}.zarr")

    def frame(self, digest: str, size: Size) -> LinearFrame:
        """A drawn frame."""
        return LinearFrame(self.root / "frames" / digest, size)

    def segment(self, digest: str, suffix: str) -> Path:
        """Path of an encoded segment."""
        return self.root / "segments" / f"{digest}{suffix}"

    def verify(self) -> None:
        """Reads all but the runs. Raises DamageError at the first thing that is not what was written."""
        for path in (path for kind in KINDS[1:] for path in self._stored(kind)):
            match path.parent.name:
                case "slices":
                    StoredSlice(path).read()
                case "frames":
                    for tile in path.glob("[!.]*"):
                        files.read_bytes(tile)
                case "segments":
                    if path.suffix != ".json":  # its segment is asked, which is made again with it
                        verify_segment(path)
                case _:
                    map_arrays(path)

    def discard(self, error: DamageError) -> None:
        """Removes what is damaged, or the smallest whole that holds it, so that it is made again; says so."""
        logger.warning("%s", error)
        kind, entry, *_ = error.path.relative_to(self.root).parts
        path = error.path if kind in ("runs", "frames", "scenes") else self.root / kind / entry
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if kind == "segments":
            _seal(path).unlink(missing_ok=True)

    @contextmanager
    def lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Holds a lock, one process at a time; waiting shows as progress. A process that dies releases it."""
        self.mark()
        path = self.root / "locks" / f"{name}.lock"
        with files.translate_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                held = lock.acquire(timeout=0)
            except Timeout:
                with progress(f"waiting for another studio at work on {name[:12]}", 0):
                    held = lock.acquire()
        with held:
            yield

    def is_busy(self) -> bool:
        """Whether some process holds a lock: it may still be writing the unfinished files."""
        for path in (self.root / "locks").glob("*.lock"):
            try:
                with FileLock(path, timeout=0):
                    pass
            except Timeout:
                return True
        return False

    def unused(self) -> list[Path]:
        """Paths that no manifest of an existing scene names, and the unfinished files of killed processes."""
        # a damaged manifest does not say what may be removed
        manifests = map(files.read_json, (self.root / "scenes").glob("[!.]*.json"))
        of_scenes = (manifest for manifest in manifests if (self.root / manifest["scene"]).is_file())
        entries = [entry for manifest in of_scenes for entry in manifest.values()]
        used = {digest for digests in entries if isinstance(digests, list) for digest in digests}
        unused = [path for kind in KINDS for path in self._stored(kind) if path.name.partition(".")[0] not in used]
        unused += [path for kind in FORMER_KINDS for path in self._stored(kind)]
        folders = () if self.is_busy() else self._folders((*KINDS, *FORMER_KINDS, "scenes"))
        unfinished = [path for folder in folders for path in _unfinished(folder)]
        return unused + [path for path in unfinished if set(unused).isdisjoint(path.parents)]

    def frames(self) -> list[Path]:
        """Paths of all drawn frames."""
        return sorted(self._stored("frames"))

    def _folders(self, kinds: Iterable[str]) -> Iterator[Path]:
        """The folders of these kinds; links are left out, and without the mark there are none."""
        folders = (self.root / kind for kind in kinds) if self.is_marked else ()
        return (folder for folder in folders if folder.is_dir() and not folder.is_symlink())

    def _stored(self, kind: str) -> Iterator[Path]:
        """Entries of one kind: only those named by a digest, and no links."""
        paths = (path for folder in self._folders([kind]) for path in folder.iterdir())
        return (path for path in paths if _STORED_NAME.fullmatch(path.name) and not path.is_symlink())

    def size(self, paths: Iterable[Path] | None = None) -> int:
        """Bytes in files below some paths, or on the whole shelf."""
        below = (path for root in ([self.root] if paths is None else paths) for path in (root, *root.rglob("*")))
        return sum(path.stat().st_size for path in below if path.is_file() and not path.is_symlink())

    def remove(self, paths: Iterable[Path]) -> None:
        """Removes paths that `unused` or `frames` named. Raises SceneError if the folder has no mark."""
        if not self.is_marked:
            raise SceneError(f"{self.root}: has no {MARK}, so it is not a shelf of studio; nothing is removed here")
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Manifest:
    """What the scene in a file last used, as JSON on the shelf; another folder may have a scene of the same name."""

    shelf: Shelf
    scene: Path
    name: str

    @property
    def path(self) -> Path:
        """The manifest's file."""
        return self.shelf.root / "scenes" / f"{self.name}-{digest(self.relative(self.scene))[:8]}.json"

    def read(self) -> dict[str, Any]:
        """All entries; empty if there is no manifest yet, and if it is damaged, which is said."""
        try:
            return files.read_json(self.path) if self.path.is_file() else {}
        except DamageError as error:
            self.shelf.discard(error)
            return {}

    def update(self, **used: Any) -> None:
        """Replaces or adds entries, such as `slices`: the digests that were used."""
        self.shelf.mark()
        files.write_json(self.path, {**self.read(), "scene": self.relative(self.scene), **used})

    def relative(self, path: Path) -> str:
        """A path relative to the shelf, so that both can be moved together."""
        return os.path.relpath(path.resolve(), self.shelf.root)


def seal_segment(path: Path) -> None:
    """Writes the checksums of a segment beside it: without them it is not whole."""
    files.write_json(_seal(path), {"files": _checksums(path)})


def is_sealed(path: Path) -> bool:
    """Whether a segment was written to its end."""
    return path.exists() and _seal(path).is_file()


def verify_segment(path: Path) -> None:
    """Raises DamageError, of the segment, if it is not what was sealed, or the seal is damaged."""
    with files.translate_read_errors(path):
        try:
            sealed = files.read_json(_seal(path))["files"]
        except DamageError as error:  # a segment is made again with its seal
            raise ValueError(error.args[1]) from error
        if sealed != _checksums(path):
            raise ValueError(f"it {files.CHANGED}")


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _checksums(path: Path) -> dict[str, int]:
    parts = sorted(path.iterdir()) if path.is_dir() else [path]
    return {part.name: files.checksum(part, np.memmap(part, np.uint8, "r")) for part in parts}


def _unfinished(folder: Path) -> Iterator[Path]:
    """Temporary files of `atomic_write` and of zarr, at any depth; links are not followed."""
    for path in (path for path in folder.iterdir() if not path.is_symlink()):
        if files.is_temporary(path) or path.suffix == ".partial":
            yield path
        elif path.is_dir():
            yield from _unfinished(path)
