"""Fuzz of the scene language: mutations of every scene and look of the repository, and of every key of the schema.

text -> `studio check`, all of its passes -> a scene, or a mistake with its place

Three mutators: of a key, at each place where the schema allows one; of a node of a scene's tree, in form and by
structure (anchors, merge keys, tags); and of the text, by lines and by bytes.
"""

import json
import os
import random
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import torch  # noqa: F401  # loaded by few scenes, and then once: its two seconds are not those of a scene
import yaml
from harness import Outcome, attempt, table

from studio.cli.report import summary
from studio.config.reading import read
from studio.errors import SceneError
from studio.film.look import Look, looks
from studio.scene.draft import to_draft
from studio.scene.scene import Scene

ROOT = Path(__file__).parents[2]
PLACED = re.compile(r".*\.yaml(:\d+:\d+|: cannot be read): .+")


_HOSTILE = json.loads(Path(__file__).with_name("hostile.json").read_text())


class Raw(str):
    """Text that is written into the YAML as it is."""


class Pairs(list):
    """A mapping as (key, value) pairs, so that a key may stand twice."""


# --- YAML as trees ---------------------------------------------------------------------------------------------------


def tree(text: str):
    """Lists, `Pairs` and texts."""

    def plain(node):
        if isinstance(node, yaml.MappingNode):
            return Pairs((plain(key), plain(value)) for key, value in node.value)
        return [plain(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else node.value

    return plain(yaml.compose(text, Loader=yaml.SafeLoader))


def write(value) -> str:
    """The tree as YAML of one line for each key of the top, flow style below."""
    if isinstance(value, Pairs) and value:
        return "\n".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value) + "\n"
    return _flow(value) + "\n"


def _flow(value) -> str:
    if isinstance(value, Raw):
        return value
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)


def places(value, path=()) -> Iterator[tuple]:
    """The path, in indices of pairs and items, of every value below the top."""
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield (*path, index)
        yield from places(item[1] if isinstance(value, Pairs) else item, (*path, index))


def get(value, path):
    for index in path:
        value = value[index][1] if isinstance(value, Pairs) else value[index]
    return value


def put(value, path, new):
    """The tree with another value at a path; `new` may be a function of the old one."""
    if not path:
        return new(value) if callable(new) else new
    copy, (index, *rest) = type(value)(value), path
    copy[index] = (
        (copy[index][0], put(copy[index][1], rest, new)) if isinstance(value, Pairs) else put(copy[index], rest, new)
    )
    return copy


# --- keys of the schema ----------------------------------------------------------------------------------------------


def example(schema: dict, defs: dict, name: str = ""):
    """A small value that the schema allows."""
    schema = _resolve(schema, defs)
    if name == "along":
        return Pairs([("0s", "0")])
    if name in _HOSTILE["examples"] and "enum" not in schema and "x" not in schema.get("pattern", ""):
        return _HOSTILE["examples"][name]
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return example(schema[word][0], defs)
    if "enum" in schema or "const" in schema:
        return str(schema.get("enum", [schema.get("const")])[0])
    if "examples" in schema:
        return {"12s": "1s", "120deg": "9deg"}.get(schema["examples"][0], schema["examples"][0])
    match schema.get("type"):
        case "object":
            needed = {*schema.get("required", ()), *({"kind", "base", "over"} & schema.get("properties", {}).keys())}
            return Pairs((key, example(schema["properties"][key], defs, key)) for key in sorted(needed))
        case "array":
            items = schema.get("prefixItems") or [schema.get("items", {})] * max(1, schema.get("minItems", 1))
            # numbers that rise, since two ends or two checkpoints differ
            return [f"0.{n}" if item.get("type") == "number" else example(item, defs) for n, item in enumerate(items)]
        case "integer" | "number":
            return str(schema.get("minimum", 1))
        case "boolean":
            return "true"
    return "x"


