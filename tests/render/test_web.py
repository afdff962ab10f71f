"""The web page: what is in the file, and, in a real browser without a GPU, that it is what the film draws."""

import base64
import hashlib
import io
import json
import re
import shutil
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.stats import spearmanr

from studio.config.units import Size, Time
from studio.field import to_scale
from studio.film.colour import LUMA, decode
from studio.film.look import assets_folder, gallery
from studio.film.viewfinder import ViewKey, with_keys
from studio.pipeline import exports
from studio.pipeline.film import film_source
from studio.pipeline.project import Project
from studio.pipeline.scout import Scout
from studio.pipeline.scout_server import ScoutServer
from studio.render import web

VIEWER = assets_folder() / "viewer"
AXIS = np.linspace(-1, 1, 41)


def waves(phase: float) -> np.ndarray:
    x, y = np.meshgrid(AXIS, AXIS)
    return np.exp(2 * (x**2 + y**2) + 0.4 * np.sin(9 * x + phase) * np.cos(7 * y - phase))


def write_scene(folder: Path, loss: np.ndarray, more: str = "") -> Path:
    at = np.arange(len(loss), dtype=float)
    curved = np.nan_to_num(loss, posinf=1.0)
    axes = {"coordinate": at, "alpha": AXIS, "beta": AXIS}
    np.savez(folder / "waves.npz", **axes, loss=loss, lambda_min=-curved, lambda_max=2 * curved)
    text = f"""\
title: Waves </script><b>
run: {{kind: surfaces, file: waves.npz, axis: {{name: phase, unit: " rad", format: ".2f"}}}}
look: {{base: ember, mesh: 201}}
film: {{size: 640x360, fps: 8}}
shots:
  - shot: turn
    duration: 3s
    along: {{0s: 0, 3s: {at[-1]:g}}}
    camera:
      look_at: land
      start: {{azimuth: 20deg, elevation: 30deg, frame: 70%}}
      moves: [{{orbit: 200deg, crane: 0.5, over: 3s}}]
titles: {{live: null}}
{more}"""
    (folder / "waves.yaml").write_text(text, encoding="utf-8")
    return folder / "waves.yaml"


def parts(path: Path) -> tuple[str, dict, np.ndarray]:
    """The text of a page, its content, and its codes, read as a browser reads them."""
    text = path.read_text(encoding="utf-8")
    [content] = re.findall(r'<script id="content" type="application/json">(.*?)</script>', text)
    [packed] = re.findall(r'<script id="surfaces" type="text/plain">(.*?)</script>', text)
    high, low = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8).reshape(2, -1)
    steps = high.astype(np.uint16) << 8 | low
    return text, json.loads(content), np.cumsum(steps, dtype=np.uint16)


def read(field: dict, k: int, codes: np.ndarray) -> np.ndarray:
    at, size = field["surfaces"][k], int(np.prod(field["counts"]))
    own = codes[at["start"] : at["start"] + size].reshape(field["counts"][::-1])
    values = at["low"] + at["step"] * own.astype(float)
    return np.where(own == web.UNKNOWN, np.nan, np.where(own == web.INFINITE, np.inf, values))


def test_a_page_holds_every_value_to_half_a_step_and_asks_for_nothing(tmp_path, invoke):
    loss = np.stack([waves(0.0), waves(0.8), waves(0.8), waves(1.9)])
    loss[1, 3, 4], loss[1, 5, 6] = np.inf, np.nan
    write_scene(tmp_path, loss, "deliver: [{kind: web, at: 1s}]\n")
    result = invoke("film", "waves.yaml")
    assert (result.status, result.out) == (0, "out/waves/waves.html\n"), result.err
    text, content, codes = parts(tmp_path / "out/waves/waves.html")
    [land] = content["landscapes"]
    field = land["fields"]["loss"]
    for k, values in enumerate(loss):
        finite = np.isfinite(values)
        error = read(field, k, codes)[finite] - np.log(values[finite])
        assert np.abs(error).max() <= 0.5001 * field["surfaces"][k]["step"] <= 0.5001 * 4.9 / web.HIGHEST
        assert np.array_equal(read(field, k, codes)[~finite], values[~finite], equal_nan=True)
    # by FACTS: a megabyte, and 110 kB for each of 40401 values; a surface that stays is there once
    assert len(codes) == 12 * 41**2 and len(text) < 1e6 + 110e3 * len(codes) / 201**2
    assert content["title"] == "Waves </script><b>" and "<title>Waves &lt;/script&gt;&lt;b&gt;</title>" in text
    assert "default-src 'none'" in text and not re.findall(r"""(?:src|href)=["'](?!data:)|@import|url\(""", text)
    assert text.count("<script") == text.count("</script>") == 3 and "provenance" in content


