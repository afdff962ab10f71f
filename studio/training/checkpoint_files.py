"""The user's own checkpoint files: which there are, of which epoch or step each is, and which are left out, and why.

    files -> where each stands -> the axis on which all of them differ: epoch, else step

How far training had come is what a file holds inside; then what a pattern of the user's, a word before a number, or the
only number in its name says. Listing needs no torch; reading what is inside does.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from studio.config.user_files import open_regular, read_regular, refusing, shown
from studio.errors import RunError
from studio.training.checkpoints import RECORDING

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".th", ".t7", ".tar")
"""Of the user's own checkpoint files."""
WHOLE = ("model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
"""Files beside which the others in their folder are not weights, or the same ones again."""
LARGEST_INDEX = 2**26
"""Bytes of the index of a checkpoint in several files."""
NUMBER = r"(\d{1,15}(?:\.\d+)?)"
WORDS = {"epoch": r"ep(?:ochs?)?", "step": r"(?:global_?)?steps?|iter(?:ation)?s?"}
"""What stands before the number in a name."""
RESULTS = (
    r"(?:val|train|test|top|best)?[-_]?(?:acc\w*|loss|err\w*|f1|auc|lr|wd|bs|seed|fold|psnr|fid|m?ap|miou|ppl|bleu)"
)
"""Words before numbers that are no epochs."""


@dataclass(frozen=True)
class UserFile:
    """A checkpoint in a file or several. name: below the user's folder. stands: {axis: (where, how it is known)}."""

    name: str
    paths: tuple[Path, ...]
    stands: Mapping[str, tuple[float, str]]

    @cached_property
    def sha256(self) -> str:
        """SHA-256, in hex, of the files as they are at the first call. Raises RunError."""
        total = hashlib.sha256()
        for path in self.paths:
            with refusing(path, "cannot be read"), open_regular(path) as file:
                total.update(hashlib.file_digest(file, "sha256").digest())  # type: ignore[arg-type]  # it has readinto
        return total.hexdigest()

    @property
    def stamp(self) -> str:
        """Sizes and times of the files."""
        return " ".join(f"{path.stat().st_size}-{path.stat().st_mtime_ns}" for path in self.paths)


@dataclass(frozen=True)
class Survey:
    """The files that a run is of, by where they stand on its axis, and {name: why} of those that are left out."""

    axis: str
    files: Mapping[float, UserFile]
    left_out: Mapping[str, str]

    @property
    def hashes(self) -> dict[str, str]:
        """{where it stands, and its name: SHA-256} of the files."""
        return {f"{self.axis} {at:g} {shown(file.name)}": file.sha256 for at, file in self.files.items()}


def survey(checkpoints: Path, named: str | None = None) -> Survey:
    """What a folder, or a pattern such as `runs/*.ckpt`, holds. named: a pattern of names, as `has_place` takes it.

    Files that are no checkpoints are left out. Raises RunError if all are, if one that is named like a checkpoint is
    damaged or holds code, and if two that differ stand at one place on every axis.
    """
    with refusing(checkpoints, "cannot be listed"):
        found, left_out = _listed(Path(checkpoints))
        status = [os.stat(path) for paths in found.values() for path in paths]
    if not found:
        such = f"such as epoch-10.pt or model_0.5.safetensors ({', '.join(SUFFIXES)})"
        raise RunError(f"{shown(checkpoints)}: no checkpoints here; expected files named by epoch, {such}")
    stamps = tuple((each.st_mtime_ns, each.st_size) for each in status)
    return _surveyed(tuple(found.items()), tuple(left_out.items()), named, stamps)


@lru_cache(maxsize=16)  # a scene is asked again and again; stamps: of the files as they are now
def _surveyed(
    found: tuple[tuple[str, tuple[Path, ...]], ...],
    left_out: tuple[tuple[str, str], ...],
    named: str | None,
    stamps: tuple[tuple[int, int], ...],
) -> Survey:
    from studio.training.checkpoint_contents import NoCheckpointError

    files, reasons = list[UserFile](), dict(left_out)
    for name, paths in found:
        try:
            files.append(_examined(name, paths, named))
        except RunError as error:
            if from_name(name, named) and not isinstance(error, NoCheckpointError):
                raise  # it is one by its name
            reasons[name] = str(error).removeprefix(f"{shown(paths[0])}: ")
    if not files:
        more = f" (as well as {len(found) - 1} more files)" if len(found) > 1 else ""
        raise RunError(f"{shown(found[0][1][0])}: {reasons[found[0][0]]}{more}")
    return _placed(files, reasons)


def _placed(files: list[UserFile], left_out: dict[str, str]) -> Survey:
    """The files on the axis that has most of them. Raises RunError if no axis tells them apart."""
    clashes = list[RunError]()
    for axis in sorted(WORDS, key=lambda axis: -sum(axis in file.stands for file in files)):
        placed, reasons = dict[float, UserFile](), dict(left_out)
        try:
            for file in sorted(files, key=lambda file: -len(file.stands)):
                if axis not in file.stands:
                    reasons[file.name] = f"no {axis} inside, nor in its name"
                elif (other := placed.setdefault(file.stands[axis][0], file)) is not file:
                    reasons[file.name] = _require_same(other, file, axis)
        except RunError as error:
            clashes.append(error)
        else:
            if placed:
                return Survey(axis, dict(sorted(placed.items())), dict(sorted(reasons.items())))
    raise clashes[0]


def _require_same(first: UserFile, second: UserFile, axis: str) -> str:
    """Why the second is left out: it holds the same weights. Raises RunError if it does not."""
    from studio.training.checkpoint_contents import read_contents

    a, b = (read_contents(file.paths).tensors for file in (first, second))
    with refusing(second.paths[0], f"cannot be compared with {shown(first.name)}"):
        if a.keys() == b.keys() and all(a[n].shape == b[n].shape and bool((a[n] == b[n]).all()) for n in a):
            return f"the same weights as {shown(first.name)}"
    at, how = second.stands[axis]
    way_out = "keep one of them, or name those of the run by a pattern, such as `checkpoints: 'runs/net_*.pt'`"
    what = f"{shown(first.name)} has {axis} {at:g} too ({how}), and other weights"
    raise RunError(f"{shown(second.paths[0])}: {what}; {way_out}")


def _examined(name: str, paths: tuple[Path, ...], named: str | None) -> UserFile:
    """A file with where it stands. Raises RunError, with the file's path, if it is of no use."""
    from studio.training.checkpoint_contents import NoCheckpointError, read_contents

    inside = {axis: (at, "stored inside") for axis, at in read_contents(paths).counters.items()}
    if not (stands := from_name(name, named) | inside):
        numbers = ", ".join(re.findall(NUMBER, Path(name).stem))
        text = f"no epoch in the file's name{f', which has the numbers {numbers},' if numbers else ''} nor inside"
        way_out = f"name it like epoch-10{paths[0].suffix}, or say where it stands, such as `named: 'net_{{epoch}}_*'`"
        raise NoCheckpointError(f"{shown(paths[0])}: {text}; {way_out}")
    return UserFile(name, paths, stands)


# --- names -----------------------------------------------------------------------------------------------------------


def has_place(named: str) -> str:
    """The pattern of names. Raises ValueError unless it says once where the epoch or the step stands."""
    if not re.fullmatch(r"[^{}]*\{(epoch|step)\}[^{}]*", named):
        raise ValueError(f"'{named}' says not where the number stands; write it like net_{{epoch}}_* or *_{{step}}.pt")
    return named


def from_name(name: str, named: str | None = None) -> dict[str, tuple[float, str]]:
    """{axis: (where, how)} that a file's name says, or else that of its folder. named: a pattern of the user's.

    >>> from_name("epoch=1-step=10.ckpt")["step"], from_name("net_10_acc_91.2.pt", "net_{epoch}_*")["epoch"][0]
    ((10.0, "after 'step' in its name"), 10.0)
    >>> from_name("checkpoint-500/model.safetensors"), from_name("resnet18_best.pt")
    ({'step': (500.0, "after 'checkpoint' in its folder's name")}, {})
    """
    path = Path(name)
    if named:
        parts = (".*".join(map(re.escape, part.split("*"))) for part in re.split(r"\{(?:epoch|step)\}", named))
        pattern, axis = NUMBER.join(parts), "epoch" if "{epoch}" in named else "step"
        if match := next(filter(None, (re.fullmatch(pattern, text) for text in (path.name, path.stem, name))), None):
            return {axis: (round(float(match[1]), 3), "by the pattern `named`")}
    if of_file := _from_text(path.stem.removesuffix(".pth"), "its name"):
        return of_file
    if match := re.fullmatch(rf"checkpoint-{NUMBER}", path.parent.name):
        return {"step": (round(float(match[1]), 3), "after 'checkpoint' in its folder's name")}
    return _from_text(path.parent.name, "its folder's name")


def _from_text(text: str, whose: str) -> dict[str, tuple[float, str]]:
    """{axis: (where, how)} from words before numbers, else from the only number that may be an epoch."""
    found = {}
    for axis, words in WORDS.items():
        if numbers := re.findall(rf"(?<![a-z])(?:{words})[-_=. ]*{NUMBER}", text, re.IGNORECASE):
            found[axis] = (round(float(numbers[-1]), 3), f"after '{axis}' in {whose}")
    bare = re.sub(rf"(?<![a-z]){RESULTS}[-_=. ]*{NUMBER}", "", text, flags=re.IGNORECASE)
    alone = r"(?<![a-z\d])(?<!\d\.)|(?<![a-z])(?:model|net|ckpt|checkpoint|weights)"
    single = re.findall(rf"(?:{alone}){NUMBER}", bare, re.IGNORECASE)
    return found or ({"epoch": (round(float(single[0]), 3), f"the number in {whose}")} if len(single) == 1 else {})


# --- files -----------------------------------------------------------------------------------------------------------


def _listed(place: Path) -> tuple[dict[str, tuple[Path, ...]], dict[str, str]]:
    """({name: files of a checkpoint}, {name: why} of those that are left out), without reading them."""
    if place.is_dir() or not glob.has_magic(str(place)):
        root = place.parent if re.fullmatch(r"checkpoint-\d+", place.name) else place
        groups = [*_within(place, deep=True)]
    else:
        first = next(number for number, part in enumerate(place.parts) if glob.has_magic(part))
        root, matched = Path(*place.parts[:first]), sorted(map(Path, glob.glob(str(place))))
        groups = [group for path in matched for group in (_within(path) if path.is_dir() else [((path,), "")])]
    named = {paths[0].relative_to(root).as_posix(): (paths, why) for paths, why in groups if os.path.isfile(paths[0])}
    left_out = {name: why for name, (_, why) in named.items() if why}
    return {name: paths for name, (paths, why) in named.items() if not why}, left_out


def _within(folder: Path, deep: bool = False) -> Iterator[tuple[tuple[Path, ...], str]]:
    """(files of a checkpoint, why they are left out) of a folder, and of folders in it that are of epochs or steps."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    if (folder / RECORDING).is_file():
        marked = (path.with_suffix(".safetensors") for path in inside if path.suffix == ".json")
        inside = [path for path in marked if path in inside]
    index = next((path for path in inside if path.name.endswith(".index.json")), None)
    whole = _shards(index) if index else tuple(path for path in inside if path.name in WHOLE)[:1]
    if whole:
        yield whole, ""
    for path in inside:
        if path.is_dir():
            if deep and (re.search(r"\d", path.name) or any((path / name).is_file() for name in WHOLE)):
                yield from _within(path)
        elif path not in whole:
            beside = f"{shown(whole[0].name)} beside it is read" if whole else ""
            yield (path,), beside if path.suffix in SUFFIXES else "no suffix of a checkpoint"


def _shards(index: Path) -> tuple[Path, ...]:
    """An index and the files that it names. Raises RunError if it is none, or names files that are not beside it."""
    with refusing(index, "cannot be read as the index of a checkpoint in several files"):
        names = sorted({*json.loads(read_regular(index, LARGEST_INDEX))["weight_map"].values()})
        for name in names:
            if Path(name).name != name or Path(name).suffix not in SUFFIXES or not index.with_name(name).is_file():
                raise ValueError(f"it names {name}, which is no such file beside it")
    return (index, *(index.with_name(name) for name in names))
