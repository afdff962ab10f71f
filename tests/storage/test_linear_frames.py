import errno

import numpy as np
import pytest

from studio.config.units import Size
from studio.errors import DamageError, MachineError
from studio.storage import linear_frames
from studio.storage.linear_frames import LinearFrame


@pytest.fixture
def frame(tmp_path, monkeypatch):
    """Of 150 x 100 pixels in six tiles, nothing drawn yet."""
    monkeypatch.setattr(linear_frames, "TILE", 64)
    return LinearFrame(tmp_path / "drawn", Size(150, 100))


CODES = np.random.default_rng(0).integers(0, 2**16, (100, 150, 4)).astype(np.uint16)


def test_a_frame_comes_back_bit_for_bit_by_rows_by_tiles_and_whole(frame):
    for tile in frame.tiles:
        frame.write(tile, CODES[tile])
    assert frame.complete and frame.shape == CODES.shape
    assert np.array_equal(frame[:], CODES) and np.array_equal(frame[60:70], CODES[60:70])
    assert np.array_equal(frame[60:70, 5:9], CODES[60:70, 5:9])


def test_a_frame_is_whole_when_its_last_tile_is_drawn_and_black_is_drawn_too(frame):
    assert not frame.complete and frame.missing() == frame.tiles
    for tile in frame.tiles[:-1]:
        frame.write(tile, 0 * CODES[tile])
    assert frame.missing() == frame.tiles[-1:]
    frame.write(frame.tiles[-1], CODES[frame.tiles[-1]])
    assert frame.complete and not frame[:64, :64].any()


def test_a_tile_whose_writing_fails_is_missing_and_leaves_nothing_behind(frame, monkeypatch):
    def fails(*arguments, **options):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("studio.storage.files.os.replace", fails)
    with pytest.raises(MachineError, match="the disk is full"):
        frame.write(frame.tiles[0], CODES[frame.tiles[0]])
    assert frame.missing() == frame.tiles and list(frame.path.iterdir()) == []


def test_a_frame_that_does_not_exist_or_is_broken_cannot_be_read(frame):
    with pytest.raises(DamageError, match="is damaged"):
        frame[:]
    for tile in frame.tiles:
        frame.write(tile, CODES[tile])
    for stored in frame.path.rglob("*"):
        if stored.is_file():
            stored.write_bytes(b"cut")
    with pytest.raises(DamageError, match="is damaged"):
        frame[:]
