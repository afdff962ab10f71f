"""Which method computes a scene's loss values quickest on this machine: all that fit, timed; the best, written.

What a scene computes follows a fixed rule, never a timing, so tuning is a command of its own and its result a line of
the scene: `method`, under `loss`. Comments and layout stay: text goes in where YAML's parser says a value begins or
ends.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config.reading import compose, load_raw
from studio.errors import SceneError
from studio.scene.scene import Scene
from studio.storage.files import atomic_write

if TYPE_CHECKING:
    from studio.landscape.values.profiling import Timed

WORTH = 0.95
"""A method other than the rule's is chosen if it needs less than this share of its time, since every value is then
measured again."""


def times(scene: Scene, workers: int = 1) -> list[Timed]:
    """Every method that fits the scene: by the time the whole scene takes, then those that failed."""
    from studio.landscape.values.profiling import timed

    found = timed(scene.run, scene.directions, scene.loss, scene.grid)
    return sorted(found, key=lambda one: (bool(one.failure), seconds(one, scene, workers)))


def seconds(one: Timed, scene: Scene, workers: int = 1) -> float:
    """What all loss values of the scene take: each worker prepares each slice, and the points are shared out."""
    return len(scene.keys()) * (one.preparing + scene.grid.size * one.value / workers)


def best(found: Sequence[Timed], scene: Scene, workers: int = 1) -> str:
    """The method to write: the quickest, or the rule's if that is hardly slower."""
    rule, quickest = _rule(scene), found[0]
    usual = next((one for one in found if one.method == rule and not one.failure), None)
    if usual and seconds(quickest, scene, workers) > WORTH * seconds(usual, scene, workers):
        return rule
    return quickest.method


def _rule(scene: Scene) -> str:
    """The method that is taken if the scene names none."""
    from studio.landscape.slices import chosen_method

    free = scene.loss.model_copy(update={"method": None})
    return chosen_method(scene.run.recipe.model, scene.directions, free)[0]


def table(found: Sequence[Timed], scene: Scene, workers: int = 1) -> Iterator[str]:
    """A line for each method, and one that says which is best. The rule's own is starred."""
    rule, plain_loop = _rule(scene), next(one for one in found if one.method == "loop")
    yield f"{'method':20s} {'ms a value':>10s} {'loop is 1':>10s} {'to prepare':>10s} {'differs':>8s} {'in all':>9s}"
    for one in found:
        name = one.method + "*" * (one.method == rule)
        if one.failure:
            yield f"{name:20s} cannot be taken: {one.failure}"
        else:
            ratio, took = plain_loop.value / one.value, seconds(one, scene, workers)
            yield (
                f"{name:20s} {1e3 * one.value:10.3f} {ratio:9.2f}x {one.preparing:8.2f} s {one.difference:8.0e} "
                f"{took:7.1f} s"
            )
    yield f"best for this scene on this machine: {best(found, scene, workers)} (the rule's own choice: {rule})"


# --- the scene's file ------------------------------------------------------------------------------------------------


def write(file: Path, method: str) -> None:
    """Writes `method: ...` under `loss` into a scene's file, whole or not at all. Raises SceneError."""
    real = file.resolve()  # a link stays a link
    try:
        text = real.read_bytes().decode()  # not read_text: the ends of lines stay as they are
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError(f"{file}: cannot be read: {error}") from error
    changed = written(text, method, str(file))
    with atomic_write(real) as beside:
        beside.write_bytes(changed.encode())
        shutil.copymode(real, beside)


def written(text: str, method: str, name: str = "scene") -> str:
    """A scene's text with `method: ...` under `loss`, and nothing else changed. name: what complaints call it.

    Raises SceneError if the way it is laid out does not allow that.
    """
    before = load_raw(text, name=name)
    if _has_room(before):
        after = _changed(text, compose(text, name), method)
        if _meant(after, name) == before | {"loss": (before.get("loss") or {}) | {"method": method}}:
            return after
    raise SceneError(f"{name}: its layout leaves no place to write in; write `method: {method}` under `loss` yourself")


def _has_room(said: Any) -> bool:
    """Whether a scene has keys, and under `loss` keys or nothing."""
    return isinstance(said, dict) and isinstance(said.get("loss") or {}, dict)


def _changed(text: str, root: Any, method: str) -> str:
    loss = _value(root, "loss")
    if loss is None:
        return _put(text, root, "loss", f"{{method: {method}}}")
    if loss.tag.endswith(":null"):
        return _over(text, loss, " " * (loss.value == "") + f"{{method: {method}}}")
    if (old := _value(loss, "method")) is not None:
        return _over(text, old, method)
    return _put(text, loss, "method", method)


def _meant(text: str, name: str) -> Any:
    """What the text says; None if it is broken."""
    try:
        return load_raw(text, name=name)
    except SceneError:
        return None


def _value(mapping: Any, key: str) -> Any:
    """The node of a key's value in a YAML mapping; None if the key is not there."""
    return next((value for name, value in mapping.value if name.value == key), None)


def _over(text: str, node: Any, new: str) -> str:
    """The text with another in a node's place."""
    return text[: node.start_mark.index] + new + text[node.end_mark.index :]


def _put(text: str, mapping: Any, key: str, value: str) -> str:
    """The text with one more key in a YAML mapping: last within braces, else first, on a line of its own."""
    pair, pairs = f"{key}: {value}", mapping.value
    if mapping.flow_style:
        end = pairs[-1][1].end_mark.index if pairs else mapping.end_mark.index - 1
        return text[:end] + ", " * bool(pairs) + pair + text[end:]
    first, line_end = pairs[0][0].start_mark, "\r\n" if "\r\n" in text else "\n"
    return text[: first.index] + pair + line_end + " " * first.column + text[first.index :]