def test_a_plane_that_stands_still_is_stored_once(tmp_path):
    write_scene(tmp_path, np.stack([waves(0.0)] * 5))
    content, codes = web.page(film_source(Project.open(tmp_path / "waves.yaml")), 0, "")
    starts = {at["start"] for at in content["landscapes"][0]["fields"]["loss"]["surfaces"]}
    assert len(starts) == 1 and len(codes) == 3 * 41**2


def test_more_keyframes_than_fit_are_thinned_and_the_page_says_so(tmp_path, monkeypatch):
    write_scene(tmp_path, np.stack([waves(phase) for phase in np.arange(8.0)]))
    monkeypatch.setattr(web, "LARGEST", 2 * 3 * 41**2 * 3)
    content, _ = web.page(film_source(Project.open(tmp_path / "waves.yaml")), 0, "")
    assert content["every"] == 3 and content["landscapes"][0]["fields"]["loss"]["at"] == [0, 3, 6, 7]


def test_a_scene_that_is_not_measured_says_what_to_run(tmp_path, invoke):
    scene = write_scene(tmp_path, np.stack([waves(0.0)]))
    network = "recipe: {model: {kind: mlp, depth: 1, width: 8}, data: digits, epochs: 1}"
    text = re.sub("run: .*", f"run: {{{network}}}\\nsweep: {{kind: epochs, at: [0]}}", scene.read_text())
    scene.write_text(text, encoding="utf-8")
    result = invoke("export", "waves.yaml", "--to", "html")
    assert (result.status, result.out) == (2, "")
    assert result.err == f"{scene.name}: not all that the page shows is measured; run: studio compute {scene.name}\n"


def test_a_page_is_delivered_from_stored_frames_by_its_name(invoke, copy):
    result = invoke("deliver", copy.scene.name, "--preset", "web")
    assert (result.status, result.out) == (0, "out/tiny/tiny.html\n"), result.err
    assert parts(copy.out / "tiny.html")[1]["title"] == "Tiny"


def test_the_built_page_is_what_its_sources_give():
    names = [
        "build.js",
        "package-lock.json",
        "package.json",
        *(f"src/{path.name}" for path in (VIEWER / "src").iterdir()),
    ]
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\n{(VIEWER / name).read_text(encoding='utf-8')}".encode())
    built = (VIEWER / "viewer.html").read_text(encoding="utf-8")
    assert f"<!-- built from sources of sha256 {digest.hexdigest()} -->" in built, "run: npm ci && npm run build"


# --- in a browser ----------------------------------------------------------------------------------------------------

