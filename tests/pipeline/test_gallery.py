"""The gallery: what its page says of each scene, and that all it links to is beside it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from studio.film.look import assets_folder
from studio.scene.scene import Scene

ROOT = assets_folder().parent


class Links(HTMLParser):
    """The places that a page names, and the ids of its elements."""

    def __init__(self, path: Path):
        super().__init__()
        self.found, self.ids = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.found += [named[name] for name in ("href", "src", "poster") if named.get(name)]
        self.ids |= {named["id"]} if named.get("id") else set()


def lost(site: Path) -> list[str]:
    """Links of a site that lead nowhere in it, and those that ask another host for a part of a page."""
    places = []
    for page in site.rglob("*.html"):
        for target in Links(page).found:
            name, _, anchor = target.partition("#")
            if re.match("[a-z]+:", name):
                continue
            path = (page.parent / name).resolve() if name else page
            if not path.is_file() or (anchor and anchor not in Links(path).ids):
                places.append(f"{page.relative_to(site)}: {target}")
    return places


def test_a_film_that_is_made_is_there_with_its_still_its_claim_and_its_links(invoke, copy, cwd):
    text = copy.scene.read_text()
    numbers = 'numbers: {end: {measure: loss, times: 1}}\ntitles: {title: Tiny, claim: "it ends at {end} < 5"}'
    text = "# yaml-language-server: $schema=x\n#\n# Tiny: a film\n# of <two>.\n" + text.replace(
        "titles: {title: Tiny}", numbers
    )
    copy.scene.write_text(text)
    assert invoke("numbers", copy.scene.name).status == 0
    result = invoke("gallery", ".", "--out", "site")
    assert (result.status, result.out) == (0, "site/index.html\n"), result.err
    page = (cwd / "site/index.html").read_text()
    assert lost(cwd / "site") == [] and "[[" not in page
    assert re.search(r'<p class="claim">it ends at \d[^<]* &lt; 5</p>', page)
    assert '<p class="about">A film of &lt;two&gt;.</p>' in page and "eval mode" in page
    assert '<video controls preload="none" poster="tiny/tiny-1280x720-at-12f.jpg" src="tiny/tiny.mp4">' in page
    still = iio.imread(cwd / "site/tiny/tiny-1280x720-at-12f.jpg")
    assert still.shape == (720, 1280, 3) and np.ptp(still) > 100
    assert (cwd / "site/tiny/tiny.yaml").read_text() == text


def test_a_scene_that_is_not_measured_is_shown_without_measuring_it(invoke, tiny, cwd):
    (cwd / "pictures").mkdir()
    assert invoke("gallery", ".", "--stills", "pictures").status == 0
    page = (cwd / "site/index.html").read_text()
    assert "not measured yet: studio film tiny.yaml" in page and not (cwd / ".studio" / "slices").exists()
    iio.imwrite(cwd / "pictures/tiny.jpg", np.zeros((9, 16, 3), np.uint8))
    assert invoke("gallery", ".", "--stills", "pictures").status == 0
    assert 'src="tiny/tiny.jpg"' in (cwd / "site/index.html").read_text() and lost(cwd / "site") == []


def test_a_folder_without_scenes_and_a_scene_with_a_mistake_are_refused_before_anything_is_made(invoke, tiny, cwd):
    (cwd / "empty").mkdir()
    result = invoke("gallery", "empty")
    assert result.status == 2 and result.err == "empty: holds no scene; name a folder with .yaml files in it\n"
    tiny.write_text("title: Tiny\n")
    result = invoke("gallery", ".")
    assert result.status == 2 and "tiny.yaml:1:1: run: the key" in result.err and not (cwd / "site").exists()


def test_the_projects_own_site_has_all_films_and_pages_and_no_lost_link(invoke, tmp_path, monkeypatch):
    import runpy

    assert invoke("gallery", ROOT / "scenes", "--out", "site", "--stills", ROOT / "assets/stills").status == 0
    monkeypatch.setattr("sys.argv", ["site.py", str(tmp_path / "site")])
    runpy.run_path(str(ROOT / "docs/site.py"), run_name="__main__")
    page = (tmp_path / "site/index.html").read_text()
    for path in (ROOT / "scenes").glob("*.yaml"):
        assert f'<article id="{path.stem}">' in page and Scene.load(path).title in page
    assert page.count("<img ") == page.count("<article") and "not measured yet" not in page
    for path in (ROOT / "docs").glob("*.md"):
        assert f'href="docs/{path.stem}.html"' in page and (tmp_path / f"site/docs/{path.stem}.html").is_file()
    assert lost(tmp_path / "site") == []


@pytest.mark.parametrize("link", ["nowhere.html", "#nowhere", "other.html#nowhere"])
def test_a_lost_link_is_found(tmp_path, link):
    (tmp_path / "other.html").write_text("<p id='here'></p>")
    (tmp_path / "page.html").write_text(f"<a href='other.html#here'></a><a href='{link}'></a>")
    assert lost(tmp_path) == [f"page.html: {link}"]
