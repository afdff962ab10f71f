"""The commands. Everything heavy is imported by the command that needs it, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import App, CycloptsError, Parameter

from studio.errors import SceneError, StudioError

app = App(
    name="studio",
    help="Films and stills of neural-network loss landscapes.",
    version=lambda: __import__("importlib.metadata", fromlist=["version"]).version("landscape-studio"),
    default_parameter=Parameter(negative="", show_default=False),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

T = TypeVar("T")
Draft = Annotated[
    bool, Parameter(help="quick and small: fewer keys, coarser grids, 640x360, 12 fps; said on the picture.")
]
Workers = Annotated[int | None, Parameter(help="worker processes; as many as there are cores if not given.")]
ShelfAt = Annotated[
    Path | None,
    Parameter(name="--shelf", help="where computed things are kept; .studio beside the scene if not given."),
]
Out = Annotated[Path | None, Parameter(help="folder of the finished files; out/SCENE if not given.")]
At = Annotated[str, Parameter(help="film time, such as 6s or 144f.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Making:
    """The options of every command that makes files of a film."""

    shelf: ShelfAt = None
    out: Out = None
    draft: Draft = False
    workers: Workers = None

    def begin(self, scene: Path):
        """The scene at work, and the folder of its finished files."""
        studio = _studio(scene, self.draft, self.workers, self.shelf)
        return studio, self.out or studio.out


_MAKING = Making()


@app.command
def new(name: str) -> None:
    """Write a starter scene, NAME.yaml, with comments."""
    from studio.cli.scaffold import write

    path = write(Path(name))
    print(f"{path} is a scene. See what it would make: studio check {path}")


@app.command
def check(scene: Path, *, draft: Draft = False) -> None:
    """Validate SCENE and say what would be made."""
    from studio.cli.report import summary
    from studio.scene.scene import named

    print(summary(_scene(scene, draft), named(scene, draft)))


@app.command
def plan(scene: Path, *, draft: Draft = False, workers: Workers = None) -> None:
    """Loss values, Hessian products, frames, disk, and time on this machine, from a short probe."""
    from studio.cli.plan import estimate

    for line in estimate(_scene(scene, draft), _count(workers)):
        print(line)


@app.command
def tune(scene: Path, *, workers: Workers = None, dry_run: bool = False) -> None:
    """Time every way to compute SCENE's loss values, and write the quickest into the scene as `method` under `loss`.

    Args:
        dry_run: only print the table.
    """
    from studio.cli.tune import best, table, times, write

    count = _count(workers)
    found = times(loaded := _scene(scene, False), count)
    for line in table(found, loaded, count):
        print(line)
    if not dry_run:
        write(scene, chosen := best(found, loaded, count))
        print(f"{scene} now says loss: {{method: {chosen}}}")


@app.command
def train(scene: Path, *, shelf: ShelfAt = None, draft: Draft = False) -> None:
    """Train the run of SCENE, or take in its checkpoints."""
    print(_studio(scene, draft, None, shelf).train())


@app.command
def compute(
    scene: Path, *, shelf: ShelfAt = None, draft: Draft = False, workers: Workers = None, check_subset: bool = False
) -> None:
    """Measure the surfaces of SCENE; trains first if need be.

    Args:
        check_subset: only compare the loss over the subset with that over all training images, at nine points.
    """
    from studio.cli import report

    studio = _studio(scene, draft, workers, shelf)
    if check_subset:
        for line in report.subset_errors(studio.subset_errors()):
            print(line)
        return
    print(report.measured(studio.compute()))
    for line in report.curvature(studio.curvature()):
        print(line)
    print("last slice: " + ", ".join(f"{name} {value}" for name, value in studio.facts().items()))


@app.command
def film(
    scene: Path,
    *,
    making: Making = _MAKING,
    frames: str | None = None,
    shot: str | None = None,
    verify: bool = False,
) -> None:
    """Make everything SCENE delivers.

    Args:
        frames: only these, as A:B, from A to before B.
        shot: only the shot of this name.
        verify: afterwards, draw some frames again in a fresh process and compare them to the bit.
    """
    if frames and shot:
        raise SceneError("--frames and --shot are two ways to say which part; give one of them")
    studio, out = making.begin(scene)
    for path in studio.film(out, _span(frames), shot):
        print(path)
    if not studio.scene.draft:
        _warn(studio)
    if verify:
        print(f"frames {', '.join(map(str, studio.verify()))} drawn again: the same to the bit")


@app.command
def deliver(scene: Path, *, preset: list[str] | None = None, making: Making = _MAKING) -> None:
    """Make other files of SCENE from the frames that are kept, without drawing.

    Args:
        preset: of a movie, such as prores-422hq, or the format of a sequence, such as tiff16; may be given several
            times. What the scene delivers if not given.
    """
    from studio.deliver.deliverable import by_word

    chosen = [_read("preset", by_word, word) for word in preset or []]
    studio, out = making.begin(scene)
    for path in studio.deliver(out, chosen or studio.scene.scene.deliver):
        print(path)


@app.command
def still(
    scene: Path,
    *,
    at: At,
    making: Making = _MAKING,
    size: str | None = None,
    paper: str | None = None,
    bleed: str | None = None,
    format: str | None = None,
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
        format: of the file, such as tiff16, jpg or exr; png if not given.
        profile: the colours it is converted to and tagged with, such as display-p3; srgb if not given.
        dpi: pixels to an inch of paper, written into the file.
        alpha: nothing stands behind the surface.
        aovs: of an exr, some of depth,normal,position,loss,convexity,mask.
        quality: how well it is drawn, from draft to master; as the film if not given.
        points: along each side of a grid of its own, such as 601: the nearest keyframe is measured on it.
    """
    from studio.config.reading import from_options
    from studio.deliver.paper import pixels, rim
    from studio.deliver.still import Still
    from studio.film.format import Format

    if size and paper:
        raise SceneError("--size and --paper are two ways to say how large; give one of them")
    if dpi is None and (paper or bleed):
        dpi = 300
    parts = aovs.split(",") if aovs else None
    wanted = from_options(Still, at=at, format=format, profile=profile, dpi=dpi, alpha=alpha, aovs=parts)
    form = from_options(Format, size=size, quality=quality)
    sheet = _read("paper", lambda word: pixels(word, dpi), paper) if paper else form.size if size else None
    edge = rim(_read("bleed", _millimetres, bleed), dpi) if bleed else 0
    studio, out = making.begin(scene)
    print(studio.still(out, wanted, sheet, bleed=edge, quality=form.quality if quality else None, points=points))


