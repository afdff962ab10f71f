"""Hostile files, each through `check` and through what train, compute and film read: SEED=0 COUNT=500 python files.py.

A case is a folder with a scene and a file that no sane program writes. It runs in a forked child with 6 s of processor
time, 60 s by the clock, since other programs share the machine, and 500 MB beyond what the libraries take. A case
passes if it works, or ends in a StudioError of exit status 2 that names the file in one line.
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
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as to_safetensors

from studio.errors import StudioError
from studio.pipeline.measure import copy_surfaces
from studio.pipeline.project import Project
from studio.pipeline.train import train
from studio.render import grade

SECONDS, CLOCK_SECONDS, MEGABYTES = 6, 60, 500
SCENE = """\
title: t
run: {RUN}
look: {base: ember, grade: {GRADE}}
film: {size: 64x36, fps: 8}
shots: [{shot: a, duration: 1s, along: {0s: 1}}]
deliver: [{kind: sequence}]
"""
RECIPE = "recipe: {model: {kind: mlp, depth: 0}, data: {kind: arrays, file: own.npz}, epochs: 1}"
STATE = {"1.weight": torch.ones(3, 4), "1.bias": torch.zeros(3)}
GOOD = {"train_x": np.ones((6, 4), np.float32), "train_y": np.arange(6) % 3}
GOOD |= {"test_x": np.ones((3, 4), np.float32), "test_y": np.arange(3)}
HEAT = {"coordinate": np.arange(3.0), "alpha": np.linspace(-1, 1, 5), "beta": np.linspace(0, 2, 4)}
HEAT |= {"loss": np.arange(60.0).reshape(3, 4, 5)}
NAMES = ("a.b", "a/b", "../a", "a\nb", "\udcff", "n" * 10**5, "", "\0", "\x1b[2J", "1.weight ", "ä")
FILES = ("epoch-\udcff1.pt", "1\n.pt", "\x1b[2J1.pt", ".pt", "9" * 200 + ".pt", "a b 1e5.bin", "epoch-\u0661.pth")
SIZES = (2**60, 2**40, 10**11)
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


class Code:
    """A pickle of it makes the folder `ran`."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


# --- what stands in the place of something good; expressions apart by lines or by two spaces --------------------------