SIZE = Size(640, 360)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scene of three keyframes, and its page."""
    scene = write_scene(tmp_path_factory.mktemp("page"), np.stack([waves(0.0), waves(0.8), waves(1.9)]))
    path = exports.export(Project.open(scene), scene.parent / "out", "html", at=Time.parse("1s"))[0]
    return scene, path


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    flags = ["--enable-unsafe-swiftshader", "--use-angle=swiftshader", "--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser
        browser.close()


@pytest.fixture
def show(browser, scene):
    """Opens the page with a view in its link; at the end nothing was complained of, and nothing was asked for."""
    pages, complaints, requests = [], [], []

    def show(view="", size=SIZE, script=""):
        page = browser.new_page(viewport={"width": size.width, "height": size.height})
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url.split("#")[0]))
        page.add_init_script(script)
        page.goto(f"{scene[1].as_uri()}#{view}")
        pages.append(page)
        while page.evaluate("() => document.getElementById('stand-in').hidden && !(window.viewer?.frames > 0)"):
            page.wait_for_timeout(50)
        return page

    yield show
    assert complaints == [] and set(requests) == {scene[1].as_uri()}


def settle(page) -> None:
    """Waits until everything is drawn at rest."""
    page.wait_for_timeout(400)
    while page.evaluate("() => viewer.changed.size > 0 || viewer.moves"):
        page.wait_for_timeout(50)


def picture(page) -> np.ndarray:
    """The canvas alone [H, W, 3]."""
    page.add_style_tag(content="main > :not(canvas) { display: none !important }")
    return iio.imread(io.BytesIO(page.screenshot()))[..., :3].astype(int)


def view_of(source, number: int, look: str) -> str:
    _, coordinate, pose = source.camera(number)
    eye, focus = (",".join(f"{x:.5f}" for x in place) for place in (pose.position, pose.focal_point))
    return f"t={coordinate}&look={look}&eye={eye}&focus={focus}"


COVER = """() => {
  const { light } = viewer.picture, pixels = new Uint16Array(4 * light.width * light.height);
  viewer.renderer.readRenderTargetPixels(light, 0, 0, light.width, light.height, pixels);
  return Array.from({ length: light.width * light.height }, (_, i) => +(pixels[4 * i + 3] >= 0x3bc3));
}"""  # 0x3bc3 is a half float of 0.97, more than a shadow covers


@pytest.mark.extras
@pytest.mark.parametrize("look", ["ember", "abyss", "plaster"])
@pytest.mark.parametrize("number", [3, 12, 21])
def test_the_page_looks_like_the_film_and_has_its_silhouette(scene, show, look, number):
    from studio.render.stage import Stage

    source = film_source(Project.open(scene[0])).with_look(gallery()[look]).with_mesh(401)
    source = source.without_titles(SIZE, "draft")
    frame = source.frame(number)
    with Stage(SIZE, 401, 2) as stage:
        film, cover = stage.draw(frame), stage.linear_frame(frame)[..., 3] > 65535 * 0.97**0.5
    page = show(view_of(source, number, look))
    settle(page)
    own = np.array(page.evaluate(COVER), bool).reshape(SIZE.height, SIZE.width)[::-1]
    # the grain of both is noise: in the mean over 8 by 8 pixels it is gone
    luminance = [(decode(each / 255) @ LUMA).reshape(45, 8, 80, 8).mean((1, 3)) for each in (film, picture(page))]
    assert spearmanr(*(each.ravel() for each in luminance)).statistic >= 0.9
    assert not (own & ~binary_dilation(cover, iterations=2)).any()
    assert not (cover & ~binary_dilation(own, iterations=2)).any()


@pytest.mark.extras
def test_dragging_turns_it_scrubbing_changes_it_and_keys_do_both(show):
    page = show("t=0&look=ember")
    settle(page)
    state, pictures = "() => ({...viewer.words})", [page.screenshot()]
    first = page.evaluate(state)
    page.mouse.move(300, 150)
    page.mouse.down()
    page.mouse.move(380, 160, steps=4)
    page.mouse.up()
    settle(page)
    pictures.append(page.screenshot())
    turned = page.evaluate(state)
    assert turned["eye"] != first["eye"] and turned["focus"] == first["focus"]
    page.locator("#scrub").fill("1.5")
    settle(page)
    pictures.append(page.screenshot())
    page.locator("#view").focus()
    for key, word in (("ArrowLeft", "eye"), (".", "t"), ("Shift+ArrowUp", "focus"), ("+", "eye"), ("Home", "eye")):
        before = page.evaluate(state)
        page.keyboard.press(key)
        settle(page)
        assert page.evaluate(state)[word] != before[word], key
    assert page.evaluate(state)["t"] == 0.6957  # where the film is after a second, and the page began
    page.keyboard.press("Space")
    page.wait_for_function("() => viewer.playing && viewer.words.t !== 0.6957")
    assert len(set(pictures)) == 3 and not page.evaluate("() => viewer.renderer.getContext().isContextLost()")
    assert page.evaluate("() => location.hash").startswith("#t=") and np.ptp(picture(page)) > 100


@pytest.mark.extras
@pytest.mark.parametrize("name", ["loss", "lambda_min", "convexity"])
def test_the_value_under_the_pointer_is_the_measured_one(scene, show, name):
    page = show(f"t=1&field={name}&look=plaster", Size(900, 700))
    settle(page)
    for x, y in ((450, 350), (380, 300), (540, 380)):
        page.mouse.move(x, y)
        page.wait_for_timeout(300)
        read = page.evaluate("() => viewer.reading")
        column, row = (int(np.abs(AXIS - read[side]).argmin()) for side in ("alpha", "beta"))
        measured = {"loss": waves(0.8), "lambda_min": -waves(0.8), "convexity": np.full((41, 41), 0.5)}[name]
        assert read["value"] == pytest.approx(measured[row, column], rel=1e-4) and read["measured"]
        dot = page.locator("#dot").bounding_box()
        assert abs(dot["x"] + 5.5 - x) < 12 and abs(dot["y"] + 5.5 - y) < 12
    text = page.locator("#value").inner_text()
    assert "interpolated" not in text and f"{read['value']:.4g}".replace("-", "\u2212") in text
    page.evaluate("() => viewer.set({ t: 1.5 })")
    page.mouse.move(541, 381)
    settle(page)
    assert "interpolated, not measured" in page.locator("#value").inner_text()


@pytest.mark.extras
def test_between_keyframes_the_page_interpolates_as_the_film_does(scene, show):
    surfaces = film_source(Project.open(scene[0])).surfaces[""]
    page = show("t=1.3")
    for name in ("loss", "lambda_min"):
        field = surfaces.fields[name]
        values = page.evaluate(f"() => [...viewer.lands[0].field('{name}').nodes(1.3)]")
        expected = to_scale(field.at(1.3), field.interpolation_scale).ravel()
        np.testing.assert_allclose(values, expected, atol=2e-4)


@pytest.mark.extras
def test_a_browser_without_webgl_2_shows_a_still_and_says_so(show):
    page = show(script="HTMLCanvasElement.prototype.getContext = () => null")
    assert "no WebGL 2" in page.locator("#why").inner_text()
    assert page.evaluate("() => document.querySelector('#stand-in img').naturalWidth") == SIZE.width


@pytest.mark.extras
def test_on_a_phone_everything_is_reachable_and_a_page_around_it_steers(show):
    page = show(size=Size(390, 844))
    settle(page)
    boxes = [page.locator(f"#{name}").bounding_box() for name in ("play", "scrub", "field", "look", "link")]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["y"] + box["height"] <= 844 for box in boxes)
    assert all(min(box["width"], box["height"]) >= 34 for box in boxes if box is not boxes[1])
    page.evaluate("() => window.postMessage({ studio: { t: 2, look: 'gold', field: 'no such' } }, '*')")
    page.wait_for_function("() => viewer.words.t === 2")
    words = page.evaluate("() => viewer.words")
    assert (words["t"], words["look"], words["field"]) == (2, "gold", "loss")
    for control in page.locator("button, select, input").all():
        name = control.evaluate("e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent")
        assert name.strip()


@pytest.mark.extras
def test_a_page_around_it_gets_the_view_and_sets_it(browser, scene, tmp_path):
    around = tmp_path / "around.html"
    around.write_text(f"""<!doctype html><iframe id="land" src="{scene[1].as_uri()}" width="600" height="400"></iframe>
