"""The one place that runs ffmpeg: a child process, fed through a pipe, whose errors are quoted.

The program is the one STUDIO_FFMPEG names, otherwise the one that comes with imageio-ffmpeg.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

from studio.errors import MachineError
from studio.execution.processes import die_with, works_until

QUIET = ["-hide_banner", "-nostdin", "-loglevel", "error", "-filter_threads", "1"]
PATIENCE = 60.0
"""Seconds without processor time after which ffmpeg hangs and is ended; however slow, at work it uses some."""


def program() -> str:
    """Path of the ffmpeg in use. Raises MachineError if there is none."""
    if override := os.environ.get("STUDIO_FFMPEG"):
        if (path := shutil.which(override)) is None:
            raise MachineError(
                f"STUDIO_FFMPEG is '{override}', which is no program; correct it, or unset it to use "
                "the ffmpeg that comes with imageio-ffmpeg"
            )
        return path
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MachineError("no ffmpeg; name one in STUDIO_FFMPEG, or reinstall imageio-ffmpeg") from error


def version() -> str:
    """Version of the ffmpeg in use, such as `n9.0.2`. The bytes of a movie depend on it."""
    words = _query(program(), "-version").split()
    return words[2] if len(words) > 2 else "unknown"


def encoders() -> frozenset[str]:
    """Names of the encoders of the ffmpeg in use, such as `libx264`."""
    table = _query(program(), "-encoders").partition("------")[2].splitlines()
    return frozenset(line.split()[1] for line in table if len(line.split()) > 1)


def require_encoders(names: Iterable[str]) -> None:
    """Raises MachineError if the ffmpeg in use lacks one of these encoders, or there is no ffmpeg."""
    if missing := sorted(set(names) - encoders()):
        raise MachineError(
            f"{program()} has no {', '.join(missing)}; unset STUDIO_FFMPEG, or name an ffmpeg that has it"
        )


@cache
def _query(path: str, option: str) -> str:
    """What ffmpeg prints for an option such as `-version`."""
    try:
        command, stdin = [path, "-hide_banner", option], subprocess.DEVNULL
        answer = subprocess.run(
            command, stdin=stdin, capture_output=True, errors="replace", check=False, timeout=PATIENCE
        )
        return answer.stdout
    except OSError as error:
        raise _cannot_start(path, error) from error
    except subprocess.TimeoutExpired as error:
        raise _hangs(path) from error


def run(output: Any, chunks: Iterable[Any], folder: Path | None = None) -> str:
    """Runs an ffmpeg-python output, with `chunks` as its standard input; returns what ffmpeg complained of.

    folder: where it runs, for the names of a `concat_list`; all other paths must be absolute then.

    Whatever interrupts it, ffmpeg is gone afterwards. Raises MachineError with ffmpeg's last lines if it fails, and if
    it hangs or writes nothing.
    """
    command = [program(), *QUIET, *output.get_args()]
    # A file, not a pipe: ffmpeg never waits for anybody to read its messages.
    with tempfile.TemporaryFile() as messages, _running_process(command, messages, folder) as (process, pipe):
        complete = all(_unbroken(_write, process, chunk) for chunk in chunks)
        complete = _unbroken(pipe.close) and complete
        _wait(process, partial(_has_ended, process))
        status, complaint = process.returncode, _last_lines(messages)
        if status or not complete:
            raise _failure(command[0], status, complaint)
        written = command[-1].removeprefix("file:")
        if written != "-" and not (os.path.exists(written) and os.path.getsize(written)):
            raise MachineError(f"{command[0]} wrote nothing, and no error; name a working ffmpeg in STUDIO_FFMPEG")
        return complaint


def concat_input() -> Any:
    """An input of ffmpeg-python that reads files one after the other; `run` must feed it a `concat_list`."""
    import ffmpeg

    return ffmpeg.input("pipe:0", format="concat", safe=0, protocol_whitelist="file,pipe,fd")


def concat_list(files: Sequence[Path]) -> bytes:
    """The files of one folder as a list for ffmpeg's concat demuxer, which must run in that folder.

    Only names: the list cannot hold every path, such as one with the end of a line in it.
    """
    return "".join(f"file 'file:{file.name}'\n" for file in files).encode()


def file_url(path: Path) -> str:
    """A path as ffmpeg takes it for a file, also if it begins with a dash or holds a colon."""
    return f"file:{path.absolute()}"


@contextlib.contextmanager
def _running_process(
    command: list[str], messages: IO[bytes], folder: Path | None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A running program and its standard input. It ends with the block; Ctrl-C at the terminal does not reach it."""
    try:
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=pipe,
            stdout=nowhere,
            stderr=messages,
            start_new_session=True,
            cwd=folder,
            preexec_fn=partial(die_with, os.getpid()),
        )
    except OSError as error:
        raise _cannot_start(command[0], error) from error
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    try:
        yield process, process.stdin
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # it may be a script that runs ffmpeg
            process.wait()
        _unbroken(process.stdin.close)


def _write(process: subprocess.Popen[bytes], chunk: Any) -> None:
    """Writes all of a chunk to a program's pipe."""
    assert process.stdin is not None
    pipe, rest, room = process.stdin, memoryview(chunk).cast("B"), select.poll()
    room.register(pipe, select.POLLOUT)
    while rest:
        _wait(process, lambda seconds: bool(room.poll(1000 * seconds)))
        rest = rest[pipe.write(rest) or 0 :]


def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


def _wait(process: subprocess.Popen[bytes], ready: Callable[[float], bool]) -> None:
    """Waits for a pipe or an end. Raises MachineError if the program does nothing meanwhile."""
    if not works_until(ready, process.pid, PATIENCE):
        raise _hangs(program())


def _unbroken(use_pipe: Callable[..., object], *arguments: Any) -> bool:
    """Writes to a program's pipe, or closes it; False once the program is dead."""
    try:
        use_pipe(*arguments)
    except BrokenPipeError:
        return False
    return True


def _last_lines(messages: IO[bytes]) -> str:
    """The last four lines of the messages, on one line."""
    messages.seek(0)
    lines = [line.strip() for line in messages.read().decode(errors="replace").splitlines() if line.strip()]
    return "; ".join(lines[-4:])


def _cannot_start(path: str, error: OSError) -> MachineError:
    return MachineError(f"{path}: cannot be started: {error.strerror}; name a working ffmpeg in STUDIO_FFMPEG")


def _hangs(path: str) -> MachineError:
    return MachineError(
        f"{path} did nothing for {PATIENCE:.0f} s, so it was ended; run again, or name another ffmpeg in STUDIO_FFMPEG"
    )


def _failure(path: str, status: int, complaint: str) -> Exception:
    if os.strerror(errno.ENOSPC) in complaint:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # atomic_write names the file
    if "Unknown encoder" in complaint or "No such filter" in complaint:
        return MachineError(f"{path}: {complaint}; unset STUDIO_FFMPEG, or name in it an ffmpeg that has it")
    name = Path(path).name
    if status < 0:
        reason = f": {complaint}" if complaint else ", perhaps for want of memory"
        return MachineError(
            f"{name} was killed ({signal.Signals(-status).name}){reason}; what was finished is kept, so run again, "
            "or with fewer workers"
        )
    return MachineError(f"{name} stopped with status {status}{': ' + complaint if complaint else ' without a word'}")