TENSORS = """
t.to_sparse()  t.to_sparse_csr()  torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)  t.to(torch.float8_e4m3fn)  t.T
t.to(torch.float8_e5m2)  t.to(torch.complex64)  t.to("meta")  torch.nested.nested_tensor([t, t])  t.long()  t.bool()
t * torch.nan  t / 0  t.double() * 1e300  torch.ones(0, 4)  t[:1, :1].expand(3, 4)  t[0, :1].expand(2**40)  t[0]
t[0, 0]  "text"  None  [1.0] * 12  {"a": t}  torch.nn.Parameter(t)  t.half()  t.to(torch.uint16)  b"x"  Code()
t[None]  t.as_subclass(Odd)  t.numpy()  t.bfloat16()  torch.ones(4, 3).T  t.to(torch.complex64).imag  t.double()
bytearray(9)
"""
STATES = (
    """[*STATE]  torch.ones(3)  7  {}  {"state_dict": 1}  {3, 4}  None  [STATE]  {"model": {"state_dict": STATE}}"""
)
ARRAYS = """
a.astype(">f8")  a.astype("f2")  a.astype("g")  a.astype(">i2")  a.astype("u1")  a.astype("?")  a.astype("U3")
a[..., None]  a.astype("S2")  a.astype("M8[s]")  a.astype("m8")  a.astype("c16")  a.astype("V4")  a.astype(object)
np.asfortranarray(a)  np.float64(1)  a[:0]  a[:-1]  a * np.nan  a / 0  a - 7  a * 1e300
np.full(a.shape, 2**64 - 1, "u8")  a.astype(int) + 10**12  np.ma.masked_all(a.shape)  np.zeros(len(a), "f4, i8")
a.ravel()  np.zeros((len(a), 0))  a[::-1]  a.astype(int) + 255  np.zeros((len(a), 2, 3, 4, 5), "u1")
np.array([{}] * len(a))  np.repeat(a, 2, 0)  a * 1e-320  np.ones((len(a), *[1] * 30))
"""
LABELS = "[255, 1]  [1]  []  [-1, 2]  [1.5, 2]  ['a', 'b']  [2**70, 1]  None  [[1, 2]]  [True, False]  7  [1, 2]"
PIXELS = "d  d[:0]  d[:, :7]  d + 0.5  d.astype(int) + 300  d.tolist()  'text'  d.astype(object)  d.T  d.astype('>i2')"
HEADERS = """
{"shape": [2**60]}  {"shape": [-1]}  {"shape": []}  {"shape": [0, 4]}  {"shape": [2**32, 2**32]}  {"dtype": "F8_E4M3"}
{"dtype": "C64"}  {"dtype": "I4"}  {"dtype": 7}  {"data_offsets": [0, 2**62]}  {"data_offsets": [48, 0]}
{"dtype": "I32"}
"""
PICKLED = r"""
b"cbuiltins\nbytearray\n" + n + b"\x85R"  b"ctorch\nTensor\n" + n + b"\x85R"  b"]r\xff\xff\xff\x7f"  b"]" * 10**6
b"Pname\n"  b"ctorch\nFloatTensor\n" + n + b"\x85R"  b"\x8e" + n[2:10]  b"]" * 999 + b"a" * 998
b"cnumpy\nndarray\n" + n + b"\x85R"  b"ctorch._utils\n_rebuild_tensor_v2\n)R"  b"(" * 10**6  b"\x95" + b"\xff" * 8
b"cos\nmkdir\nX\3\0\0\0ran\x85R"  b"}X\1\0\0\0a]s"
b"cnumpy\nndarray\nJ\0\0\0\4\x85cnumpy\ndtype\nX\1\0\0\0O\x85R\x86R"  b"cnumpy\ndtype\nX\1\0\0\0O\x85R"
b"cbuiltins\nset\n)R"  b"cbuiltins\nexec\nX\x17\0\0\0import os;os.mkdir('ran')\x85R"
b"ctorch.serialization\nload\nX\1\0\0\0x\x85R"  b"c\n\n"
"""
JUNK = """
b""  bytes(4096)  b"a text\\n" * 99  b"<html>404</html>"  b"{" * 10**5  b"[" * 10**6  r.randbytes(4096)  BOMB
pickle.dumps(Code())  pickle.dumps({1: [Code()]}, 2)  gzip.compress(b"x" * 99)  b"PK\\3\\4" + bytes(99)
b"\\x93NUMPY\\1\\0"
"""
ROWS = "nan 0 0  1e39 0 0  1e999 0 0  1 2  1 2 3 4  \0\x1b[2J  DOMAIN_MIN 1  LUT_1D_SIZE 4  -1e38 0 0  ü  LUT_3D_SIZE"
CUBES = """text.encode()
text.encode("utf-16")  ("#\\n" * 2**22).encode()  ("0 0 0\\n" * 2**20).encode()  text.replace("\\n", "\\r").encode()
(text * 2).encode()  bytes(2**25)  (text + "9" * 10**6).encode()"""
PLACES = """
os.mkfifo(p)  p.mkdir()  p.symlink_to("/dev/zero")  p.symlink_to(p.name)  p.symlink_to("nowhere")
p.symlink_to("/dev/full")  p.symlink_to("/proc/self/mem")  p.symlink_to("x" * 255)
(p.write_bytes(c), os.truncate(p, 10**11))  (p.write_bytes(c), p.chmod(0))
(os.mkfifo(p.with_name("o")), p.symlink_to("o"))  p.write_bytes(b"")
"""
BOMB = gzip.compress(bytes(10**8))


class Odd(torch.Tensor):
    """A tensor of another class."""


def pick(r: random.Random, table: str, **names: Any) -> Any:
    """What one of a table's expressions gives."""
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        return eval(r.choice(table.strip().replace("\n", "  ").split("  ")), globals() | names | {"r": r})


