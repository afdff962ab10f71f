"""Sequences and stills: exactly the frames that were drawn, tagged with their colours, or nothing."""

import errno
import io
import itertools
import json
import shutil
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from pydantic import TypeAdapter, ValidationError

from studio.config.units import Size, Time
from studio.deliver import colour_spaces, image_files, image_io
from studio.deliver.deliverable import Deliverable
from studio.deliver.movie import Movie
from studio.deliver.picture_spec import Picture, PictureSpec
from studio.deliver.sequence import CINEMA, Sequence
from studio.deliver.still import Still
from studio.errors import MachineError
from studio.film.bands import Bands

SIZE = Size(31, 17)  # odd on purpose: pictures may be
FPS = Fraction(24)
STILL = Still(at=Time(6.0))
FORMATS = ["png", "png16", "tiff16", "jpg", "exr"]
SEQUENCES = ["png", "png16", "tiff16", "exr"]
EXACT = ["png", "png16", "tiff16", "exr"]
CLEAR = ["png", "png16", "tiff16", "exr"]


def picture(n: int, wants: PictureSpec = STILL.picture_spec, size: Size = SIZE) -> np.ndarray:
    """Noise of the kind that is wanted."""
    shape, codes = (size.height, size.width, 4 if wants.alpha else 3), 256**wants.dtype.itemsize
    noise = np.random.default_rng(n).integers(0, codes, shape, np.uint16)
    return noise.astype(wants.dtype) if wants.bits else (noise / 8192).astype(np.float16)


def banded(frame: np.ndarray, rows: int) -> Bands:
    """The same picture, some rows at a time."""
    return Bands(frame.shape, frame.dtype, lambda: (frame[i : i + rows] for i in range(0, len(frame), rows)))


def frames(start: int, stop: int, wants: PictureSpec = STILL.picture_spec):
    return (picture(n, wants) for n in range(start, stop))


def pieces(folder: Path, *cuts: int, sequence: Sequence = Sequence()) -> list[Path]:  # noqa: B008 - it is frozen
    made = []
    for start, stop in itertools.pairwise(cuts):
        made.append(folder / f"{start}{Sequence.segment_suffix}")
        assert sequence.write_segment(frames(start, stop, sequence.picture_spec), made[-1], SIZE, FPS, first=start) == stop - start
    return made


def join(made, path, frames, sequence: Sequence = Sequence()):  # noqa: B008 - it is frozen
    sequence.join(made, path, frames=frames, size=SIZE, fps=FPS, provenance={"seed": 3, "by": "\u00c9"})


def still(folder: Path, frame: np.ndarray | Bands | Picture | None = None, provenance=None, **options) -> Path:
    """The finished still of a frame, or of a noise."""
    record = Still(at=Time(6.0), **options)
    frame = picture(5, record.picture_spec) if frame is None else frame
    height, width, _ = frame.picture.shape if isinstance(frame, Picture) else frame.shape
    record.write_segment([frame], folder / f"piece{record.segment_suffix}", Size(width, height), FPS, first=144)
    path, given = folder / record.file_name("film"), provenance or {"frame": 144}
    record.join([folder / f"piece{record.segment_suffix}"], path, size=Size(width, height), fps=FPS, provenance=given)
    return path


def read(path: Path) -> np.ndarray:
    """The pixels of a picture file as they are stored, by another program than the one that wrote them."""
    if path.suffix == ".exr":
        import OpenEXR

        with OpenEXR.File(str(path)) as file:
            [channel] = file.channels().values()
            return channel.pixels
    if path.suffix == ".jpg":
        with Image.open(path) as image:
            return np.asarray(image)
    with av.open(str(path)) as file:
        return next(file.decode(video=0)).to_ndarray()


def said(path: Path) -> dict:
    """The provenance in a picture file, by a program that is not ours."""
    if path.suffix == ".exr":
        import OpenEXR

        with OpenEXR.File(str(path)) as file:
            return json.loads(file.header()["comments"])
    with Image.open(path) as image:
        if path.suffix == ".tif":
            return json.loads(image.tag_v2[TiffImagePlugin.IMAGEDESCRIPTION])
        return json.loads(image.info["comment"] if path.suffix == ".jpg" else image.text["provenance"])