def sites(schema: dict, defs: dict, seen: tuple = ()) -> Iterator[tuple[tuple, object]]:
    """(keys from the top, a value at the first of them that holds an example of the last) for every key."""
    schema = _resolve(schema, defs)
    for word in ("oneOf", "anyOf", "prefixItems"):
        for option in schema.get(word, ()):
            yield from sites(option, defs, seen)
    if isinstance(schema.get("items"), dict):
        for path, value in sites(schema["items"], defs, seen):
            yield path, lambda value=value: [value()]
    if isinstance(more := schema.get("additionalProperties"), dict):
        for path, value in sites(more, defs, seen):
            yield ("a", *path), lambda value=value: Pairs([("a", value())])
    if schema.get("title") in seen:
        return
    for key, inner in schema.get("properties", {}).items():
        rest = Pairs(pair for pair in example(schema, defs) if pair[0] != key)
        yield (key,), lambda rest=rest, key=key, inner=inner: Pairs([*rest, (key, example(inner, defs, key))])
        for path, value in sites(inner, defs, (*seen, schema.get("title"))):
            yield (key, *path), lambda rest=rest, key=key, value=value: Pairs([*rest, (key, value())])


def _resolve(schema: dict, defs: dict) -> dict:
    return defs[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def key_place(value, keys: tuple) -> tuple:
    """The path in a tree that leads along some keys, through the last item of each list."""
    path = ()
    for key in keys:
        while not isinstance(value, Pairs):
            path, value = (*path, len(value) - 1), value[-1]
        index = next(index for index, pair in enumerate(value) if pair[0] == key)
        path, value = (*path, index), value[index][1]
    return path


# --- mutations -------------------------------------------------------------------------------------------------------

_BOMB = "[&a [x, x, x, x, x, x, x, x]" + "".join(f", &a{i} [{f'*a{i - 1 or str()}, ' * 8}]" for i in range(1, 12)) + "]"
SCALARS = [*_HOSTILE["texts"], "9" * 5000, "1" * 400, "x" * 300, "x" * 200_000, "f/" + "9" * 400, "99x" + "9" * 5000]
RAW = [*_HOSTILE["yaml"], *(text * n + end * n for text, n, end in _HOSTILE["repeated"]), _BOMB]
RAW += [f"[{', '.join(map(str, range(20_000)))}]", "{" + ", ".join(f"k{i}: 1" for i in range(20_000)) + "}"]


def hostile(rng: random.Random):
    """A value that does not belong anywhere."""
    if rng.random() < 0.6:
        return rng.choice(SCALARS)
    return Raw(rng.choice(RAW))


def mutate_value(rng: random.Random, value, other):
    """Another value in place of one. other: from elsewhere."""
    match rng.randrange(9):
        case 0:
            return other
        case 1:
            return [value] * rng.choice([1, 2, 3, 50])
        case 2:
            return Pairs([(rng.choice(["kind", "at", "x", "<<", "base"]), value)])
        case 3 if isinstance(value, list) and value:
            kept = list(value) * rng.choice([1, 2, 2, 30])
            rng.shuffle(kept)
            return type(value)(kept[rng.randrange(2) :])
        case 4 if isinstance(value, Pairs) and value:
            return Pairs([*value, rng.choice(value)])
        case 5 if isinstance(value, str):
            i = rng.randrange(len(value) + 1)
            return (
                value[:i] + rng.choice(["0", "-", ".", "e", "é", "{", "%", "'", "\n", "\u2028", "9" * 30]) + value[i:]
            )
    return hostile(rng)


def mutate_key(rng: random.Random, scene: Pairs, keys: tuple, value) -> Pairs:
    """The scene with a schema's key in it, which is mutated. value: makes an example."""
    scene = Pairs([pair for pair in scene if pair[0] not in (keys[0], *{"landscapes"} & {keys[0]})])
    scene = Pairs([*scene, *(pair for pair in value() if pair[0] == keys[0])])
    path = key_place(scene, keys)
    parent, index = path[:-1], path[-1]
    match rng.randrange(12):
        case 0:
            return put(scene, parent, lambda pairs: Pairs([*pairs[:index], *pairs[index + 1 :]]))
        case 1:
            return put(scene, parent, lambda pairs: Pairs([*pairs, pairs[index]]))
        case 2:
            return put(scene, parent, lambda pairs: Pairs([*pairs, (hostile(rng), pairs[index][1])]))
        case 3:
            return scene
    return put(scene, path, lambda old: mutate_value(rng, old, get(scene, rng.choice(list(places(scene))))))


def mutate_tree(rng: random.Random, scene: Pairs) -> Pairs:
    """The scene with one to three nodes mutated."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        paths = list(places(scene))
        path = rng.choice(paths)
        other = get(scene, rng.choice(paths))
        if rng.random() < 0.1:
            scene = put(scene, path[:-1], lambda old, path=path: type(old)([*old[: path[-1]], *old[path[-1] + 1 :]]))
            if not scene:
                break
        else:
            scene = put(scene, path, lambda old, other=other: mutate_value(rng, old, other))
        if not isinstance(scene, list) or not list(places(scene)):
            break
    return scene


_BYTES = [text.encode("latin-1") for text in _HOSTILE["bytes"]]


def mutate_text(rng: random.Random, text: str) -> bytes:
    """The text with noise in its lines and bytes, or another encoding."""
    content = text.encode()
    match rng.randrange(10):
        case 0:
            return text.encode(rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7", "cp037"]))
        case 1:
            return content.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n\n", b"\n\t", b"\n "]))
        case 2:
            return content[: rng.randrange(len(content))]
        case 3:
            return content * rng.choice([2, 3, 2000])
        case 4:
            return rng.choice(
                [b"", b"\n", b"\0" * 9, b"- x\n", b"x", b"# c\n", b"{}", b"[]", b"null", b"--- \n--- \n"]
            ) + rng.choice([b"", content])
        case 5:
            big = rng.choice(
                ["#" + "x" * 10_000_000, "x: " + "y" * 3_000_000, "\n" * 3_000_000, " " * 3_000_000, "[" * 100_000]
            )
            return content + big.encode()
        case 6:
            shots = "".join(
                f"  - {{shot: s{i}, duration: 1s, along: {{0s: 0}}}}\n" for i in range(rng.choice([300, 3000, 40000]))
            )
            return re.sub(rb"shots:\n(  .*\n)+", b"shots:\n" + shots.encode(), content)
    lines = content.splitlines(keepends=True)
    for _ in range(rng.choice([1, 1, 2, 5])):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                lines.insert(i, lines[j])
            case 1:
                lines[i], lines[j] = lines[j], lines[i]
            case 2:
                lines[i] = rng.choice([b" ", b"  ", b"\t", b"- "]) + lines[i]
            case 3:
                lines[i] = lines[i].lstrip()
            case _:
                k = rng.randrange(len(lines[i]) + 1)
                noise = rng.choice(_BYTES) if rng.random() < 0.7 else bytes([rng.randrange(256)])
                lines[i] = lines[i][:k] + noise + lines[i][k + rng.randrange(2) :]
    return b"".join(lines)


# --- attempts --------------------------------------------------------------------------------------------------------

NETS = "import sys\nsys.exit('a stranger\\'s code ran')\n\ndef make(): ...\ndef loss(model, batch): ...\n"


def lay_out(folder: Path) -> None:
    """Files that a scene may name, good and hostile ones, in a folder."""
    import numpy as np
    from safetensors.numpy import save_file

    axis = np.linspace(-1, 1, 5)
    np.savez(folder / "surfaces.npz", coordinate=np.arange(3.0), alpha=axis, beta=axis, loss=np.ones((3, 5, 5)))
    corners = "".join(f"{r} {g} {b}\n" for b in (0, 1) for g in (0, 1) for r in (0, 1))
    (folder / "neutral.cube").write_text(f"LUT_3D_SIZE 2\n{corners}")
    (folder / "runs").mkdir()
    for epoch in (0, 1):
        save_file({"weight": np.zeros(3, np.float32)}, folder / "runs" / f"epoch-{epoch}.safetensors")
    (folder / "nets.py").write_text(NETS)
    (folder / "empty").touch()
    (folder / "bytes").write_bytes(random.Random(0).randbytes(3000))
    (folder / "folder").mkdir()
    (folder / "looks").mkdir()
    for name in ("pipe", "pipe.yaml"):
        os.mkfifo(folder / name)
    with (folder / "sparse").open("wb") as file:
        file.truncate(10**10)
    for name in ("loop", "loop.yaml"):
        (folder / name).symlink_to(name)
    with socket.socket(socket.AF_UNIX) as door:
        here = os.getcwd()
        os.chdir(folder)  # a socket's path has at most 107 bytes
        door.bind("socket")
        os.chdir(here)


def check(path: Path, draft: bool = False) -> str:
    """`studio check`, as a scene or as a look alone."""
    if path.stem == "look":
        read(path, Look)
        return "look"
    scene = Scene.load(path)
    summary(to_draft(scene) if draft else scene, "scene").encode()
    return "scene"


def refused(error: Exception) -> str | None:
    """`mistake` if every line of an error of ours says where and can be printed."""
    if not isinstance(error, SceneError) or any("\ud800" <= letter <= "\udfff" for letter in str(error)):
        return None
    return "mistake" if all(map(PLACED.fullmatch, str(error).split("\n"))) else "unlocated"


def attempts(seed: int, count: int, folder: Path) -> Iterator[tuple[str, Outcome]]:
    """(kind of mutation, what came of it): the original files, then `count` mutations."""
    lay_out(folder)
    texts = [path.read_text() for path in sorted((ROOT / "scenes").glob("*.yaml"))]
    own_looks = [path.read_text() for path in looks().values()]
    schema = Scene.model_json_schema()
    keys = list(sites(schema, schema["$defs"]))
    small = tree(
        "{title: x, run: {recipe: {epochs: 2}}, grid: {points: 9}, convexity: {points: 3}, look: {base: ember},"
        " shots: [{shot: a, duration: 12s, along: {0s: 0}, camera: {moves: [{orbit: 9deg, over: 1s}]}}]}"
    )
    scene, look = folder / "scene.yaml", folder / "look.yaml"
    for kind, originals, path in (("untouched", texts, scene), ("untouched", own_looks, look)):
        for text in originals:
            path.write_text(text)
            yield kind, attempt(lambda path=path: check(path), refused)
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        of_look = number % 5 == 4
        original = rng.choice(own_looks if of_look else texts)
        match number % 4:
            case 0 | 1:
                kind, content = "key", write(mutate_key(rng, small, *keys[(seed + number // 2) % len(keys)]))
            case 2:
                kind, content = "tree", write(mutate_tree(rng, tree(original)))
            case _:
                kind, content = "text", mutate_text(rng, original)
        path = look if of_look and kind != "key" else scene
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        draft = rng.random() < 0.2
        outcome = attempt(lambda path=path, draft=draft: check(path, draft), refused)
        if path == look and outcome.word in ("look", "mistake") and rng.random() < 0.5:
            scene.write_text(write(put(small, (4,), Pairs([("base", "look.yaml")]))))
            outcome = attempt(lambda draft=draft: check(scene, draft), refused)
            kind += " of a base"
        yield kind, outcome._replace(text=f"{number}: {outcome.text}")


def main(seed: int, count: int) -> int:
    """Prints the table; returns the number of failures."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        text, failures = table(attempts(seed, count, Path(folder)))
    print(text)
    return failures


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
