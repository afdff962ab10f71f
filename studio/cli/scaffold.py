"""What a new film starts from: a commented scene, and the JSON Schema that lets an editor complete and check it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from studio.errors import SceneError
from studio.film.look import assets_folder as assets
from studio.storage.files import atomic_write


def write(name: Path) -> Path:
    """Writes the starter scene as NAME.yaml. Raises SceneError rather than write over a file, or for an unfit name."""
    path = name if name.suffix == ".yaml" else name.with_name(name.name + ".yaml")
    if path.exists():
        raise SceneError(f"{path}: is there already; choose another name, or remove it")
    if not re.fullmatch(r"[\w.-]+", path.stem):
        raise SceneError(f"'{path.stem}' is not a name for files; use letters, digits, - and _")
    title = path.stem.replace("-", " ").replace("_", " ").capitalize()
    text = (assets() / "starter.yaml").read_text(encoding="utf-8")
    with atomic_write(path) as beside:
        beside.write_text(
            text.replace("TITLE", title).replace("SCHEMA", (assets() / "scene.schema.json").resolve().as_uri()),
            encoding="utf-8",
        )
    return path


def schema_text() -> str:
    """The JSON Schema of a scene."""
    from studio.scene.scene import Scene

    schema = Scene.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1) + "\n"
