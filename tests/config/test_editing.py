"""Edits of a scene's text: what they say, and that all else stays."""

import pytest

from studio.config.editing import set_values
from studio.config.reading import load_raw
from studio.errors import SceneError

BLOCK = """\
# a film
title: Two   # shots
shots:
  - shot: one   # the first
    duration: 2s
    camera:   # old
      start: {azimuth: 20deg}
      moves:
        - {orbit: 20deg, over: 2s}   # gone with it

    # of the next key
    along: {0s: 0}
  - shot: two
    duration: 1s   # last line
"""
FLOW = "{title: Two, shots: [{shot: one, camera: {start: {azimuth: 20deg}}, duration: 2s}, {shot: two}]}\n"
CAMERA = {"start": {"azimuth": "-30deg"}, "moves": [{"keys": [{"at": f"{n}s", "lens": "30mm"} for n in range(1, 9)]}]}


@pytest.mark.parametrize("text", [BLOCK, FLOW, BLOCK.replace("\n", "\r\n"), BLOCK.rstrip("\n")])
@pytest.mark.parametrize("shot", [0, 1])
def test_the_keys_are_set_and_nothing_else_is_changed(text, shot):
    values = {"camera": CAMERA, "along": {"0s": "1", "2s": "3"}}
    changed = set_values(text, ("shots", shot), values, name="scene")
    expected = load_raw(text, name="scene")
    expected["shots"][shot] |= values
    assert load_raw(changed, name="scene") == expected
    lines = changed.splitlines()
    for line in text.splitlines() if text != FLOW else ():
        own = shot == 0 and any(word in line for word in ("camera", "start:", "moves:", "orbit", "along"))
        assert own or line in lines, line
    assert ("\r\n" in changed) == ("\r\n" in text)


def test_a_long_value_is_written_over_lines_that_a_person_reads():
    changed = set_values(BLOCK, ("shots", 1), {"camera": CAMERA}, name="scene")
    assert "    camera:\n      start: {azimuth: -30deg}\n      moves:\n" in changed
    assert "            - {at: 8s, lens: 30mm}\n" in changed + "\n"


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {shot: one, camera: {}}\nshots: [*b, *b]\n",  # one text for two shots
        "shots:\n  - shot: one\n    camera: &c {}\n  - shot: two\n    camera: *c\n",  # the second is the first's
        "shots: [one]\n",
    ],
)
def test_a_layout_without_a_place_of_its_own_is_refused_with_the_keys_to_write(text):
    with pytest.raises(SceneError, match=r"scene: its layout .* write these keys yourself: \{camera: \{start"):
        set_values(text, ("shots", 0), {"camera": CAMERA}, name="scene")


def test_a_key_that_a_merge_brings_is_refused_with_what_to_write():
    text = "a: &a {seed: 1}\nb: {<<: *a}\nc: {<<: {d: {seed: 1}}}\n"
    with pytest.raises(SceneError, match="write these keys yourself"):
        set_values(text, ("c", "d"), {"seed": 2}, name="scene")