# --- sequences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", SEQUENCES)
def test_a_sequence_holds_exactly_the_frames_under_their_numbers(tmp_path, word):
    sequence = Sequence(format=word)
    join(pieces(tmp_path, 8, 10, 13, sequence=sequence), tmp_path / "film", 5, sequence)
    suffix = image_files.FORMATS[word].suffix
    made = sorted((tmp_path / "film").iterdir())
    assert [p.name for p in made] == [f"frame-{n:06d}{suffix}" for n in range(8, 13)]
    for n, path in zip(range(8, 13), made, strict=True):
        assert np.array_equal(read(path), picture(n, sequence.picture_spec))
        assert said(path) == {"seed": 3, "by": "\u00c9"}


def test_a_sequence_with_a_gap_is_not_kept(tmp_path):
    made = pieces(tmp_path, 0, 2, 4, 6)
    with pytest.raises(MachineError, match="4 pictures, not 6"):
        join([made[0], made[2]], tmp_path / "film", 6)
    with pytest.raises(MachineError, match="not 4 consecutive"):
        join([made[0], made[2]], tmp_path / "film", 4)
    assert not (tmp_path / "film").exists()


@pytest.mark.parametrize("word", SEQUENCES)
def test_a_truncated_picture_is_not_joined(tmp_path, word):
    sequence = Sequence(format=word)
    made = pieces(tmp_path, 0, 3, sequence=sequence)
    [broken] = made[0].glob("frame-000001.*")
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(MachineError, match=f"{broken.name}: is no whole picture"):
        join(made, tmp_path / "film", 3, sequence)
    assert [path.name for path in tmp_path.iterdir()] == [made[0].name]


def test_pictures_without_alpha_are_no_sequence_that_has_it(tmp_path):
    made = pieces(tmp_path, 0, 2)
    with pytest.raises(MachineError, match="channels is 3, not 4"):
        join(made, tmp_path / "film", 2, Sequence(alpha=True))


def test_a_new_sequence_replaces_the_old_one_whole(tmp_path):
    made = pieces(tmp_path, 0, 3, 5)
    join(made, tmp_path / "film", 5)
    join(made[:1], tmp_path / "film", 3)
    assert len(list((tmp_path / "film").iterdir())) == 3


