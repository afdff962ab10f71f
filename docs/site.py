"""The project's own site, for `make site`: the gallery of its films, and its pages in HTML beside it."""

from __future__ import annotations

import html
import re
import shutil
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))), "CONTRIBUTING.md")
TITLE = "Landscape Studio"
PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="{up}style.css"></head>
<body><header class="narrow">{nav}</header><main class="page">{body}</main></body></html>
"""


def main(site: Path) -> None:
    """Adds the pages to the site that `studio gallery` made. What they link to and is no page is copied."""
    titles = {page: re.search("^# (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE) for page in PAGES}
    names = {page: html.escape(title[1].strip()) for page, title in titles.items() if title}
    for page, name in names.items():
        up, folder = "../" * page.count("/"), (ROOT / page).parent
        path = (site / page).with_suffix(".html")
        path.parent.mkdir(parents=True, exist_ok=True)
        own = partial(link, folder=folder, site=site)
        body = re.sub(r'(?<=href="|.src=")[^"#:]+', own, render(page))
        path.write_text(PAGE.format(title=f"{name}: {TITLE}", up=up, nav=nav(names, up), body=body), encoding="utf-8")
    index = (site / "index.html").read_text(encoding="utf-8").replace("<!-- nav -->", nav(names, ""))
    (site / "index.html").write_text(re.sub("(<title>|<h1>)Scenes<", rf"\1{TITLE}<", index), encoding="utf-8")


def nav(names: dict[str, str], up: str) -> str:
    """Links to all pages."""
    links = {"index.html": "Films"} | {page.replace(".md", ".html"): name for page, name in names.items()}
    return "<nav>" + "".join(f'<a href="{up}{path}">{name}</a>' for path, name in links.items()) + "</nav>"


def render(page: str) -> str:
    """A page in HTML; its headings have the names that GitHub gives them."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = markdown.parse((ROOT / page).read_text(encoding="utf-8"))
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", re.sub(r"[^\w -]", "", inline.content.lower()).replace(" ", "-"))
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def link(found: re.Match[str], folder: Path, site: Path) -> str:
    """A link of a page, as the site has it; what it leads to is copied if it is no page."""
    path = (folder / (target := found[0])).resolve()
    name = path.relative_to(ROOT)
    if str(name) in PAGES:
        return str(Path(target).with_suffix(".html"))
    (site / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, site / name)
    return target


if __name__ == "__main__":
    main(Path(sys.argv[1]))