def mixed(r: random.Random, *makers: Callable[[], bytes]) -> bytes:
    """The content of one maker, often the first, sometimes damaged: cut, flipped, spliced, doubled; or of no format."""
    content = r.choice((makers[0], *makers))()
    if r.random() < 0.7:
        return content
    if r.random() < 0.3:
        return pick(r, JUNK)
    at, end = sorted(r.choices(range(len(content) + 1), k=2))
    few = bytearray(content or b"x")
    for _ in range(r.choice((1, 4, 32))):
        few[r.randrange(min(len(few), r.choice((32, 512, 10**9))))] = r.choice((0, 255, r.randrange(256)))
    hole = content[:at] + r.choice((b"", bytes(end - at), r.randbytes(end - at))) + content[end:]
    return r.choice((content[:at], bytes(few), bytes(few), hole, content + content[at:end], content * 2))


def archive(entries: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packing) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return stream.getvalue()


def torch_file(r: random.Random) -> bytes:
    """A state dict with something wrong in it, or around it."""
    state: dict[Any, Any] = dict(STATE)
    if r.random() < 0.7:
        state["1.weight"] = pick(r, TENSORS, t=torch.ones(3, 4))
    else:
        state[r.choice((*NAMES, 7, None, (1, 2), "module.1.bias", b"1.bias"))] = state.pop("1.bias")
    wrapped = r.choice(({"state_dict": state}, {"model": state, "epoch": Code()}, state, state, state))
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        whole = pick(r, STATES) if r.random() < 0.1 else wrapped
        torch.save(whole, stream, _use_new_zipfile_serialization=r.random() < 0.7)
    return stream.getvalue()


def pickle_bomb(r: random.Random) -> bytes:
    """A pickle that runs code, asks for memory or goes deep: bare, or as that of a torch file."""
    size = b"\x8a\x09" + r.choice(SIZES).to_bytes(9, "little")
    content = b"\x80\x04" + pick(r, PICKLED, n=size) + b"."
    if r.random() < 0.5:
        return content
    unpacked = bytes(4 * 10**7 if r.random() < 0.1 else 9)
    return archive({"a/data.pkl": content, "a/version": b"3\n", "a/data/0": unpacked}, r.choice((0, 8)))


def safetensors(r: random.Random) -> bytes:
    if r.random() < 0.3:
        return to_safetensors(STATE)
    entry = {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]} | pick(r, HEADERS)
    header = json.dumps({r.choice(("1.weight", *NAMES)): entry}).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", r.choice((len(header), len(header), 2**40, 0))) + header + r.choice((bytes(48), b""))


def npz(r: random.Random, good: dict[str, np.ndarray]) -> bytes:
    arrays, seed = dict(good), r.random()
    alike = (
        ["loss"] if "loss" in arrays else [f"{part}_{axis}" for axis in r.choice("xy") for part in ("train", "test")]
    )
    for name in r.choice((r.sample(list(arrays), r.choice((1, 2))), alike)):
        arrays[name] = pick(random.Random(seed), ARRAYS, a=arrays[name])
    if r.random() < 0.2:
        arrays[r.choice(("a.b", "a/b", "note", "done", "ä", "loss.npy"))] = arrays.pop(r.choice(list(arrays)))
    stream = io.BytesIO()
    r.choice((np.savez, np.savez_compressed))(stream, **arrays)
    return stream.getvalue()


def npy_lies(r: random.Random, good: dict[str, np.ndarray]) -> bytes:
    """Arrays whose headers promise what is not there, packed in every way."""
    kind = r.choice(("<f4", "|u1", "|O", f"<U{10**8}", "|V0", "nonsense"))
    shape = f"({r.choice((*SIZES, 3, -1))},{r.choice(('', ' 4', ' -1', '(' * 200))})"
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    lie = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header
    extra = r.choice((lie, b"no array", bytes(10**8 if r.random() < 0.1 else 9)))
    entries = {f"{name}.npy": lie for name in good} | {r.choice(("note", f"{next(iter(good))}.npy")): extra}
    return r.choice((lie, archive(entries, r.choice((0, 8, 12, 14)))))


