import re
import runpy

from studio.film.look import assets_folder
from studio.scene.scene import Scene

DOCS = assets_folder().parent / "docs"
PAGE = DOCS / "scene-reference.md"
reference_text = runpy.run_path(str(DOCS / "scene_reference.py"))["reference_text"]
ROW = re.compile(r"^\| `(\w+)` \| .* \| ([^|]*)\|$", re.MULTILINE)


def test_the_page_on_disk_is_what_the_records_say():
    assert PAGE.read_text(encoding="utf-8") == reference_text(), (
        "run: python docs/scene_reference.py > docs/scene-reference.md"
    )


def test_every_record_of_a_scene_has_a_section_and_every_key_a_row():
    text = reference_text()
    schema = Scene.model_json_schema()
    records = [record for record in [schema, *schema["$defs"].values()] if "properties" in record]
    assert len(re.findall("^## ", text, re.MULTILINE)) == len(records) > 30
    for record in records:
        keys = {key for key, field in record["properties"].items() if not (key == "kind" and "const" in field)}
        assert any(keys <= set(re.findall(r"^\| `(\w+)` ", section, re.MULTILINE)) for section in text.split("\n## "))


def test_a_row_says_type_default_and_meaning():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", reference_text(), re.MULTILINE))
    assert rows["over"].startswith("time such as `12s`, `288f`, `drop` | nothing |")
    assert rows["azimuth_from"].startswith("`alpha`, `open-side` | `alpha` | the direction of azimuth 0deg")
    assert "| `1920x1080` |" in reference_text() and "| `-60deg` | 0deg looks from +alpha" in reference_text()
    assert rows["film"].startswith("[keys](#film) | `{}` |") and "| `{base: ember}` |" in rows["look"]
    assert "[resnet](#runrecipemodel-resnet)" in rows["model"] and "| `resnet` | the network." in reference_text()


def test_every_key_has_a_meaning():
    sections = reference_text().split("\n## ")
    rows = [(section.split("\n")[0], *row) for section in sections for row in ROW.findall(section)]
    assert len(rows) > 200
    assert not [f"{heading}: {key}" for heading, key, meaning in rows if not meaning.strip()]
