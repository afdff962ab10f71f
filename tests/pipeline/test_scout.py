"""The scout: what is measured so far, poses and pictures of keys as the film has them, keys as lines of the scene."""

import http.client
import io
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import imageio.v3 as iio
import numpy as np
import pytest

from studio.errors import SceneError
from studio.pipeline.film import film_source
from studio.pipeline.project import Project
from studio.pipeline.scout import Scout
from studio.pipeline.scout_server import ScoutServer
from studio.scene.scene import Scene


def key(at: float, coordinate: float, position=(1.5, 1.0, 1.2)) -> dict:
    focus = (0.1, 0.0, 0.2)
    return {
        "at": at,
        "coordinate": coordinate,
        "position": position,
        "focal_point": focus,
        "view_angle": 40,
        "ease": None,
    }


KEYS = [key(0, 0), key(1, 2, (-1.0, 1.4, 1.0))]


@pytest.fixture
def scout(measured):
    with ThreadPoolExecutor(1) as executor:  # GL stays in one thread
        yield Scout(lambda: Project.open(measured.scene), measured.scene, executor)


def test_the_poses_of_a_shot_are_those_of_the_film(scout, measured):
    source, film = film_source(Project.open(measured.scene)), scout.poses("descent", [])
    assert film["fps"] == 8 and film["ends"] == [0, 1.5] and len(film["poses"]) == 12
    for number in (0, 5):  # before the dissolve
        _, coordinate, pose = source.camera(number)
        own = film["poses"][number]
        assert own["coordinate"] == coordinate and own["view_angle"] == pose.view_angle
        assert own["position"] == pytest.approx(pose.position, abs=0.02)  # the target's height, on a coarser mesh
    keyed = scout.poses("descent", KEYS)["poses"]
    assert len(keyed) == 8 and keyed[0]["position"] == pytest.approx(KEYS[0]["position"], abs=3e-4)


def test_keys_are_written_as_lines_that_check_accepts_and_the_film_plays_them(scout, measured):
    before = measured.scene.read_text()
    site = scout.site()
    written = scout.write("descent", KEYS, site.text)
    text = measured.scene.read_text()
    assert "-    along: {0s: 0, 1.5s: 2}" in written["diff"] and "+    duration: 1s" in written["diff"]
    assert [line for line in before.splitlines() if line not in text.splitlines()] == [
        "    duration: 1.5s",
        "    along: {0s: 0, 1.5s: 2}",
        "    camera: {moves: [{orbit: 40deg, over: 1.5s, ease: in-out}]}",
    ]
    assert Scene.load(measured.scene).shots[0].camera.look_at == (0.1, 0.0, 0.2)
    assert scout.poses("descent", []) == scout.poses("descent", KEYS)
    assert scout.site().version == written["version"] != site.version


def test_nothing_is_written_over_a_file_that_changed_or_that_check_would_refuse(scout, measured):
    seen = scout.site().text
    with pytest.raises(SceneError, match="longer than half of one of its shots"):  # its dissolve into the next
        scout.write("descent", [key(0, 0), key(0.5, 2)], seen)
    with pytest.raises(SceneError, match="measured up to|epoch"):
        scout.write("descent", [key(0, 0), key(1, 99)], seen)
    changed = measured.scene.read_text() + "# mine\n"
    measured.scene.write_text(changed)
    with pytest.raises(SceneError, match="has changed since this page read it; nothing is written"):
        scout.write("descent", KEYS, seen)
    assert measured.scene.read_text() == changed


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    [
        ("fall", KEYS, "no shot 'fall'; one of descent, curvature, closing"),
        ("descent", [key(1, 0)], "must rise"),
        ("descent", [{"at": 0}], "key 0.coordinate: the key 'coordinate' is missing"),
        ("descent", [{**key(0, 0), "ease": "softly"}], "no ease 'softly'"),
        ("descent", [{**key(0, 0), "position": (0.1, 0.0, 0.2)}], "more than 0"),
    ],
)
def test_keys_that_make_no_shot_are_refused_in_a_sentence(scout, name, keys, words):
    with pytest.raises(SceneError, match=words):
        scout.poses(name, keys)


