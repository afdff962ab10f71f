"""Faults: a damaged shelf, a killed production, a machine that refuses; the film is the same afterwards.

    python tests/fuzz/faults.py [seed] [count]        count 10000: 200 faults, 100 kills, 20 full disks;
    0: a dozen faults and three kills, for `make test`

Every production is of a tiny scene, in a process of its own that is forked from this one, with its tasks inside.
"""

import contextlib
import errno
import importlib
import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path

from studio.cli import commands
from studio.deliver import encoder
from studio.execution import local
from studio.pipeline.film import make_film, verify_shelf
from studio.pipeline.project import Project
from studio.render.gl import gl_renderer

SCENE = """\
title: Tiny
run:
  recipe: {model: {kind: mlp, depth: 1, width: 8}, data: digits, epochs: 2, checkpoint: {every: 1},
    optimizer: {kind: sgd, lr: 0.1}}
directions: {kind: random, seed: 1}
sweep: {kind: epochs, at: [0, 1, 2]}
grid: {range: [-1, 1], points: 5}
loss: {subset: 32, mode: eval}
convexity: {points: 3, at: [0, 2], tol: 1e-1}
look: {base: ember, mesh: 33, trajectory: {}}
film: {size: 64x36, fps: 4}
shots:
  - {shot: a, duration: 2s, along: {0s: 0, 2s: 2}, camera: {moves: [{orbit: 40deg, over: 2s}]}}
  - {shot: b, duration: 2s, along: {0s: 2}, colour: {field: convexity, map: lajolla}}
deliver: [{kind: movie, preset: h264-web}, {kind: sequence}]
"""
PATIENCE = 300.0
"""Seconds after which a production counts as a hang."""
DOWNSTREAM = ((), ("segments",), ("segments", "frames"), ("segments", "frames", "slices"), ("slices", "positions"))
"""What is removed besides a fault, so that what lies before it is opened again."""
WARM = "landscape.tasks landscape.values.evaluator landscape.curvature.hvp render.stage training.recorder deliver.media"
"""Modules that load what is slow to load, once for all the forks."""
LAWLESS = ("locks", "shelf.json", "studio.log", "scenes")
"""What on a shelf may differ from another one of the same film."""


class InThisProcess(Executor):
    """Runs tasks in this process, one after the other."""

    def __init__(self, workers, gpus=()):
        pass

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def produce(
    folder: Path, before: Callable[[], object] = lambda: None, *, verify: bool = False, kill: float = 0
) -> tuple[str, str]:
    """Makes the film of a folder in a new process; returns how that ended, and what it said.

    before: called there first. kill: after so many seconds.
    """
    report = folder.with_name(f"{folder.name}.report")
    report.write_text("")
    if (child := os.fork()) == 0:
        _work(folder, before, verify, report)
    deadline, end = time.monotonic() + (kill or PATIENCE), 0
    while not end and time.monotonic() < deadline:
        time.sleep(0.005)
        end, _ = os.waitpid(child, os.WNOHANG)
    if not end:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "killed" if kill else "hang", ""
    word, _, rest = report.read_text().partition(" ")
    return word or "killed", rest


def _work(folder: Path, before: Callable[[], object], verify: bool, report: Path) -> None:
    """The child's part; it never returns."""
    words: list[str] = []
    notes = logging.Handler()
    notes.emit = lambda record: words.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("studio").addHandler(notes)
    local.LocalExecutor = InThisProcess  # type: ignore[assignment, misc]
    with open(report, "w") as out:  # open before a limit forbids it
        try:
            before()
            project = Project.open(folder / "tiny.yaml")
            if verify:
                verify_shelf(project)
            make_film(project, folder / "out")
            text = f"done {' | '.join(words)}"
        except (Exception, SystemExit) as error:
            sentence, status = commands._in_a_sentence(error)
            word = {1: "traceback", 2: "mistake", 3: "machine"}[status]
            text = f"{word} {sentence if status > 1 else ''.join(traceback.format_exception(error))}"
        out.write(text)
        out.flush()
        os._exit(0)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name; of a shelf only those that are the same for every shelf of the film."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in files.items()
        # what a killed process left unfinished, `clean` removes
        if name.parts[0] not in LAWLESS and name.suffix != ".partial" and not any(p.startswith(".") for p in name.parts)
    }


def new_folder(root: Path, number: object, source: Path | None = None) -> Path:
    """A folder with the scene, or a copy of another one."""
    folder = root / f"{number}"
    shutil.copytree(source, folder) if source else folder.mkdir()
    (folder / "tiny.yaml").write_text(SCENE)
    return folder


