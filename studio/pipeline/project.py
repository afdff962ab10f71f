"""From a scene to a film: train, measure, film, deliver.

    train     a run's checkpoints                      training/
    measure   slices                                   measuring.py puts them on the shelf, measured.py reads them
    film      plates, and the pieces made of them      filming.py, whose workers run render_job.py
    deliver   one finished file, or folder, each       deliver/

Each stage keeps what it makes on the shelf, and goes on from what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from studio.config.reading import from_options
from studio.config.records import FrozenDict, digest
from studio.config.units import Size, Time
from studio.deliver.deliverable import Deliverable
from studio.deliver.encoder import require_encoders
from studio.deliver.movie import Movie
from studio.deliver.still import Still
from studio.errors import SceneError
from studio.execution import workers
from studio.execution.progress import Progress, silent
from studio.field import Grid, Surfaces
from studio.film.frame_source import FrameSource
from studio.film.gallery import gallery
from studio.film.look import LARGEST_MESH
from studio.film.quality import Quality
from studio.pipeline import render_job
from studio.pipeline.measure import KINDS, Measuring, Portrait, of
from studio.pipeline.render import Rendering
from studio.pipeline.render_job import RenderJob, Segment
from studio.pipeline.results import Measured
from studio.render.gl import gl_renderer
from studio.scene.draft import drafted
from studio.scene.scene import Scene, named
from studio.storage.files import check_writable
from studio.storage.shelf import Manifest, Shelf
from studio.training import checkpoints
from studio.training.recipe import Run

_FIRST = "so make the film first: studio film"


@dataclass(frozen=True)
class Studio:
    """A scene at work: its shelf, the file it came from, how many workers, and whom to tell."""

    scene: Scene
    shelf: Shelf
    path: Path
    workers: int = 1
    draft: bool = False
    progress: Progress = silent
    portrait: Portrait | None = None

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
            drafted(scene) if draft else scene, Shelf.beside(Path(path), shelf), Path(path), workers, draft, progress
        )

    @property
    def name(self) -> str:
        """What files of this scene are called."""
        return named(self.path, self.draft)

    @property
    def out(self) -> Path:
        """Where finished files go if nobody says."""
        return Path("out") / self.path.stem

    # --- train

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
        self.manifest.add(run=[self.run_key])
        if not self.trained:
            with self.shelf.lock(f"run-{self.run_key}", self.progress), self.progress("train", 1) as advance:
                if not self.trained:
                    _make_run(self.scene.run, self.run_folder, advance)
        return self.run_folder

    # --- measure

    def measure(self) -> Measured:
        """Puts on the shelf all that the scene measures, and returns what names it there; trains first if need be."""
        self.train()
        self.manifest.add(**self._measuring.used)
        self._measuring.measure()
        return self.measured

    def compute(self) -> Surfaces:
        """The measured surfaces of the scene, with the run's metrics."""
        return self.measure().surfaces()

    def dataset(self, what: Literal["loss", "convexity", "spectrum"] = "loss"):
        """What was measured, raw, as an xarray.Dataset over (key, beta, alpha), with the run's metrics over key.

        A spectrum is over (key, probe, step).
        """
        return self.measure().dataset(what)

    def facts(self) -> dict[str, str]:
        """What is known of the last slice beside its values: parameters, samples, path, the directions' cosine."""
        return self.measured.facts()

    def curvature(self) -> dict[float, dict[str, Any]]:
        """What the measured curvature says of the picture, by epoch; only of slices that are whole.

        `centre`: minimum, saddle, maximum or not stationary. `rank_correlation`: between the plane's share of negative
        curvature and the space's. `hidden_share`: of points convex in the picture and not in the space.
        `interlacing_share`: of points where the plane's curvatures lie between the space's, as they must. `trace` of
        the Hessian and its standard error, where a spectrum was measured.
        """
        return self.measured.curvature()

    def subset_errors(self) -> list[tuple[float, float, float, float]]:
        """(alpha, beta, loss over the subset, loss over all images) at nine points of the last key's grid."""
        self.train()
        return self._measuring.subset_errors()

    @property
    def slice_keys(self) -> dict[tuple[str, float], str]:
        """The shelf's key of each slice, by (what, epoch); needs the trained run."""
        return self._measuring.keys

    @cached_property
    def measured(self) -> Measured:
        """What names the scene's slices on the shelf, measured or not; needs the trained run."""
        return Measured(self.scene, self.shelf, self.run_folder, FrozenDict(self.slice_keys), self.portrait)

    @cached_property
    def _measuring(self) -> Measuring:
        return Measuring(self.scene, self.shelf, self.run_folder, self.workers, self.progress, self.portrait)

    # --- film and deliver

    def reel(self) -> FrameSource:
        """The film as a function of the frame's number; computes what it needs."""
        return render_job.reel_of(self.measure(), self.draft)

    def film(self, out: Path, frames: tuple[int, int] | None = None, shot: str | None = None) -> list[Path]:
        """Makes every deliverable of the scene, whole, in the folder `out`; returns their paths.

        frames: only from the first to before the second; shot: only the one of that name.
        """
        span, part = self._span(frames, shot)
        check_writable(out)  # asked before hours are spent
        return self._deliver(out, self._filming(span), part, beside=bool(part))

    def deliver(self, out: Path, deliverables: Sequence[Deliverable]) -> list[Path]:
        """Makes other deliverables of the whole film, from the frames that are kept; returns their paths.

        Draws nothing, and needs no GL. Raises SceneError if frames would have to be drawn.
        """
        if any(deliverable.wants.aovs for deliverable in deliverables):
            raise SceneError(f"{self.path}: layers are drawn anew, not kept; make them with studio film")
        check_writable(out)
        filming = self._with(deliver=tuple(deliverables))._kept()
        if undrawn := filming.undrawn():
            raise SceneError(f"{self.path}: {len(undrawn)} of the film's frames are not drawn yet, {_FIRST}")
        return self._deliver(out, filming, beside=True)

    def verify(self) -> list[int]:
        """The numbers of some frames that were drawn again, in a fresh process, and came out the same to the bit."""
        return self._kept().verify()

    def still(
        self,
        out: Path,
        still: Still,
        size: Size | None = None,
        *,
        bleed: int = 0,
        quality: Quality | None = None,
        points: int | None = None,
    ) -> Path:
        """One picture of the film in the folder `out`. size, quality: the film's if None; size is in pixels.

        bleed: pixels of more picture on every side of it. points: along each side of a grid of its own, on which the
        nearest keyframe is measured and shown, on the film's ranges. Raises SceneError if they make no grid.
        """
        film = self.scene.film
        form = film.model_copy(update={"size": size or film.size, "quality": quality or film.quality})
        changes: dict[str, Any] = {"film": form, "deliver": (still,)}
        if points:
            changes["look"] = self.scene.look.model_copy(update={"mesh": _mesh_for(points, self.scene)})
        picture = self._with(**changes)
        if points:
            picture = replace(picture, portrait=Portrait(self._nearest_key(still.at), points))
        check_writable(out)
        words = size, points and f"{points}-points", bleed and f"bleed-{bleed}"
        part = "".join(f"-{word}" for word in words if word)
        [path] = picture._deliver(out, picture._filming(bleed=bleed), part, beside=True)
        return path

    def _nearest_key(self, at: Time) -> float:
        """The keyframe nearest to what the film shows at a time, in its leading shot."""
        shown = max(self.scene.cut.at(at.frames(self.scene.film.fps)), key=lambda part: part.weight)
        coordinate = shown.shot.coordinate(shown.seconds, self.scene.film.fps)
        return min(self.scene.keys(), key=lambda key: abs(key - coordinate))

    def looks(self, out: Path, at: Time, folder: Path | None = None) -> Path:
        """The picture at a film time in every look, side by side, as a PNG in the folder `out`.

        folder: of looks of one's own, shown first.
        """
        number = at.frames(self.scene.film.fps)
        if number >= self.scene.cut.length:
            raise SceneError(f"{self.path}: {at} is after the end of the film")
        return self._sheet(out, "looks", render_job.sheet, number, tuple(gallery(folder).items()))

    def storyboard(self, out: Path) -> Path:
        """The first, the middle and the last frame of every shot, small, on one sheet, as a PNG in the folder `out`."""
        return self._sheet(out, "storyboard", render_job.storyboard)

    def _sheet(self, out: Path, name: str, task: Callable, *arguments: Any) -> Path:
        """A picture that a worker puts together of several, as a PNG in the folder `out`."""
        check_writable(out)
        renderer, fps = gl_renderer(), self.scene.film.fps
        self.measure()
        with self.progress(f"draw the {name}", 1) as advance, workers.pool(1) as run:
            [(_, picture)] = run([(task, (self._order(renderer), *arguments))])
            advance(1)
        height, width, _ = picture.shape
        path, still, size = out / f"{self.name}-{name}.png", Still(at=Time(0)), Size(width, height)
        with TemporaryDirectory() as beside:
            piece = Path(beside) / "sheet.png"
            still.segment([picture], piece, size, fps)
            still.join([piece], path, size=size, fps=fps, provenance=self.provenance(renderer))
        return path

    def _filming(self, span: tuple[int, int] | None = None, bleed: int = 0) -> Rendering:
        """The film at work, or a span of it; measures first what is missing."""
        self._ask_for_encoders()
        renderer = gl_renderer()  # asked before hours are spent, like the encoders
        self.measure()
        return Rendering(self._order(renderer, bleed), span or self._whole, self.workers, self.progress)

    def _kept(self) -> Rendering:
        """The whole film as it was last drawn. Raises SceneError if it cannot have been."""
        renderer = self.manifest.read().get("renderer")
        if not (renderer and self.trained and self._measuring.done):
            raise SceneError(f"{self.path}: nothing is drawn that it could be made from, {_FIRST}")
        self._ask_for_encoders()
        return Rendering(self._order(renderer), self._whole, self.workers, self.progress)

    def _order(self, renderer: str, bleed: int = 0) -> RenderJob:
        return RenderJob(self.measured, self.draft, renderer, bleed)

    def _deliver(self, out: Path, filming: Rendering, part: str = "", *, beside: bool) -> list[Path]:
        """Makes the deliverables over a span of frames. part: of the files' names; all of the film has none.

        beside: what the scene used before is still needed.
        """
        used, before, renderer = filming.used, self.manifest.read(), filming.order.renderer
        if beside:
            used = {room: sorted({*found, *before.get(room, ())}) for room, found in used.items()}
        self.manifest.add(renderer=renderer, **used)
        made = filming.make(out, self.name + part, self.provenance(renderer), whole=not part)
        now = {self.manifest.spelt(path): _named(filming.pieces[index]) for index, path in made.items()}
        self.manifest.add(made=self.manifest.read().get("made", {}) | now)
        return list(made.values())

    def _with(self, **changes: Any) -> Studio:
        """The same studio at a changed scene. Raises SceneError if the deliverables do not suit it."""
        scene = self.scene.model_copy(update=changes)
        if mistakes := [what for path, what in scene.mistakes() if path[0] in ("deliver", "film")]:
            raise SceneError(*(f"{self.path}: {what}" for what in mistakes))
        return replace(self, scene=scene)

    def _ask_for_encoders(self) -> None:
        """Raises MachineError if this machine's ffmpeg lacks one that the scene's movies need."""
        movies = [deliverable for deliverable in self.scene.deliver if isinstance(deliverable, Movie)]
        if movies:
            require_encoders(frozenset().union(*(movie.encoders for movie in movies)))

    @property
    def _whole(self) -> tuple[int, int]:
        return 0, self.scene.cut.length

    def _span(self, frames: tuple[int, int] | None, shot: str | None) -> tuple[tuple[int, int], str]:
        """First frame, one past the last, and what the file's name says of it."""
        if shot is not None:
            try:
                return self.scene.cut.span(shot), f"-{shot}"
            except KeyError:
                names = ", ".join(s.shot for s in self.scene.shots)
                raise SceneError(f"{self.path}: no shot '{shot}'; one of {names}") from None
        if frames is None:
            return self._whole, ""
        (first, last), (_, length) = frames, self._whole
        if not 0 <= first < last <= length:
            raise SceneError(f"{self.path}: frames {first}:{last} are not in the film, which has 0:{length}")
        return frames, f"-frames-{first}-{last}"

    # --- what was done

    @property
    def note(self) -> Manifest:
        """What the shelf knows of what this scene last used."""
        return self.shelf.manifest(self.path, self.name)

    def status(self, out: Path) -> list[tuple[str, str, str]]:
        """(stage, state, details) of every stage; a state is done, stale (made from something else) or missing."""
        wanted, before = self.scene.epochs(), self.manifest.read()
        found = len(set(wanted) & set(checkpoints.epochs(self.run_folder)))
        state = _state(found, len(wanted), [self.run_key], before.get("run", ()))
        rows = [("train", state, f"{found} of {len(wanted)} checkpoints")]
        keys = self.slice_keys if found == len(wanted) else {}
        for what in KINDS:
            if total := len(of(what, self._measuring.slices)):
                own = list(of(what, keys).values())
                found = sum(self.shelf.slice(key).whole for key in own)
                state = _state(found, total, own, before.get(what, ()))
                rows.append((what, state, f"{found} of {total} slices"))
        paths = [out / deliverable.file(self.name) for deliverable in self.scene.deliver]
        now, made = {}, before.get("made", {})
        if all(state == "done" for _, state, _ in rows) and any(path.exists() for path in paths):
            pieces = self._order(before.get("renderer") or gl_renderer()).pieces(self._whole)
            now = {path: _named(own) for path, own in zip(paths, pieces, strict=True)}
        for path in paths:
            done = path in now and now[path] == made.get(self.manifest.spelt(path))
            rows.append(("deliver", "missing" if not path.exists() else "done" if done else "stale", str(path)))
        return rows

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


def _mesh_for(points: int, scene: Scene) -> int:
    """Vertices along a side that show so many measured points. Raises SceneError if they make no grid."""
    from_options(Grid, points=points)
    return max(scene.look.mesh, min(2 * points + 1, LARGEST_MESH))


def _state(found: int, total: int, keys: Sequence[str], before: Sequence[str]) -> str:
    if found == total:
        return "done"
    return "stale" if not found and set(before) - set(keys) else "missing"


def _named(pieces: Sequence[Segment]) -> str:
    """The digest of what a deliverable is made of."""
    return digest([piece.key for piece in pieces])


def _make_run(run: Run, folder: Path, advance: Callable) -> None:
    if run.checkpoints is None:
        from studio.training import recorder

        recorder.train(run.recipe, folder, progress=advance)
    else:
        from studio.training import import_checkpoints

        import_checkpoints.import_checkpoints(run, folder)