def test_what_is_measured_so_far_is_shown_and_the_rest_as_it_comes(scout, measured):
    results = [path for path in (measured.shelf.root / "slices").iterdir() if path.suffix == ".zarr"]
    away = measured.shelf.root / "away"
    away.mkdir()
    for path in results:
        shutil.move(path, away / path.name)
    site = scout.site()
    assert site.source is None and f"run: studio compute {measured.scene}" in site.note
    assert "no keyframe is measured yet" in scout.page()
    shown = set()
    for path in sorted(away.iterdir()):
        shutil.move(away / path.name, path.parent.parent / "slices" / path.name)
        now = scout.site()
        if now.source is not None:
            shown |= {len(now.source.surfaces[""].fields["loss"].coordinates)}
            assert '"scout"' in scout.page()
        assert now.version != site.version
        site = now
    assert {1, len(site.source.surfaces[""].fields["loss"].coordinates)} <= shown and site.note == ""


def test_a_scene_with_a_mistake_keeps_what_it_showed_and_says_the_mistake(scout, measured):
    good = scout.site()
    measured.scene.write_text(measured.scene.read_text().replace("ember", "embers"))
    bad = scout.site()
    assert bad.source is good.source and "no look 'embers'" in bad.note


# --- over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ask(scout):
    """Asks the served scout: (status, headers, content)."""
    with ScoutServer(scout) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()

        def ask(word, body=None, *, token=server.token, **headers):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
            names = {name.replace("_", "-"): text for name, text in headers.items()}
            connection.request("GET" if body is None else "POST", f"/{token}/{word}", body, names)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

        yield ask
        server.shutdown()
        thread.join()


def post(ask, word, **asked):
    return ask(word, json.dumps(asked), Content_Type="application/json")


def test_the_page_and_its_answers_come_over_http(ask):
    status, headers, page = ask("")
    assert status == 200 and b'"scout"' in page and b"http-equiv" not in page
    assert "connect-src 'self'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
    state = json.loads(ask("state")[2])
    assert state["version"] in page.decode() and state["note"] == ""
    status, _, poses = post(ask, "poses", shot="descent", keys=KEYS)
    assert status == 200 and len(json.loads(poses)["poses"]) == 8
    status, headers, png = post(ask, "picture", shot="descent", keys=KEYS, at=0.9)
    assert status == 200 and headers["Content-Type"] == "image/png"
    picture = iio.imread(io.BytesIO(png))
    assert picture.shape == (540, 960, 3) and np.ptp(picture) > 100
    status, _, error = post(ask, "write", shot="descent", keys=[], seen="0")
    assert status == 400 and "has changed since this page read it" in json.loads(error)["error"]


def test_no_other_token_host_page_or_kind_of_request_is_answered(ask):
    asked = json.dumps({"shot": "descent", "keys": []})
    assert ask("", token="guess")[0] == ask("", token="")[0] == 403
    assert ask("state", Host="example.org")[0] == ask("state", Host="127.0.0.1")[0] == 403
    assert ask("poses", asked, Content_Type="text/plain")[0] == 400  # what a form of another page could send
    assert ask("poses", asked, Content_Type="application/json", Origin="https://example.org")[0] == 400
    assert ask("poses", "[1]", Content_Type="application/json")[0] == 400
    assert ask("poses", asked, Content_Type="application/json", Content_Length=str(2**20 + 1))[0] == 400
    assert ask("poses", asked, Content_Type="application/json")[0] == 200
    assert ask("../../etc/passwd")[0] == ask("nothing")[0] == 404


def test_a_port_that_is_taken_is_named(scout, ask, invoke, measured):
    with ScoutServer(scout) as server:
        result = invoke("scout", measured.scene, "--no-open", "--port", server.server_port)
    assert (result.status, result.out) == (3, "")
    assert f"--port {server.server_port}: cannot listen there" in result.err
