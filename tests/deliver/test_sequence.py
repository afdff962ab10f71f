"""Image sequences: exactly the frames that were drawn, under their numbers, or nothing."""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from studio.config.units import Size
from studio.deliver import colour_spaces, image_files
from studio.deliver.sequence import CINEMA_RATES, Sequence
from studio.errors import MachineError

SIZE = Size(31, 17)
FPS = Fraction(24)
FORMATS = ["png", "png16", "tiff16", "exr"]


@pytest.fixture
def write_segments(tmp_path, noise):
    """Writes segments that begin at the cuts, the last of which is the end; returns their paths."""

    def write(*cuts: int, sequence: Sequence = Sequence()) -> list[Path]:  # noqa: B008 - it is frozen
        segments = []
        for start, stop in itertools.pairwise(cuts):
            segments.append(tmp_path / f"{start}{Sequence.segment_suffix}")
            frames = (noise(n, sequence.picture_spec) for n in range(start, stop))
            sequence.write_segment(frames, segments[-1], SIZE, FPS, first=start)
        return segments

    return write


def join(segments, path, frames, sequence: Sequence = Sequence()):  # noqa: B008 - it is frozen
    sequence.join(segments, path, frames=frames, size=SIZE, fps=FPS, provenance={"seed": 3, "by": "\u00c9"})


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_sequence_holds_exactly_the_frames_under_their_numbers(
    tmp_path, format_name, noise, read_pixels, read_provenance, write_segments
):
    sequence = Sequence(format=format_name)
    join(write_segments(8, 10, 13, sequence=sequence), tmp_path / "film", 5, sequence)
    suffix = image_files.FORMATS[format_name].suffix
    segments = sorted((tmp_path / "film").iterdir())
    assert [p.name for p in segments] == [f"frame-{n:06d}{suffix}" for n in range(8, 13)]
    for n, path in zip(range(8, 13), segments, strict=True):
        assert np.array_equal(read_pixels(path), noise(n, sequence.picture_spec))
        assert read_provenance(path) == {"seed": 3, "by": "\u00c9"}


def test_a_sequence_with_a_gap_is_not_kept(tmp_path, write_segments):
    segments = write_segments(0, 2, 4, 6)
    with pytest.raises(MachineError, match="4 pictures, not 6"):
        join([segments[0], segments[2]], tmp_path / "film", 6)
    with pytest.raises(MachineError, match="not 4 consecutive"):
        join([segments[0], segments[2]], tmp_path / "film", 4)
    assert not (tmp_path / "film").exists()


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_truncated_picture_is_not_joined(tmp_path, format_name, write_segments):
    sequence = Sequence(format=format_name)
    segments = write_segments(0, 3, sequence=sequence)
    [broken] = segments[0].glob("frame-000001.*")
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(MachineError, match=f"{broken.name}: is no whole picture"):
        join(segments, tmp_path / "film", 3, sequence)
    assert [path.name for path in tmp_path.iterdir()] == [segments[0].name]


def test_pictures_without_alpha_are_no_sequence_that_has_it(tmp_path, write_segments):
    segments = write_segments(0, 2)
    with pytest.raises(MachineError, match="channels is 3, not 4"):
        join(segments, tmp_path / "film", 2, Sequence(alpha=True))


def test_a_new_sequence_replaces_the_old_one_whole(tmp_path, write_segments):
    segments = write_segments(0, 3, 5)
    join(segments, tmp_path / "film", 5)
    join(segments[:1], tmp_path / "film", 3)
    assert len(list((tmp_path / "film").iterdir())) == 3


@pytest.mark.parametrize("blow", [KeyboardInterrupt, RuntimeError])
def test_an_exception_while_drawing_leaves_no_pictures(tmp_path, blow, noise):
    def interrupted():
        yield from (noise(n) for n in range(2))
        raise blow

    with pytest.raises(blow):
        Sequence().write_segment(interrupted(), tmp_path / "segment", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


def test_a_sequence_has_aovs_in_every_picture(tmp_path, noise_with_aovs):
    sequence = Sequence(format="exr", aovs=("depth",))
    sequence.write_segment([noise_with_aovs(sequence.picture_spec)] * 2, tmp_path / "0.frames", SIZE, FPS)
    join([tmp_path / "0.frames"], tmp_path / "film", 2, sequence)
    with pytest.raises(MachineError, match="aovs is"):
        join([tmp_path / "0.frames"], tmp_path / "other", 2, Sequence(format="exr"))


def test_a_dcp_source_is_x_y_z_in_tiff_files_without_a_profile(tmp_path, noise, read_pixels, write_segments):
    sequence = Sequence(format="dcp-source")
    join(write_segments(0, 2, sequence=sequence), tmp_path / "film", 2, sequence)
    for n, path in enumerate(sorted((tmp_path / "film").iterdir())):
        assert np.array_equal(read_pixels(path), colour_spaces.to_dcp(noise(n, sequence.picture_spec)))
        with Image.open(path) as image:
            assert image.info["compression"] == "raw" and "icc_profile" not in image.info


@pytest.mark.parametrize("size", CINEMA_RATES)
def test_every_size_of_a_cinema_is_right_at_its_rates_only(size):
    sequence = Sequence(format="dcp-source")
    assert sequence.mistake_at(size, Fraction(24)) is None
    assert "24" in sequence.mistake_at(size, Fraction(25))
    assert (sequence.mistake_at(size, Fraction(48)) is None) == (size.width <= 2048)


def test_another_size_is_a_mistake_that_names_the_right_ones():
    assert "1998x1080, 2048x858" in Sequence(format="dcp-source").mistake_at(Size(1920, 1080), FPS)
    assert Sequence().mistake_at(Size(1920, 1080), FPS) is None


def test_a_dcp_source_has_no_other_colours():
    with pytest.raises(ValidationError, match="leave out `profile`"):
        Sequence(format="dcp-source", profile="display-p3")
