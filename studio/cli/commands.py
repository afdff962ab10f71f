"""The commands of `studio`. Each imports its modules when it runs, so that `--help` answers at once."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import App, CycloptsError, Parameter

from studio.errors import SceneError, StudioError

if TYPE_CHECKING:
    from studio.film.frame_source import FrameSource
    from studio.pipeline.project import Project
    from studio.scene.scene import Scene
    from studio.storage.shelf import Shelf

app = App(
    name="studio",
    help="Films and stills of neural-network loss landscapes. With --verbose, every command prints tracebacks.",
    version=lambda: version("landscape-studio"),
    default_parameter=Parameter(negative="", show_default=False),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

_OUT_OF_MEMORY = (
    "can't start new thread",
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "failed to map",
)
LARGEST_LOG = 2**20
"""Characters of older entries that stay in the log."""
_shelf: Shelf | None = None
"""The shelf that the command opened, for the log."""

T = TypeVar("T")
Draft = Annotated[bool, Parameter(help="quick: fewer keyframes, coarser grids, 640x360, 12 fps; marked on pictures.")]
Workers = Annotated[int | None, Parameter(help="worker processes; as many as there are cores if not given.")]
ShelfFolder = Annotated[Path | None, Parameter(help="folder of computed things; .studio beside SCENE if not given.")]
Device = Annotated[str | None, Parameter(help="cpu, cuda, cuda:1 or mps; if not given, STUDIO_DEVICE or the best.")]
Out = Annotated[Path | None, Parameter(help="folder of the finished files; out/SCENE if not given.")]
At = Annotated[str, Parameter(help="film time, such as 6s or 144f.")]


@Parameter(name="*")
@dataclass(frozen=True)
class DeviceOptions:
    """Where a command computes: all take the same words, since the device decides how a loss is measured."""

    device: Device = None

    def choose(self) -> None:
        """Makes this process compute there, and says why a GPU is left idle. Raises SceneError for an absent device."""
        from studio.execution.devices import choose
        from studio.training.device import idle_reasons

        choose(self.device)
        for text in idle_reasons():
            print(f"note: {text}", file=sys.stderr)


@Parameter(name="*")
@dataclass(frozen=True)
class ShelfOptions(DeviceOptions):
    """The options of every command that works with the shelf of a scene."""

    shelf: ShelfFolder = None
    draft: Draft = False

    def project(self, scene: Path, workers: int | None = None) -> Project:
        """The project of a scene. The log is on its shelf from now on."""
        from studio.execution.progress import show
        from studio.pipeline.project import Project

        global _shelf
        self.choose()
        project = Project.open(scene, self.shelf, draft=self.draft, workers=_count(workers), progress=show)
        _shelf = project.shelf
        return project


@Parameter(name="*")
@dataclass(frozen=True)
class OutputOptions(ShelfOptions):
    """The options of every command that makes files of a film."""

    workers: Workers = None
    out: Out = None

    def open(self, scene: Path) -> tuple[Project, Path]:
        """The project of a scene, and the folder of its finished files."""
        project = self.project(scene, self.workers)
        return project, self.out or project.out


_BEST, _BESIDE, _DEFAULTS = DeviceOptions(), ShelfOptions(), OutputOptions()


@app.command
def new(name: str) -> None:
    """Write a starter scene, NAME.yaml, with comments."""
    from studio.cli.scaffold import write_starter

    path = write_starter(Path(name))
    print(f"{path} is a scene. See what it would make: studio check {path}")


@app.command
def check(scene: Path, *, draft: Draft = False, safe: bool = False) -> None:
    """Validate SCENE and say what would be made; once it is measured, what its cameras meet in that land.

    Args:
        safe: refuse a scene that names functions, which every command that computes or draws would run.
    """
    from studio.cli.checkpoint_report import checkpoint_report
    from studio.cli.report import summary
    from studio.scene.scene import output_name

    loaded = _scene(scene, draft, safe)
    source = None if safe else _measured(loaded, scene, draft)
    report = checkpoint_report(loaded, scene, draft)
    print(summary(loaded, output_name(scene, draft), source), *report, sep="\n")


@app.command
def plan(scene: Path, *, draft: Draft = False, workers: Workers = None, on: DeviceOptions = _BEST) -> None:
    """Loss values, Hessian products, frames, disk, and time on this machine, from a short measurement."""
    from studio.cli.plan import estimate

    on.choose()
    for line in estimate(_scene(scene, draft), _count(workers)):
        print(line)


@app.command
def tune(scene: Path, *, workers: Workers = None, on: DeviceOptions = _BEST, dry_run: bool = False) -> None:
    """Time every method that computes SCENE's loss values, and write the fastest into the scene under `loss`.

    Args:
        dry_run: only print the table.
    """
    from studio.cli.tune import fastest, table, time_scene, write_method

    on.choose()
    count, loaded = _count(workers), _scene(scene, False)
    timings = time_scene(loaded, count)
    print(*table(timings, loaded, count), sep="\n")
    if not dry_run:
        method = fastest(timings, loaded, count)
        write_method(scene, method)
        print(f"{scene} now says loss: {{method: {method}}}")


@app.command
def train(scene: Path, *, on: ShelfOptions = _BESIDE) -> None:
    """Train the run of SCENE, or import its checkpoints."""
    from studio.pipeline import train

    for part in on.project(scene).parts:
        for folder in train.train(part):
            print(folder)


@app.command
def compute(scene: Path, *, on: ShelfOptions = _BESIDE, workers: Workers = None, check_subset: bool = False) -> None:
    """Measure the surfaces of SCENE; trains first if need be.

    Args:
        check_subset: only compare the loss, and the eigenvalues if they are measured, over the subset with those over
            all training images, at nine points.
    """
    from studio.cli import report
    from studio.pipeline.measure import measure, subset_errors
    from studio.pipeline.project import repairs

    def summary(part: Project) -> tuple[Any, Any, Any]:
        results = measure(part)
        return results.surfaces(), results.curvature(), results.facts()

    for part in on.project(scene, workers).parts:
        if part.landscape:
            print(f"{part.landscape}:")
        if check_subset:
            print(*report.subset_errors(subset_errors(part)), sep="\n")
            continue
        surfaces, curvature, facts = repairs(summary)(part)
        print(report.surfaces(surfaces), *report.curvature(curvature, part.scene.axis), sep="\n")
        print("last slice: " + ", ".join(f"{name} {value}" for name, value in facts.items()))


@app.command
def numbers(scene: Path, *, on: ShelfOptions = _BESIDE, workers: Workers = None) -> None:
    """Measure the numbers that SCENE claims, and print each with its spread; trains first if need be."""
    from studio.pipeline.numbers import measure_numbers

    for name, number in measure_numbers(on.project(scene, workers)).items():
        print(f"{name}: {number}")


@app.command
def film(
    scene: Path,
    *,
    output: OutputOptions = _DEFAULTS,
    frames: str | None = None,
    shot: str | None = None,
    verify: bool = False,
    follow: bool = False,
) -> None:
    """Make everything SCENE delivers.

    Args:
        frames: only these, as A:B, from A to before B.
        shot: only the shot of this name.
        verify: first compare all that the shelf holds with its checksums, and make what is damaged again; afterwards,
            draw some frames again in a new process and compare them to the bit.
        follow: make it again whenever a run that still trains has more checkpoints, until its recorder ends, or Ctrl-C.
    """
    from studio.cli.report import warnings
    from studio.pipeline.film import film_source, make_film, verify_shelf
    from studio.pipeline.film import verify as verify_film
    from studio.pipeline.following import follow as follow_runs

    if frames and shot:
        raise SceneError("--frames and --shot are two ways to say which part; give one of them")
    for project in follow_runs(lambda: output.open(scene)[0]) if follow else [output.open(scene)[0]]:
        if verify:
            verify_shelf(project)
        for path in make_film(project, output.out or project.out, _span(frames), shot):
            print(path, flush=True)
        if not project.draft:
            for line in warnings(film_source(project)):
                print(f"warning: {line}", file=sys.stderr)
        if verify:
            print(f"frames {', '.join(map(str, verify_film(project)))} drawn again: the same to the bit")


@app.command
def deliver(scene: Path, *, preset: list[str] | None = None, output: OutputOptions = _DEFAULTS) -> None:
    """Make other files of SCENE from its stored frames, without drawing.

    Args:
        preset: of a movie, such as prores-422hq, the format of a sequence, such as tiff16, or web, the page; may be
            given several times. What the scene delivers if not given.
    """
    from studio.deliver.deliverable import from_name
    from studio.pipeline import film

    deliverables = [_parse("preset", from_name, word) for word in preset or []]
    project, out = output.open(scene)
    for path in film.deliver(project, out, deliverables or project.scene.deliver):
        print(path)


@app.command
def still(
    scene: Path,
    *,
    at: At,
    output: OutputOptions = _DEFAULTS,
    size: str | None = None,
    paper: str | None = None,
    bleed: str | None = None,
    format_: Annotated[str | None, Parameter(name="--format")] = None,
    profile: str | None = None,
    dpi: int | None = None,
    alpha: bool = False,
    aovs: str | None = None,
    quality: str | None = None,
    points: int | None = None,
) -> None:
    """One picture of SCENE, of any size: what is larger than a window is drawn in tiles.

    Args:
        size: in pixels, such as 15360x8640; the film's if not given.
        paper: a sheet instead of a size, such as A0, B2-portrait or tabloid, at --dpi, 300 if not given.
        bleed: more picture on every side for the cutter, such as 3mm.
        format_: of the file, such as tiff16, jpg or exr; png if not given.
        profile: the colours it is converted to and tagged with, such as display-p3; srgb if not given.
        dpi: pixels to an inch of paper, written into the file.
        alpha: nothing stands behind the surface.
        aovs: of an exr, some of depth,normal,position,loss,convexity,mask.
        quality: how well it is drawn, from draft to master; as the film if not given.
        points: along each side of a grid of its own, such as 601: the nearest keyframe is measured on it.
    """
    from studio.config.reading import from_options
    from studio.deliver.paper import mm_to_pixels, sheet_pixels
    from studio.deliver.still import Still
    from studio.film.format import Format
    from studio.pipeline.film import make_still

    if size and paper:
        raise SceneError("--size and --paper are two ways to say how large; give one of them")
    per_inch = 300 if dpi is None else dpi
    resolution = per_inch if paper or bleed else dpi
    names = aovs.split(",") if aovs else None
    picture = from_options(Still, at=at, format=format_, profile=profile, dpi=resolution, alpha=alpha, aovs=names)
    form = from_options(Format, size=size, quality=quality)
    pixels, own_quality = form.size if size else None, form.quality if quality else None
    if paper:
        pixels = _parse("paper", lambda word: sheet_pixels(word, per_inch), paper)
    edge = mm_to_pixels(_parse("bleed", _millimetres, bleed), per_inch) if bleed else 0
    project, out = output.open(scene)
    print(make_still(project, out, picture, pixels, bleed=edge, quality=own_quality, points=points))


@app.command
def looks(scene: Path, *, at: At, folder: Path | None = None, output: OutputOptions = _DEFAULTS) -> None:
    """One frame of SCENE in every look, on a sheet.

    Args:
        folder: of looks of your own, shown first.
    """
    from studio.config.units import Time
    from studio.pipeline.film import look_sheet

    if folder is not None and not folder.is_dir():
        raise SceneError(f"--folder {folder}: no such folder")
    time = _parse("at", Time.parse, at)
    project, out = output.open(scene)
    print(look_sheet(project, out, time, folder))


@app.command
def storyboard(
    scene: Path, *, strip: str | None = None, curves: str | None = None, output: OutputOptions = _DEFAULTS
) -> None:
    """The first, the middle and the last frame of every shot of SCENE, on a sheet.

    Args:
        strip: the name of a shot: twelve frames of it instead.
        curves: the name of a shot: its camera's speed, turning and height over the land instead.
    """
    from studio.pipeline import film

    project, out = output.open(scene)
    print(film.storyboard(project, out, strip, curves))


@app.command
def cast(
    scene: Path,
    *,
    seeds: int | None = None,
    over: Literal["directions", "training", "range"] | None = None,
    by: Literal["relief", "ruggedness", "asymmetry", "negative"] | None = None,
    shot: str | None = None,
    at: str | None = None,
    landscape: str | None = None,
    points: int | None = None,
    take: int | None = None,
    output: OutputOptions = _DEFAULTS,
) -> None:
    """One instant of SCENE with other seeds or ranges, on a sheet ranked by what they show; or write one of them.

    Args:
        seeds: how many candidates, of the seeds 0, 1, 2 and so on, or of ranges; 24 if not given.
        over: what differs: the seed of random directions, if not given; that of the training, with a training for each;
            or the range of the grid, from a quarter of the scene's to four times it.
        by: what the best has most of: relief, ruggedness, if not given, asymmetry, or negative curvature.
        shot: whose end is cast, by its name; the film's end if not given.
        at: film time, such as 6s, in place of a shot's end.
        landscape: of several, the one that is cast; the first that is shown then if not given.
        points: along each side of a candidate's grid; 31 if not given.
        take: the number of a candidate on the last sheet: writes it into SCENE, and draws nothing.
    """
    from studio.config.units import Time
    from studio.pipeline import casting

    sheet = seeds, over, by, shot, at, landscape, points
    if shot is not None and at is not None:
        raise SceneError("--shot and --at are two ways to say when; give one of them")
    if take is not None and any(option is not None for option in sheet):
        raise SceneError("--take is of the last sheet, whatever that shows; give it without the options of a sheet")
    time = None if at is None else _parse("at", Time.parse, at)
    project, out = output.open(scene)
    if take is not None:
        print(f"{scene} now says {casting.take(project, take)}")
        return
    count, moment = casting.CANDIDATES if seeds is None else seeds, casting.Moment(shot, time, landscape)
    path, candidates = casting.cast(project, out, over or "directions", by or "ruggedness", count, moment, points)
    best = f"studio cast {scene} --take {candidates[0].number}{' --draft' * output.draft}"
    print(path, *casting.table(candidates), f"take one: {best}", sep="\n")


@app.command
def watch(scene: Path, *, output: OutputOptions = _DEFAULTS) -> None:
    """On every save of SCENE its mistakes, or a picture of the shot that changed, until Ctrl-C."""
    from studio.pipeline import film

    out = output.out or Path("out") / scene.stem
    for line in film.watch(lambda: output.open(scene)[0], out, scene):
        print(line, flush=True)


@app.command
def scout(scene: Path, *, on: ShelfOptions = _BESIDE, port: int = 0, no_open: bool = False) -> None:
    """SCENE in a browser, as far as it is measured: find views, play them as the film will, write them as camera keys.

    Args:
        port: of 127.0.0.1, where the page is served; a free one if not given.
        no_open: only print the link.
    """
    import webbrowser

    from studio.execution.local import LocalExecutor
    from studio.pipeline.project import Project
    from studio.pipeline.scout import Scout
    from studio.pipeline.scout_server import ScoutServer

    def reopen() -> Project:
        return Project.open(scene, on.shelf, draft=on.draft)

    on.project(scene)  # its mistakes, before anything is served
    with LocalExecutor(1) as executor, ScoutServer(Scout(reopen, scene, executor), port) as server:
        print(f"{server.link}\nCtrl-C ends it", flush=True)
        if not no_open:
            webbrowser.open(server.link)
        server.serve_forever()


@app.command
def explain(scene: Path, at: str, *, on: ShelfOptions = _BESIDE, workers: Workers = None) -> None:
    """Every resolved value of the frame of SCENE at a film time, such as 6.5s, and the line that it comes from."""
    from studio.cli.explain import explain
    from studio.config.units import Time
    from studio.pipeline.film import film_source, frame_at

    time, project = _parse("at", Time.parse, at), on.project(scene, workers)
    number = frame_at(project, time)
    print(*explain(project.scene, scene, film_source(project), number), sep="\n")


@app.command
def export(
    scene: Path,
    *,
    to: str,
    of: Literal["loss", "detail", "convexity", "spectrum"] = "loss",
    at: str | None = None,
    output: OutputOptions = _DEFAULTS,
) -> None:
    """What SCENE measured, draws or films, as files for other programs.

    Args:
        to: of what is measured: nc, zarr, csv, npz; li-h5, for the scripts of Li et al.; vtk, for ParaView. Of what is
            drawn: gltf; html, a page for a browser. Of the camera: camera-csv, usda; of the cut: otio.
        of: which measurements.
        at: film time that gltf shows and html opens with, such as 6s; the end if not given.
    """
    from studio.config.units import Time
    from studio.pipeline import exports

    time = _parse("at", Time.parse, at) if at else None
    project, out = output.open(scene)
    print(*exports.export(project, out, to, of, time), sep="\n")


@app.command
def gallery(folder: Path, *, on: ShelfOptions = _BESIDE, out: Path = Path("site"), stills: Path | None = None) -> None:
    """A static site of the scenes in FOLDER: stills, what they say, and the films and pages that are made.

    Args:
        out: folder of the site.
        stills: folder of pictures by the scenes' names; without it, those of measured scenes are drawn.
    """
    from studio.pipeline.gallery import gallery

    print(gallery(folder, out, on.project, stills))


@app.command
def status(scene: Path, *, on: ShelfOptions = _BESIDE, out: Out = None) -> None:
    """Each stage of SCENE: done, stale or missing."""
    from studio.cli import report
    from studio.pipeline import status
    from studio.pipeline.measure import results_of
    from studio.pipeline.train import is_trained

    project = on.project(scene)
    print(report.table(status.status(project, out or project.out)))
    for part in filter(is_trained, project.parts):
        print(*report.curvature(results_of(part).curvature(), part.scene.axis), sep="\n")


@app.command
def clean(scene: Path | None = None, *, shelf: ShelfFolder = None, dry_run: bool = False, frames: bool = False) -> None:
    """Remove from the shelf of SCENE, or of the scenes in this folder, what none of them needs.

    Args:
        dry_run: only say what would be removed.
        frames: remove all drawn frames too; finished files stay, and another grade or format draws them again.
    """
    from studio.cli.report import format_bytes
    from studio.storage.shelf import Shelf

    store = Shelf.beside(scene or Path("scene.yaml"), shelf)
    if not store.root.is_dir():
        raise SceneError(f"{store.root}: no shelf here; name the scene it stands beside, or --shelf FOLDER")
    if not store.is_marked:
        text = "has no shelf.json, so studio did not make it, and nothing is removed here"
        raise SceneError(f"{store.root}: {text}; an old shelf is marked by any command that uses it, such as train")
    unused = sorted({*store.unused(), *(store.frames() if frames else ())})
    whole, part = format_bytes(store.size()), format_bytes(store.size(unused))
    print(f"{store.root}: {whole}, of which no scene needs {part} in {len(unused)} items")
    if not dry_run:
        store.remove(unused)
        print(f"removed; {format_bytes(store.size())} left")


@app.command
def doctor() -> int:
    """What works on this machine, and what to install."""
    from studio.cli.doctor import run_checks

    status = 0
    for result in run_checks(Path.cwd()):
        print(f"{'ok     ' if result.works else 'MISSING'}  {result.name:8s} {result.details}", flush=True)
        status = status if result.works else 3
    return status


@app.command
def schema() -> None:
    """Print the JSON Schema of a scene, for editors."""
    from studio.cli.scaffold import schema_text

    print(schema_text(), end="")


def _scene(path: Path, draft: bool, safe: bool = False) -> Scene:
    from studio.scene.draft import to_draft
    from studio.scene.scene import Scene

    scene = Scene.load(path, safe=safe)
    return to_draft(scene) if draft else scene


def _measured(scene: Scene, path: Path, draft: bool) -> FrameSource | None:
    """The film of a scene whose shelf has all that it shows; None if it names functions, since none is imported."""
    from studio.scene.scene import output_name
    from studio.storage.files import shelf_folder

    if not any((shelf_folder(path) / "scenes").glob(f"{output_name(path, draft)}-*.json")):
        return None
    try:
        _scene(path, draft, safe=True)
    except SceneError:
        return None
    from studio.pipeline.film import measured_film
    from studio.pipeline.project import Project
    from studio.storage.shelf import Shelf

    return measured_film(Project(scene, path, Shelf.beside(path), draft=draft))


def _count(workers: int | None) -> int:
    from studio.execution.devices import usable_cores

    if workers is not None and workers < 1:
        raise SceneError(f"--workers {workers}: expected at least 1")
    return workers or usable_cores()


def _parse(option: str, parse: Callable[[str], T], text: str) -> T:
    """The value of an option. Raises SceneError that names the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise SceneError(f"--{option}: {error}") from error


