"""Hostile files, each through `check` and through what train, compute and film read: SEED=0 COUNT=500 python files.py.

A case is a folder with a scene and one file that no sane program writes. It runs in a forked child with 2 s of the
processor (6 s by the clock, which other programs share) and 500 MB beyond what the imported libraries need. A case
passes if it works, or ends in a StudioError with exit status 2 that names the file in one line.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as to_safetensors

from studio.errors import StudioError
from studio.pipeline.measure import copy_surfaces
from studio.pipeline.project import Project
from studio.pipeline.train import train
from studio.render import grade

SECONDS, WALL_SECONDS, MEGABYTES = 2, 6, 500
SCENE = """\
title: t
run: {run}
look: {{base: ember, grade: {{{grade}}}}}
film: {{size: 64x36, fps: 8}}
shots: [{{shot: a, duration: 1s, along: {{0s: 1}}}}]
deliver: [{{kind: sequence}}]
"""
RECIPE = "recipe: {model: {kind: mlp, depth: 0}, data: %s, epochs: 1}"
ARRAYS = RECIPE % "{kind: arrays, file: own.npz}"
STATE = {"1.weight": torch.ones(3, 4), "1.bias": torch.zeros(3)}
GOOD = {
    "train_x": np.ones((6, 4), np.float32),
    "train_y": np.arange(6) % 3,
    "test_x": np.ones((3, 4), np.float32),
    "test_y": np.arange(3),
}
HEAT = {
    "coordinate": np.arange(3.0),
    "alpha": np.linspace(-1, 1, 5),
    "beta": np.linspace(0, 2, 4),
    "loss": np.arange(60.0).reshape(3, 4, 5),
}
NAMES = ("a.b", "a/b", "../a", "a\nb", "\udcff", "n" * 10**5, "", "\0", "\x1b[2J", "1.weight ", "ä")
BOMB = gzip.compress(bytes(10**8))
BIG = (2**60, 2**40, 10**11)


class Code:
    """A pickle of it makes the folder `ran`."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


# --- makers: a seeded generator -> the content of a file -------------------------------------------------------------


def damaged(r: random.Random, content: bytes) -> bytes:
    """A file that was whole, cut, flipped, spliced, doubled or filled."""
    at, end = sorted(r.choices(range(len(content) + 1), k=2))
    few = bytearray(content)
    for _ in range(r.choice((1, 4, 32))):
        few[r.randrange(min(len(few), r.choice((32, 512, 10**9))))] = r.choice((0, 255, r.randrange(256)))
    hole = content[:at] + r.choice((b"", bytes(end - at), r.randbytes(end - at))) + content[end:]
    return r.choice((content[:at], bytes(few), bytes(few), hole, content + content[at:end], content * 2))


def junk(r: random.Random) -> bytes:
    """What has nothing to do with any format."""
    texts = (b"", b"\0" * 4096, b"a text\n" * 99, b"<html>404</html>", b"{" * 10**5, b"[" * 10**6, r.randbytes(4096))
    return r.choice((*texts, BOMB, pickle.dumps(Code()), pickle.dumps({1: [Code()]}, 2)))


def value(r: random.Random) -> object:
    """Something in the place of the tensor [3, 4] that belongs there."""
    t = torch.ones(3, 4)
    return r.choice(
        (
            lambda: t.to_sparse(), lambda: t.to_sparse_csr(), lambda: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
            lambda: t.to(torch.float8_e4m3fn), lambda: t.to(torch.float8_e5m2), lambda: t.to(torch.complex64),
            lambda: t.to("meta"), lambda: torch.nested.nested_tensor([t, t]), lambda: t.long(), lambda: t.bool(),
            lambda: t * torch.nan, lambda: t / 0, lambda: t.double() * 1e300, lambda: torch.ones(0, 4),
            lambda: torch.ones(1, 1).expand(3, 4), lambda: torch.ones(1).expand(2**40), lambda: torch.ones(4, 3).T,
            lambda: t[0], lambda: torch.tensor(1.0), lambda: "text", lambda: None, lambda: [1.0] * 12, lambda: {"a": t},
            lambda: torch.nn.Parameter(t), lambda: t.half(), lambda: t.to(torch.uint16), lambda: b"x", lambda: Code(),
            lambda: torch.ones(3, 4).as_subclass(Odd), lambda: torch.ones(3, 4, 1), lambda: t.numpy(), lambda: t.bfloat16(),
        )
    )()  # fmt: skip


