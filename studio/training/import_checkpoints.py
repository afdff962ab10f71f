"""Import of the user's own checkpoints into a run folder, in the format of the recorder.

    tensors by place in a file -> tensors by the model's names, and what was changed for that

A model's weights are looked for as they are named first, then behind a prefix that all of them share, then without the
names that wrappers of parallel and compiled networks add. They must match the model in every name and shape.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from studio.config.records import nearest
from studio.config.user_files import shown
from studio.errors import RunError
from studio.storage.files import write_json
from studio.training import checkpoints
from studio.training.checkpoint_contents import read_contents
from studio.training.checkpoint_files import UserFile, survey
from studio.training.device import deterministic
from studio.training.evaluate import scores, tensors
from studio.training.objectives import CROSS_ENTROPY, Objective
from studio.training.recipe import Recipe

logger = logging.getLogger("studio")
USUAL = ("", "state_dict", "model_state_dict", "model", "module", "net", "network", "weights")
"""Places of a network's weights in a file, the likeliest first; a word of `module.` of parallel use is one too."""
AVERAGED = re.compile(r"ema|swa|averag|shadow|teacher|target|best", re.IGNORECASE)
"""Places of weights that are read only where a run asks for them, or where a file has no others."""
WRAPS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of names that compiling, sharding and checkpointing of activations add."""
UNREAD = (".position_ids", ".inv_freq", ".masked_bias", "n_averaged")
"""Ends of names of buffers that older versions of networks saved, and that nothing reads."""


def import_checkpoints(
    user_folder: Path,
    recipe: Recipe,
    folder: Path,
    objective: Objective = CROSS_ENTROPY,
    named: str | None = None,
    weights: str | None = None,
) -> None:
    """Copies the user's checkpoints into the run folder `folder`, each with the objective's losses and metrics.

    named, weights: as of `FolderRun`. Epochs that the folder has already stay as they are. What was changed is written
    beside them, for `studio check`. Raises RunError for a file that does not fit the model, and as `survey` does.
    """
    found, data = survey(user_folder, named), recipe.data.load()
    run_digest = checkpoints.folder_digest(found.hashes, recipe, objective, data.digest, weights)
    checkpoints.write_run_file(folder, recipe, data.digest, run_digest)
    existing, changes = checkpoints.epochs(folder), dict[str, tuple[str, str]]()
    with deterministic():
        samples = tensors(data)
        model = recipe.model.build(data.shape, objective.outputs(data.layout)).to(samples[0].device)
        for epoch, file in found.files.items():
            state, change = fit_file(file, model, weights)
            changes[file.name] = file.stamp, change
            if epoch not in existing:
                model.load_state_dict(state)
                if replace(file).sha256 != file.sha256:
                    raise RunError(f"{shown(file.paths[0])}: changed while it was imported; run again")
                metrics = checkpoints.recorded_metrics(file.paths[0]) | scores(model, samples, objective)
                checkpoints.save(folder, checkpoints.snapshot(epoch, model), metrics)
    write_json(Path(folder) / checkpoints.CHANGES_FILE, changes)
    if found.left_out:
        count = len(found.left_out)
        logger.warning("%s: files left out: %d; `studio check` says which, and why", shown(user_folder), count)


def fit_file(file: UserFile, model: nn.Module, weights: str | None = None) -> tuple[dict[str, Tensor], str]:
    """(a file's tensors by the model's names, what was changed). Raises RunError if they do not fit."""
    return fit(read_contents(file.paths).tensors, model, file.paths[0], weights)


@dataclass(frozen=True)
class _Match:
    """Where in a file a model's weights are.

    place: what stands before all names there, as `read` reads them. names: {the model's: the file's}.
    """

    place: str
    names: Mapping[str, str]
    read: Callable[[str], str]

    @property
    def words(self) -> list[str]:
        """The parts of the place."""
        return re.split("[/.]", self.place.rstrip("/."))

    def is_called(self, word: str) -> bool:
        """Whether a word of the user's is the place, or a part of it, such as `ema` of `model_ema`."""
        return word in (self.place.rstrip("/."), *self.words, *re.split("[/._]", self.place))

    def shapes_fit(self, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
        """Whether each tensor has the shape of the model's."""
        pairs = ((found[theirs], expected[ours]) for ours, theirs in self.names.items())
        return all(not theirs.is_nested and theirs.shape == ours.shape for theirs, ours in pairs)


def fit(
    found: Mapping[str, Tensor], model: nn.Module, path: Path, weights: str | None = None
) -> tuple[dict[str, Tensor], str]:
    """(tensors by the model's names, what was changed for that). weights: a word of the place to take them from.

    Raises RunError if no place fits, several do and none is the usual one, or the place is not there.
    """
    expected, tied = model.state_dict(), _tied(model)
    match = _chosen(found, expected, tied, path, weights)
    others = [name for name in found if name not in {*match.names.values()}]
    beside = {name.rpartition("/")[0] for name in match.names.values()} or {match.place.rstrip("/")}
    strangers = [name for name in others if name.rpartition("/")[0] in beside and not name.endswith(UNREAD)]
    strangers = [name for name in strangers if match.read(name).startswith(match.place)]
    state = {ours: found[theirs] for ours, theirs in match.names.items()}
    state |= {match.read(name).removeprefix(match.place): found[name] for name in strangers}
    for name, twins in tied.items():
        if source := next((twin for twin in twins if twin in match.names), None):
            state.setdefault(name, state[source])
    changes = _changes(match, found, state, expected, [name for name in others if name not in strangers])
    fitting = check_fit(state, model, path)
    for name, (twin, *_) in tied.items():
        if not torch.equal(fitting[name], fitting[twin]):
            raise RunError(f"{shown(path)}: {twin} and {name} are one weight in the model, and two in the file")
    return fitting, "; ".join(changes)


def _chosen(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    tied: Mapping[str, list[str]],
    path: Path,
    word: str | None,
) -> _Match:
    """Where the weights are taken from. Raises RunError if that is not clear."""
    ways = [[*way] for way in _matches(found, expected)]
    needed = {name for name in expected if not name.endswith("num_batches_tracked")}
    whole = [[m for m in way if all({*tied.get(n, [n])} & m.names.keys() for n in needed)] for way in ways]
    fitting = [[m for m in way if m.shapes_fit(found, expected)] for way in whole]
    kept = fitting if any(fitting) else whole if any(whole) else [[max(ways[0], key=lambda m: len(m.names))]]
    if word is not None:
        every = [match for way in kept for match in way]
        places = dict.fromkeys(shown(match.place.rstrip("/.") or "its top") for match in every)
        if not (called := next((match for match in every if match.is_called(word)), None)):
            raise RunError(f"{shown(path)}: holds no weights called {shown(word)}{nearest(word, places)}")
        return called
    matches = next(filter(None, kept))
    plain = [match for match in matches if not AVERAGED.search(match.place)] or matches
    usual = [m for m in plain if {*m.words} <= {*USUAL}] if len(plain) > 1 else plain
    if not usual:
        found_in = " and ".join(shown(match.place.rstrip("/."), 80) for match in plain[:4])
        way_out = f"say which, such as `weights: {shown(plain[0].words[-1], 80)}`"
        raise RunError(f"{shown(path)}: holds weights that fit in {found_in}; {way_out}")
    return min(usual, key=lambda m: max(map(USUAL.index, m.words)) if len(usual) > 1 else 0)


def _tied(model: nn.Module) -> dict[str, list[str]]:
    """{name: all names of its tensor} of the model, where a tensor has several."""
    names = dict[int, list[str]]()
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return {name: group for group in names.values() if len(group) > 1 for name in group}


def _changes(
    match: _Match,
    found: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    left: Sequence[str],
) -> Iterator[str]:
    """What was done to names and numbers, in words."""
    container, _, prefix = match.place.rpartition("/")
    if container:
        yield f"weights of {shown(container, 80)}"
    if prefix:
        yield f"prefix {shown(prefix, 80)} dropped from {len(match.names)} names"
    wrapped = sum(match.read(name) != name for name in match.names.values())
    if wrapped:
        yield f"what wrappers add dropped from {wrapped} names"
    if shared := len(state.keys() & expected.keys()) - len(match.names):
        yield f"{shared} tied weights written once"
    casts = {found[theirs].dtype for ours, theirs in match.names.items() if found[theirs].dtype != expected[ours].dtype}
    if casts:
        yield f"converted from {', '.join(sorted(str(dtype).removeprefix('torch.') for dtype in casts))}"
    if left:
        start = f"{container}/" if container else ""
        groups = Counter(
            n.partition(".")[0] if n.rpartition("/")[0] == container else n.rpartition("/")[0] for n in left
        )
        names = [f"{shown(name.removeprefix(start), 40)} ({count})" for name, count in groups.items()]
        yield f"left out the tensors of {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _matches(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[Iterator[_Match]]:
    """Places of a file behind which names of the model stand, for each way of reading names, as they are first."""
    for ours in (str, _without(WRAPS), _without((*WRAPS, "module")), _without_first(expected)):
        short = {ours(name): name for name in expected}
        if len(short) == len(expected):
            for theirs in (str, _without(WRAPS), _without((*WRAPS, "module"))):
                yield _places(found, short, theirs)


def _places(found: Mapping[str, Tensor], short: Mapping[str, str], read: Callable[[str], str]) -> Iterator[_Match]:
    """Places behind which some of the names stand. short: {a name as it is looked for: the model's}."""
    by_place = dict[str, dict[str, str]]()
    for name in found:
        text = read(name)
        for cut in (0, *(i + 1 for i, letter in enumerate(text) if letter in "/.")):
            if (rest := text[cut:].replace("/", ".")) in short:
                by_place.setdefault(text[:cut], {})[short[rest]] = name
    if not by_place:  # none: then the largest mapping is what does not fit
        [(largest, _)] = Counter(name.rpartition("/")[0] for name in found).most_common(1)
        by_place[f"{largest}/" if largest else ""] = {}
    yield from (_Match(place, names, read) for place, names in by_place.items())


def _without(parts: tuple[str, ...]) -> Callable[[str], str]:
    """A name without some of its parts."""
    pattern = re.compile(rf"(?<![^/.])(?:{'|'.join(parts)})\.")
    return lambda name: pattern.sub("", name)


def _without_first(names: Mapping[str, Tensor]) -> Callable[[str], str]:
    """A name without its first part, if that is the same for all."""
    firsts = {name.partition(".")[0] for name in names}
    return lambda name: name.partition(".")[2] if len(firsts) == 1 and "." in name else name


def check_fit(state: Mapping[str, Tensor], model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The state, if its names, shapes and numbers are the model's. Raises RunError with what is not.

    Counters of batch norms that older files lack come from the model: nothing reads them.
    """
    expected = model.state_dict()
    state = {**{name: value for name, value in expected.items() if name.endswith("num_batches_tracked")}, **state}
    trained = dict(model.named_parameters(remove_duplicate=False))
    misshapen = {name: _misfit(state[name], w, name in trained) for name, w in expected.items() if name in state}
    misfits = [
        *(f"{name} is missing" for name in expected if name not in state),
        *(f"{shown(name, 80)} is not in the model" for name in state if name not in expected),
        *(f"{name} is {text}" for name, text in misshapen.items() if text),
    ]
    if misfits:
        more = f", and {len(misfits) - 5} more" if len(misfits) > 5 else ""
        raise RunError(f"{shown(path)}: does not fit the model: {'; '.join(misfits[:5])}{more}")
    return {name: value.to(expected[name].dtype) for name, value in state.items()}


def _misfit(value: Tensor, expected: Tensor, is_trained: bool) -> str:
    """What a tensor is, and what it should be; empty if it fits."""
    if value.is_nested or value.is_quantized or value.layout != torch.strided or value.device.type != "cpu":
        words = "nested" if value.is_nested else "quantised" if value.is_quantized else "sparse"
        return f"{words if value.device.type == 'cpu' else 'without values'}, expected a dense tensor of numbers"
    if value.shape != expected.shape:
        return f"{_shape(value)}, expected {_shape(expected)}"
    if expected.is_floating_point() > value.is_floating_point() or value.is_complex() > expected.is_complex():
        return f"of {value.dtype}, expected real numbers".replace("torch.", "")
    if is_trained and not value.to(expected.dtype).isfinite().all():
        return f"not finite, expected numbers that {expected.dtype} holds".replace("torch.", "")
    return ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
