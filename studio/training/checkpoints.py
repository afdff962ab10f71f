"""A run on disk: weights at epochs, each with a small file of facts that marks it as complete.

    run.json                      the recipe, the data's digest, the run's digest, a version
    epoch-0007.500.safetensors    tensors `weights/<name>` and `buffers/<name>`
    epoch-0007.500.json           epoch, SHA-256 of the weights' file, metrics; written last: the mark of completeness

theta is a checkpoint's weights, buffers are what else its network stores, such as running statistics. Listing a run
needs no torch; only loading and saving tensors does. Files that the user brings are found by `checkpoint_files`, and
copied by `import_checkpoints`. A run of the user's own that is recorded by
`recording` has recording.json in place of run.json, and perhaps steps in place of epochs.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config.records import digest
from studio.config.user_files import read_regular, refusing
from studio.errors import DamageError, RunError
from studio.storage.files import atomic_write, read_json, translate_read_errors, write_json
from studio.training.objectives import Objective
from studio.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 1
"""Part of a run's digest: raised by hand when the same recipe trains to other bytes."""
logger = logging.getLogger("studio")
CHANGES_FILE = "changes.json"
"""In the folder of a run of the user's files: {name of a file: what was changed when it was imported}."""
RECORDING = "recording.json"
"""In the folder of a run that a `Recorder` records: whether it has ended."""
LARGEST_NOTES = 2**20
"""Bytes of what a recorder notes of a checkpoint."""
_NO_NOTES = "is not what a recorder writes"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights and buffers by name at one epoch; tensors on the CPU, contiguous."""

    epoch: float
    weights: Mapping[str, Tensor] = field(repr=False)
    buffers: Mapping[str, Tensor] = field(repr=False)


# --- listing, without torch ------------------------------------------------------------------------------------------


def facts_by_epoch(folder: Path) -> dict[float, dict[str, Any]]:
    """{epoch: facts} of every complete checkpoint, ascending: epoch, SHA-256 of the weights' file, metrics."""
    paths = [path for path in sorted(Path(folder).glob("epoch-*.json")) if path.with_suffix(".safetensors").is_file()]
    read = (_read_facts(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    facts = sorted(filter(None, read), key=lambda entry: entry["epoch"])
    return {float(entry["epoch"]): entry for entry in facts}


@lru_cache(maxsize=4096)
def _read_facts(path: Path, mtime_ns: int, size: int) -> dict[str, Any] | None:
    """The file's content; read again only if time or size changed, since a film asks for each file many times.

    None, which is said, if it is damaged: a checkpoint without facts is not complete, so it is made again.
    """
    try:
        return read_json(path)
    except DamageError as error:
        logger.warning("%s", error)
        return None


def epochs(folder: Path) -> tuple[float, ...]:
    """Epochs of every complete checkpoint, ascending."""
    return tuple(facts_by_epoch(folder))


def metrics(folder: Path) -> dict[str, tuple[float, ...]]:
    """{name: values over `epochs(folder)`} of the metrics that every checkpoint has."""
    per_epoch = [facts["metrics"] for facts in facts_by_epoch(folder).values()]
    names = [name for name in (per_epoch[0] if per_epoch else ()) if all(name in values for values in per_epoch)]
    return {name: tuple(values[name] for values in per_epoch) for name in names}


def recipe_digest(recipe: Recipe, objective: Objective, data_digest: str) -> str:
    """Digest of a run that is trained here: of its recipe, with `Data.digest` in place of the data's path."""
    return digest("run", VERSION, recipe.determinants, data_digest, *_unusual(objective))


def folder_digest(
    hashes: Mapping[str, str], recipe: Recipe, objective: Objective, data_digest: str, weights: str | None = None
) -> str:
    """Digest of a run of the user's files: of their `Survey.hashes`, model, data, and which weights are taken."""
    chosen = [] if weights is None else [{"weights": weights}]
    return digest("adopted", VERSION, recipe.model, data_digest, hashes, *_unusual(objective), *chosen)


def _unusual(objective: Objective) -> list[Objective]:
    """The objective, unless it is cross-entropy, whose digests are older than objectives."""
    return [] if objective.kind == "cross-entropy" else [objective]


def is_recorded(path: Path) -> bool:
    """Whether a file of the user's is in a folder that a recorder writes."""
    return path.with_name(RECORDING).is_file()


def has_ended(folder: Path) -> bool:
    """Whether the recorder of a folder has. Raises RunError if what it noted is damaged."""
    return bool(_notes(folder / RECORDING, "ended"))


def recorded_metrics(path: Path) -> dict[str, float]:
    """Metrics that a recorder noted beside a weights file; none if it wrote none. Raises RunError if damaged."""
    noted = _notes(path.with_suffix(".json"), "metrics") if is_recorded(path) else {}
    with refusing(path.with_suffix(".json"), _NO_NOTES):
        return {str(name): float(value) for name, value in noted.items()}


def _notes(path: Path, key: str) -> Any:
    # the checksum is of the folder's name too, which a user may have changed
    with refusing(path, _NO_NOTES):
        return json.loads(read_regular(path, LARGEST_NOTES))[key]


def recorded_names(paths: Iterable[Path]) -> tuple[str, ...]:
    """Names of the metrics that a recorder noted beside all of these weights files; none where it cannot be read."""
    try:
        first, *others = [recorded_metrics(path) for path in paths]
    except RunError:
        return ()
    return tuple(name for name in first if all(name in other for other in others))


def sha256(content: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def write_run_file(folder: Path, recipe: Recipe, data_digest: str, run_digest: str) -> None:
    """Writes run.json if it is missing. Raises RunError if the folder holds another run."""
    path = Path(folder) / "run.json"
    if not path.exists():
        dump = recipe.model_dump(mode="json")
        write_json(path, {"recipe": dump, "data": data_digest, "digest": run_digest, "version": VERSION})
    elif read_json(path)["digest"] != run_digest:
        raise RunError(f"{folder}: this folder holds another run; give an empty one, or remove it")


def weights_path(folder: Path, at: float, axis: str = "epoch") -> Path:
    """The weights' file of a checkpoint at an epoch, or at a step."""
    return Path(folder) / (f"epoch-{at:08.3f}.safetensors" if axis == "epoch" else f"{axis}-{at:08.0f}.safetensors")


# --- tensors ---------------------------------------------------------------------------------------------------------


def snapshot(epoch: float, model: nn.Module) -> Checkpoint:
    """A checkpoint of copies of the model's parameters and buffers, on the CPU."""

    def copies(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in named}

    return Checkpoint(epoch, copies(model.named_parameters()), copies(model.named_buffers()))


def named(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Its tensors by their names in a file."""
    parts = {"weights": checkpoint.weights, "buffers": checkpoint.buffers}
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def save(folder: Path, checkpoint: Checkpoint, metrics: Mapping[str, float], axis: str = "epoch") -> None:
    """Writes the tensors, then the facts that mark them as complete. axis: of the checkpoint's `epoch`."""
    from safetensors.torch import save as to_bytes

    path = weights_path(folder, checkpoint.epoch, axis)
    content = to_bytes({name: tensor.contiguous() for name, tensor in named(checkpoint).items()})
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    facts = {axis: checkpoint.epoch, "weights": sha256(content), "metrics": dict(metrics)}
    write_json(path.with_suffix(".json"), facts)


def load(folder: Path, epoch: float) -> Checkpoint:
    """The checkpoint at an epoch. Raises RunError if it is missing, DamageError if it is not what was written."""
    from safetensors.torch import load as from_bytes

    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "buffers": {}}
    for name, tensor in from_bytes(_read(folder, epoch)).items():
        part, _, name = name.partition("/")
        parts[part][name] = tensor
    return Checkpoint(epoch, **parts)


def verify(folder: Path) -> None:
    """Reads a run. Raises DamageError at the first file that is not what was written; one that is absent is made."""
    if (path := Path(folder) / "run.json").is_file():
        read_json(path)
    for epoch in epochs(folder):
        _read(folder, epoch)


def _read(folder: Path, epoch: float) -> bytes:
    facts = facts_by_epoch(folder).get(epoch)
    if facts is None:
        close = sorted(sorted(epochs(folder), key=lambda other: abs(other - epoch))[:2])
        nearest = " and ".join(f"{other:g}" for other in close)
        verb = "are" if len(close) > 1 else "is"
        found = f"the nearest {verb} {nearest}" if close else "the run holds no checkpoints yet"
        raise RunError(f"{folder}: no checkpoint at epoch {epoch:g}; {found}")
    path = weights_path(folder, epoch)
    with translate_read_errors(path):
        content = path.read_bytes()
        if sha256(content) != facts["weights"]:
            raise ValueError(f"its {len(content)} bytes are not those that were written")
        return content