class Odd(torch.Tensor):
    """A tensor of another class."""


def state(r: random.Random) -> object:
    """A state dict with something wrong in it, or around it."""
    mine: dict = dict(STATE)
    whole = (lambda: [*STATE], lambda: torch.ones(3), lambda: 7, lambda: {}, lambda: {"state_dict": 1}, lambda: {3, 4})
    if r.random() < 0.15:
        return r.choice(whole)()
    if r.random() < 0.7:
        mine["1.weight"] = value(r)
    else:
        mine[r.choice((*NAMES, 7, None, (1, 2), "module.1.bias", b"1.bias"))] = mine.get("1.bias")
        if r.random() < 0.3:
            del mine["1.bias"]
    wrapped = ({"state_dict": mine}, {"model": mine, "epoch": Code()}, {"model": {"state_dict": mine}}, mine, mine)
    return r.choice(wrapped)


def torch_file(r: random.Random) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.save(state(r), stream, _use_new_zipfile_serialization=r.random() < 0.7)
    return stream.getvalue()


def pickle_bomb(r: random.Random) -> bytes:
    """Pickles that run code, ask for memory or go deep: bare, or as the pickle of a torch file."""
    size = r.choice(BIG)
    long = b"\x8a\x09" + size.to_bytes(9, "little")
    deep = r.choice((10**3, 10**6))
    body = r.choice(
        (
            b"cbuiltins\nbytearray\n" + long + b"\x85R", b"ctorch\nTensor\n" + long + b"\x85R", b"]r\xff\xff\xff\x7f",
            b"ctorch\nFloatTensor\n" + long + b"\x85R", b"\x8e" + struct.pack("<Q", size), b"]" * deep + b"a" * (deep - 1),
            b"cnumpy\nndarray\n" + long + b"\x85R", b"ctorch._utils\n_rebuild_tensor_v2\n)R", b"(" * deep, b"\x95" + b"\xff" * 8,
            b"cnumpy\nndarray\n(J\0\0\0\x04\x85cnumpy\ndtype\nX\x01\0\0\0O\x85RtR", b"cnumpy\ndtype\nX\x01\0\0\0O\x85R",
            b"cos\nmkdir\nX\x03\0\0\0ran\x85R", b"cbuiltins\nexec\nX\x1a\0\0\0import os; os.mkdir('ran')#\x85R",
            b"ctorch.serialization\nload\nX\x01\0\0\0x\x85R", b"}X\x06\0\0\0labels]s", b"cbuiltins\nset\n)R", b"Pname\n",
        )
    )  # fmt: skip
    content = b"\x80\x04" + body + b"."
    return content if r.random() < 0.5 else archive({"archive/data.pkl": content, "archive/version": b"3\n"})


def archive(entries: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packing) as file, warnings.catch_warnings(action="ignore"):
        for name, content in entries.items():
            file.writestr(name, content)
    return stream.getvalue()


def safetensors(r: random.Random) -> bytes:
    good = to_safetensors({name: t for name, t in STATE.items()})
    if r.random() < 0.4:
        return damaged(r, good)
    entry = {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]} | r.choice(
        (
            {"shape": [2**60]}, {"shape": [-1]}, {"shape": []}, {"shape": [0, 4]}, {"shape": [2**32, 2**32]}, {"dtype": "F8_E4M3"},
            {"dtype": "C64"}, {"dtype": "I4"}, {"dtype": 7}, {"data_offsets": [0, 2**62]}, {"data_offsets": [48, 0]}, {"dtype": "I32"},
        )
    )  # fmt: skip
    header = json.dumps({r.choice(("1.weight", *NAMES)): entry}).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", r.choice((len(header), len(header), 2**40, 0))) + header + r.choice((bytes(48), b""))