def damage(rng: random.Random, shelf: Path) -> str:
    """Damages one thing on a shelf; returns the kind of fault, and where."""
    files = sorted(path for path in shelf.rglob("*") if path.is_file() and path.relative_to(shelf).parts[0] != "locks")
    room = rng.choice(sorted({path.relative_to(shelf).parts[0] for path in files}))  # few notes, many chunks
    path = rng.choice([path for path in files if path.relative_to(shelf).parts[0] == room])
    others = [other for other in files if other != path and other.suffix == path.suffix] or [path]
    kind = rng.choice(["flip", "cut", "empty", "delete", "foreign", "swap", "garbage", "entry"])
    content, other = path.read_bytes(), rng.choice(others)
    at = rng.randrange(len(content) or 1)
    garbage = rng.choice((b"{}", b"[]", b"null", b'{"checksum": 1}', b"{" * 2000, rng.randbytes(200)))
    entries = [entry for entry in sorted((shelf / room).glob("*")) if entry.suffix == path.suffix] or [path]
    match kind:
        case "flip":
            flipped = bytes(byte ^ rng.randrange(1, 256) for byte in content[at : at + 1])
            path.write_bytes(content[:at] + flipped + content[at + 1 :])
        case "cut" | "empty" | "garbage":
            path.write_bytes({"cut": content[:at], "empty": b"", "garbage": garbage}[kind])
        case "delete":
            path.unlink()
        case "foreign" | "swap":
            path.write_bytes(other.read_bytes())
            if kind == "swap":
                other.write_bytes(content)
        case "entry" if len(entries) > 1:  # two whole things exchange places
            path, two = rng.sample(entries, 2)
            path.rename(shelf / "swap"), two.rename(path), (shelf / "swap").rename(two)
    return f"{kind} {path.relative_to(shelf)}"


def faults(seed: int, count: int, root: Path, whole: Path) -> Iterator[tuple[str, str]]:
    """(outcome, details) of single faults on the shelf of a finished film."""
    film, shelf = contents(whole / "out"), contents(whole / ".studio")
    for number in range(count):
        rng = random.Random(f"faults {seed} {number}")
        folder = new_folder(root, f"fault-{number}", whole)
        what = damage(rng, folder / ".studio")
        removed, verify = rng.choice(DOWNSTREAM), rng.random() < 0.3
        for name in removed:
            shutil.rmtree(folder / ".studio" / name, ignore_errors=True)
        changed = any(shelf.get(name) != content for name, content in contents(folder / ".studio").items())
        shutil.rmtree(folder / "out")
        how, text = produce(folder, verify=verify)
        details = f"{number}: {what}, without {removed}, verify {verify}: {text}"
        if how != "done":
            yield how, details
        elif contents(folder / "out") != film:
            yield "another film", details
        elif any(shelf.get(name) != content for name, content in contents(folder / ".studio").items() if verify):
            yield "damage stays", details
        else:
            yield "noticed" if text else "without effect" if changed else "absent or unread", details
        shutil.rmtree(folder)


# --- kills -----------------------------------------------------------------------------------------------------------


def at_write(number: int, act: Callable[[str], None], under: str = "") -> Callable[[], None]:
    """A hook that acts before write `number` below a folder: a file opened, named or removed."""
    left = [number]

    def watch(event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in ("os.rename", "os.mkdir", "os.remove")):
            return
        place = str(arguments[0])
        if under in place and "/tiny" not in place and not place.endswith(".lock"):
            left[0] -= 1
            if left[0] < 0:
                act(place)

    return lambda: sys.addaudithook(watch)