@pytest.mark.parametrize("blow", [KeyboardInterrupt, RuntimeError])
def test_an_exception_while_drawing_leaves_no_pictures(tmp_path, blow):
    def interrupted():
        yield from frames(0, 2)
        raise blow

    with pytest.raises(blow):
        Sequence().write_segment(interrupted(), tmp_path / "piece", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


# --- cinema ----------------------------------------------------------------------------------------------------------


def test_a_dcp_source_is_x_y_z_in_tiff_files_without_a_profile(tmp_path):
    sequence = Sequence(format="dcp-source")
    join(pieces(tmp_path, 0, 2, sequence=sequence), tmp_path / "film", 2, sequence)
    for n, path in enumerate(sorted((tmp_path / "film").iterdir())):
        assert np.array_equal(read(path), colour_spaces.to_dcp(picture(n, sequence.picture_spec)))
        with Image.open(path) as image:
            assert image.info["compression"] == "raw" and "icc_profile" not in image.info


@pytest.mark.parametrize("size", CINEMA)
def test_every_size_of_a_cinema_is_right_at_its_rates_only(size):
    sequence = Sequence(format="dcp-source")
    assert sequence.mistake(size, Fraction(24)) is None
    assert "24" in sequence.mistake(size, Fraction(25))
    assert (sequence.mistake(size, Fraction(48)) is None) == (size.width <= 2048)


def test_another_size_is_a_mistake_that_names_the_right_ones():
    assert "1998x1080, 2048x858" in Sequence(format="dcp-source").mistake(Size(1920, 1080), FPS)
    assert Sequence().mistake(Size(1920, 1080), FPS) is None


def test_a_dcp_source_has_no_other_colours():
    with pytest.raises(ValidationError, match="leave out `profile`"):
        Sequence(format="dcp-source", profile="display-p3")


# --- stills ----------------------------------------------------------------------------------------------------------


def test_a_still_is_exactly_the_frame_with_its_provenance(tmp_path):
    path = still(tmp_path)
    assert np.array_equal(read(path), picture(5)) and said(path) == {"frame": 144}


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("word", EXACT)
def test_every_bit_comes_back(tmp_path, word, alpha):
    frame = picture(5, Still(at=Time(6.0), format=word, alpha=alpha).picture_spec)
    assert np.array_equal(read(still(tmp_path, frame, format=word, alpha=alpha)), frame)


@pytest.mark.parametrize("word", FORMATS)
def test_a_picture_is_the_same_file_in_whatever_bands_it_comes(tmp_path, word):
    record = Still(at=Time(6.0), format=word, profile="adobe-rgb")
    tall, found = picture(5, record.picture_spec, Size(9, 600)), set()  # 256 rows are written at once
    for rows in (64, 100, 512, 600):
        (tmp_path / str(rows)).mkdir()
        found.add(still(tmp_path / str(rows), banded(tall, rows), format=word, profile="adobe-rgb").read_bytes())
    assert len(found) == 1


@pytest.mark.parametrize("word", ["png", "png16", "tiff16", "exr"])
def test_a_large_picture_is_written_and_handed_over_in_little_memory(tmp_path, word):
    wants, size = Still(at=Time(6.0), format=word).picture_spec, Size(1500, 4000)
    noise = picture(5, wants, Size(1500, 250))
    tall = Bands((*size[::-1], 3), wants.dtype, lambda: (noise for _ in range(16)))
    tracemalloc.start()
    try:
        path = still(tmp_path, tall, format=word)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.65 * size.width * size.height * 3 * wants.dtype.itemsize  # of 16 bands, what ten hold
    if word != "png16":  # which is read here by a loop over bytes
        assert np.array_equal(read(path)[-250:], noise)


def test_a_tiff_of_more_than_four_gigabytes_is_a_big_one(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_CLASSIC", 0)
    path = still(tmp_path, format="tiff16")
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
    assert np.array_equal(read(path), picture(5, PictureSpec(16))) and said(path) == {"frame": 144}


def test_a_png_of_eight_bits_is_what_pillow_reads_of_it(tmp_path):
    tall = np.random.default_rng(0).integers(0, 256, (600, 40, 3), np.uint8)  # three bands of rows
    tall[100:300] = np.arange(200)[:, None, None]  # both filters in use
    assert np.array_equal(read(still(tmp_path, tall)), tall)


def test_a_png_of_sixteen_bits_is_what_pillow_sees_of_it(tmp_path):
    tall = np.random.default_rng(0).integers(0, 65536, (300, 40, 3), np.uint16)  # two bands of rows
    tall[100:200] = np.arange(100)[:, None, None] * 300  # both filters in use
    path = still(tmp_path, tall, format="png16")
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), tall >> 8)  # Pillow keeps the upper bytes


def test_a_jpeg_keeps_its_colours_within_three_codes(tmp_path):
    flat = np.repeat(np.repeat(np.array([[(255, 0, 0), (0, 0, 255), (255, 138, 43)]], np.uint8), 32, 0), 32, 1)
    assert np.abs(read(still(tmp_path, flat, format="jpg")).astype(int) - flat).max() <= 3  # quality 95, 4:4:4


@pytest.mark.parametrize("profile", colour_spaces.SPACES)
@pytest.mark.parametrize("word", FORMATS)
def test_a_still_is_converted_to_its_profile_and_tagged_with_it(tmp_path, word, profile):
    dtype = Still(at=Time(6.0), format=word, profile=profile).picture_spec.dtype
    most = {"u": 256**dtype.itemsize - 1, "f": 3.5}[dtype.kind]
    flat = np.full((32, 48, 3), np.multiply((1, 0.5, 0.125), most).astype(dtype))
    path = still(tmp_path, flat, format=word, profile=profile, dpi=300)
    if word == "exr":
        wanted, slack = colour_spaces.convert_linear(flat, profile), 0
    else:
        eighths = word in ("png", "jpg")
        wanted = colour_spaces.convert(flat, profile) / (257 if eighths and flat.dtype == np.uint16 else 1)
        slack = {"png": 1, "jpg": 3}.get(word, 0)
        assert profile_of(path) == colour_spaces.icc(profile)
    assert np.abs(read(path).astype(float) - wanted).max() <= slack
    finish = image_files.ImageOptions(format=word, profile=profile, dpi=300)
    assert image_files.verify(path, finish, Size(48, 32)).profile == profile


