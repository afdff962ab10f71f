"""The family of deliverables: their records, their names, and a full disk."""

import errno
from fractions import Fraction

import pytest
from pydantic import TypeAdapter

from studio.config.units import Size, Time
from studio.deliver.deliverable import Deliverable, from_name
from studio.deliver.movie import Movie
from studio.deliver.sequence import Sequence
from studio.deliver.still import Still
from studio.errors import MachineError

SIZE = Size(31, 17)
FPS = Fraction(24)
STILL = Still(at=Time(6.0))


@pytest.mark.parametrize("deliverable", [Sequence(), Sequence(format="exr"), STILL, Still(at=Time(6), format="png16")])
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, monkeypatch, deliverable, noise):
    def full(path, frame, options):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    for module in ("sequence", "still"):
        monkeypatch.setattr(f"studio.deliver.{module}.write", full)
    with pytest.raises(MachineError, match="the disk is full"):
        deliverable.write_segment([noise(0, deliverable.picture_spec)], tmp_path / "segment.png", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("movie", Movie()),
        ({"kind": "movie", "preset": "prores-4444"}, Movie(preset="prores-4444")),
        ("sequence", Sequence()),
        ({"kind": "sequence", "format": "exr", "dpi": "300"}, Sequence(format="exr", dpi=300)),
        ({"kind": "still", "at": "6s"}, STILL),
        (
            {"kind": "still", "at": "6s", "format": "jpg", "profile": "display-p3"},
            Still(at=Time(6.0), format="jpg", profile="display-p3"),
        ),
    ],
)
def test_a_scene_names_its_deliverables_by_kind(text, expected):
    assert TypeAdapter(Deliverable).validate_python(text) == expected


def test_deliverables_of_one_scene_have_different_names():
    deliverables = [
        *(Sequence(format=format_name) for format_name in ("png", "png16", "tiff16", "exr", "dcp-source")),
        Sequence(profile="display-p3"),
        *(Still(at=Time(6), format=format_name) for format_name in ("png", "png16", "tiff16", "jpg", "exr")),
        Still(at=Time(6, "f")),
        Still(at=Time(6), profile="adobe-rgb"),
        Still(at=Time(6), alpha=True),
        Sequence(alpha=True),
        Sequence(format="exr", aovs=("depth",)),
        Movie(),
    ]
    names = [deliverable.file_name("film") for deliverable in deliverables]
    assert len(set(names)) == len(names)
    assert {"film.mp4", "film-frames", "film-at-6s.png", "film-at-6f.png", "film-at-6s.tif", "film-exr"} <= set(names)


def test_a_word_names_the_movie_of_a_preset_or_the_sequence_of_a_format():
    assert from_name("prores-4444") == Movie(preset="prores-4444") and from_name("exr") == Sequence(format="exr")
    with pytest.raises(ValueError, match="no preset 'prores-4443'; did you mean 'prores-4444'"):
        from_name("prores-4443")


def test_a_word_is_the_preset_of_a_movie_or_the_format_of_a_sequence_or_a_mistake():
    assert from_name("av1-10").kind == "movie" and from_name("dcp-source").kind == "sequence"
    with pytest.raises(ValueError, match="did you mean 'prores-4444'"):
        from_name("prores-444")