def cifar10(r: random.Random) -> dict[str, bytes]:
    """Good batches, one of them wrong; pickles or binary."""
    data = np.zeros((2, 3072), np.uint8)
    if r.random() < 0.3:
        files = {f"{name}.bin": (b"\1" + bytes(3072)) * 2 for name in BATCHES}
        return files | {r.choice(list(files)): mixed(r, lambda: b"\xff" + bytes(3072), lambda: bytes(3000))}
    files = {name: pickle.dumps({b"labels": [1, 2], b"data": data}, 3) for name in BATCHES}
    batch = {b"labels": pick(r, LABELS), b"data": pick(r, PIXELS, d=data)}
    batch.pop(r.choice((*batch, 0, 0, 0, 0)), None)
    wrong = mixed(r, lambda: pickle.dumps(batch, r.choice((0, 1, 2, 3, 4, 5))), lambda: pickle_bomb(r))
    return files | {r.choice(BATCHES): wrong}


def mnist(r: random.Random) -> dict[str, bytes]:
    def idx(*lengths: int, content: bytes | None = None) -> bytes:
        body = bytes(int(np.prod(lengths))) if content is None else content
        return bytes([0, 0, 8, len(lengths)]) + b"".join(struct.pack(">I", n) for n in lengths) + body

    files = {"train-images-idx3-ubyte": idx(4, 5, 5), "train-labels-idx1-ubyte": idx(4)}
    files |= {"t10k-images-idx3-ubyte": idx(2, 5, 5), "t10k-labels-idx1-ubyte": idx(2)}
    shapes = r.choice([(3, 5, 5), (2, 7, 7), (0, 5, 5), (4, 0, 5), (0,), (7,), (2, 2000, 2000), (4, 5, 5), (2, 5, 5)])
    lie = idx(*[2**32 - 1] * 3, content=b"x")
    name = r.choice(list(files))
    wrong = mixed(r, lambda: idx(*shapes), lambda: lie, lambda: idx(4, content=b"\xff" * 4), lambda: files[name])
    del files[name]
    return files | {f"{name}.gz": mixed(r, lambda: gzip.compress(wrong, 1))}


def cube(r: random.Random) -> bytes:
    rows = [f"{a} {b} {c}" for c in (0, 1) for b in (0, 1) for a in (0, 1)]
    for _ in range(r.choice((0, 1, 2))):
        rows[r.randrange(8)] = r.choice(ROWS.split("  "))
    size = r.choice(("2", "2", "2", "2", "65", "10000000000", "-2", "x", "9" * 5000, "", "1e9"))
    return pick(r, CUBES, text="\n".join((f"LUT_3D_SIZE {size}", *rows, "")))


# --- cases -----------------------------------------------------------------------------------------------------------


def write_scene(folder: Path, run: str, grade: str = "") -> None:
    (folder / "scene.yaml").write_text(SCENE.replace("{RUN}", f"{{{run}}}").replace("GRADE", grade), encoding="utf-8")