def profile_of(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.info["icc_profile"]


@pytest.mark.parametrize("word", FORMATS)
def test_dots_per_inch_are_read_by_others(tmp_path, word):
    path = still(tmp_path, format=word, dpi=300)
    if word == "exr":
        import OpenEXR

        with OpenEXR.File(str(path), header_only=True) as file:
            assert file.header()["xDensity"] == 300
    else:
        with Image.open(path) as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)  # a PNG counts whole pixels to the metre


def test_light_beyond_white_survives_in_an_exr(tmp_path):
    path = still(tmp_path, format="exr")
    assert read(path).dtype == np.float16 and read(path).max() > 7


# --- layers ----------------------------------------------------------------------------------------------------------

CHANNELS = {
    "depth": ["depth.Z"],
    "normal": ["normal.X", "normal.Y", "normal.Z"],
    "position": ["position.X", "position.Y", "position.Z"],
    "loss": ["loss.Y"],
    "convexity": ["convexity.Y"],
    "mask": ["mask.Y"],
}


def layered(wants: PictureSpec) -> Picture:
    """A picture with layers, each of other numbers."""
    noise = np.random.default_rng(1)
    made = {name: noise.normal(size=(SIZE.height, SIZE.width, len(CHANNELS[name]))) for name in wants.aovs}
    kinds = {"normal": np.float16, "mask": np.float16}
    made = {name: values.astype(kinds.get(name, np.float32)) for name, values in made.items()}
    return Picture(Bands.of(picture(5, wants)), made)


@pytest.mark.parametrize("alpha", [False, True])
def test_an_exr_holds_every_layer_in_channels_that_name_it(tmp_path, alpha):
    import OpenEXR

    given = {"format": "exr", "aovs": list(CHANNELS), "alpha": alpha}
    frame = layered(Still(at=Time(6.0), **given).picture_spec)
    path = still(tmp_path, frame, **given)
    with OpenEXR.File(str(path), separate_channels=True) as file:
        found = {name: channel.pixels for name, channel in file.channels().items()}
    assert set(found) == {*("RGBA" if alpha else "RGB"), *sum(CHANNELS.values(), [])}
    assert np.array_equal(np.stack([found[c] for c in ("RGBA" if alpha else "RGB")], -1), frame.picture.whole())
    for name, channels in CHANNELS.items():
        stored = np.stack([found[channel] for channel in channels], axis=-1)
        assert stored.dtype == frame.aovs[name].dtype and np.array_equal(stored, frame.aovs[name])
    assert said(path) == {"frame": 144}


def test_an_exr_of_many_bands_is_one_picture_with_its_layers(tmp_path):
    import OpenEXR

    options = {"format": "exr", "aovs": ["depth", "normal"], "alpha": True}
    wants, noise = Still(at=Time(6.0), **options).picture_spec, np.random.default_rng(2)
    tall = picture(5, wants, Size(9, 700))  # in two whole bands of 256 rows, and one that ends in half a block
    given = {
        "depth": noise.normal(size=(700, 9, 1)).astype(np.float32),
        "normal": noise.normal(size=(700, 9, 3)).astype(np.float16),
    }
    path = still(tmp_path, Picture(banded(tall, 100), given), **options)
    with OpenEXR.File(str(path), separate_channels=True) as file:
        found = {name: channel.pixels for name, channel in file.channels().items()}
        assert [list(end) for end in file.header()["dataWindow"]] == [[0, 0], [8, 699]]
    assert np.array_equal(np.stack([found[c] for c in "RGBA"], axis=-1), tall)
    assert np.array_equal(found["depth.Z"], given["depth"][..., 0])
    assert np.array_equal(np.stack([found[f"normal.{c}"] for c in "XYZ"], axis=-1), given["normal"])
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == []


def test_an_exr_whose_blocks_do_not_follow_each_other_is_not_handed_over(tmp_path):
    path = still(tmp_path, picture(5, PictureSpec(None), Size(9, 700)), format="exr")
    data = bytearray(path.read_bytes())
    with open(path, "rb") as file:
        exr._header(file)
        middle = int(exr._places(file)[20])
    data[middle + 4] ^= 1  # the length of one block
    path.write_bytes(data)
    with pytest.raises(MachineError, match="cut off, or changed"):
        image_files.verify(path, image_files.ImageOptions(format="exr"), Size(9, 700))


