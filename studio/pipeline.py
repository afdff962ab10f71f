"""From a scene to a film: train, compute, film. Each stage keeps what it makes on the shelf and goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from . import doctor, workers
from .deliver.movie import Movie
from .deliver.still import Still
from .errors import SceneError
from .field import Field, Grid, Surfaces
from .film.frame import Reel
from .film.terrain import SCALES, undrawn
from .landscape import slices
from .landscape.objective import Loss
from .scene import Scene
from .spec import LARGEST, Size, Time, digest
from .store import Shelf
from .training import checkpoints

VERSION = 1                 # raise it when the same reel is to be drawn differently
PIECE = 2.0                 # seconds of film in a piece


class Progress(Protocol):
    """How a stage tells how far it is: `with progress(name, total) as advance: advance(done, text)`."""

    def __call__(self, name: str, total: int) -> AbstractContextManager[Callable[..., None]]: ...


def silent(name: str, total: int) -> AbstractContextManager[Callable[..., None]]:
    """Progress that is not shown."""
    return nullcontext(lambda done, text="": None)


@dataclass(frozen=True)
class Studio:
    """A scene at work: its shelf, the file it came from, how many workers, and whom to tell."""

    scene: Scene
    shelf: Shelf
    path: Path
    workers: int = 1
    draft: bool = False
    progress: Progress = silent

    @classmethod
    def open(cls, path: str | Path, shelf: Path | None = None, *, draft: bool = False, workers: int = 1,
             progress: Progress = silent) -> Studio:
        """The scene in a YAML file, at work. shelf: a folder, if not the one beside it."""
        scene = Scene.load(path)
        return cls(scene.draft() if draft else scene, Shelf.beside(Path(path), shelf), Path(path), workers, draft, progress)

    @property
    def name(self) -> str:
        """What files of this scene are called."""
        return self.path.stem + ("-draft" if self.draft else "")

    @property
    def note(self) -> str:
        """What the shelf calls its note of what this scene uses: scenes of one name in two folders have two."""
        return f"{self.name}-{digest(str(self.path.resolve()))[:8]}"

    @property
    def out(self) -> Path:
        """Where finished files go if nobody says."""
        return Path("out") / self.path.stem

    # --- training

    @cached_property
    def run_key(self) -> str:
        return checkpoints.run_digest(self.scene.run, self.scene.run.recipe.data.load().digest)

    @property
    def run_folder(self) -> Path:
        return self.shelf.run(self.run_key)

    @property
    def trained(self) -> bool:
        return set(self.scene.epochs()) <= set(checkpoints.epochs(self.run_folder))

    def train(self) -> Path:
        """The folder of the run, with every checkpoint the scene's run has."""
        self._remember(run=[self.run_key])
        if not self.trained:
            with self._owning(f"run-{self.run_key}"), self.progress("train", 1) as advance:
                if not self.trained:
                    _make_run(self.scene.run, self.run_folder, advance)
        return self.run_folder

    # --- measuring

    @property
    def slices(self) -> dict[tuple[str, float], slices.Slice]:
        """What is measured, by (what, epoch): the loss grid at every key, the convexity grid at its keys."""
        scene, curved = self.scene, self.scene.convexity
        found = {("loss", epoch): self._slice(epoch, scene.grid, scene.loss) for epoch in scene.keys()}
        if curved:
            found |= {("convexity", epoch): self._slice(epoch, curved.grid(scene.grid), curved.loss(scene.loss))
                      for epoch in scene.convexity_keys()}
        return found

    def _slice(self, epoch: float, grid: Grid, loss: Loss) -> slices.Slice:
        return slices.Slice(run=self.scene.run, folder=str(self.run_folder), epoch=epoch, directions=self.scene.directions,
                            loss=loss, grid=grid)

    @cached_property
    def slice_keys(self) -> dict[tuple[str, float], str]:
        """The shelf's key of each slice; needs the trained run."""
        how = {"loss": ("loss",), "convexity": ("convexity", self.scene.convexity and (self.scene.convexity.tol, self.scene.convexity.seed))}
        return {(what, epoch): digest(*how[what], slices.identity(slice_)) for (what, epoch), slice_ in self.slices.items()}

    def compute(self) -> Surfaces:
        """The measured surfaces of the scene, with the run's metrics."""
        self.train()
        keys = self.slice_keys
        self._remember(**self._by_kind(keys))
        if not all(self.shelf.slice(key).whole for key in keys.values()):
            with self._owning(f"compute-{self.run_key}"), workers.pool(self.workers) as run:
                for what in ("loss", "convexity"):
                    self._measure(what, run)
        return surfaces(self.shelf, self.run_folder, keys, self.scene)

    def dataset(self, what: Literal["loss", "convexity"] = "loss"):
        """What was measured, raw, as an xarray.Dataset over (key, beta, alpha), with the run's metrics over key."""
        run = self.compute()
        keys = {epoch: key for (kind, epoch), key in self.slice_keys.items() if kind == what}
        if not keys:
            raise SceneError(f"{self.path}: nothing measures the {what}")
        at = [run.epochs.index(epoch) for epoch in keys]
        metrics = {name: ("key", [values[i] for i in at]) for name, values in run.metrics.items()}
        return self.shelf.together(keys, _FIELDS[what]).assign(metrics)

    def facts(self) -> dict[str, str]:
        """What is known of the last slice beside its values: parameters, samples, path, the directions' cosine."""
        last = [key for (what, _), key in self.slice_keys.items() if what == "loss"][-1]
        attributes = self.shelf.slice(last).read().attrs
        return {name: attributes[name] for name in attributes if name in _FACTS or name.startswith("explained")}

    def _measure(self, what: str, run: Callable) -> None:
        chosen = {epoch: slice_ for (kind, epoch), slice_ in self.slices.items() if kind == what}
        stores = {epoch: self.shelf.slice(self.slice_keys[what, epoch]) for epoch in chosen}
        fresh = [epoch for epoch, store in stores.items() if not store.path.is_dir()]
        for index, facts in run([(slices.facts, (chosen[epoch],)) for epoch in fresh]):
            slice_, said = chosen[fresh[index]], {"scene": self.scene.title, "what": what}
            stores[fresh[index]].create(slice_.grid, _FIELDS[what], said | slices.identity(slice_) | facts)
        tasks, places = [], []
        for epoch, store in stores.items():
            for row in store.missing():
                tasks.append((_ROWS[what], (chosen[epoch], row, self.scene.convexity)))
                places.append((store, row))
        if not tasks:
            return
        per_row = self.scene.grid.points if what == "loss" else self.scene.convexity.points
        with self.progress("measure the loss" if what == "loss" else "measure the convexity", per_row * len(tasks)) as advance:
            for done, (index, values) in enumerate(run(tasks), start=1):
                store, row = places[index]
                store.write(row, values)
                advance(done * per_row)

    # --- filming

    def reel(self) -> Reel:
        """The film as a function of the frame's number; computes what it needs."""
        return _reel(self.scene, self.compute(), self.draft)

    def film(self, out: Path, frames: tuple[int, int] | None = None, shot: str | None = None) -> list[Path]:
        """Makes every deliverable of the scene, whole, in the folder `out`; returns their paths.

        frames: only from the first to before the second; shot: only the one of that name.
        """
        span, part = self._span(frames, shot)
        return self._deliver(out, span, part, whole=not part)

    def _deliver(self, out: Path, span: tuple[int, int], part: str, whole: bool) -> list[Path]:
        """Makes the deliverables over a span of frames. part: of the files' names. whole: whether that is all the scene makes."""
        renderer = self._renderer()
        self.compute()
        order = self._order()
        reel = order.reel
        pieces = {index: list(order.pieces(index, span, renderer)) for index in range(len(self.scene.deliver))}
        every = {p.key for found in pieces.values() for p in found}
        self._remember(pieces=sorted(every if whole else every.union(self._remembered("pieces"))))
        missing = {p.key: p for found in pieces.values() for p in found if not p.path.exists()}
        if missing:
            with self._owning(f"film-{digest(sorted(every))}"), workers.pool(self.workers) as run:
                self._draw([p for p in missing.values() if not p.path.exists()], order, run)
        made = {}
        for index, deliverable in enumerate(self.scene.deliver):
            path = out / deliverable.file(self.name + part)
            count = sum(p.stop - p.start for p in pieces[index])
            if count:
                deliverable.join([p.path for p in pieces[index]], path, frames=count, size=reel.size, fps=reel.cut.fps,
                                 provenance=self.provenance(renderer))
                made[index] = path
        before = self._remembered("made") or {}
        self._remember(made=before | {str(path.resolve()): digest([p.key for p in pieces[index]]) for index, path in made.items()})
        return list(made.values())

    def still(self, out: Path, at: Time, size: Size | None = None) -> Path:
        """One picture at a film time, as a PNG in the folder `out`. size: in pixels, the film's if None."""
        size_ = size or self.scene.film.size
        samples = max(1, min(self.scene.film.samples, LARGEST // max(size_)))     # what GL can draw at once
        form = self.scene.film.model_copy(update={"size": size_, "samples": samples})
        picture = self.scene.model_copy(update={"film": form, "deliver": (Still(at=at),)})
        if mistakes := [what for path, what in picture.mistakes() if path[0] == "deliver"]:
            raise SceneError(*(f"{self.path}: {what}" for what in mistakes))
        [path] = replace(self, scene=picture)._deliver(out, (0, picture.cut.length), f"-{size}" if size else "", whole=False)
        return path

    def _renderer(self) -> str:
        """The GL renderer. Asked, like the encoder, before hours are spent; raises MachineError if there is none."""
        if any(isinstance(deliverable, Movie) for deliverable in self.scene.deliver):
            doctor.encoder()
        return gl_renderer()

    def _draw(self, missing: list[Piece], order: Order, run: Callable) -> None:
        with self.progress("draw", sum(p.stop - p.start for p in missing)) as advance:
            done = 0
            together = [tuple(group) for _, group in groupby(sorted(missing, key=_stretch), key=_stretch)]
            for index, _ in run([(draw, (order, group)) for group in together]):
                done += sum(p.stop - p.start for p in together[index])
                advance(done)

    def _order(self) -> Order:
        return Order(self.scene, self.shelf, str(self.run_folder), tuple(self.slice_keys.items()), self.draft)

    def _span(self, frames: tuple[int, int] | None, shot: str | None) -> tuple[tuple[int, int], str]:
        """First frame, one past the last, and what the file's name says of it."""
        length = self.scene.cut.length
        if shot is not None:
            try:
                return self.scene.cut.span(shot), f"-{shot}"
            except KeyError:
                names = ", ".join(s.shot for s in self.scene.shots)
                raise SceneError(f"{self.path}: no shot '{shot}'; one of {names}") from None
        if frames is None:
            return (0, length), ""
        first, last = frames
        if not 0 <= first < last <= length:
            raise SceneError(f"{self.path}: frames {first}:{last} are not in the film, which has 0:{length}")
        return (first, last), f"-frames-{first}-{last}"

    # --- saying what was done

    def status(self, out: Path) -> list[tuple[str, str, str]]:
        """(stage, state, details) of every stage; a state is done, stale (made from something else) or missing."""
        epochs = self.scene.epochs()
        found = len(set(epochs) & set(checkpoints.epochs(self.run_folder)))
        rows = [("train", self._state("run", found, len(epochs), [self.run_key]), f"{found} of {len(epochs)} checkpoints")]
        keys = self._by_kind({} if found < len(epochs) else self.slice_keys)
        for what in ("loss", "convexity"):
            total = sum(kind == what for kind, _ in self.slices)
            whole = sum(self.shelf.slice(key).whole for key in keys[what])
            if total:
                rows.append((what, self._state(what, whole, total, keys[what]), f"{whole} of {total} slices"))
        for deliverable in self.scene.deliver:
            path = out / deliverable.file(self.name)
            now = all(state == "done" for _, state, _ in rows[:3]) and self._made(path) == (self._remembered("made") or {}).get(str(path.resolve()))
            rows.append(("deliver", "missing" if not path.exists() else "done" if now else "stale", str(path)))
        return rows

    def _state(self, what: str, found: int, total: int, keys: list[str]) -> str:
        if found == total:
            return "done"
        return "stale" if not found and set(self._remembered(what)) - set(keys) else "missing"

    def _made(self, path: Path) -> str | None:
        """The digest of what the file at `path` would be made of now."""
        order, renderer = self._order(), gl_renderer()
        for index, deliverable in enumerate(self.scene.deliver):
            if path.name == deliverable.file(self.name):
                return digest([p.key for p in order.pieces(index, (0, self.scene.cut.length), renderer)])
        return None

    def provenance(self, renderer: str) -> dict[str, Any]:
        """What every output says of its making."""
        packages = ("landscape-studio", "torch", "numpy", "scipy", "vtk", "pyvista")
        return {
            "scene": self.scene.title, "digest": digest(self.scene), "draft": self.draft, "renderer": renderer,
            "seed": self.scene.run.recipe.seed, "run": self.run_key, "slices": sorted(self.slice_keys.values()),
            "versions": {name: version(name) for name in packages},
        }

    def _owning(self, key: str):
        return self.shelf.owning(key, lambda: self.progress(f"waiting for another studio at work on {key[:12]}", 0).__enter__())

    def _remember(self, **used: Any) -> None:
        self.shelf.remember(self.note, scene=str(self.path.resolve()), **used)

    def _remembered(self, what: str) -> Any:
        return self.shelf.remembered(self.note).get(what, ())

    @staticmethod
    def _by_kind(keys: dict[tuple[str, float], str]) -> dict[str, list[str]]:
        """Keys of slices by what is measured on them."""
        return {what: [key for (kind, _), key in keys.items() if kind == what] for what in ("loss", "convexity")}


def _make_run(run, folder: Path, advance: Callable) -> None:
    if run.checkpoints is None:
        from .training import recorder
        recorder.train(run.recipe, folder, progress=advance)
    else:
        from .training import adopt
        adopt.adopt(run, folder)


def _loss_row(slice_, row: int, convexity) -> dict[str, np.ndarray]:
    return {name: values[0] for name, values in slices.loss_rows(slice_, (row, row + 1)).items()}


def _convexity_row(slice_, row: int, convexity) -> dict[str, np.ndarray]:
    n = slice_.grid.points
    return slices.extremes_points(slice_, convexity.tol, convexity.seed, (row * n, (row + 1) * n))


_FACTS = ("parameters", "samples", "path", "cosine")
_ROWS = {"loss": _loss_row, "convexity": _convexity_row}
_FIELDS = {"loss": ("loss", "accuracy"), "convexity": ("lambda_min", "lambda_max", "converged", "products")}


def surfaces(shelf: Shelf, run_folder: Path, keys: dict[tuple[str, float], str], scene: Scene) -> Surfaces:
    """The surfaces on the shelf. A Hessian point that did not converge is NaN."""
    fields = {}
    for what, names in (("loss", ("loss", "accuracy")), ("convexity", ("lambda_min", "lambda_max"))):
        epochs = tuple(epoch for kind, epoch in keys if kind == what)
        if not epochs:
            continue
        found = [shelf.slice(keys[what, epoch]).read() for epoch in epochs]
        grid = scene.grid.model_copy(update={"points": found[0].sizes["alpha"]})
        for name in names:
            values = np.stack([data[name].values for data in found])
            if what == "convexity":
                values = np.where(np.stack([data["converged"].values for data in found]) > 0, values, np.nan)
            fields[name] = Field(epochs, grid, values, SCALES[name])
    return Surfaces(fields, checkpoints.epochs(run_folder), checkpoints.metrics(run_folder))


def _reel(scene: Scene, measured: Surfaces, draft: bool) -> Reel:
    kind = scene.type.model_copy(update={"live": f"draft    {scene.type.live or ''}"} if draft else {})
    try:
        notes = {field: "\n".join([text, *undrawn(measured)]) for field, text in scene.notes().items()}
        return Reel.of(scene.shots, measured, scene.look, kind, scene.film, notes)
    except ValueError as error:
        raise SceneError(f"{scene.title}: {error}") from error


@dataclass(frozen=True)
class Order:
    """All a worker needs to make any frame: the scene and the shelf's keys. Small, and picklable."""

    scene: Scene
    shelf: Shelf
    run_folder: str
    keys: tuple[tuple[tuple[str, float], str], ...]
    draft: bool

    @property
    def reel(self) -> Reel:
        return _reel_of(self)

    def pieces(self, index: int, span: tuple[int, int], renderer: str) -> Iterator[Piece]:
        """The pieces of a deliverable over a span of frames, cut at fixed places, each with its own key."""
        reel, deliverable = self.reel, self.scene.deliver[index]
        start, stop = span
        if (at := getattr(deliverable, "at", None)) is not None:
            number = at.frames(reel.cut.fps)
            start, stop = (number, number + 1) if start <= number < stop else (0, 0)
        length = max(1, round(PIECE * reel.cut.fps))
        edges = sorted({start, stop, *range(-(-start // length) * length, stop, length)})
        for first, last in zip(edges, edges[1:], strict=False):
            shown = [(n, reel.cut.at(n)) for n in range(first, last)]
            paints = dict.fromkeys(part.shot.colour or reel.look.colour for _, parts in shown for part in parts)
            ranges = reel.ranges.height, reel.ranges.cap, [reel.ranges.of(paint) for paint in paints]
            key = digest("piece", VERSION, shown, reel.cut.fps, reel.look, reel.type, ranges, reel.notes, self.keys,
                         reel.size, self.scene.film.samples, renderer, deliverable.identity())
            yield Piece(key, index, first, last, self.shelf.piece(key, deliverable.piece))


@dataclass(frozen=True)
class Piece:
    """A stretch of one deliverable: frames start to before stop, and where it is kept."""

    key: str
    deliverable: int
    start: int
    stop: int
    path: Path


def _stretch(piece: Piece) -> tuple[int, int]:
    return piece.start, piece.stop


@lru_cache(maxsize=2)
def _reel_of(order: Order) -> Reel:
    return _reel(order.scene, surfaces(order.shelf, Path(order.run_folder), dict(order.keys), order.scene), order.draft)


@lru_cache(maxsize=1)
def _stage(size, mesh: int, samples: int):
    from .render.stage import Stage

    return Stage(size, mesh, samples)


def draw(order: Order, pieces: tuple[Piece, ...]) -> None:
    """Draws a stretch of frames once and encodes it for every deliverable that wants it."""
    reel, scene, (start, stop) = order.reel, order.scene, _stretch(pieces[0])
    stage = _stage(reel.size, reel.look.mesh, scene.film.samples)
    pictures: Iterable[np.ndarray] = (stage.draw(reel.frame(n)) for n in range(start, stop))
    if len(pieces) > 1:
        pictures = list(pictures)
    for piece in pieces:
        scene.deliver[piece.deliverable].segment(pictures, piece.path, reel.size, reel.cut.fps, start)


@lru_cache(maxsize=1)
def gl_renderer() -> str:
    """The GL renderer of this machine, asked in a process of its own, since VTK may crash where GL is missing."""
    return doctor.gl()