@app.command
def looks(scene: Path, *, at: At, folder: Path | None = None, making: Making = _MAKING) -> None:
    """One frame of SCENE in every look, on a sheet.

    Args:
        folder: of looks of your own, shown first.
    """
    from studio.config.units import Time

    if folder is not None and not folder.is_dir():
        raise SceneError(f"--folder {folder}: no such folder")
    time = _read("at", Time.parse, at)
    studio, out = making.begin(scene)
    print(studio.looks(out, time, folder))


@app.command
def storyboard(scene: Path, *, making: Making = _MAKING) -> None:
    """The first, the middle and the last frame of every shot of SCENE, on a sheet."""
    studio, out = making.begin(scene)
    print(studio.storyboard(out))


@app.command
def status(scene: Path, *, shelf: ShelfAt = None, out: Out = None, draft: Draft = False) -> None:
    """Each stage of SCENE: done, stale or missing."""
    from studio.cli import report

    studio = _studio(scene, draft, None, shelf)
    print(report.table(studio.status(out or studio.out)))
    if studio.trained:
        for line in report.curvature(studio.curvature()):
            print(line)


@app.command
def clean(scene: Path | None = None, *, shelf: ShelfAt = None, dry_run: bool = False, plates: bool = False) -> None:
    """Remove from the shelf of SCENE, or of the scenes in this folder, what none of them needs.

    Args:
        dry_run: only say what would be removed.
        plates: remove all drawn frames too; what was made of them stays, and another grade or format draws them again.
    """
    from studio.cli.report import bytes_
    from studio.storage.shelf import Shelf

    store = Shelf.beside(scene or Path("scene.yaml"), shelf)
    if not store.root.is_dir():
        raise SceneError(f"{store.root}: no shelf here; name the scene it stands beside, or --shelf FOLDER")
    if not store.marked:
        raise SceneError(
            f"{store.root}: has no shelf.json, so studio did not make it, and nothing is removed here; if it is an old "
            "shelf, any command that works on a scene with it (such as train) marks it"
        )
    unused = sorted({*store.unused(), *(store.plates() if plates else ())})
    print(
        f"{store.root}: {bytes_(store.size())}, "
        f"of which no scene needs {bytes_(store.size(unused))} in {len(unused)} things"
    )
    if not dry_run:
        store.remove(unused)
        print(f"removed; {bytes_(store.size())} left")