def _span(text: str | None) -> tuple[int, int] | None:
    """First frame, and one past the last, from `A:B`."""
    if text is None:
        return None
    first, colon, last = text.partition(":")
    if not (colon and first.isdigit() and last.isdigit()):
        raise SceneError(f"--frames {text}: write it like 48:96, from 48 to before 96")
    return int(first), int(last)


def _millimetres(text: str) -> float:
    try:
        length = float(text.removesuffix("mm"))
    except ValueError:
        raise ValueError(f"'{text}' is not understood; write it like 3mm") from None
    if not 0 <= length <= 100:
        raise ValueError(f"expected 0mm to 100mm, found '{text}'")
    return length


def main() -> None:
    """Runs a command. Exit status: 0 done, 1 our defect, 2 the user's mistake, 3 the machine's, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of few letters gets escapes for the others
            stream.reconfigure(errors="backslashreplace")
    words, verbose = [word for word in sys.argv[1:] if word != "--verbose"], "--verbose" in sys.argv
    try:
        status = app(words, exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        print(f"{error} See studio --help", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (Exception, SystemExit) as error:
        text, status = _in_a_sentence(error)
        log = _log(error)
        if verbose:
            traceback.print_exception(error)
        elif status == 1:
            text += f" The traceback is {f'in {log}' if log else 'printed with --verbose'}"
        print(text, file=sys.stderr)
    except KeyboardInterrupt:
        text, status = "stopped; what was finished is kept, and the same command goes on from there", 130
        print("\n" * sys.stderr.isatty() + text, file=sys.stderr)
    sys.exit(status)


def _in_a_sentence(error: BaseException) -> tuple[str, int]:
    """What to print, and the exit status."""
    from studio.config.functions import as_users_mistake

    told = error if isinstance(error, StudioError) else as_users_mistake(error)
    if told:
        return str(told), told.exit_status
    reason = (str(error).strip() or "no reason given").splitlines()[0]
    if isinstance(error, OSError | MemoryError) or any(words in reason for words in _OUT_OF_MEMORY):
        return f"the machine refused: {'memory ran out' if isinstance(error, MemoryError) else reason}", 3
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.name}, line {frame.lineno}"
    return f"a defect of studio, please report it: {type(error).__name__}: {reason} ({place}).", 1


def _log(error: BaseException) -> Path | None:
    """Adds the traceback to the log on the shelf that was opened, if any, and returns its path."""
    from studio.storage.shelf import LOG

    if _shelf is None or not _shelf.is_marked:
        return None
    path = _shelf.root / LOG
    with contextlib.suppress(OSError):
        kept = path.read_text(errors="replace")[-LARGEST_LOG:] if path.exists() else ""
        lines = traceback.format_exception(error)
        path.write_text(f"{kept}{datetime.now():%Y-%m-%d %H:%M:%S} {' '.join(sys.argv)}\n{''.join(lines)}\n")
    return path