def kills(seed: int, count: int, root: Path, whole: Path) -> Iterator[tuple[str, str]]:
    """(outcome, details) of kills: at writes, spread evenly over all of them; at moments; of a command with workers."""
    film, shelf = contents(whole / "out"), contents(whole / ".studio")
    folder, counter, start = new_folder(root, "counted"), root / "counter", time.monotonic()
    with open(counter, "wb", buffering=0) as file:
        assert produce(folder, at_write(0, lambda place: file.write(b".") and None, str(folder)))[0] == "done"
    seconds, total = time.monotonic() - start, counter.stat().st_size
    for number in range(count):
        rng = random.Random(f"kills {seed} {number}")
        mark = f"faults-{os.getpid()}-{number}"
        os.environ["STUDIO_TEST_MARK"] = mark
        folder = new_folder(root, f"kill-{number}")
        how = ("write", "moment", "write", "command")[number % 4]
        if how == "write":
            place = (number // 2) * total // max(1, (count + 1) // 2)
            ended = produce(folder, at_write(place, lambda _: os.kill(os.getpid(), signal.SIGKILL), str(folder)))
            details = f"{number}: at write {place} of {total}"
        elif how == "moment":
            place = rng.uniform(0, seconds)
            ended, details = produce(folder, kill=place), f"{number}: after {place:.2f} s"
        else:
            place = rng.uniform(0, 4 * seconds + 8)
            command = [sys.executable, "-m", "studio.cli", "film", "tiny.yaml", "--workers", "2", "--out", "out"]
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(place)
            process.kill()
            process.wait()
            ended, details = ("killed", ""), f"{number}: command after {place:.2f} s"
        deadline = time.monotonic() + 5
        while (orphans := _marked(mark)) and time.monotonic() < deadline:
            time.sleep(0.05)
        again, text = produce(folder)
        if orphans:
            yield "orphan", f"{details}: {orphans}"
        elif ended[0] not in ("killed", "done") or again != "done":
            yield again, f"{details}: {ended}, then {text}"
        elif contents(folder / "out") != film or contents(folder / ".studio") != shelf:
            yield "another film", details
        else:
            yield "identical", details
        shutil.rmtree(folder)


def _marked(mark: str) -> list[str]:
    """Command lines of processes that were started with the mark in their environment."""
    lines = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (path / "environ").read_bytes() and "Z" not in (path / "stat").read_text().split()[2]:
                lines.append((path / "cmdline").read_text().replace("\0", " ")[:200])
    return lines


def refuse(number: int, place: str) -> None:
    raise OSError(number, os.strerror(number), place)


def refusals(seed: int, count: int, root: Path, whole: Path) -> Iterator[tuple[str, str]]:
    """(outcome, details) of full disks of `count` sizes, read-only places, and limits of files, memory and size."""
    film = contents(whole / "out")
    files = [*film.values(), *contents(whole / ".studio").values()]
    size = sum(4096 + len(content) for content in files)  # in whole pages
    limits = [(resource.RLIMIT_NOFILE, n) for n in (12, 16, 24)]
    limits += [(resource.RLIMIT_FSIZE, n) for n in (300, 2000, 9000)]
    address = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits += [(resource.RLIMIT_AS, address + (n << 20)) for n in (8, 64, 256)]
    cases: list[tuple[str, object]] = [("full disk", size * (i + 1) // (count + 1)) for i in range(count)]
    cases += [("read-only", place) for place in ("/.studio", "/runs/", "/slices/", "/frames/", "/out")[:count]]
    cases += [("limit", limit) for limit in limits[: 9 * count // 20]]
    for number, (kind, value) in enumerate(cases):
        folder, mounted = root / f"refusal-{number}", False
        folder.mkdir()
        if kind == "full disk":
            mount = ["mount", "-t", "tmpfs", "-o", f"size={value}", "tmpfs", str(folder)]
            mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
            place = number * 300 // max(1, count)
            before = (lambda: None) if mounted else at_write(place, partial(refuse, errno.ENOSPC), str(folder))
        elif kind == "read-only":
            before = at_write(
                0, partial(refuse, errno.EROFS), str(value) if str(value).endswith("/") else f"{folder}{value}"
            )
        else:
            before = lambda value=value: resource.setrlimit(value[0], (value[1], value[1]))  # noqa: E731
        (folder / "tiny.yaml").write_text(SCENE)
        how, text = produce(folder, before)
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
        again, rest = produce(folder)
        details = f"{kind} {value}: {text}"
        if how not in ("machine", "done"):
            yield how, details
        elif how == "machine" and kind != "limit" and str(folder) not in text:
            yield "unnamed", details
        elif again != "done" or contents(folder / "out") != film:
            yield "another film", f"{details}, then {again}: {rest}"
        else:
            yield f"{kind}: named, then identical" if how == "machine" else f"{kind}: enough room", details
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)


GOOD = ("noticed", "without effect", "absent or unread", "identical", "named, then identical", "enough room")


def main(seed: int, count: int) -> int:
    """Prints the table; returns the number of failures."""
    gl_renderer(), encoder.version(), encoder.encoders()  # asked once, for all the forks
    for module in WARM.split():
        importlib.import_module(f"studio.{module}")
    failures = 0
    parts = (
        ("single faults", faults, max(12, count // 50)),
        ("kill -9", kills, max(3, count // 100)),
        ("refusals", refusals, count // 500),
    )
    with tempfile.TemporaryDirectory() as name:
        whole = new_folder(Path(name), "whole")
        assert produce(whole)[0] == "done", produce(whole)
        for title, attempts, times in parts:
            start, outcomes = time.monotonic(), Counter[str]()
            for outcome, details in attempts(seed, times, Path(name), whole):
                outcomes[outcome] += 1
                if outcome.rpartition(": ")[2] not in GOOD:
                    failures += 1
                    print(f"    {outcome}: {details}", flush=True)
            table = ", ".join(f"{outcome} {n}" for outcome, n in sorted(outcomes.items()))
            print(f"{title:14} {outcomes.total():4}  {time.monotonic() - start:5.0f} s  {table}", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, [*sys.argv[1:3], "0", "10000"][:2]))))