def wrong_array(r: random.Random, array: np.ndarray) -> np.ndarray:
    """An array in the place of a good one."""
    n = len(array)
    return r.choice(
        (
            lambda: array.astype(r.choice((">f8", "f2", "g", ">i2", "u1", "?", "U3", "S2", "M8[s]", "m8", "c16", "V4"))),
            lambda: array.astype(object), lambda: np.asfortranarray(array), lambda: np.float64(1), lambda: array[:0],
            lambda: array[..., None], lambda: array[: n - 1], lambda: array * np.nan, lambda: array / 0, lambda: array - 7,
            lambda: array * 1e300, lambda: np.full(array.shape, 2**64 - 1, np.uint64), lambda: array.astype(int) + 10**12,
            lambda: np.ma.masked_all(array.shape), lambda: np.zeros(n, [("a", "f4"), ("b", "i8")]), lambda: array.ravel(),
            lambda: np.zeros((n, 0)), lambda: np.zeros((n, 2, 3, 4, 5), np.uint8), lambda: array[::-1], lambda: array.astype(int) + 255,
            lambda: np.array([{}] * n), lambda: np.repeat(array, 2, 0), lambda: np.full(array.shape, 1e-320), lambda: np.ones((n,) + (1,) * 30),
        )
    )()  # fmt: skip


def npz(r: random.Random, good: dict[str, np.ndarray]) -> bytes:
    arrays = dict(good)
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        seed = r.random()
        for name in r.choice((r.sample(list(arrays), r.choice((1, 2))), [n for n in arrays if n[-1] == "x"] or ["loss"])):
            arrays[name] = wrong_array(random.Random(seed), arrays[name])
    if r.random() < 0.2:
        arrays[r.choice(("a.b", "a/b", "note", "done", "ä", "loss.npy"))] = arrays.pop(r.choice(list(arrays)))
    stream = io.BytesIO()
    r.choice((np.savez, np.savez_compressed))(stream, **arrays)
    content = stream.getvalue()
    header = b"{'descr': '%s', 'fortran_order': False, 'shape': (%d,%s)}" % (
        r.choice((b"<f4", b"|u1", b"|O", b"<U%d" % 10**8, b"|V0", b"nonsense")), r.choice((*BIG, 3, -1)), r.choice((b"", b" 4", b" -1", b"(" * 200))
    )  # fmt: skip
    lie = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header
    extra = r.choice((lie, b"no array", b"no array", bytes(10**7), bytes(10**8 if r.random() < 0.1 else 9)))
    packing = r.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    packed = archive({f"{name}.npy": lie for name in good} | {r.choice(("note", *(f"{n}.npy" for n in good))): extra}, packing)
    return r.choice((content, content, content, damaged(r, content), packed, lie))


def cifar(r: random.Random) -> dict[str, bytes]:
    """Good batches, one of them wrong; pickles or binary."""
    names, is_binary = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], r.random() < 0.3
    if is_binary:
        files = {f"{name}.bin": (b"\1" + bytes(3072)) * 2 for name in names}
        return files | {r.choice(list(files)): r.choice((b"\xff" + bytes(3072), b"", bytes(3000), junk(r)))}
    data = np.zeros((2, 3072), np.uint8)
    labels = r.choice(([255, 1], [1], [], [-1, 2], [1.5, 2], ["a", "b"], [2**70, 1], None, [[1, 2]], [True, False], 7, [1, 2]))
    pixels = r.choice((data, data[:0], data[:, :7], data.astype(float) + 0.5, data.astype(int) + 300, data.tolist(), "text", data.astype(object), data.T))
    batch = r.choice(({b"labels": labels, b"data": pixels}, {"labels": labels, "data": pixels}, {b"data": pixels}, [labels], labels))
    files = {name: pickle.dumps({b"labels": [1, 2], b"data": data}, 3) for name in names}
    wrong = r.choice((lambda: pickle.dumps(batch, r.choice((0, 1, 2, 3, 4))), lambda: pickle_bomb(r), lambda: junk(r)))
    return files | {r.choice(names): r.choice((wrong, wrong, lambda: damaged(r, files["test_batch"])))()}


def mnist(r: random.Random) -> dict[str, bytes]:
    def idx(*lengths: int, content: bytes | None = None) -> bytes:
        body = bytes(int(np.prod(lengths))) if content is None else content
        return bytes([0, 0, 8, len(lengths)]) + b"".join(struct.pack(">I", n) for n in lengths) + body

    files = {"train-images-idx3-ubyte": idx(4, 5, 5), "train-labels-idx1-ubyte": idx(4)}
    files |= {"t10k-images-idx3-ubyte": idx(2, 5, 5), "t10k-labels-idx1-ubyte": idx(2)}
    name = r.choice(list(files))
    wrong: tuple[bytes, ...] = (idx(3, 5, 5), idx(2, 7, 7), idx(0, 5, 5), idx(4, 0, 5), idx(0), idx(4, content=b"\xff" * 4), junk(r), idx(7))
    files[name] = r.choice((*wrong, idx(2**32 - 1, 2**32 - 1, 2**32 - 1, content=b"x"), idx(10**7), idx(2, 2000, 2000)))
    zipped = gzip.compress(files.pop(name), 1)
    return files | {f"{name}.gz": r.choice((zipped, zipped, damaged(r, zipped), zipped + b"junk"))}