def test_layers_that_would_fill_the_memory_are_a_mistake_with_a_way_out():
    everything = {"format": "exr", "aovs": tuple(CHANNELS)}
    for record in (Still(at=Time(6.0), **everything), Sequence(**everything)):
        assert record.mistake(Size(15360, 8640)) is None
        # 32 bytes a pixel, of 600 million
        assert "would take 19 GB of memory" in record.mistake(Size(30000, 20000))
    assert Still(at=Time(6.0), format="exr", aovs=("depth", "normal")).mistake(Size(30000, 20000)) is None


def test_a_sequence_has_layers_in_every_picture(tmp_path):
    sequence = Sequence(format="exr", aovs=("depth",))
    sequence.write_segment([layered(sequence.picture_spec)] * 2, tmp_path / "0.frames", SIZE, FPS)
    join([tmp_path / "0.frames"], tmp_path / "film", 2, sequence)
    with pytest.raises(MachineError, match="aovs is"):
        join([tmp_path / "0.frames"], tmp_path / "other", 2, Sequence(format="exr"))


def test_a_frame_without_the_layers_that_are_wanted_is_refused(tmp_path):
    sequence = Sequence(format="exr", aovs=("depth", "mask"))
    for frame in (picture(0, sequence.picture_spec), layered(Sequence(format="exr", aovs=("depth",)).picture_spec)):
        with pytest.raises(ValueError, match="expected float16 .* with depth mask"):
            sequence.write_segment([frame], tmp_path / "0.frames", SIZE, FPS)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"format": "jpg", "alpha": True}, "jpg has no alpha; take one of png, png16, tiff16, exr"),
        ({"format": "tiff16", "aovs": ["depth"]}, "tiff16 has no AOVs; take `format: exr`"),
        ({"format": "exr", "aovs": ["depth", "depth"]}, "named twice"),
    ],
)
def test_a_still_that_no_file_could_hold_is_a_mistake(given, what):
    with pytest.raises(ValidationError, match=what):
        Still(at=Time(6.0), **given)


# --- provenance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", FORMATS)
def test_a_long_provenance_comes_back_and_changes_no_pixel(tmp_path, word):
    provenance = {"slices": ["\u00c9" * 50] * 100}
    (tmp_path / "short").mkdir()
    one, two = still(tmp_path, None, provenance, format=word), still(tmp_path / "short", format=word)
    assert said(one) == provenance and np.array_equal(read(one), read(two))


def test_a_provenance_too_long_for_one_comment_of_a_jpeg_goes_into_several(tmp_path):
    path = still(tmp_path, None, {"slices": "x" * 150_000}, format="jpg")
    with open(path, "rb") as file:
        comments = [data for marker, data in image_files._segments(file) if marker == 0xFE]
    assert len(comments) == 3 and json.loads(b"".join(comments)) == {"slices": "x" * 150_000}
    assert np.asarray(Image.open(io.BytesIO(path.read_bytes()))).shape == (SIZE.height, SIZE.width, 3)


@pytest.mark.parametrize("word", FORMATS)
def test_a_still_of_another_size_format_or_profile_is_not_handed_over(tmp_path, word):
    path = still(tmp_path, format=word, profile="display-p3", dpi=300)
    piece = tmp_path / f"again{path.suffix}"
    shutil.copyfile(path, piece)
    out, given = tmp_path / f"out{path.suffix}", {"format": word, "profile": "display-p3", "dpi": 300}
    for change, size, what in (
        ({}, Size(32, 17), "32x17"),
        ({"dpi": 72}, SIZE, "dpi is 300, not 72"),
        ({"profile": "adobe-rgb"}, SIZE, "not adobe-rgb"),
    ):
        with pytest.raises(MachineError, match=what):
            Still(at=Time(6.0), **given | change).join([piece], out, size=size, fps=FPS, provenance={})
    assert not out.exists()


def test_a_png_of_eight_bits_is_no_png_of_sixteen(tmp_path):
    path = still(tmp_path)
    with pytest.raises(MachineError, match="bits is 8, not 16"):
        Still(at=Time(6.0), format="png16").join([path], tmp_path / "out.png", size=SIZE, fps=FPS, provenance={})


def test_a_picture_upside_down_in_memory_is_written_as_it_is_seen(tmp_path):
    STILL.write_segment([picture(5)[::-1]], tmp_path / "piece.png", SIZE, FPS)  # renderers hand over flipped views
    assert np.array_equal(read(tmp_path / "piece.png"), picture(5)[::-1])


