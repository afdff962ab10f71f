"""From a scene to a film: train, compute, film. Each stage keeps what it makes on the shelf and goes on from there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol

from . import doctor, tasks, workers
from .deliver.deliverable import Deliverable
from .deliver.movie import Movie
from .deliver.still import Still
from .errors import SceneError
from .field import Grid, Surfaces
from .film.frame import Reel
from .film.gallery import gallery
from .film.quality import Quality
from .filming import Filming
from .landscape import slices
from .landscape.objective import Loss
from .scene import Scene, named
from .spec import Size, Time, digest
from .store import Shelf
from .store import Slice as Stored
from .training import checkpoints

_FIRST = "so make the film first: studio film"
_INPUTS = (
    *("scene", "what", "version", "model", "data", "samples_used", "epoch", "weights", "directions"),
    *("found_by", "loss", "grid", "device"),
)


class Progress(Protocol):
    """How a stage tells how far it is: `with progress(name, total) as advance: advance(done, text)`."""

    def __call__(self, name: str, total: int) -> AbstractContextManager[Callable[..., None]]: ...


def silent(name: str, total: int) -> AbstractContextManager[Callable[..., None]]:
    """Progress that is not shown."""
    return nullcontext(lambda *told: None)


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
    def open(
        cls,
        path: str | Path,
        shelf: Path | None = None,
        *,
        draft: bool = False,
        workers: int = 1,
        progress: Progress = silent,
    ) -> Studio:
        """The scene in a YAML file, at work. shelf: a folder, if not the one beside it."""
        scene = Scene.load(path)
        return cls(
            scene.draft() if draft else scene, Shelf.beside(Path(path), shelf), Path(path), workers, draft, progress
        )

    @property
    def name(self) -> str:
        """What files of this scene are called."""
        return named(self.path, self.draft)

    @property
    def note(self) -> str:
        """What the shelf calls its note of what this scene uses: scenes of one name in two folders have two."""
        return f"{self.name}-{digest(self._from_shelf(self.path))[:8]}"

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
        """What is measured, by (what, epoch): the loss grid at every key, the curvature's at its own."""
        scene, curved = self.scene, self.scene.convexity
        found = {}
        for what in tasks.kinds(scene):
            if what == "loss":
                found |= {(what, epoch): self._slice(epoch, scene.grid, scene.loss) for epoch in scene.keys()}
            else:
                grid, loss = curved.grid(scene.grid), curved.loss(scene.loss).alone
                found |= {(what, epoch): self._slice(epoch, grid, loss) for epoch in scene.convexity_keys()}
        return found

    def _slice(self, epoch: float, grid: Grid, loss: Loss) -> slices.Slice:
        return slices.Slice(
            run=self.scene.run,
            folder=str(self.run_folder),
            prepared=str(self.shelf.root),
            epoch=epoch,
            directions=self.scene.directions,
            loss=loss,
            grid=grid,
            drawn=self.scene.loss,
        )

    @cached_property
    def slice_keys(self) -> dict[tuple[str, float], str]:
        """The shelf's key of each slice; needs the trained run."""
        curved = self.scene.convexity
        return {
            (what, epoch): digest(what, slices.identity(slice_), slices.how(what, curved))
            for (what, epoch), slice_ in self.slices.items()
        }

    def compute(self) -> Surfaces:
        """The measured surfaces of the scene, with the run's metrics."""
        self.measure()
        return tasks.surfaces(self.shelf, self.run_folder, self.slice_keys, self.scene)

    def measure(self) -> None:
        """Puts on the shelf all that the scene measures; trains first if need be."""
        self.train()
        keys, prepared = self.slice_keys, self.slices.values()
        vectors, images = ({of(slice_) for slice_ in prepared} for of in (slices.plane_key, slices.samples_key))
        self._remember(planes=sorted(vectors), samples=sorted(images), **self._by_kind(keys))
        if not all(self.shelf.slice(key).whole for key in keys.values()):
            with self._owning(f"compute-{self.run_key}"), workers.pool(self.workers, workers.gpus()) as run:
                for what in tasks.kinds(self.scene):
                    self._measure(what, run)

    def dataset(self, what: Literal["loss", "convexity", "spectrum"] = "loss"):
        """What was measured, raw, as an xarray.Dataset over (key, beta, alpha), with the run's metrics over key.

        A spectrum is over (key, probe, step).
        """
        run = self.compute()
        keys = {epoch: key for (kind, epoch), key in self.slice_keys.items() if kind == what}
        if not keys:
            raise SceneError(f"{self.path}: nothing measures the {what}")
        at = [run.epochs.index(epoch) for epoch in keys]
        metrics = {name: ("key", [values[i] for i in at]) for name, values in run.metrics.items()}
        return self.shelf.together(keys).assign(metrics)

    def facts(self) -> dict[str, str]:
        """What is known of the last slice beside its values: parameters, samples, path, the directions' cosine."""
        last = [key for (what, _), key in self.slice_keys.items() if what == "loss"][-1]
        attributes = self.shelf.slice(last).read().attrs
        return {name: attributes[name] for name in attributes if name not in _INPUTS}

    def curvature(self) -> dict[float, dict[str, Any]]:
        """What the measured curvature says of the picture, by epoch; only of slices that are whole.

        `centre`: minimum, saddle, maximum or not stationary. `rank_correlation`: between the plane's share of negative
        curvature and the space's. `hidden_share`: of points convex in the picture and not in the space.
        `interlacing_share`: of points where the plane's curvatures lie between the space's, as they must. `trace` of
        the Hessian and its standard error, where a spectrum was measured.
        """
        found = {}
        for (what, epoch), key in self.slice_keys.items():
            # a spectrum may be kept while the convexity beside it is to be measured anew: then there is nothing to say
            if what == "convexity" or epoch in found:
                stored = self.shelf.slice(key)
                if stored.whole:
                    found.setdefault(epoch, {}).update(tasks.said(what, stored, self.scene.convexity))
        return found

    def subset_errors(self) -> list[tuple[float, float, float, float]]:
        """(alpha, beta, loss over the subset, loss over all images) at nine points of the last key's grid."""
        self.train()
        last = [slice_ for (what, _), slice_ in self.slices.items() if what == "loss"][-1]
        return slices.subset_errors(last)

    def _measure(self, what: str, run: Callable) -> None:
        chosen = {epoch: slice_ for (kind, epoch), slice_ in self.slices.items() if kind == what}
        stores = {epoch: self.shelf.slice(self.slice_keys[what, epoch]) for epoch in chosen}
        self._prepare(what, {epoch: store for epoch, store in stores.items() if not store.path.is_dir()}, run)
        work = [
            (store, stretch)
            for epoch, store in stores.items()
            for stretch in tasks.stretches(what, chosen[epoch], self.scene.convexity, store.missing())
        ]
        if not work:
            return
        with self.progress(f"measure the {what}", sum(stretch.points for _, stretch in work)) as advance:
            done = 0
            for index, values in run([stretch.task for _, stretch in work]):
                store, stretch = work[index]
                store.write(stretch.first, values)
                done += stretch.points
                advance(done)

    def _prepare(self, what: str, fresh: dict[float, Stored], run: Callable) -> None:
        """Finds the planes of slices that are not begun, and makes the places of their values."""
        if not fresh:
            return
        curved, chosen = self.scene.convexity, [self.slices[what, epoch] for epoch in fresh]
        with self.progress(f"prepare the {what}", len(fresh)) as advance:
            work = run([(slices.facts, (what, slice_, curved)) for slice_ in chosen])
            for done, (index, facts) in enumerate(work, start=1):
                slice_, said = chosen[index], {"scene": self.scene.title, "what": what}
                list(fresh.values())[index].create(
                    tasks.axes(what, slice_, curved), tasks.fields(what, slice_), said | slices.identity(slice_) | facts
                )
                advance(done)

    # --- filming

    def reel(self) -> Reel:
        """The film as a function of the frame's number; computes what it needs."""
        return tasks.reel_of_scene(self.scene, self.compute(), self.draft)

    def film(self, out: Path, frames: tuple[int, int] | None = None, shot: str | None = None) -> list[Path]:
        """Makes every deliverable of the scene, whole, in the folder `out`; returns their paths.

        frames: only from the first to before the second; shot: only the one of that name.
        """
        span, part = self._span(frames, shot)
        return self._deliver(out, self._filming(span), part, beside=bool(part))

    def deliver(self, out: Path, deliverables: Sequence[Deliverable]) -> list[Path]:
        """Makes other deliverables of the whole film, from the frames that are kept; returns their paths.

        Draws nothing, and needs no GL. Raises SceneError if frames would have to be drawn.
        """
        if any(deliverable.wants.layers for deliverable in deliverables):
            raise SceneError(f"{self.path}: layers are drawn anew, not kept; make them with studio film")
        filming = self._with(deliver=tuple(deliverables))._kept()
        if undrawn := filming.undrawn():
            raise SceneError(f"{self.path}: {len(undrawn)} of the film's frames are not drawn yet, {_FIRST}")
        return self._deliver(out, filming, beside=True)

    def verify(self) -> list[int]:
        """The numbers of some frames that were drawn again, in a fresh process, and came out the same to the bit."""
        return self._kept().verify()

    def _kept(self) -> Filming:
        """The whole film as it was last drawn. Raises SceneError if it cannot have been."""
        renderer = self._remembered("renderer")
        if not (renderer and self.trained and all(self.shelf.slice(key).whole for key in self.slice_keys.values())):
            raise SceneError(f"{self.path}: nothing is drawn that it could be made from, {_FIRST}")
        return self._filming((0, self.scene.cut.length), renderer)

    def _deliver(self, out: Path, filming: Filming, part: str = "", *, beside: bool) -> list[Path]:
        """Makes the deliverables over a span of frames. part: of the files' names; all of the film has none.

        beside: what the scene used before is still needed.
        """
        keys, renderer = filming.keys, filming.order.renderer
        if beside:
            keys = {room: sorted({*found, *self._remembered(room)}) for room, found in keys.items()}
        self._remember(renderer=renderer, **keys)
        made = filming.make(out, self.name + part, self.provenance(renderer), whole=not part)
        before = self._remembered("made") or {}
        now = {
            self._from_shelf(path): digest([piece.key for piece in filming.pieces[index]])
            for index, path in made.items()
        }
        self._remember(made=before | now)
        return list(made.values())

    def still(
        self, out: Path, still: Still, size: Size | None = None, *, bleed: int = 0, quality: Quality | None = None
    ) -> Path:
        """One picture of the film in the folder `out`. size, quality: the film's if None; size is in pixels.

        bleed: pixels of more picture on every side of it.
        """
        film = self.scene.film
        form = film.model_copy(update={"size": size or film.size, "quality": quality or film.quality})
        picture = self._with(film=form, deliver=(still,))
        filming = picture._filming((0, picture.scene.cut.length), bleed=bleed)
        [path] = picture._deliver(out, filming, f"-{size}" if size else "", beside=True)
        return path

    def _with(self, **changes: Any) -> Studio:
        """The same studio at a changed scene. Raises SceneError if the deliverables do not suit it."""
        scene = self.scene.model_copy(update=changes)
        if mistakes := [what for path, what in scene.mistakes() if path[0] in ("deliver", "film")]:
            raise SceneError(*(f"{self.path}: {what}" for what in mistakes))
        return replace(self, scene=scene)

    def _filming(self, span: tuple[int, int], renderer: str | None = None, bleed: int = 0) -> Filming:
        """The film at work. renderer: which GL drew it; None: this machine's, after all is measured."""
        movies = [deliverable for deliverable in self.scene.deliver if isinstance(deliverable, Movie)]
        if movies:  # asked before hours are spent, like GL
            doctor.encoder(frozenset().union(*(movie.encoders for movie in movies)))
        if renderer is None:
            renderer = gl_renderer()
            self.measure()
        return Filming(replace(self._order(renderer), bleed=bleed), span, self.workers, self.progress, self._owning)

    def looks(self, out: Path, at: Time, folder: Path | None = None) -> Path:
        """The picture at a film time in every look, side by side, as a PNG in the folder `out`.

        folder: of looks of one's own, shown first.
        """
        renderer, fps, number = gl_renderer(), self.scene.film.fps, at.frames(self.scene.film.fps)
        if number >= self.scene.cut.length:
            raise SceneError(f"{self.path}: {at} is after the end of the film")
        found = tuple(gallery(folder).items())
        self.measure()
        with self.progress("draw the looks", len(found)) as advance, workers.pool(1) as run:
            [(_, picture)] = run([(tasks.sheet, (self._order(renderer), number, found))])
            advance(len(found))
        height, width, _ = picture.shape
        path, still = out / f"{self.name}-looks.png", Still(at=at)
        with TemporaryDirectory() as beside:
            piece = Path(beside) / "sheet.png"
            still.segment([picture], piece, Size(width, height), fps)
            still.join([piece], path, size=Size(width, height), fps=fps, provenance=self.provenance(renderer))
        return path

    def _order(self, renderer: str) -> tasks.Order:
        keys = tuple(self.slice_keys.items())
        return tasks.Order(self.scene, self.shelf, str(self.run_folder), keys, self.draft, renderer)

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
        rows = [
            ("train", self._state("run", found, len(epochs), [self.run_key]), f"{found} of {len(epochs)} checkpoints")
        ]
        keys = self._by_kind({} if found < len(epochs) else self.slice_keys)
        for what in tasks.kinds(self.scene):
            total = sum(kind == what for kind, _ in self.slices)
            whole = sum(self.shelf.slice(key).whole for key in keys[what])
            if total:
                rows.append((what, self._state(what, whole, total, keys[what]), f"{whole} of {total} slices"))
        measured, made = all(state == "done" for _, state, _ in rows), dict(self._remembered("made"))
        for index, deliverable in enumerate(self.scene.deliver):
            path = out / deliverable.file(self.name)
            now = measured and path.exists() and self._made(index) == made.get(self._from_shelf(path))
            rows.append(("deliver", "missing" if not path.exists() else "done" if now else "stale", str(path)))
        return rows

    def _state(self, what: str, found: int, total: int, keys: list[str]) -> str:
        if found == total:
            return "done"
        return "stale" if not found and set(self._remembered(what)) - set(keys) else "missing"

    def _made(self, index: int) -> str:
        """The digest of what a deliverable would be made of now."""
        renderer = self._remembered("renderer") or gl_renderer()
        pieces = self._order(renderer).pieces(index, (0, self.scene.cut.length))
        return digest([piece.key for piece in pieces])

    def provenance(self, renderer: str) -> dict[str, Any]:
        """What every output says of its making."""
        packages = ("landscape-studio", "torch", "numpy", "scipy", "vtk", "pyvista")
        return {
            "scene": self.scene.title,
            "digest": digest(self.scene),
            "draft": self.draft,
            "renderer": renderer,
            "seed": self.scene.run.recipe.seed,
            "run": self.run_key,
            "slices": sorted(self.slice_keys.values()),
            "versions": {name: version(name) for name in packages},
        }

    def _owning(self, key: str):
        return self.shelf.owning(
            key, lambda: self.progress(f"waiting for another studio at work on {key[:12]}", 0).__enter__()
        )

    def _remember(self, **used: Any) -> None:
        self.shelf.remember(self.note, scene=self._from_shelf(self.path), **used)

    def _from_shelf(self, path: Path) -> str:
        """A path as the shelf's notes spell it: both can be moved together."""
        return os.path.relpath(path.resolve(), self.shelf.root)

    def _remembered(self, what: str) -> Any:
        return self.shelf.remembered(self.note).get(what, ())

    @staticmethod
    def _by_kind(keys: dict[tuple[str, float], str]) -> dict[str, list[str]]:
        """Keys of slices by what is measured on them."""
        kinds = ("loss", "convexity", "spectrum")
        return {what: [key for (kind, _), key in keys.items() if kind == what] for what in kinds}


def _make_run(run, folder: Path, advance: Callable) -> None:
    if run.checkpoints is None:
        from .training import recorder

        recorder.train(run.recipe, folder, progress=advance)
    else:
        from .training import adopt

        adopt.adopt(run, folder)


@lru_cache(maxsize=1)
def gl_renderer() -> str:
    """The GL renderer of this machine, asked in a process of its own, since VTK may crash where GL is missing."""
    return doctor.gl()
