"""PNG sequences and stills: exactly the frames that were drawn, with their provenance, or nothing."""

import errno
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from studio.deliver.deliverable import Deliverable
from studio.deliver.movie import Movie
from studio.deliver.sequence import Sequence
from studio.deliver.still import Still
from studio.errors import MachineError
from studio.spec import Size, Time

SIZE = Size(31, 17)                 # odd on purpose: pictures may be
FPS = Fraction(24)
STILL = Still(at=Time(6.0))


def picture(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (SIZE.height, SIZE.width, 3), np.uint8)


def pictures(start: int, stop: int):
    return (picture(n) for n in range(start, stop))


def pieces(folder: Path, *cuts: int) -> list[Path]:
    made = []
    for start, stop in zip(cuts, cuts[1:], strict=False):
        made.append(folder / f"{start}{Sequence.piece}")
        assert Sequence().segment(pictures(start, stop), made[-1], SIZE, FPS, first=start) == stop - start
    return made


def join(made, path, frames):
    Sequence().join(made, path, frames=frames, size=SIZE, fps=FPS, provenance={"seed": 3, "by": "É"})


def test_a_sequence_holds_exactly_the_frames_under_their_numbers(tmp_path):
    join(pieces(tmp_path, 8, 10, 13), tmp_path / "film", 5)
    assert sorted(p.name for p in (tmp_path / "film").iterdir()) == [f"frame-{n:06d}.png" for n in range(8, 13)]
    for n in range(8, 13):
        with Image.open(tmp_path / "film" / f"frame-{n:06d}.png") as image:
            image.load()
            assert np.array_equal(np.asarray(image), picture(n))
            assert json.loads(image.text["provenance"]) == {"seed": 3, "by": "É"}
            assert image.info["srgb"] == 0


def test_a_sequence_with_a_gap_is_not_kept(tmp_path):
    made = pieces(tmp_path, 0, 2, 4, 6)
    with pytest.raises(MachineError, match="4 pictures, not 6"):
        join([made[0], made[2]], tmp_path / "film", 6)
    with pytest.raises(MachineError, match="not 4 consecutive"):
        join([made[0], made[2]], tmp_path / "film", 4)
    assert not (tmp_path / "film").exists()


def test_a_truncated_picture_is_not_joined(tmp_path):
    made = pieces(tmp_path, 0, 3)
    broken = made[0] / "frame-000001.png"
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(MachineError, match="frame-000001.png: is no whole picture"):
        join(made, tmp_path / "film", 3)
    assert [path.name for path in tmp_path.iterdir()] == [made[0].name]


def test_a_new_sequence_replaces_the_old_one_whole(tmp_path):
    made = pieces(tmp_path, 0, 3, 5)
    join(made, tmp_path / "film", 5)
    join(made[:1], tmp_path / "film", 3)
    assert len(list((tmp_path / "film").iterdir())) == 3


@pytest.mark.parametrize("blow", [KeyboardInterrupt, RuntimeError])
def test_an_exception_while_drawing_leaves_no_pictures(tmp_path, blow):
    def interrupted():
        yield from pictures(0, 2)
        raise blow

    with pytest.raises(blow):
        Sequence().segment(interrupted(), tmp_path / "piece", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("deliverable", [Sequence(), STILL])
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, monkeypatch, deliverable):
    def full(path, data):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MachineError, match="the disk is full"):
        deliverable.segment(pictures(0, 1), tmp_path / "piece.png", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("deliverable", [Sequence(), STILL])
def test_a_frame_of_another_kind_is_refused(tmp_path, deliverable):
    with pytest.raises(ValueError, match="expected uint8"):
        deliverable.segment([picture(0).astype(np.float32)], tmp_path / "piece.png", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


def test_a_still_is_exactly_the_frame_with_its_provenance(tmp_path):
    assert STILL.segment([picture(5)], tmp_path / "piece.png", SIZE, FPS, first=144) == 1
    STILL.join([tmp_path / "piece.png"], tmp_path / "still.png", size=SIZE, fps=FPS, provenance={"frame": 144})
    with Image.open(tmp_path / "still.png") as image:
        image.load()
        assert np.array_equal(np.asarray(image), picture(5))
        assert json.loads(image.text["provenance"]) == {"frame": 144}


def test_a_still_of_another_size_is_not_handed_over(tmp_path):
    STILL.segment([picture(5)], tmp_path / "piece.png", SIZE, FPS)
    with pytest.raises(MachineError, match="no whole picture of 32x17"):
        STILL.join([tmp_path / "piece.png"], tmp_path / "still.png", size=Size(32, 17), fps=FPS, provenance={})
    assert not (tmp_path / "still.png").exists()


def test_a_picture_upside_down_in_memory_is_written_as_it_is_seen(tmp_path):
    STILL.segment([picture(5)[::-1]], tmp_path / "piece.png", SIZE, FPS)      # renderers hand over flipped views
    with Image.open(tmp_path / "piece.png") as image:
        assert np.array_equal(np.asarray(image), picture(5)[::-1])


def test_the_same_frame_gives_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        STILL.segment([picture(5)], tmp_path / name, SIZE, FPS)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("given, expected", [
    ("movie", Movie()), ({"kind": "movie", "preset": "h264-web"}, Movie()), ("sequence", Sequence()),
    ({"kind": "still", "at": "6s"}, STILL),
])
def test_a_scene_names_its_deliverables_by_kind(given, expected):
    assert TypeAdapter(Deliverable).validate_python(given) == expected


def test_deliverables_of_one_scene_have_different_names():
    files = [deliverable.file("film") for deliverable in (Movie(), Sequence(), STILL, Still(at=Time(6, "f")))]
    assert files == ["film.mp4", "film-frames", "film-at-6s.png", "film-at-6f.png"]


def test_a_still_is_the_same_piece_whatever_time_chose_it():
    assert STILL.identity() == Still(at=Time(144, "f")).identity()