def write(kind: str, r: random.Random, folder: Path) -> None:
    """The scene of a case, and its hostile file."""
    np.savez(folder / "own.npz", **GOOD)
    run, grading, own, content = RECIPE, "", folder / "own.npz", b""
    if kind == "checkpoints":
        run = f"kind: folder, checkpoints: own, {RECIPE}"
        suffix, make = r.choice(
            ((".pt", torch_file), (".bin", torch_file), (".pth", pickle_bomb), (".safetensors", safetensors))
        )
        own = folder / "own" / (r.choice(FILES) if r.random() < 0.1 else f"epoch-1{suffix}")
        own.parent.mkdir()
        content = mixed(r, lambda: make(r))
    elif kind in ("arrays", "surfaces"):
        run = RECIPE if kind == "arrays" else "kind: surfaces, file: own.npz"
        good = GOOD if kind == "arrays" else HEAT
        content = mixed(r, lambda: npz(r, good), lambda: npz(r, good), lambda: npy_lies(r, good))
    elif kind == "LUTs":
        grading, own, content = "lut: own.cube", folder / "own.cube", mixed(r, lambda: cube(r))
    else:
        run = RECIPE.replace("arrays, file: own.npz", f"{kind}, folder: .")
        files = (cifar10 if kind == "cifar10" else mnist)(r)
        for name, part in files.items():
            (folder / name).write_bytes(part)
        own = folder / r.choice(list(files)) if r.random() < 0.1 else folder / "none"
    own.unlink(missing_ok=True)
    if content and r.random() < 0.9:
        own.write_bytes(content)
    else:
        pick(r, PLACES, p=own, c=content)
    write_scene(folder, run, grading)


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
    """How a case ends, in a child: works, refused, or what is wrong."""
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    try:
        read(kind, folder)
        said = "works"
    except StudioError as error:
        texts = getattr(error, "mistakes", (str(error),))
        is_clear = all(str(folder) in text and text.isprintable() and len(text) < 1500 for text in texts)
        said = "refused" if is_clear and error.exit_status == 2 else f"unnamed: {error!r}"
    except BaseException:
        said = f"traceback: {traceback.format_exc(limit=-3)}"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
    return f"memory: {grown:.0f} MB; {said}" if grown > MEGABYTES else said


def in_child(work: Callable[[], str]) -> str:
    """What `work` returns in a forked child; a hang or a crash if it does not."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(work().encode(errors="backslashreplace")[:4000])
        os._exit(0)
    os.close(writing)
    end = time.monotonic() + CLOCK_SECONDS
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    with os.fdopen(reading, "rb") as pipe:
        said, killer = pipe.read().decode(errors="replace"), os.WTERMSIG(done[1])
    return said or ("hang" if killer in (signal.SIGKILL, signal.SIGXCPU) else f"crash: signal {killer}")


KINDS = ("checkpoints", "checkpoints", "arrays", "cifar10", "mnist", "LUTs", "surfaces")
WRONG = ("traceback", "hang", "memory", "crash", "unnamed", "code run")


def run(seed: int, count: int) -> dict[str, Counter[str]]:
    """{kind: how often each verdict} of `count` cases; prints those that are wrong."""
    found: dict[str, Counter[str]] = {kind: Counter() for kind in dict.fromkeys(KINDS)}
    home, threads = os.getcwd(), torch.get_num_threads()
    torch.set_num_threads(1)  # a fork of several threads may wait for one that it lacks
    for number in range(-1, count):  # a good file first, so that no child imports what training needs
        kind, r = KINDS[number % len(KINDS)], random.Random(f"{seed}/{number}")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            os.chdir(folder)
            if number < 0:
                np.savez("own.npz", **GOOD)
                write_scene(folder, RECIPE)
                read("arrays", folder)
                continue
            write(kind, r, folder)
            said = in_child(lambda kind=kind, folder=folder: verdict(kind, folder))  # type: ignore[misc]
            said = "code run" if os.path.exists("ran") else said
            os.chdir(home)
        found[kind][word := said.partition(":")[0]] += 1
        if word in WRONG:
            print(f"case {seed}/{number}, {kind}: {said}", file=sys.stderr)
    torch.set_num_threads(threads)
    return found


def main(seed: int, count: int) -> int:
    """Prints the table of one file in twenty of the count; returns the number of failures."""
    start, words = time.monotonic(), ("works", "refused", *WRONG)
    found = run(seed, max(25, count // 20))
    found["all"] = sum(found.values(), Counter())
    print(f"{'':12s}" + "".join(f"{word:>11s}" for word in words))
    for kind, counts in found.items():
        print(f"{kind:12s}" + "".join(f"{counts[word]:11d}" for word in words))
    print(f"{found['all'].total()} hostile files in {time.monotonic() - start:.0f} s")
    return sum(found["all"][word] for word in WRONG)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