@pytest.mark.parametrize("word", FORMATS)
def test_the_same_frame_gives_the_same_bytes(tmp_path, word):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = (still(tmp_path / name, format=word, profile="adobe-rgb") for name in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deliverable", [Sequence(), Sequence(format="exr"), STILL, Still(at=Time(6), format="png16")])
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, monkeypatch, deliverable):
    def full(path, frame, finish):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    for module in ("sequence", "still"):
        monkeypatch.setattr(f"studio.deliver.{module}.write", full)
    with pytest.raises(MachineError, match="the disk is full"):
        deliverable.write_segment(frames(0, 1, deliverable.picture_spec), tmp_path / "piece.png", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"), [("No space left on device", "the disk is full"), ("the disk is ill", "ill")]
)
def test_a_disk_that_fills_up_under_an_exr_is_an_error_that_leaves_nothing(tmp_path, monkeypatch, words, told):
    import OpenEXR

    def full(file, path):
        Path(path).touch()
        raise RuntimeError(f"Failed to write pixel data to image file. {words}.")

    monkeypatch.setattr(OpenEXR.File, "write", full)
    record = Still(at=Time(6.0), format="exr")
    with pytest.raises((MachineError, OSError), match=told):
        record.write_segment(frames(0, 1, record.picture_spec), tmp_path / "piece.exr", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("deliverable", [Sequence(), STILL, Movie()])
@pytest.mark.parametrize(
    "frame", [picture(0).astype(np.float32), picture(0)[..., 0], picture(0).astype(np.float16), picture(0)[:-1]]
)
def test_a_frame_of_another_kind_is_refused(tmp_path, deliverable, frame):
    with pytest.raises(ValueError, match=r"expected uint8 \(17, 31, 3\)"):
        deliverable.write_segment([frame], tmp_path / "piece.png", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


# --- the records -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
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
def test_a_scene_names_its_deliverables_by_kind(given, expected):
    assert TypeAdapter(Deliverable).validate_python(given) == expected


def test_deliverables_of_one_scene_have_different_names():
    kept = [
        *(Sequence(format=word) for word in (*SEQUENCES, "dcp-source")),
        Sequence(profile="display-p3"),
        *(Still(at=Time(6), format=word) for word in FORMATS),
        Still(at=Time(6, "f")),
        Still(at=Time(6), profile="adobe-rgb"),
        Still(at=Time(6), alpha=True),
        Sequence(alpha=True),
        Sequence(format="exr", aovs=("depth",)),
        Movie(),
    ]
    names = [deliverable.file_name("film") for deliverable in kept]
    assert len(set(names)) == len(names)
    assert {"film.mp4", "film-frames", "film-at-6s.png", "film-at-6f.png", "film-at-6s.tif", "film-exr"} <= set(names)


def test_a_still_is_the_same_piece_whatever_time_chose_it():
    assert STILL.identity() == Still(at=Time(144, "f")).identity()
    assert STILL.identity() != Still(at=Time(6.0), dpi=300).identity()


def test_only_a_jpeg_has_a_largest_size():
    large = Size(70_000, 40_000)
    assert "ends at 65500" in Still(at=Time(6), format="jpg").mistake(large)
    assert [Still(at=Time(6), format=word).mistake(large) for word in ("png", "png16", "tiff16", "exr")] == [None] * 4


def test_the_largest_jpeg_is_one_that_can_be_written(tmp_path):
    size = Size(65500, 2)
    record = Still(at=Time(6.0), format="jpg")
    assert record.mistake(size) is None and record.mistake(Size(65501, 2))
    path = still(tmp_path, np.zeros((*size[::-1], 3), np.uint8), format="jpg")
    assert read(path).shape == (2, 65500, 3)


def test_deliverables_say_what_pictures_they_are_made_of():
    assert {word: Still(at=Time(6), format=word).picture_spec.bits for word in FORMATS} == {
        "png": 8,
        "png16": 16,
        "tiff16": 16,
        "jpg": 8,
        "exr": None,
    }
    assert Still(at=Time(6), format="jpg", profile="adobe-rgb").picture_spec.bits == 16  # 8 would show its steps
    assert Sequence(format="dcp-source").picture_spec == PictureSpec(16)
    given = {"alpha": True, "aovs": ("mask",)}
    assert Sequence(format="exr", **given).picture_spec == PictureSpec(None, **given)