def cube(r: random.Random) -> bytes:
    rows = [f"{a} {b} {c}" for c in (0, 1) for b in (0, 1) for a in (0, 1)]
    size = r.choice(("2", "2", "2", "2", "65", "10000000000", "-2", "x", "9" * 5000, "", "1e9"))
    for _ in range(r.choice((0, 1, 2))):
        odd = ("nan 0 0", "1e39 0 0", "1e999 0 0", "1 2", "1 2 3 4", "\0\x1b[2J", "DOMAIN_MIN 1", "LUT_1D_SIZE 4", "-1e38 0 0")
        rows[r.randrange(8)] = r.choice((*odd, "9" * 10**6, "ü", "TITLE", "0x1 0 0", "LUT_3D_INPUT_RANGE a b", "LUT_3D_SIZE"))
    text = f"LUT_3D_SIZE {size}\n" + "\n".join(rows)
    long = ("#\n" * 2**24, "0 0 0\n" * 2**21, text.replace("\n", "\r"), text + "\n" + text, " " * 2**25)
    return r.choice((text.encode(), text.encode(), text.encode("utf-16"), junk(r), r.choice(long).encode()))


# --- cases -----------------------------------------------------------------------------------------------------------


def special(r: random.Random, path: Path, content: bytes) -> None:
    """Something else than a regular file where one is expected."""
    other = path.with_name("other")
    r.choice(
        (
            lambda: os.mkfifo(path), lambda: path.mkdir(), lambda: path.symlink_to("/dev/zero"), lambda: path.symlink_to(path.name),
            lambda: path.symlink_to("nowhere"), lambda: (path.write_bytes(content), os.truncate(path, r.choice((10**11, 2**40)))),
            lambda: (other.write_bytes(content), other.chmod(0), path.symlink_to("other")), lambda: path.symlink_to("/proc/self/mem"),
            lambda: (os.mkfifo(other), path.symlink_to("other")), lambda: path.symlink_to("x" * 255), lambda: None,
            lambda: path.symlink_to("/dev/full"),
        )
    )()  # fmt: skip


CHECKPOINT_NAMES = ("epoch-\udcff1{}", "1\n{}", "\x1b[2J1{}", "{}", "9" * 200 + "{}", "a b 1e5{}", "epoch-١{}")


def write(kind: str, r: random.Random, folder: Path) -> None:
    """The scene of a case, and its file."""
    grading, run, own = "", "{%s}" % ARRAYS, folder / "own.npz"
    buffer = io.BytesIO()
    np.savez(buffer, **GOOD)
    own.write_bytes(buffer.getvalue())
    if kind == "checkpoints":
        run = "{kind: folder, checkpoints: own, %s}" % ARRAYS
        suffix, make = r.choice(((".pt", torch_file), (".pt", torch_file), (".pth", pickle_bomb), (".safetensors", safetensors)))
        own = folder / "own" / r.choice(("epoch-1{}",) * 40 + CHECKPOINT_NAMES).format(r.choice((suffix, suffix, ".bin")))
        own.parent.mkdir()
        bomb = archive({"a/data.pkl": pickle.dumps({}, 2), "a/version": b"3\n", "a/data/0": bytes(10**9)}, zipfile.ZIP_DEFLATED) if r.random() < 0.02 else b""
        content = bomb or r.choice((make, make, make, make, junk, lambda r: damaged(r, make(r))))(r)
    elif kind == "arrays":
        content = r.choice((lambda: npz(r, GOOD),) * 9 + (lambda: junk(r),))()
    elif kind == "surfaces":
        run, content = "{kind: surfaces, file: own.npz}", r.choice((lambda: npz(r, HEAT),) * 9 + (lambda: junk(r),))()
    elif kind == "LUTs":
        grading, own, content = "lut: own.cube", folder / "own.cube", cube(r)
    else:
        run, files = "{%s}" % (RECIPE % ("{kind: %s, folder: .}" % kind)), {"cifar10": cifar, "mnist": mnist}[kind](r)
        for name, part in files.items():
            (folder / name).write_bytes(part)
        own, content = folder / r.choice(list(files)), b""
    if r.random() < 0.1 or content:
        own.unlink(missing_ok=True)
        own.write_bytes(content) if content and r.random() < 0.9 else special(r, own, content)
    (folder / "scene.yaml").write_text(SCENE.format(run=run, grade=grading), encoding="utf-8")


