"""The fastest method for a scene's loss values on this machine: every method that fits is timed, the fastest written.

Without `method` under `loss`, a fixed rule chooses the method, never a timing: so tuning is a command, and its result a
line of the scene. The line is inserted where YAML's parser says that a value begins or ends. A round trip through
ruamel.yaml changes more than the line in 8 of the 12 layouts that the tests list, and drops a comment in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from studio.config.reading import compose, load_raw
from studio.errors import SceneError
from studio.landscape.profiling import MethodTiming, time_methods
from studio.landscape.slices import scene_method
from studio.scene.scene import Scene
from studio.storage.files import rewrite

WORTHWHILE = 0.95
"""A method other than the rule's is chosen if it needs less than this share of its time, since every value is then
measured again."""


def time_scene(scene: Scene, workers: int = 1) -> list[MethodTiming]:
    """The times of every method that fits the scene: fastest first, then those that failed."""
    timings = time_methods(scene.network, scene.directions, scene.loss, scene.grid)
    return sorted(timings, key=lambda timing: (bool(timing.failure), scene_seconds(timing, scene, workers)))


def scene_seconds(timing: MethodTiming, scene: Scene, workers: int = 1) -> float:
    """Seconds for all loss values of the scene: each worker prepares each slice, and the points are shared out."""
    return len(scene.keyframes()) * (timing.preparation + scene.grid.size * timing.value / workers)


def fastest(timings: Sequence[MethodTiming], scene: Scene, workers: int = 1) -> str:
    """The method to write: the fastest, or the rule's if that is hardly slower."""
    rule, best = _rule(scene), timings[0]
    usual = next((timing for timing in timings if timing.method == rule and not timing.failure), None)
    if usual and scene_seconds(best, scene, workers) > WORTHWHILE * scene_seconds(usual, scene, workers):
        return rule
    return best.method


def _rule(scene: Scene) -> str:
    """The method that is used if the scene names none."""
    loss = scene.loss.model_copy(update={"method": None})
    return scene_method(scene.network, scene.directions, loss)[0]


def table(timings: Sequence[MethodTiming], scene: Scene, workers: int = 1) -> Iterator[str]:
    """A line per method, and one that says which is fastest. The rule's own is starred."""
    rule, loop = _rule(scene), next(timing for timing in timings if timing.method == "loop")
    yield f"{'method':20s} {'ms a value':>10s} {'loop is 1':>10s} {'to prepare':>10s} {'differs':>8s} {'in all':>9s}"
    for timing in timings:
        name = timing.method + "*" * (timing.method == rule)
        if timing.failure:
            yield f"{name:20s} cannot be used: {timing.failure}"
        else:
            each = f"{1e3 * timing.value:10.3f} {loop.value / timing.value:9.2f}x {timing.preparation:8.2f} s"
            yield f"{name:20s} {each} {timing.difference:8.0e} {scene_seconds(timing, scene, workers):7.1f} s"
    best = fastest(timings, scene, workers)
    yield f"best for this scene on this machine: {best} (the rule's own choice: {rule})"


def write_method(file: Path, method: str) -> None:
    """Writes `method: ...` under `loss` into a scene's file. Raises SceneError for a file or layout it cannot use."""
    target = file.resolve()  # a link stays a link
    try:
        text = target.read_bytes().decode()  # not read_text, which would change the ends of lines
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError(f"{file}: cannot be read: {error}") from error
    changed = insert_method(text, method, str(file))
    rewrite(target, changed.encode())


def insert_method(text: str, method: str, name: str = "scene") -> str:
    """A scene's text with `method: ...` under `loss`. Raises SceneError if the layout does not allow that alone."""
    before = load_raw(text, name=name)
    if isinstance(before, dict) and isinstance(loss := before.get("loss") or {}, dict):
        after = _insert(text, compose(text, name), method)
        with suppress(SceneError):
            if load_raw(after, name=name) == before | {"loss": loss | {"method": method}}:
                return after
    raise SceneError(f"{name}: its layout leaves no place to write in; write `method: {method}` under `loss` yourself")


def _insert(text: str, root: Any, method: str) -> str:
    loss = _value(root, "loss")
    if loss is None:
        return _add_key(text, root, "loss", f"{{method: {method}}}")
    if loss.tag.endswith(":null"):
        return _replace(text, loss, " " * (loss.value == "") + f"{{method: {method}}}")
    if (old := _value(loss, "method")) is not None:
        return _replace(text, old, method)
    return _add_key(text, loss, "method", method)


def _value(mapping: Any, key: str) -> Any:
    """The node of a key's value in a YAML mapping; None if the key is not there."""
    return next((value for name, value in mapping.value if name.value == key), None)


def _replace(text: str, node: Any, new: str) -> str:
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    return text[:start] + new + text[end:]


def _add_key(text: str, mapping: Any, key: str, value: str) -> str:
    """The text with one more key in a YAML mapping: last within braces, else first, on a line of its own."""
    pair, pairs = f"{key}: {value}", mapping.value
    if mapping.flow_style:
        end = int(pairs[-1][1].end_mark.index if pairs else mapping.end_mark.index - 1)
        return text[:end] + ", " * bool(pairs) + pair + text[end:]
    first, line_end = pairs[0][0].start_mark, "\r\n" if "\r\n" in text else "\n"
    start, indent = int(first.index), " " * int(first.column)
    return text[:start] + pair + line_end + indent + text[start:]
