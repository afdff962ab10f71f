"""The one place that runs ffmpeg: a program of our own process tree, fed through a pipe, that fails in its own words.

The program is the one STUDIO_FFMPEG names, otherwise the one that comes with imageio-ffmpeg.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from studio.errors import MachineError

QUIET = ["-hide_banner", "-nostdin", "-loglevel", "error", "-filter_threads", "1"]


def program() -> str:
    """Path of the ffmpeg in use. Raises MachineError if there is none."""
    chosen = os.environ.get("STUDIO_FFMPEG")
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise MachineError(
                f"STUDIO_FFMPEG is '{chosen}', which is no program; correct it, or unset it to use "
                "the ffmpeg that comes with imageio-ffmpeg"
            )
        return found
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise MachineError("no ffmpeg; name one in STUDIO_FFMPEG, or reinstall imageio-ffmpeg") from error


def version() -> str:
    """What the ffmpeg in use calls itself, such as `n9.0.2`. The bytes of a movie depend on it."""
    return _version(program())


def encoders() -> frozenset[str]:
    """Names of the encoders of the ffmpeg in use, such as `libx264`."""
    table = _asked(program(), "-encoders").partition("------")[2].splitlines()
    return frozenset(line.split()[1] for line in table if len(line.split()) > 1)


def require_encoders(needed: Iterable[str]) -> None:
    """Raises MachineError if the ffmpeg in use lacks one of these encoders, or there is no ffmpeg."""
    if missing := sorted(set(needed) - encoders()):
        raise MachineError(
            f"{program()} has no {', '.join(missing)}; unset STUDIO_FFMPEG, or name an ffmpeg that has it"
        )


@cache
def _version(path: str) -> str:
    words = _asked(path, "-version").split()
    return words[2] if len(words) > 2 else "unknown"


def _asked(path: str, question: str) -> str:
    try:
        return subprocess.run(
            [path, "-hide_banner", question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
        ).stdout
    except OSError as error:
        raise _unstarted(path, error) from error


def run(output: Any, chunks: Iterable[Any]) -> str:
    """What ffmpeg complained of as it ran an ffmpeg-python output to its end, with `chunks` as its standard input.

    Whatever interrupts it, ffmpeg is gone afterwards. Raises MachineError with ffmpeg's last words if it fails.
    """
    command = [program(), *QUIET, *output.get_args()]
    # A file, not a pipe: ffmpeg never waits for us to read what it says.
    with tempfile.TemporaryFile() as words, _started(command, words) as process:
        complete = all(_fed(process.stdin, chunk) for chunk in chunks) and _closed(process.stdin)
        if not complete:
            _closed(process.stdin)
        status, said = process.wait(), _said(words)
        if status or not complete:
            raise _failure(command[0], status, said)
        return said


def joined() -> Any:
    """The input of ffmpeg-python that reads files one after the other; `listed` is what `run` must feed it."""
    import ffmpeg

    return ffmpeg.input("pipe:0", format="concat", safe=0, protocol_whitelist="file,pipe,fd")


def listed(files: Sequence[Path]) -> bytes:
    """The files as a list for ffmpeg's concat demuxer, in which a quote ends the quotation."""
    paths = (str(Path(file).resolve()).replace("'", r"'\''") for file in files)
    return "".join(f"file 'file:{path}'\n" for path in paths).encode()


@contextlib.contextmanager
def _started(command: list[str], words: IO[bytes]) -> Iterator[subprocess.Popen]:
    """A running program that does not outlive the block. Ctrl-C at the terminal reaches us, not it."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words, start_new_session=True
        )
    except OSError as error:
        raise _unstarted(command[0], error) from error
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        _closed(process.stdin)


def _fed(pipe: IO[bytes], chunk: Any) -> bool:
    """Whether the program took the chunk; False once it is dead."""
    try:
        pipe.write(chunk)
    except BrokenPipeError:
        return False
    return True


def _closed(pipe: IO[bytes]) -> bool:
    try:
        pipe.close()
    except BrokenPipeError:
        return False
    return True


def _said(words: IO[bytes]) -> str:
    """The last lines that were said, on one line."""
    words.seek(0)
    lines = [line.strip() for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    return "; ".join(lines[-4:])


def _unstarted(path: str, error: OSError) -> MachineError:
    return MachineError(f"{path}: cannot be started: {error.strerror}; name a working ffmpeg in STUDIO_FFMPEG")


def _failure(path: str, status: int, said: str) -> Exception:
    if os.strerror(errno.ENOSPC) in said:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # files.atomic knows which file that was
    if "Unknown encoder" in said or "No such filter" in said:
        return MachineError(f"{path}: {said}; unset STUDIO_FFMPEG, or name in it an ffmpeg that has it")
    if status < 0:
        how = f"was killed ({signal.Signals(-status).name}){': ' + said if said else ', perhaps for want of memory'}"
        return MachineError(f"{Path(path).name} {how}; what was finished is kept, so run again, or with fewer workers")
    return MachineError(f"{Path(path).name} stopped with status {status}{': ' + said if said else ' without a word'}")