@app.command
def doctor() -> int:
    """What works on this machine, and what to install."""
    from studio.cli.doctor import examine

    good = True
    for finding in examine(Path.cwd()):
        print(f"{'ok     ' if finding.good else 'MISSING'}  {finding.name:8s} {finding.words}", flush=True)
        good = good and finding.good
    return 0 if good else 3


@app.command
def schema() -> None:
    """Print the JSON Schema of a scene, for editors."""
    from studio.cli.scaffold import schema_text

    print(schema_text(), end="")


def _scene(path: Path, draft: bool):
    from studio.scene.draft import drafted
    from studio.scene.scene import Scene

    scene = Scene.load(path)
    return drafted(scene) if draft else scene


def _studio(path: Path, draft: bool, workers: int | None, shelf: Path | None):
    from studio.execution.progress import shown
    from studio.pipeline.project import Studio

    return Studio.open(path, shelf, draft=draft, workers=_count(workers), progress=shown)


def _warn(studio) -> None:
    """Says on standard error what a viewer would notice in the shots of a film that is measured."""
    from studio.cli.report import warnings

    for line in warnings(studio.reel()):
        print(f"warning: {line}", file=sys.stderr)


def _count(workers: int | None) -> int:
    from studio.execution.workers import default_count

    if workers is not None and workers < 1:
        raise SceneError(f"--workers {workers}: expected at least 1")
    return workers or default_count()


def _read(option: str, parse: Callable[[str], T], text: str) -> T:
    """What an option says; its name comes before what is wrong with it."""
    try:
        return parse(text)
    except ValueError as error:
        raise SceneError(f"--{option}: {error}") from error


def _span(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, colon, last = text.partition(":")
    if not (colon and first.isdigit() and last.isdigit()):
        raise SceneError(f"--frames {text}: write it like 48:96, from 48 to before 96")
    return int(first), int(last)


def _millimetres(text: str) -> float:
    try:
        found = float(text.removesuffix("mm"))
    except ValueError:
        raise ValueError(f"'{text}' is not understood; write it like 3mm") from None
    if not 0 <= found <= 100:
        raise ValueError(f"expected 0mm to 100mm, found '{text}'")
    return found


def main() -> None:
    """Runs a command. Exit status: 0 done, 2 a mistake of the user's, 3 the machine's, 130 after Ctrl-C."""
    try:
        sys.exit(app(sys.argv[1:], exit_on_error=False, print_error=False) or 0)
    except CycloptsError as error:
        print(f"{error} See studio --help", file=sys.stderr)
        sys.exit(2)
    except StudioError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)
    except BrokenPipeError:  # whoever read our words has gone, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"the machine refused: {error}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        print(
            "\n" * sys.stderr.isatty() + "stopped; what was finished is kept, and the same command goes on from there",
            file=sys.stderr,
        )
        sys.exit(130)


if __name__ == "__main__":
    main()