<script>addEventListener("message", (event) => (window.told = event.data.studio));</script>""")
    page = browser.new_page(viewport={"width": 640, "height": 440})
    page.goto(around.as_uri())
    page.wait_for_function("() => window.told?.t === 0.6957", timeout=60_000)  # where it opens
    page.evaluate(
        "() => land.contentWindow.postMessage({ studio: { t: 2, look: 'gold', eye: '0,-2,1', focus: '0,0,0.1' } }, '*')"
    )
    page.wait_for_function("() => window.told.t === 2")
    assert page.evaluate("() => window.told") | {"field": 0} == {
        "t": 2, "field": 0, "look": "gold", "show": "all", "trajectory": False, "eye": "0,-2,1", "focus": "0,0,0.1",
    }  # fmt: skip
    page.evaluate("() => land.contentWindow.postMessage({ studio: { play: true } }, '*')")
    page.wait_for_function("() => window.told.t !== 2", timeout=60_000)
    page.close()


# --- the scout -------------------------------------------------------------------------------------------------------


@pytest.fixture
def scouted(browser, tmp_path):
    """A page of a running scout, its scene and its viewport: narrower than the film's picture, as on a desk."""
    path = write_scene(tmp_path, np.stack([waves(0.0), waves(0.8), waves(1.9)]))
    complaints: list[str] = []
    with ThreadPoolExecutor(1) as executor, ScoutServer(Scout(lambda: Project.open(path), path, executor)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        page = browser.new_page(viewport={"width": 700, "height": 480})
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(server.link)
        page.wait_for_function("() => window.viewer?.frames > 0", timeout=60_000)
        yield page, path
        page.close()
        server.shutdown()
        thread.join()
    assert complaints == []


@pytest.mark.extras
def test_a_captured_key_is_what_the_film_draws_of_the_scene_that_it_was_written_into(scouted):
    from studio.render.stage import Stage

    page, path = scouted
    for turns, t in ((0, "0"), (3, "1.5")):
        page.locator("#view").focus()
        for _ in range(turns):
            page.keyboard.press("ArrowLeft")
        page.locator("#scrub").fill(t)
        settle(page)
        page.keyboard.press("c")
    assert page.locator("#keylist li").count() == 2
    page.locator("#keylist input").nth(1).fill("1.5")
    page.locator("#keylist input").nth(1).press("Tab")
    page.locator("#keylist select").nth(1).select_option("in-out")
    frame = page.locator("#frame").bounding_box()
    own = np.array(page.evaluate(COVER), bool)
    light = page.evaluate("() => [viewer.picture.light.width, viewer.picture.light.height]")
    page.locator("#write").click()
    page.wait_for_function("() => document.getElementById('said').textContent.startsWith('Written')", timeout=60_000)
    assert page.evaluate("() => document.getElementById('drawn').naturalWidth") == 960
    shot = Project.open(path).scene.shots[0]
    assert str(shot.duration) == "1.5s" and shot.camera.moves[0].keys[0].ease == "in-out"
    source = film_source(Project.open(path)).with_mesh(401)
    [*_, key] = page.evaluate("() => viewer.scout.keys")
    alone = with_keys(shot, [ViewKey.model_validate({**key, "at": 0})])  # a frame has exactly the key's time
    source = replace(source, cut=replace(source.cut, shots=(alone,)))
    width, height = round(frame["width"]), round(frame["height"])
    with Stage(Size(width, height), 401, 2) as stage:
        film = source.without_titles(Size(width, height), "draft").frame(0)
        cover = stage.linear_frame(film)[..., 3] > 65535 * 0.97**0.5
    own = own.reshape(light[1], light[0])[::-1]
    top, left = round(frame["y"]), round(frame["x"])
    own = own[top : top + height, left : left + width]
    assert not (own & ~binary_dilation(cover, iterations=2)).any()
    assert not (cover & ~binary_dilation(own, iterations=2)).any()


@pytest.mark.extras
def test_keys_are_played_reordered_and_deleted_and_a_saved_scene_comes_by_itself(scouted):
    page, path = scouted
    page.locator("#take").click()
    page.wait_for_function("() => viewer.scout.keys.length === 2", timeout=60_000)
    first, last = page.evaluate("() => viewer.scout.keys.map((key) => key.coordinate)")
    assert (first, last) == (0, 2)
    page.locator("#as-film").click()
    page.wait_for_function("() => viewer.scout.playing === null && viewer.state.t === 2", timeout=60_000)
    page.get_by_label("Key 2 earlier").click()
    assert page.evaluate("() => viewer.scout.keys.map((key) => [key.at, key.coordinate])") == [[0, 2], [3, 0]]
    page.get_by_label("Delete key 1").click()
    assert page.evaluate("() => viewer.scout.keys.map((key) => [key.at, key.coordinate])") == [[0, 0]]
    path.write_text(path.read_text().replace("title: Waves", "title: Tides"))
    page.wait_for_function("() => document.title.startsWith('Tides')", timeout=60_000)
    page.wait_for_function("() => window.viewer?.scout?.keys.length === 1", timeout=60_000)  # kept over the change
    path.write_text(path.read_text().replace("ember", "embers"))
    page.wait_for_function("() => document.getElementById('said').textContent.includes('no look')", timeout=60_000)
