"""The gallery: the scenes of a folder as a static site, with stills, what they say, and what is made of them.

Its page and style are in `assets/gallery`. Nothing is trained or measured for it.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from studio.config.reading import read_text
from studio.config.units import Size, Time
from studio.deliver.movie import Movie
from studio.deliver.still import Still
from studio.deliver.web import Web
from studio.errors import SceneError
from studio.film.look import assets_folder
from studio.pipeline.film import make_still, measured_film
from studio.pipeline.numbers import stored_numbers, with_claim
from studio.pipeline.project import Project
from studio.scene.captions import captions
from studio.storage.files import atomic_write, check_writable

STILL_SIZE = Size(1280, 720)


def gallery(folder: Path, out: Path, open_project: Callable[[Path], Project], stills: Path | None = None) -> Path:
    """The site of a folder's scenes in the folder `out`; returns its page.

    stills: folder of pictures by the scenes' names, such as `twins.jpg`; without one the
    film's middle is drawn, if it is measured. Raises SceneError for a folder without scenes, and for mistakes in one.
    """
    if not (paths := sorted(folder.glob("*.yaml"))):
        raise SceneError(f"{folder}: holds no scene; name a folder with .yaml files in it")
    check_writable(out)
    projects = [open_project(path) for path in paths]  # all mistakes, before anything is made
    films = "\n".join("".join(_film(project, out, stills)) for project in projects)
    assets, title = assets_folder(), folder.resolve().name
    shutil.copytree(assets / "fonts", out / "fonts", dirs_exist_ok=True)
    shutil.copy(assets / "gallery" / "style.css", out)
    text = (assets / "gallery" / "index.html").read_text(encoding="utf-8")
    with atomic_write(out / "index.html") as temporary:
        words = {"TITLE": html.escape(title.capitalize()), "FILMS": films}
        temporary.write_text(re.sub(r"\[\[(\w+)\]\]", lambda m: words[m[1]], text), encoding="utf-8")
    return out / "index.html"


def _film(project: Project, out: Path, stills: Path | None) -> Iterator[str]:
    """A scene as HTML; what it links to is copied beside it."""
    scene, name, measured = project.scene, html.escape(project.path.stem), measured_film(project) is not None
    (place := out / project.path.stem).mkdir(parents=True, exist_ok=True)

    def copied(path: Path) -> str:
        shutil.copy(path, place)
        return f"{name}/{html.escape(path.name)}"

    still = next(stills.glob(f"{project.path.stem}.*"), None) if stills else None
    if still is None and measured:
        still = make_still(project, place, Still(at=Time(scene.cut.length // 2, "f"), format="jpg"), STILL_SIZE)
    picture = (copied(still) if still.parent != place else f"{name}/{html.escape(still.name)}") if still else ""
    made = [(one, project.out / one.file_name(project.name)) for one in (*scene.deliver, Web())]
    files = {path: one for one, path in made if path.is_file() and isinstance(one, Movie | Web)}
    movie = next((path for path, one in files.items() if isinstance(one, Movie)), None)
    yield f'<article id="{name}">'
    if movie:
        yield f'<video controls preload="none" poster="{picture}" src="{copied(movie)}"></video>'
    elif picture:
        yield f'<img loading="lazy" alt="A frame of {html.escape(scene.title)}" src="{picture}">'
    else:
        yield f'<div class="none">not measured yet: studio film {name}.yaml</div>'
    yield f"<h2>{html.escape(scene.title)}</h2>"
    numbers = stored_numbers(project, scene.claimed) if measured and scene.claimed else {}
    claim = with_claim(scene, numbers).titles.claim if numbers is not None and (numbers or not scene.claimed) else None
    texts = [("claim", claim), ("about", _about(project)), ("small", captions(scene.only(scene.names[0]))["loss"])]
    yield from (f'<p class="{kind}">{html.escape(text)}</p>' for kind, text in texts if text)
    links = {
        copied(path): "turn it" if isinstance(one, Web) else f"film, {path.suffix[1:]}" for path, one in files.items()
    }
    links[copied(project.path)] = "scene"
    joined = " \u00b7 ".join(f'<a href="{link}">{text}</a>' for link, text in links.items())
    yield f"<p>{joined}</p></article>"


def _about(project: Project) -> str:
    """The comment at the top of a scene, as one text, without its title."""
    head = re.match(r"(?:#.*\n)*", read_text(project.path).replace("\r\n", "\n"))
    lines = [line.lstrip("# ") for line in (head[0] if head else "").splitlines() if "yaml-language-server" not in line]
    text = " ".join(filter(None, lines)).removeprefix(f"{project.scene.title}: ")
    return text[:1].upper() + text[1:]