def read(kind: str, folder: Path) -> None:
    """What check, then train, compute or film do with the file."""
    project = Project.open(folder / "scene.yaml", folder / "shelf")
    if kind == "LUTs":
        lut = project.scene.look.grade.lut
        grade._lut(grade.Lut(lut.file, lut.sha256))
    elif kind == "surfaces":
        copy_surfaces(project, project.scene.run)
    else:
        train(project)


def verdict(kind: str, folder: Path) -> str:
    """How a case ends, in a child with limits: works, refused, or what is wrong."""
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    try:
        read(kind, folder)
        said = "works"
    except StudioError as error:
        texts = getattr(error, "mistakes", (str(error),))
        bad = error.exit_status != 2 or "own" not in str(error) and str(folder) not in str(error)
        if os.environ.get("SHOW"):
            print(kind, texts, file=sys.stderr)
        said = "refused" if not bad and all(text.isprintable() and len(text) < 1500 for text in texts) else f"unnamed: {error!r}"
    except BaseException:
        said = "traceback: " + traceback.format_exc(limit=-3)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
    return f"memory: {grown:.0f} MB; {said}" if grown > MEGABYTES else said


def in_child(work: Callable[[], str]) -> str:
    """What `work` returns in a forked child; a hang or a crash if it does not."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.close(reading)
        with os.fdopen(writing, "w", errors="backslashreplace") as pipe:
            pipe.write(work())
            pipe.flush()
        os._exit(0)
    os.close(writing)
    end = time.monotonic() + WALL_SECONDS
    while not (done := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.002)
    if not done[0]:
        os.kill(child, signal.SIGKILL)
        done = os.waitpid(child, 0)
    with os.fdopen(reading, errors="replace") as pipe:
        said = pipe.read()
    if said and done[1] == 0:
        return said
    return "hang" if os.WTERMSIG(done[1]) in (signal.SIGKILL, signal.SIGXCPU) else f"crash: signal {os.WTERMSIG(done[1])}"


KINDS = ("checkpoints", "checkpoints", "arrays", "cifar10", "mnist", "LUTs", "surfaces")
WRONG = ("traceback", "hang", "memory", "crash", "unnamed", "code run")


def run(seed: int, count: int) -> dict[str, Counter[str]]:
    """{kind: how often each verdict} of `count` cases; prints those that are wrong."""
    torch.set_num_threads(1)
    found: dict[str, Counter[str]] = {kind: Counter() for kind in dict.fromkeys(KINDS)}
    home = os.getcwd()
    for number in range(count):
        kind, r = KINDS[number % len(KINDS)], random.Random(f"{seed}/{number}")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            os.chdir(folder)
            write(kind, r, folder)
            said = in_child(lambda kind=kind, folder=folder: verdict(kind, folder))
            said = "code run" if (folder / "ran").exists() else said
            os.chdir(home)
        word = said.partition(":")[0].strip()
        found[kind][word] += 1
        if word in WRONG:
            print(f"case {seed}/{number}, {kind}: {said[-1500:]}", file=sys.stderr)
    return found


def main() -> int:
    """Prints the table; exit status 1 if anything is wrong."""
    start = time.monotonic()
    found = run(int(os.environ.get("SEED", 0)), int(os.environ.get("COUNT", 500)))
    words = ("works", "refused", *WRONG)
    print(f"{'':12s}" + "".join(f"{word:>11s}" for word in words))
    total = sum(found.values(), Counter())
    for kind, counts in {**found, "all": total}.items():
        print(f"{kind:12s}" + "".join(f"{counts[word]:11d}" for word in words))
    print(f"{total.total()} hostile files in {time.monotonic() - start:.0f} s")
    return any(total[word] for word in WRONG)


if __name__ == "__main__":
    sys.exit(main())
