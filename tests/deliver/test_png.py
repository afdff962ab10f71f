"""PNG files: copied with a comment, and never with damage."""

import struct

import numpy as np
import pytest
from PIL import Image

from studio.config.units import Size
from studio.deliver import comments


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and data of every chunk, read without the code that is tested."""
    place, pairs = 8, []
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        pairs.append((name, data[place + 8 : place + 8 + length]))
        place += length + 12
    return pairs


def test_a_copy_has_the_chunks_of_the_png_and_a_text_behind_the_first(tmp_path, noise, still):
    still(tmp_path, noise(3, size=Size(300, 200)))
    source = tmp_path / "segment.png"
    comments.add_to_png(source, tmp_path / "copy.png", "seed 3")
    header, comment, *rest = chunks((tmp_path / "copy.png").read_bytes())
    assert [header, *rest] == chunks(source.read_bytes()) and comment == (b"tEXt", b"provenance\0seed 3")
    with Image.open(source) as old, Image.open(tmp_path / "copy.png") as new:
        assert np.array_equal(np.asarray(old), np.asarray(new)) and new.text["provenance"] == "seed 3"


@pytest.mark.parametrize("damage", ["changed", "cut off"])
def test_damage_anywhere_behind_the_signature_is_noticed(tmp_path, damage, still):
    still(tmp_path)
    whole = (tmp_path / "segment.png").read_bytes()
    for place in range(8, len(whole), 7):
        data = bytearray(whole) if damage == "changed" else whole[:place]
        if damage == "changed":
            data[place] ^= 1
        (tmp_path / "damaged.png").write_bytes(data)
        with pytest.raises(ValueError, match="damaged"):
            comments.add_to_png(tmp_path / "damaged.png", tmp_path / "copy.png", "")
